#ifndef FOREBAY_ENGINE_SEGMENT_H
#define FOREBAY_ENGINE_SEGMENT_H
/* One segment of a table: a run of buckets, alone responsible for a range of the hash space.
 * Private to the table*.c files and segment.c; the picture of a bucket is in table.h.
 *
 *     header | main bucket 0 .. main_count-1 | stash bucket 0 .. stash_count-1 |  -> extra buckets
 *     64 B     one allocation of `lines` cache lines                              (collisions only)
 *
 * 1. An entry lies in its home bucket, or in the next main bucket (cyclically) with SLOT_DISPLACED
 *    set, or in the stash, or among the extra buckets.
 * 2. A main bucket's `overflow` says how many entries at home there lie elsewhere: the low three
 *    bits in the next bucket, the high five in stash and extra. The latter stays at STASHED_MANY
 *    once it was reached, until the segment is built anew.
 * 3. Which slot is vacant says the slot (0), not the tag.
 * 4. Extra slots are filled without gaps.
 *
 * Cost: a lookup reads the home bucket; the next one and the stash only as `overflow` says. Extra
 * buckets come up when SEGMENT_LINES_MAX are full and a split is refused (segment depth or
 * directory size at their limits), that is, when keys are made to collide: k of them in one range
 * then cost up to k / 7 cache lines a lookup, and no other segment pays. */
#include "base/assert.h"
#include "base/hash.h"
#include "engine/table.h"

enum {
    CACHE_LINE_BYTES = 64,
    SEGMENT_LINES_MAX = 64,
    SEGMENT_SIZES_COUNT = 19,
    /* Entries in one segment without extra buckets. */
    SEGMENT_ENTRIES_MAX = (SEGMENT_LINES_MAX - 1) * BUCKET_SLOTS,
    STASHED_MANY = 31,
};

#define SLOT_POINTER_MASK ((1ull << 48) - 1)
#define SLOT_POLICY_SHIFT 48
#define SLOT_POLICY_MASK  ((uint64_t)TABLE_POLICY_MAX << SLOT_POLICY_SHIFT)
#define SLOT_MARKED_BIT   59 /* the highest policy bit */
#define SLOT_DISPLACED    (1ull << 60)
#define SLOT_VOLATILE     TABLE_SLOT_VOLATILE
#define SLOT_ABSENT       (1ull << 62)

struct bucket {
    uint8_t tags[BUCKET_SLOTS];
    uint8_t overflow;
    uint64_t slots[BUCKET_SLOTS];
};
STATIC_ASSERT(sizeof(struct bucket) == CACHE_LINE_BYTES, "a bucket is a cache line");

struct segment {
    uint8_t size; /* index of segment_lines(); first, as the heap tells segments from holes by it */
    uint8_t main_count, stash_count;
    uint8_t depth;      /* hash bits behind the table's prefix that all its keys share */
    uint32_t count;     /* entries, all in all */
    struct table *home; /* the table, and any hash of its range: set when it is linked */
    uint64_t hash;
    struct bucket *extra;
    uint32_t extra_count; /* entries there */
    uint32_t extra_lines; /* buckets there */
    uint8_t unused[CACHE_LINE_BYTES - 40];
    struct bucket buckets[];
};
STATIC_ASSERT(sizeof(struct segment) == CACHE_LINE_BYTES, "buckets stay aligned");

/* A slot on its way from one segment to another. */
struct moving {
    uint64_t hash, slot;
};

static inline struct entry *slot_entry(uint64_t slot) {
    return (struct entry *)(uintptr_t)(slot & SLOT_POINTER_MASK);
}
static inline uint8_t hash_tag(uint64_t hash) {
    return (uint8_t)hash;
}
/* The home bucket, `shift` being the table's prefix bits plus the segment's depth. */
static inline uint32_t hash_home(uint64_t hash, unsigned shift, uint32_t main_count) {
    uint64_t position = (hash << shift) >> (64 - TABLE_POSITION_BITS);
    return (uint32_t)((position * main_count) >> TABLE_POSITION_BITS);
}
static inline unsigned overflow_next(uint8_t overflow) {
    return overflow & 7;
}
static inline unsigned overflow_stashed(uint8_t overflow) {
    return overflow >> 3;
}
static inline struct bucket *bucket_of(uint64_t *slot) {
    return (struct bucket *)((uintptr_t)slot & ~(uintptr_t)(CACHE_LINE_BYTES - 1));
}

uint32_t segment_lines(unsigned size);
/* `heap` NULL = mem_alloc's memory; the same for all segments of a table. */
struct segment *segment_create(struct heap *heap, unsigned size, unsigned depth);
void segment_destroy(struct heap *heap, struct segment *s); /* not the entries */
/* Bytes of a segment without the extra buckets (a heap_size_fn). */
size_t segment_own_bytes(const void *segment);
size_t segment_bytes(const struct segment *s);
/* The smallest size that holds `count` entries at a load that leaves room for more. */
unsigned segment_size_for(uint32_t count);

/* All slots in turn: [0, segment_slots); NULL in between is not possible, vacant ones are 0. */
static inline uint32_t segment_slots(const struct segment *s) {
    return (uint32_t)(s->main_count + s->stash_count + s->extra_lines) * BUCKET_SLOTS;
}
static inline uint64_t *segment_slot(struct segment *s, uint32_t i) {
    uint32_t b = i / BUCKET_SLOTS, own = (uint32_t)s->main_count + s->stash_count;
    return &(b < own ? &s->buckets[b] : &s->extra[b - own])->slots[i % BUCKET_SLOTS];
}

/* Puts a slot (without SLOT_DISPLACED) into a vacancy its home may use; NULL when there is none. */
uint64_t *segment_place(struct segment *s, uint32_t home, uint8_t tag, uint64_t slot);
/* Takes out what `slot` holds, an entry at home in `home`. */
void segment_clear(struct segment *s, uint32_t home, uint64_t *slot);
/* Doubles the extra buckets: from then on segment_place succeeds. */
void segment_add_extra(struct segment *s);
/* A segment of at least `size` with these entries; NULL when no size holds them, unless `force`. */
struct segment *segment_build(struct heap *heap, const struct moving *entries, uint32_t count,
                              unsigned size, unsigned prefix_bits, unsigned depth, bool force);
#endif
