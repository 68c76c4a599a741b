/* A worker's thread: takes what waits, has worker_call.c ask the database, hands out what came,
 * large rows as they come.
 *
 * 1. A worker reads the values of its batch only, of requests that it holds a count of: they may be
 *    completed and destroyed meanwhile. Completed by it are those still in `requests`.
 * 2. What the watchdog abandoned is noted by it, not by the worker.
 * 3. A load that is answered without the database says nothing about its health. */
#include "store/worker.h"

#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"
#include "store/check.h"
#include "store/latency.h"
#include "store/request.h"
#include "store/watchdog.h"
#include "store/worker_call.h"

int64_t worker_fail(struct worker *w, int64_t before_us, enum store_status status,
                    const char *error, struct aftermath *a) {
    int64_t oldest_us = INT64_MAX;
    for (uint32_t i = 0; i < w->count; i++) {
        struct store_request *r = w->requests[i];
        if (r && r->queued_us < before_us) {
            w->requests[i] = NULL;
            r->next = NULL;
            aftermath_fail(a, w->store, r, status, error);
        } else if (r) {
            oldest_us = MIN(oldest_us, r->queued_us);
        }
    }
    return oldest_us;
}

void worker_abandon(struct worker *w) {
    ASSERT(w->busy);
    w->abandoned = true;
    if (w->shown) {
        w->store->driver->interrupt(w->shown);
    }
    if (w->waits) {
        quota_wake(w->store);
    }
}

/* --- from taking work to its end --- */

/* Under the lock. */
static void begin_busy(struct worker *w, struct mapping *map) {
    w->busy = true;
    w->called = false;
    w->map = mapping_ref(map);
    w->started_us = clock_mono_us();
    w->cache_bytes = quota_cache_bytes(w->store);
    w->store->stats.busy_workers++;
    watchdog_wake(w->store);
}

/* Lets go of the lock. */
static void end_busy(struct worker *w, struct aftermath *a) {
    struct store *s = w->store;
    struct mapping *map = w->map;
    bool late = w->abandoned;
    w->busy = w->abandoned = false;
    w->count = 0;
    s->stats.busy_workers--;
    store_unlock(s);
    if (late) {
        worker_call_close(w);
    }
    aftermath_tell(a, s);
    mapping_unref(map);
}

static void note_result(struct worker *w, enum driver_status status, const char *text,
                        struct aftermath *a) {
    if (w->abandoned) {
        return;
    }
    if (status == DRIVER_DOWN || status == DRIVER_TIMEOUT) {
        aftermath_call_failed(a, w->store, text);
        return;
    }
    if (status != DRIVER_OK) {
        aftermath_note_error(w->store, text);
    }
    if (w->called) {
        aftermath_call_succeeded(a, w->store);
    } else {
        breaker_untried(&w->store->breaker);
    }
}

/* --- requests --- */

static void take_requests(struct worker *w, struct store_request *list) {
    batch_reset(w->batch, list->map);
    w->batch->share_bytes = quota_share(w->store);
    for (struct store_request *r = list, *next; r; r = next) {
        next = r->next;
        request_ref(r);
        w->requests[w->count++] = r;
        batch_add(w->batch, r->values);
    }
}

/* Under the lock: completes all requests, or those alone whose row is there. */
static void give_requests(struct worker *w, bool all, struct aftermath *a) {
    uint64_t bytes = 0;
    for (uint32_t i = w->count; i > 0; i--) {
        const struct batch_outcome *o = &w->batch->outcomes[i - 1];
        if (o->given || (!all && o->status != STORE_ROW)) {
            continue;
        }
        struct store_request *r = w->requests[i - 1];
        w->requests[i - 1] = NULL;
        batch_give(w->batch, i - 1, r);
        if (!r) {
            continue;
        }
        bytes += r->held_bytes;
        if (r->status == STORE_REJECT) {
            aftermath_note_error(w->store, r->error);
        }
        aftermath_add(a, w->store, r);
    }
    quota_add_given(w->store, bytes);
}

