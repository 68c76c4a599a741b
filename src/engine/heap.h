#ifndef FOREBAY_ENGINE_HEAP_H
#define FOREBAY_ENGINE_HEAP_H
/* The allocator of a partition's entries, and of its index: no size classes, no header an object,
 * and what fragments is compacted by moving objects. Used under the partition's lock.
 *
 *     block, 64 KB:   | header | object | object | hole | object | ...            | room |
 *
 * 1. A block is filled from its start, then the next one is taken. Sizes are exact, rounded up to
 *    the granule (2 bytes for entries, a cache line for the index).
 * 2. A freed object becomes a hole, merged with a hole behind it. Holes are listed by size; the
 *    next object of that size takes one. Larger ones are cut when more than 1/64 of the heap is
 *    holes.
 * 3. Objects know their size (heap_size_fn), so a block can be walked. A hole is told from an
 *    object by its first byte, HEAP_HOLE_MARK, which no object may have.
 * 4. Compaction empties the block with the most holes into others and gives it back: each object
 *    is copied, and its owner told (heap_move_fn) to put the new address where the old one is kept.
 *    Where that wins next to nothing (objects so large that no hole fits them), it rests until an
 *    eighth of the heap was freed.
 * 5. Objects larger than HEAP_OBJECT_MAX lie in mem_alloc's memory and are not moved.
 *
 * The idea is that of segregated exact-fit free lists (P. Wilson et al., "Dynamic storage
 * allocation: a survey", 1995) plus the cleaner of a log-structured memory (S. Rumble et al.,
 * FAST 2014). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ds/list.h"
#include "engine/blocks.h"

enum {
    HEAP_OBJECT_MAX = 16 * 1024, /* bytes */
    HEAP_HOLE_MARK = 0xff,
    HEAP_HOLE_BYTES_MIN = 16,
    HEAP_BINS_EXACT = 256, /* sizes of this many granules have a list each; beyond, 16 an octave */
    HEAP_BINS_COUNT = HEAP_BINS_EXACT + 16 * 7, /* up to 2^15 granules: a block of the least */
    HEAP_GRANULE_MIN = 2,
    HEAP_SPARSE_BINS = 7, /* blocks by the logarithm of their holes */
};

/* Bytes of the object at `object`, as they were asked for. */
typedef size_t (*heap_size_fn)(const void *object);
/* The object at `from` was copied to `to`. False: its owner is not known, it stays at `from`. */
typedef bool (*heap_move_fn)(void *arg, void *from, void *to);

struct heap {
    struct block_pool *pool;
    heap_size_fn size_of;
    uint32_t granule_bytes;
    uint64_t live_bytes, blocks_count;
    char *room, *room_end; /* of the block being filled; NULL before the first */
    struct heap_hole *holes[HEAP_BINS_COUNT];
    uint64_t bins_used[(HEAP_BINS_COUNT + 63) / 64]; /* a bit a list that is not empty */
    struct list sparse[HEAP_SPARSE_BINS];            /* filled blocks; the last have most holes */
    struct heap_block *victim;                       /* being emptied */
    char *victim_at;                                 /* where compaction goes on */
    uint32_t given, taken;     /* blocks, by compaction, since it was last judged */
    uint64_t freed_bytes;      /* by heap_free, ever */
    uint64_t compact_again_at; /* of freed_bytes: compaction won nothing, it rests until then */
};

void heap_init(struct heap *h, struct block_pool *pool, uint32_t granule_bytes,
               heap_size_fn size_of);
/* All objects must have been freed. */
void heap_deinit(struct heap *h);

/* `bytes` with the rounding that heap_alloc does, for objects up to HEAP_OBJECT_MAX. */
static inline size_t heap_round(uint32_t granule_bytes, size_t bytes) {
    size_t rounded = (bytes + granule_bytes - 1) & ~(size_t)(granule_bytes - 1);
    return rounded > HEAP_HOLE_BYTES_MIN ? rounded : HEAP_HOLE_BYTES_MIN;
}

/* Aligned to the granule; never NULL. Objects do not move meanwhile. */
void *heap_alloc(struct heap *h, size_t bytes);
/* `bytes` as they were asked for. */
void heap_free(struct heap *h, void *object, size_t bytes);

/* Bytes in holes, lost ones included: what compaction could win. */
static inline uint64_t heap_hole_bytes(const struct heap *h) {
    uint64_t blocks = h->blocks_count * (BLOCK_BYTES - 64);
    return blocks - h->live_bytes - (uint64_t)(h->room_end - h->room);
}
static inline uint64_t heap_block_bytes(const struct heap *h) {
    return h->blocks_count * BLOCK_BYTES;
}

/* A step of compaction: moves at most `limit` objects out of the block with the most holes (walking
 * one block at most). Returns how many were moved, plus one for a block that was given back; 0: no
 * block is worth it, it rests, or an object's owner was not known. */
uint32_t heap_compact(struct heap *h, uint32_t limit, heap_move_fn move, void *arg);

/* Panics unless every invariant holds. O(size), for tests. */
void heap_check(const struct heap *h);
#endif
