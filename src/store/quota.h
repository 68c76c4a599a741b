#ifndef FOREBAY_STORE_QUOTA_H
#define FOREBAY_STORE_QUOTA_H
/* The memory that rows on their way take, and who waits while it is used up: see quota.c. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUOTA_LINE_BYTES = 64 };

struct mapping;
struct store;
struct worker;

struct quota {
    /* Guarded by the store's lock. */
    pthread_cond_t cond;     /* for workers that wait within a query */
    uint64_t max_bytes;      /* 0 = no bound */
    uint64_t reserved_bytes; /* the sum over the workers */
    struct worker *over;     /* the one that may read a row which does not fit */
    uint32_t idle;           /* workers that leave what is queued for want of room */

    /* Of rows completed and not released: written by all shards, so apart from the rest. */
    char apart[QUOTA_LINE_BYTES];
    _Atomic uint64_t given_bytes;
    _Atomic uint32_t waiting; /* workers that any of it may concern, the idle ones included */
    char apart_too[QUOTA_LINE_BYTES];
};

void quota_init(struct quota *quota);
void quota_deinit(struct quota *quota);

/* Any thread, without the store's lock. */
void quota_set_max(struct store *s, uint64_t bytes);
/* Rows were completed; what they took was given back. */
void quota_add_given(struct store *s, uint64_t bytes);
void quota_release(struct store *s, uint64_t bytes);

/* Under the store's lock. */
/* How many of the mapping's requests a worker may take now; 0 = there is no room. (A queue_take_fn,
 * `store` is the store.) */
uint32_t quota_keys(void *store, const struct mapping *m);
/* Bytes of rows that a worker may keep from their clients until its query ends. */
uint64_t quota_share(const struct store *s);
/* A worker begins to read rows of the mapping, and has read them: `answered` when the database did,
 * the largest row had `row_bytes`. */
void quota_enter(struct worker *w, const struct mapping *m);
void quota_leave(struct worker *w, bool answered, uint64_t row_bytes);
/* Waits until there is room for a row of that size. False when the worker was abandoned. */
bool quota_wait(struct worker *w, uint64_t row_bytes);
/* A connection that read a row of that size keeps too much for it: it is better closed. */
bool quota_keeps_much(const struct store *s, uint64_t row_bytes);
/* Bytes that each connection may keep of what it read, only to be faster. */
uint64_t quota_cache_bytes(const struct store *s);
/* Waits for work, as there is none that there would be room for. */
void quota_wait_idle(struct store *s);
/* Someone who waits must look again: what was reserved has changed, or a worker was abandoned. */
void quota_wake(struct store *s);
/* Bytes held by rows on their way, or expected to be. */
uint64_t quota_held(const struct store *s);
#endif
