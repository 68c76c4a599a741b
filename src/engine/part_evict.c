/* Eviction: finds the entry of least worth among a few of a partition's and removes it. Under the
 * partition's lock. */
#include "engine/partition_internal.h"

enum { SIZE_SAMPLES = 5 }; /* members of a collection that are measured */

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

/* Key and value of what is evicted, as a client would count them; a collection's memory. */
static uint64_t logical_bytes(const struct entry *e) {
    switch (entry_type(e)) {
    case VALUE_STRING:
        return entry_key(e).len + entry_string(e).len;
    case VALUE_ABSENT:
        return entry_key(e).len;
    default:
        return entry_memory_bytes(e, SIZE_SAMPLES);
    }
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
        part_add(&p->stats.evicted_bytes, logical_bytes(e));
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
