/* Sessions that wait. What a parked session received stays in its `in`; when it is resumed, the
 * pipeline feeds that again, beginning with the command that parked.
 *
 * Rows: the command that missed needs some rows (rows_needed counts the pending ones); those behind
 * it in its pipeline are asked for at the same time (the window), so that a pipeline of misses
 * costs one round trip. Outcomes stay in s->rows until the window's commands have run. A window is
 * never extended later: a command that came in after a row was asked for must not be answered from
 * it, as the table, and then the cache, may have been told otherwise in between.
 *
 * Commands whose rows together are more than a share of maxmemory wait for one another (share.c)
 * before they ask for any. What is asked for ahead beyond a little is within that share too, and
 * nobody waits for it.
 *
 * Rows that are not in the table (no room there, or pushed out again and again) are kept by those
 * that wait for them, within a share of maxmemory: beyond it a session that waits for more gives
 * back what it keeps and begins again when it is alone; one that is already fails. The row that a
 * command waits for last is never refused.
 *
 * 1. A session is on at most one queue (runnable, paused, the group's for room or for the share),
 *    told by its state.
 * 2. A load's completion for a session that went on (timeout, closed) is ignored: it is found by
 *    id, its row by the load's address. */
#include "shard/session.h"

#include "base/mem.h"

#define TOO_MUCH_TEXT "STOREBUSY the rows that commands wait for take too much memory"

static void on_row_timeout(struct timer *t, void *arg);
static void on_share_timeout(struct timer *t, void *arg);
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

static void forget_kept(struct session *s, uint64_t bytes) {
    atomic_fetch_sub_explicit(&s->shard->group->kept_bytes, bytes, memory_order_relaxed);
    s->kept_bytes -= bytes;
}

static void forget_rows(struct session *s) {
    hmap_visit(&s->rows.map, free_row, NULL);
    hmap_free(&s->rows.map);
    s->rows = (struct rows){0};
    s->client.rows = NULL;
    s->window = s->rows_needed = 0;
    s->asked_bytes = 0;
    if (s->kept_bytes) {
        forget_kept(s, s->kept_bytes);
    }
}

/* Large rows are asked for some at a time: more would push one another out of the cache before the
 * command has run. One row is always asked for. Those that are not `needed` yet push out no
 * others' either. */
static bool may_ask(struct session *s, uint64_t bytes, bool needed) {
    uint64_t max = s->shard->env.settings->keyspace.maxmemory_bytes;
    if (max == 0 || s->asked_bytes == 0) {
        return true;
    }
    uint64_t sum = s->asked_bytes + bytes;
    return sum <= max / ASKED_DIVISOR &&
           (needed || sum <= max / SMALL_DIVISOR || share_add(s, bytes));
}

/* Asks for the rows of env->misses. A row that the command needs (not only one behind it) is
 * counted in rows_needed. False: not for all of them. */
static bool ask_for_misses(struct session *s, bool needed) {
    struct env *env = &s->shard->env;
    bool all = env->misses_count < ENV_MISSES_MAX;
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
        uint64_t bytes = mapping_row_bytes(miss->map);
        if (!may_ask(s, bytes, needed)) {
            all = false;
            continue;
        }
        struct load *l;
        bool keep = s->load_attempts >= LOAD_ATTEMPTS_MAX;
        if (load_join(s->shard, s, miss, keep, &l) == LOAD_WAITING) {
            add_row(s, l, needed);
            s->asked_bytes += bytes;
        }
    }
    env->misses_count = 0;
    s->client.rows = s->rows.map.count ? &s->rows : NULL;
    return all;
}

/* --- the share of all that wait for rows --- */

/* The next run is a command's first. */
static void forget_attempts(struct session *s) {
    s->load_attempts = s->misses_before = 0;
    s->needed_bytes = 0;
    s->asks_on = false;
}

/* Its command asks for its rows anew once it is let in. */
static void wait_for_share(struct session *s) {
    const struct env *env = &s->shard->env;
    forget_attempts(s);
    if (s->share_until_us == 0) {
        s->share_until_us = env->now_us + (int64_t)env->settings->store_timeout_ms * 1000;
    }
    s->timer.fire = on_share_timeout;
    timers_set(&s->shard->timers, &s->timer, s->share_until_us);
}

