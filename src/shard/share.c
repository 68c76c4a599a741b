/* The share of maxmemory for rows that commands wait for. Commands whose rows together are more
 * would push one another's out of the cache again and again, so they wait for one another:
 *
 *     misses -> share_take --yes--> its rows are asked for, it runs, its replies are sent (room.c):
 *                   ^ no                                              share_give_back
 *         group->share_queue: until it is let in (MESSAGE_SHARE),            |
 *         then it runs again from its start                <- let_in --------+
 *
 * 1. They are let in in the order they came, as many as take the share together; one whatever it
 *    takes. Who asks for as much as there is is alone.
 * 2. Who waits here keeps nothing that others wait for: no share, no room (room.c), no rows but
 *    those that it was let keep (park.c). Who is in waits for the store, for room, or for its
 *    client to read, for a time that is bounded; so it does not come to a standstill.
 * 3. Where somebody waits somebody is in: each that leaves lets in who is at the head, whosever
 *    session that is. So nobody looks at the queue at other times.
 * 4. Commands of one small row, and of few that nobody needs to wait for, don't come here (park.c).
 * 5. What is asked for ahead of its command (share_add) takes what is left, and never waits. It is
 *    given back with the rest when the command has run that it was asked for with.
 *
 * Limit: the session's timer, for store-timeout (wait_for_share). */
#include "shard/session.h"

enum { LET_IN_MAX = 64 }; /* each lets in others in its turn */

uint64_t share_bytes_max(const struct shard *sh) {
    uint64_t max = sh->env.settings->keyspace.maxmemory_bytes;
    return max ? max / SHARE_DIVISOR : UINT64_MAX;
}

/* Under the mutex. `sh` is the shard that asks, not always the session's. */
static bool comes_in(const struct shard *sh, struct session *s) {
    struct shard_group *g = sh->group;
    uint64_t most = share_bytes_max(sh);
    s->share_in =
        g->share_bytes == 0 || (s->share_bytes <= most && g->share_bytes <= most - s->share_bytes);
    g->share_bytes += s->share_in ? s->share_bytes : 0;
    return s->share_in;
}

static void let_in(struct shard *sh) {
    struct shard_group *g = sh->group;
    for (uint32_t i = 0; i < LET_IN_MAX && !list_empty(&g->share_queue); i++) {
        struct session *s = CONTAINER_OF(g->share_queue.next, struct session, share_node);
        if (!comes_in(sh, s)) {
            return;
        }
        list_remove(&s->share_node);
        atomic_fetch_sub_explicit(&g->share_waiting, 1, memory_order_relaxed);
        mailbox_send(&s->shard->mailbox, MESSAGE_SHARE, -1, s->client.id, NULL);
    }
}

/* Of one that is in: others are let in later for what it takes more. */
static void grow(struct shard_group *g, struct session *s, uint64_t bytes) {
    g->share_bytes += bytes - s->share_bytes;
    s->share_bytes = bytes;
}

bool share_take(struct session *s, uint64_t bytes, bool again) {
    struct shard_group *g = s->shard->group;
    bytes = MAX(bytes, 1u);
    pthread_mutex_lock(&g->share_mutex);
    if (s->share_in) {
        grow(g, s, MAX(bytes, s->share_bytes));
    } else {
        ASSERT(list_empty(&s->share_node));
        s->share_bytes = bytes;
        bool first = again || list_empty(&g->share_queue);
        if (!first || !comes_in(s->shard, s)) {
            atomic_fetch_add_explicit(&g->share_waiting, 1, memory_order_relaxed);
            if (again) {
                list_push_front(&g->share_queue, &s->share_node);
            } else {
                list_push_back(&g->share_queue, &s->share_node);
            }
        }
    }
    bool in = s->share_in;
    pthread_mutex_unlock(&g->share_mutex);
    return in;
}

bool share_add(struct session *s, uint64_t bytes) {
    struct shard_group *g = s->shard->group;
    uint64_t most = share_bytes_max(s->shard);
    pthread_mutex_lock(&g->share_mutex);
    ASSERT(list_empty(&s->share_node));
    bool fits =
        list_empty(&g->share_queue) && g->share_bytes <= most && bytes <= most - g->share_bytes;
    if (fits) {
        g->share_bytes += bytes;
        s->share_bytes += bytes;
        s->share_in = true;
    }
    pthread_mutex_unlock(&g->share_mutex);
    return fits;
}

bool share_has(struct session *s) {
    struct shard_group *g = s->shard->group;
    pthread_mutex_lock(&g->share_mutex);
    bool in = s->share_in;
    pthread_mutex_unlock(&g->share_mutex);
    return in;
}

bool share_is_alone(struct session *s) {
    struct shard_group *g = s->shard->group;
    pthread_mutex_lock(&g->share_mutex);
    bool alone = s->share_in && g->share_bytes == s->share_bytes &&
                 s->share_bytes >= share_bytes_max(s->shard);
    pthread_mutex_unlock(&g->share_mutex);
    return alone;
}

void share_give_back(struct session *s) {
    struct shard_group *g = s->shard->group;
    if (s->share_bytes == 0) {
        return;
    }
    pthread_mutex_lock(&g->share_mutex);
    if (s->share_in) {
        ASSERT(g->share_bytes >= s->share_bytes);
        g->share_bytes -= s->share_bytes;
    } else {
        list_remove(&s->share_node);
        atomic_fetch_sub_explicit(&g->share_waiting, 1, memory_order_relaxed);
    }
    s->share_in = false;
    s->share_bytes = 0;
    let_in(s->shard);
    pthread_mutex_unlock(&g->share_mutex);
}
