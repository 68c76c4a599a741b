/* The memory that rows on their way take is bounded: what workers are about to read, and the rows
 * that were completed and not released by who asked for them.
 *
 *     queue -> quota_keys, quota_enter: reserved -> announce: quota_wait -> built -> handed out:
 *                                        |                                          given
 *                               quota_leave: the query ends                            |
 *                                                                                quota_release
 *
 * 1. A worker reserves what reading the mapping's largest row takes before it takes requests: the
 *    value, and what driver and form hold of it meanwhile. While that does not fit they stay
 *    queued.
 * 2. A worker that meets a larger row, or has handed out as much as fits, waits before it fetches
 *    the row. It keeps what it reserved: that memory is in use. Rows that are finished have been
 *    handed out by then, so nothing that others wait for depends on it.
 * 3. Something always goes on: rows that were given are released by threads that wait for no
 *    worker; when none are left, each goes on within what it reserved, and one, `over`, beyond the
 *    bound. That one need not wait until nothing is held, which would be never while small rows
 *    come and go, but until others hold 1/OTHERS_DIVISOR of the bound: so rows larger than the
 *    bound are read too.
 * 4. How large rows are is not known before one was read: until then one query at a time reads it.
 *
 * Any thread of the store. Atomics: given_bytes, waiting, and a mapping's row_bytes, so that rows
 * are released without the lock. Who waits says so, then looks; who gives back does, then looks who
 * waits: both orders are sequentially consistent. */
#include "store/quota.h"

#include <stdatomic.h>
#include "base/clock.h"
#include "store/worker.h"

enum {
    JSON_COPIES = 2,  /* of a row in that form: its text grows by doubling */
    DECAY_SHARE = 16, /* of the size expected, that goes with each query of smaller rows */
    OTHERS_DIVISOR = 2,
    SHARE_DIVISOR = 4,
    LARGEST_DIVISOR = 4, /* of the bound: larger rows leave too much behind in a connection */
    CACHES_DIVISOR = 2,  /* of as much as the bound: what all connections keep to be faster */
    CACHE_BYTES_MIN = 32 * 1024,
    SHARE_BYTES_MIN = 4 * 1024,
    SHARE_BYTES_MAX = 64 * 1024,
};

void quota_init(struct quota *quota) {
    pthread_cond_init(&quota->cond, NULL);
}

void quota_deinit(struct quota *quota) {
    pthread_cond_destroy(&quota->cond);
}

void quota_wake(struct store *s) {
    if (atomic_load(&s->quota.waiting)) {
        pthread_cond_broadcast(&s->quota.cond);
        pthread_cond_broadcast(&s->work);
    }
}

static void changed(const struct store *s, int64_t bytes) {
    if (s->params.on_loads_bytes && bytes) {
        s->params.on_loads_bytes(s->complete_ctx, bytes);
    }
}

void quota_set_max(struct store *s, uint64_t bytes) {
    store_lock(s);
    s->quota.max_bytes = bytes;
    quota_wake(s);
    store_unlock(s);
}

void quota_add_given(struct store *s, uint64_t bytes) {
    if (bytes) {
        atomic_fetch_add(&s->quota.given_bytes, bytes);
        changed(s, (int64_t)bytes);
    }
}

void quota_release(struct store *s, uint64_t bytes) {
    if (bytes == 0) {
        return;
    }
    uint64_t before = atomic_fetch_sub(&s->quota.given_bytes, bytes);
    ASSERT(before >= bytes);
    changed(s, -(int64_t)bytes);
    if (UNLIKELY(atomic_load(&s->quota.waiting))) {
        store_lock(s);
        quota_wake(s);
        store_unlock(s);
    }
}

uint64_t quota_held(const struct store *s) {
    return s->quota.reserved_bytes + atomic_load(&s->quota.given_bytes);
}

static bool is_being_read(const struct store *s, const struct mapping *m) {
    for (uint32_t i = 0; i < s->workers_count; i++) {
        if (s->workers[i]->busy && s->workers[i]->map == m) {
            return true;
        }
    }
    return false;
}

/* What reading a row takes, the value built of it included. */
static uint64_t reading_bytes(const struct store *s, const struct mapping *m, uint64_t row_bytes) {
    return row_bytes * (1 + s->driver->row_copies + (m->form == MAPPING_JSON ? JSON_COPIES : 0));
}

uint32_t quota_keys(void *store, const struct mapping *m) {
    const struct store *s = store;
    uint64_t max = s->quota.max_bytes, held = quota_held(s), row_bytes = mapping_row_bytes(m);
    if (max == 0) {
        return STORE_BATCH_KEYS_MAX;
    }
    bool fits = held + reading_bytes(s, m, row_bytes) <= max ||
                (!s->quota.over && held <= max / OTHERS_DIVISOR);
    if (!fits || (row_bytes == 0 && is_being_read(s, m))) {
        return 0;
    }
    return row_bytes ? (uint32_t)MAX(MIN(max / row_bytes, (uint64_t)STORE_BATCH_KEYS_MAX), 1u)
                     : STORE_BATCH_KEYS_MAX;
}

