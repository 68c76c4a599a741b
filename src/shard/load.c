/* Row loads in flight. A load belongs to its key's partition while it runs, so that every shard
 * that misses the key meanwhile joins it; it completes on the shard that started it.
 *
 *   miss -> load_join -> (batch ends) load_submit -> store -> [worker] MESSAGE_LOADED
 *        -> load_complete: fill under the fence -> waiters: park_load_done, here or
 *           by MESSAGE_RESUME
 *
 * 1. A fill stores nothing without room under maxmemory, nor unless the fence and the mapping's
 *    generation are what they were when the load was asked for (docs/store.md, Consistency); it
 *    then only answers those who asked.
 * 2. Who asks after the fence moved does not join: a new load takes the old one's place in the map.
 * 3. The result is written before the waiters are told and never changes after.
 * 4. Rows on their way are bounded by the store (store/quota.c), until their entry is made; what
 *    waiting sessions keep of them, by park.c. */
#include "shard/session.h"

#include "base/mem.h"

enum { ROW_PACKED_BYTES_MAX = 64 << 10 }; /* a longer hash row is kept as hash-max-listpack-* say */

static bool load_has_key(const struct load *l, const struct key *key) {
    return slice_eq(l->key.bytes, key->bytes);
}

static struct load *find_load(struct partition *p, const struct key *key) {
    HMAP_FOR_EACH_HASH(node, &p->loads, key->hash) {
        struct load *l = CONTAINER_OF(node, struct load, node);
        if (load_has_key(l, key)) {
            return l;
        }
    }
    return NULL;
}

static void load_ref(struct load *l) {
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
}

void load_unref(struct load *l) {
    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    ASSERT(!l->waiters);
    store_request_destroy(l->request);
    entry_destroy(NULL, l->entry);
    mapping_unref(l->map);
    mem_free(l->error);
    mem_free((char *)l->key.bytes.ptr);
    mem_free(l);
}

static void add_waiter(struct load *l, const struct session *s) {
    struct load_waiter *w = mem_alloc(sizeof *w);
    *w = (struct load_waiter){
        .next = l->waiters, .shard = s->shard->index, .session_id = s->client.id};
    l->waiters = w;
}

/* Makes the load and puts it into the partition's map. Two references: the map's, the flight's. */
static struct load *start_load(struct shard *sh, struct partition *p, const struct row_miss *miss) {
    struct load *l = mem_zalloc(sizeof *l);
    size_t len = miss->key.bytes.len;
    l->key = (struct key){slice_of(mem_dup(miss->key.bytes.ptr, len), len), miss->key.hash};
    l->map = mapping_ref(miss->map);
    l->fence_seq = part_fence(p, miss->key.hash)->seq;
    l->generation = atomic_load(&miss->map->generation);
    l->shard = sh->index;
    l->state = ROW_PENDING;
    atomic_init(&l->refs, 2);
    l->message.type = MESSAGE_LOADED;
    l->message.ptr = l;
    hmap_insert(&p->loads, &l->node, miss->key.hash);
    l->request = store_request_create(miss->map, miss->values, l);
    *sh->loads_tail = l->request;
    sh->loads_tail = &l->request->next;
    return l;
}

enum load_outcome load_join(struct shard *sh, struct session *s, const struct row_miss *miss,
                            bool keep_copy, struct load **out) {
    struct partition *p = keyspace_partition(sh->env.ks, miss->key.hash);
    lock_take(&p->lock);
    if (!keep_copy && part_find(p, 0, &miss->key, sh->env.now_ms, 0)) {
        lock_release(&p->lock); /* another shard filled it since we looked */
        return LOAD_CACHED;
    }
    struct load *l = find_load(p, &miss->key);
    bool joins = l && l->fence_seq == part_fence(p, miss->key.hash)->seq && l->map == miss->map &&
                 l->generation == atomic_load(&miss->map->generation);
    struct load *displaced = NULL;
    if (l && !joins) {
        hmap_remove(&p->loads, &l->node);
        l->detached = true;
        displaced = l;
    }
    if (joins) {
        stat_add(&sh->stats.row_joins, 1);
    } else {
        l = start_load(sh, p, miss);
    }
    l->keep_copy |= keep_copy;
    add_waiter(l, s);
    load_ref(l);
    lock_release(&p->lock);
    load_unref(displaced);
    *out = l;
    return LOAD_WAITING;
}

