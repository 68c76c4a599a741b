/* Allocation, holes and compaction of a heap; the picture is in heap.h. Under the partition's lock.
 *
 * 1. Listed holes lie in filled blocks and in the one being filled, never in the victim: its holes
 *    are unlisted when it is chosen, so nothing is placed there.
 * 2. A filled block is in sparse[] by its holes; the victim and the one being filled are not. */
#include "engine/heap.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define HEAP_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HEAP_POISONS 1
#endif
#endif
#ifdef HEAP_POISONS
#include <sanitizer/asan_interface.h>
#define POISON(ptr, bytes)   ASAN_POISON_MEMORY_REGION(ptr, bytes)
#define UNPOISON(ptr, bytes) ASAN_UNPOISON_MEMORY_REGION(ptr, bytes)
#else
#define POISON(ptr, bytes)   ((void)0)
#define UNPOISON(ptr, bytes) ((void)0)
#endif

enum {
    HEADER_BYTES = 64,
    CUT_SHARE = 64,      /* holes are cut when they are more than 1 / this of the heap */
    FIRST_FIT_TRIES = 8, /* holes looked at in a list of several sizes */
    SPARSE_BYTES_MIN = 1024,
    JUDGED_BLOCKS = 16, /* compaction must have won one after giving back this many */
    REST_SHARE = 8,     /* else this share of the heap is to be freed first */
    BIN_STEPS = 16,     /* lists an octave */
    BIN_STEP_BITS = 4,
    EXACT_BITS = 8,
};
STATIC_ASSERT(1 << EXACT_BITS == HEAP_BINS_EXACT, "octaves go on where exact lists end");
STATIC_ASSERT(BLOCK_BYTES / HEAP_GRANULE_MIN <= 1 << (EXACT_BITS + 7), "seven octaves");

struct heap_block { /* at the start of each block */
    struct list link;
    uint32_t live_bytes, end; /* objects; where they end */
    uint32_t bin;             /* in sparse[] */
    uint8_t unused[HEADER_BYTES - 28];
};
STATIC_ASSERT(sizeof(struct heap_block) == HEADER_BYTES, "the index is aligned to cache lines");

/* 48-bit pointers in pieces, so that a hole takes 16 bytes. */
struct __attribute__((packed, aligned(2))) heap_hole {
    uint8_t mark, listed;
    uint16_t granules;
    uint32_t next_low, prev_low;
    uint16_t next_high, prev_high;
};
STATIC_ASSERT(sizeof(struct heap_hole) == HEAP_HOLE_BYTES_MIN, "the smallest object");

/* --- holes --- */

static inline struct heap_hole *join(uint32_t low, uint16_t high) {
    return (struct heap_hole *)(uintptr_t)((uint64_t)high << 32 | low);
}
static inline struct heap_hole *hole_next(const struct heap_hole *hole) {
    return join(hole->next_low, hole->next_high);
}
static inline struct heap_hole *hole_prev(const struct heap_hole *hole) {
    return join(hole->prev_low, hole->prev_high);
}
static inline void set_next(struct heap_hole *hole, const struct heap_hole *next) {
    hole->next_low = (uint32_t)(uintptr_t)next;
    hole->next_high = (uint16_t)((uintptr_t)next >> 32);
}
static inline void set_prev(struct heap_hole *hole, const struct heap_hole *prev) {
    hole->prev_low = (uint32_t)(uintptr_t)prev;
    hole->prev_high = (uint16_t)((uintptr_t)prev >> 32);
}

static inline struct heap_block *block_of(const void *ptr) {
    return (struct heap_block *)((uintptr_t)ptr & ~(uintptr_t)(BLOCK_BYTES - 1));
}

static inline unsigned bin_of(uint32_t granules) {
    if (granules < HEAP_BINS_EXACT) {
        return granules;
    }
    unsigned octave = 31u - (unsigned)__builtin_clz(granules);
    unsigned step = granules >> (octave - BIN_STEP_BITS) & (BIN_STEPS - 1);
    return HEAP_BINS_EXACT + (octave - EXACT_BITS) * BIN_STEPS + step;
}

