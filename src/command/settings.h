#ifndef FOREBAY_COMMAND_SETTINGS_H
#define FOREBAY_COMMAND_SETTINGS_H
/* The configuration as the running code reads it: an immutable snapshot. CONFIG SET makes a new one
 * and publishes it; shards pick it up between batches. Options that nothing below the server reads
 * are not here. Owned by reference count (server/config.c). */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "engine/hash.h"
#include "engine/keyspace.h"
#include "resp/parser.h"
#include "store/mapping.h"

struct settings {
    _Atomic uint32_t refs;             /* 1 when made; see settings_ref */
    void (*destroy)(struct settings *s); /* called with the last reference, any thread */
    struct resp_limits resp;           /* proto-max-bulk-len and fixed limits */
    struct hash_limits hash;           /* hash-max-listpack-* */
    struct keyspace_params keyspace;   /* maxmemory, maxmemory-*, lfu-*, activedefrag ... */
    uint32_t compact_time_percent;     /* active-defrag-cycle-max: of a core */
    uint32_t databases;                /* at most DATABASES_MAX */
    char requirepass[512];             /* "" = none */
    bool protected_mode;
    bool debug_enabled;                /* enable-debug-command yes */
    bool debug_local;
    uint32_t maxclients;
    uint32_t timeout_s;                /* idle clients are closed; 0 = never */
    uint32_t tcp_keepalive_s;
    uint64_t query_buffer_bytes_max;   /* client-query-buffer-limit */
    uint64_t clients_bytes_max;        /* maxmemory-clients; 0 = none */
    size_t growth_bytes_max;           /* by a command that no room was made for; 0 = no limit */
    size_t read_bytes_max;             /* of a reply, the same; 0 = no limit */
    size_t reply_bytes_max;            /* of a reply, then its client is closed; 0 = no limit */
    size_t exempt_reply_bytes_max;     /* the same for a client with CLIENT NO-EVICT */
    uint64_t output_hard_bytes;        /* client-output-buffer-limit normal; 0 = none */
    uint64_t output_soft_bytes;
    uint32_t output_soft_s;
    uint32_t store_timeout_ms;
    enum accept_balance { BALANCE_KERNEL, BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONNECTIONS } balance;
    struct mapping_set *maps;          /* NULL = no mapping at all */
};

static inline struct settings *settings_ref(const struct settings *s) {
    struct settings *own = (struct settings *)s; /* the count is the only field that changes */
    atomic_fetch_add_explicit(&own->refs, 1, memory_order_relaxed);
    return own;
}
static inline void settings_unref(const struct settings *s) {
    struct settings *own = (struct settings *)s;
    if (own && atomic_fetch_sub_explicit(&own->refs, 1, memory_order_acq_rel) == 1) {
        own->destroy(own);
    }
}
#endif
