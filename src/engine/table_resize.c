/* How a table grows and shrinks: segments built anew, split and merged, the directory doubled and
 * halved. One call touches one or two segments (a few hundred entries: some ten microseconds) and,
 * when the directory doubles or halves, 8 bytes a word. Under the partition's lock.
 *
 * Every entry's hash is computed again from its key, so its memory is prefetched first. */
#include "engine/table_internal.h"

#include <string.h>

#include "base/mem.h"

enum {
    PREFETCH_DISTANCE = 16, /* entries */
    /* Below this load a segment that is full by bad luck or churn is built anew at its old size. */
    TIDY_LOAD_PERCENT = 65,
    /* Below this load a segment is built smaller. */
    SHRINK_LOAD_PERCENT = 40,
    /* Two neighbours are merged when together they load the largest segment no more than this. */
    MERGE_LOAD_PERCENT = 40,
};

/* Entries of a segment with their hashes. */
struct batch {
    struct moving *entries;
    uint32_t count;
    struct moving own[SEGMENT_ENTRIES_MAX];
};

static void batch_init(struct batch *b, uint32_t count_max) {
    b->count = 0;
    b->entries = count_max <= SEGMENT_ENTRIES_MAX ? b->own : mem_alloc(count_max * sizeof *b->own);
}

static void batch_free(struct batch *b) {
    if (b->entries != b->own) {
        mem_free(b->entries);
    }
}

static void batch_add(struct batch *b, const struct table *t, struct segment *s) {
    uint32_t first = b->count;
    for (uint32_t i = 0; i < segment_slots(s); i++) {
        uint64_t slot = *segment_slot(s, i);
        if (slot) {
            b->entries[b->count++].slot = slot;
        }
    }
    ASSERT(b->count - first == s->count);
    for (uint32_t i = first; i < MIN(first + PREFETCH_DISTANCE, b->count); i++) {
        __builtin_prefetch(slot_entry(b->entries[i].slot));
    }
    for (uint32_t i = first; i < b->count; i++) {
        if (i + PREFETCH_DISTANCE < b->count) {
            __builtin_prefetch(slot_entry(b->entries[i + PREFETCH_DISTANCE].slot));
        }
        b->entries[i].hash = table_hash(t, entry_key(slot_entry(b->entries[i].slot)));
    }
}

static void resize_directory(struct table *t, unsigned depth) {
    uint64_t words = 1ull << depth;
    uint64_t *directory = mem_alloc(words * sizeof *directory);
    if (depth > t->depth) {
        for (uint64_t i = 0; i < words; i++) {
            directory[i] = t->directory[i >> 1];
        }
    } else {
        for (uint64_t i = 0; i < words; i++) {
            directory[i] = t->directory[i << 1];
        }
    }
    t->index_bytes -= mem_good_size(sizeof *directory << t->depth);
    t->index_bytes += mem_good_size(sizeof *directory << depth);
    mem_free(t->directory);
    t->directory = directory;
    t->depth = (uint8_t)depth;
}

/* Enters a new segment for the range that `hash` falls into at its depth. */
static void link_segment(struct table *t, uint64_t hash, struct segment *s) {
    directory_set(t, hash, word_make(s));
    s->home = t;
    s->hash = hash;
    t->segments_at_depth[s->depth]++;
    t->index_bytes += segment_bytes(s);
}

static void drop_segment(struct table *t, struct segment *s) {
    t->segments_at_depth[s->depth]--;
    t->index_bytes -= segment_bytes(s);
    segment_destroy(t->heaps.index, s);
}

static bool may_split(const struct table *t, const struct segment *s) {
    if (s->depth + t->prefix_bits >= TABLE_DEPTH_MAX) {
        return false;
    }
    return s->depth < t->depth ||
           (2ull << t->depth) <= DIRECTORY_WORDS_FREE + t->count / ENTRIES_PER_WORD_MIN;
}

