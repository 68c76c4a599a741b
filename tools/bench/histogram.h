#ifndef FOREBAY_BENCH_HISTOGRAM_H
#define FOREBAY_BENCH_HISTOGRAM_H
/* Counts of latencies in log-linear buckets: exact below 128 ns, then 64 buckets an octave, so that
 * the value read back is at most 1/64 = 1.6% wide and, being the bucket's middle, at most 0.8% off.
 * Owned by one thread; histograms of several threads are added up when they have ended.
 *
 * Limit: values above HISTOGRAM_VALUE_MAX are counted as that. */
#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 6,
    HISTOGRAM_OCTAVES = 36,
    HISTOGRAM_BUCKETS = (HISTOGRAM_OCTAVES + 1) << HISTOGRAM_SUB_BITS
};
/* 2^42 ns, over an hour. */
#define HISTOGRAM_VALUE_MAX ((UINT64_C(1) << (HISTOGRAM_SUB_BITS + HISTOGRAM_OCTAVES)) - 1)

struct histogram {
    uint64_t count[HISTOGRAM_BUCKETS];
    uint64_t total; /* values counted */
    uint64_t max;   /* exact */
};

void histogram_clear(struct histogram *h);
/* Counts `value_ns` `times` over. */
void histogram_record(struct histogram *h, uint64_t value_ns, uint64_t times);
void histogram_add(struct histogram *into, const struct histogram *from);
/* The middle of the first bucket with at least `percent` of the values at or below it; the exact
 * maximum for the last value; 0 when empty. */
uint64_t histogram_percentile(const struct histogram *h, double percent);
#endif
