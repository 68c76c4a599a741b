/* What clients hold, for maxmemory-clients: buffers (unfinished requests, what is parsed of them,
 * unread replies, queued commands, watched keys, names) and orphans, values that are gone from the
 * cache and stay for replies that are not sent yet (engine/blob.h). The group has the sum of the
 * buffers, the engine that of the orphans. Each shard counts its own sessions, and has those that
 * hold something in lists by the power of two of its weight: the buffers, and all that it pins,
 * as which of that are orphans changes without it. They are told apart when one is to go.
 *
 * Beyond the limit the client goes that holds most, whosever it is: its shard closes it, and is
 * told to by a message where that is another one. Until the message is taken the sum may grow on,
 * to twice the limit: from there on each shard closes its own.
 *
 * Limits: LOOKS_MAX of those that hold about the same, from the one on that came to it first;
 * CLOSED_MAX at once, and then the next round: others have their turns. */
#include "shard/session.h"

#include "base/log.h"
#include "base/num.h"
#include "engine/blob.h"

enum { LOOKS_MAX = 64, CLOSED_MAX = 64 };

/* Of `bytes` > 0. */
static uint32_t class_of(size_t bytes) {
    uint32_t log2 = num_log2(MAX(bytes / HELD_BYTES_MIN, (size_t)1));
    return MIN(log2, (uint32_t)HELD_CLASSES - 1);
}

static void set_weight(struct session *s, size_t bytes) {
    struct shard *sh = s->shard;
    size_t before = session_weight(s);
    if (bytes == before) {
        return;
    }
    atomic_store_explicit(&s->weight_bytes, bytes, memory_order_relaxed);
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

/* Sets what of a sum of the group is the session's. */
static void set_part(_Atomic uint64_t *sum, size_t *part, size_t bytes) {
    if (bytes != *part) {
        atomic_fetch_add(sum, (uint64_t)bytes - *part);
        *part = bytes;
    }
}

static size_t orphans_of(const struct session *s) {
    return chain_sum_pins(&s->conn.out, blob_orphan_part);
}

static size_t buffers_of(const struct session *s) {
    return s->in.cap + s->bulk.buf.cap + resp_parser_bytes(&s->parser) +
           chain_own_bytes(&s->conn.out) + transaction_bytes(&s->client) + s->client.kept_bytes;
}

void held_recount(struct session *s) {
    struct shard_group *g = s->shard->group;
    size_t buffers = buffers_of(s), pins = s->conn.out.kept_bytes;
    buffers = buffers < HELD_BYTES_MIN ? 0 : buffers;
    /* Of those that are exempt nothing counts: others are not closed for them. What one has that is
     * closed goes without that. */
    bool closed = s->state == SESSION_CLOSED;
    bool counts = !closed && !client_has(&s->client, CLIENT_NO_EVICT);
    set_part(&g->clients_bytes, &s->held_bytes, counts ? buffers : 0);
    set_part(&g->leaving_orphans, &s->leaving_orphans, closed && pins ? orphans_of(s) : 0);
    set_weight(s, counts ? buffers + pins : 0);
    if (chain_own_bytes(&s->conn.out) >= HELD_BYTES_MIN) {
        s->conn.notify_drained = true; /* else it would count until something else is heard of it */
    }
}

uint64_t shards_clients_bytes(const struct shard_group *g) {
    uint64_t orphans = blob_orphans_bytes(), leaving = atomic_load(&g->leaving_orphans);
    return atomic_load(&g->clients_bytes) + (orphans > leaving ? orphans - leaving : 0);
}

/* --- who holds most --- */

struct candidate {
    struct session *s; /* NULL = none; its own shard's only may be used */
    uint32_t class;
    int64_t active_ms;
};

/* Of those that hold about the same it is who has said nothing for longest. */
static void consider(struct candidate *most, struct session *s) {
    size_t bytes = session_weight(s);
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

/* Counted anew: neither what was sent of their output meanwhile makes them go, nor what they pin of
 * the cache. */
static void consider_own(struct candidate *most, struct list *class) {
    uint32_t looks = 0;
    for (struct list *at = class->next, *next; at != class && looks < LOOKS_MAX; at = next) {
        struct session *s = CONTAINER_OF(at, struct session, holding);
        next = at->next; /* it may hold less, and leave the list */
        looks++;
        held_recount(s);
        if (s->conn.out.kept_bytes) {
            set_weight(s, s->held_bytes + orphans_of(s));
        }
        consider(most, s);
    }
}

static struct candidate most_of(struct shard *sh) {
    struct candidate most = {0};
    /* Those of a class may hold less by now: one of the next may hold most. */
    for (uint32_t class = HELD_CLASSES; class > most.class; class --) {
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
    log_notice("Evicting client: id=%llu, %zu bytes of buffers and values",
               (unsigned long long)s->client.id, session_weight(s));
    stat_add(&s->shard->stats.clients_evicted, 1);
    session_close(s);
}

void held_shed(struct shard *sh) {
    struct shard_group *g = sh->group;
    uint64_t limit = sh->env.settings->clients_bytes_max, bytes;
    uint32_t closed = 0;
    while (limit && (bytes = shards_clients_bytes(g)) > limit) {
        bool waits = bytes / 2 <= limit; /* for others to close theirs */
        if (waits && atomic_load(&g->shedding)) {
            return;
        }
        struct candidate most = most_of(sh);
        struct shard *to = waits ? shard_of_more(sh, most) : NULL;
        if (shards_clients_bytes(g) <= limit) {
            return; /* who held most may have been closed before others were looked at */
        }
        if (!to && !most.s) {
            return;
        }
        if (!to && closed == CLOSED_MAX) {
            sh->sheds = true;
            return;
        }
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
    size_t before = s->held_bytes;
    held_recount(s);
    if (s->held_bytes <= before) {
        return;
    }
    held_shed(sh);
    if (sh->env.settings->keyspace
            .maxmemory_bytes) { /* keys make room at once, not with commands */
        keyspace_make_room(sh->env.ks, NULL, sh->index, sh->env.now_ms, 1);
    }
}

void held_look(struct shard *sh) {
    uint64_t limit = sh->env.settings->clients_bytes_max;
    sh->sheds = false;
    if (UNLIKELY(limit && shards_clients_bytes(sh->group) > limit)) {
        held_shed(sh);
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
