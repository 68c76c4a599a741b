/* The pool: threads that take batches of requests to the database, and a watchdog that keeps time.
 *
 *     store_load -> [queue: a line a mapping] -> worker: batch -> driver -> outcomes -> complete
 *                          |                        |
 *                          +---- watchdog: what waited or ran too long gets STORE_TIMEOUT
 *
 * 1. One lock, `mutex`, guards everything in struct store and what struct worker marks so. It is
 * never held over a call of the driver (but `interrupt`) or of `complete`.
 * 2. A request is completed by whoever takes it out of the queue or out of worker.requests under
 * the lock: the worker, the watchdog or store_destroy. A worker reads values of its batch only,
 * which it holds a count of.
 * 3. worker.shown is the connection while another thread may interrupt it: it is taken back under
 * the lock before the connection is closed.
 * 4. A worker whose call took too long is `abandoned`: its requests are gone, its connection is
 *    closed as soon as the call returns.
 * 5. mapping.schema changes under the lock only. A mapping belongs to one store.
 *
 * Limits: STORE_QUEUE_MAX, STORE_POOL_MAX, SCHEMA_AGE_MAX_US, SCHEMA_RETRY_US. */
#include "store/store.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/batch.h"
#include "store/breaker.h"
#include "store/driver.h"
#include "store/latency.h"
#include "store/queue.h"
#include "store/request.h"
#include "store/schema.h"
#include "store/url.h"

enum {
    SCHEMA_AGE_MAX_US = 30 * 1000 * 1000, /* then it is read again, so that new columns are seen */
    SCHEMA_RETRY_US = 1000 * 1000,        /* a mapping that did not hold is not tried sooner */
    CHECKS_MAX = 1024,
    TIMEOUT_MAX_MS = 3600 * 1000,
};

/* store_check_mapping, carried out by a worker. The caller waits for it and may give up first. */
struct check_job {
    struct check_job *next;
    struct mapping *map; /* a reference */
    bool done, given_up; /* the later of the two frees it */
    enum store_check result;
    char why[STORE_ERROR_CHARS_MAX];
};

struct worker {
    struct store *store;
    pthread_t thread;
    struct store_conn *conn; /* the thread's own */
    struct batch *batch;     /* the thread's own */
    bool connected_before;

    /* Guarded by the store's lock. */
    struct store_conn *shown;
    bool busy, abandoned;
    int64_t started_us;
    struct mapping *map; /* a reference, while busy */
    uint32_t count;
    struct store_request *requests[STORE_BATCH_KEYS_MAX]; /* NULL once completed */
};

struct store {
    const struct store_driver *driver;
    struct store_url url;
    struct store_params params;
    int64_t timeout_us;
    store_complete_fn complete;
    void *complete_ctx;

    pthread_mutex_t mutex;
    pthread_cond_t work;    /* for workers: something is queued, or stopping */
    pthread_cond_t watch;   /* for the watchdog: it has something to time, or stopping */
    pthread_cond_t checked; /* for store_check_mapping */
    bool stopping, watch_idle, reachable;
    struct queue queue;
    struct check_job *checks;
    uint32_t checks_count;
    struct breaker breaker;
    struct store_stats stats;
    pthread_t watchdog;
    uint32_t workers_count;
    struct worker *workers[STORE_POOL_MAX];
};

static void lock(struct store *s) {
    int rc = pthread_mutex_lock(&s->mutex);
    ASSERT(rc == 0);
}

static void unlock(struct store *s) {
    int rc = pthread_mutex_unlock(&s->mutex);
    ASSERT(rc == 0);
}

/* --- requests --- */

static void count_outcome(struct store *s, enum store_status status) {
    switch (status) {
    case STORE_ROW:
        s->stats.rows++;
        return;
    case STORE_ABSENT:
        s->stats.absent++;
        return;
    case STORE_TIMEOUT:
        s->stats.timeouts++;
        return;
    case STORE_DOWN:
    case STORE_BUSY:
    case STORE_REJECT:
    case STORE_SCHEMA:
        s->stats.errors++;
        return;
    }
    UNREACHABLE();
}

static void set_failed(struct store *s, struct store_request *r, enum store_status status,
                       const char *error) {
    r->status = status;
    snprintf(r->error, sizeof r->error, "%s", error);
    count_outcome(s, status);
}

