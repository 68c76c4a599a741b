#ifndef FOREBAY_ENGINE_TABLE_H
#define FOREBAY_ENGINE_TABLE_H
/* The hash table of entries: extendible hashing over segments of cache-line buckets.
 *
 *   hash, 64 bits:  | partition | directory prefix | position in segment (24) | ... | tag (8) |
 *                     pbits       depth bits
 *
 *   bucket, 64 bytes, one cache line:
 *   | tag0..tag6 | overflow:8 |  slot0 .. slot6, each | flags:4 | policy:12 | pointer:48 |  |
 *
 * - A segment owns a range of the hash space and has a number of buckets of its own; an entry's
 *   home bucket is (position * buckets) >> 24, so buckets follow hash order and any bucket count
 *   works. A full segment first gets more buckets, in small steps, and splits in two at
 *   SEGMENT_BUCKETS_MAX: memory never doubles and the work of one insert is bounded by one segment
 *   (and, when the directory doubles, by copying 8 bytes a segment or so).
 * - An entry that does not fit its home bucket lies in the next one, with the slot's "displaced"
 *   flag set, or in the segment's stash; both are counted in the home's overflow byte, and a lookup
 *   reads those lines only then. segment.h has the details and what colliding keys can cost.
 * - A cursor (SCAN) is a hash prefix of TABLE_CURSOR_BITS bits: what is there throughout is
 *   returned, whatever splits, grows or moves in between. */
#include <stdbool.h>
#include <stdint.h>
#include "base/rng.h"
#include "base/slice.h"
#include "engine/entry.h"

enum {
    BUCKET_SLOTS = 7,
    SEGMENT_BUCKETS_MAX = 63,
    TABLE_CURSOR_BITS = 48,
    TABLE_POSITION_BITS = 24,
    TABLE_PREFIX_BITS_MAX = 9, /* prefix + depth + position are within the cursor */
    TABLE_POLICY_MAX = 4095,   /* 12 bits */
    TABLE_LINE_BYTES = 64,
};

#define TABLE_SLOT_VOLATILE (1ull << 61) /* the entry has a TTL */

/* A key with its hash: computed once a request, passed down. */
struct key {
    struct slice bytes;
    uint64_t hash;
};

struct table;

/* Where an entry stands; valid until the table changes. */
struct table_ref {
    uint64_t *slot; /* NULL = not found */
};

/* Where the table's entries lie, and its segments: NULL = in mem_alloc's memory. The heaps outlive
 * the table. */
struct table_heaps {
    struct heap *entries, *index;
};

/* Another hash than hash_bytes, for tests that make keys collide. */
typedef uint64_t (*table_hash_fn)(uint64_t seed, const void *ptr, size_t len);

/* `prefix_bits`: leading hash bits that are the same for all keys of the table (the partition's),
 * at most TABLE_PREFIX_BITS_MAX. Keys' hashes are hash_bytes with `seed`: the table computes them
 * again when a segment grows. */
struct table *table_create(struct table_heaps heaps, uint64_t seed, unsigned prefix_bits);
struct table *table_create_with_hash(struct table_heaps heaps, uint64_t seed, unsigned prefix_bits,
                                     table_hash_fn hash);
/* A key with its hash as this table wants it. */
struct key table_key(const struct table *t, struct slice bytes);
/* Destroys the entries too. Takes NULL. */
void table_destroy(struct table *t);
uint64_t table_count(const struct table *t);          /* entries, VALUE_ABSENT included */
uint64_t table_count_volatile(const struct table *t); /* entries with a TTL */
uint64_t table_count_absent(const struct table *t);
uint64_t table_count_marked(const struct table *t); /* with the highest policy bit set */
/* Bytes of index: directory, segments. */
size_t table_index_bytes(const struct table *t);

struct table_ref table_find(const struct table *t, const struct key *key);
struct entry *table_entry(struct table_ref ref);
/* The policy bits of a slot: access recency or frequency, meaning given by the eviction policy. */
uint16_t table_policy(struct table_ref ref);
void table_set_policy(struct table *t, struct table_ref ref, uint16_t policy);
/* Without touching the entry. */
static inline bool table_is_volatile(struct table_ref ref) {
    return *ref.slot & TABLE_SLOT_VOLATILE;
}