uint64_t quota_share(const struct store *s) {
    uint64_t share = s->quota.max_bytes / SHARE_DIVISOR / s->workers_count;
    return s->quota.max_bytes == 0
               ? UINT64_MAX
               : MIN(MAX(share, (uint64_t)SHARE_BYTES_MIN), (uint64_t)SHARE_BYTES_MAX);
}

static void reserve(struct worker *w, uint64_t bytes) {
    changed(w->store, (int64_t)bytes - (int64_t)w->reserved_bytes);
    w->store->quota.reserved_bytes += bytes - w->reserved_bytes;
    w->reserved_bytes = bytes;
}

/* Large rows are taken in small batches: whoever queued them woke one worker for all. */
static bool is_taken_in_parts(const struct store *s, const struct mapping *m) {
    uint64_t row_bytes = mapping_row_bytes(m);
    return s->quota.max_bytes &&
           (row_bytes == 0 || row_bytes * STORE_BATCH_KEYS_MAX > s->quota.max_bytes);
}

/* What `w` reserved may have been too much. */
static void note_over(struct worker *w) {
    struct store *s = w->store;
    if (s->quota.max_bytes && quota_held(s) > s->quota.max_bytes && !s->quota.over) {
        s->quota.over = w;
    }
}

void quota_enter(struct worker *w, const struct mapping *m) {
    struct store *s = w->store;
    reserve(w, reading_bytes(s, m, mapping_row_bytes(m)));
    note_over(w);
    if (s->queue.count && s->stats.busy_workers < s->workers_count && is_taken_in_parts(s, m)) {
        pthread_cond_signal(&s->work);
    }
}

static void learn(struct mapping *m, uint64_t row_bytes) {
    uint64_t before = mapping_row_bytes(m);
    uint64_t now = MAX(row_bytes, before - (before + DECAY_SHARE - 1) / DECAY_SHARE);
    atomic_store_explicit(&m->row_bytes, MAX(now, 1u), memory_order_relaxed);
}

void quota_leave(struct worker *w, bool answered, uint64_t row_bytes) {
    struct quota *quota = &w->store->quota;
    if (answered) {
        learn(w->map, row_bytes);
    }
    reserve(w, 0);
    if (quota->over == w) {
        quota->over = NULL;
    }
    quota_wake(w->store);
}

static bool may_go_on(const struct worker *w, uint64_t wants) {
    const struct quota *quota = &w->store->quota;
    uint64_t given = atomic_load(&quota->given_bytes);
    uint64_t reserved = quota->reserved_bytes + (wants - w->reserved_bytes);
    if (quota->max_bytes == 0 || reserved + given <= quota->max_bytes) {
        return true;
    }
    bool may_be_over = !quota->over || quota->over == w;
    if (given == 0) {
        return may_be_over || wants == w->reserved_bytes;
    }
    return may_be_over && reserved - wants + given <= quota->max_bytes / OTHERS_DIVISOR;
}

bool quota_wait(struct worker *w, uint64_t row_bytes) {
    struct store *s = w->store;
    if (mapping_row_bytes(w->map) == 0) { /* now it is known, and others need not wait for it */
        atomic_store_explicit(&w->map->row_bytes, MAX(row_bytes, 1u), memory_order_relaxed);
        quota_wake(s);
    }
    uint64_t wants = MAX(reading_bytes(s, w->map, row_bytes), w->reserved_bytes);
    if (!may_go_on(w, wants)) {
        int64_t start_us = clock_mono_us();
        w->waits = true;
        atomic_fetch_add(&s->quota.waiting, 1);
        while (!w->abandoned && !may_go_on(w, wants)) {
            pthread_cond_wait(&s->quota.cond, &s->mutex);
        }
        atomic_fetch_sub(&s->quota.waiting, 1);
        w->waits = false;
        int64_t waited_us = clock_mono_us() - start_us;
        w->started_us += waited_us;
        w->batch->waited_us += waited_us;
    }
    if (w->abandoned) {
        return false;
    }
    if (wants > w->reserved_bytes) {
        reserve(w, wants);
        note_over(w);
    }
    return true;
}

/* libmariadb's packet buffer never shrinks, SQLite's cache keeps its pages. */
bool quota_keeps_much(const struct store *s, uint64_t row_bytes) {
    return s->quota.max_bytes && row_bytes > s->quota.max_bytes / LARGEST_DIVISOR;
}

uint64_t quota_cache_bytes(const struct store *s) {
    uint64_t share = s->quota.max_bytes / CACHES_DIVISOR / s->workers_count;
    return s->quota.max_bytes ? MAX(share, (uint64_t)CACHE_BYTES_MIN) : UINT64_MAX;
}

void quota_wait_idle(struct store *s) {
    s->quota.idle++;
    atomic_fetch_add(&s->quota.waiting, 1);
    if (!queue_fits(&s->queue, quota_keys, s)) {
        pthread_cond_wait(&s->work, &s->mutex);
    }
    atomic_fetch_sub(&s->quota.waiting, 1);
    s->quota.idle--;
}