static inline size_t hole_bytes(const struct heap *h, const struct heap_hole *hole) {
    return (size_t)hole->granules * h->granule_bytes;
}

static void write_hole(const struct heap *h, void *at, size_t bytes) {
    UNPOISON(at, sizeof(struct heap_hole));
    struct heap_hole *hole = at;
    *hole = (struct heap_hole){.mark = HEAP_HOLE_MARK,
                               .granules = (uint16_t)(bytes / h->granule_bytes)};
    POISON((char *)at + sizeof *hole, bytes - sizeof *hole);
}

static void list_hole(struct heap *h, struct heap_hole *hole) {
    unsigned bin = bin_of(hole->granules);
    struct heap_hole *first = h->holes[bin];
    set_next(hole, first);
    set_prev(hole, NULL);
    if (first) {
        set_prev(first, hole);
    }
    hole->listed = 1;
    h->holes[bin] = hole;
    h->bins_used[bin / 64] |= 1ull << bin % 64;
}

static void unlist_hole(struct heap *h, struct heap_hole *hole) {
    unsigned bin = bin_of(hole->granules);
    struct heap_hole *next = hole_next(hole), *prev = hole_prev(hole);
    if (next) {
        set_prev(next, prev);
    }
    if (prev) {
        set_next(prev, next);
    } else {
        h->holes[bin] = next;
        if (!next) {
            h->bins_used[bin / 64] &= ~(1ull << bin % 64);
        }
    }
    hole->listed = 0;
}

/* The first list from `bin` on that is not empty; HEAP_BINS_COUNT when there is none. */
static unsigned next_bin(const struct heap *h, unsigned bin) {
    for (unsigned word = bin / 64; word < ARRAY_COUNT(h->bins_used); word++) {
        uint64_t bits = h->bins_used[word];
        bits &= word == bin / 64 ? ~0ull << bin % 64 : ~0ull;
        if (bits) {
            return word * 64 + (unsigned)__builtin_ctzll(bits);
        }
    }
    return HEAP_BINS_COUNT;
}

/* --- blocks --- */

static unsigned sparse_bin(const struct heap_block *b) {
    uint32_t holes = BLOCK_BYTES - HEADER_BYTES - b->live_bytes;
    if (holes < SPARSE_BYTES_MIN) {
        return 0;
    }
    unsigned bin = 31u - (unsigned)__builtin_clz(holes) - 9;
    return MIN(bin, (unsigned)HEAP_SPARSE_BINS - 1);
}

static inline bool is_filling(const struct heap *h, const struct heap_block *b) {
    return h->room && block_of(h->room_end - 1) == b;
}

static void enter_block(struct heap *h, struct heap_block *b) {
    b->bin = sparse_bin(b);
    list_push_back(&h->sparse[b->bin], &b->link);
}

static void give_block(struct heap *h, struct heap_block *b) {
    UNPOISON(b, BLOCK_BYTES);
    h->blocks_count--;
    block_give(h->pool, b);
}

/* Unlists the holes of a block. */
static void unlist_holes(struct heap *h, struct heap_block *b) {
    for (char *at = (char *)b + HEADER_BYTES, *end = (char *)b + b->end; at < end;) {
        if ((uint8_t)*at == HEAP_HOLE_MARK) {
            struct heap_hole *hole = (struct heap_hole *)at;
            if (hole->listed) {
                unlist_hole(h, hole);
            }
            at += hole_bytes(h, hole);
        } else {
            at += heap_round(h->granule_bytes, h->size_of(at));
        }
    }
}

static void count_live(struct heap *h, struct heap_block *b, int64_t bytes) {
    b->live_bytes += (uint32_t)bytes;
    h->live_bytes += (uint64_t)bytes;
    mem_count(bytes);
}