/* All that the command reads, as far as is known: what it found is to stay until it runs. */
static uint64_t expected_bytes(const struct env *env, const struct cmd *c) {
    uint64_t sum = 0, most = 0;
    for (uint32_t i = 0; i < env->misses_count; i++) {
        uint64_t bytes = mapping_row_bytes(env->misses[i].map);
        sum += bytes;
        most = MAX(most, bytes);
    }
    return sum + c->row_hits * most;
}

/* Of little, commands of one row never wait for others; those of few don't as long as their rows
 * stay. */
static bool may_go_on(struct session *s, const struct cmd *c) {
    const struct env *env = &s->shard->env;
    uint64_t max = env->settings->keyspace.maxmemory_bytes;
    if (max == 0) {
        return true;
    }
    uint64_t bytes = expected_bytes(env, c);
    bool one = c->row_hits + env->misses_count == 1;
    bool stay = s->load_attempts <= 1 && s->share_bytes == 0;
    return (bytes <= max / SMALL_DIVISOR && (one || stay)) || share_take(s, bytes, false);
}

static void on_share_timeout(struct timer *t, void *arg) {
    struct session *s = CONTAINER_OF(t, struct session, timer);
    (void)arg;
    if (!share_has(s)) {
        share_give_back(s);
        s->rows.refusal = TOO_MUCH_TEXT;
        s->client.rows = &s->rows;
    }
    park_wake(s);
}

void park_share_taken(struct session *s) {
    if (s->state == SESSION_WAITS_SHARE && share_has(s)) {
        park_wake(s);
    }
}

/* --- a command that misses rows --- */

void park_on_misses(struct session *s, struct cmd *c) {
    room_let_go_rows(s); /* of the command before it: this one asks for its own */
    uint32_t misses = s->shard->env.misses_count;
    s->load_attempts += misses >= s->misses_before;
    s->misses_before = misses;
    s->asked_bytes = 0;
    if (!may_go_on(s, c)) {
        set_parked(s, SESSION_WAITS_SHARE);
        wait_for_share(s);
        return;
    }
    if (!s->asks_on) { /* those that it asked for before have gone again */
        s->needed_bytes = 0;
    }
    bool all = ask_for_misses(s, true);
    s->asks_on = !all;
    s->looks_ahead = all && s->window == 0;
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
    s->looks_ahead = ask_for_misses(s, false);
}

static uint64_t kept_bytes_max(struct session *s) {
    return s->shard->env.settings->keyspace.maxmemory_bytes /
           (share_is_alone(s) ? KEPT_ALONE_DIVISOR : KEPT_DIVISOR);
}

/* Counts a row that the session keeps. False: they are too much, by then. */
static bool keep_row(struct session *s, uint64_t bytes) {
    uint64_t max = kept_bytes_max(s);
    uint64_t others =
        atomic_fetch_add_explicit(&s->shard->group->kept_bytes, bytes, memory_order_relaxed);
    s->kept_bytes += bytes;
    return max == 0 || others == 0 || others + bytes <= max;
}

/* The row's outcome for this session; one that went into the table needs no record, and one that
 * was asked for ahead and does not fit gets none. False: what is kept is too much. */
static bool settle_row(struct session *s, struct row *r, const struct load *l) {
    bool fits = !l->entry || keep_row(s, l->row_bytes), ahead = !r->needed;
    s->rows.pending--;
    if (r->needed) {
        r->needed = false;
        s->rows_needed--;
        s->needed_bytes += l->row_bytes;
    }
    r->state = l->state;
    r->entry = l->entry;
    r->error = l->error;
    if (l->state == ROW_LOADED && (!l->entry || (ahead && !fits))) {
        if (l->entry) {
            forget_kept(s, l->row_bytes);
        } else {
            stat_add(&s->shard->stats.row_waited, 1);
        }
        hmap_remove(&s->rows.map, &r->node);
        free_row(&r->node, NULL);
        return true;
    }
    return fits;
}

/* Its rows can't all be in the cache, so the command need not wait for the others. */
static bool needs_too_much(const struct session *s) {
    uint64_t max = s->shard->env.settings->keyspace.maxmemory_bytes;
    return max && s->needed_bytes > max / 100 * NEEDED_PERCENT;
}

