#ifndef FOREBAY_TRACE_STACK_H
#define FOREBAY_TRACE_STACK_H
/* The exact miss ratios of LRU at many sizes from one pass (Mattson, Gecsei, Slutz, Traiger 1970):
 * a request hits in every cache that holds what was requested since the key's last request, the key
 * itself included. That sum, the stack distance, comes from a Fenwick tree over the times of last
 * requests, renumbered when they run out: memory grows with the keys, not with the requests.
 *
 * Exact only where every key keeps its size and no object is larger than the cache (which would not
 * store it): stack_is_exact. */
#include "sim.h"

enum { STACK_POINTS_MAX = 4096 };

static inline bool stack_is_exact(const struct trace *t, uint64_t capacity) {
    return !t->sizes && capacity >= t->size_max;
}
/* `capacities` ascending; fills out[i] for each. */
void stack_run(const struct trace *t, const uint64_t *capacities, uint32_t count,
               struct counts *out);
#endif