static void push(struct store_request **list, struct store_request *r) {
    r->next = *list;
    *list = r;
}

static void set_all_failed(struct store *s, struct store_request *list, enum store_status status,
                           const char *error) {
    for (struct store_request *r = list; r; r = r->next) {
        set_failed(s, r, status, error);
    }
}

/* Joins `list` in front of *to. */
static void append_list(struct store_request **to, struct store_request *list) {
    while (list) {
        struct store_request *next = list->next;
        push(to, list);
        list = next;
    }
}

static void complete(struct store *s, struct store_request *list) {
    if (list) {
        s->complete(s->complete_ctx, list);
    }
}

/* --- failures (under the lock) --- */

static void note_error(struct store *s, const char *text) {
    snprintf(s->stats.last_error, sizeof s->stats.last_error, "%s", text);
}

/* A call of the database failed, or a sweep found requests that no worker came to. What is queued
 * when the breaker opens is put on *failed. */
static void note_failure(struct store *s, const char *text, struct store_request **failed) {
    note_error(s, text);
    if (s->reachable) {
        s->reachable = false;
        log_warning("Store: %s", text);
    }
    if (breaker_failed(&s->breaker, clock_mono_us())) {
        s->stats.breaker_opened++;
        log_warning("Store: breaker open for %lld ms after: %s",
                    (long long)s->params.breaker_open_ms, text);
        struct store_request *list = queue_pop_older(&s->queue, INT64_MAX);
        set_all_failed(s, list, STORE_DOWN, "the store's breaker is open");
        append_list(failed, list);
    }
}

static void note_success(struct store *s) {
    if (!s->reachable) {
        s->reachable = true;
        log_notice("Store: %s database answers", s->driver->name);
    }
    breaker_succeeded(&s->breaker);
}

/* Takes what has not been completed of a busy worker's requests that were queued before
 * `before_us`. */
static void take_requests(struct store *s, struct worker *w, int64_t before_us,
                          enum store_status status, const char *error, struct store_request **out) {
    for (uint32_t i = 0; i < w->count; i++) {
        struct store_request *r = w->requests[i];
        if (r && r->queued_us < before_us) {
            w->requests[i] = NULL;
            set_failed(s, r, status, error);
            push(out, r);
        }
    }
}

static void abandon(struct store *s, struct worker *w) {
    w->abandoned = true;
    if (w->shown) {
        s->driver->interrupt(w->shown);
    }
}

/* --- watchdog --- */

static const char timeout_text[] = "the database did not answer in time";

static void check_finish(struct store *s, struct check_job *job, enum store_check result,
                         const char *why) {
    if (job->given_up) {
        mapping_unref(job->map);
        mem_free(job);
        return;
    }
    job->result = result;
    snprintf(job->why, sizeof job->why, "%s", why);
    job->done = true;
    pthread_cond_broadcast(&s->checked);
}

/* Completes what took too long. Returns when to look again, INT64_MAX when nothing is under way. */
static int64_t sweep(struct store *s, int64_t now_us, struct store_request **out) {
    int64_t before_us = now_us - s->timeout_us + 1, next_us = INT64_MAX;
    struct store_request *late = queue_pop_older(&s->queue, before_us);
    if (late) {
        set_all_failed(s, late, STORE_TIMEOUT, "no connection to the database was free in time");
        append_list(out, late);
        note_failure(s, "requests waited too long for a connection", out);
    }
    for (uint32_t i = 0; i < s->workers_count; i++) {
        struct worker *w = s->workers[i];
        if (!w->busy || w->abandoned) {
            continue;
        }
        take_requests(s, w, before_us, STORE_TIMEOUT, timeout_text, out);
        if (w->started_us < before_us) {
            take_requests(s, w, INT64_MAX, STORE_TIMEOUT, timeout_text, out);
            abandon(s, w);
            note_failure(s, timeout_text, out);
            continue;
        }
        next_us = MIN(next_us, w->started_us);
        for (uint32_t r = 0; r < w->count; r++) {
            next_us = w->requests[r] ? MIN(next_us, w->requests[r]->queued_us) : next_us;
        }
    }
    next_us = MIN(next_us, queue_oldest_us(&s->queue));
    return next_us == INT64_MAX ? next_us : next_us + s->timeout_us;
}

