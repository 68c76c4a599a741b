/* All partitions and what goes over several of them; see keyspace.h. Any thread; locks are taken in
 * ascending order, and but for lockset_lock only one at a time. */
#include "engine/keyspace.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "ds/buf.h"
#include "engine/partition_internal.h"

enum {
    SAMPLES_DEFAULT = 5,
    LFU_DECAY_DEFAULT = 1,
    QUANTUM_MIN_SHARED = 8, /* events a tick at least, where threads share the clock */
};

struct keyspace *keyspace_create(uint32_t shards, uint64_t seed, part_touched_fn on_touched) {
    ASSERT(shards > 0);
    uint32_t count = 1, bits = 0;
    while (count < PARTITIONS_MAX && count < (uint64_t)shards * PARTITIONS_PER_SHARD) {
        count *= 2;
        bits++;
    }
    struct keyspace *ks = mem_zalloc(sizeof *ks + count * sizeof ks->partitions[0]);
    ks->evictors = mem_zalloc(shards * sizeof *ks->evictors);
    ks->shards = shards;
    policy_clock_init(&ks->clock, shards > 1 ? QUANTUM_MIN_SHARED : 1);
    ks->partitions_count = count;
    ks->partition_bits = bits;
    ks->locking = shards > 1;
    ks->on_touched = on_touched;
    ks->seed = seed;
    while (ks->seed == 0) {
        rng_system_bytes(&ks->seed, sizeof ks->seed);
    }
    atomic_init(&ks->samples, SAMPLES_DEFAULT);
    atomic_init(&ks->lfu_decay, LFU_DECAY_DEFAULT);
    atomic_init(&ks->estimate, true);
    ks->blocks = block_pool_create(true);
    for (uint32_t i = 0; i < count; i++) {
        ks->partitions[i] = part_create(ks, i, i % shards);
    }
    return ks;
}

void keyspace_destroy(struct keyspace *ks) {
    if (ks) {
        for (uint32_t i = 0; i < ks->partitions_count; i++) {
            part_destroy(ks->partitions[i]);
        }
        mem_free(ks->evictors);
        block_pool_destroy(ks->blocks);
        mem_free(ks);
    }
}

void keyspace_set_params(struct keyspace *ks, const struct keyspace_params *params) {
    ASSERT(params->policy < EVICT_POLICIES_COUNT);
    uint32_t samples = params->samples ? params->samples : SAMPLES_DEFAULT;
    atomic_store_explicit(&ks->maxmemory_bytes, params->maxmemory_bytes, memory_order_relaxed);
    atomic_store_explicit(&ks->policy, params->policy, memory_order_relaxed);
    atomic_store_explicit(&ks->estimate, !params->no_estimate, memory_order_relaxed);
    atomic_store_explicit(&ks->samples, samples, memory_order_relaxed);
    atomic_store_explicit(&ks->lfu_log_factor, params->lfu_log_factor, memory_order_relaxed);
    uint32_t decay = params->lfu_decay == 0                 ? LFU_DECAY_DEFAULT
                     : params->lfu_decay == LFU_DECAY_NEVER ? 0
                                                            : params->lfu_decay;
    atomic_store_explicit(&ks->lfu_decay, decay, memory_order_relaxed);
    atomic_store_explicit(&ks->compact_percent, params->compact_percent, memory_order_relaxed);
    budget_changed(ks);
}

/* --- locks --- */

void lockset_add_all(struct lockset *s, const struct keyspace *ks) {
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        lockset_add(s, ks->partitions[i]);
    }
}

static void lockset_each(const struct lockset *s, struct keyspace *ks, void (*fn)(struct lock *)) {
    for (uint32_t w = 0; w < PARTITIONS_MAX / 64; w++) {
        for (uint64_t bits = s->bits[w]; bits; bits &= bits - 1) {
            uint32_t index = w * 64 + (uint32_t)__builtin_ctzll(bits);
            ASSERT(index < ks->partitions_count);
            fn(&ks->partitions[index]->lock);
        }
    }
}

void lockset_lock(const struct lockset *s, struct keyspace *ks) {
    lockset_each(s, ks, lock_take);
}

