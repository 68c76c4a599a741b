/* Allocation, holes and compaction of a heap; the picture is in heap.h. Under the partition's lock.
 *
 * 1. Listed holes lie in filled blocks and in the one being filled. Those of a victim are unlisted
 *    when it is chosen, so nothing is placed there; those of a span, which has more than can be
 *    walked at once, when sliding comes to them: until then something may be placed there.
 * 2. A filled block is in sparse[] by its holes; the victim and the one being filled are not.
 * 3. A span in sparse[] is also in `open` when OPEN_BYTES_MIN of it are behind its end. */
#include "engine/heap.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"

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
    SPARSE_SHIFT = 9,       /* blocks with 1 KB of holes are worth it ... */
    SPARSE_SHIFT_SPANS = 6, /* ... and spans with 1/512: sliding makes no new ones */
    SPAN_STEP_BYTES = 64 * 1024, /* of a span, held at once; left to be filled when it was slid */
    OPEN_BYTES_MIN = 32 * 1024,
    FILLING_BIN_MIN = 6, /* half of a block being filled is holes: it is worth it */
    PAGE_BYTES = 4096,
    SLIDE_UNITS = 4, /* of work for an object that moved, and one for each ... */
    SLIDE_UNIT_BYTES = 512,
    SLIDE_UNITS_MAX = 3 * BLOCK_BYTES / SLIDE_UNIT_BYTES, /* a step: about a block of objects */
    JUDGED_BLOCKS = 64, /* compaction must have won one after giving back this many */
    REST_SHARE = 8,     /* else this share of the heap is to be freed first */
    BIN_STEPS = 16,     /* lists an octave */
    BIN_STEP_BITS = 4,
    EXACT_BITS = 8,
};
STATIC_ASSERT(1 << EXACT_BITS == HEAP_BINS_EXACT, "octaves go on where exact lists end");
STATIC_ASSERT(SPAN_BYTES / HEAP_GRANULE_MIN <= 1 << (EXACT_BITS + 12), "twelve octaves");

struct heap_block { /* at the start of each block */
    struct list link;
    uint32_t live_bytes, end; /* objects; where they end */
    uint32_t held;            /* bytes in memory, the header included */
    uint16_t bin;             /* in sparse[] */
    bool huge;                /* a span: it is to be a huge page */
    struct list open;         /* ... it can be filled further */
    struct hmap_node node;    /* ... in `spans` */
};
STATIC_ASSERT(sizeof(struct heap_block) == HEADER_BYTES, "the index is aligned to cache lines");

