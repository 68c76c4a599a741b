/* The watchdog: sleeps until the oldest of what waits and runs is past its time, or, when nothing
 * does, until it is woken.
 *
 * 1. A request that is past its time is completed with STORE_TIMEOUT, whoever holds it.
 * 2. A worker whose call is past its time is abandoned: see worker.h.
 * 3. What waited for room says nothing about the database.
 *
 * A sweep looks at STORE_POOL_MAX workers of STORE_BATCH_KEYS_MAX requests, and at the ends of the
 * queue's lines. */
#include "store/watchdog.h"

#include "base/clock.h"
#include "store/aftermath.h"
#include "store/worker.h"

/* What no worker took. */
static void fail_queued(struct store *s, int64_t before_us, struct aftermath *a) {
    struct store_request *late = queue_pop_older(&s->queue, before_us);
    if (late && s->quota.idle) {
        aftermath_fail(a, s, late, STORE_TIMEOUT, STORE_ROOM_TEXT);
        breaker_untried(&s->breaker);
    } else if (late) {
        aftermath_fail(a, s, late, STORE_TIMEOUT, "no connection to the database was free in time");
        aftermath_call_failed(a, s, "requests waited too long for a connection");
    }
}

/* A worker that waits for room. Returns when the oldest of its requests was queued. */
static int64_t fail_waiting(struct worker *w, int64_t before_us, struct aftermath *a) {
    int64_t oldest_us = worker_fail(w, before_us, STORE_TIMEOUT, STORE_ROOM_TEXT, a);
    if (oldest_us == INT64_MAX) { /* the row is for nobody any more */
        worker_abandon(w);
        breaker_untried(&w->store->breaker);
    }
    return oldest_us;
}

/* Fails what took too long. Returns when to look again, INT64_MAX when nothing is under way. */
static int64_t sweep(struct store *s, int64_t now_us, struct aftermath *a) {
    int64_t before_us = now_us - s->timeout_us + 1, next_us = INT64_MAX;
    fail_queued(s, before_us, a);
    for (uint32_t i = 0; i < s->workers_count; i++) {
        struct worker *w = s->workers[i];
        if (!w->busy || w->abandoned) {
            continue;
        }
        if (w->waits) {
            next_us = MIN(next_us, fail_waiting(w, before_us, a));
            continue;
        }
        if (w->started_us < before_us) {
            worker_fail(w, INT64_MAX, STORE_TIMEOUT, STORE_TIMEOUT_TEXT, a);
            worker_abandon(w);
            aftermath_call_failed(a, s, STORE_TIMEOUT_TEXT);
            continue;
        }
        int64_t oldest_us = worker_fail(w, before_us, STORE_TIMEOUT, STORE_TIMEOUT_TEXT, a);
        next_us = MIN(next_us, MIN(oldest_us, w->started_us));
    }
    next_us = MIN(next_us, queue_oldest_us(&s->queue));
    return next_us == INT64_MAX ? next_us : next_us + s->timeout_us;
}

static void *watchdog_main(void *arg) {
    struct store *s = arg;
    store_lock(s);
    while (!s->stopping) {
        struct aftermath a = {0};
        int64_t next_us = sweep(s, clock_mono_us(), &a);
        if (!aftermath_is_empty(&a)) {
            store_unlock(s);
            aftermath_tell(&a, s);
            store_lock(s);
            continue;
        }
        s->watch_idle = next_us == INT64_MAX;
        if (s->watch_idle) {
            pthread_cond_wait(&s->watch, &s->mutex);
        } else {
            store_wait_until(s, &s->watch, next_us);
        }
        s->watch_idle = false;
    }
    store_unlock(s);
    return NULL;
}

void watchdog_start(struct store *s) {
    int rc = pthread_create(&s->watchdog, NULL, watchdog_main, s);
    ASSERT(rc == 0);
}

void watchdog_join(struct store *s) {
    pthread_join(s->watchdog, NULL);
}

void watchdog_wake(struct store *s) {
    if (s->watch_idle) {
        pthread_cond_signal(&s->watch);
    }
}
