#ifndef FOREBAY_ENGINE_KEYSPACE_H
#define FOREBAY_ENGINE_KEYSPACE_H
/* All partitions, and the one way to lock several of them. Any thread. */
#include <stdbool.h>
#include <stdint.h>
#include "base/hash.h"
#include "base/mem.h"
#include "engine/partition.h"
#include "engine/policy.h"

enum { PARTITIONS_MAX = 512, PARTITIONS_PER_SHARD = 8 };

/* Changed while running through keyspace_set_params; read with relaxed loads. */
#define LFU_DECAY_NEVER UINT32_MAX
struct keyspace_params {
    uint64_t maxmemory_bytes; /* 0 = no limit */
    enum evict_policy policy;
    uint32_t samples;        /* maxmemory-samples; 0 = the default */
    uint32_t lfu_log_factor; /* policy_lfu.c says what these two are here */
    uint32_t lfu_decay;      /* 0 = the default, LFU_DECAY_NEVER = never */
    bool no_estimate; /* hit-ratio-estimate no; partitions take it up with their maintenance */
    uint32_t compact_percent; /* of holes: beyond it heaps are compacted, values moved; 0 = none */
};

/* Rounds of defragmentation over the values of all partitions. */
struct defrag_rounds {
    _Atomic uint32_t round; /* the one that is on, or was last */
    _Atomic uint32_t left;  /* partitions that have not finished it */
    /* keyspace_defrag_judge's: */
    uint64_t waste_bytes; /* when it began */
    int64_t next_ms;      /* of the next one, if as much is wasted then */
    int64_t rest_ms;      /* between the two, doubled each time */
    bool always;          /* for tests, set before use: all values are moved, round after round */
};

struct keyspace {
    uint64_t seed;
    uint32_t partitions_count; /* a power of two, at most PARTITIONS_MAX */
    uint32_t partition_bits;
    bool locking;               /* false with one shard: locks are elided */
    struct block_pool *blocks;  /* of the partitions' heaps */
    part_touched_fn on_touched; /* set before the shards start; may be NULL */
    _Atomic uint64_t maxmemory_bytes;
    _Atomic uint64_t allowed_bytes;  /* above it: after it was lowered, comes down with use */
    _Atomic uint64_t base_bytes;     /* used before there was any key; see keyspace_note_base */
    _Atomic uint64_t overhead_bytes; /* resident, and not known from counters: keyspace_measure */
    _Atomic uint64_t resident_bytes; /* the most that was measured lately */
    _Atomic uint64_t low_bytes;      /* the least */
    _Atomic uint32_t sinks_measures; /* for so many more it counts as falling by itself */
    _Atomic uint64_t goal_bytes;     /* of resident memory: above it something is evicted */
    _Atomic uint64_t leaving_bytes;  /* of clients that are being closed: nothing goes for them */
    _Atomic uint64_t expected_bytes; /* keyspace_expect, until it comes ... */
    _Atomic uint64_t admitted_bytes; /* ... and until it has come, and gone where that is soon */
    _Atomic uint64_t coming_bytes;   /* keyspace_rows_come: in used memory, or about to be ... */
    _Atomic uint64_t coming_most;    /* ... and the most of it lately */
    uint32_t measures;               /* above the limit, so far */
    _Atomic bool compact_stuck;      /* no partition had holes that could be closed */
    _Atomic uint32_t policy, samples, lfu_log_factor, lfu_decay;
    _Atomic bool estimate;
    _Atomic uint32_t compact_percent;
    _Atomic int64_t now_s; /* coarse, for the policy bits: set by shards */
    uint32_t shards;
    struct evictor *evictors; /* one a shard */
    /* In all partitions, as they were when last looked at for eviction. */
    _Atomic uint64_t entries, marked;
    struct new_share new_share;
    struct policy_clock clock;
    struct defrag_rounds defrag;
    struct partition *partitions[];
};

/* `seed` 0 takes a random one. Partitions: 8 a shard, rounded up to a power of two; partition i is
 * owned by shard i % shards. */
struct keyspace *keyspace_create(uint32_t shards, uint64_t seed, part_touched_fn on_touched);
/* Nobody else may use it any more. Takes NULL. */
void keyspace_destroy(struct keyspace *ks);
void keyspace_set_params(struct keyspace *ks, const struct keyspace_params *params);

