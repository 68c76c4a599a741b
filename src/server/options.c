/* One row an option. Those below the line "accepted for compatibility" have no effect here:
 * clients, exporters and configuration files written for Redis read or set them. Where a value
 * would promise what Forebay does not do (persistence, replication, clustering) only the harmless
 * one is taken. */
#include "server/options.h"

#include "engine/partition.h"
#include "server/limits.h"
#include "store/store.h"

#define GB (1024ll * 1024 * 1024)
#define MB (1024ll * 1024)

#define BOOL_(n, f, init)                                                                          \
    { .name = n, .type = OPTION_BOOL, .flags = f, .initial = init }
#define BOOL_ONLY(n, f, init, why)                                                                 \
    { .name = n, .type = OPTION_BOOL, .flags = f, .initial = init, .refusal = why }
#define INT_(n, f, init, lo, hi)                                                                   \
    { .name = n, .type = OPTION_INT, .flags = f, .initial = init, .min = lo, .max = hi }
#define INT_ALIAS(n, a, f, init, lo, hi)                                                           \
    { .name = n, .alias = a, .type = OPTION_INT, .flags = f, .initial = init, .min = lo, .max = hi }
#define MEMORY_(n, f, init, lo, hi)                                                                \
    { .name = n, .type = OPTION_MEMORY, .flags = f, .initial = init, .min = lo, .max = hi }
#define SPAN_(n, f, init, lo, hi)                                                                  \
    { .name = n, .type = OPTION_SPAN, .flags = f, .initial = init, .min = lo, .max = hi }
#define TEXT_(n, f, init)                                                                          \
    { .name = n, .type = OPTION_TEXT, .flags = f, .initial = init }
#define TEXT_ONLY(n, f, init, why)                                                                 \
    { .name = n, .type = OPTION_TEXT, .flags = f, .initial = init, .refusal = why }
#define SPECIAL_(n, f, init, fn)                                                                   \
    { .name = n, .type = OPTION_SPECIAL, .flags = f, .initial = init, .normalise = fn }
#define ENUM_(n, f, init, ...)                                                                     \
    {                                                                                              \
        .name = n, .type = OPTION_ENUM, .flags = f, .initial = init,                               \
        .words = (const char *const[]) {                                                           \
            __VA_ARGS__, NULL                                                                      \
        }                                                                                          \
    }

#define NO_PERSISTENCE                                                                             \
    "Forebay does not persist: it is a cache in front of a table; remove the line or turn it off"
#define NO_REPLICATION "Forebay does not replicate: every instance fills itself from the table"
#define NO_CLUSTER     "cluster mode is not supported"
#define NO_TLS         "TLS is not supported by this version"

enum { FIXED = OPTION_IMMUTABLE, COMPAT = OPTION_COMPAT, FIXED_COMPAT = FIXED | COMPAT };