struct failing {
    struct session *s;
    bool all;          /* those behind the waiting command too */
    const char *error; /* static */
};

static void fail_row(struct hmap_node *node, void *arg) {
    struct row *r = CONTAINER_OF(node, struct row, node);
    struct failing *f = arg;
    if (r->state == ROW_PENDING && (f->all || r->needed)) {
        f->s->rows_needed -= r->needed;
        f->s->rows.pending--;
        r->needed = false;
        r->state = ROW_FAILED;
        r->error = f->error;
    }
}

static void fail_rows(struct session *s, bool all, const char *error) {
    struct failing f = {s, all, error};
    hmap_visit(&s->rows.map, fail_row, &f);
    ASSERT(s->rows_needed == 0);
}

/* What it keeps is too much beside what others do: it gives that back, and asks for its rows again
 * when they are done. False: that is of no use, or it has waited long enough. */
static bool begin_again(struct session *s) {
    const struct env *env = &s->shard->env;
    if ((share_is_alone(s) && s->kept_bytes > kept_bytes_max(s)) ||
        (s->share_until_us && env->now_us >= s->share_until_us)) {
        return false;
    }
    ASSERT(s->state == SESSION_WAITS_ROWS);
    uint64_t bytes = MAX(s->share_bytes, share_bytes_max(s->shard));
    forget_rows(s);
    share_give_back(s);
    timers_cancel(&s->shard->timers, &s->timer);
    s->state = SESSION_WAITS_SHARE;
    wait_for_share(s);
    if (share_take(s, bytes, true)) {
        park_wake(s);
    }
    return true;
}

/* Its rows have come. Where they are larger than was expected, those of the first commands among
 * them, it waits for its share now, before it replies from them; but not with copies of its own. */
static bool is_its_turn(struct session *s) {
    uint64_t max = s->shard->env.settings->keyspace.maxmemory_bytes;
    return max == 0 || s->needed_bytes <= max / SMALL_DIVISOR || s->share_bytes || s->kept_bytes ||
           share_take(s, s->needed_bytes, false);
}

void park_load_done(struct session *s, struct load *l) {
    bool fits = true;
    HMAP_FOR_EACH_HASH(node, &s->rows.map, l->key.hash) {
        struct row *r = CONTAINER_OF(node, struct row, node);
        if (r->owner == l && r->state == ROW_PENDING) {
            fits = settle_row(s, r, l);
            break;
        }
    }
    if (s->rows_needed && (needs_too_much(s) || (!fits && !begin_again(s)))) {
        fail_rows(s, false, TOO_MUCH_TEXT);
    }
    if (s->state == SESSION_WAITS_ROWS && s->rows_needed == 0) {
        if (is_its_turn(s)) {
            park_wake(s);
        } else {
            timers_cancel(&s->shard->timers, &s->timer);
            s->state = SESSION_WAITS_SHARE;
            wait_for_share(s);
        }
    }
}

static void on_row_timeout(struct timer *t, void *arg) {
    struct session *s = CONTAINER_OF(t, struct session, timer);
    (void)arg;
    fail_rows(s, true, "STORETIMEOUT the database did not answer in time");
    stat_add(&s->shard->stats.row_timeouts, 1);
    park_wake(s);
}

static void end_waiting(struct session *s) {
    forget_attempts(s);
    s->share_until_us = 0;
    if (s->rows.refusal) {
        s->rows.refusal = NULL;
        s->client.rows = s->rows.map.count ? &s->rows : NULL;
    }
}

void park_command_done(struct session *s) {
    end_waiting(s);
    if (!room_hold_rows(s)) {
        share_give_back(s);
    }
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

void park_for_room(struct session *s) {
    set_parked(s, SESSION_WAITS_ROOM);
}

void park_room_made(struct session *s) {
    if (s->state == SESSION_WAITS_ROOM && room_is_let_in(s)) {
        park_wake(s);
    }
}

/* It keeps nothing that others wait for, and begins anew when the pause is over. */
void park_for_pause(struct session *s) {
    end_waiting(s);
    room_let_go_rows(s);
    share_give_back(s);
    forget_rows(s);
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
    room_let_go_rows(s);
    share_give_back(s);
    forget_rows(s);
}
