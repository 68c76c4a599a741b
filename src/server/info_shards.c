/* INFO's sections that Redis does not have: `shards`, a line a shard, `missratio` and
 * `store`. */
#include <inttypes.h>

#include "server/info.h"

/* mean(load)/max(load): 1 is a perfect balance. */
static double efficiency(const struct server *s, uint64_t (*load)(const struct stats *)) {
    uint64_t sum = 0, most = 0;
    uint32_t count = shards_count(s->group);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t n = load(shards_stats(s->group, i));
        sum += n;
        most = MAX(most, n);
    }
    return most ? (double)sum / count / (double)most : 1;
}

static uint64_t load_requests(const struct stats *st) {
    return stat_get(&st->commands);
}

static uint64_t load_busy(const struct stats *st) {
    return stat_get(&st->busy_us);
}

static uint64_t load_connections(const struct stats *st) {
    return stat_get(&st->connections_now);
}

static double share(uint64_t part, uint64_t whole) {
    return whole ? (double)part / (double)whole : 0;
}

void info_shards(struct server *s, struct env *env, const struct totals *t, struct buf *out) {
    enum net_backend backend = shards_backend(s->group);
    uint32_t count = shards_count(s->group);
    buf_printf(out, "shards:%u\r\npartitions:%u\r\nnet:%s\r\nnet_reason:%s\r\n", count,
               s->ks->partitions_count, backend == NET_URING ? "io_uring" : "epoll",
               shards_backend_why(s->group));
    buf_printf(out,
               "in_progress:%" PRIu64 "\r\nrequests_per_batch:%.2f\r\n"
               "balance_efficiency:%.3f\r\nbalance_efficiency_busy:%.3f\r\n"
               "balance_efficiency_connections:%.3f\r\n",
               shards_in_progress(s->group), share(t->requests_batched, t->batches),
               efficiency(s, load_requests), efficiency(s, load_busy),
               efficiency(s, load_connections));
    for (uint32_t i = 0; i < count; i++) {
        const struct stats *st = shards_stats(s->group, i);
        uint64_t busy = stat_get(&st->busy_us), idle = stat_get(&st->idle_us);
        uint64_t batched = stat_get(&st->requests_batched), batches = stat_get(&st->batches);
        buf_printf(out,
                   "shard%u:connections=%" PRIu64 ",requests=%" PRIu64 ",busy=%.4f,batches=%" PRIu64
                   ",requests_per_batch=%.2f,parked=%" PRIu64 ",messages=%" PRIu64 ",loops=%" PRIu64
                   ",net=%s\r\n",
                   i, stat_get(&st->connections_now), stat_get(&st->commands),
                   share(busy, busy + idle), batches, share(batched, batches),
                   stat_get(&st->parked_now), stat_get(&st->messages), stat_get(&st->loops),
                   backend == NET_URING ? "io_uring" : "epoll");
    }
}

/* What the keys take, index included: so many of the sampled keys' mean size. */
static uint64_t keys_bytes(struct server *s, struct env *env, const struct mrc_sum *sum) {
    uint64_t keys = 0;
    for (unsigned db = 0; db < env->settings->databases; db++) {
        uint64_t here, with_expiry;
        keyspace_count(s->ks, env->held, db, &here, &with_expiry);
        keys += here;
    }
    return sum->keys ? (uint64_t)((double)sum->bytes / (double)sum->keys * (double)keys) : 0;
}

void info_missratio(struct server *s, struct env *env, const struct totals *t, struct buf *out) {
    static const struct {
        const char *name;
        double times;
    } sizes[] = {{"0.25x", 0.25}, {"0.5x", 0.5}, {"1x", 1},         {"1.5x", 1.5},
                 {"2x", 2},       {"4x", 4},     {"unlimited", 1e9}};
    struct mrc_sum sum = {0};
    keyspace_estimate(s->ks, env->held, &sum);
    uint64_t bytes = keys_bytes(s, env, &sum);
    buf_printf(out,
               "hit_ratio_estimate:%s\r\nsampled_keys:%" PRIu64 "\r\nsampling_rate:%.6f\r\n"
               "estimated_reads:%.0f\r\nkeys_memory:%" PRIu64 "\r\nhit_ratio_measured:%.4f\r\n",
               env->settings->keyspace.no_estimate ? "off" : "on", sum.keys,
               sum.rate / MAX(sum.parts, 1u), sum.reads, bytes,
               sum.reads > 0 ? sum.hits / sum.reads : 0);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        buf_printf(out, "hit_ratio_%s:%.4f\r\n", sizes[i].name,
                   mrc_hit_ratio(&sum, (double)bytes * sizes[i].times));
    }
}

