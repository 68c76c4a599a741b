/* Sessions that wait. What a parked session received stays in its `in`; when it is resumed, the
 * pipeline feeds that again, beginning with the command that parked.
 *
 * Rows: the command that missed needs some rows (rows_needed counts the pending ones); those behind
 * it in its pipeline are asked for at the same time (the window), so that a pipeline of misses
 * costs one round trip. Outcomes stay in s->rows until the window's commands have run.
 *
 * 1. A session is on at most one queue (runnable, paused), told by its state.
 * 2. A load's completion for a session that went on (timeout, closed) is ignored: it is found by
 *    id, its row by the load's address. */
#include "shard/session.h"

#include "base/mem.h"

static void on_row_timeout(struct timer *t, void *arg);
static void on_sleep_over(struct timer *t, void *arg);

static void set_parked(struct session *s, enum session_state state) {
    ASSERT(s->state == SESSION_RUNNING);
    s->state = state;
    client_set(&s->client, CLIENT_BLOCKED);
    stat_add(&s->shard->stats.parked_now, 1);
}

static void unset_parked(struct session *s) {
    client_unset(&s->client, CLIENT_BLOCKED);
    stat_add(&s->shard->stats.parked_now, (uint64_t)-1);
}

void park_wake(struct session *s) {
    ASSERT(s->state != SESSION_RUNNING && s->state != SESSION_WAITS_TURN);
    timers_cancel(&s->shard->timers, &s->timer);
    list_remove(&s->queue);
    s->state = SESSION_WAITS_TURN;
    list_push_back(&s->shard->runnable, &s->queue);
}

/* --- rows --- */

static struct row *find_row(struct session *s, const struct key *key) {
    for (uint32_t i = 0; i < s->rows.count; i++) {
        struct row *r = &s->rows.v[i];
        if (r->hash == key->hash && slice_eq(r->key, key->bytes)) {
            return r;
        }
    }
    return NULL;
}

static void drop_row(struct session *s, struct row *r) {
    load_unref(r->owner);
    if (r->state == ROW_PENDING) {
        s->rows.pending--;
    }
    *r = s->rows.v[--s->rows.count];
}

static void forget_rows(struct session *s) {
    while (s->rows.count) {
        drop_row(s, &s->rows.v[s->rows.count - 1]);
    }
    mem_free(s->rows.v);
    s->rows = (struct rows){0};
    s->client.rows = NULL;
    s->window = s->rows_needed = 0;
}

/* Asks for the rows of env->misses. A row that the command needs (not only one behind it) is
 * counted in rows_needed. */
static void ask_for_misses(struct session *s, bool needed) {
    struct env *env = &s->shard->env;
    for (uint32_t i = 0; i < env->misses_count; i++) {
        const struct row_miss *miss = &env->misses[i];
        struct row *known = find_row(s, &miss->key);
        if (known) {
            if (known->state == ROW_PENDING && needed && !known->needed) {
                known->needed = true;
                s->rows_needed++;
            }
            continue;
        }
        struct load *l;
        bool keep = s->load_attempts >= LOAD_ATTEMPTS_MAX;
        if (load_join(s->shard, s, miss, keep, &l) == LOAD_CACHED) {
            continue;
        }
        if (s->rows.count == s->rows.cap) {
            s->rows.cap = s->rows.cap ? s->rows.cap * 2 : 8;
            s->rows.v = mem_realloc(s->rows.v, s->rows.cap * sizeof *s->rows.v);
        }
        s->rows.v[s->rows.count++] = (struct row){.hash = l->key.hash,
                                                  .key = l->key.bytes,
                                                  .state = ROW_PENDING,
                                                  .needed = needed,
                                                  .owner = l};
        s->rows.pending++;
        s->rows_needed += needed;
    }
    env->misses_count = 0;
    s->client.rows = s->rows.count ? &s->rows : NULL;
}

