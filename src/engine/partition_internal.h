#ifndef FOREBAY_ENGINE_PARTITION_INTERNAL_H
#define FOREBAY_ENGINE_PARTITION_INTERNAL_H
/* What partition.c and the part_*.c files share. */
#include <stdatomic.h>
#include "engine/keyspace.h"

static inline const struct policy *part_policy(const struct partition *p) {
    return policy_of(atomic_load_explicit(&p->ks->policy, memory_order_relaxed));
}
static inline int64_t part_now_s(const struct partition *p) {
    return atomic_load_explicit(&p->ks->now_s, memory_order_relaxed);
}
/* One writer at a time, under the lock: no read-modify-write needed. */
static inline void part_add(_Atomic uint64_t *counter, uint64_t by) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}
static inline void part_count(_Atomic uint64_t *counter) {
    part_add(counter, 1);
}
/* The logical clock is looked at: time may have passed, stamps may have to be kept from wrapping.
 */
void part_clock_move(struct partition *p);
/* Counts an event; the tick to stamp what it touches with. */
static inline uint64_t part_clock(struct partition *p, bool insertion) {
    p->inserted += insertion;
    if (UNLIKELY(p->step_left == 0 || p->inserted >= p->step_inserts ||
                 p->second != part_now_s(p))) {
        part_clock_move(p);
    }
    p->step_left -= p->step_left > 0;
    return policy_clock_tick(&p->ks->clock);
}
/* For ghosts: keys of different databases differ. */
static inline uint64_t part_ghost_hash(unsigned db, const struct key *key) {
    return key->hash + ((uint64_t)db << 40);
}
/* Of what is evicted as proved one in PROVED_SAMPLE is remembered, to learn how much of it comes
 * back and for nothing else: all of it would push out what was evicted as new. */
enum { PROVED_SAMPLE = 8 };
static inline bool part_remembers(uint64_t hash, bool proved) {
    return !proved || (hash >> 8) % PROVED_SAMPLE == 0;
}
/* The keyspace's sums take up what has changed in this partition since they last did. */
void part_count_entries(struct partition *p);
/* Where partitions have few entries a look at one of them says little of all: sums are kept with
 * each change, and evictions look at several. */
enum { PART_FEW = 64 };
static inline bool part_has_few(const struct partition *p) {
    return p->counted_entries < PART_FEW;
}
static inline void part_count_if_few(struct partition *p) {
    if (UNLIKELY(part_has_few(p))) {
        part_count_entries(p);
    }
}
/* Tells watchers; `key` NULL = all of the database. */
static inline void part_touched(struct partition *p, unsigned db, const struct key *key) {
    if (UNLIKELY(p->watched.count > 0) && p->ks->on_touched) {
        p->ks->on_touched(p, db, key);
    }
}
/* What an entry takes of memory, its share of the index included, for the hit ratio's estimate. */
enum { MRC_INDEX_BYTES = 12, MRC_MEMBERS_SAMPLED = 5 };
static inline size_t part_entry_bytes(const struct entry *e) {
    return entry_memory_bytes(e, MRC_MEMBERS_SAMPLED) + MRC_INDEX_BYTES;
}
static inline void part_mrc_remove(struct partition *p, unsigned db, const struct key *key) {
    if (mrc_samples(&p->mrc, key->hash)) {
        mrc_remove(&p->mrc, db, key->hash);
    }
}
/* Removes an entry that is due, counts it and tells watchers; one of VALUE_ABSENT goes silently. */
void part_remove_expired(struct partition *p, unsigned db, const struct key *key,
                         struct table_ref ref);
/* maxmemory is another one: memory may be above it by as much as it is now, and comes down. */
void budget_changed(struct keyspace *ks);
/* The expiry sweep goes on over at least `limit` slots, or until it removed enough for a step. */
void part_sweep(struct partition *p, int64_t now_ms, uint32_t limit);
#endif
