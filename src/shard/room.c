/* Room for commands that take much memory at once: a large request, a value to be copied, a long
 * reply. What a session asks for is expected of the keyspace: it counts as used, so that all shards
 * make room for it and nobody else takes it. Until it is there other clients have their turns.
 *
 *     execute: CMD_ROOM -> room_ask -> room_take --yes--> it runs again, with c->room_bytes
 *                                        ^ no
 *                                        +-- park_for_turn: the next round
 *
 * What is received of a large request can't wait, nor can the arrays of its arguments and keys:
 * room_now.
 *
 * 1. A session asks for the command that it executes next, and for nothing else.
 * 2. Where no room can be made commands that grow are refused and the others run all the same.
 *    Nothing is evicted for what could never fit.
 * 3. Sessions are let in one after the other, or their keys would go for each other's replies.
 *
 * Limits: ROOM_TURNS_MAX turns a command once it is let in, each as bounded as what makes room
 * before a batch; ROOM_ASKS_MAX times that it may turn out to need more. room_now: a turn for each
 * ROOM_NOW_BYTES, ROOM_NOW_TURNS_MAX: buffers and arrays grow by BUF_STEP_MAX at most. */
#include "shard/session.h"

#include "base/mem.h"

enum {
    ROOM_TURNS_MAX = 256,
    ROOM_WAITS_MAX = 1 << 20,
    ROOM_ASKS_MAX = 8,
    ROOM_NOW_BYTES = 128 * 1024,
    ROOM_NOW_TURNS_MAX = 128,
};

void room_now(struct shard *sh, size_t bytes) {
    struct keyspace *ks = sh->env.ks;
    if (!sh->env.settings->keyspace.maxmemory_bytes) {
        return;
    }
    bool expected = keyspace_can_hold(ks, bytes) && keyspace_expect(ks, bytes);
    size_t turns = 1 + MIN(bytes / ROOM_NOW_BYTES, (size_t)ROOM_NOW_TURNS_MAX);
    enum keyspace_room room;
    do {
        room = keyspace_room_turn(ks, NULL, sh->index, sh->env.now_ms);
    } while (room == KEYSPACE_ROOM_COMING && --turns);
    if (expected) {
        keyspace_expect_no_more(ks, bytes);
    }
}

void room_for_args(struct resp_parser *p, size_t bytes) {
    room_now(CONTAINER_OF(p, struct session, parser)->shard, bytes);
}

void room_forget(struct session *s) {
    if (s->room_expected) {
        keyspace_expect_no_more(s->shard->env.ks, s->room_bytes);
    }
    s->room_expected = false;
    s->room_bytes = 0;
}

void room_taken(struct session *s) {
    keyspace_came(s->shard->env.ks, s->room_taken);
    s->room_taken = 0;
}

void room_ask(struct session *s, size_t bytes) {
    room_forget(s);
    s->room_bytes = mem_good_size(bytes);
    s->room_turns = s->room_waits = 0;
    s->room_asks++;
}

/* One after the other, but for small ones: what they want together might be all there is. */
static bool is_its_turn(struct session *s) {
    if (!s->room_expected && ++s->room_waits < ROOM_WAITS_MAX) {
        s->room_expected = keyspace_expect(s->shard->env.ks, s->room_bytes);
        return s->room_expected;
    }
    return true;
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
    }
    s->room_expected = false;
    s->room_bytes = 0;
    return true;
}
