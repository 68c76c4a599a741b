/* What keeps a partition small: the expiry sweep, eviction, and the drain that frees what is large
 * in slices. Under the partition's lock; part_maintain by the owner.
 *
 * 1. A call looks at a bounded number of buckets and frees a bounded number of entries.
 * 2. What is in the drain can't be found any more, but is memory until it is freed. */
#include "base/mem.h"
#include "engine/partition_internal.h"

enum {
    SWEEP_BATCH_MAX = 64,     /* expired entries a bucket; more wait for the next round */
    SWEEP_AGAIN_PERCENT = 25, /* of the entries with a TTL seen: then sweeping goes on at once */
};

/* --- drain --- */

struct drain_item { /* one of the two */
    struct list link;
    struct table *table;
    struct entry *entry;
};

static void drain_add(struct partition *p, struct table *table, struct entry *entry) {
    struct drain_item *item = mem_alloc(sizeof *item);
    *item = (struct drain_item){.table = table, .entry = entry};
    list_init(&item->link);
    list_push_back(&p->drain, &item->link);
    p->drain_count++;
}

static bool is_large(const struct entry *e) {
    switch (entry_type(e)) {
    case VALUE_HASH:
        return hash_count(entry_value(e)) > DRAIN_STEP_FIELDS;
    case VALUE_STRING:
        return entry_blob(e) && entry_blob(e)->cap >= DRAIN_BLOB_BYTES;
    default:
        return false;
    }
}

void part_discard(struct partition *p, struct entry *e) {
    lock_assert_held(&p->lock);
    if (e && entry_has_pointer(e) && is_large(e)) {
        drain_add(p, NULL, e);
    } else {
        entry_destroy(e);
    }
}

static void discard_entry(void *arg, struct entry *e) {
    part_discard(arg, e);
}

bool part_drain_step(struct partition *p) {
    lock_assert_held(&p->lock);
    if (list_empty(&p->drain)) {
        return false;
    }
    struct drain_item *item = CONTAINER_OF(p->drain.next, struct drain_item, link);
    bool empty = true;
    if (item->table) {
        empty = table_drain(item->table, DRAIN_STEP_FIELDS, discard_entry, p);
    } else if (entry_type(item->entry) == VALUE_HASH) {
        empty = hash_drain(entry_value(item->entry), DRAIN_STEP_FIELDS);
    }
    if (empty) {
        table_destroy(item->table);
        entry_destroy(item->entry);
        list_remove(&item->link);
        mem_free(item);
        p->drain_count--;
    }
    return true;
}

void part_flush(struct partition *p, unsigned db) {
    lock_assert_held(&p->lock);
    ASSERT(db < DATABASES_MAX);
    if (!p->db[db]) {
        return;
    }
    drain_add(p, p->db[db], NULL);
    p->db[db] = NULL;
    p->sweep_cursor[db] = 0;
    p->evict_cursor[db] = 0;
    part_touched(p, db, NULL);
}

/* --- expiry --- */

struct sweep {
    int64_t now_ms;
    uint64_t seen; /* entries with a TTL */
    uint32_t due_count;
    struct entry *due[SWEEP_BATCH_MAX];
};

static void sweep_entry(void *arg, struct entry *e, struct table_ref ref) {
    struct sweep *s = arg;
    if (table_is_volatile(ref)) {
        s->seen++;
        if (entry_is_expired(e, s->now_ms) && s->due_count < SWEEP_BATCH_MAX) {
            s->due[s->due_count++] = e;
        }
    }
}

static void sweep_bucket(struct partition *p, unsigned db, struct sweep *s) {
    struct table *t = p->db[db];
    s->due_count = 0;
    p->sweep_cursor[db] = table_scan(t, p->sweep_cursor[db], sweep_entry, s);
    for (uint32_t i = 0; i < s->due_count; i++) {
        struct key key = table_key(t, entry_key(s->due[i]));
        part_remove_expired(p, db, &key, table_find(t, &key));
    }
}

