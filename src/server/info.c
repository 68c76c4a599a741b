/* INFO's sections as Redis has them. A field that has no meaning here keeps the value that a Redis
 * with the feature unused reports, as exporters expect it to be there. */
#include "server/info.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "command/version.h"
#include "server/limits.h"

enum { MERGED_ERRORS_MAX = 256, HUMAN_CHARS_MAX = 32 };

typedef void (*section_fn)(struct server *s, struct env *env, const struct totals *t,
                           struct buf *out);

static void line_u64(struct buf *out, const char *name, uint64_t value) {
    buf_printf(out, "%s:%" PRIu64 "\r\n", name, value);
}

static void zeros(struct buf *out, const char *const *names) {
    for (; *names; names++) {
        line_u64(out, *names, 0);
    }
}

static void bytes_and_human(struct buf *out, const char *name, uint64_t bytes) {
    char human[HUMAN_CHARS_MAX];
    num_format_bytes(human, bytes);
    buf_printf(out, "%s:%" PRIu64 "\r\n%s_human:%s\r\n", name, bytes, name, human);
}

static const char *net_name(const struct server *s) {
    return shards_backend(s->group) == NET_URING ? "io_uring" : "epoll";
}

static void section_server(struct server *s, struct env *env, const struct totals *t,
                           struct buf *out) {
    struct utsname os;
    uname(&os);
    int64_t up_s = (clock_mono_us() - s->started_us) / 1000000;
    pthread_mutex_lock(&s->config_lock);
    long long port = config_int(s->config, "port"), hz = config_int(s->config, "hz");
    char *path = mem_strdup(s->config->path ? s->config->path : "");
    pthread_mutex_unlock(&s->config_lock);
    buf_printf(out,
               "redis_version:" REDIS_VERSION "\r\nredis_git_sha1:00000000\r\nredis_git_dirty:0\r\n"
               "redis_build_id:0000000000000000\r\nredis_mode:standalone\r\n"
               "forebay_version:%s\r\nos:%s %s %s\r\narch_bits:%zu\r\n"
               "monotonic_clock:POSIX clock_gettime\r\nmultiplexing_api:%s\r\n"
               "atomicvar_api:c11-builtin\r\ngcc_version:%d.%d.%d\r\nprocess_id:%d\r\n"
               "process_supervised:no\r\nrun_id:%s\r\ntcp_port:%lld\r\n",
               FOREBAY_VERSION, os.sysname, os.release, os.machine, sizeof(void *) * 8, net_name(s),
               __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__, (int)getpid(), s->run_id, port);
    buf_printf(out,
               "server_time_usec:%" PRId64 "\r\nuptime_in_seconds:%" PRId64
               "\r\nuptime_in_days:%" PRId64 "\r\nhz:%lld\r\nconfigured_hz:%lld\r\n"
               "lru_clock:%" PRId64 "\r\nexecutable:%s\r\nconfig_file:%s\r\n"
               "io_threads_active:0\r\nlistener0:name=tcp,port=%lld\r\n",
               clock_wall_us(), up_s, up_s / 86400, hz, hz, (env->now_ms / 1000) & 0xffffff,
               s->executable, path, port);
    mem_free(path);
}

static void section_clients(struct server *s, struct env *env, const struct totals *t,
                            struct buf *out) {
    line_u64(out, "connected_clients", t->connections);
    line_u64(out, "cluster_connections", 0);
    line_u64(out, "maxclients", atomic_load(&s->maxclients));
    line_u64(out, "client_recent_max_input_buffer", 0);
    line_u64(out, "client_recent_max_output_buffer", 0);
    line_u64(out, "blocked_clients", t->parked);
    line_u64(out, "tracking_clients", 0);
    line_u64(out, "clients_in_timeout_table", 0);
    line_u64(out, "total_blocking_keys", 0);
    line_u64(out, "total_blocking_keys_on_nokey", 0);
}

