#ifndef FOREBAY_BENCH_SCHEDULE_H
#define FOREBAY_BENCH_SCHEDULE_H
/* When the n-th batch of an open loop is due: at fixed times from the start on, whatever the server
 * does, and latency counts from there. A server that stands still for a second therefore shows up
 * in every request that was due in that second, not in one (no coordinated omission). */
#include <stdint.h>
#include "base/assert.h"

struct schedule {
    int64_t start_ns;
    double interval_ns; /* between two batches */
};

/* `batches_per_second` > 0. */
static inline struct schedule schedule_make(int64_t start_ns, double batches_per_second) {
    ASSERT(batches_per_second > 0);
    return (struct schedule){start_ns, 1e9 / batches_per_second};
}

/* Computed from n, not by adding up intervals: rounding never drifts. */
static inline int64_t schedule_due_ns(const struct schedule *s, uint64_t n) {
    return s->start_ns + (int64_t)((double)n * s->interval_ns);
}

/* Batches due at `now_ns`: the smallest n that is not due yet. */
static inline uint64_t schedule_due_count(const struct schedule *s, int64_t now_ns) {
    if (now_ns < s->start_ns) {
        return 0;
    }
    uint64_t n = (uint64_t)((double)(now_ns - s->start_ns) / s->interval_ns);
    while (schedule_due_ns(s, n) <= now_ns) {
        n++;
    }
    while (n > 0 && schedule_due_ns(s, n - 1) > now_ns) {
        n--;
    }
    return n;
}
#endif
