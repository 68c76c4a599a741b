#ifndef FOREBAY_COMMAND_CLIENT_H
#define FOREBAY_COMMAND_CLIENT_H
/* A client as the commands see it; the shard embeds it in its session. Written by its shard's
 * thread only. Fields marked (L) are read by other threads for CLIENT LIST: relaxed atomics, or
 * changed through host->client_set_text only. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"
#include "ds/list.h"

enum client_flag {
    CLIENT_AUTHENTICATED = 1 << 0,
    CLIENT_MULTI = 1 << 1,        /* between MULTI and EXEC */
    CLIENT_DIRTY_EXEC = 1 << 2,   /* an error while queueing: EXECABORT */
    CLIENT_CLOSE = 1 << 3,        /* close once the replies are sent */
    CLIENT_REPLY_OFF = 1 << 4,
    CLIENT_REPLY_SKIP_NEXT = 1 << 5, /* CLIENT REPLY SKIP was said: the next command is silent */
    CLIENT_REPLY_SKIP = 1 << 6,   /* this command is silent */
    CLIENT_NO_EVICT = 1 << 7,
    CLIENT_NO_TOUCH = 1 << 8,
    CLIENT_UNIX = 1 << 9,
    CLIENT_RESUMED = 1 << 10,     /* the command runs again after CMD_SLEEP */
    CLIENT_EXECUTING = 1 << 11,   /* inside EXEC */
    CLIENT_BLOCKED = 1 << 13,     /* parked: flag b */
};

enum client_text { CLIENT_TEXT_NAME, CLIENT_TEXT_LIB_NAME, CLIENT_TEXT_LIB_VERSION, CLIENT_TEXTS };

struct transaction; /* queued commands: transaction.c */

struct client {
    uint64_t id;
    _Atomic uint32_t flags;      /* (L) enum client_flag */
    _Atomic uint8_t db;          /* (L) */
    _Atomic uint8_t proto;       /* (L) 2 or 3 */
    _Atomic uint32_t multi_count; /* (L) commands queued */
    _Atomic uint32_t watch_count; /* (L) */
    _Atomic uint32_t last_command; /* (L) row id + 1, 0 = none */
    _Atomic int64_t active_ms;   /* (L) of the last request, wall clock */
    _Atomic uint64_t query_bytes, output_bytes; /* (L) buffers held now */
    _Atomic uint64_t total_in, total_out, total_commands; /* (L) */
    int64_t created_ms;
    char *text[CLIENT_TEXTS];    /* (L) NULL = unset */
    size_t kept_bytes;           /* by watches and texts */
    struct transaction *transaction; /* NULL outside MULTI */
    struct list watches;         /* struct watch: transaction.c */
    _Atomic bool watch_dirty;    /* a watched key changed; set under that partition's lock */
    struct rows *rows;           /* outcomes of row loads for the command being run; NULL = none */
    struct sliced *sliced;       /* state between CMD_AGAIN runs; NULL = none */
};

static inline uint32_t client_flags(const struct client *c) {
    return atomic_load_explicit(&c->flags, memory_order_relaxed);
}
static inline bool client_has(const struct client *c, uint32_t flags) {
    return (client_flags(c) & flags) != 0;
}
static inline void client_set(struct client *c, uint32_t flags) {
    atomic_store_explicit(&c->flags, client_flags(c) | flags, memory_order_relaxed);
}
static inline void client_unset(struct client *c, uint32_t flags) {
    atomic_store_explicit(&c->flags, client_flags(c) & ~flags, memory_order_relaxed);
}
static inline unsigned client_db(const struct client *c) {
    return atomic_load_explicit(&c->db, memory_order_relaxed);
}
static inline unsigned client_proto(const struct client *c) {
    return atomic_load_explicit(&c->proto, memory_order_relaxed);
}

/* A fresh client of protocol 2 on database 0. */
void client_init(struct client *c, uint64_t id, int64_t now_ms);
struct env;
/* Drops transaction, watches, texts, sliced state. The shard unregisters it first. */
void client_deinit(struct client *c, struct env *env);

/* State of a command that runs in slices (KEYS): owned by the client, freed with it. */
struct sliced {
    void (*destroy)(struct sliced *s);
};
#endif