void load_share_changed(struct shard_group *g, const struct settings *settings) {
    uint64_t max = settings->keyspace.maxmemory_bytes;
    if (g->store) {
        store_set_loads_bytes_max(g->store,
                                  max ? MAX(max / LOADS_DIVISOR, (uint64_t)LOADS_BYTES_MIN) : 0);
    }
}

static void release(struct shard *sh) {
    if (sh->group->store) { /* else nobody waits any more */
        store_release(sh->group->store, sh->released_bytes);
    }
    sh->released_bytes = 0;
}

void load_submit(struct shard *sh) {
    struct store_request *list = sh->loads_head;
    if (sh->released_bytes) {
        release(sh);
    }
    if (!list) {
        return;
    }
    sh->loads_head = NULL;
    sh->loads_tail = &sh->loads_head;
    store_load(sh->group->store, list);
}

void shards_store_complete(void *ctx, struct store_request *list) {
    struct shard_group *g = ctx;
    while (list) {
        struct store_request *r = list;
        list = r->next;
        struct load *l = r->owner;
        mailbox_post(&g->shards[l->shard]->mailbox, &l->message);
    }
}

void shards_loads_bytes(void *ctx, int64_t bytes) {
    struct shard_group *g = ctx;
    keyspace_rows_come(g->params.ks, bytes);
}

static const char *status_prefix(enum store_status status) {
    switch (status) {
    case STORE_DOWN:
        return "STOREDOWN";
    case STORE_TIMEOUT:
        return "STORETIMEOUT";
    case STORE_BUSY:
        return "STOREBUSY";
    case STORE_REJECT:
        return "STOREREJECT";
    case STORE_SCHEMA:
        return "STORESCHEMA";
    case STORE_ROW:
    case STORE_ABSENT:
        break;
    }
    UNREACHABLE();
}

static const char *status_text(const struct store_request *r) {
    if (r->error[0]) {
        return r->error;
    }
    switch (r->status) {
    case STORE_DOWN:
        return "the database cannot be reached";
    case STORE_TIMEOUT:
        return "the database did not answer in time";
    case STORE_BUSY:
        return "too many loads are waiting for the database";
    default:
        return "the database refused the query";
    }
}

static void set_error(struct load *l) {
    struct buf text = {0};
    buf_printf(&text, "%s %s", status_prefix(l->request->status), status_text(l->request));
    l->error = mem_dup(text.ptr, text.len);
    buf_free(&text);
    l->state = ROW_FAILED;
}

static int64_t fill_expire_ms(struct shard *sh, const struct mapping *m) {
    uint64_t jitter_ms = (uint64_t)m->ttl_ms * m->jitter_percent / 100;
    return sh->env.now_ms + m->ttl_ms - (int64_t)rng_below(&sh->env.rng, jitter_ms + 1);
}

STATIC_ASSERT((int)MAPPING_COLUMNS_MAX <= 256, "few enough to be searched in order");

/* A hash row. It is never written to and has few fields, all different: packed whatever the lengths
 * of its columns, where a table would have an allocation for each. */
static struct entry *entry_of_columns(struct shard *sh, const struct load *l, int64_t expire_ms) {
    const struct store_value *row = &l->request->value;
    char room[ENTRY_INLINE_BYTES_MAX];
    struct hash h;
    hash_init(&h, room, sizeof room);
    if (hash_pairs_bytes(row->pairs, row->pairs_count) <= ROW_PACKED_BYTES_MAX) {
        hash_append(&h, row->pairs, row->pairs_count);
    } else {
        for (uint32_t i = 0; i < row->pairs_count; i++) {
            hash_set(&h, row->pairs[2 * i], row->pairs[2 * i + 1], &sh->env.settings->hash);
        }
    }
    struct entry_origin origin = {l->map->id, l->generation};
    return entry_create_hash(NULL, l->key.bytes, &h, expire_ms, origin);
}