void park_on_misses(struct session *s, struct cmd *c) {
    s->load_attempts++;
    ask_for_misses(s, true);
    if (s->window == 0) {
        s->window = 1;
    }
    set_parked(s, SESSION_WAITS_ROWS);
    if (s->rows_needed == 0) { /* all of them arrived in the meantime */
        park_wake(s);
        return;
    }
    s->timer.fire = on_row_timeout;
    timers_set(&s->shard->timers, &s->timer,
               c->env->now_us + (int64_t)c->env->settings->store_timeout_ms * 1000);
}

void park_look_ahead(struct session *s, struct cmd *c) {
    s->window++;
    dispatch_expect_rows(c);
    ask_for_misses(s, false);
}

/* The row's outcome for this session; one that went into the table needs no record. */
static void settle_row(struct session *s, struct row *r, const struct load *l) {
    s->rows.pending--;
    if (r->needed) {
        r->needed = false;
        s->rows_needed--;
    }
    r->state = l->state;
    r->entry = l->entry;
    r->error = l->error;
    if (l->state == ROW_LOADED && !l->entry) {
        stat_add(&s->shard->stats.row_waited, 1);
        drop_row(s, r);
    }
}

void park_load_done(struct session *s, struct load *l) {
    for (uint32_t i = 0; i < s->rows.count; i++) {
        struct row *r = &s->rows.v[i];
        if (r->owner == l && r->state == ROW_PENDING) {
            settle_row(s, r, l);
            break;
        }
    }
    if (s->state == SESSION_WAITS_ROWS && s->rows_needed == 0) {
        park_wake(s);
    }
}

static void on_row_timeout(struct timer *t, void *arg) {
    struct session *s = CONTAINER_OF(t, struct session, timer);
    (void)arg;
    for (uint32_t i = 0; i < s->rows.count; i++) {
        struct row *r = &s->rows.v[i];
        if (r->state == ROW_PENDING && r->needed) {
            r->needed = false;
            s->rows_needed--;
            s->rows.pending--;
            r->state = ROW_FAILED;
            r->error = "STORETIMEOUT the database did not answer in time";
        }
    }
    ASSERT(s->rows_needed == 0);
    stat_add(&s->shard->stats.row_timeouts, 1);
    park_wake(s);
}

void park_command_done(struct session *s) {
    s->load_attempts = 0;
    if (s->window && --s->window == 0) {
        forget_rows(s);
    }
}

/* --- other reasons --- */

static void on_sleep_over(struct timer *t, void *arg) {
    struct session *s = CONTAINER_OF(t, struct session, timer);
    (void)arg;
    client_set(&s->client, CLIENT_RESUMED);
    park_wake(s);
}

void park_on_timer(struct session *s, int64_t wake_us) {
    set_parked(s, SESSION_WAITS_TIMER);
    s->timer.fire = on_sleep_over;
    timers_set(&s->shard->timers, &s->timer, wake_us);
}

void park_for_turn(struct session *s) {
    set_parked(s, SESSION_WAITS_TURN);
    list_push_back(&s->shard->runnable, &s->queue);
}

void park_for_pause(struct session *s) {
    set_parked(s, SESSION_WAITS_PAUSE);
    list_push_back(&s->shard->paused, &s->queue);
}

void park_for_output(struct session *s) {
    set_parked(s, SESSION_WAITS_OUTPUT);
}

void park_resumed(struct session *s) {
    ASSERT(s->state == SESSION_WAITS_TURN);
    list_remove(&s->queue);
    unset_parked(s);
    s->state = SESSION_RUNNING;
}

void park_unpause(struct shard *sh) {
    struct list taken;
    list_init(&taken);
    list_splice(&taken, &sh->paused);
    LIST_FOR_EACH(node, &taken) {
        park_wake(CONTAINER_OF(node, struct session, queue));
    }
}

void park_forget(struct session *s) {
    if (s->state != SESSION_RUNNING && s->state < SESSION_ENDING) {
        unset_parked(s);
    }
    timers_cancel(&s->shard->timers, &s->timer);
    list_remove(&s->queue);
    forget_rows(s);
}
