#ifndef FOREBAY_STORE_LATENCY_H
#define FOREBAY_STORE_LATENCY_H
/* Buckets of store_stats.latency. */
#include <stdint.h>

/* Below STORE_LATENCY_BUCKETS; the last takes all that is longer. */
uint32_t latency_bucket(uint64_t us);
#endif
