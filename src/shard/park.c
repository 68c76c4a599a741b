/* Sessions that wait. What a parked session received stays in its `in`; when it is resumed, the
 * pipeline feeds that again, beginning with the command that parked.
 *
 * Rows: the command that missed needs some rows (rows_needed counts the pending ones); those behind
 * it in its pipeline are asked for at the same time (the window), so that a pipeline of misses
 * costs one round trip. Outcomes stay in s->rows until the window's commands have run. A window is
 * never extended later: a command that came in after a row was asked for must not be answered from
 * it, as the table, and then the cache, may have been told otherwise in between.
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

static void add_row(struct session *s, struct load *l, bool needed) {
    struct row *r = mem_alloc(sizeof *r);
    *r = (struct row){.key = l->key.bytes, .state = ROW_PENDING, .needed = needed, .owner = l};
    hmap_insert(&s->rows.map, &r->node, l->key.hash);
    s->rows.pending++;
    s->rows_needed += needed;
}

static void free_row(struct hmap_node *node, void *arg) {
    struct row *r = CONTAINER_OF(node, struct row, node);
    (void)arg;
    load_unref(r->owner);
    mem_free(r);
}

static void forget_rows(struct session *s) {
    hmap_visit(&s->rows.map, free_row, NULL);
    hmap_free(&s->rows.map);
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
        struct row *known = rows_find(&s->rows, &miss->key);
        if (known) {
            if (known->state == ROW_PENDING && needed && !known->needed) {
                known->needed = true;
                s->rows_needed++;
            }
            continue;
        }
        struct load *l;
        bool keep = s->load_attempts >= LOAD_ATTEMPTS_MAX;
        if (load_join(s->shard, s, miss, keep, &l) == LOAD_WAITING) {
            add_row(s, l, needed);
        }
    }
    env->misses_count = 0;
    s->client.rows = s->rows.map.count ? &s->rows : NULL;
}

void park_on_misses(struct session *s, struct cmd *c) {
    s->load_attempts++;
    ask_for_misses(s, true);
    s->looks_ahead = s->window == 0;
    s->window = MAX(s->window, 1);
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
    if (!s->looks_ahead || s->rows.map.count >= LOOK_AHEAD_ROWS_MAX) {
        s->looks_ahead = false;
        return;
    }
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
        hmap_remove(&s->rows.map, &r->node);
        free_row(&r->node, NULL);
    }
}

void park_load_done(struct session *s, struct load *l) {
    HMAP_FOR_EACH_HASH(node, &s->rows.map, l->key.hash) {
        struct row *r = CONTAINER_OF(node, struct row, node);
        if (r->owner == l && r->state == ROW_PENDING) {
            settle_row(s, r, l);
            break;
        }
    }
    if (s->state == SESSION_WAITS_ROWS && s->rows_needed == 0) {
        park_wake(s);
    }
}

static void time_row_out(struct hmap_node *node, void *arg) {
    struct row *r = CONTAINER_OF(node, struct row, node);
    struct session *s = arg;
    if (r->state == ROW_PENDING) {
        s->rows_needed -= r->needed;
        s->rows.pending--;
        r->needed = false;
        r->state = ROW_FAILED;
        r->error = "STORETIMEOUT the database did not answer in time";
    }
}

/* Those behind the waiting command were asked for with it or before: their time is up as well. */
static void on_row_timeout(struct timer *t, void *arg) {
    struct session *s = CONTAINER_OF(t, struct session, timer);
    (void)arg;
    hmap_visit(&s->rows.map, time_row_out, s);
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
    room_forget(s);
    forget_rows(s);
}