static void *watchdog_main(void *arg) {
    struct store *s = arg;
    lock(s);
    while (!s->stopping) {
        struct store_request *out = NULL;
        int64_t next_us = sweep(s, clock_mono_us(), &out);
        if (out) {
            unlock(s);
            complete(s, out);
            lock(s);
            continue;
        }
        s->watch_idle = next_us == INT64_MAX;
        if (s->watch_idle) {
            pthread_cond_wait(&s->watch, &s->mutex);
        } else {
            struct timespec until = {next_us / 1000000, next_us % 1000000 * 1000};
            pthread_cond_timedwait(&s->watch, &s->mutex, &until);
        }
        s->watch_idle = false;
    }
    unlock(s);
    return NULL;
}

/* --- a worker's calls --- */

static void hide_connection(struct worker *w) {
    lock(w->store);
    w->shown = NULL;
    unlock(w->store);
}

static void close_connection(struct worker *w) {
    if (w->conn) {
        hide_connection(w);
        w->store->driver->close(w->conn);
        w->conn = NULL;
    }
}

static enum driver_status open_connection(struct worker *w, struct driver_error *error) {
    struct store *s = w->store;
    enum driver_status status = s->driver->open(&s->url, s->params.timeout_ms, &w->conn, error);
    if (status != DRIVER_OK) {
        w->conn = NULL;
        return status;
    }
    lock(s);
    s->stats.connects++;
    s->stats.reconnects += w->connected_before;
    snprintf(s->stats.server, sizeof s->stats.server, "%s", s->driver->server(w->conn));
    w->shown = w->conn;
    bool late = w->abandoned;
    unlock(s);
    w->connected_before = true;
    if (late) {
        snprintf(error->text, sizeof error->text, "%s", timeout_text);
        return DRIVER_TIMEOUT;
    }
    return DRIVER_OK;
}

static bool is_abandoned(struct worker *w) {
    lock(w->store);
    bool abandoned = w->abandoned;
    unlock(w->store);
    return abandoned;
}

/* The mapping's schema, if it was checked by this store and need not be checked again yet. */
static struct schema *known_schema(struct store *s, struct mapping *map) {
    lock(s);
    struct schema *schema = map->schema;
    if (schema) {
        int64_t age_us = clock_mono_us() - schema->checked_us;
        int64_t max_us = schema->refused ? SCHEMA_RETRY_US : SCHEMA_AGE_MAX_US;
        schema = schema->store == s && age_us < max_us ? schema_ref(schema) : NULL;
    }
    unlock(s);
    return schema;
}

/* Takes over `found`; returns a reference to what the mapping has now. */
static struct schema *publish_schema(struct store *s, struct mapping *map, struct schema *found) {
    lock(s);
    struct schema *old = map->schema;
    found->store = s;
    found->checked_us = clock_mono_us();
    if (old && old->store == s && schema_same(old, found)) {
        old->checked_us = found->checked_us;
        schema_unref(found);
        found = old;
        old = NULL;
    } else {
        map->schema_free = schema_unref;
        __atomic_store_n(&map->schema, found, __ATOMIC_RELEASE);
        /* Copies in the cache have the old table's columns. */
        if (old && !old->refused) {
            atomic_fetch_add(&map->generation, 1);
        }
    }
    schema_ref(found);
    unlock(s);
    schema_unref(old);
    return found;
}

/* OK: *out is a reference to a schema, a refused one included. */
static enum driver_status check_schema(struct worker *w, struct mapping *map, struct schema **out,
                                       struct driver_error *error) {
    struct schema *found = NULL;
    enum driver_status status = w->store->driver->check(w->conn, map, &found, error);
    if (status == DRIVER_SCHEMA || status == DRIVER_REJECT || status == DRIVER_REJECT_DATA) {
        found = schema_create_refused(error->text);
    } else if (status != DRIVER_OK) {
        return status;
    }
    *out = publish_schema(w->store, map, found);
    return DRIVER_OK;
}

