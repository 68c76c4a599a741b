/* Latency histogram of the load generator; see the header for the layout. */
#include "histogram.h"

#include <math.h>
#include <string.h>
#include "base/assert.h"

enum { SUB_COUNT = 1 << HISTOGRAM_SUB_BITS };

static uint32_t bucket_of(uint64_t value) {
    if (value < 2 * SUB_COUNT) {
        return (uint32_t)value;
    }
    uint32_t shift = 63 - HISTOGRAM_SUB_BITS - (uint32_t)__builtin_clzll(value);
    return (shift << HISTOGRAM_SUB_BITS) + (uint32_t)(value >> shift);
}

static uint64_t middle_of(uint32_t bucket) {
    if (bucket < 2 * SUB_COUNT) {
        return bucket;
    }
    uint32_t shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    uint64_t low = ((uint64_t)(bucket & (SUB_COUNT - 1)) | SUB_COUNT) << shift;
    return low + ((UINT64_C(1) << shift) >> 1);
}

void histogram_clear(struct histogram *h) {
    memset(h, 0, sizeof(*h));
}

void histogram_record(struct histogram *h, uint64_t value_ns, uint64_t times) {
    value_ns = MIN(value_ns, HISTOGRAM_VALUE_MAX);
    uint32_t bucket = bucket_of(value_ns);
    ASSERT(bucket < HISTOGRAM_BUCKETS);
    h->count[bucket] += times;
    h->total += times;
    if (times > 0 && value_ns > h->max) {
        h->max = value_ns;
    }
}

void histogram_add(struct histogram *into, const struct histogram *from) {
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->count[i] += from->count[i];
    }
    into->total += from->total;
    into->max = MAX(into->max, from->max);
}

uint64_t histogram_percentile(const struct histogram *h, double percent) {
    if (h->total == 0) {
        return 0;
    }
    uint64_t rank = (uint64_t)ceil((double)h->total * percent / 100.0);
    rank = MAX(rank, 1);
    if (rank >= h->total) {
        return h->max;
    }
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->count[i];
        if (seen >= rank) {
            return MIN(middle_of(i), h->max);
        }
    }
    return h->max;
}
