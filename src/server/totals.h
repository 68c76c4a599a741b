#ifndef FOREBAY_SERVER_TOTALS_H
#define FOREBAY_SERVER_TOTALS_H
/* Sums over shards and partitions, as of now. Any thread. */
#include "command/stats.h"
#include "engine/keyspace.h"
#include "shard/shard.h"

struct totals {
    uint64_t commands, requests_batched, batches, in_bytes, out_bytes;
    uint64_t accepted, rejected, connections;
    uint64_t closed_output, closed_query, closed_idle, evicted_clients;
    uint64_t protocol_errors, error_replies, auth_failures;
    uint64_t loops, parked;
    uint64_t expire_ticks, expire_capped;
    uint64_t defrag_ticks, defrag_now;
    double stale_percent; /* of the entries with a TTL that the sweep met lately: were expired */
    uint64_t row_hits, row_misses, row_joins, row_fills, row_fills_refused, row_errors;
    uint64_t row_timeouts;
    uint64_t hits, misses, expired, evicted; /* of the partitions */
    uint64_t defrag_hits, defrag_misses, defrag_key_hits, defrag_key_misses;
};

/* Counters that no shard resets: their state at the last CONFIG RESETSTAT. */
struct totals_base {
    uint64_t hits, misses, expired, evicted;
    uint64_t defrag_hits, defrag_misses, defrag_key_hits, defrag_key_misses;
    struct store_stats store;
};

void totals_read(const struct shard_group *group, const struct keyspace *ks,
                 const struct totals_base *base, struct totals *out);
/* The base as of now; `store` may be NULL. */
void totals_base_read(const struct keyspace *ks, struct store *store, struct totals_base *out);
/* The store's figures since the base. */
void totals_store(struct store *store, const struct totals_base *base, struct store_stats *out);
#endif
