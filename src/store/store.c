/* The store's interface: starting and stopping the pool, taking requests in, figures.
 * What the pool is made of and what its lock guards: store_internal.h.
 *
 * 1. store_load is for any thread and blocks for the lock at most; what it refuses is completed on
 *    the caller's own.
 *
 * Limits: STORE_QUEUE_MAX, STORE_POOL_MAX. */
#include "store/store.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "store/aftermath.h"
#include "store/check.h"
#include "store/store_internal.h"
#include "store/watchdog.h"
#include "store/worker.h"

enum { TIMEOUT_MAX_MS = 3600 * 1000 };

static bool check_params(const struct store_params *p, char *why, size_t why_len) {
    if (p->pool < 1 || p->pool > STORE_POOL_MAX) {
        snprintf(why, why_len, "store-pool must be 1 to %d", STORE_POOL_MAX);
        return false;
    }
    if (p->timeout_ms < 1 || p->timeout_ms > TIMEOUT_MAX_MS) {
        snprintf(why, why_len, "store-timeout must be 1ms to 1h");
        return false;
    }
    if (p->breaker_errors > BREAKER_ERRORS_MAX ||
        (p->breaker_errors && (p->breaker_window_ms < 1 || p->breaker_open_ms < 1))) {
        snprintf(why, why_len,
                 "store-breaker: up to %d errors, window and open time of 1ms and more",
                 BREAKER_ERRORS_MAX);
        return false;
    }
    return true;
}

static bool open_driver(struct store *s, char *why, size_t why_len) {
    s->driver = s->url.kind == STORE_URL_MYSQL ? &driver_mysql : &driver_sqlite;
    snprintf(s->stats.driver, sizeof s->stats.driver, "%s", s->driver->name);
    return s->driver->library_open(&s->library, why, why_len);
}

static void start_threads(struct store *s) {
    sigset_t all, old;
    sigfillset(&all); /* signals are for the threads that expect them, but for this one's crashes */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    s->workers_count = s->params.pool;
    s->arena = mem_thread_arena();
    s->stats.workers = s->params.pool;
    for (uint32_t i = 0; i < s->workers_count; i++) {
        s->workers[i] = worker_create(s);
    }
    watchdog_start(s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct store *store_create(const struct store_params *params, store_complete_fn complete_fn,
                           void *ctx, char *why, size_t why_len) {
    struct store *s = mem_zalloc(sizeof *s);
    if (!check_params(params, why, why_len) ||
        !store_url_parse(&s->url, params->url, why, why_len) ||
        !store_url_read_password(&s->url, params->password_file, why, why_len) ||
        !open_driver(s, why, why_len)) {
        explicit_bzero(&s->url, sizeof s->url);
        mem_free(s);
        return NULL;
    }
    s->params = *params;
    s->timeout_us = params->timeout_ms * 1000;
    s->complete = complete_fn;
    s->complete_ctx = ctx;
    breaker_init(&s->breaker, params->breaker_errors, params->breaker_window_ms * 1000,
                 params->breaker_open_ms * 1000);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->watch, &monotonic);
    pthread_cond_init(&s->checked, &monotonic);
    pthread_condattr_destroy(&monotonic);
    quota_init(&s->quota);
    start_threads(s);
    return s;
}

static void stop_all(struct store *s) {
    static const char why[] = "the store is shutting down";
    struct aftermath a = {0};
    store_lock(s);
    s->stopping = true;
    aftermath_fail(&a, s, queue_pop_older(&s->queue, INT64_MAX), STORE_DOWN, why);
    for (uint32_t i = 0; i < s->workers_count; i++) {
        struct worker *w = s->workers[i];
        worker_fail(w, INT64_MAX, STORE_DOWN, why, &a);
        if (w->busy) {
            worker_abandon(w);
        }
    }
    for (struct check *c = check_take(s); c; c = check_take(s)) {
        check_finish(s, c, STORE_CHECK_UNREACHABLE, why);
    }
    pthread_cond_broadcast(&s->work);
    pthread_cond_broadcast(&s->watch);
    quota_wake(s);
    store_unlock(s);
    aftermath_tell(&a, s);
}

void store_destroy(struct store *s) {
    if (!s) {
        return;
    }
    stop_all(s);
    watchdog_join(s);
    for (uint32_t i = 0; i < s->workers_count; i++) {
        worker_destroy(s->workers[i]);
    }
    s->driver->library_close(s->library);
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->watch);
    pthread_cond_destroy(&s->checked);
    quota_deinit(&s->quota);
    breaker_deinit(&s->breaker);
    queue_deinit(&s->queue);
    explicit_bzero(&s->url, sizeof s->url);
    mem_free(s);
}

/* Wakes as many workers as there are batches to be made of what was queued. */
static void wake_workers(struct store *s, uint64_t queued) {
    uint64_t batches = queued / STORE_BATCH_KEYS_MAX + s->queue.lines_count;
    uint64_t idle = s->stats.workers - s->stats.busy_workers;
    if (batches >= idle) {
        pthread_cond_broadcast(&s->work);
        return;
    }
    for (uint64_t i = 0; i < batches; i++) {
        pthread_cond_signal(&s->work);
    }
}

void store_load(struct store *s, struct store_request *list) {
    struct aftermath a = {0};
    uint64_t queued = 0;
    if (!list) {
        return;
    }
    int64_t now_us = clock_mono_us();
    store_lock(s);
    ASSERT(!s->stopping);
    bool admitted = breaker_admit(&s->breaker, now_us);
    for (struct store_request *r = list, *next; r; r = next) {
        next = r->next;
        r->queued_us = now_us;
        s->stats.loads++;
        if (admitted && s->queue.count < STORE_QUEUE_MAX) {
            queue_push(&s->queue, r);
            queued++;
            continue;
        }
        r->next = NULL;
        aftermath_fail(&a, s, r, admitted ? STORE_BUSY : STORE_DOWN,
                       admitted ? "the store's queue is full" : BREAKER_OPEN_TEXT);
    }
    if (queued) {
        wake_workers(s, queued);
        watchdog_wake(s);
    }
    store_unlock(s);
    aftermath_tell(&a, s);
}

void store_release(struct store *s, uint64_t bytes) {
    quota_release(s, bytes);
}

void store_set_loads_bytes_max(struct store *s, uint64_t bytes) {
    quota_set_max(s, bytes);
}

void store_stats_read(struct store *s, struct store_stats *out) {
    store_lock(s);
    *out = s->stats;
    out->queued = s->queue.count;
    out->loads_bytes = quota_held(s);
    out->loads_bytes_max = s->quota.max_bytes;
    out->room_idle = s->quota.idle;
    out->room_waiting = atomic_load(&s->quota.waiting) - s->quota.idle;
    out->breaker_open = s->breaker.state != BREAKER_CLOSED;
    if (out->breaker_open) {
        out->health = STORE_HEALTH_DOWN;
    }
    store_unlock(s);
}