/* After `live_bytes` of a filled block changed. */
static void resort_block(struct heap *h, struct heap_block *b) {
    if (b == h->victim || is_filling(h, b)) {
        return;
    }
    if (b->live_bytes == 0) {
        list_remove(&b->link);
        unlist_holes(h, b);
        give_block(h, b);
    } else if (sparse_bin(b) != b->bin) {
        list_remove(&b->link);
        enter_block(h, b);
    }
}

/* What is left of the block being filled becomes a hole (or is lost, being too small for one). */
static void retire_filling(struct heap *h) {
    if (!h->room) {
        return;
    }
    struct heap_block *b = block_of(h->room_end - 1);
    size_t left = (size_t)(h->room_end - h->room);
    if (left >= HEAP_HOLE_BYTES_MIN) {
        write_hole(h, h->room, left);
        list_hole(h, (struct heap_hole *)h->room);
        h->room += left;
    }
    b->end = (uint32_t)(h->room - (char *)b);
    h->room = h->room_end = NULL;
    enter_block(h, b);
    resort_block(h, b);
}

static void take_block(struct heap *h) {
    retire_filling(h);
    struct heap_block *b = block_take(h->pool);
    *b = (struct heap_block){.end = HEADER_BYTES};
    list_init(&b->link);
    h->blocks_count++;
    h->room = (char *)b + HEADER_BYTES;
    h->room_end = (char *)b + BLOCK_BYTES;
    POISON(h->room, BLOCK_BYTES - HEADER_BYTES);
}

void heap_init(struct heap *h, struct block_pool *pool, uint32_t granule_bytes,
               heap_size_fn size_of) {
    ASSERT(granule_bytes >= HEAP_GRANULE_MIN && granule_bytes <= HEADER_BYTES);
    *h = (struct heap){.pool = pool, .size_of = size_of, .granule_bytes = granule_bytes};
    for (unsigned i = 0; i < HEAP_SPARSE_BINS; i++) {
        list_init(&h->sparse[i]);
    }
}

void heap_deinit(struct heap *h) {
    ASSERT(h->live_bytes == 0);
    retire_filling(h);
    if (h->victim) {
        give_block(h, h->victim);
        h->victim = NULL;
    }
    ASSERT(h->blocks_count == 0);
}

/* --- objects --- */

/* Takes a hole of at least `bytes`; what is over becomes a hole again. */
static void *take_hole(struct heap *h, struct heap_hole *hole, size_t bytes) {
    size_t over = hole_bytes(h, hole) - bytes;
    unlist_hole(h, hole);
    if (over) {
        char *rest = (char *)hole + bytes;
        write_hole(h, rest, over);
        list_hole(h, (struct heap_hole *)rest);
    }
    return hole;
}

/* A hole of exactly this size, or NULL. */
static struct heap_hole *find_exact(const struct heap *h, uint32_t granules) {
    struct heap_hole *hole = h->holes[bin_of(granules)];
    for (unsigned i = 0; hole && hole->granules != granules; i++) {
        hole = i < FIRST_FIT_TRIES ? hole_next(hole) : NULL;
    }
    return hole;
}

/* A larger one that leaves a hole behind, or NULL. */
static struct heap_hole *find_larger(const struct heap *h, uint32_t granules) {
    if (heap_hole_bytes(h) * CUT_SHARE < heap_block_bytes(h)) {
        return NULL;
    }
    uint32_t least = granules + MAX(HEAP_HOLE_BYTES_MIN / h->granule_bytes, 1u);
    if (least > UINT16_MAX) {
        return NULL;
    }
    unsigned bin = bin_of(least);
    struct heap_hole *hole = h->holes[bin];
    for (unsigned i = 0; hole && hole->granules < least; i++) {
        hole = i < FIRST_FIT_TRIES ? hole_next(hole) : NULL;
    }
    if (!hole) {
        bin = next_bin(h, bin + 1);
        hole = bin < HEAP_BINS_COUNT ? h->holes[bin] : NULL;
    }
    return hole;
}

