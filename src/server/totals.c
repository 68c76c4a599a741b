/* See totals.h. Relaxed loads only: the figures of different shards are of slightly different
 * times. */
#include "server/totals.h"

static void add_partitions(const struct keyspace *ks, struct totals_base *out) {
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        const struct partition_stats *s = &ks->partitions[i]->stats;
        out->hits += stat_get(&s->hits);
        out->misses += stat_get(&s->misses);
        out->expired += stat_get(&s->expired);
        out->evicted += stat_get(&s->evicted);
        out->defrag_hits += stat_get(&s->defrag_hits);
        out->defrag_misses += stat_get(&s->defrag_misses);
        out->defrag_key_hits += stat_get(&s->defrag_key_hits);
        out->defrag_key_misses += stat_get(&s->defrag_key_misses);
    }
}

static void add_shard(const struct stats *s, struct totals *out) {
    out->commands += stat_get(&s->commands);
    out->requests_batched += stat_get(&s->requests_batched);
    out->batches += stat_get(&s->batches);
    out->in_bytes += stat_get(&s->net_in_bytes);
    out->out_bytes += stat_get(&s->net_out_bytes);
    out->accepted += stat_get(&s->connections_accepted);
    out->rejected += stat_get(&s->connections_rejected);
    out->connections += stat_get(&s->connections_now);
    out->closed_output += stat_get(&s->clients_closed_output);
    out->closed_query += stat_get(&s->clients_closed_query);
    out->evicted_clients += stat_get(&s->clients_evicted);
    out->closed_idle += stat_get(&s->clients_closed_idle);
    out->protocol_errors += stat_get(&s->protocol_errors);
    out->error_replies += stat_get(&s->error_replies);
    out->auth_failures += stat_get(&s->auth_failures);
    out->loops += stat_get(&s->loops);
    out->expire_ticks += stat_get(&s->expire_ticks);
    out->expire_capped += stat_get(&s->expire_capped);
    out->defrag_ticks += stat_get(&s->defrag_ticks);
    out->defrag_now += stat_get(&s->defrag_now);
    out->parked += stat_get(&s->parked_now);
    uint64_t found = stat_get(&s->row_hits), waited = stat_get(&s->row_waited);
    out->row_hits += found - MIN(found, waited); /* a row is waited for before it is found */
    out->row_misses += stat_get(&s->row_misses);
    out->row_joins += stat_get(&s->row_joins);
    out->row_fills += stat_get(&s->row_fills);
    out->row_fills_refused += stat_get(&s->row_fills_refused);
    out->row_errors += stat_get(&s->row_errors);
    out->row_timeouts += stat_get(&s->row_timeouts);
}

/* The mean: partitions hold nearly equal shares. */
static double stale_percent(const struct keyspace *ks) {
    double ppm = 0;
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        ppm += atomic_load_explicit(&ks->partitions[i]->stats.stale_ppm, memory_order_relaxed);
    }
    return ppm / ks->partitions_count / 1e4;
}

void totals_read(const struct shard_group *group, const struct keyspace *ks,
                 const struct totals_base *base, struct totals *out) {
    *out = (struct totals){0};
    for (uint32_t i = 0; i < shards_count(group); i++) {
        add_shard(shards_stats(group, i), out);
    }
    struct totals_base now = {0};
    add_partitions(ks, &now);
    out->stale_percent = stale_percent(ks);
    out->hits = now.hits - base->hits;
    out->misses = now.misses - base->misses;
    out->expired = now.expired - base->expired;
    out->evicted = now.evicted - base->evicted;
    out->defrag_hits = now.defrag_hits - base->defrag_hits;
    out->defrag_misses = now.defrag_misses - base->defrag_misses;
    out->defrag_key_hits = now.defrag_key_hits - base->defrag_key_hits;
    out->defrag_key_misses = now.defrag_key_misses - base->defrag_key_misses;
}

void totals_base_read(const struct keyspace *ks, struct store *store, struct totals_base *out) {
    *out = (struct totals_base){0};
    add_partitions(ks, out);
    if (store) {
        store_stats_read(store, &out->store);
    }
}

void totals_store(struct store *store, const struct totals_base *base, struct store_stats *out) {
    const struct store_stats *old = &base->store;
    store_stats_read(store, out);
    out->loads -= old->loads;
    out->rows -= old->rows;
    out->absent -= old->absent;
    out->batches -= old->batches;
    out->errors -= old->errors;
    out->timeouts -= old->timeouts;
    out->connects -= old->connects;
    out->reconnects -= old->reconnects;
    out->breaker_opened -= old->breaker_opened;
    for (int i = 0; i < STORE_LATENCY_BUCKETS; i++) {
        out->latency[i] -= old->latency[i];
    }
}
