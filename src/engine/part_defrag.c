/* Defragmentation of values: what of them lies in the allocator's memory (hashes that are tables,
 * strings and packed hashes beyond ENTRY_INLINE_BYTES_MAX) is moved out of sparse slabs, on a walk
 * over a partition's tables. Under the partition's lock, between commands. Entries and index are
 * compacted by part_compact.c.
 *
 *     keyspace: judge -> round -> [partition: step, step ...] ... all partitions finished -> judge
 *
 * What it costs. A slot does not say what type its entry is of, so the walk reads every entry: a
 * cache miss, overlapped within a bucket. So a round begins only when the allocator's slabs waste
 * much, and one that won nothing is followed by a rest that doubles.
 *
 * 1. A step ends at its limit, and the bucket it is in: up to ENTRIES_MAX values of at most
 *    SMALL_FIELDS fields beyond it. Larger hashes are continued, also over several steps.
 * 2. Within a bucket large hashes are walked in the order of their keys' hashes, so that the walk
 *    knows where it was although the table changes. What moves between buckets meanwhile may be
 *    looked at twice in a round, or not at all.
 * 3. Only slots' and entries' pointers to values are changed: nothing that a client could see. */
#include "engine/defrag.h"
#include "engine/partition_internal.h"

enum {
    ENTRIES_MAX = 64,  /* of a bucket; where keys are made to collide the rest is left out */
    SMALL_FIELDS = 32, /* of a hash that is looked at in one go */
    WASTE_MIN_BYTES = 1024 * 1024, /* by slabs, for a round to be worth it */
    PERCENT_DIVISOR = 2,           /* ... and half of compact_percent, as heaps waste some too */
    CHANGE_DIVISOR = 16, /* the waste changed since the last round by one such part: no rest */
    REST_MIN_MS = 1000,
    REST_MAX_MS = 600 * 1000,
};

struct noted {
    uint32_t count;
    struct entry *entries[ENTRIES_MAX];
};

static void note_entry(void *arg, struct entry *e, struct table_ref ref) {
    (void)ref;
    struct noted *n = arg;
    if (n->count < ENTRIES_MAX) {
        __builtin_prefetch(e);
        __asm__ volatile("" : : "r"(e)); /* gcc 12 with LTO drops what only prefetches */
        n->entries[n->count++] = e;
    }
}

static bool is_large(const struct entry *e) {
    const struct hash *h = entry_hash_apart(e);
    return h && !hash_is_packed(h) && hash_count(h) > SMALL_FIELDS;
}

static void count_key(struct partition *p, bool moved) {
    part_count(moved ? &p->stats.defrag_key_hits : &p->stats.defrag_key_misses);
}

static void defrag_small(struct partition *p, struct entry *e, struct defrag *d) {
    uint32_t before = d->moved;
    if (entry_type(e) == VALUE_STRING) {
        entry_defrag_blob(e, d);
    } else {
        uint32_t most = d->most;
        uint64_t cursor = 0;
        d->most = UINT32_MAX;
        entry_defrag_hash(e, d, &cursor);
        ASSERT(cursor == 0);
        d->most = most;
    }
    count_key(p, d->moved > before);
}

/* The large value whose key's hash is the least from value_hash on; NULL: none is left. */
static struct entry *next_large(const struct table *t, const struct noted *n, uint64_t from,
                                uint64_t *hash) {
    struct entry *next = NULL;
    for (uint32_t i = 0; i < n->count; i++) {
        if (is_large(n->entries[i])) {
            uint64_t at = table_key(t, entry_key(n->entries[i])).hash;
            if (at >= from && (!next || at < *hash)) {
                next = n->entries[i];
                *hash = at;
            }
        }
    }
    return next;
}

