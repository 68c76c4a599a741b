#ifndef FOREBAY_COMMAND_STATS_H
#define FOREBAY_COMMAND_STATS_H
/* Counters of one shard: written by its thread, read by anybody who asks; summed then. */
#include <stdatomic.h>
#include <stdint.h>

enum { STATS_ERROR_KINDS_MAX = 64, STATS_ERROR_NAME_MAX = 24 };

struct command_stats {
    _Atomic uint64_t calls, ticks, rejected, failed; /* ticks: clock_ticks */
};

struct error_stats {
    char name[STATS_ERROR_NAME_MAX]; /* written once, before count becomes > 0 */
    _Atomic uint64_t count;
};

struct stats {
    _Alignas(64) _Atomic uint64_t commands; /* processed */
    _Atomic uint64_t requests_batched, batches; /* requests a batch: their ratio */
    _Atomic uint64_t net_in_bytes, net_out_bytes;
    _Atomic uint64_t connections_accepted, connections_rejected, connections_now;
    _Atomic uint64_t clients_closed_output, clients_closed_query, clients_closed_idle;
    _Atomic uint64_t clients_evicted;
    _Atomic uint64_t protocol_errors, error_replies, auth_failures;
    _Atomic uint64_t loops, busy_us, idle_us; /* time outside and inside net_wait */
    _Atomic uint64_t parked_now;              /* clients waiting for a row or a timer */
    _Atomic uint64_t row_hits;                /* mapped keys answered from the cache */
    _Atomic uint64_t row_waited;              /* ... after their client had waited for them */
    _Atomic uint64_t row_misses;              /* mapped keys that had to be asked for */
    _Atomic uint64_t row_joins;               /* ... and joined a load already in flight */
    _Atomic uint64_t row_fills, row_fills_refused; /* stored; not stored: the fence moved */
    _Atomic uint64_t row_errors, row_timeouts;
    _Atomic uint64_t expire_ticks;            /* spent sweeping, in clock_ticks */
    _Atomic uint64_t expire_capped;           /* turns that ended for want of time */
    _Atomic uint64_t defrag_ticks, defrag_now; /* spent moving keys and values; in the last turn */
    _Atomic uint64_t messages;                /* from other shards' mailboxes */
    struct error_stats errors[STATS_ERROR_KINDS_MAX];
    struct command_stats *per_command;        /* one a table row */
};

/* The owner adds: no read-modify-write is needed. */
static inline void stat_add(_Atomic uint64_t *counter, uint64_t amount) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}
static inline uint64_t stat_get(const _Atomic uint64_t *counter) {
    return atomic_load_explicit((_Atomic uint64_t *)counter, memory_order_relaxed);
}
/* Counts an error reply by its first word. */
void stats_count_error(struct stats *s, const char *prefix);
#endif