static void *place(struct heap *h, size_t bytes) {
    uint32_t granules = (uint32_t)(bytes / h->granule_bytes);
    struct heap_hole *hole = find_exact(h, granules);
    if (!hole && (size_t)(h->room_end - h->room) < bytes) {
        hole = find_larger(h, granules);
    }
    if (hole) {
        return take_hole(h, hole, bytes);
    }
    if ((size_t)(h->room_end - h->room) < bytes) {
        take_block(h);
    }
    char *at = h->room;
    h->room += bytes;
    struct heap_block *b = block_of(at);
    b->end = (uint32_t)(h->room - (char *)b);
    return at;
}

void *heap_alloc(struct heap *h, size_t bytes) {
    if (UNLIKELY(bytes > HEAP_OBJECT_MAX)) {
        return mem_alloc(bytes);
    }
    size_t rounded = heap_round(h->granule_bytes, bytes);
    void *at = place(h, rounded);
    UNPOISON(at, rounded);
    count_live(h, block_of(at), (int64_t)rounded);
    resort_block(h, block_of(at));
    return at;
}

/* The end of the block being filled, grown down to `at`. */
static void grow_room(struct heap *h, char *at) {
    struct heap_block *b = block_of(at);
    POISON(at, (size_t)(h->room - at));
    h->room = at;
    b->end = (uint32_t)(at - (char *)b);
}

void heap_free(struct heap *h, void *object, size_t bytes) {
    if (UNLIKELY(bytes > HEAP_OBJECT_MAX)) {
        mem_free(object);
        return;
    }
    struct heap_block *b = block_of(object);
    size_t rounded = heap_round(h->granule_bytes, bytes);
    count_live(h, b, -(int64_t)rounded);
    h->freed_bytes += rounded;
    if (b == h->victim) {
        write_hole(h, object, rounded);
        return;
    }
    char *behind = (char *)object + rounded;
    struct heap_hole *next = (struct heap_hole *)behind;
    if (behind < (char *)b + b->end && next->mark == HEAP_HOLE_MARK && next->listed) {
        rounded += hole_bytes(h, next);
        unlist_hole(h, next);
    }
    if (is_filling(h, b) && (char *)object + rounded == h->room) {
        grow_room(h, object);
        return;
    }
    write_hole(h, object, rounded);
    list_hole(h, object);
    resort_block(h, b);
}

/* --- compaction --- */

static bool choose_victim(struct heap *h) {
    if (h->freed_bytes < h->compact_again_at) {
        return false;
    }
    for (unsigned bin = HEAP_SPARSE_BINS - 1; bin > 0; bin--) {
        if (!list_empty(&h->sparse[bin])) {
            h->victim = CONTAINER_OF(list_pop_front(&h->sparse[bin]), struct heap_block, link);
            h->victim_at = (char *)h->victim + HEADER_BYTES;
            unlist_holes(h, h->victim);
            return true;
        }
    }
    return false;
}

/* The victim is an ordinary block again. */
static void spare_victim(struct heap *h) {
    struct heap_block *b = h->victim;
    h->victim = NULL;
    for (char *at = (char *)b + HEADER_BYTES, *end = (char *)b + b->end; at < end;) {
        if ((uint8_t)*at == HEAP_HOLE_MARK) {
            struct heap_hole *hole = (struct heap_hole *)at;
            list_hole(h, hole);
            at += hole_bytes(h, hole);
        } else {
            at += heap_round(h->granule_bytes, h->size_of(at));
        }
    }
    enter_block(h, b);
    resort_block(h, b);
}