static inline struct key keyspace_key(const struct keyspace *ks, struct slice bytes) {
    return (struct key){bytes, hash_bytes(ks->seed, bytes.ptr, bytes.len)};
}
static inline struct partition *keyspace_partition(const struct keyspace *ks, uint64_t hash) {
    return ks->partitions[ks->partition_bits ? hash >> (64 - ks->partition_bits) : 0];
}

/* A set of partitions to be locked together, in ascending order: the only way to hold two. */
struct lockset {
    uint64_t bits[PARTITIONS_MAX / 64];
};
static inline void lockset_clear(struct lockset *s) {
    *s = (struct lockset){{0}};
}
static inline void lockset_add(struct lockset *s, const struct partition *p) {
    s->bits[p->index / 64] |= 1ull << (p->index % 64);
}
static inline bool lockset_has(const struct lockset *s, const struct partition *p) {
    return s->bits[p->index / 64] >> (p->index % 64) & 1;
}
static inline bool lockset_is_empty(const struct lockset *s) {
    uint64_t any = 0;
    for (unsigned i = 0; i < PARTITIONS_MAX / 64; i++) {
        any |= s->bits[i];
    }
    return !any;
}
void lockset_add_all(struct lockset *s, const struct keyspace *ks);
void lockset_lock(const struct lockset *s, struct keyspace *ks);
void lockset_unlock(const struct lockset *s, struct keyspace *ks);

/* Batch prefetching: stage 1 the bucket, 2 the entry's start, 3 the rest of it (table.h). Takes the
 * lock for an instant where locks are not elided, and gives up when it is not free. Hints only. */
void keyspace_prefetch_bucket(struct keyspace *ks, unsigned db, uint64_t hash);
void keyspace_prefetch_entry(struct keyspace *ks, unsigned db, uint64_t hash);
void keyspace_prefetch_value(struct keyspace *ks, unsigned db, uint64_t hash);

/* SCAN over the whole database: calls fn for live entries (VALUE_ABSENT left out) from `cursor`
 * until at least `count` entries were visited, returns the next cursor (0 = done). Takes
 * each partition's lock in turn unless `held` has it (NULL = none). */
typedef void (*keyspace_scan_fn)(void *arg, struct partition *p, struct entry *e);
uint64_t keyspace_scan(struct keyspace *ks, const struct lockset *held, unsigned db,
                       uint64_t cursor, uint64_t count, int64_t now_ms, keyspace_scan_fn fn,
                       void *arg);

/* Keys and keys with a TTL of a database; each partition is locked in turn unless `held`. */
void keyspace_count(struct keyspace *ks, const struct lockset *held, unsigned db, uint64_t *keys,
                    uint64_t *with_expiry);
/* What the entries with a TTL have left of it, as a mean of those that the sweep met last; 0 when
 * it met none. */
uint64_t keyspace_mean_ttl_ms(struct keyspace *ks, const struct lockset *held, unsigned db);
/* Adds every partition's estimate of the hit ratio to `sum`; each is locked unless `held`. */
void keyspace_estimate(struct keyspace *ks, const struct lockset *held, struct mrc_sum *sum);
/* Copies a random live key's bytes to `out`. False: the database has none, or so few among what has
 * expired and what is known to be absent that some thousand looks found none. */
struct buf;
bool keyspace_random_key(struct keyspace *ks, const struct lockset *held, unsigned db,
                         struct rng *rng, int64_t now_ms, struct buf *out);
/* Looks at what the allocator holds, and begins a round of defragmentation of values when that is
 * worth it: more than half of compact_percent of its slabs is free, the last round is finished, and
 * won something or was long ago. True while a round is on. By one thread, every second or so. */
bool keyspace_defrag_judge(struct keyspace *ks, int64_t now_ms, const struct mem_stats *stats);
/* All partitions must be locked by the caller. */
void keyspace_swap(struct keyspace *ks, unsigned a, unsigned b);

/* The memory budget (budget.c). `shard` is the caller's; locks are taken inside. */
/* Memory is above maxmemory, or resident memory above it by some per cent: something is to go, or
 * to be compacted. */
