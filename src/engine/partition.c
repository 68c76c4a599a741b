/* Reading and changing the keys of a partition; see partition.h. Every function asserts that the
 * partition's lock is held. Expiry sweep, eviction and the drain: part_*.c.
 *
 * Atomics, all relaxed: the statistics (written under the lock, read by anybody) and the keyspace's
 * parameters. */
#include "engine/partition.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "engine/keyspace.h"
#include "engine/partition_internal.h"
#include "engine/segment.h"

struct partition *part_create(struct keyspace *ks, uint32_t index, uint32_t owner) {
    struct partition *p = mem_alloc_aligned(64, sizeof *p);
    memset(p, 0, sizeof *p);
    lock_init(&p->lock, !ks->locking);
    p->ks = ks;
    p->index = index;
    p->owner = owner;
    p->rng.state = ks->seed + index;
    list_init(&p->drain);
    mrc_init(&p->mrc, ks->partitions_count);
    heap_init(&p->heap, ks->blocks, ENTRY_GRANULE_BYTES, entry_bytes);
    heap_init_large(&p->large_heap, &p->heap);
    heap_init(&p->index_heap, ks->blocks, CACHE_LINE_BYTES, segment_own_bytes);
    return p;
}

void part_destroy(struct partition *p) {
    if (!p) {
        return;
    }
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        table_destroy(p->db[db]);
    }
    lock_take(&p->lock);
    while (part_drain_step(p)) {
    }
    lock_release(&p->lock);
    ghosts_free(&p->ghosts);
    heap_deinit(&p->heap);
    heap_deinit(&p->large_heap);
    heap_deinit(&p->index_heap);
    hmap_free(&p->watched);
    hmap_free(&p->loads);
    mrc_set_enabled(&p->mrc, false);
    mem_free(p);
}

/* --- common steps --- */

static inline void part_assert(const struct partition *p, unsigned db) {
    lock_assert_held(&p->lock);
    ASSERT(db < DATABASES_MAX);
}

static struct table *ensure_table(struct partition *p, unsigned db) {
    if (UNLIKELY(!p->db[db])) {
        struct table_heaps heaps = {&p->heap, &p->index_heap};
        p->db[db] = table_create(heaps, p->ks->seed, p->ks->partition_bits);
    }
    return p->db[db];
}

static inline struct table_ref find_ref(const struct partition *p, unsigned db,
                                        const struct key *key) {
    struct table *t = p->db[db];
    return t ? table_find(t, key) : (struct table_ref){NULL};
}

static inline uint32_t lfu_log_factor(const struct partition *p) {
    return atomic_load_explicit(&p->ks->lfu_log_factor, memory_order_relaxed);
}

static inline void touch_slot(struct partition *p, unsigned db, struct table_ref ref) {
    uint64_t tick = part_clock(p, false);
    uint16_t bits = table_policy(ref);
    uint16_t touched = part_policy(p)->is_lfu ? policy_lfu_touch(bits, lfu_log_factor(p), &p->rng)
                                              : policy_lru_touch(&p->ks->clock, bits, tick);
    if (touched != bits) {
        table_set_policy(p->db[db], ref, touched);
    }
}

static uint16_t lfu_bits(struct partition *p, unsigned db, const struct key *key,
                         const struct entry *e, uint64_t tick) {
    enum ghost ghost = ghosts_take(&p->ghosts, part_ghost_hash(db, key));
    size_t bytes = part_entry_bytes(e);
    bool came_back = ghost == GHOST_NEW;
    if (ghost != GHOST_NONE) {
        p->share_events.returned[!came_back] += came_back ? 1 : PROVED_SAMPLE;
    }
    policy_size_seen(&p->sizes, bytes);
    return policy_lfu_fresh(tick, came_back, policy_size_shift(&p->sizes, came_back, bytes));
}

static struct table_ref insert(struct partition *p, unsigned db, const struct key *key,
                               struct entry *e) {
    uint64_t tick = part_clock(p, true);
    uint16_t bits = policy_clock_stamp(tick);
    if (part_policy(p)->is_lfu) {
        bits = lfu_bits(p, db, key, e, tick);
    }
    struct table_ref ref = table_insert(ensure_table(p, db), key, e, bits);
    part_count_if_few(p);
    return ref;
}