static void split(struct table *t, uint64_t hash, struct segment *s) {
    unsigned depth = s->depth, bit = 63 - t->prefix_bits - depth;
    if (depth == t->depth) {
        resize_directory(t, depth + 1u);
    }
    struct batch all, half[2];
    batch_init(&all, s->count);
    batch_add(&all, t, s);
    batch_init(&half[0], s->count);
    batch_init(&half[1], s->count);
    for (uint32_t i = 0; i < all.count; i++) {
        struct batch *to = &half[all.entries[i].hash >> bit & 1];
        to->entries[to->count++] = all.entries[i];
    }
    for (unsigned i = 0; i < 2; i++) {
        uint64_t range = (hash & ~(1ull << bit)) | (uint64_t)i << bit;
        link_segment(t, range,
                     segment_build(t->heaps.index, half[i].entries, half[i].count,
                                   segment_size_for(half[i].count), t->prefix_bits, depth + 1,
                                   true));
        batch_free(&half[i]);
    }
    batch_free(&all);
    drop_segment(t, s);
}

/* Builds the segment anew with at least `size`; false when no size holds what it has. */
static bool rebuild(struct table *t, uint64_t hash, struct segment *s, unsigned size) {
    struct batch all;
    batch_init(&all, s->count);
    batch_add(&all, t, s);
    struct segment *built =
        segment_build(t->heaps.index, all.entries, all.count, size, t->prefix_bits, s->depth,
                      false);
    batch_free(&all);
    if (!built) {
        return false;
    }
    link_segment(t, hash, built);
    drop_segment(t, s);
    return true;
}

static uint32_t load_percent(const struct segment *s, uint32_t count) {
    return count * 100 / ((segment_lines(s->size) - 1u) * BUCKET_SLOTS);
}

void table_make_room(struct table *t, uint64_t hash, unsigned attempt) {
    struct segment *s = word_segment(t->directory[directory_index(t, hash)]);
    bool largest = s->size == SEGMENT_SIZES_COUNT - 1;
    bool tidy = attempt == 0 && load_percent(s, s->count) < TIDY_LOAD_PERCENT;
    if ((tidy || !largest) && rebuild(t, hash, s, s->size + !tidy)) {
        return;
    }
    if (may_split(t, s)) {
        split(t, hash, s);
    } else {
        t->index_bytes -= segment_bytes(s);
        segment_add_extra(s);
        t->index_bytes += segment_bytes(s);
    }
}

/* The other half of the segment's range, if that is one segment and the two can be one. */
static struct segment *mergeable(const struct table *t, uint64_t hash, const struct segment *s) {
    if (s->depth == 0 || s->extra_count) {
        return NULL;
    }
    uint64_t other = hash ^ (1ull << (64 - t->prefix_bits - s->depth));
    struct segment *o = word_segment(t->directory[directory_index(t, other)]);
    uint32_t max = SEGMENT_ENTRIES_MAX * MERGE_LOAD_PERCENT / 100;
    return o->depth == s->depth && !o->extra_count && s->count + o->count <= max ? o : NULL;
}

static void merge(struct table *t, uint64_t hash, struct segment *s, struct segment *o) {
    struct batch all;
    batch_init(&all, s->count + o->count);
    batch_add(&all, t, s);
    batch_add(&all, t, o);
    struct segment *built =
        segment_build(t->heaps.index, all.entries, all.count, segment_size_for(all.count),
                      t->prefix_bits, s->depth - 1u, false);
    batch_free(&all);
    if (!built) {
        return;
    }
    link_segment(t, hash, built);
    drop_segment(t, s);
    drop_segment(t, o);
    if (t->segments_at_depth[t->depth] == 0) {
        resize_directory(t, t->depth - 1u);
    }
}

void table_give_back(struct table *t, uint64_t hash) {
    struct segment *s = word_segment(t->directory[directory_index(t, hash)]);
    if (load_percent(s, s->count) >= SHRINK_LOAD_PERCENT) {
        return;
    }
    struct segment *other = mergeable(t, hash, s);
    if (other) {
        merge(t, hash, s, other);
    } else if (segment_size_for(s->count) + 1 < s->size) {
        rebuild(t, hash, s, segment_size_for(s->count));
    }
}
