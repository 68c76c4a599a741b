#ifndef FOREBAY_STORE_WORKER_H
#define FOREBAY_STORE_WORKER_H
/* A thread with a connection of its own, which takes batches of requests and checks of mappings to
 * the database.
 *
 * 1. `shown` is the connection while another thread may interrupt it: it is taken back under the
 *    store's lock before the connection is closed.
 * 2. A worker whose call took too long is `abandoned`: its requests are gone, its connection is
 *    closed as soon as the call returns.
 * 3. While a worker `waits` for room within a call, the call's time stands still: `started_us`
 *    moves. */
#include "store/aftermath.h"
#include "store/batch.h"
#include "store/store_internal.h"

struct worker {
    struct store *store;
    pthread_t thread;
    struct store_conn *conn; /* the thread's own */
    struct batch *batch;     /* the thread's own */
    bool connected_before;
    bool called; /* the database, since it last took work */
    uint64_t cache_bytes;      /* that a connection may keep: quota_cache_bytes */
    uint64_t conn_cache_bytes; /* ... and was told so; 0 = nothing yet */

    /* Guarded by the store's lock. */
    struct store_conn *shown;
    bool busy, abandoned;
    bool waits; /* for room: quota.c */
    uint64_t reserved_bytes;
    int64_t started_us;
    struct mapping *map; /* a reference, while busy */
    uint32_t count;
    struct store_request *requests[STORE_BATCH_KEYS_MAX]; /* NULL once completed */
};

/* Starts the thread. */
struct worker *worker_create(struct store *s);
/* Waits for its end: the store is stopping. */
void worker_destroy(struct worker *w);

/* Under the lock, any thread. */
/* Fails what it has not completed yet of requests that were queued before `before_us`. Returns when
 * the oldest of the others was queued, INT64_MAX when there is none. */
int64_t worker_fail(struct worker *w, int64_t before_us, enum store_status status,
                    const char *error, struct aftermath *a);
void worker_abandon(struct worker *w); /* must be busy */
#endif
