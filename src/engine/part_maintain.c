/* A partition's maintenance: the steps its owner takes between batches, and the drain that frees
 * what is large in slices. Under the partition's lock. Expiry: part_expire.c; eviction:
 * part_evict.c.
 *
 * 1. A call looks at a bounded number of buckets and frees a bounded number of entries.
 * 2. What is in the drain can't be found any more, but is memory until it is freed. */
#include "base/mem.h"
#include "engine/partition_internal.h"

/* --- drain --- */

struct drain_item { /* one of the two */
    struct list link;
    struct table *table;
    struct entry *entry;
};

/* The caller puts it into the list. */
static struct list *drain_add(struct partition *p, struct table *table, struct entry *entry) {
    struct drain_item *item = mem_alloc(sizeof *item);
    *item = (struct drain_item){.table = table, .entry = entry};
    list_init(&item->link);
    p->drain_count++;
    return &item->link;
}

static bool is_large(const struct entry *e) {
    switch (entry_type(e)) {
    case VALUE_HASH:
        return hash_count(entry_hash_apart(e)) > DRAIN_STEP_FIELDS;
    case VALUE_STRING:
        return entry_blob(e) && entry_blob(e)->cap >= DRAIN_BLOB_BYTES;
    default:
        return false;
    }
}

void part_discard(struct partition *p, struct entry *e) {
    lock_assert_held(&p->lock);
    if (e && entry_has_pointer(e) && is_large(e)) {
        list_push_back(&p->drain, drain_add(p, NULL, e));
    } else {
        entry_destroy(&p->heap, e);
    }
}

/* Of a table being drained: a hash of many allocations is a step's work of its own, and goes before
 * what is left of the table, so that few of them wait at a time. */
static void discard_entry(void *arg, struct entry *e) {
    struct partition *p = arg;
    if (entry_hash_apart(e) && !hash_is_packed(entry_hash_apart(e))) {
        list_push_front(&p->drain, drain_add(p, NULL, e));
    } else {
        part_discard(p, e);
    }
}

/* Frees some of the first item, about `limit` entries or fields; returns how many. */
static uint64_t drain_first(struct partition *p, uint64_t limit) {
    struct drain_item *item = CONTAINER_OF(p->drain.next, struct drain_item, link);
    uint64_t before = DRAIN_STEP_FIELDS, after = 0; /* a string, however long, is a step */
    bool empty = true;
    if (item->table) {
        before = table_count(item->table);
        empty = table_drain(item->table, limit, discard_entry, p);
        after = table_count(item->table);
    } else if (entry_hash_apart(item->entry)) {
        struct hash *hash = entry_hash_apart(item->entry);
        before = hash_count(hash);
        empty = hash_drain(hash, limit);
        after = hash_count(hash);
    }
    if (empty) {
        table_destroy(item->table);
        entry_destroy(&p->heap, item->entry);
        list_remove(&item->link);
        mem_free(item);
        p->drain_count--;
    }
    return before - after;
}

bool part_drain_step(struct partition *p) {
    lock_assert_held(&p->lock);
    if (list_empty(&p->drain)) {
        return false;
    }
    uint64_t freed = 0;
    while (freed < DRAIN_STEP_FIELDS && !list_empty(&p->drain)) {
        freed += drain_first(p, DRAIN_STEP_FIELDS - freed) + 1;
    }
    return true;
}

void part_flush(struct partition *p, unsigned db) {
    lock_assert_held(&p->lock);
    ASSERT(db < DATABASES_MAX);
    if (!p->db[db]) {
        return;
    }
    list_push_back(&p->drain, drain_add(p, p->db[db], NULL));
    p->db[db] = NULL;
    p->sweep_cursor[db] = 0;
    p->ttl[db] = (struct ttl_mean){0, 0};
    mrc_flush(&p->mrc, db);
    part_touched(p, db, NULL);
}

bool part_maintain(struct partition *p, int64_t now_ms, uint32_t limit) {
    lock_assert_held(&p->lock);
    mrc_set_enabled(&p->mrc, atomic_load_explicit(&p->ks->estimate, memory_order_relaxed));
    part_sweep(p, now_ms, limit);
    part_drain_step(p);
    if (p->heap.object_max > HEAP_SMALL_MAX && !keyspace_is_short(p->ks)) {
        heap_use_spans(&p->heap, true);
    }
    return !list_empty(&p->drain);
}
