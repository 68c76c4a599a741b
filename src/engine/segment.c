/* Placing entries in the buckets of a segment, and building segments; see segment.h. Under the lock
 * of the partition whose table it is. */
#include "engine/segment.h"

#include <string.h>

#include "base/mem.h"

/* Sizes in cache lines, the header's included: jemalloc's size classes, for segments of hashes, and
 * few enough that freed ones are of use to others. */
static const uint8_t lines_of_size[SEGMENT_SIZES_COUNT] = {2,  3,  4,  5,  6,  7,  8,  10, 12, 14,
                                                           16, 20, 24, 28, 32, 40, 48, 56, 64};

/* Load at which a segment is built: high enough to save memory, low enough not to be built again
 * soon. Per cent of the slots in main and stash buckets. */
enum { BUILD_LOAD_MAX_PERCENT = 85 };

/* An eighth lets main buckets be filled further before the segment grows: 10.5 bytes of index a key
 * instead of 11.0 with half as much. */
static uint32_t stash_lines(uint32_t lines) {
    return lines < 6 ? 0 : lines < 12 ? 1 : lines / 8;
}

uint32_t segment_lines(unsigned size) {
    return lines_of_size[size];
}

struct segment *segment_create(struct heap *heap, unsigned size, unsigned depth) {
    ASSERT(size < SEGMENT_SIZES_COUNT);
    uint32_t lines = lines_of_size[size], stash = stash_lines(lines);
    size_t bytes = (size_t)lines * CACHE_LINE_BYTES;
    struct segment *s = heap ? heap_alloc(heap, bytes) : mem_alloc_aligned(CACHE_LINE_BYTES, bytes);
    memset(s, 0, bytes);
    s->main_count = (uint8_t)(lines - 1 - stash);
    s->stash_count = (uint8_t)stash;
    s->depth = (uint8_t)depth;
    s->size = (uint8_t)size;
    return s;
}

size_t segment_own_bytes(const void *segment) {
    const struct segment *s = segment;
    return (size_t)lines_of_size[s->size] * CACHE_LINE_BYTES;
}

size_t segment_bytes(const struct segment *s) {
    return segment_own_bytes(s) + (size_t)s->extra_lines * CACHE_LINE_BYTES;
}

void segment_destroy(struct heap *heap, struct segment *s) {
    mem_free(s->extra);
    if (heap) {
        heap_free(heap, s, segment_own_bytes(s));
    } else {
        mem_free(s);
    }
}

unsigned segment_size_for(uint32_t count) {
    unsigned size = 0;
    while (size < SEGMENT_SIZES_COUNT - 1 &&
           count * 100 > (lines_of_size[size] - 1u) * BUCKET_SLOTS * BUILD_LOAD_MAX_PERCENT) {
        size++;
    }
    return size;
}

static uint64_t *bucket_put(struct bucket *b, uint8_t tag, uint64_t slot) {
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        if (!b->slots[i]) {
            b->tags[i] = tag;
            b->slots[i] = slot;
            return &b->slots[i];
        }
    }
    return NULL;
}

/* Makes room in bucket `at` by moving one of its own entries on to the next bucket. */
static bool push_on(struct segment *s, uint32_t at) {
    struct bucket *b = &s->buckets[at];
    struct bucket *next = &s->buckets[at + 1 < s->main_count ? at + 1 : 0];
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        if (!(b->slots[i] & SLOT_DISPLACED)) {
            if (!bucket_put(next, b->tags[i], b->slots[i] | SLOT_DISPLACED)) {
                return false;
            }
            b->slots[i] = 0;
            b->overflow++;
            return true;
        }
    }
    return false;
}

static uint64_t *place_extra(struct segment *s, uint8_t tag, uint64_t slot) {
    if (s->extra_count == s->extra_lines * BUCKET_SLOTS) {
        return NULL;
    }
    uint64_t *placed = bucket_put(&s->extra[s->extra_count / BUCKET_SLOTS], tag, slot);
    ASSERT(placed);
    s->extra_count++;
    return placed;
}