void lockset_unlock(const struct lockset *s, struct keyspace *ks) {
    lockset_each(s, ks, lock_release);
}

/* Takes the lock unless `held` has it already. */
static void visit_begin(struct partition *p, const struct lockset *held) {
    if (held && lockset_has(held, p)) {
        lock_assert_held(&p->lock);
    } else {
        lock_take(&p->lock);
    }
}

static void visit_end(struct partition *p, const struct lockset *held) {
    if (!held || !lockset_has(held, p)) {
        lock_release(&p->lock);
    }
}

/* --- prefetching --- */

void keyspace_prefetch_bucket(struct keyspace *ks, unsigned db, uint64_t hash) {
    struct partition *p = keyspace_partition(ks, hash);
    if (lock_try(&p->lock)) {
        if (p->db[db]) {
            table_prefetch_bucket(p->db[db], hash);
        }
        lock_release(&p->lock);
    }
}

void keyspace_prefetch_entry(struct keyspace *ks, unsigned db, uint64_t hash) {
    struct partition *p = keyspace_partition(ks, hash);
    if (lock_try(&p->lock)) {
        if (p->db[db]) {
            table_prefetch_entry(p->db[db], hash);
        }
        lock_release(&p->lock);
    }
}

void keyspace_prefetch_value(struct keyspace *ks, unsigned db, uint64_t hash) {
    struct partition *p = keyspace_partition(ks, hash);
    if (lock_try(&p->lock)) {
        if (p->db[db]) {
            table_prefetch_value(p->db[db], hash);
        }
        lock_release(&p->lock);
    }
}

/* --- the whole database --- */

struct scan {
    keyspace_scan_fn fn;
    void *arg;
    struct partition *p;
    int64_t now_ms;
    uint64_t visited;
};

static void scan_entry(void *arg, struct entry *e, struct table_ref ref) {
    struct scan *s = arg;
    s->visited++;
    if (entry_type(e) != VALUE_ABSENT &&
        (!table_is_volatile(ref) || !entry_is_expired(e, s->now_ms))) {
        s->fn(s->arg, s->p, e);
    }
}

/* Where the partition's part of the cursors begins. */
static uint64_t partition_cursor(const struct keyspace *ks, uint32_t index) {
    return (uint64_t)index << (TABLE_CURSOR_BITS - ks->partition_bits);
}

uint64_t keyspace_scan(struct keyspace *ks, const struct lockset *held, unsigned db,
                       uint64_t cursor, uint64_t count, int64_t now_ms, keyspace_scan_fn fn,
                       void *arg) {
    ASSERT(db < DATABASES_MAX);
    struct scan s = {.fn = fn, .arg = arg, .now_ms = now_ms};
    cursor &= (1ull << TABLE_CURSOR_BITS) - 1;
    count = MAX(count, 1u);
    uint32_t index = (uint32_t)(cursor >> (TABLE_CURSOR_BITS - ks->partition_bits));
    while (index < ks->partitions_count) {
        s.p = ks->partitions[index];
        visit_begin(s.p, held);
        bool more = s.p->db[db] != NULL;
        while (more && s.visited < count) {
            cursor = table_scan(s.p->db[db], cursor, scan_entry, &s);
            more = cursor != 0;
        }
        visit_end(s.p, held);
        if (more) {
            return cursor;
        }
        cursor = partition_cursor(ks, ++index);
        if (s.visited >= count) {
            break;
        }
    }
    return index < ks->partitions_count ? cursor : 0;
}

void keyspace_count(struct keyspace *ks, const struct lockset *held, unsigned db, uint64_t *keys,
                    uint64_t *with_expiry) {
    ASSERT(db < DATABASES_MAX);
    *keys = *with_expiry = 0;
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        struct partition *p = ks->partitions[i];
        visit_begin(p, held);
        if (p->db[db]) {
            *keys += table_count(p->db[db]) - table_count_absent(p->db[db]);
            *with_expiry += table_count_volatile(p->db[db]);
        }
        visit_end(p, held);
    }
}

