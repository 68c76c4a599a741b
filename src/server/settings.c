/* struct settings out of a config's canonical texts. Any thread; the result is immutable. */
#include "server/settings.h"

#include "base/mem.h"
#include "command/env.h"

enum {
    INLINE_BYTES_MAX = 64 * 1024,
    ALONE_SHARE = 1024, /* of maxmemory: no room is asked for less */
};

static void destroy(struct settings *s) {
    mapping_set_unref(s->maps);
    mem_free(s);
}

static enum evict_policy evict_policy_named(const char *name) {
    enum evict_policy policy;
    bool known = policy_named(name, &policy);
    ASSERT(known); /* options.c lists them */
    return policy;
}

static enum accept_balance balance_of(const char *name) {
    return strcmp(name, "kernel") == 0        ? BALANCE_KERNEL
           : strcmp(name, "round-robin") == 0 ? BALANCE_ROUND_ROBIN
                                              : BALANCE_LEAST_CONNECTIONS;
}

static struct mapping_set *maps_of(const struct config *c) {
    struct mapping *maps[MAPPINGS_MAX];
    for (uint32_t i = 0; i < c->maps_count; i++) {
        maps[i] = c->maps[i].map;
    }
    return c->maps_count ? mapping_set_create(maps, c->maps_count) : NULL;
}

/* maxmemory-clients: a percentage is of maxmemory. When it is 0, half of it: what clients send and
 * do not read is memory too, and not all keys are to go for it. */
static uint64_t clients_bytes_max(const struct config *c) {
    uint64_t max = config_memory(c, "maxmemory");
    uint32_t percent = config_percent(c, "maxmemory-clients");
    uint64_t bytes = config_memory(c, "maxmemory-clients");
    return percent ? max / 100 * percent : bytes ? bytes : max / 2;
}

/* Many clients at once take it each, in one round of the loop: it is little of maxmemory even for a
 * hundred of them. */
static size_t alone_bytes_max(uint64_t maxmemory) {
    return maxmemory ? MAX((size_t)CHAIN_LIMIT_MIN, maxmemory / ALONE_SHARE) : 0;
}

/* Of two limits, of which 0 is none. */
static uint64_t lower_limit(uint64_t a, uint64_t b) {
    return a && b ? MIN(a, b) : MAX(a, b);
}

/* A reply that not all keys together would make room for is never kept, whoever asks. */
static void set_reply_limits(struct settings *s) {
    uint64_t hold = s->keyspace.maxmemory_bytes / 4 * 3;
    uint64_t exempt = lower_limit(s->output_hard_bytes, hold);
    exempt = exempt ? MAX(exempt, (uint64_t)CHAIN_LIMIT_MIN) : 0;
    uint64_t most = lower_limit(exempt, s->clients_bytes_max);
    s->exempt_reply_bytes_max = exempt;
    s->reply_bytes_max = most ? MAX(most, (uint64_t)CHAIN_LIMIT_MIN) : 0;
    s->read_bytes_max = MIN(s->growth_bytes_max, s->reply_bytes_max); /* 0 without maxmemory */
}

struct settings *settings_make(const struct config *c, uint32_t maxclients) {
    struct settings *s = mem_zalloc(sizeof *s);
    atomic_init(&s->refs, 1);
    s->destroy = destroy;
    s->resp = (struct resp_limits){
        .bulk_bytes_max = config_memory(c, "proto-max-bulk-len"),
        .inline_bytes_max = INLINE_BYTES_MAX,
        .args_max = INT32_MAX,
    };
    s->hash = (struct hash_limits){
        .packed_fields_max = (uint32_t)config_int(c, "hash-max-listpack-entries"),
        .packed_bytes_max = (uint32_t)config_int(c, "hash-max-listpack-value"),
    };
    int64_t decay = config_int(c, "lfu-decay-time");
    s->keyspace = (struct keyspace_params){
        .maxmemory_bytes = config_memory(c, "maxmemory"),
        .policy = evict_policy_named(config_text(c, "maxmemory-policy")),
        .samples = (uint32_t)config_int(c, "maxmemory-samples"),
        .lfu_log_factor = (uint32_t)config_int(c, "lfu-log-factor"),
        .lfu_decay = decay == 0 ? LFU_DECAY_NEVER : (uint32_t)decay,
        .compact_percent = config_bool(c, "activedefrag")
                               ? (uint32_t)MAX(config_int(c, "active-defrag-threshold-lower"), 1)
                               : 0,
        .no_estimate = !config_bool(c, "hit-ratio-estimate"),
    };
    s->compact_time_percent = (uint32_t)config_int(c, "active-defrag-cycle-max");
    s->databases = (uint32_t)config_int(c, "databases");
    const char *password = config_text(c, "requirepass");
    ASSERT(strlen(password) < sizeof s->requirepass);
    strcpy(s->requirepass, password);
    s->protected_mode = config_bool(c, "protected-mode");
    s->debug_enabled = strcmp(config_text(c, "enable-debug-command"), "yes") == 0;
    s->debug_local = strcmp(config_text(c, "enable-debug-command"), "local") == 0;
    s->maxclients = maxclients;
    s->timeout_s = (uint32_t)config_int(c, "timeout");
    s->tcp_keepalive_s = (uint32_t)config_int(c, "tcp-keepalive");
    s->clients_bytes_max = clients_bytes_max(c);
    s->query_buffer_bytes_max = config_memory(c, "client-query-buffer-limit");
    struct option_output_limit output =
        option_output_limit_of(config_text(c, "client-output-buffer-limit"), "normal");
    s->output_hard_bytes = output.hard_bytes;
    s->output_soft_bytes = output.soft_bytes;
    s->output_soft_s = (uint32_t)output.soft_s;
    s->growth_bytes_max = alone_bytes_max(s->keyspace.maxmemory_bytes);
    set_reply_limits(s);
    s->store_timeout_ms = (uint32_t)config_int(c, "store-timeout");
    s->balance = balance_of(config_text(c, "accept-balance"));
    s->maps = maps_of(c);
    return s;
}
