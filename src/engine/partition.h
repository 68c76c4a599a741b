#ifndef FOREBAY_ENGINE_PARTITION_H
#define FOREBAY_ENGINE_PARTITION_H
/* A slice of the keyspace with everything that belongs to it, behind one lock. All functions here
 * need the lock (asserted) unless they say otherwise. Any thread that holds it may call them, but
 * part_maintain is the owner's. */
#include <stdbool.h>
#include <stdint.h>
#include "base/rng.h"
#include "ds/hmap.h"
#include "ds/list.h"
#include "engine/entry.h"
#include "engine/evict_pool.h"
#include "engine/expire_pace.h"
#include "engine/ghosts.h"
#include "engine/hash.h"
#include "engine/heap.h"
#include "engine/lock.h"
#include "engine/mrc.h"
#include "engine/new_share.h"
#include "engine/policy_size.h"
#include "engine/table.h"

enum {
    DATABASES_MAX = 16,
    FENCES_COUNT = 64,        /* fences a partition; a power of two */
    DRAIN_STEP_FIELDS = 1024, /* of a large value being freed, a maintenance step */
    /* A string this large is freed by maintenance, but where another such takes its place. */
    DRAIN_BLOB_BYTES = 1024 * 1024,
    EVICT_BUCKETS_MAX = 4096, /* looked at for one eviction */
    EVICT_SAMPLES_MAX = 64,
    CLOCK_STEP_MAX = 256, /* accesses between two looks at the logical clock */
};

/* The state the store's coherence stands on (STORE.md section 3): bumped when a key under it is
 * invalidated; a fill whose token is older must not be stored. */
struct fence {
    uint64_t seq;
    int64_t bumped_ms; /* 0 = never */
};

struct partition_stats { /* written under the lock, read by anybody: relaxed atomics */
    _Atomic uint64_t hits, misses, expired, evicted;
    _Atomic uint64_t evicted_bytes; /* keys and values of what was evicted */
    /* By compaction and defragmentation: moved, looked at in vain; the same in keys. */
    _Atomic uint64_t defrag_hits, defrag_misses, defrag_key_hits, defrag_key_misses;
    _Atomic uint32_t stale_ppm; /* of the entries with a TTL met by the sweep: were expired */
};

/* Of the entries with a TTL that the sweep met: what is left of it, a moving mean. */
struct ttl_mean {
    uint64_t count;
    int64_t sum_ms;
};

/* Where the defragmentation of values goes on. */
struct defrag_walk {
    uint32_t round; /* keyspace.defrag's: finished */
    uint32_t db;
    uint64_t cursor;       /* of its table */
    uint64_t value_hash;   /* large values of keys with a lesser hash are done */
    uint64_t value_cursor; /* within the value of the key with that hash; 0: not begun */
    bool value_moved;      /* something of it */
};

struct keyspace;
struct partition;

/* Watchers: set by the command layer once, called under the lock when a watched key changed (the
 * key) or a whole database was flushed or swapped (key NULL). */
typedef void (*part_touched_fn)(struct partition *p, unsigned db, const struct key *key);

struct partition {
    struct lock lock;
    uint32_t index;
    uint32_t owner; /* shard that maintains it */
    struct keyspace *ks;
    struct heap heap, large_heap;    /* of all keys' entries; allocated through the first */
    struct heap index_heap;          /* of the tables' segments */
    struct table *db[DATABASES_MAX]; /* made on first use; swapped by SWAPDB */
    struct hmap watched;             /* struct watch_key nodes: command/transaction.c */
    struct hmap loads;               /* loads in flight: the shard layer's nodes */
    struct fence fences[FENCES_COUNT];
    struct list drain; /* detached values and tables being freed in slices */
    uint64_t drain_count;
    uint64_t sweep_cursor[DATABASES_MAX];
    uint32_t sweep_db; /* where the sweep goes on */
    uint32_t hand_db;  /* and the hand of eviction */
    struct table_hand hand;
    struct defrag_walk defrag;
    uint64_t counted_entries, counted_marked; /* in the keyspace's sums */
    /* Of the lfu family only. */
    struct ghosts ghosts; /* of what was evicted */
    struct new_share_events share_events;
    struct policy_size sizes;
    /* What is counted for the logical clock. */
    uint32_t step, step_left; /* events until part_clock_move */
    uint32_t inserted;        /* in this step */
    uint32_t events;          /* since the last tick made here, without this step's */
    int64_t second;           /* seen last */
    uint32_t step_inserts;    /* insertions until then */
    uint64_t kept_tick;       /* stamps were kept from wrapping until then */
    uint32_t lines_passed;    /* by the hand since then, in evictions */
    struct expire_pace pace;
    struct ttl_mean ttl[DATABASES_MAX];
    struct rng rng;
    struct mrc mrc; /* beside the counters: both are looked at by every read */
    struct partition_stats stats;
};

