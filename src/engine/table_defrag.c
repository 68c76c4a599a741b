/* Moving a large hash's table out of the allocator's sparse slabs, a bucket at a time (defrag.h).
 * Under the lock of the hash's key.
 *
 * Extra buckets, which only colliding keys make, stay where they are. */
#include "engine/defrag.h"
#include "engine/table_internal.h"

/* Each segment knows its table: with more of them its few hundred bytes stay where they are. */
enum { SELF_WORDS_MAX = 64 };

struct table *table_defrag_self(struct table *t, struct defrag *d) {
    ASSERT(!t->heaps.entries && !t->heaps.index && t->directory);
    uint64_t words = 1ull << t->depth;
    t->directory = defrag_move(d, t->directory, words * sizeof *t->directory, sizeof *t->directory);
    if (words > SELF_WORDS_MAX) {
        return t;
    }
    t = defrag_move(d, t, sizeof *t, _Alignof(struct table));
    for (uint64_t i = 0; i < words; i++) {
        word_segment(t->directory[i])->home = t;
    }
    return t;
}

static void move_segment(struct table *t, uint64_t hash, struct defrag *d) {
    struct segment *s = word_segment(t->directory[directory_index(t, hash)]);
    s = defrag_move(d, s, segment_own_bytes(s), CACHE_LINE_BYTES);
    directory_set(t, hash, word_make(s));
}

static void move_entry(void *arg, struct entry *e, struct table_ref ref) {
    struct entry *to = entry_defrag(e, arg);
    *ref.slot = (*ref.slot & ~SLOT_POINTER_MASK) | (uint64_t)(uintptr_t)to;
}

uint64_t table_defrag(struct table *t, uint64_t cursor, struct defrag *d) {
    ASSERT(!t->heaps.entries && !t->heaps.index && t->directory);
    uint64_t hash = cursor << (64 - TABLE_CURSOR_BITS);
    struct segment *s = word_segment(t->directory[directory_index(t, hash)]);
    if (hash_home(hash, t->prefix_bits + s->depth, s->main_count) == 0) {
        move_segment(t, hash, d);
    }
    return table_scan(t, cursor, move_entry, d);
}
