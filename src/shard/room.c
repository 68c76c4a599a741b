/* Room for commands that take much memory at once: a large request, a value to be copied, a long
 * reply. What a session asks for is expected of the keyspace: it counts as used, so that all shards
 * make room for it and nobody else takes it. Until it is there other clients have their turns.
 *
 *     execute: CMD_ROOM -> room_ask -> room_take --yes--> it runs again, with c->room_bytes
 *                                        ^ no               |
 *            park_for_room: until others have gone,         +-> room_taken -> room_hold:
 *            then park_for_turn: the next round                 shard->unsent, until room_look
 *                                                               finds that it has been sent
 *
 * What is received of a large request can't wait, nor can the arrays of its arguments and keys:
 * room_now.
 *
 * 1. A session asks for the command that it executes next, and for nothing else.
 * 2. Where no room can be made commands that grow are refused and the others run all the same.
 *    Nothing is evicted for what could never fit.
 * 3. Sessions are let in one after the other, in the order they came, or as many as take a share of
 *    maxmemory together, or as need nothing to go for them: or their keys would go for each other's
 *    replies; nor as many that one were closed for what all of them hold. A reply counts until
 *    it is sent, but a client that does not read, or reads slowly, holds up nobody: then it is
 *    memory in use like any other.
 * 4. So do the rows that a reply is sent from: the command's share of them (share.c).
 * 5. The queue is the group's: any shard lets in who is at its head, and tells that one's shard.
 *    Every shard looks at it at the end of each round, those that gave something back among them;
 *    what a look misses the next finds, CRON_PERIOD_US later at most.
 *
 * Limits: ROOM_TURNS_MAX turns a command once it is let in, each as bounded as what makes room
 * before a batch; ROOM_ASKS_MAX times that it may turn out to need more. Others wait for a reply
 * for UNSENT_US_MAX at most, one that is read at UNSENT_BYTES_A_US until it is sent, and for
 * UNSENT_STILL_US while nothing of it is taken, by the kernel or from it (looked at each
 * CRON_PERIOD_US): so each moves up.
 * room_now: a turn for each ROOM_NOW_BYTES, ROOM_NOW_TURNS_MAX: buffers and arrays grow by
 * BUF_STEP_MAX at most. */
#include "shard/session.h"

enum {
    ROOM_TURNS_MAX = 256,
    ROOM_ASKS_MAX = 8,
    ROOM_NOW_BYTES = 128 * 1024,
    ROOM_NOW_TURNS_MAX = 128,
    UNSENT_BYTES_MIN = 64 * 1024, /* others don't wait for less */
    UNSENT_STILL_US = 250 * 1000,
    UNSENT_US = 1000 * 1000,
    UNSENT_BYTES_A_US = 16, /* so much longer for a long one: whoever reads as fast is waited for */
    UNSENT_US_MAX = 5 * 1000 * 1000,
    UNSENT_LOOKS_MAX = 64, /* sessions a round */
    LET_IN_MAX = 64,       /* the same */
};

void room_now(struct shard *sh, size_t bytes) {
    struct keyspace *ks = sh->env.ks;
    if (!sh->env.settings->keyspace.maxmemory_bytes) {
        return;
    }
    bool fits = keyspace_can_hold(ks, bytes);
    if (fits) {
        keyspace_expect_now(ks, bytes);
    }
    size_t turns = 1 + MIN(bytes / ROOM_NOW_BYTES, (size_t)ROOM_NOW_TURNS_MAX);
    enum keyspace_room room;
    do {
        room = keyspace_room_turn(ks, NULL, sh->index, sh->env.now_ms);
    } while (room == KEYSPACE_ROOM_COMING && --turns);
    if (fits) {
        keyspace_expect_no_more(ks, bytes);
    }
}

void room_for_args(struct resp_parser *p, size_t bytes) {
    room_now(CONTAINER_OF(p, struct session, parser)->shard, bytes);
}

/* --- the queue --- */

static void leave_queue(struct shard_group *g, struct session *s) {
    list_remove(&s->room_node);
    atomic_fetch_sub(&g->room_waiting, 1);
}

/* Beside what clients hold and what others are about to, its reply would have one closed: then it
 * comes when those others have theirs. */
static bool comes_alone(const struct shard *sh, const struct session *s) {
    const struct shard_group *g = sh->group;
    uint64_t limit = sh->env.settings->clients_bytes_max;
    uint64_t others = shards_clients_bytes(g) + atomic_load(&g->room_uncounted);
    return limit && s->room_replies && others + s->room_replies > limit &&
           !client_has(&s->client, CLIENT_NO_EVICT);
}

/* Under the mutex. `sh` is the shard that asks, not always the session's. */
static bool comes_in(struct shard *sh, struct session *s) {
    s->room_expected = keyspace_expect(sh->env.ks, s->room_bytes, comes_alone(sh, s));
    if (s->room_expected) {
        atomic_fetch_add(&sh->group->room_uncounted, s->room_replies);
    }
    return s->room_expected;
}