/* Neither needs the lock; nobody else may use the partition then. Destroy takes NULL, frees all at
 * once, and leaves the nodes of `watched` and `loads` to their owners. */
struct partition *part_create(struct keyspace *ks, uint32_t index, uint32_t owner);
void part_destroy(struct partition *p);

enum find_flags {
    FIND_TOUCH = 1, /* update recency or frequency */
    FIND_COUNT = 2, /* count a hit or a miss */
};

/* Finds a live entry. One that expired is removed here (counted, watchers told) and not found.
 * VALUE_ABSENT entries are returned (and count as misses). */
struct entry *part_find(struct partition *p, unsigned db, const struct key *key, int64_t now_ms,
                        unsigned flags);
/* part_find without VALUE_ABSENT, without statistics of hits and policy update. */
struct entry *part_peek(struct partition *p, unsigned db, const struct key *key, int64_t now_ms);

/* Stores `e` (taken over, made in the partition's heap) under its key, replacing what was there.
 * Watchers are told. */
void part_put(struct partition *p, unsigned db, const struct key *key, struct entry *e);
/* SET's fast way: reuses the old entry's memory where the new value fits. */
void part_set_string(struct partition *p, unsigned db, const struct key *key, struct slice value,
                     int64_t expire_ms);
/* SET of a value that lies in a blob, which is taken over. */
void part_set_blob(struct partition *p, unsigned db, const struct key *key, struct blob *b,
                   int64_t expire_ms);
/* Replaces the value and keeps TTL and origin; the key must exist and be a string. */
void part_update_string(struct partition *p, unsigned db, const struct key *key,
                        struct slice value);
/* Makes the string `len` bytes long, zero-filling what is new, marks it raw and returns its bytes
 * to write to. Creates the key if it does not exist. Amortised growth. */
char *part_resize_string(struct partition *p, unsigned db, const struct key *key, size_t len,
                         int64_t now_ms);
/* False when there was nothing (live); a VALUE_ABSENT entry is dropped and counts as nothing. Large
 * values are handed to the drain. Watchers are told. */
bool part_delete(struct partition *p, unsigned db, const struct key *key, int64_t now_ms);
/* Moves the live key `from` with its TTL to where `to` says, replacing what was there; all of the
 * places locked. False: there is no such key. Watchers of both are told. */
struct key_place {
    struct partition *partition;
    unsigned db;
    const struct key *key;
};
bool part_move_key(struct key_place from, struct key_place to, int64_t now_ms);
/* Sets or clears (EXPIRE_NEVER) the TTL of a live key; the entry may move. False when not there.
 * Watchers are told. */
bool part_set_expire(struct partition *p, unsigned db, const struct key *key, int64_t expire_ms,
                     int64_t now_ms);
/* A hash was made or changed, and has a field or more: `h`, which entry_hash gave for the key, or a
 * new one where the key is no hash. It is taken over. TTL and origin stay, so part_peek has looked
 * at the key before: what was dead is not there any more. Watchers are told. */