void part_remove_expired(struct partition *p, unsigned db, const struct key *key,
                         struct table_ref ref) {
    struct entry *e = table_remove(p->db[db], key, ref);
    if (entry_type(e) != VALUE_ABSENT) {
        part_count(&p->stats.expired);
        part_touched(p, db, key);
        part_mrc_remove(p, db, key);
    }
    part_discard(p, e);
}

/* The slot of a live entry (VALUE_ABSENT included); one that expired is removed. */
static inline struct table_ref find_live(struct partition *p, unsigned db, const struct key *key,
                                         int64_t now_ms) {
    struct table_ref ref = find_ref(p, db, key);
    if (ref.slot && UNLIKELY(table_is_volatile(ref)) &&
        entry_is_expired(table_entry(ref), now_ms)) {
        part_remove_expired(p, db, key, ref);
        ref.slot = NULL;
    }
    return ref;
}

/* The same without VALUE_ABSENT. */
static struct table_ref find_key(struct partition *p, unsigned db, const struct key *key,
                                 int64_t now_ms) {
    struct table_ref ref = find_live(p, db, key, now_ms);
    if (ref.slot && entry_type(table_entry(ref)) == VALUE_ABSENT) {
        ref.slot = NULL;
    }
    return ref;
}

/* --- the hit ratio's estimate --- */

static struct mrc_counts mrc_counts_of(const struct partition *p) {
    return (struct mrc_counts){
        atomic_load_explicit(&p->stats.hits, memory_order_relaxed),
        atomic_load_explicit(&p->stats.misses, memory_order_relaxed),
    };
}

static __attribute__((noinline)) void sample_read(struct partition *p, unsigned db, uint64_t hash,
                                                  const struct entry *e) {
    mrc_read(&p->mrc, db, hash, e ? part_entry_bytes(e) : 0, mrc_counts_of(p));
}

static __attribute__((noinline)) void sample_write(struct partition *p, unsigned db, uint64_t hash,
                                                   const struct entry *e) {
    if (entry_type(e) == VALUE_ABSENT) {
        mrc_remove(&p->mrc, db, hash);
    } else {
        mrc_write(&p->mrc, db, hash, part_entry_bytes(e), mrc_counts_of(p));
    }
}

static inline void note_write(struct partition *p, unsigned db, const struct key *key,
                              const struct entry *e) {
    if (mrc_samples(&p->mrc, key->hash)) {
        sample_write(p, db, key->hash, e);
    }
}

/* --- reading --- */

struct entry *part_find(struct partition *p, unsigned db, const struct key *key, int64_t now_ms,
                        unsigned flags) {
    part_assert(p, db);
    struct table_ref ref = find_live(p, db, key, now_ms);
    struct entry *e = ref.slot ? table_entry(ref) : NULL;
    if (flags & FIND_COUNT) {
        bool hit = e && entry_type(e) != VALUE_ABSENT;
        part_count(hit ? &p->stats.hits : &p->stats.misses);
        if (mrc_samples(&p->mrc, key->hash)) {
            sample_read(p, db, key->hash, hit ? e : NULL);
        }
    }
    if (e && flags & FIND_TOUCH) {
        touch_slot(p, db, ref);
    }
    return e;
}

struct entry *part_peek(struct partition *p, unsigned db, const struct key *key, int64_t now_ms) {
    part_assert(p, db);
    struct table_ref ref = find_key(p, db, key, now_ms);
    return ref.slot ? table_entry(ref) : NULL;
}

/* --- changing --- */

/* A value may take the place of this string's, with its TTL. */
static inline bool may_overwrite(const struct entry *e, int64_t expire_ms) {
    return entry_type(e) == VALUE_STRING && !(e->head & ENTRY_HAS_ORIGIN) &&
           (expire_ms == EXPIRE_NEVER || e->head & ENTRY_HAS_EXPIRE);
}

