#ifndef FOREBAY_BENCH_FILL_H
#define FOREBAY_BENCH_FILL_H
/* Which keys a fill names, in which order: every number of a range once, or those of a share of it
 * that only the number decides, so that two fills with adjoining shares meet all keys between them.
 * A client thread owns one. */
#include <stdbool.h>
#include <stdint.h>
#include "options.h"

struct fill {
    const struct options *options;
    uint64_t next, end; /* positions in the order */
    unsigned bits;      /* of the range the order is a permutation of */
};

/* The part of thread `index` of the options' threads. */
struct fill fill_make(const struct options *o, uint32_t index);
/* The next key's number; false when there are no more. */
bool fill_next(struct fill *f, uint64_t *number) __attribute__((warn_unused_result));
#endif
