#ifndef FOREBAY_SERVER_SAMPLER_H
#define FOREBAY_SERVER_SAMPLER_H
/* Rates a second, averaged over the last samples, and the memory's peak. Written by the main thread
 * every SAMPLER_PERIOD_MS, read by anybody. */
#include <stdatomic.h>
#include <stdint.h>

enum { SAMPLER_PERIOD_MS = 100, SAMPLER_KEPT = 16 };
enum sampler_metric { SAMPLE_COMMANDS, SAMPLE_IN_BYTES, SAMPLE_OUT_BYTES, SAMPLER_METRICS };

struct sampler {
    int64_t last_us; /* 0 before the first sample */
    uint64_t last[SAMPLER_METRICS];
    uint64_t kept[SAMPLER_METRICS][SAMPLER_KEPT]; /* a second */
    uint32_t next;
    _Atomic uint64_t rate[SAMPLER_METRICS];
    _Atomic uint64_t peak_bytes;
};

/* `totals` only grow, but for a reset of the statistics. All zero is a fresh sampler. */
void sampler_add(struct sampler *s, int64_t now_us, const uint64_t totals[SAMPLER_METRICS]);
uint64_t sampler_rate(const struct sampler *s, enum sampler_metric metric);
/* Keeps the highest; any thread. Returns the peak. */
uint64_t sampler_peak(struct sampler *s, uint64_t used_bytes);
#endif