static void store_latency(const struct store_stats *st, struct buf *out) {
    buf_printf(out,
               "store_latency_us:p50=%" PRIu64 ",p90=%" PRIu64 ",p99=%" PRIu64 ",p99.9=%" PRIu64
               "\r\n",
               store_latency_us(st, 50), store_latency_us(st, 90), store_latency_us(st, 99),
               store_latency_us(st, 99.9));
}

/* A field's value must stay on its line. */
static void one_line(char *text) {
    for (; *text; text++) {
        if (*text == '\r' || *text == '\n') {
            *text = ' ';
        }
    }
}

static void store_maps(const struct env *env, struct buf *out) {
    const struct mapping_set *maps = env->settings->maps;
    static const char *const forms[] = {
        [MAPPING_HASH] = "hash", [MAPPING_STRING] = "string", [MAPPING_JSON] = "json"};
    buf_printf(out, "store_mappings:%u\r\n", maps ? maps->count : 0);
    for (uint32_t i = 0; maps && i < maps->count; i++) {
        const struct mapping *m = maps->v[i];
        buf_printf(out, "map_%s:table=%s,as=%s,ttl_ms=%" PRId64 ",absent_ms=%" PRId64 "\r\n",
                   m->name, m->table, forms[m->form], m->ttl_ms, m->absent_ms);
    }
}

void info_store(struct server *s, struct env *env, const struct totals *t, struct buf *out) {
    if (!s->store) {
        buf_printf(out, "store_driver:none\r\nstore_status:none\r\n");
        return;
    }
    static const char *const statuses[] = {[STORE_HEALTH_UNKNOWN] = "not_connected",
                                           [STORE_HEALTH_UP] = "up",
                                           [STORE_HEALTH_DOWN] = "down"};
    struct store_stats st, raw;
    store_stats_read(s->store, &raw);
    pthread_mutex_lock(&s->base_lock);
    totals_store(s->store, &s->base, &st);
    pthread_mutex_unlock(&s->base_lock);
    one_line(st.server);
    one_line(st.last_error);
    buf_printf(out, "store_driver:%s\r\nstore_server:%s\r\nstore_status:%s\r\n", st.driver,
               st.server, statuses[raw.health]);
    buf_printf(out,
               "store_hits:%" PRIu64 "\r\nstore_misses:%" PRIu64 "\r\nstore_hit_ratio:%.4f\r\n"
               "store_joins:%" PRIu64 "\r\nstore_fills:%" PRIu64 "\r\nstore_fills_refused:%" PRIu64
               "\r\nstore_row_errors:%" PRIu64 "\r\nstore_row_timeouts:%" PRIu64 "\r\n",
               t->row_hits, t->row_misses, share(t->row_hits, t->row_hits + t->row_misses),
               t->row_joins, t->row_fills, t->row_fills_refused, t->row_errors, t->row_timeouts);
    buf_printf(out,
               "store_loads:%" PRIu64 "\r\nstore_rows:%" PRIu64 "\r\nstore_absent:%" PRIu64
               "\r\nstore_batches:%" PRIu64 "\r\nstore_keys_per_batch:%.2f\r\n"
               "store_errors:%" PRIu64 "\r\nstore_timeouts:%" PRIu64 "\r\nstore_connects:%" PRIu64
               "\r\nstore_reconnects:%" PRIu64
               "\r\nstore_breaker:%s\r\nstore_breaker_opened:%" PRIu64 "\r\nstore_queued:%" PRIu64
               "\r\nstore_workers:%" PRIu64 "\r\nstore_workers_busy:%" PRIu64
               "\r\nstore_loads_bytes:%" PRIu64 "\r\nstore_loads_bytes_max:%" PRIu64
               "\r\nstore_workers_waiting:%" PRIu64 "\r\nstore_kept_bytes:%" PRIu64
               "\r\nstore_commands_waiting:%" PRIu64 "\r\n",
               st.loads, st.rows, st.absent, st.batches, share(st.loads, st.batches), st.errors,
               st.timeouts, st.connects, st.reconnects, raw.breaker_open ? "open" : "closed",
               st.breaker_opened, st.queued, st.workers, st.busy_workers, st.loads_bytes,
               st.loads_bytes_max, st.room_waiting + st.room_idle, shards_kept_bytes(s->group),
               shards_share_waiting(s->group));
    store_latency(&st, out);
    buf_printf(out, "store_last_error:%s\r\n", st.last_error);
    store_maps(env, out);
}