/* One try at the batch. *schema is kept over tries, for the outcomes' sake. */
static enum driver_status try_batch(struct worker *w, struct schema **schema,
                                    struct driver_error *error) {
    struct store *s = w->store;
    enum driver_status status = DRIVER_OK;
    if (!*schema) {
        *schema = known_schema(s, w->batch->map);
    }
    if (*schema && !(*schema)->refused) {
        batch_encode(w->batch, *schema);
        if (w->batch->asked_count == 0) {
            return DRIVER_OK;
        }
    }
    if (*schema && (*schema)->refused) {
        snprintf(error->text, sizeof error->text, "%s", (*schema)->refused);
        return DRIVER_SCHEMA;
    }
    if (!w->conn) {
        status = open_connection(w, error);
    }
    if (status == DRIVER_OK && !*schema) {
        status = check_schema(w, w->batch->map, schema, error);
        if (status == DRIVER_OK && (*schema)->refused) {
            snprintf(error->text, sizeof error->text, "%s", (*schema)->refused);
            return DRIVER_SCHEMA;
        }
        if (status == DRIVER_OK) {
            batch_encode(w->batch, *schema);
        }
    }
    return status == DRIVER_OK ? batch_load(w->batch, s->driver, w->conn, error) : status;
}

static enum driver_status run_batch(struct worker *w, struct driver_error *error) {
    struct schema *schema = NULL;
    bool reconnected = false, rechecked = false;
    enum driver_status status;
    for (;;) {
        bool reused = w->conn != NULL;
        status = try_batch(w, &schema, error);
        if (status == DRIVER_DOWN && reused && !reconnected && !is_abandoned(w)) {
            reconnected = true; /* an idle connection that the server had closed */
            close_connection(w);
            continue;
        }
        if (status == DRIVER_SCHEMA && schema && !schema->refused && !rechecked && w->conn) {
            rechecked = true; /* the table was changed: read again what it is now */
            schema_unref(schema);
            schema = NULL;
            status = check_schema(w, w->batch->map, &schema, error);
            if (status == DRIVER_OK) {
                continue;
            }
        }
        break;
    }
    if (status == DRIVER_DOWN || status == DRIVER_TIMEOUT) {
        close_connection(w);
    }
    if (status == DRIVER_DOWN) {
        batch_fail(w->batch, STORE_DOWN, error->text);
    } else if (status == DRIVER_TIMEOUT) {
        batch_fail(w->batch, STORE_TIMEOUT, error->text);
    } else if (status == DRIVER_SCHEMA) {
        batch_fail(w->batch, STORE_SCHEMA, error->text);
    }
    schema_unref(schema);
    return status;
}

static void take_outcome(struct store *s, struct store_request *r, struct batch_outcome *o) {
    r->status = o->status;
    r->value = o->value;
    r->memory = o->memory;
    memcpy(r->error, o->error, sizeof r->error);
    o->memory = NULL;
    count_outcome(s, o->status);
}

/* Under the lock: the worker is idle again. */
static void end_busy(struct worker *w) {
    w->busy = w->abandoned = false;
    w->count = 0;
    w->store->stats.busy_workers--;
}

static void begin_busy(struct worker *w, struct mapping *map) {
    struct store *s = w->store;
    w->busy = true;
    w->map = mapping_ref(map);
    w->started_us = clock_mono_us();
    s->stats.busy_workers++;
    if (s->watch_idle) {
        pthread_cond_signal(&s->watch);
    }
}

static void note_result(struct worker *w, enum driver_status status, const char *text,
                        struct store_request **failed) {
    if (w->abandoned) {
        return; /* the watchdog has noted it */
    }
    if (status == DRIVER_DOWN || status == DRIVER_TIMEOUT) {
        note_failure(w->store, text, failed);
        return;
    }
    if (status != DRIVER_OK) {
        note_error(w->store, text);
    }
    note_success(w->store);
}

static void finish_batch(struct worker *w, enum driver_status status, struct driver_error *error) {
    struct store *s = w->store;
    struct batch *b = w->batch;
    struct store_request *done = NULL, *held[STORE_BATCH_KEYS_MAX];
    if (is_abandoned(w)) {
        close_connection(w); /* it was interrupted, or may be at any time */
    }
    lock(s);
    for (uint32_t i = b->count; i > 0; i--) {
        struct store_request *r = w->requests[i - 1];
        held[i - 1] = CONTAINER_OF(b->values[i - 1], struct store_request, values);
        if (r) {
            take_outcome(s, r, &b->outcomes[i - 1]);
            if (r->status == STORE_REJECT) {
                note_error(s, r->error);
            }
            push(&done, r);
        }
    }
    uint32_t count = b->count;
    for (uint32_t i = 0; i < b->queries; i++) {
        s->stats.latency[latency_bucket(b->queries_us[i])]++;
        s->stats.batches++;
    }
    note_result(w, status, error->text, &done);
    bool late = w->abandoned; /* in the meantime */
    struct mapping *map = w->map;
    if (late) {
        w->shown = NULL;
    }
    end_busy(w);
    unlock(s);
    if (late) {
        s->driver->close(w->conn);
        w->conn = NULL;
    }
    complete(s, done);
    batch_clear(b);
    for (uint32_t i = 0; i < count; i++) {
        request_unref(held[i]);
    }
    mapping_unref(map);
}