void part_put_hash(struct partition *p, unsigned db, const struct key *key, struct hash *h);
/* Gives a detached entry to be destroyed, in slices when it is large. Takes NULL. */
void part_discard(struct partition *p, struct entry *e);
/* Empties a database in O(1): its table goes to the drain. Watchers of its keys are told. */
void part_flush(struct partition *p, unsigned db);

/* Seconds since the last access and the access frequency of a key, as the policy kept them: OBJECT
 * IDLETIME (policy_clock.h has the resolution) and FREQ (0 to 255). 0 when there is no such key, or
 * when the policy keeps the other one. */
uint32_t part_idle_s(struct partition *p, unsigned db, const struct key *key, int64_t now_ms);
uint32_t part_frequency(struct partition *p, unsigned db, const struct key *key, int64_t now_ms);
/* The other way round, for RESTORE. The key must exist. */
void part_set_idle_s(struct partition *p, unsigned db, const struct key *key, uint32_t idle_s,
                     int64_t now_ms);
void part_set_frequency(struct partition *p, unsigned db, const struct key *key, uint32_t frequency,
                        int64_t now_ms);

/* A turn of the expiry sweep begins: pace.left is how many slots it should walk, by part_maintain.
 * Returns true when turns should come more often (PACE_FAST_TURN_MS). */
bool part_expire_turn(struct partition *p, int64_t now_ms);
/* Bounded maintenance, the owner's: sweeps up to `limit` slots for keys that are due, then frees a
 * step of the drain. Returns true when there is more in the drain. */
bool part_maintain(struct partition *p, int64_t now_ms, uint32_t limit);
/* Frees a step of the drain: DRAIN_STEP_FIELDS entries and fields, or a few hundred more, or one
 * large string. False when there was nothing. */
bool part_drain_step(struct partition *p);
/* When heaps are compacted: more than `percent` of one is holes, or more than `bytes_an_object` for
 * each object in it (0 = that is no reason). */
struct compact_from {
    unsigned percent, bytes_an_object;
    bool pressed; /* as memory is short, and what comes takes the place of what goes */
};
/* A step of compaction: moves at most `limit` entries or segments out of sparse blocks. Returns how
 * many were moved, with what heap_compact adds; 0: nothing to do, or a flushed table drains. No
 * entry or slot pointer stays valid. */
uint32_t part_compact(struct partition *p, struct compact_from from, uint32_t limit);
/* Gives back what its heaps have not filled yet, where nothing was added since the last call. */
void part_trim(struct partition *p);
/* A step of defragmentation (part_defrag.c): looks at about `limit` entries and values and moves
 * what lies in sparse slabs of the allocator. Returns how many allocations were moved. Nothing
 * happens when the partition has finished the round (keyspace_defrag_judge). No pointer into a
 * value stays valid. */
uint32_t part_defrag(struct partition *p, uint32_t limit);
/* Its round is not finished. */
bool part_wants_defrag(const struct partition *p);
/* Lets the hand pass as many buckets as `maxmemory-samples` says, EVICT_BUCKETS_MAX where there are
 * few candidates, and offers them to a shard's evictor. True: one was expired and has been
 * removed, which is as good as an eviction. */
bool part_sample(struct partition *p, struct evictor *to, int64_t now_ms);
enum evicted {
    EVICT_NOT_THERE, /* any more, or it was used since */
    EVICT_STAYS,     /* as it has uses to its credit; not if `force` */
    EVICT_DONE
};
/* Evicts a candidate of this partition. */
enum evicted part_evict(struct partition *p, enum evict_policy policy,
                        const struct evict_candidate *candidate, bool force, int64_t now_ms);

/* Fence of a key, and its invalidation (the follower's). */
static inline struct fence *part_fence(struct partition *p, uint64_t hash) {
    return &p->fences[(hash >> 8) & (FENCES_COUNT - 1)];
}
/* Loads of the keys under this fence that are in flight will not be stored. */
static inline void part_bump_fence(struct partition *p, uint64_t hash, int64_t now_ms) {
    struct fence *f = part_fence(p, hash);
    f->seq++;
    f->bumped_ms = now_ms;
}

#endif