/* 48-bit pointers in pieces, so that a hole takes 16 bytes. */
struct __attribute__((packed, aligned(2))) heap_hole {
    uint8_t mark;
    uint8_t listed : 1, granules_high : 7;
    uint16_t granules_low;
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

static inline size_t block_size(const struct heap *h) {
    return h->slides ? SPAN_BYTES : BLOCK_BYTES;
}
static inline struct heap_block *block_of(const struct heap *h, const void *ptr) {
    return (struct heap_block *)((uintptr_t)ptr & ~(uintptr_t)(block_size(h) - 1));
}

static inline unsigned bin_of(uint32_t granules) {
    if (granules < HEAP_BINS_EXACT) {
        return granules;
    }
    unsigned octave = num_log2(granules);
    unsigned step = granules >> (octave - BIN_STEP_BITS) & (BIN_STEPS - 1);
    return HEAP_BINS_EXACT + (octave - EXACT_BITS) * BIN_STEPS + step;
}

static inline uint32_t hole_granules(const struct heap_hole *hole) {
    return (uint32_t)hole->granules_high << 16 | hole->granules_low;
}
static inline size_t hole_bytes(const struct heap *h, const struct heap_hole *hole) {
    return (size_t)hole_granules(hole) * h->granule_bytes;
}

static void write_hole(const struct heap *h, void *at, size_t bytes) {
    UNPOISON(at, sizeof(struct heap_hole));
    struct heap_hole *hole = at;
    size_t granules = bytes / h->granule_bytes;
    *hole = (struct heap_hole){.mark = HEAP_HOLE_MARK,
                               .granules_high = (uint8_t)(granules >> 16) & 0x7f,
                               .granules_low = (uint16_t)granules};
    POISON((char *)at + sizeof *hole, bytes - sizeof *hole);
}

static void list_hole(struct heap *h, struct heap_hole *hole) {
    unsigned bin = bin_of(hole_granules(hole));
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
    unsigned bin = bin_of(hole_granules(hole));
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

static unsigned sparse_bin(const struct heap *h, const struct heap_block *b) {
    uint64_t holes = b->end - HEADER_BYTES - b->live_bytes;
    unsigned shift = SPARSE_SHIFT;
    if (h->slides) { /* its part of what sliding has to look at */
        holes = holes * BLOCK_BYTES / b->end;
        shift = SPARSE_SHIFT_SPANS;
    }
    if (holes >> (shift + 1) == 0) {
        return 0;
    }
    unsigned bin = num_log2(holes) - shift;
    return MIN(bin, (unsigned)HEAP_SPARSE_BINS - 1);
}

static inline bool is_filling(const struct heap *h, const struct heap_block *b) {
    return h->room && block_of(h, h->room_end - 1) == b;
}

static void enter_block(struct heap *h, struct heap_block *b) {
    b->bin = (uint16_t)sparse_bin(h, b);
    list_push_back(&h->sparse[b->bin], &b->link);
    if (h->slides && SPAN_BYTES - b->end >= OPEN_BYTES_MIN) {
        list_push_back(&h->open, &b->open);
    }
}

static void leave_block(struct heap_block *b) {
    list_remove(&b->link);
    list_remove(&b->open);
}

static void give_block(struct heap *h, struct heap_block *b) {
    UNPOISON(b, block_size(h));
    h->blocks_count--;
    h->held_bytes -= b->held;
    if (h->slides) {
        hmap_remove(&h->spans, &b->node);
        block_give_span(h->pool, b, b->held);
    } else {
        block_give(h->pool, b);
    }
}

static inline size_t page_round(size_t bytes) {
    return (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

/* Of a span: so much from its start is in memory from now on. */
static void hold(struct heap *h, struct heap_block *b, size_t held) {
    if (held > b->held) {
        block_hold_span(h->pool, held - b->held);
    } else if (held < b->held) {
        if (b->huge) {
            block_set_span_huge(h->pool, b, false);
            b->huge = false;
        }
        block_trim_span(h->pool, (char *)b + held, b->held - held);
    }
    h->held_bytes += held - b->held;
    b->held = (uint32_t)held;
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
        leave_block(b);
        unlist_holes(h, b);
        give_block(h, b);
    } else if (sparse_bin(h, b) != b->bin) {
        leave_block(b);
        enter_block(h, b);
    }
}

/* What is left of the block being filled becomes a hole (or is lost, being too small for one). */
static void retire_filling(struct heap *h) {
    if (!h->room) {
        return;
    }
    struct heap_block *b = block_of(h, h->room_end - 1);
    if (h->slides) {
        hold(h, b, SPAN_BYTES);
        h->room_end = (char *)b + SPAN_BYTES;
        b->huge = true;
        block_set_span_huge(h->pool, b, true);
    }
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

/* `b`, in no list, is the one being filled. */
static void fill_block(struct heap *h, struct heap_block *b) {
    h->room = (char *)b + b->end;
    h->room_end = (char *)b + b->held;
    h->trim_at = NULL;
    POISON(h->room, (size_t)(h->room_end - h->room));
}

/* The span being filled is set aside, to be filled further later. */
static void shelve_filling(struct heap *h) {
    struct heap_block *b = block_of(h, h->room_end - 1);
    h->room = h->room_end = NULL;
    hold(h, b, page_round(b->end));
    enter_block(h, b);
    resort_block(h, b);
}

static void take_block(struct heap *h) {
    retire_filling(h);
    struct heap_block *b;
    if (h->slides && !list_empty(&h->open)) {
        b = CONTAINER_OF(h->open.next, struct heap_block, open);
        leave_block(b);
    } else {
        b = h->slides ? block_take_span(h->pool) : block_take(h->pool);
        uint32_t held = h->slides ? SPAN_STEP_BYTES : BLOCK_BYTES;
        *b = (struct heap_block){.end = HEADER_BYTES, .held = held};
        list_init(&b->link);
        list_init(&b->open);
        if (h->slides) {
            block_hold_span(h->pool, held);
            hmap_insert(&h->spans, &b->node, (uintptr_t)b / SPAN_BYTES);
        }
        h->blocks_count++;
        h->held_bytes += held;
    }
    fill_block(h, b);
}

/* Room for `bytes` more in the span being filled; false: that is full. */
static bool extend_room(struct heap *h, size_t bytes) {
    if (!h->slides || !h->room) {
        return false;
    }
    struct heap_block *b = block_of(h, h->room_end - 1);
    size_t wanted = (size_t)(h->room - (char *)b) + bytes;
    if (wanted > SPAN_BYTES) {
        return false;
    }
    hold(h, b, MAX((wanted + SPAN_STEP_BYTES - 1) & ~(size_t)(SPAN_STEP_BYTES - 1), b->held));
    h->room_end = (char *)b + b->held;
    POISON(h->room, (size_t)(h->room_end - h->room));
    return true;
}

void heap_init(struct heap *h, struct block_pool *pool, uint32_t granule_bytes,
               heap_size_fn size_of) {
    ASSERT(granule_bytes >= HEAP_GRANULE_MIN && granule_bytes <= HEADER_BYTES);
    *h = (struct heap){.pool = pool,
                       .size_of = size_of,
                       .granule_bytes = granule_bytes,
                       .object_max = HEAP_OBJECT_MAX,
                       .own_max = HEAP_OBJECT_MAX};
    list_init(&h->open);
    for (unsigned i = 0; i < HEAP_SPARSE_BINS; i++) {
        list_init(&h->sparse[i]);
    }
}

void heap_init_large(struct heap *h, struct heap *small) {
    ASSERT(small->blocks_count == 0 && !small->slides);
    heap_init(h, small->pool, small->granule_bytes, small->size_of);
    h->slides = true;
    small->large = h;
    small->own_max = HEAP_SMALL_MAX;
    heap_use_spans(small, true);
}

void heap_use_spans(struct heap *small, bool use) {
    small->object_max = use ? HEAP_SMALL_MAX : HEAP_OBJECT_MAX;
}

void heap_deinit(struct heap *h) {
    ASSERT(h->live_bytes == 0);
    retire_filling(h);
    if (h->victim) {
        give_block(h, h->victim);
        h->victim = NULL;
    }
    ASSERT(h->blocks_count == 0);
    hmap_free(&h->spans);
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
    for (unsigned i = 0; hole && hole_granules(hole) != granules; i++) {
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
    unsigned bin = bin_of(least);
    struct heap_hole *hole = h->holes[bin];
    for (unsigned i = 0; hole && hole_granules(hole) < least; i++) {
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
    while ((size_t)(h->room_end - h->room) < bytes) {
        if (!extend_room(h, bytes)) {
            take_block(h);
        }
    }
    char *at = h->room;
    h->room += bytes;
    struct heap_block *b = block_of(h, at);
    b->end = (uint32_t)(h->room - (char *)b);
    return at;
}

void *heap_alloc(struct heap *h, size_t bytes) {
    if (UNLIKELY(bytes > h->object_max)) {
        return h->large && bytes <= HEAP_OBJECT_MAX ? heap_alloc(h->large, bytes)
                                                    : mem_alloc(bytes);
    }
    size_t rounded = heap_round(h->granule_bytes, bytes);
    void *at = place(h, rounded);
    UNPOISON(at, rounded);
    h->objects_count++;
    count_live(h, block_of(h, at), (int64_t)rounded);
    resort_block(h, block_of(h, at));
    return at;
}

/* The end of the block being filled, grown down to `at`. */
static void grow_room(struct heap *h, char *at) {
    struct heap_block *b = block_of(h, at);
    POISON(at, (size_t)(h->room - at));
    h->room = at;
    h->trim_at = NULL; /* it was further: what is behind it may be in memory */
    b->end = (uint32_t)(at - (char *)b);
}

/* Where the heap does not own an object of this size, or may not. */
static bool free_elsewhere(struct heap *h, void *object, size_t bytes) {
    if (bytes > HEAP_OBJECT_MAX) {
        mem_free(object);
    } else if (hmap_first(&h->large->spans, (uintptr_t)object / SPAN_BYTES)) {
        heap_free(h->large, object, bytes);
    } else {
        return false;
    }
    return true;
}

void heap_free(struct heap *h, void *object, size_t bytes) {
    if (UNLIKELY(bytes > h->own_max) && free_elsewhere(h, object, bytes)) {
        return;
    }
    struct heap_block *b = block_of(h, object);
    size_t rounded = heap_round(h->granule_bytes, bytes);
    h->objects_count--;
    count_live(h, b, -(int64_t)rounded);
    h->freed_bytes += rounded;
    if (b == h->victim) {
        write_hole(h, object, rounded);
        h->victim_freed = true;
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
    struct heap_block *filling = h->room ? block_of(h, h->room_end - 1) : NULL, *b = NULL;
    unsigned bin = HEAP_SPARSE_BINS - 1;
    while (bin > 0 && list_empty(&h->sparse[bin])) {
        bin--;
    }
    if (filling && sparse_bin(h, filling) >= MAX(bin, h->slides ? 1u : FILLING_BIN_MIN)) {
        b = filling;
        h->room = h->room_end = NULL;
    } else if (bin > 0) {
        b = CONTAINER_OF(h->sparse[bin].next, struct heap_block, link);
        leave_block(b);
    } else {
        return false;
    }
    h->victim = b;
    h->victim_at = h->victim_to = (char *)b + HEADER_BYTES;
    h->victim_freed = false;
    if (!h->slides) {
        unlist_holes(h, b);
    }
    return true;
}

/* Lists those holes of a block that are not. */
static void list_holes(struct heap *h, struct heap_block *b) {
    for (char *at = (char *)b + HEADER_BYTES, *end = (char *)b + b->end; at < end;) {
        if ((uint8_t)*at == HEAP_HOLE_MARK) {
            struct heap_hole *hole = (struct heap_hole *)at;
            if (!hole->listed) {
                list_hole(h, hole);
            }
            at += hole_bytes(h, hole);
        } else {
            at += heap_round(h->granule_bytes, h->size_of(at));
        }
    }
}

/* The victim is an ordinary block again. */
static void spare_victim(struct heap *h) {
    struct heap_block *b = h->victim;
    h->victim = NULL;
    list_holes(h, b);
    enter_block(h, b);
    resort_block(h, b);
}

static bool move_object(struct heap *h, char *from, size_t bytes, heap_move_fn move, void *arg) {
    uint64_t blocks = h->blocks_count;
    void *to = heap_alloc(h, bytes);
    h->taken += h->blocks_count > blocks;
    if (!move(arg, from, to)) {
        heap_free(h, to, bytes);
        return false;
    }
    memcpy(to, from, bytes);
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

/* The span's objects lie one after the other: what is behind them is filled again, or given
 * back. */
static void end_slide(struct heap *h) {
    struct heap_block *b = h->victim;
    h->victim = NULL;
    b->end = (uint32_t)(h->victim_to - (char *)b);
    if (b->live_bytes == 0) {
        give_block(h, b);
        return;
    }
    if (h->victim_freed) {
        list_holes(h, b);
    }
    struct heap_block *filling = h->room ? block_of(h, h->room_end - 1) : NULL;
    bool fills = !filling || filling->end > b->end;
    size_t pages = page_round(b->end);
    hold(h, b, MIN(pages + (fills ? SPAN_STEP_BYTES : 0), (size_t)b->held));
    if (fills) {
        if (filling) {
            shelve_filling(h);
        }
        fill_block(h, b);
    } else {
        enter_block(h, b);
    }
}

/* A step within the victim, a span: `limit` objects of ordinary size, or as much work. */
static uint32_t slide(struct heap *h, uint32_t limit, heap_move_fn move, void *arg) {
    const char *end = (char *)h->victim + h->victim->end;
    uint64_t units = MIN((uint64_t)limit * SLIDE_UNITS, (uint64_t)SLIDE_UNITS_MAX);
    uint32_t moved = 0;
    while (h->victim_at < end && units > 0) {
        char *at = h->victim_at, *to = h->victim_to;
        if ((uint8_t)*at == HEAP_HOLE_MARK) {
            struct heap_hole *hole = (struct heap_hole *)at;
            if (hole->listed) {
                unlist_hole(h, hole);
            }
            h->victim_at += hole_bytes(h, hole);
            units--;
            continue;
        }
        size_t bytes = h->size_of(at), rounded = heap_round(h->granule_bytes, bytes);
        uint64_t cost = 1;
        if (at != to) {
            UNPOISON(to, rounded);
            if (!move(arg, at, to)) {
                write_hole(h, to, (size_t)(at - to));
                spare_victim(h);
                return 0;
            }
            memmove(to, at, bytes);
            cost = SLIDE_UNITS + bytes / SLIDE_UNIT_BYTES;
            moved++;
        }
        h->victim_at += rounded;
        h->victim_to += rounded;
        units -= MIN(cost, units);
    }
    if (h->victim_at < end) {
        if (h->victim_at != h->victim_to) {
            write_hole(h, h->victim_to, (size_t)(h->victim_at - h->victim_to));
        }
    } else {
        end_slide(h);
    }
    return moved + 1;
}

uint32_t heap_compact(struct heap *h, uint32_t limit, heap_move_fn move, void *arg) {
    if (!h->victim && !choose_victim(h)) {
        return 0;
    }
    if (h->slides) {
        return slide(h, limit, move, arg);
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

void heap_trim(struct heap *h) {
    bool quiet = h->room && h->room == h->trim_at;
    bool trims = quiet && !h->trimmed;
    h->trim_at = h->room;
    h->trimmed = quiet;
    if (!trims) {
        return;
    }
    struct heap_block *b = block_of(h, h->room_end - 1);
    size_t filled = page_round((size_t)(h->room - (char *)b));
    if (h->slides) {
        hold(h, b, MIN(filled, (size_t)b->held));
        h->room_end = (char *)b + b->held;
    } else if (filled < BLOCK_BYTES) {
        mem_map_release((char *)b + filled, BLOCK_BYTES - filled);
    }
}

/* --- check --- */

struct tally {
    uint64_t live, listed, held;
    uint32_t blocks;
};

static void check_block(const struct heap *h, const struct heap_block *b, struct tally *sum) {
    uint64_t live = 0;
    const char *at = (const char *)b + HEADER_BYTES, *end = (const char *)b + b->end;
    while (at < end) {
        if ((uint8_t)*at == HEAP_HOLE_MARK) {
            const struct heap_hole *hole = (const struct heap_hole *)at;
            bool victim = b == h->victim, ahead = victim && h->slides && at >= h->victim_at;
            ASSERT(hole_granules(hole) > 0 && (ahead || hole->listed == !victim));
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
    sum->held += b->held;
    sum->blocks++;
}

void heap_check(const struct heap *h) {
    struct tally sum = {0};
    for (unsigned bin = 0; bin < HEAP_SPARSE_BINS; bin++) {
        LIST_FOR_EACH(link, &h->sparse[bin]) {
            const struct heap_block *b = CONTAINER_OF(link, struct heap_block, link);
            ASSERT(b->bin == bin && sparse_bin(h, b) == bin && b->live_bytes > 0);
            ASSERT(list_empty(&b->open) == (!h->slides || SPAN_BYTES - b->end < OPEN_BYTES_MIN));
            check_block(h, b, &sum);
        }
    }
    if (h->room) {
        check_block(h, block_of(h, h->room_end - 1), &sum);
    }
    if (h->victim) {
        check_block(h, h->victim, &sum);
    }
    ASSERT(sum.live == h->live_bytes && sum.blocks == h->blocks_count &&
           sum.held == h->held_bytes);
    uint64_t listed = 0;
    for (unsigned bin = 0; bin < HEAP_BINS_COUNT; bin++) {
        const struct heap_hole *prev = NULL;
        for (const struct heap_hole *hole = h->holes[bin]; hole; hole = hole_next(hole)) {
            ASSERT(hole->mark == HEAP_HOLE_MARK && hole->listed && hole_prev(hole) == prev);
            ASSERT(bin_of(hole_granules(hole)) == bin);
            prev = hole;
            listed++;
        }
        ASSERT((h->holes[bin] != NULL) == (h->bins_used[bin / 64] >> bin % 64 & 1));
    }
    ASSERT(listed == sum.listed);
}
