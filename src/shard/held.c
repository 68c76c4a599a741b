/* What clients hold in buffers, for maxmemory-clients: unfinished requests, what is parsed of them,
 * unread replies, queued commands, watched keys, names. The group has the sum; each shard counts
 * its own sessions.
 *
 * Beyond the limit the client goes that holds most, whosever it is: its shard closes it, and is
 * told to by a message where that is another one. Until the message is taken the sum may grow on,
 * to twice the limit: from there on each shard closes its own. */
#include "shard/session.h"

#include "base/log.h"

static void set_held(struct session *s, size_t bytes) {
    struct shard *sh = s->shard;
    size_t before = held_bytes(s);
    if (bytes == before) {
        return;
    }
    atomic_fetch_add(&sh->group->clients_bytes, (uint64_t)bytes - before);
    atomic_store_explicit(&s->held_bytes, bytes, memory_order_relaxed);
    if ((bytes > 0) == (before > 0)) {
        return;
    }
    pthread_mutex_lock(&sh->registry);
    if (bytes) {
        list_push_back(&sh->holding, &s->holding);
    } else {
        list_remove(&s->holding);
    }
    pthread_mutex_unlock(&sh->registry);
}

void session_recount(struct session *s) {
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
    size_t bytes;
    int64_t active_ms;
};

static int log2_of(size_t bytes) {
    return 63 - __builtin_clzll(bytes);
}

/* Of those that hold about the same it is who has said nothing for longest. */
static void consider(struct candidate *most, struct session *s) {
    struct candidate c = {.s = s,
                          .bytes = held_bytes(s),
                          .active_ms =
                              atomic_load_explicit(&s->client.active_ms, memory_order_relaxed)};
    if (c.bytes == 0) {
        return;
    }
    int more = most->s ? log2_of(c.bytes) - log2_of(most->bytes) : 1;
    if (more > 0 || (more == 0 && c.active_ms < most->active_ms)) {
        *most = c;
    }
}

/* Counted anew: what was sent of their output meanwhile does not make them go. */
static struct candidate most_of(struct shard *sh) {
    struct candidate most = {0};
    for (struct list *at = sh->holding.next, *next; at != &sh->holding; at = next) {
        struct session *s = CONTAINER_OF(at, struct session, holding);
        next = at->next; /* it may hold nothing any more, and leave the list */
        session_recount(s);
        consider(&most, s);
    }
    return most;
}

/* The shard of one who is to go before `most`, or NULL. */
static struct shard *shard_of_more(const struct shard *sh, struct candidate most) {
    struct shard_group *g = sh->group;
    struct shard *found = NULL;
    for (uint32_t i = 0; i < g->params.count; i++) {
        struct shard *other = g->shards[i];
        if (other == sh) {
            continue;
        }
        const struct session *before = most.s;
        pthread_mutex_lock(&other->registry);
        LIST_FOR_EACH(node, &other->holding) {
            consider(&most, CONTAINER_OF(node, struct session, holding));
        }
        pthread_mutex_unlock(&other->registry);
        found = most.s != before ? other : found;
    }
    return found;
}

void clients_shed(struct shard *sh) {
    _Atomic uint64_t *sum = &sh->group->clients_bytes;
    uint64_t limit = sh->env.settings->clients_bytes_max;
    while (limit && atomic_load(sum) > limit) {
        struct candidate most = most_of(sh);
        uint64_t bytes = atomic_load(sum);
        if (bytes <= limit) {
            break;
        }
        struct shard *other = bytes / 2 <= limit ? shard_of_more(sh, most) : NULL;
        if (other) {
            if (!atomic_exchange(&sh->group->shedding, true)) {
                mailbox_send(&other->mailbox, MESSAGE_SHED, -1, 0, NULL);
            }
            break;
        }
        if (!most.s) {
            break;
        }
        log_notice("Evicting client: id=%llu, %zu bytes of buffers",
                   (unsigned long long)most.s->client.id, most.bytes);
        stat_add(&sh->stats.clients_evicted, 1);
        session_close(most.s);
    }
}

void session_count_held(struct session *s) {
    struct shard *sh = s->shard;
    size_t before = held_bytes(s);
    session_recount(s);
    if (held_bytes(s) <= before) {
        return;
    }
    clients_shed(sh);
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
