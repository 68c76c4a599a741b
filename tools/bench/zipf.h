#ifndef FOREBAY_BENCH_ZIPF_H
#define FOREBAY_BENCH_ZIPF_H
/* Ranks 0..count-1 with probability proportional to 1 / (rank + 1)^theta, by rejection-inversion
 * (W. Hoermann and G. Derflinger, "Rejection-inversion to generate variates from monotone discrete
 * distributions", 1996): constant memory and time whatever the count. Used while requests are
 * formatted, never while the clock runs. */
#include <stdint.h>
#include "base/rng.h"

struct zipf {
    uint64_t count;
    double theta;
    double integral_low, integral_high; /* of the hat, over [0.5 and first bar, count + 0.5] */
    double squeeze;
    uint64_t factor; /* of zipf_scatter; has no divisor in common with count */
};

/* `count` > 0, `theta` > 0 (1 included). */
void zipf_init(struct zipf *z, uint64_t count, double theta);
uint64_t zipf_next(const struct zipf *z, struct rng *rng);

/* Spreads ranks over key numbers, so that hot keys do not lie side by side: a bijection. */
uint64_t zipf_scatter(const struct zipf *z, uint64_t rank);
#endif