/* Adds an entry whose key is not in the table; takes it over. */
struct table_ref table_insert(struct table *t, const struct key *key, struct entry *e,
                              uint16_t policy);
/* Puts `e` (same key) where `ref` stands and returns the old entry, now the caller's. */
struct entry *table_replace(struct table *t, struct table_ref ref, struct entry *e);
/* `ref`'s entry is now at `e`, or got or lost its TTL in place. The old address is not
 * looked at. */
void table_update(struct table *t, struct table_ref ref, struct entry *e);
/* Takes the entry out, now the caller's. Shrinks sparse segments by and by. */
struct entry *table_remove(struct table *t, const struct key *key, struct table_ref ref);

/* The heaps' compaction (heap.h). The entry with this key moves from `from`, where it still is, to
 * `to`: false when the table holds no entry at `from`. */
bool table_move_entry(struct table *t, const struct key *key, struct entry *from, struct entry *to);
/* A segment of some table moves: the table is told (a heap_move_fn, `arg` unused). */
bool table_move_segment(void *arg, void *from, void *to);

/* Defragmentation of a table in mem_alloc's memory (table_defrag.c, defrag.h). Moves the directory,
 * and, where it has few segments, the table: returns where it is now. */
struct defrag;
struct table *table_defrag_self(struct table *t, struct defrag *d);
/* Moves the entries at home in one bucket, and with a segment's first one the segment; cursors as
 * in table_scan. */
uint64_t table_defrag(struct table *t, uint64_t cursor, struct defrag *d);

/* Prefetching, so that a batch overlaps its cache misses: first the bucket; then the start of the
 * entry its tags suggest, or the next bucket where the entry must be there; then the rest of the
 * entry. Each stage reads what the one before has asked for. Hints only; never touch what is not
 * there. */
void table_prefetch_bucket(const struct table *t, uint64_t hash);
void table_prefetch_entry(const struct table *t, uint64_t hash);
void table_prefetch_value(const struct table *t, uint64_t hash);

/* Calls fn for the entries of at least one bucket from `cursor` (0 starts) and returns the next
 * cursor; 0 = done. fn must not change the table. Entries are found by their home bucket. The bits
 * of the cursor that stand for the table's prefix are kept as they are. */
uint64_t table_scan(const struct table *t, uint64_t cursor,
                    void (*fn)(void *arg, struct entry *e, struct table_ref ref), void *arg);
/* All entries in the order they stand in, while the table does not change. All zero starts; slot
 * NULL ends. */
struct table_iter {
    uint64_t at, sub;
};
struct table_ref table_next(const struct table *t, struct table_iter *it);
/* The lines of slots in the order of their segments, no entry touched: for a hand that goes round
 * while the table changes. What moves meanwhile may be passed over, or seen twice. All zero
 * starts. */
struct table_hand {
    uint64_t at; /* hash bits behind the prefix, leading: a segment */
    uint32_t line;
};
/* A hand anywhere, with roughly equal probability. */
struct table_hand table_hand_random(const struct table *t, struct rng *rng);
/* The slots of the line under the hand, BUCKET_SLOTS, vacant ones 0; NULL when there is none. */
uint64_t *table_line(const struct table *t, const struct table_hand *hand);
/* To the next line. False: that was the last, and the hand is at the first. */
bool table_hand_move(const struct table *t, struct table_hand *hand);
/* A random entry (any), not empty tables only; probability roughly equal. */
struct table_ref table_random(const struct table *t, struct rng *rng);
/* Takes entries out of a table that nobody will look into any more, whole segments until at least
 * `limit`, and gives each to fn to own. Returns true when the table is empty; only table_drain,
 * table_count and table_destroy may be called on it from then on. */
bool table_drain(struct table *t, uint64_t limit, void (*fn)(void *arg, struct entry *e),
                 void *arg);

/* Panics unless every invariant holds: counts, tags, homes, displacement, directory. O(n), for
 * tests. */
void table_check(const struct table *t);
#endif
