/* What clients hold in buffers, for maxmemory-clients: unfinished requests, what is parsed of them,
 * unread replies, queued commands, watched keys, names. The group has the sum; each shard counts
 * its own sessions, and has those that hold something in lists by the power of two of it.
 *
 * Beyond the limit the client goes that holds most, whosever it is: its shard closes it, and is
 * told to by a message where that is another one. Until the message is taken the sum may grow on,
 * to twice the limit: from there on each shard closes its own.
 *
 * Limits: LOOKS_MAX of those that hold about the same, from the one on that came to it first;
 * CLOSED_MAX at once, then the shard sends itself the message: others have their turns. */
#include "shard/session.h"

#include "base/log.h"

enum { LOOKS_MAX = 64, CLOSED_MAX = 64 };

/* Of `bytes` > 0. */
static uint32_t class_of(size_t bytes) {
    uint32_t log2 = 63 - (uint32_t)__builtin_clzll(MAX(bytes / HELD_BYTES_MIN, (size_t)1));
    return MIN(log2, (uint32_t)HELD_CLASSES - 1);
}

static void set_held(struct session *s, size_t bytes) {
    struct shard *sh = s->shard;
    size_t before = session_held_bytes(s);
    if (bytes == before) {
        return;
    }
    atomic_fetch_add(&sh->group->clients_bytes, (uint64_t)bytes - before);
    atomic_store_explicit(&s->held_bytes, bytes, memory_order_relaxed);
    if (bytes && before && class_of(bytes) == class_of(before)) {
        return;
    }
    pthread_mutex_lock(&sh->registry);
    if (before) {
        list_remove(&s->holding);
    }
    if (bytes) {
        list_push_back(&sh->holding[class_of(bytes)], &s->holding);
    }
    pthread_mutex_unlock(&sh->registry);
}

void held_recount(struct session *s) {
    size_t bytes = s->in.cap + s->bulk.buf.cap + resp_parser_bytes(&s->parser) +
                   chain_own_bytes(&s->conn.out) + transaction_bytes(&s->client) +
                   s->client.kept_bytes;
    /* Those that are exempt do not count: others are not closed for them. */
    bool counts = bytes >= HELD_BYTES_MIN && s->state != SESSION_CLOSED &&
                  !client_has(&s->client, CLIENT_NO_EVICT);
    set_held(s, counts ? bytes : 0);
    if (chain_own_bytes(&s->conn.out) >= HELD_BYTES_MIN) {
        s->conn.notify_drained = true; /* else it would count until something else is heard of it */
    }
}

/* --- who holds most --- */

struct candidate {
    struct session *s; /* NULL = none; its own shard's only may be used */
    uint32_t class;
    int64_t active_ms;
};

/* Of those that hold about the same it is who has said nothing for longest. */
static void consider(struct candidate *most, struct session *s) {
    size_t bytes = session_held_bytes(s);
    if (bytes == 0) {
        return;
    }
    struct candidate c = {
        s, class_of(bytes), atomic_load_explicit(&s->client.active_ms, memory_order_relaxed)};
    if (!most->s || c.class > most->class ||
        (c.class == most->class && c.active_ms < most->active_ms)) {
        *most = c;
    }
}

/* Counted anew: what was sent of their output meanwhile does not make them go. */
static void consider_own(struct candidate *most, struct list *class) {
    uint32_t looks = 0;
    for (struct list *at = class->next, *next; at != class && looks < LOOKS_MAX; at = next) {
        struct session *s = CONTAINER_OF(at, struct session, holding);
        next = at->next; /* it may hold less, and leave the list */
        looks++;
        held_recount(s);
        consider(most, s);
    }
}

static struct candidate most_of(struct shard *sh) {
    struct candidate most = {0};
    for (uint32_t class = HELD_CLASSES; class > 0 && !most.s; class--) {
        consider_own(&most, &sh->holding[class - 1]);
    }
    return most;
}

static void consider_others(struct candidate *most, struct shard *other) {
    bool found = false;
    pthread_mutex_lock(&other->registry);
    for (uint32_t class = HELD_CLASSES; class > most->class && !found; class--) {
        uint32_t looks = 0;
        LIST_FOR_EACH(node, &other->holding[class - 1]) {
            found = true;
            consider(most, CONTAINER_OF(node, struct session, holding));
            if (++looks == LOOKS_MAX) {
                break;
            }
        }
    }
    pthread_mutex_unlock(&other->registry);
}

/* The shard of one who is to go before `most`, or NULL. */
static struct shard *shard_of_more(const struct shard *sh, struct candidate most) {
    struct shard_group *g = sh->group;
    struct shard *found = NULL;
    for (uint32_t i = 0; i < g->params.count; i++) {
        const struct session *before = most.s;
        if (g->shards[i] != sh) {
            consider_others(&most, g->shards[i]);
        }
        found = most.s != before ? g->shards[i] : found;
    }
    return found;
}

static void close_for_limit(struct session *s) {
    log_notice("Evicting client: id=%llu, %zu bytes of buffers", (unsigned long long)s->client.id,
               session_held_bytes(s));
    stat_add(&s->shard->stats.clients_evicted, 1);
    session_close(s);
}

void held_shed(struct shard *sh) {
    struct shard_group *g = sh->group;
    uint64_t limit = sh->env.settings->clients_bytes_max, bytes;
    uint32_t closed = 0;
    while (limit && (bytes = atomic_load(&g->clients_bytes)) > limit) {
        bool waits = bytes / 2 <= limit; /* for others to close theirs */
        if (waits && atomic_load(&g->shedding)) {
            return;
        }
        struct candidate most = most_of(sh);
        if (atomic_load(&g->clients_bytes) <= limit) {
            return;
        }
        struct shard *to = waits ? shard_of_more(sh, most) : NULL;
        if (!to && !most.s) {
            return;
        }
        to = !to && closed == CLOSED_MAX ? sh : to;
        if (to) {
            if (!atomic_exchange(&g->shedding, true)) {
                mailbox_send(&to->mailbox, MESSAGE_SHED, -1, 0, NULL);
            }
            return;
        }
        close_for_limit(most.s);
        closed++;
    }
}

void session_count_held(struct session *s) {
    struct shard *sh = s->shard;
    size_t before = session_held_bytes(s);
    held_recount(s);
    if (session_held_bytes(s) <= before) {
        return;
    }
    held_shed(sh);
    if (sh->env.settings->keyspace
            .maxmemory_bytes) { /* keys make room at once, not with commands */
        keyspace_make_room(sh->env.ks, NULL, sh->index, sh->env.now_ms, 1);
    }
}

/* --- what alone is too much --- */

void session_count_dropped(struct session *s, size_t bytes) {
    struct shard *sh = s->shard;
    size_t hard = sh->env.settings->output_hard_bytes;
    log_notice("Closing client id=%llu: %zu bytes at once are more than clients may hold",
               (unsigned long long)s->client.id, bytes);
    stat_add(hard && bytes > hard ? &sh->stats.clients_closed_output : &sh->stats.clients_evicted,
             1);
}

bool session_may_have(struct session *s, size_t bytes) {
    struct shard *sh = s->shard;
    uint64_t limit = sh->env.settings->clients_bytes_max;
    bool is_exempt = client_has(&s->client, CLIENT_NO_EVICT);
    if ((!limit || bytes <= limit || is_exempt) && keyspace_can_hold(sh->env.ks, bytes)) {
        return true;
    }
    session_count_dropped(s, bytes);
    session_end(s);
    return false;
}