static double ratio(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

static void memory_limits(struct server *s, struct env *env, struct buf *out) {
    bytes_and_human(out, "maxmemory", env->settings->keyspace.maxmemory_bytes);
    pthread_mutex_lock(&s->config_lock);
    buf_printf(out, "maxmemory_percent:%u\r\n", config_percent(s->config, "maxmemory"));
    buf_printf(out, "maxmemory_policy:%s\r\n", config_text(s->config, "maxmemory-policy"));
    pthread_mutex_unlock(&s->config_lock);
}

static void memory_ratios(uint64_t used, uint64_t resident, const struct mem_stats *m,
                          struct buf *out) {
    buf_printf(out,
               "allocator_frag_ratio:%.2f\r\nallocator_frag_bytes:%zu\r\n"
               "allocator_rss_ratio:%.2f\r\nallocator_rss_bytes:%" PRId64 "\r\n"
               "rss_overhead_ratio:%.2f\r\nrss_overhead_bytes:%" PRId64 "\r\n"
               "mem_fragmentation_ratio:%.2f\r\nmem_fragmentation_bytes:%" PRId64 "\r\n",
               ratio(m->active, m->allocated), m->active - m->allocated,
               ratio(m->resident, m->active), (int64_t)(m->resident - m->active),
               ratio(resident, m->resident), (int64_t)(resident - m->resident),
               ratio(resident, used), (int64_t)(resident - used));
}

static void section_memory(struct server *s, struct env *env, const struct totals *t,
                           struct buf *out) {
    uint64_t used = (uint64_t)mem_used_bytes(), resident = mem_resident_bytes();
    uint64_t peak = sampler_peak(&s->sampler, used);
    uint64_t overhead = MIN(s->startup_bytes, used);
    struct mem_stats m;
    keyspace_memory_stats(env->ks, &m);
    bytes_and_human(out, "used_memory", used);
    bytes_and_human(out, "used_memory_rss", resident);
    bytes_and_human(out, "used_memory_peak", peak);
    buf_printf(out, "used_memory_peak_perc:%.2f%%\r\n", 100 * ratio(used, peak));
    line_u64(out, "used_memory_overhead", overhead);
    line_u64(out, "used_memory_startup", s->startup_bytes);
    line_u64(out, "used_memory_dataset", used - overhead);
    buf_printf(out, "used_memory_dataset_perc:%.2f%%\r\n", 100 * ratio(used - overhead, used));
    line_u64(out, "allocator_allocated", m.allocated);
    line_u64(out, "allocator_active", m.active);
    line_u64(out, "allocator_resident", m.resident);
    bytes_and_human(out, "total_system_memory", limits_machine_bytes());
    struct limits_memory limit = limits_memory();
    bytes_and_human(out, "mem_limit", limit.bytes);
    buf_printf(out, "mem_limit_source:%s\r\n", limit.source);
    line_u64(out, "used_memory_lua", 0);
    line_u64(out, "used_memory_vm_eval", 0);
    buf_printf(out, "used_memory_lua_human:0B\r\n");
    zeros(out, (const char *const[]){"used_memory_scripts_eval", "number_of_cached_scripts",
                                     "number_of_functions", "number_of_libraries",
                                     "used_memory_vm_functions", "used_memory_vm_total", NULL});
    buf_printf(out, "used_memory_vm_total_human:0B\r\nused_memory_functions:0\r\n"
                    "used_memory_scripts:0\r\nused_memory_scripts_human:0B\r\n");
    memory_limits(s, env, out);
    memory_ratios(used, resident, &m, out);
    zeros(out, (const char *const[]){"mem_not_counted_for_evict", "mem_replication_backlog",
                                     "mem_total_replication_buffers", "mem_clients_slaves",
                                     "mem_cluster_links", "mem_aof_buffer", NULL});
    line_u64(out, "mem_clients_normal", shards_clients_bytes(s->group));
    buf_printf(out, "mem_allocator:%s\r\n", mem_allocator_name());
    buf_printf(out, "active_defrag_values:%s\r\n", mem_knows_slabs() ? "yes" : "no");
    line_u64(out, "active_defrag_running",
             t->defrag_now > 0 ? env->settings->compact_time_percent : 0);
    zeros(out, (const char *const[]){"lazyfree_pending_objects", "lazyfreed_objects", NULL});
}

static void section_persistence(struct server *s, struct env *env, const struct totals *t,
                                struct buf *out) {
    int64_t started_s = (clock_wall_us() - (clock_mono_us() - s->started_us)) / 1000000;
    buf_printf(out,
               "loading:0\r\nasync_loading:0\r\ncurrent_cow_peak:0\r\ncurrent_cow_size:0\r\n"
               "current_cow_size_age:0\r\ncurrent_fork_perc:0.00\r\n"
               "current_save_keys_processed:0\r\ncurrent_save_keys_total:0\r\n"
               "rdb_changes_since_last_save:0\r\nrdb_bgsave_in_progress:0\r\n"
               "rdb_last_save_time:%" PRId64 "\r\nrdb_last_bgsave_status:ok\r\n"
               "rdb_last_bgsave_time_sec:-1\r\nrdb_current_bgsave_time_sec:-1\r\nrdb_saves:0\r\n"
               "rdb_last_cow_size:0\r\nrdb_last_load_keys_expired:0\r\n"
               "rdb_last_load_keys_loaded:0\r\naof_enabled:0\r\naof_rewrite_in_progress:0\r\n"
               "aof_rewrite_scheduled:0\r\naof_last_rewrite_time_sec:-1\r\n"
               "aof_current_rewrite_time_sec:-1\r\naof_last_bgrewrite_status:ok\r\n"
               "aof_rewrites:0\r\naof_rewrites_consecutive_failures:0\r\n"
               "aof_last_write_status:ok\r\naof_last_cow_size:0\r\nmodule_fork_in_progress:0\r\n"
               "module_fork_last_cow_size:0\r\n",
               started_s);
}

static void defragmentation(struct server *s, const struct totals *t, struct buf *out) {
    line_u64(out, "active_defrag_hits", t->defrag_hits);
    line_u64(out, "active_defrag_misses", t->defrag_misses);
    line_u64(out, "active_defrag_key_hits", t->defrag_key_hits);
    line_u64(out, "active_defrag_key_misses", t->defrag_key_misses);
    line_u64(out, "total_active_defrag_time",
             (uint64_t)((double)t->defrag_ticks / shards_ticks_per_us(s->group) / 1000));
}

static void section_stats(struct server *s, struct env *env, const struct totals *t,
                          struct buf *out) {
    line_u64(out, "total_connections_received", t->accepted);
    line_u64(out, "total_commands_processed", t->commands);
    line_u64(out, "instantaneous_ops_per_sec", sampler_rate(&s->sampler, SAMPLE_COMMANDS));
    line_u64(out, "total_net_input_bytes", t->in_bytes);
    line_u64(out, "total_net_output_bytes", t->out_bytes);
    line_u64(out, "total_net_repl_input_bytes", 0);
    line_u64(out, "total_net_repl_output_bytes", 0);
    buf_printf(out,
               "instantaneous_input_kbps:%.2f\r\ninstantaneous_output_kbps:%.2f\r\n"
               "instantaneous_input_repl_kbps:0.00\r\ninstantaneous_output_repl_kbps:0.00\r\n",
               (double)sampler_rate(&s->sampler, SAMPLE_IN_BYTES) / 1024,
               (double)sampler_rate(&s->sampler, SAMPLE_OUT_BYTES) / 1024);
    line_u64(out, "rejected_connections", t->rejected);
    zeros(out, (const char *const[]){"sync_full", "sync_partial_ok", "sync_partial_err", NULL});
    line_u64(out, "expired_keys", t->expired);
    buf_printf(out, "expired_stale_perc:%.2f\r\n", t->stale_percent);
    line_u64(out, "expired_time_cap_reached_count", t->expire_capped);
    line_u64(out, "expire_cycle_cpu_milliseconds",
             (uint64_t)((double)t->expire_ticks / shards_ticks_per_us(s->group) / 1000));
    line_u64(out, "evicted_keys", t->evicted);
    line_u64(out, "evicted_clients", t->evicted_clients);
    zeros(out, (const char *const[]){"total_eviction_exceeded_time",
                                     "current_eviction_exceeded_time", NULL});
    line_u64(out, "keyspace_hits", t->hits);
    line_u64(out, "keyspace_misses", t->misses);
    zeros(out, (const char *const[]){"pubsub_channels", "pubsub_patterns", "pubsubshard_channels",
                                     "latest_fork_usec", "total_forks", "migrate_cached_sockets",
                                     "slave_expires_tracked_keys", NULL});
    defragmentation(s, t, out);
    zeros(out, (const char *const[]){"current_active_defrag_time", "tracking_total_keys",
                                     "tracking_total_items", "tracking_total_prefixes",
                                     "unexpected_error_replies", NULL});
    line_u64(out, "total_error_replies", t->error_replies);
    line_u64(out, "dump_payload_sanitizations", 0);
    line_u64(out, "total_reads_processed", t->loops);
    line_u64(out, "total_writes_processed", t->batches);
    zeros(out,
          (const char *const[]){"io_threaded_reads_processed", "io_threaded_writes_processed",
                                "reply_buffer_shrinks", "reply_buffer_expands", "eventloop_cycles",
                                "eventloop_duration_sum", "eventloop_duration_cmd_sum", NULL});
    line_u64(out, "instantaneous_eventloop_cycles_per_sec", 0);
    line_u64(out, "instantaneous_eventloop_duration_usec", 0);
    line_u64(out, "acl_access_denied_auth", t->auth_failures);
    zeros(out, (const char *const[]){"acl_access_denied_cmd", "acl_access_denied_key",
                                     "acl_access_denied_channel", NULL});
    line_u64(out, "client_query_buffer_limit_disconnections", t->closed_query);
    line_u64(out, "client_output_buffer_limit_disconnections", t->closed_output);
    line_u64(out, "client_idle_disconnections", t->closed_idle);
    line_u64(out, "protocol_errors", t->protocol_errors);
}

static void section_replication(struct server *s, struct env *env, const struct totals *t,
                                struct buf *out) {
    buf_printf(out,
               "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n"
               "master_replid:%s\r\n"
               "master_replid2:0000000000000000000000000000000000000000\r\n"
               "master_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\n"
               "repl_backlog_size:1048576\r\nrepl_backlog_first_byte_offset:0\r\n"
               "repl_backlog_histlen:0\r\n",
               s->run_id);
}

static void cpu_lines(struct buf *out, const char *suffix, const struct rusage *u) {
    buf_printf(out, "used_cpu_sys%s:%ld.%06ld\r\nused_cpu_user%s:%ld.%06ld\r\n", suffix,
               (long)u->ru_stime.tv_sec, (long)u->ru_stime.tv_usec, suffix,
               (long)u->ru_utime.tv_sec, (long)u->ru_utime.tv_usec);
}

static void section_cpu(struct server *s, struct env *env, const struct totals *t,
                        struct buf *out) {
    struct rusage self, children, thread;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    getrusage(RUSAGE_THREAD, &thread);
    cpu_lines(out, "", &self);
    cpu_lines(out, "_children", &children);
    cpu_lines(out, "_main_thread", &thread);
}

static void section_empty(struct server *s, struct env *env, const struct totals *t,
                          struct buf *out) {
}

static void section_commandstats(struct server *s, struct env *env, const struct totals *t,
                                 struct buf *out) {
    double ticks_per_us = shards_ticks_per_us(s->group);
    for (uint32_t id = 0; id < command_table_count(s->commands); id++) {
        uint64_t calls = 0, ticks = 0, rejected = 0, failed = 0;
        for (uint32_t i = 0; i < shards_count(s->group); i++) {
            const struct command_stats *c = &shards_stats(s->group, i)->per_command[id];
            calls += stat_get(&c->calls);
            ticks += stat_get(&c->ticks);
            rejected += stat_get(&c->rejected);
            failed += stat_get(&c->failed);
        }
        if (calls == 0 && rejected == 0 && failed == 0) {
            continue;
        }
        double us = (double)ticks / ticks_per_us;
        buf_printf(out,
                   "cmdstat_%s:calls=%" PRIu64
                   ",usec=%.0f,usec_per_call=%.2f,rejected_calls=%" PRIu64 ",failed_calls=%" PRIu64
                   "\r\n",
                   command_table_full_name(s->commands, id), calls, us,
                   calls ? us / (double)calls : 0, rejected, failed);
    }
}

struct error_sum {
    const char *name;
    uint64_t count;
};

static void add_error(struct error_sum *sums, uint32_t *count, const char *name, uint64_t amount) {
    for (uint32_t i = 0; i < *count; i++) {
        if (strcmp(sums[i].name, name) == 0) {
            sums[i].count += amount;
            return;
        }
    }
    if (*count < MERGED_ERRORS_MAX) {
        sums[(*count)++] = (struct error_sum){name, amount};
    }
}

static void section_errorstats(struct server *s, struct env *env, const struct totals *t,
                               struct buf *out) {
    struct error_sum sums[MERGED_ERRORS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < shards_count(s->group); i++) {
        const struct stats *st = shards_stats(s->group, i);
        for (uint32_t e = 0; e < STATS_ERROR_KINDS_MAX; e++) {
            uint64_t amount = atomic_load_explicit((_Atomic uint64_t *)&st->errors[e].count,
                                                   memory_order_acquire);
            if (amount > 0) {
                add_error(sums, &count, st->errors[e].name, amount);
            }
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        buf_printf(out, "errorstat_%s:count=%" PRIu64 "\r\n", sums[i].name, sums[i].count);
    }
}

static void section_cluster(struct server *s, struct env *env, const struct totals *t,
                            struct buf *out) {
    line_u64(out, "cluster_enabled", 0);
}

static void section_keyspace(struct server *s, struct env *env, const struct totals *t,
                             struct buf *out) {
    for (unsigned db = 0; db < env->settings->databases; db++) {
        uint64_t keys, with_expiry;
        keyspace_count(s->ks, env->held, db, &keys, &with_expiry);
        if (keys > 0) {
            uint64_t ttl_ms = with_expiry ? keyspace_mean_ttl_ms(s->ks, env->held, db) : 0;
            buf_printf(out, "db%u:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=%" PRIu64 "\r\n", db,
                       keys, with_expiry, ttl_ms);
        }
    }
}

static const struct {
    const char *name, *title;
    section_fn fn;
    bool in_default;
} sections_table[] = {
    {"server", "Server", section_server, true},
    {"clients", "Clients", section_clients, true},
    {"memory", "Memory", section_memory, true},
    {"persistence", "Persistence", section_persistence, true},
    {"stats", "Stats", section_stats, true},
    {"replication", "Replication", section_replication, true},
    {"cpu", "CPU", section_cpu, true},
    {"modules", "Modules", section_empty, true},
    {"commandstats", "Commandstats", section_commandstats, false},
    {"errorstats", "Errorstats", section_errorstats, true},
    {"latencystats", "Latencystats", section_empty, false},
    {"cluster", "Cluster", section_cluster, true},
    {"shards", "Shards", info_shards, true},
    {"store", "Store", info_store, true},
    {"missratio", "Missratio", info_missratio, false},
    {"keyspace", "Keyspace", section_keyspace, true},
};

static bool is_wanted(size_t i, const struct slice *sections, uint32_t count) {
    if (count == 0) {
        return sections_table[i].in_default;
    }
    for (uint32_t n = 0; n < count; n++) {
        if (slice_eq_nocase(sections[n], slice_str(sections_table[i].name)) ||
            slice_eq_nocase(sections[n], SLICE("all")) ||
            slice_eq_nocase(sections[n], SLICE("everything")) ||
            (sections_table[i].in_default && slice_eq_nocase(sections[n], SLICE("default")))) {
            return true;
        }
    }
    return false;
}

void info_write(struct server *s, struct env *env, const struct slice *sections, uint32_t count,
                struct buf *out) {
    struct totals t;
    pthread_mutex_lock(&s->base_lock);
    struct totals_base base = s->base;
    pthread_mutex_unlock(&s->base_lock);
    totals_read(s->group, s->ks, &base, &t);
    bool first = true;
    for (size_t i = 0; i < ARRAY_COUNT(sections_table); i++) {
        if (is_wanted(i, sections, count)) {
            buf_printf(out, "%s# %s\r\n", first ? "" : "\r\n", sections_table[i].title);
            sections_table[i].fn(s, env, &t, out);
            first = false;
        }
    }
}