uint64_t keyspace_mean_ttl_ms(struct keyspace *ks, const struct lockset *held, unsigned db) {
    ASSERT(db < DATABASES_MAX);
    uint64_t count = 0, sum_ms = 0;
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        struct partition *p = ks->partitions[i];
        visit_begin(p, held);
        count += p->ttl[db].count;
        sum_ms += (uint64_t)p->ttl[db].sum_ms;
        visit_end(p, held);
    }
    return count ? sum_ms / count : 0;
}

void keyspace_estimate(struct keyspace *ks, const struct lockset *held, struct mrc_sum *sum) {
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        struct partition *p = ks->partitions[i];
        visit_begin(p, held);
        mrc_add(&p->mrc, sum);
        visit_end(p, held);
    }
}

enum { RANDOM_TRIES_MAX = 64, RANDOM_SCANS_MAX = 256, RANDOM_SCAN_COUNT = 16 };

/* Draws an entry of the partition; one that has expired goes, so that the next call meets fewer. */
static bool draw_entry(struct partition *p, unsigned db, struct rng *rng, int64_t now_ms,
                       struct buf *out) {
    struct table_ref ref = table_random(p->db[db], rng);
    struct entry *e = table_entry(ref);
    if (entry_is_expired(e, now_ms)) {
        struct key key = table_key(p->db[db], entry_key(e));
        part_remove_expired(p, db, &key, ref);
        return false;
    }
    if (entry_type(e) == VALUE_ABSENT) {
        return false;
    }
    buf_append_slice(out, entry_key(e));
    return true;
}

/* One draw: a partition by its share of the keys, then an entry of it. */
static bool draw_key(struct keyspace *ks, const struct lockset *held, unsigned db, uint64_t at,
                     struct rng *rng, int64_t now_ms, struct buf *out) {
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        struct partition *p = ks->partitions[i];
        bool found = false;
        visit_begin(p, held);
        uint64_t keys = p->db[db] ? table_count(p->db[db]) - table_count_absent(p->db[db]) : 0;
        bool here = at < keys;
        if (here) {
            found = draw_entry(p, db, rng, now_ms, out);
        }
        visit_end(p, held);
        if (here) {
            return found;
        }
        at -= keys;
    }
    return false;
}

struct first_key {
    struct buf *out;
    bool found;
};

static void take_first(void *arg, struct partition *p, struct entry *e) {
    struct first_key *first = arg;
    if (!first->found) {
        buf_append_slice(first->out, entry_key(e));
        first->found = true;
    }
}

bool keyspace_random_key(struct keyspace *ks, const struct lockset *held, unsigned db,
                         struct rng *rng, int64_t now_ms, struct buf *out) {
    uint64_t keys, with_expiry;
    keyspace_count(ks, held, db, &keys, &with_expiry);
    for (unsigned i = 0; i < RANDOM_TRIES_MAX && keys > 0; i++) {
        if (draw_key(ks, held, db, rng_below(rng, keys), rng, now_ms, out)) {
            return true;
        }
    }
    /* Nearly all have expired, or are rows known to be absent: a live one among the next some. */
    struct first_key first = {out, false};
    uint64_t cursor = rng_next(rng), scans = 0;
    do {
        cursor = keyspace_scan(ks, held, db, cursor, RANDOM_SCAN_COUNT, now_ms, take_first, &first);
    } while (!first.found && ++scans < RANDOM_SCANS_MAX);
    return first.found;
}

void keyspace_swap(struct keyspace *ks, unsigned a, unsigned b) {
    ASSERT(a < DATABASES_MAX && b < DATABASES_MAX);
    for (uint32_t i = 0; i < ks->partitions_count && a != b; i++) {
        struct partition *p = ks->partitions[i];
        lock_assert_held(&p->lock);
        struct table *t = p->db[a];
        p->db[a] = p->db[b];
        p->db[b] = t;
        p->sweep_cursor[a] = p->sweep_cursor[b] = 0;
        mrc_flush(&p->mrc, a);
        mrc_flush(&p->mrc, b);
        struct ttl_mean ttl = p->ttl[a];
        p->ttl[a] = p->ttl[b];
        p->ttl[b] = ttl;
        if (p->watched.count > 0 && ks->on_touched) {
            ks->on_touched(p, a, NULL);
            ks->on_touched(p, b, NULL);
        }
    }
}