/* Returns true when a large share was due. */
static bool sweep(struct partition *p, int64_t now_ms, uint32_t limit) {
    struct sweep s = {.now_ms = now_ms};
    uint64_t due = 0;
    uint32_t slots = 0, finished = 0; /* databases to the end, in this call */
    while (slots < limit && finished < DATABASES_MAX) {
        unsigned db = p->sweep_db;
        bool worth = p->db[db] && table_count_volatile(p->db[db]) > 0;
        if (worth) {
            sweep_bucket(p, db, &s);
            due += s.due_count;
            slots += BUCKET_SLOTS;
        } else {
            p->sweep_cursor[db] = 0;
        }
        if (p->sweep_cursor[db] == 0) {
            p->sweep_db = (db + 1) % DATABASES_MAX;
            finished++;
        }
    }
    return due > 0 && due * 100 >= s.seen * SWEEP_AGAIN_PERCENT;
}

bool part_maintain(struct partition *p, int64_t now_ms, uint32_t limit) {
    lock_assert_held(&p->lock);
    bool again = sweep(p, now_ms, limit);
    part_drain_step(p);
    return again || !list_empty(&p->drain);
}

/* --- eviction --- */

struct sample {
    const struct policy *policy;
    struct rng *rng;
    int64_t now_ms, now_s;
    uint32_t seen; /* candidates */
    struct entry *victim;
    uint64_t worth;
    bool expired; /* the victim is: none can be better */
};

static void sample_entry(void *arg, struct entry *e, struct table_ref ref) {
    struct sample *s = arg;
    bool expires = table_is_volatile(ref);
    if (s->expired || (s->policy->volatile_only && !expires)) {
        return;
    }
    s->seen++;
    s->expired = expires && entry_is_expired(e, s->now_ms);
    uint64_t worth = s->policy->worth(table_policy(ref), e, s->now_s, s->rng);
    if (!s->victim || worth < s->worth || s->expired) {
        s->victim = e;
        s->worth = worth;
    }
}

static uint64_t candidates(const struct partition *p, unsigned db, const struct policy *policy) {
    const struct table *t = p->db[db];
    return !t ? 0 : policy->volatile_only ? table_count_volatile(t) : table_count(t);
}

/* A database, by chance as likely as its share of the candidates; DATABASES_MAX when there are
 * none. */
static unsigned pick_db(struct partition *p, const struct policy *policy) {
    uint64_t total = 0;
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        total += candidates(p, db, policy);
    }
    uint64_t at = rng_below(&p->rng, total);
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        uint64_t here = candidates(p, db, policy);
        if (at < here) {
            return db;
        }
        at -= here;
    }
    return DATABASES_MAX;
}

static void evict(struct partition *p, unsigned db, const struct sample *s) {
    struct key key = table_key(p->db[db], entry_key(s->victim));
    struct table_ref ref = table_find(p->db[db], &key);
    if (s->expired) {
        part_remove_expired(p, db, &key, ref);
        return;
    }
    struct entry *e = table_remove(p->db[db], &key, ref);
    if (entry_type(e) != VALUE_ABSENT) {
        part_count(&p->stats.evicted);
        part_touched(p, db, &key);
    }
    part_discard(p, e);
}

bool part_evict_one(struct partition *p, int64_t now_ms) {
    lock_assert_held(&p->lock);
    const struct policy *policy = part_policy(p);
    unsigned db = policy->evicts ? pick_db(p, policy) : DATABASES_MAX;
    if (db == DATABASES_MAX) {
        return false;
    }
    struct sample s = {.policy = policy,
                       .rng = &p->rng,
                       .now_ms = now_ms,
                       .now_s = MAX(now_ms / 1000, part_now_s(p))};
    uint32_t wanted = atomic_load_explicit(&p->ks->samples, memory_order_relaxed);
    wanted = MIN(MAX(wanted, 1u), EVICT_SAMPLES_MAX);
    for (uint32_t i = 0; i < EVICT_BUCKETS_MAX && s.seen < wanted && !s.expired; i++) {
        p->evict_cursor[db] = table_scan(p->db[db], p->evict_cursor[db], sample_entry, &s);
    }
    if (s.victim) {
        evict(p, db, &s);
    }
    return s.victim != NULL;
}