static const struct option table[] = {
    /* network */
    SPECIAL_("bind", FIXED, "127.0.0.1 -::1", option_bind),
    INT_("port", FIXED, "6379", 0, 65535),
    TEXT_("unixsocket", FIXED, ""),
    {.name = "unixsocketperm", .type = OPTION_OCTAL, .flags = FIXED, .initial = "0", .max = 0777},
    INT_("tcp-backlog", FIXED, "511", 0, INT32_MAX),
    INT_("tcp-keepalive", 0, "300", 0, INT32_MAX),
    INT_("timeout", 0, "0", 0, INT32_MAX),
    INT_("maxclients", 0, "10000", 1, LIMITS_CLIENTS_MAX),
    BOOL_("protected-mode", 0, "yes"),
    {.name = "requirepass", .type = OPTION_PASSWORD, .initial = "", .max = 511},
    ENUM_("net", FIXED, "auto", "auto", "io_uring", "epoll"),
    ENUM_("accept-balance", 0, "least-connections", "kernel", "round-robin", "least-connections"),
    /* process */
    BOOL_ONLY("daemonize", FIXED, "no",
              "Forebay stays in the foreground: let a service manager run it"),
    TEXT_("pidfile", FIXED, ""),
    ENUM_("loglevel", 0, "notice", "debug", "verbose", "notice", "warning", "nothing"),
    TEXT_("logfile", FIXED, ""),
    TEXT_("dir", OPTION_PROTECTED, "."),
    INT_("shards", FIXED, "0", 0, LIMITS_SHARDS_MAX),
    BOOL_("pin-shards", FIXED, "no"),
    ENUM_("enable-debug-command", FIXED, "no", "no", "yes", "local"),
    /* keyspace and memory */
    INT_("databases", FIXED, "16", 1, DATABASES_MAX),
    {.name = "maxmemory", .type = OPTION_MEMORY_PERCENT, .initial = "0", .max = INT64_MAX},
    ENUM_("maxmemory-policy", 0, "noeviction", "volatile-lru", "volatile-lfu", "volatile-random",
          "volatile-ttl", "allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"),
    BOOL_("activedefrag", 0, "yes"),
    INT_("active-defrag-threshold-lower", 0, "5", 0, 1000),
    INT_("active-defrag-cycle-max", 0, "25", 1, 99),
    INT_("maxmemory-samples", 0, "5", 1, 64),
    BOOL_("hit-ratio-estimate", 0, "yes"),
    INT_ALIAS("hash-max-listpack-entries", "hash-max-ziplist-entries", 0, "512", 0, INT32_MAX),
    INT_ALIAS("hash-max-listpack-value", "hash-max-ziplist-value", 0, "64", 0, INT32_MAX),
    /* limits of the protocol and of clients */
    MEMORY_("proto-max-bulk-len", 0, "536870912", MB, INT64_MAX),
    MEMORY_("client-query-buffer-limit", 0, "1073741824", MB, INT64_MAX),
    SPECIAL_("client-output-buffer-limit", 0,
             "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
             option_output_limits),
    /* the store */
    SPECIAL_("store", FIXED | OPTION_HIDE_URL_PASSWORD, "", option_store_url),
    {.name = "store-password-file", .type = OPTION_TEXT, .flags = FIXED, .initial = "", .max = 511},
    INT_("store-pool", FIXED, "8", 1, STORE_POOL_MAX),
    SPAN_("store-timeout", FIXED, "250ms", 1, 3600000),
    SPECIAL_("store-breaker", FIXED, "errors=20/1s open=2s", option_breaker),
    {.name = "map", .type = OPTION_MAPS, .initial = ""},

    /* --- accepted for compatibility --- */
    {.name = "save",
     .type = OPTION_SPECIAL,
     .flags = COMPAT,
     .initial = "",
     .normalise = option_words,
     .refusal = NO_PERSISTENCE},
    BOOL_ONLY("appendonly", COMPAT, "no", NO_PERSISTENCE),
    ENUM_("appendfsync", COMPAT, "everysec", "everysec", "always", "no"),
    TEXT_("appendfilename", FIXED_COMPAT, "appendonly.aof"),
    TEXT_("appenddirname", FIXED_COMPAT, "appendonlydir"),
    TEXT_("dbfilename", OPTION_PROTECTED | COMPAT, "dump.rdb"),
    BOOL_("no-appendfsync-on-rewrite", COMPAT, "no"),
    INT_("auto-aof-rewrite-percentage", COMPAT, "100", 0, INT32_MAX),
    MEMORY_("auto-aof-rewrite-min-size", COMPAT, "67108864", 0, INT64_MAX),
    BOOL_("aof-load-truncated", COMPAT, "yes"),
    BOOL_("aof-use-rdb-preamble", COMPAT, "yes"),
    BOOL_("aof-rewrite-incremental-fsync", COMPAT, "yes"),
    BOOL_("aof-timestamp-enabled", COMPAT, "no"),
    BOOL_("stop-writes-on-bgsave-error", COMPAT, "yes"),
    BOOL_("rdbcompression", COMPAT, "yes"),
    BOOL_("rdbchecksum", FIXED_COMPAT, "yes"),
    BOOL_("rdb-del-sync-files", COMPAT, "no"),
    BOOL_("rdb-save-incremental-fsync", COMPAT, "yes"),
    ENUM_("sanitize-dump-payload", COMPAT, "no", "no", "yes", "clients"),
    TEXT_ONLY("replicaof", FIXED_COMPAT, "", NO_REPLICATION),
    TEXT_ONLY("slaveof", FIXED_COMPAT, "", NO_REPLICATION),
    {.name = "replica-read-only",
     .alias = "slave-read-only",
     .type = OPTION_BOOL,
     .flags = COMPAT,
     .initial = "yes"},
    {.name = "replica-serve-stale-data",
     .alias = "slave-serve-stale-data",
     .type = OPTION_BOOL,
     .flags = COMPAT,
     .initial = "yes"},
    {.name = "replica-lazy-flush",
     .alias = "slave-lazy-flush",
     .type = OPTION_BOOL,
     .flags = COMPAT,
     .initial = "no"},
    {.name = "replica-ignore-maxmemory",
     .alias = "slave-ignore-maxmemory",
     .type = OPTION_BOOL,
     .flags = COMPAT,
     .initial = "yes"},
    INT_ALIAS("replica-priority", "slave-priority", COMPAT, "100", 0, INT32_MAX),
    BOOL_("replica-announced", COMPAT, "yes"),
    INT_ALIAS("min-replicas-to-write", "min-slaves-to-write", COMPAT, "0", 0, 0),
    INT_ALIAS("min-replicas-max-lag", "min-slaves-max-lag", COMPAT, "10", 0, INT32_MAX),
    MEMORY_("repl-backlog-size", COMPAT, "1048576", 1, INT64_MAX),
    INT_("repl-backlog-ttl", COMPAT, "3600", 0, INT32_MAX),
    INT_("repl-timeout", COMPAT, "60", 1, INT32_MAX),
    INT_ALIAS("repl-ping-replica-period", "repl-ping-slave-period", COMPAT, "10", 1, INT32_MAX),
    BOOL_("repl-disable-tcp-nodelay", COMPAT, "no"),
    BOOL_("repl-diskless-sync", COMPAT, "yes"),
    INT_("repl-diskless-sync-delay", COMPAT, "5", 0, INT32_MAX),
    INT_("repl-diskless-sync-max-replicas", COMPAT, "0", 0, INT32_MAX),
    ENUM_("repl-diskless-load", COMPAT, "disabled", "disabled", "on-empty-db", "swapdb"),
    BOOL_ONLY("cluster-enabled", FIXED_COMPAT, "no", NO_CLUSTER),
    INT_("cluster-node-timeout", COMPAT, "15000", 0, INT32_MAX),
    TEXT_("cluster-config-file", FIXED_COMPAT, "nodes.conf"),
    BOOL_("cluster-require-full-coverage", COMPAT, "yes"),
    BOOL_("cluster-allow-reads-when-down", COMPAT, "no"),
    {.name = "tls-port",
     .type = OPTION_INT,
     .flags = FIXED_COMPAT,
     .initial = "0",
     .max = 65535,
     .refusal = NO_TLS},
    {.name = "lua-time-limit",
     .alias = "busy-reply-threshold",
     .type = OPTION_INT,
     .flags = COMPAT,
     .initial = "5000",
     .max = INT32_MAX},
    INT_("slowlog-log-slower-than", COMPAT, "10000", -1, INT64_MAX),
    INT_("slowlog-max-len", COMPAT, "128", 0, INT32_MAX),
    INT_("latency-monitor-threshold", COMPAT, "0", 0, INT32_MAX),
    BOOL_("latency-tracking", COMPAT, "yes"),
    SPECIAL_("latency-tracking-info-percentiles", COMPAT, "50 99 99.9", option_words),
    SPECIAL_("notify-keyspace-events", COMPAT, "", option_notify_events),
    INT_("tracking-table-max-keys", COMPAT, "1000000", 0, INT64_MAX),
    INT_("acllog-max-len", COMPAT, "128", 0, INT32_MAX),
    ENUM_("acl-pubsub-default", COMPAT, "resetchannels", "resetchannels", "allchannels"),
    TEXT_ONLY("aclfile", FIXED_COMPAT, "",
              "access control lists are not supported by this version"),
    INT_("hz", COMPAT, "10", 1, 500),
    BOOL_("dynamic-hz", COMPAT, "yes"),
    BOOL_("activerehashing", COMPAT, "yes"),
    MEMORY_("active-defrag-ignore-bytes", COMPAT, "104857600", 1, INT64_MAX),
    INT_("active-defrag-threshold-upper", COMPAT, "100", 0, 1000),
    INT_("active-defrag-cycle-min", COMPAT, "1", 1, 99),
    INT_("active-defrag-max-scan-fields", COMPAT, "1000", 1, INT32_MAX),
    INT_("active-expire-effort", COMPAT, "1", 1, 10),
    BOOL_("jemalloc-bg-thread", COMPAT, "yes"),
    BOOL_("lazyfree-lazy-eviction", COMPAT, "no"),
    BOOL_("lazyfree-lazy-expire", COMPAT, "no"),
    BOOL_("lazyfree-lazy-server-del", COMPAT, "no"),
    BOOL_("lazyfree-lazy-user-del", COMPAT, "no"),
    BOOL_("lazyfree-lazy-user-flush", COMPAT, "no"),
    INT_("lfu-log-factor", 0, "10", 0, INT32_MAX),
    INT_("lfu-decay-time", 0, "1", 0, INT32_MAX),
    INT_("maxmemory-eviction-tenacity", COMPAT, "10", 0, 100),
    {.name = "maxmemory-clients",
     .type = OPTION_MEMORY_PERCENT,
     .initial = "0",
     .max = INT64_MAX},
    INT_("set-max-intset-entries", COMPAT, "512", 0, INT32_MAX),
    INT_("set-max-listpack-entries", COMPAT, "128", 0, INT32_MAX),
    INT_("set-max-listpack-value", COMPAT, "64", 0, INT32_MAX),
    INT_ALIAS("zset-max-listpack-entries", "zset-max-ziplist-entries", COMPAT, "128", 0, INT32_MAX),
    INT_ALIAS("zset-max-listpack-value", "zset-max-ziplist-value", COMPAT, "64", 0, INT32_MAX),
    INT_ALIAS("list-max-listpack-size", "list-max-ziplist-size", COMPAT, "-2", INT32_MIN,
              INT32_MAX),
    INT_("list-compress-depth", COMPAT, "0", 0, INT32_MAX),
    MEMORY_("stream-node-max-bytes", COMPAT, "4096", 0, INT64_MAX),
    INT_("stream-node-max-entries", COMPAT, "100", 0, INT32_MAX),
    MEMORY_("hll-sparse-max-bytes", COMPAT, "3000", 0, INT64_MAX),
    INT_("io-threads", FIXED_COMPAT, "1", 1, 128),
    BOOL_("io-threads-do-reads", FIXED_COMPAT, "no"),
    ENUM_("supervised", FIXED_COMPAT, "no", "no", "auto", "systemd", "upstart"),
    ENUM_("oom-score-adj", COMPAT, "no", "no", "yes", "relative", "absolute"),
    SPECIAL_("oom-score-adj-values", COMPAT, "0 200 800", option_words),
    BOOL_("disable-thp", FIXED_COMPAT, "yes"),
    BOOL_("always-show-logo", FIXED_COMPAT, "no"),
    BOOL_("set-proc-title", FIXED_COMPAT, "yes"),
    TEXT_("proc-title-template", COMPAT, "{title} {listen-addr} {server-mode}"),
    TEXT_("locale-collate", COMPAT, ""),
    BOOL_("crash-log-enabled", COMPAT, "yes"),
    BOOL_("crash-memcheck-enabled", COMPAT, "yes"),
    BOOL_("use-exit-on-panic", COMPAT, "no"),
    BOOL_ONLY("syslog-enabled", FIXED_COMPAT, "no", "logging to syslog is not supported"),
    TEXT_("syslog-ident", FIXED_COMPAT, "redis"),
    TEXT_("syslog-facility", FIXED_COMPAT, "local0"),
    ENUM_("shutdown-on-sigint", COMPAT, "default", "default", "save", "nosave", "now", "force"),
    ENUM_("shutdown-on-sigterm", COMPAT, "default", "default", "save", "nosave", "now", "force"),
    INT_("shutdown-timeout", COMPAT, "10", 0, INT32_MAX),
    ENUM_("enable-protected-configs", FIXED_COMPAT, "no", "no", "yes", "local"),
    ENUM_("enable-module-command", FIXED_COMPAT, "no", "no", "yes", "local"),
    TEXT_("ignore-warnings", COMPAT, ""),
    TEXT_("bind-source-addr", COMPAT, ""),
    INT_("socket-mark-id", FIXED_COMPAT, "0", 0, 0),
};
STATIC_ASSERT(ARRAY_COUNT(table) <= OPTIONS_MAX, "config.c keeps an array of that many");

