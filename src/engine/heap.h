#ifndef FOREBAY_ENGINE_HEAP_H
#define FOREBAY_ENGINE_HEAP_H
/* The allocator of a partition's entries, and of its index: no size classes, no header an object,
 * and what fragments is compacted by moving objects. Used under the partition's lock.
 *
 *     block, 64 KB:   | header | object | object | hole | object | ...            | room |
 *     span, 2 MB:     | header | object | hole | object | ... | room | not in memory     |
 *
 * 1. A block is filled from its start, then the next one is taken. Sizes are exact, rounded up to
 *    the granule (2 bytes for entries, a cache line for the index). A heap with a second one for
 *    objects of more than HEAP_SMALL_MAX hands these over to it. It has spans in place of blocks,
 *    as large objects would leave much at a block's end; what of a span was never filled takes no
 *    memory. Spans serve caches that are not full (heap_use_spans).
 * 2. A freed object becomes a hole, merged with a hole behind it. Holes are listed by size; the
 *    next object of that size takes one. Larger ones are cut when more than 1/64 of the heap is
 *    holes.
 * 3. Objects know their size (heap_size_fn), so a block can be walked. A hole is told from an
 *    object by its first byte, HEAP_HOLE_MARK, which no object may have.
 * 4. Compaction empties the block with the most holes into others and gives it back: each object's
 *    owner is told (heap_move_fn) to put the new address where the old one is kept, and it is
 *    copied. Where that wins next to nothing (objects so large that no hole fits them), it rests
 *    until an eighth of the heap was freed.
 * 5. In the span with the most holes objects slide towards its start instead, and the memory behind
 *    them is given back, or filled again: that always wins what was holes, and needs no memory.
 * 6. Objects larger than HEAP_OBJECT_MAX lie in mem_alloc's memory and are not moved.
 *
 * The idea is that of segregated exact-fit free lists (P. Wilson et al., "Dynamic storage
 * allocation: a survey", 1995) plus the cleaner of a log-structured memory (S. Rumble et al.,
 * FAST 2014). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ds/hmap.h"
#include "ds/list.h"
#include "engine/blocks.h"

enum {
    HEAP_OBJECT_MAX = 16 * 1024, /* bytes */
    HEAP_SMALL_MAX = 1024,       /* in blocks where there are spans: up to 1/64 is a block's end */
    HEAP_HOLE_MARK = 0xff,
    HEAP_HOLE_BYTES_MIN = 16,
    HEAP_BINS_EXACT = 256, /* sizes of this many granules have a list each; beyond, 16 an octave */
    HEAP_BINS_COUNT = HEAP_BINS_EXACT + 16 * 12, /* up to 2^20 granules: a span of the least */
    HEAP_GRANULE_MIN = 2,
    HEAP_SPARSE_BINS = 10, /* blocks by the logarithm of their holes */
};

/* Bytes of the object at `object`, as they were asked for. */
typedef size_t (*heap_size_fn)(const void *object);
/* The object at `from` is to lie at `to`, where it is copied next (the two may overlap). False: its
 * owner is not known, it stays at `from`. */
typedef bool (*heap_move_fn)(void *arg, void *from, void *to);

struct heap {
    struct block_pool *pool;
    heap_size_fn size_of;
    uint32_t granule_bytes;
    uint32_t object_max, own_max; /* what is larger goes to, and may lie in: */
    struct heap *large;           /* ... NULL: in mem_alloc's memory */
    bool slides;                  /* it has spans ... */
    struct hmap spans;            /* ... which are these, by address */
    uint64_t live_bytes, objects_count, blocks_count;
    uint64_t held_bytes;   /* of blocks and spans, in memory */
    char *room, *room_end; /* of the block being filled; NULL before the first */
    const char *trim_at;   /* `room` at the last heap_trim; NULL: not there all the time since */
    bool trimmed;          /* ... which gave back what is behind it */
    struct heap_hole *holes[HEAP_BINS_COUNT];
    uint64_t bins_used[(HEAP_BINS_COUNT + 63) / 64]; /* a bit a list that is not empty */
    struct list sparse[HEAP_SPARSE_BINS];            /* filled blocks; the last have most holes */
    struct list open;          /* of these: spans that can be filled further */
    struct heap_block *victim; /* being emptied */
    char *victim_at;           /* where compaction goes on */
    char *victim_to;           /* in a span: where the next object goes to ... */
    bool victim_freed;         /* ... and something before that was freed */
    uint32_t given, taken;     /* blocks, by compaction, since it was last judged */
    uint64_t freed_bytes;      /* by heap_free, ever */
    uint64_t compact_again_at; /* of freed_bytes: compaction won nothing, it rests until then */
};

void heap_init(struct heap *h, struct block_pool *pool, uint32_t granule_bytes,
               heap_size_fn size_of);
/* A heap of spans, for the objects of `small` (of which there are none yet) that are larger than
 * HEAP_SMALL_MAX: allocated and freed through `small`, compacted by themselves. */
void heap_init_large(struct heap *h, struct heap *small);
/* Of the small one: larger objects go to spans from now on (as at first), or to blocks. While
 * objects of many sizes come and go the holes of 64 KB blocks are closed with less work, since some
 * have many and most have few. */
void heap_use_spans(struct heap *small, bool use);
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
    uint64_t blocks = h->held_bytes - h->blocks_count * 64;
    return blocks - h->live_bytes - (uint64_t)(h->room_end - h->room);
}
static inline uint64_t heap_block_bytes(const struct heap *h) {
    return h->held_bytes;
}

/* A step of compaction: moves at most `limit` objects out of the block with the most holes, or
 * within a span (large ones and many that stay count as more, and it is about a block of them at
 * most), walking one block at most. Returns how many were moved; one more when a block was given
 * back, and always for a step in a span, even one that moved nothing; 0: no block is worth it, it
 * rests, or an object's owner was not known. */
uint32_t heap_compact(struct heap *h, uint32_t limit, heap_move_fn move, void *arg);

/* Gives the memory that is not filled yet back, if nothing was added since the last call. */
void heap_trim(struct heap *h);

/* Panics unless every invariant holds. O(size), for tests. */
void heap_check(const struct heap *h);
#endif
