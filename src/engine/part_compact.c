/* Compaction of a partition's heaps: finds the slot of each entry that moves by its key, and the
 * directory words of each segment. Under the partition's lock, between commands. */
#include "engine/partition_internal.h"

enum {
    FINE_SHARE = 256, /* fewer holes than this share of a heap never are worth it */
    PRESSED_PERCENT = 12, /* of spans, where few of these would have many objects move */
};

/* Entries of a flushed table can't be found by their keys: compaction waits for the drain. */
static bool move_entry(void *arg, void *from, void *to) {
    struct partition *p = arg;
    struct slice bytes = entry_key(from);
    struct key key = {bytes, hash_bytes(p->ks->seed, bytes.ptr, bytes.len)};
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        if (p->db[db] && table_move_entry(p->db[db], &key, from, to)) {
            part_count(&p->stats.defrag_hits);
            part_count(&p->stats.defrag_key_hits);
            return true;
        }
    }
    return false;
}

static bool move_segment(void *arg, void *from, void *to) {
    struct partition *p = arg;
    bool moved = table_move_segment(NULL, from, to);
    part_add(&p->stats.defrag_hits, moved);
    return moved;
}

static bool is_sparse(const struct heap *h, struct compact_from from) {
    uint64_t holes = heap_hole_bytes(h);
    return holes * 100 > heap_block_bytes(h) * from.percent ||
           (from.bytes_an_object && holes > h->objects_count * from.bytes_an_object &&
            holes * FINE_SHARE > heap_block_bytes(h));
}

uint32_t part_compact(struct partition *p, struct compact_from from, uint32_t limit) {
    lock_assert_held(&p->lock);
    uint32_t moved = 0, percent = from.percent;
    if (p->drain_count) {
        return 0;
    }
    if (is_sparse(&p->heap, from)) {
        moved += heap_compact(&p->heap, limit, move_entry, p);
    }
    if (from.pressed) {
        if (is_sparse(&p->large_heap, from)) {
            heap_use_spans(&p->heap, false);
        }
        from.percent = MAX(from.percent, PRESSED_PERCENT);
    }
    if (moved < limit && is_sparse(&p->large_heap, from)) {
        moved += heap_compact(&p->large_heap, limit - moved, move_entry, p);
    }
    from.percent = percent;
    if (moved < limit && is_sparse(&p->index_heap, from)) {
        moved += heap_compact(&p->index_heap, limit - moved, move_segment, p);
    }
    return moved;
}

void part_trim(struct partition *p) {
    lock_assert_held(&p->lock);
    heap_trim(&p->heap);
    heap_trim(&p->large_heap);
    heap_trim(&p->index_heap);
}