static const struct {
    const char *name, *why;
} refused[] = {
    {"store-replica", "not supported by this version"},
    {"store-follow", "not supported by this version"},
    {"store-journal", "not supported by this version"},
    {"store-balance", "not supported by this version"},
    {"rename-command", "renaming commands is not supported"},
    {"user", "access control lists are not supported by this version"},
    {"loadmodule", "modules are not supported"},
    {"masterauth", NO_REPLICATION},
    {"masteruser", NO_REPLICATION},
    {"tls-cert-file", NO_TLS},
    {"tls-key-file", NO_TLS},
};

uint32_t options_count(void) {
    return ARRAY_COUNT(table);
}

const struct option *options_at(uint32_t index) {
    ASSERT(index < ARRAY_COUNT(table));
    return &table[index];
}

int options_find(struct slice name) {
    for (uint32_t i = 0; i < ARRAY_COUNT(table); i++) {
        const struct option *o = &table[i];
        if (slice_eq_nocase(name, slice_str(o->name)) ||
            (o->alias && slice_eq_nocase(name, slice_str(o->alias)))) {
            return (int)i;
        }
    }
    return -1;
}

const char *options_refused(struct slice name) {
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        if (slice_eq_nocase(name, slice_str(refused[i].name))) {
            return refused[i].why;
        }
    }
    return NULL;
}