bool keyspace_is_full(const struct keyspace *ks);
/* It will be soon: what is resident is within an eighth of maxmemory. */
bool keyspace_is_short(const struct keyspace *ks);
/* While that is so: frees or evicts at most `limit` entries, from all partitions in turn, and does
 * a step of compaction. False when there was nothing to free and nothing to move. */
bool keyspace_shrink(struct keyspace *ks, uint32_t shard, int64_t now_ms, uint32_t limit);
/* The same before a batch of `commands` (where partitions are locked already, `held`, others that
 * are taken are left out, and those locked are the last that something goes from), and a step of
 * compaction where holes take memory above maxmemory. True when commands that grow may be executed:
 * memory is within the limit afterwards, or, if something could be evicted, above it by less than a
 * 64th (buffers come and go); and while it comes down after maxmemory was lowered, as long as
 * eviction is faster than growth. Resident memory above the limit is refused for only when nothing
 * could be evicted. */
bool keyspace_make_room(struct keyspace *ks, const struct lockset *held, uint32_t shard,
                        int64_t now_ms, uint32_t commands);
/* The last keyspace_make_room of that shard freed or moved something: the next may be enough. */
bool keyspace_is_freeing(const struct keyspace *ks, uint32_t shard);
/* All threads have what they need and there is no key yet: what is used now no eviction gives
 * back. */
void keyspace_note_base(struct keyspace *ks);
/* Rows on their way take so many bytes more (or less, below 0). They come and go faster than keys
 * can: what they took at most lately is kept free for them. Any thread. */
void keyspace_rows_come(struct keyspace *ks, int64_t bytes);
/* Memory that is about to be used at once: until keyspace_comes it counts as used, and shards make
 * room for it. False: something would have to go for it, and others were let in with so much that
 * it would be too much together, or `alone` and others were let in at all: ask again when they are
 * done. Any thread, one at a time. */
bool keyspace_expect(struct keyspace *ks, uint64_t bytes, bool alone) MUST_USE;
/* The same for those that can't wait for others. */
void keyspace_expect_now(struct keyspace *ks, uint64_t bytes);
/* It is being used from now on; and then: it has come. */
void keyspace_comes(struct keyspace *ks, uint64_t bytes);
void keyspace_came(struct keyspace *ks, uint64_t bytes);
uint64_t keyspace_expected(const struct keyspace *ks); /* by all */
/* So much of what came is going to be given back soon, others are to wait for that: until
 * keyspace_came once more. */
void keyspace_stays(struct keyspace *ks, uint64_t bytes);
/* It is not wanted any more: in place of both. */
void keyspace_expect_no_more(struct keyspace *ks, uint64_t bytes);
/* So many bytes at once fit if enough is evicted. */
bool keyspace_can_hold(const struct keyspace *ks, uint64_t bytes);
/* A turn of making room for all that is expected: keyspace_make_room for one command, and whether
 * there is room now, or there will be after more turns, or none can be made: what grows is to be
 * refused then. Holes that can't be closed are no reason to refuse anything. */
enum keyspace_room { KEYSPACE_ROOM_MADE, KEYSPACE_ROOM_COMING, KEYSPACE_ROOM_NONE };
enum keyspace_room keyspace_room_turn(struct keyspace *ks, const struct lockset *held,
                                      uint32_t shard, int64_t now_ms) MUST_USE;
/* Asks the kernel how much memory is resident, and the allocator to give back what it holds when
 * that is above the limit: ten microseconds, or milliseconds. By one thread, which serves no
 * client; some times a second, more often while it is true: memory is near the limit. (Shards that
 * allocate much measure in keyspace_make_room as well.) */
bool keyspace_measure(struct keyspace *ks);
/* The allocator's figures with the heaps' added: live objects are allocated, blocks active. */
void keyspace_memory_stats(struct keyspace *ks, struct mem_stats *out);
/* Evicts up to `limit` entries of the least worth, whatever maxmemory says, and returns how many
 * went: fewer when no more may go, or when those that may are too few to be found (call again
 * then). What is in the drain is freed on the way, in at most about as many steps, and is not
 * counted. */
uint32_t keyspace_evict(struct keyspace *ks, uint32_t shard, int64_t now_ms, uint32_t limit);
#endif
