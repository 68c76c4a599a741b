#ifndef FOREBAY_ENGINE_TABLE_INTERNAL_H
#define FOREBAY_ENGINE_TABLE_INTERNAL_H
/* The table's own layout, for the table*.c files alone.
 *
 * Directory: 2^depth words, indexed by the hash bits behind the prefix; a segment of depth d fills
 * 2^(depth - d) words in a row. A word holds all that a lookup needs of a segment, so that its
 * header is not read:   | depth:8 | main buckets:8 | pointer:48 | */
#include "engine/segment.h"

enum {
    TABLE_DEPTH_MAX = TABLE_CURSOR_BITS - TABLE_POSITION_BITS, /* less the prefix */
    /* The directory may have this many words, plus one for every so many entries: with well-spread
     * hashes it needs a word for 60 to 350 entries, and colliding ones must not blow it up. */
    DIRECTORY_WORDS_FREE = 16,
    ENTRIES_PER_WORD_MIN = 16,
};

struct table {
    uint64_t *directory; /* NULL once drained */
    uint8_t depth, prefix_bits;
    table_hash_fn hash; /* NULL = hash_bytes */
    struct table_heaps heaps;
    uint64_t seed;
    uint64_t count, count_volatile, count_absent, count_marked;
    size_t index_bytes;
    uint64_t drained;                                /* directory words emptied by table_drain */
    uint32_t segments_at_depth[TABLE_DEPTH_MAX + 1]; /* the directory halves when the last is 0 */
};

static inline uint64_t directory_index(const struct table *t, uint64_t hash) {
    return ((hash << t->prefix_bits) >> 1) >> (63 - t->depth);
}
static inline uint64_t word_make(const struct segment *s) {
    return (uint64_t)(uintptr_t)s | (uint64_t)s->main_count << 48 | (uint64_t)s->depth << 56;
}
static inline struct segment *word_segment(uint64_t word) {
    return (struct segment *)(uintptr_t)(word & SLOT_POINTER_MASK);
}
static inline uint32_t word_main_count(uint64_t word) {
    return (word >> 48) & 0xff;
}
static inline unsigned word_depth(uint64_t word) {
    return word >> 56;
}
/* Enters a segment's word into the directory, for the range that `hash` falls into at its depth. */
static inline void directory_set(struct table *t, uint64_t hash, uint64_t word) {
    unsigned spare = t->depth - word_depth(word);
    uint64_t first = directory_index(t, hash) >> spare << spare;
    for (uint64_t i = 0; i < 1ull << spare; i++) {
        t->directory[first + i] = word;
    }
}
static inline uint64_t table_hash(const struct table *t, struct slice bytes) {
    return t->hash ? t->hash(t->seed, bytes.ptr, bytes.len)
                   : hash_bytes(t->seed, bytes.ptr, bytes.len);
}

/* Makes room for one more entry with this hash; `attempt` counts the calls for one insert. */
void table_make_room(struct table *t, uint64_t hash, unsigned attempt);
/* Gives memory back when the segment of this hash has become sparse. */
void table_give_back(struct table *t, uint64_t hash);
#endif