/* True once it is let in; until then it stands in the queue. */
static bool is_its_turn(struct session *s) {
    struct shard_group *g = s->shard->group;
    pthread_mutex_lock(&g->room_mutex);
    if (!s->room_expected && list_empty(&s->room_node)) {
        if (!list_empty(&g->room_queue) || !comes_in(s->shard, s)) {
            atomic_fetch_add(&g->room_waiting, 1);
            list_push_back(&g->room_queue, &s->room_node);
        }
    }
    s->room_waits = !s->room_expected;
    pthread_mutex_unlock(&g->room_mutex);
    return !s->room_waits;
}

bool room_is_let_in(struct session *s) {
    struct shard_group *g = s->shard->group;
    pthread_mutex_lock(&g->room_mutex);
    bool is = s->room_expected;
    pthread_mutex_unlock(&g->room_mutex);
    return is;
}

/* Those at the head, whosever they are. */
static void let_in(struct shard *sh) {
    struct shard_group *g = sh->group;
    pthread_mutex_lock(&g->room_mutex);
    for (uint32_t i = 0; i < LET_IN_MAX && !list_empty(&g->room_queue); i++) {
        struct session *s = CONTAINER_OF(g->room_queue.next, struct session, room_node);
        if (!comes_in(sh, s)) {
            break;
        }
        leave_queue(g, s);
        mailbox_send(&s->shard->mailbox, MESSAGE_ROOM, -1, s->client.id, NULL);
    }
    pthread_mutex_unlock(&g->room_mutex);
}

/* --- a command --- */

void room_forget(struct session *s) {
    struct shard_group *g = s->shard->group;
    if (s->room_bytes == 0) {
        return;
    }
    pthread_mutex_lock(&g->room_mutex);
    if (!list_empty(&s->room_node)) {
        leave_queue(g, s);
    }
    pthread_mutex_unlock(&g->room_mutex);
    if (s->room_expected) {
        keyspace_expect_no_more(s->shard->env.ks, s->room_bytes);
        atomic_fetch_sub(&g->room_uncounted, s->room_replies);
    }
    s->room_expected = s->room_waits = false;
    s->room_bytes = 0;
}

void room_ask(struct session *s, size_t bytes, size_t replies) {
    room_forget(s);
    room_counted(s); /* what it took for its last run is not there, or counts at the batch's end */
    s->room_bytes = bytes;
    s->room_replies = replies;
    s->room_turns = 0;
    s->room_asks++;
}

bool room_take(struct session *s, struct cmd *c) {
    struct shard *sh = s->shard;
    struct keyspace *ks = sh->env.ks;
    bool fits = keyspace_can_hold(ks, s->room_bytes);
    if (fits && !is_its_turn(s)) {
        return false;
    }
    enum keyspace_room room =
        fits ? keyspace_room_turn(ks, NULL, sh->index, sh->env.now_ms) : KEYSPACE_ROOM_NONE;
    if (room == KEYSPACE_ROOM_COMING && ++s->room_turns < ROOM_TURNS_MAX) {
        return false;
    }
    sh->env.over_limit = room == KEYSPACE_ROOM_NONE;
    /* Random replies differ from time to time: at last they may be what they are. */
    c->room_bytes = s->room_asks < ROOM_ASKS_MAX ? s->room_bytes : CMD_ROOM_ANY;
    if (s->room_expected) {
        keyspace_comes(ks, s->room_bytes);
        s->room_taken = s->room_bytes;
        s->room_uncounted += s->room_replies;
    }
    s->room_expected = s->room_waits = false;
    s->room_bytes = 0;
    return true;
}

void room_taken(struct session *s) {
    room_hold(s);
    keyspace_came(s->shard->env.ks, s->room_taken);
    s->room_taken = 0;
}

void room_counted(struct session *s) {
    atomic_fetch_sub(&s->shard->group->room_uncounted, s->room_uncounted);
    s->room_uncounted = 0;
}

/* --- replies until they are sent --- */

/* It is in the shard's list while it has output, or rows, that others wait for. */
static bool is_unsent(const struct session *s) {
    return s->unsent_bytes || s->rows_unsent;
}

static void list_unsent(struct session *s, bool was) {
    struct shard *sh = s->shard;
    if (!was && is_unsent(s)) {
        list_push_back(&sh->unsent, &s->unsent_node);
        sh->unsent_count++;
    } else if (was && !is_unsent(s)) {
        list_remove(&s->unsent_node);
        sh->unsent_count--;
    }
}