/* Takes the lock held, gives it back held. */
static void work_on_requests(struct worker *w) {
    struct store *s = w->store;
    struct driver_error error = {""};
    struct store_request *list = queue_pop(&s->queue, STORE_BATCH_KEYS_MAX);
    begin_busy(w, list->map);
    batch_reset(w->batch, list->map);
    for (struct store_request *r = list, *next; r; r = next) {
        next = r->next;
        request_ref(r);
        w->requests[w->count++] = r;
        batch_add(w->batch, r->values);
    }
    unlock(s);
    enum driver_status status = run_batch(w, &error);
    finish_batch(w, status, &error);
    lock(s);
}

static void work_on_check(struct worker *w) {
    struct store *s = w->store;
    struct driver_error error = {""};
    struct check_job *job = s->checks;
    s->checks = job->next;
    s->checks_count--;
    begin_busy(w, job->map);
    unlock(s);

    struct schema *schema = NULL;
    bool reused = w->conn != NULL;
    enum driver_status status = reused ? DRIVER_OK : open_connection(w, &error);
    if (status == DRIVER_OK) {
        status = check_schema(w, w->map, &schema, &error);
    }
    if (status == DRIVER_DOWN && reused && !is_abandoned(w)) {
        close_connection(w);
        status = open_connection(w, &error);
        if (status == DRIVER_OK) {
            status = check_schema(w, w->map, &schema, &error);
        }
    }
    if (status != DRIVER_OK || is_abandoned(w)) {
        close_connection(w);
    }
    lock(s);
    struct store_request *failed = NULL;
    struct mapping *map = w->map;
    note_result(w, status, error.text, &failed);
    if (status != DRIVER_OK) {
        check_finish(s, job, STORE_CHECK_UNREACHABLE, error.text);
    } else {
        check_finish(s, job, schema->refused ? STORE_CHECK_REFUSED : STORE_CHECK_OK,
                     schema->refused ? schema->refused : "");
    }
    bool late = w->abandoned && w->conn;
    w->shown = late ? NULL : w->shown;
    end_busy(w);
    unlock(s);
    if (late) {
        s->driver->close(w->conn);
        w->conn = NULL;
    }
    complete(s, failed);
    schema_unref(schema);
    mapping_unref(map);
    lock(s);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    struct store *s = w->store;
    mem_thread_register();
    s->driver->thread_init();
    lock(s);
    while (!s->stopping) {
        if (s->checks) {
            work_on_check(w);
        } else if (s->queue.count) {
            work_on_requests(w);
        } else {
            pthread_cond_wait(&s->work, &s->mutex);
        }
    }
    unlock(s);
    close_connection(w);
    s->driver->thread_deinit();
    mem_thread_unregister();
    return NULL;
}

/* --- the interface --- */

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