/* A batch's `give`. */
static void give_rows(void *owner) {
    struct worker *w = owner;
    struct aftermath a = {0};
    store_lock(w->store);
    give_requests(w, false, &a);
    store_unlock(w->store);
    aftermath_tell(&a, w->store);
}

/* A batch's `make_room`. */
static bool make_room(void *owner, uint64_t row_bytes) {
    struct worker *w = owner;
    if (w->batch->built_bytes) {
        give_rows(w);
    }
    store_lock(w->store);
    bool goes_on = quota_wait(w, row_bytes);
    store_unlock(w->store);
    return goes_on;
}

static void release_requests(struct worker *w) {
    for (uint32_t i = 0; i < w->batch->count; i++) {
        request_unref(CONTAINER_OF(w->batch->values[i], struct store_request, values));
    }
    batch_clear(w->batch);
}

/* Takes the lock held, gives it back held. */
static void work_on_requests(struct worker *w, struct store_request *list) {
    struct store *s = w->store;
    struct driver_error error = {""};
    struct aftermath a = {0};
    begin_busy(w, list->map);
    quota_enter(w, list->map);
    take_requests(w, list);
    store_unlock(s);

    enum driver_status status = worker_call_load(w, &error);

    store_lock(s);
    give_requests(w, true, &a);
    quota_leave(w, status == DRIVER_OK, w->batch->largest_bytes);
    for (uint32_t i = 0; i < w->batch->queries; i++) {
        s->stats.latency[latency_bucket(w->batch->queries_us[i])]++;
    }
    s->stats.batches += w->batch->queries;
    note_result(w, status, error.text, &a);
    bool keeps_much = quota_keeps_much(s, w->batch->largest_bytes);
    end_busy(w, &a);
    if (keeps_much) {
        worker_call_close(w);
    }
    release_requests(w);
    store_lock(s);
}

/* Takes the lock held, gives it back held. */
static void work_on_check(struct worker *w) {
    struct store *s = w->store;
    struct driver_error error = {""};
    struct aftermath a = {0};
    struct schema *schema = NULL;
    struct check *check = check_take(s);
    begin_busy(w, check->map);
    store_unlock(s);

    enum driver_status status = worker_call_check(w, &schema, &error);

    store_lock(s);
    note_result(w, status, error.text, &a);
    if (status != DRIVER_OK) {
        check_finish(s, check, STORE_CHECK_UNREACHABLE, error.text);
    } else {
        check_finish(s, check, schema->refused ? STORE_CHECK_REFUSED : STORE_CHECK_OK,
                     schema->refused ? schema->refused : "");
    }
    end_busy(w, &a);
    schema_unref(schema);
    store_lock(s);
}

/* --- the thread --- */

static void *worker_main(void *arg) {
    struct worker *w = arg;
    struct store *s = w->store;
    mem_thread_register();
    mem_thread_use_arena(s->arena);
    s->driver->thread_init(s->library);
    store_lock(s);
    while (!s->stopping) {
        struct store_request *list = NULL;
        if (s->checks) {
            work_on_check(w);
        } else if ((list = queue_pop(&s->queue, quota_keys, s)) != NULL) {
            work_on_requests(w, list);
        } else if (s->queue.count) {
            quota_wait_idle(s);
        } else {
            pthread_cond_wait(&s->work, &s->mutex);
        }
    }
    store_unlock(s);
    worker_call_close(w);
    s->driver->thread_deinit(s->library);
    mem_thread_unregister();
    return NULL;
}

struct worker *worker_create(struct store *s) {
    struct worker *w = mem_zalloc(sizeof *w);
    w->store = s;
    w->batch = mem_zalloc(sizeof *w->batch);
    w->batch->make_room = make_room;
    w->batch->give = give_rows;
    w->batch->owner = w;
    int rc = pthread_create(&w->thread, NULL, worker_main, w);
    ASSERT(rc == 0);
    return w;
}

void worker_destroy(struct worker *w) {
    pthread_join(w->thread, NULL);
    mem_free(w->batch);
    mem_free(w);
}
