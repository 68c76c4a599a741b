#ifndef FOREBAY_ENGINE_EVICT_POOL_H
#define FOREBAY_ENGINE_EVICT_POOL_H
/* The best candidates for eviction that a shard's hand has passed, from all partitions:
 * what brings a few samples close to looking at everything. One a shard, used by that shard's
 * thread alone, whichever partition is locked.
 *
 * 1. A candidate is a place, its policy bits and its rank: never an entry nor a slot's address.
 *    What stands there when its turn comes is evicted only if the bits are the same; another entry
 *    with the same ones is as good. */
#include <stdbool.h>
#include <stdint.h>
#include "engine/policy.h"
#include "engine/table.h"

enum { EVICT_POOL_MAX = 16 };

struct evict_candidate {
    uint64_t rank; /* the least goes first */
    struct table_hand at;
    uint16_t partition, bits;
    uint8_t db, slot;
};

struct evict_pool {
    uint32_t count;
    uint32_t worst; /* index of the highest rank, when full */
    struct evict_candidate candidates[EVICT_POOL_MAX];
};

/* What a shard's evictions need. The lfu family has two queues of candidates, new and proved
 * entries; the others use the first one. */
struct evictor {
    const struct lockset *held; /* partitions that the caller has locked; the others are tried */
    bool spares;               /* what these have stays, as long as others have anything */
    int64_t room_bytes;        /* mem_thread_bytes when room was last made, ... */
    uint64_t room_max;         /* ... for this maxmemory */
    bool freed;                /* something, when room was last made */
    bool barren;               /* then no partition had anything more, or none that could be had
                                * without waiting */
    uint64_t orphans_bytes; /* when room was last begun to be made: what came since went for it */
    uint64_t measure_at_bytes; /* of mem_thread_allocated_bytes: resident memory is measured then */
    int64_t looked_ms;         /* when it was last measured lest something is refused */
    enum evict_policy policy; /* that ranked them */
    uint32_t rotor;           /* which partition is next */
    uint32_t seen;            /* candidates looked at, for this eviction */
    uint32_t drain_partition; /* has in its drain what was evicted, when `drains` */
    bool drains;
    uint32_t compact_rotor;   /* the same for compaction before a batch */
    uint32_t compact_barren;  /* partitions since one had anything to move */
    struct evict_pool new_entries, proved;
};

static inline bool evictor_has_any(const struct evictor *v) {
    return v->new_entries.count + v->proved.count > 0;
}
/* Forgets the candidates when the policy is another one. */
void evictor_use(struct evictor *v, enum evict_policy policy);
/* Would a candidate of this rank be kept? */
static inline bool evict_pool_wants(const struct evict_pool *pool, uint64_t rank) {
    return pool->count < EVICT_POOL_MAX || rank < pool->candidates[pool->worst].rank;
}
/* Keeps it, in the place of the worst one or of what was known of the same place. */
void evict_pool_add(struct evict_pool *pool, const struct evict_candidate *candidate);
/* Takes the one of least rank out. False: there is none. */
bool evict_pool_take(struct evict_pool *pool, struct evict_candidate *out);
#endif