static inline void overwritten(struct partition *p, unsigned db, const struct key *key,
                               struct table_ref ref, int64_t expire_ms) {
    struct entry *e = table_entry(ref);
    entry_set_expire(e, expire_ms);
    if (table_is_volatile(ref) != (expire_ms != EXPIRE_NEVER)) {
        table_update(p->db[db], ref, e);
    }
    touch_slot(p, db, ref);
    note_write(p, db, key, e);
    part_touched(p, db, key);
}

static inline void replace(struct partition *p, unsigned db, const struct key *key,
                           struct table_ref ref, struct entry *e) {
    if (ref.slot) {
        part_discard(p, table_replace(p->db[db], ref, e));
        touch_slot(p, db, ref);
    } else {
        insert(p, db, key, e);
    }
    note_write(p, db, key, e);
    part_touched(p, db, key);
}

void part_put(struct partition *p, unsigned db, const struct key *key, struct entry *e) {
    part_assert(p, db);
    replace(p, db, key, find_ref(p, db, key), e);
}

/* To the bytes, or to the blob where there is one: it is the partition's then. */
static inline void set(struct partition *p, unsigned db, const struct key *key, struct slice value,
                       struct blob *b, int64_t expire_ms) {
    part_assert(p, db);
    const struct entry_origin none = {0, 0};
    struct table_ref ref = find_ref(p, db, key);
    struct entry *e =
        ref.slot && may_overwrite(table_entry(ref), expire_ms) ? table_entry(ref) : NULL;
    if (e && (b ? entry_set_blob(e, b) : entry_set_string(e, value))) {
        overwritten(p, db, key, ref, expire_ms);
        return;
    }
    replace(p, db, key, ref,
            b ? entry_create_blob(&p->heap, key->bytes, b, expire_ms, none)
              : entry_create_string(&p->heap, key->bytes, value, expire_ms, none));
}

void part_set_string(struct partition *p, unsigned db, const struct key *key, struct slice value,
                     int64_t expire_ms) {
    set(p, db, key, value, NULL, expire_ms);
}

void part_set_blob(struct partition *p, unsigned db, const struct key *key, struct blob *b,
                   int64_t expire_ms) {
    set(p, db, key, (struct slice){0}, b, expire_ms);
}

void part_update_string(struct partition *p, unsigned db, const struct key *key,
                        struct slice value) {
    part_assert(p, db);
    struct table_ref ref = find_ref(p, db, key);
    ASSERT(ref.slot);
    struct entry *e = table_entry(ref);
    ASSERT(entry_type(e) == VALUE_STRING);
    if (!entry_set_string(e, value)) {
        struct entry *fresh =
            entry_create_string(&p->heap, key->bytes, value, entry_expire_ms(e), entry_origin(e));
        part_discard(p, table_replace(p->db[db], ref, fresh));
    }
    touch_slot(p, db, ref);
    part_touched(p, db, key);
}

static struct entry *empty_string(struct partition *p, const struct key *key) {
    const struct entry_origin none = {0, 0};
    return entry_create_string(&p->heap, key->bytes, SLICE(""), EXPIRE_NEVER, none);
}

char *part_resize_string(struct partition *p, unsigned db, const struct key *key, size_t len,
                         int64_t now_ms) {
    part_assert(p, db);
    struct table_ref ref = find_live(p, db, key, now_ms);
    if (ref.slot && entry_type(table_entry(ref)) == VALUE_ABSENT) {
        struct entry *empty = empty_string(p, key);
        part_discard(p, table_replace(p->db[db], ref, empty));
    } else if (!ref.slot) {
        struct entry *empty = empty_string(p, key);
        ref = insert(p, db, key, empty);
    }
    struct entry *e = entry_resize_string(&p->heap, table_entry(ref), len);
    table_update(p->db[db], ref, e);
    touch_slot(p, db, ref);
    part_touched(p, db, key);
    return (char *)entry_string(e).ptr;
}