static void set_unsent(struct session *s, size_t bytes) {
    struct shard *sh = s->shard;
    bool was = is_unsent(s);
    bytes = bytes < UNSENT_BYTES_MIN ? 0 : bytes;
    if (bytes > s->unsent_bytes) {
        keyspace_stays(sh->env.ks, bytes - s->unsent_bytes);
    } else if (bytes < s->unsent_bytes) {
        keyspace_came(sh->env.ks, s->unsent_bytes - bytes);
    }
    s->unsent_bytes = bytes;
    list_unsent(s, was);
}

/* What is sent is what came first: the unread part of the output. */
static void note_sent(struct session *s) {
    /* Within a batch what it wrote is not counted yet, and nothing is sent. */
    uint64_t unsent = s->in_batch ? s->out_written : s->conn.out.len_bytes;
    uint64_t total = stat_get(&s->client.total_out) - unsent;
    size_t sent = (size_t)(total - s->unsent_total);
    if (sent) {
        s->unsent_total = total;
        s->unsent_moved_us = s->shard->env.now_us;
        s->unread_bytes -= MIN(s->unread_bytes, sent);
    }
}

/* Of its output, that is not known to lie there unread. */
static size_t fresh_bytes(struct session *s) {
    size_t own = chain_own_bytes(&s->conn.out);
    s->unread_bytes = MIN(s->unread_bytes, own);
    return own - s->unread_bytes;
}

static bool has_limit(const struct session *s) {
    return s->state != SESSION_CLOSED && s->shard->env.settings->keyspace.maxmemory_bytes;
}

/* For so many bytes; where others wait for it already more of it is not waited for longer. */
static void begin_waiting(struct session *s, size_t bytes) {
    int64_t now_us = s->shard->env.now_us;
    if (!is_unsent(s)) {
        s->unsent_moved_us = now_us;
        s->unsent_until_us =
            now_us + MIN(UNSENT_US + (int64_t)(bytes / UNSENT_BYTES_A_US), (int64_t)UNSENT_US_MAX);
    }
}

void room_hold(struct session *s) {
    if (!has_limit(s)) {
        return;
    }
    note_sent(s);
    size_t bytes = fresh_bytes(s);
    begin_waiting(s, bytes);
    set_unsent(s, MAX(bytes, s->unsent_bytes));
}

static void set_rows_unsent(struct session *s, bool unsent) {
    bool was = is_unsent(s);
    s->rows_unsent = unsent;
    list_unsent(s, was);
}

bool room_hold_rows(struct session *s) {
    if (!has_limit(s) || s->share_bytes == 0 || s->conn.out.kept_bytes == 0) {
        return false;
    }
    note_sent(s);
    begin_waiting(s, s->conn.out.kept_bytes);
    s->rows_end = s->unsent_total + s->conn.out.len_bytes;
    set_rows_unsent(s, true);
    return true;
}

void room_let_go_rows(struct session *s) {
    if (s->rows_unsent) {
        set_rows_unsent(s, false);
        share_give_back(s);
    }
}

void room_let_go(struct session *s) {
    set_unsent(s, 0);
    room_let_go_rows(s);
}

/* Where nothing is sent the peer may read all the same: what the kernel holds for it comes first,
 * and much of that goes before the kernel takes more. */
static void note_taken(struct session *s) {
    int64_t now_us = s->shard->env.now_us;
    if (now_us - MAX(s->unsent_moved_us, s->unsent_asked_us) < CRON_PERIOD_US) {
        return;
    }
    uint64_t taken = s->unsent_total - net_queued_bytes(&s->conn);
    s->unsent_moved_us = taken != s->unsent_taken ? now_us : s->unsent_moved_us;
    s->unsent_taken = taken;
    s->unsent_asked_us = now_us;
}

static void look(struct session *s) {
    int64_t now_us = s->shard->env.now_us;
    note_sent(s);
    note_taken(s);
    bool still = now_us - s->unsent_moved_us >= UNSENT_STILL_US || now_us >= s->unsent_until_us;
    if (still) {
        s->unread_bytes = chain_own_bytes(&s->conn.out);
    }
    set_unsent(s, MIN(s->unsent_bytes, fresh_bytes(s)));
    if (still || s->unsent_total >= s->rows_end) {
        room_let_go_rows(s);
    }
}

void room_look(struct shard *sh) {
    if (UNLIKELY(keyspace_expected(sh->env.ks) != 0)) {
        chunk_pool_free(&sh->chunks); /* rather than keys */
    }
    for (uint32_t i = MIN(sh->unsent_count, (uint32_t)UNSENT_LOOKS_MAX); i > 0; i--) {
        struct session *s = CONTAINER_OF(sh->unsent.next, struct session, unsent_node);
        list_remove(&s->unsent_node);
        list_push_back(&sh->unsent, &s->unsent_node);
        look(s);
    }
    if (UNLIKELY(atomic_load_explicit(&sh->group->room_waiting, memory_order_relaxed) != 0)) {
        let_in(sh);
    }
}