/* Large values of a bucket; false: the one it is at is not finished. */
static bool defrag_large(struct partition *p, const struct table *t, const struct noted *n,
                         struct defrag *d) {
    struct defrag_walk *w = &p->defrag;
    uint64_t hash = 0;
    struct entry *e;
    while ((e = next_large(t, n, w->value_hash, &hash))) {
        if (hash != w->value_hash || w->value_cursor == 0) {
            w->value_hash = hash;
            w->value_cursor = 0;
            w->value_moved = false;
        }
        uint32_t before = d->moved;
        entry_defrag_hash(e, d, &w->value_cursor);
        w->value_moved |= d->moved > before;
        if (w->value_cursor) {
            return false;
        }
        count_key(p, w->value_moved);
        if (w->value_hash == UINT64_MAX) {
            return true;
        }
        w->value_hash++;
    }
    return true;
}

static void defrag_bucket(struct partition *p, struct table *t, struct defrag *d) {
    struct defrag_walk *w = &p->defrag;
    struct noted n;
    n.count = 0;
    uint64_t next = table_scan(t, w->cursor, note_entry, &n);
    bool resumed = w->value_cursor != 0;
    for (uint32_t i = 0; i < n.count && !resumed; i++) {
        struct entry *e = n.entries[i];
        d->looked++;
        if (entry_has_pointer(e) && !is_large(e)) {
            defrag_small(p, e, d);
        }
    }
    if (defrag_large(p, t, &n, d)) {
        w->value_cursor = 0;
        w->cursor = next;
    }
}

static void finish_database(struct partition *p, uint32_t round) {
    struct defrag_walk *w = &p->defrag;
    w->value_hash = w->value_cursor = 0;
    w->db = (w->db + 1) % DATABASES_MAX;
    if (w->db == 0) {
        w->round = round;
        atomic_fetch_sub_explicit(&p->ks->defrag.left, 1, memory_order_relaxed);
    }
}

bool part_wants_defrag(const struct partition *p) {
    return p->defrag.round != atomic_load_explicit(&p->ks->defrag.round, memory_order_acquire);
}

uint32_t part_defrag(struct partition *p, uint32_t limit) {
    lock_assert_held(&p->lock);
    struct defrag_walk *w = &p->defrag;
    struct defrag d = {.always = p->ks->defrag.always, .most = limit};
    uint32_t round = atomic_load_explicit(&p->ks->defrag.round, memory_order_acquire);
    while (w->round != round && !defrag_is_spent(&d)) {
        struct table *t = p->db[w->db];
        if (t && table_count(t) > 0) {
            defrag_bucket(p, t, &d);
        } else {
            w->cursor = w->value_cursor = 0;
        }
        if (w->cursor == 0 && w->value_cursor == 0) {
            finish_database(p, round);
        }
    }
    part_add(&p->stats.defrag_hits, d.moved);
    part_add(&p->stats.defrag_misses, d.kept);
    return d.moved;
}

static bool is_worth_it(uint32_t percent, const struct mem_stats *m, uint64_t *waste) {
    *waste = m->active > m->allocated ? m->active - m->allocated : 0;
    return percent && *waste >= WASTE_MIN_BYTES &&
           *waste * 100 * PERCENT_DIVISOR > m->active * percent;
}

/* As much is wasted as when the last round began, not long ago. */
static bool rests(struct defrag_rounds *r, int64_t now_ms, uint64_t waste) {
    uint64_t before = r->waste_bytes, change = waste > before ? waste - before : before - waste;
    if (change * CHANGE_DIVISOR >= before) {
        r->rest_ms = REST_MIN_MS;
        return false;
    }
    return now_ms < r->next_ms;
}

bool keyspace_defrag_judge(struct keyspace *ks, int64_t now_ms, const struct mem_stats *stats) {
    struct defrag_rounds *r = &ks->defrag;
    if (atomic_load_explicit(&r->left, memory_order_relaxed) > 0) {
        return true;
    }
    uint64_t waste;
    uint32_t percent = atomic_load_explicit(&ks->compact_percent, memory_order_relaxed);
    if ((!is_worth_it(percent, stats, &waste) || rests(r, now_ms, waste)) && !r->always) {
        return false;
    }
    r->waste_bytes = waste;
    r->next_ms = now_ms + r->rest_ms;
    r->rest_ms = MIN(r->rest_ms * 2, REST_MAX_MS);
    atomic_store_explicit(&r->left, ks->partitions_count, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->round, 1, memory_order_release);
    return true;
}