void part_put_hash(struct partition *p, unsigned db, const struct key *key, struct hash *h) {
    part_assert(p, db);
    struct table_ref ref = find_ref(p, db, key);
    struct entry *old = ref.slot ? table_entry(ref) : NULL;
    if (!old || entry_type(old) != VALUE_HASH) {
        const struct entry_origin none = {0, 0};
        part_put(p, db, key, entry_create_hash(&p->heap, key->bytes, h, EXPIRE_NEVER, none));
        return;
    }
    struct entry *e = entry_keep_hash(&p->heap, old, h);
    if (e != old) {
        table_update(p->db[db], ref, e);
    }
    touch_slot(p, db, ref);
    part_touched(p, db, key);
}

bool part_delete(struct partition *p, unsigned db, const struct key *key, int64_t now_ms) {
    part_assert(p, db);
    struct table_ref ref = find_live(p, db, key, now_ms);
    if (!ref.slot) {
        return false;
    }
    struct entry *e = table_remove(p->db[db], key, ref);
    bool was_key = entry_type(e) != VALUE_ABSENT;
    if (was_key) {
        part_touched(p, db, key);
        part_mrc_remove(p, db, key);
    }
    part_discard(p, e);
    return was_key;
}

bool part_move_key(struct key_place from, struct key_place to, int64_t now_ms) {
    part_assert(from.partition, from.db);
    struct table_ref ref = find_key(from.partition, from.db, from.key, now_ms);
    if (!ref.slot) {
        return false;
    }
    struct entry *e = table_remove(from.partition->db[from.db], from.key, ref);
    part_touched(from.partition, from.db, from.key);
    part_mrc_remove(from.partition, from.db, from.key);
    e = entry_move(&from.partition->heap, &to.partition->heap, e, to.key->bytes,
                   entry_expire_ms(e));
    part_put(to.partition, to.db, to.key, e);
    return true;
}

bool part_set_expire(struct partition *p, unsigned db, const struct key *key, int64_t expire_ms,
                     int64_t now_ms) {
    part_assert(p, db);
    struct table_ref ref = find_key(p, db, key, now_ms);
    if (!ref.slot) {
        return false;
    }
    struct entry *e = table_entry(ref);
    if (!entry_set_expire(e, expire_ms)) {
        e = entry_move(&p->heap, &p->heap, e, key->bytes, expire_ms);
    }
    table_update(p->db[db], ref, e);
    part_touched(p, db, key);
    return true;
}

/* --- OBJECT IDLETIME, OBJECT FREQ --- */

uint32_t part_idle_s(struct partition *p, unsigned db, const struct key *key, int64_t now_ms) {
    part_assert(p, db);
    struct table_ref ref = find_ref(p, db, key);
    if (!ref.slot || part_policy(p)->is_lfu) {
        return 0;
    }
    return policy_clock_idle_s(&p->ks->clock, table_policy(ref), MAX(now_ms / 1000, part_now_s(p)));
}

uint32_t part_frequency(struct partition *p, unsigned db, const struct key *key, int64_t now_ms) {
    part_assert(p, db);
    struct table_ref ref = find_ref(p, db, key);
    if (!ref.slot || !part_policy(p)->is_lfu) {
        return 0;
    }
    return policy_lfu_frequency(table_policy(ref));
}

void part_set_idle_s(struct partition *p, unsigned db, const struct key *key, uint32_t idle_s,
                     int64_t now_ms) {
    part_assert(p, db);
    struct table_ref ref = find_ref(p, db, key);
    ASSERT(ref.slot);
    if (!part_policy(p)->is_lfu) {
        table_set_policy(
            p->db[db], ref,
            policy_clock_stamp_of_idle(&p->ks->clock, idle_s, MAX(now_ms / 1000, part_now_s(p))));
    }
}

void part_set_frequency(struct partition *p, unsigned db, const struct key *key, uint32_t frequency,
                        int64_t now_ms) {
    part_assert(p, db);
    struct table_ref ref = find_ref(p, db, key);
    ASSERT(ref.slot);
    if (part_policy(p)->is_lfu) {
        table_set_policy(p->db[db], ref,
                         policy_lfu_bits(frequency, policy_clock_tick(&p->ks->clock)));
    }
}