static void start_threads(struct store *s) {
    sigset_t all, old;
    sigfillset(&all); /* signals are for the threads that expect them, but for this one's crashes */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (uint32_t i = 0; i < s->params.pool; i++) {
        struct worker *w = mem_zalloc(sizeof *w);
        w->store = s;
        w->batch = mem_zalloc(sizeof *w->batch);
        s->workers[i] = w;
    }
    s->workers_count = s->params.pool;
    s->stats.workers = s->params.pool;
    for (uint32_t i = 0; i < s->workers_count; i++) {
        int rc = pthread_create(&s->workers[i]->thread, NULL, worker_main, s->workers[i]);
        ASSERT(rc == 0);
    }
    int rc = pthread_create(&s->watchdog, NULL, watchdog_main, s);
    ASSERT(rc == 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct store *store_create(const struct store_params *params, store_complete_fn complete_fn,
                           void *ctx, char *why, size_t why_len) {
    struct store *s = mem_zalloc(sizeof *s);
    if (!check_params(params, why, why_len) ||
        !store_url_parse(&s->url, params->url, why, why_len) ||
        !store_url_read_password(&s->url, params->password_file, why, why_len)) {
        mem_free(s);
        return NULL;
    }
    s->params = *params;
    s->timeout_us = params->timeout_ms * 1000;
    s->complete = complete_fn;
    s->complete_ctx = ctx;
    s->reachable = true;
    s->driver = s->url.kind == STORE_URL_MYSQL ? &driver_mysql : &driver_sqlite;
    snprintf(s->stats.driver, sizeof s->stats.driver, "%s", s->driver->name);
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
    s->driver->library_init();
    start_threads(s);
    return s;
}

static void stop_all(struct store *s) {
    struct store_request *out = NULL, *list;
    lock(s);
    s->stopping = true;
    list = queue_pop_older(&s->queue, INT64_MAX);
    set_all_failed(s, list, STORE_DOWN, "the store is shutting down");
    append_list(&out, list);
    for (uint32_t i = 0; i < s->workers_count; i++) {
        struct worker *w = s->workers[i];
        take_requests(s, w, INT64_MAX, STORE_DOWN, "the store is shutting down", &out);
        if (w->busy) {
            abandon(s, w);
        }
    }
    while (s->checks) {
        struct check_job *job = s->checks;
        s->checks = job->next;
        check_finish(s, job, STORE_CHECK_UNREACHABLE, "the store is shutting down");
    }
    pthread_cond_broadcast(&s->work);
    pthread_cond_broadcast(&s->watch);
    unlock(s);
    complete(s, out);
}

void store_destroy(struct store *s) {
    if (!s) {
        return;
    }
    stop_all(s);
    pthread_join(s->watchdog, NULL);
    for (uint32_t i = 0; i < s->workers_count; i++) {
        pthread_join(s->workers[i]->thread, NULL);
        mem_free(s->workers[i]->batch);
        mem_free(s->workers[i]);
    }
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->watch);
    pthread_cond_destroy(&s->checked);
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
    struct store_request *refused = NULL;
    uint64_t queued = 0;
    if (!list) {
        return;
    }
    int64_t now_us = clock_mono_us();
    lock(s);
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
        set_failed(s, r, admitted ? STORE_BUSY : STORE_DOWN,
                   admitted ? "the store's queue is full" : "the store's breaker is open");
        push(&refused, r);
    }
    if (queued) {
        wake_workers(s, queued);
        if (s->watch_idle) {
            pthread_cond_signal(&s->watch);
        }
    }
    unlock(s);
    complete(s, refused);
}

enum store_check store_check_mapping(struct store *s, struct mapping *m, char *why,
                                     size_t why_len) {
    struct check_job *job = mem_zalloc(sizeof *job);
    job->map = mapping_ref(m);
    int64_t end_us = clock_mono_us() + s->timeout_us;
    struct timespec until = {end_us / 1000000, end_us % 1000000 * 1000};
    enum store_check result = STORE_CHECK_UNREACHABLE;
    lock(s);
    if (s->checks_count == CHECKS_MAX) {
        snprintf(why, why_len, "too many checks wait");
        job->given_up = true;
        check_finish(s, job, result, why);
        unlock(s);
        return result;
    }
    struct check_job **end = &s->checks;
    while (*end) {
        end = &(*end)->next;
    }
    *end = job;
    s->checks_count++;
    pthread_cond_signal(&s->work);
    int rc = 0;
    while (!job->done && rc == 0) {
        rc = pthread_cond_timedwait(&s->checked, &s->mutex, &until);
    }
    if (!job->done) {
        job->given_up = true; /* the worker frees it */
        snprintf(why, why_len, "%s", timeout_text);
        unlock(s);
        return result;
    }
    unlock(s);
    result = job->result;
    snprintf(why, why_len, "%s", job->why);
    mapping_unref(job->map);
    mem_free(job);
    return result;
}

void store_stats_read(struct store *s, struct store_stats *out) {
    lock(s);
    *out = s->stats;
    out->queued = s->queue.count;
    out->breaker_open = s->breaker.state != BREAKER_CLOSED;
    unlock(s);
}
