/* Latency in buckets of powers of the root of two: bucket i holds what took up to 2^(i/2) us. */
#include "store/latency.h"

#include "store/store.h"

static uint64_t bound_us(uint32_t bucket) {
    uint64_t thousandths = bucket % 2 ? 1414 : 1000;
    return (UINT64_C(1) << (bucket / 2)) * thousandths / 1000;
}

uint32_t latency_bucket(uint64_t us) {
    uint32_t bucket = 0;
    while (bucket < STORE_LATENCY_BUCKETS - 1 && us > bound_us(bucket)) {
        bucket++;
    }
    return bucket;
}

uint64_t store_latency_us(const struct store_stats *stats, double p) {
    uint64_t total = 0, seen = 0;
    for (uint32_t i = 0; i < STORE_LATENCY_BUCKETS; i++) {
        total += stats->latency[i];
    }
    for (uint32_t i = 0; i < STORE_LATENCY_BUCKETS && total; i++) {
        seen += stats->latency[i];
        if (seen && (double)seen >= p / 100 * (double)total) {
            return bound_us(i);
        }
    }
    return 0;
}