static bool move_object(struct heap *h, char *from, size_t bytes, heap_move_fn move, void *arg) {
    uint64_t blocks = h->blocks_count;
    void *to = heap_alloc(h, bytes);
    h->taken += h->blocks_count > blocks;
    memcpy(to, from, bytes);
    if (!move(arg, from, to)) {
        heap_free(h, to, bytes);
        return false;
    }
    heap_free(h, from, bytes);
    h->freed_bytes -= heap_round(h->granule_bytes, bytes);
    return true;
}

/* All of the victim was moved. */
static void give_victim(struct heap *h) {
    if (++h->given == JUDGED_BLOCKS) {
        if (h->taken >= h->given) {
            h->compact_again_at = h->freed_bytes + heap_block_bytes(h) / REST_SHARE;
        }
        h->given = h->taken = 0;
    }
    ASSERT(h->victim->live_bytes == 0);
    give_block(h, h->victim);
    h->victim = NULL;
}

uint32_t heap_compact(struct heap *h, uint32_t limit, heap_move_fn move, void *arg) {
    if (!h->victim && !choose_victim(h)) {
        return 0;
    }
    const char *end = (char *)h->victim + h->victim->end;
    uint32_t moved = 0;
    while (h->victim_at < end && moved < limit) {
        char *at = h->victim_at;
        if ((uint8_t)*at == HEAP_HOLE_MARK) {
            h->victim_at += hole_bytes(h, (struct heap_hole *)at);
            continue;
        }
        size_t bytes = h->size_of(at), rounded = heap_round(h->granule_bytes, bytes);
        if (!move_object(h, at, bytes, move, arg)) {
            spare_victim(h);
            return 0;
        }
        h->victim_at += rounded;
        moved++;
    }
    if (h->victim_at >= end) {
        give_victim(h);
        moved++;
    }
    return moved;
}

/* --- check --- */

struct tally {
    uint64_t live, listed;
    uint32_t blocks;
};

static void check_block(const struct heap *h, const struct heap_block *b, struct tally *sum) {
    uint64_t live = 0;
    const char *at = (const char *)b + HEADER_BYTES, *end = (const char *)b + b->end;
    while (at < end) {
        if ((uint8_t)*at == HEAP_HOLE_MARK) {
            const struct heap_hole *hole = (const struct heap_hole *)at;
            ASSERT(hole->granules > 0 && hole->listed == (b != h->victim));
            sum->listed += hole->listed;
            at += hole_bytes(h, hole);
        } else {
            size_t rounded = heap_round(h->granule_bytes, h->size_of(at));
            live += rounded;
            at += rounded;
        }
    }
    ASSERT(at == end && live == b->live_bytes);
    sum->live += live;
    sum->blocks++;
}

void heap_check(const struct heap *h) {
    struct tally sum = {0};
    for (unsigned bin = 0; bin < HEAP_SPARSE_BINS; bin++) {
        LIST_FOR_EACH(link, &h->sparse[bin]) {
            const struct heap_block *b = CONTAINER_OF(link, struct heap_block, link);
            ASSERT(b->bin == bin && sparse_bin(b) == bin && b->live_bytes > 0);
            check_block(h, b, &sum);
        }
    }
    if (h->room) {
        check_block(h, block_of(h->room_end - 1), &sum);
    }
    if (h->victim) {
        check_block(h, h->victim, &sum);
    }
    ASSERT(sum.live == h->live_bytes && sum.blocks == h->blocks_count);
    uint64_t listed = 0;
    for (unsigned bin = 0; bin < HEAP_BINS_COUNT; bin++) {
        const struct heap_hole *prev = NULL;
        for (const struct heap_hole *hole = h->holes[bin]; hole; hole = hole_next(hole)) {
            ASSERT(hole->mark == HEAP_HOLE_MARK && hole->listed && hole_prev(hole) == prev);
            ASSERT(bin_of(hole->granules) == bin);
            prev = hole;
            listed++;
        }
        ASSERT((h->holes[bin] != NULL) == (h->bins_used[bin / 64] >> bin % 64 & 1));
    }
    ASSERT(listed == sum.listed);
}
