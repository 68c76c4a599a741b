/* Compaction of a partition's heaps: finds the slot of each entry that moves by its key, and the
 * directory words of each segment. Under the partition's lock, between commands. */
#include "engine/partition_internal.h"

/* Entries of a flushed table can't be found by their keys: compaction waits for the drain. */
static bool move_entry(void *arg, void *from, void *to) {
    struct partition *p = arg;
    struct slice bytes = entry_key(to);
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

static bool is_sparse(const struct heap *h, unsigned percent) {
    return heap_hole_bytes(h) * 100 > heap_block_bytes(h) * percent;
}

uint32_t part_compact(struct partition *p, unsigned percent, uint32_t limit) {
    lock_assert_held(&p->lock);
    uint32_t moved = 0;
    if (p->drain_count) {
        return 0;
    }
    if (is_sparse(&p->heap, percent)) {
        moved += heap_compact(&p->heap, limit, move_entry, p);
    }
    if (moved < limit && is_sparse(&p->index_heap, percent)) {
        moved += heap_compact(&p->index_heap, limit - moved, move_segment, p);
    }
    return moved;
}