/* The row as a detached entry of the table's kind; NULL when there is no row to keep. */
static struct entry *entry_of_row(struct shard *sh, struct load *l) {
    const struct store_request *r = l->request;
    struct entry_origin origin = {l->map->id, l->generation};
    if (r->status == STORE_ABSENT) {
        return l->map->absent_ms > 0
                   ? entry_create_absent(NULL, l->key.bytes, sh->env.now_ms + l->map->absent_ms,
                                         origin)
                   : NULL;
    }
    int64_t expire_ms = fill_expire_ms(sh, l->map);
    if (!r->value.is_hash) {
        return entry_create_string(NULL, l->key.bytes, r->value.string, expire_ms, origin);
    }
    return entry_of_columns(sh, l, expire_ms);
}

/* Under the lock: may this load's row be stored? */
static bool token_holds(const struct partition *p, const struct load *l) {
    const struct fence *f = &p->fences[(l->key.hash >> 8) & (FENCES_COUNT - 1)];
    return !l->detached && f->seq == l->fence_seq &&
           atomic_load(&l->map->generation) == l->generation;
}

/* The row as an entry; what the request held of it is free then. Past maxmemory with nothing to
 * evict there is no `room`: a row is answered, not stored. Before the lock is taken. */
static struct entry *take_row(struct shard *sh, struct load *l, bool *room) {
    struct store_request *r = l->request;
    if (r->held_bytes >= LARGE_ROW_BYTES) {
        room_now(sh, r->held_bytes);
    }
    *room = !sh->env.settings->keyspace.maxmemory_bytes ||
            keyspace_make_room(sh->env.ks, NULL, sh->index, sh->env.now_ms, 1);
    l->row_bytes = r->held_bytes;
    struct entry *e = entry_of_row(sh, l);
    sh->released_bytes += store_request_drop(r);
    if (sh->released_bytes >= RELEASE_BYTES) {
        release(sh);
    }
    return e;
}

/* Under the lock: stores the row's entry `e`, or keeps it for the waiters. */
static void fill(struct shard *sh, struct partition *p, struct load *l, struct entry *e,
                 bool room) {
    bool store = room && token_holds(p, l);
    if (l->state == ROW_LOADED && (l->keep_copy || !store)) {
        l->entry = e;
    }
    if (store && e) {
        int64_t expire_ms = entry_expire_ms(e);
        part_put(p, 0, &l->key,
                 l->entry ? entry_copy(&p->heap, e, l->key.bytes, expire_ms, entry_origin(e))
                          : entry_move(NULL, &p->heap, e, l->key.bytes, expire_ms));
        stat_add(&sh->stats.row_fills, 1);
    } else if (!store) {
        stat_add(&sh->stats.row_fills_refused, 1);
        if (e != l->entry) {
            entry_destroy(NULL, e);
        }
    }
}

void load_complete(struct shard *sh, struct load *l) {
    struct partition *p = keyspace_partition(sh->env.ks, l->key.hash);
    enum store_status status = l->request->status;
    bool answered = status == STORE_ROW || status == STORE_ABSENT;
    bool room = false;
    struct entry *e = NULL;
    if (answered) {
        l->state = status == STORE_ROW ? ROW_LOADED : ROW_ABSENT;
        e = take_row(sh, l, &room);
    } else {
        set_error(l);
        stat_add(&sh->stats.row_errors, 1);
    }
    lock_take(&p->lock);
    if (answered) {
        fill(sh, p, l, e, room);
    }
    bool in_map = !l->detached;
    if (in_map) {
        hmap_remove(&p->loads, &l->node);
    }
    struct load_waiter *waiters = l->waiters;
    l->waiters = NULL;
    lock_release(&p->lock);
    while (waiters) {
        struct load_waiter *w = waiters;
        waiters = w->next;
        if (w->shard == sh->index) {
            struct session *s = session_find(sh, w->session_id);
            if (s) {
                park_load_done(s, l);
            }
        } else {
            load_ref(l);
            mailbox_send(&sh->group->shards[w->shard]->mailbox, MESSAGE_RESUME, -1, w->session_id,
                         l);
        }
        mem_free(w);
    }
    if (in_map) {
        load_unref(l);
    }
    load_unref(l);
}
