#ifndef FOREBAY_STORE_STORE_INTERNAL_H
#define FOREBAY_STORE_STORE_INTERNAL_H
/* The pool itself: what store.c shares with the parts that work on it under its lock, `worker`,
 * `watchdog`, `check` and `aftermath`.
 *
 *     store_load -> [queue: a line a mapping] -> worker: batch -> driver -> outcomes -> complete
 *                          |                        |
 *                          +---- watchdog: what waited or ran too long gets STORE_TIMEOUT
 *
 * Rows are completed as they come, not at the query's end, when they are large (quota.h).
 *
 * 1. One lock, `mutex`, guards everything in struct store and what struct worker marks so. It is
 *    never held over a call of the driver (but `interrupt`), of `complete` or of the log.
 * 2. A request is completed by whoever takes it out of the queue or out of worker.requests under
 *    the lock: the worker, the watchdog or store_destroy.
 * 3. mapping.schema changes under the lock only. A mapping belongs to one store. */
#include <pthread.h>
#include <time.h>
#include "base/assert.h"
#include "store/breaker.h"
#include "store/driver.h"
#include "store/queue.h"
#include "store/quota.h"
#include "store/store.h"
#include "store/url.h"

#define STORE_TIMEOUT_TEXT "the database did not answer in time"
#define STORE_ROOM_TEXT "there was no room for the row in time"

struct check;
struct worker;

struct store {
    /* Set before the threads start. */
    const struct store_driver *driver;
    struct store_library *library;
    struct store_url url;
    struct store_params params;
    int64_t timeout_us;
    store_complete_fn complete;
    void *complete_ctx;
    uint32_t workers_count;
    unsigned arena; /* of the allocator, for all workers: that of who created the store */
    struct worker *workers[STORE_POOL_MAX];
    pthread_t watchdog;

    pthread_mutex_t mutex;
    pthread_cond_t work;    /* for workers: something is queued, or stopping */
    pthread_cond_t watch;   /* for the watchdog: it has something to time, or stopping */
    pthread_cond_t checked; /* for store_check_mapping */
    bool stopping, watch_idle;
    struct queue queue;
    struct check *checks; /* that wait for a worker, oldest first */
    uint32_t checks_count;
    struct quota quota;
    struct breaker breaker;
    struct store_stats stats;
};

static inline void store_lock(struct store *s) {
    int rc = pthread_mutex_lock(&s->mutex);
    ASSERT(rc == 0);
}

static inline void store_unlock(struct store *s) {
    int rc = pthread_mutex_unlock(&s->mutex);
    ASSERT(rc == 0);
}

/* Waits for `cond` up to a time of clock_mono_us. False when it is past. */
static inline bool store_wait_until(struct store *s, pthread_cond_t *cond, int64_t until_us) {
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    return pthread_cond_timedwait(cond, &s->mutex, &until) == 0;
}
#endif