static uint64_t *place_stash(struct segment *s, uint8_t tag, uint64_t slot) {
    for (uint32_t i = 0; i < s->stash_count; i++) {
        uint64_t *placed = bucket_put(&s->buckets[s->main_count + i], tag, slot);
        if (placed) {
            return placed;
        }
    }
    return place_extra(s, tag, slot);
}

uint64_t *segment_place(struct segment *s, uint32_t home, uint8_t tag, uint64_t slot) {
    struct bucket *b = &s->buckets[home];
    uint64_t *placed = bucket_put(b, tag, slot);
    if (!placed && s->main_count > 1) {
        uint32_t next = home + 1 < s->main_count ? home + 1 : 0;
        placed = bucket_put(&s->buckets[next], tag, slot | SLOT_DISPLACED);
        if (!placed && s->main_count > 2 && push_on(s, next)) {
            placed = bucket_put(&s->buckets[next], tag, slot | SLOT_DISPLACED);
        }
        b->overflow += placed != NULL;
    }
    if (!placed) {
        placed = place_stash(s, tag, slot);
        b->overflow += placed && overflow_stashed(b->overflow) < STASHED_MANY ? 8 : 0;
    }
    s->count += placed != NULL;
    return placed;
}

/* The last extra slot fills the gap. */
static void clear_extra(struct segment *s, uint64_t *slot) {
    uint32_t last = --s->extra_count;
    struct bucket *from = &s->extra[last / BUCKET_SLOTS], *to = bucket_of(slot);
    to->tags[slot - to->slots] = from->tags[last % BUCKET_SLOTS];
    *slot = from->slots[last % BUCKET_SLOTS];
    from->slots[last % BUCKET_SLOTS] = 0;
    if (!s->extra_count) {
        mem_free(s->extra);
        s->extra = NULL;
        s->extra_lines = 0;
    }
}

void segment_clear(struct segment *s, uint32_t home, uint64_t *slot) {
    struct bucket *home_bucket = &s->buckets[home];
    uintptr_t offset = (uintptr_t)bucket_of(slot) - (uintptr_t)s->buckets;
    uint32_t own = (uint32_t)s->main_count + s->stash_count;
    if (*slot & SLOT_DISPLACED) {
        home_bucket->overflow--;
    } else if (offset / CACHE_LINE_BYTES != home) {
        home_bucket->overflow -= overflow_stashed(home_bucket->overflow) < STASHED_MANY ? 8 : 0;
    }
    if (offset / CACHE_LINE_BYTES < own) { /* below s: wraps to a large number */
        *slot = 0;
    } else {
        clear_extra(s, slot);
    }
    s->count--;
}

void segment_add_extra(struct segment *s) {
    uint32_t lines = s->extra_lines ? s->extra_lines * 2 : 1;
    struct bucket *extra = mem_alloc_aligned(CACHE_LINE_BYTES, lines * CACHE_LINE_BYTES);
    memset(extra, 0, lines * CACHE_LINE_BYTES);
    if (s->extra_lines) {
        memcpy(extra, s->extra, s->extra_lines * CACHE_LINE_BYTES);
    }
    mem_free(s->extra);
    s->extra = extra;
    s->extra_lines = lines;
}

static bool fill(struct segment *s, const struct moving *entries, uint32_t count, unsigned shift,
                 bool force) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t home = hash_home(entries[i].hash, shift, s->main_count);
        uint64_t slot = entries[i].slot & ~SLOT_DISPLACED;
        while (!segment_place(s, home, hash_tag(entries[i].hash), slot)) {
            if (!force) {
                return false;
            }
            segment_add_extra(s);
        }
    }
    return true;
}

struct segment *segment_build(struct heap *heap, const struct moving *entries, uint32_t count,
                              unsigned size, unsigned prefix_bits, unsigned depth, bool force) {
    for (; size < SEGMENT_SIZES_COUNT; size++) {
        struct segment *s = segment_create(heap, size, depth);
        bool last = size == SEGMENT_SIZES_COUNT - 1;
        if (fill(s, entries, count, prefix_bits + depth, force && last)) {
            return s;
        }
        segment_destroy(heap, s);
    }
    return NULL;
}
