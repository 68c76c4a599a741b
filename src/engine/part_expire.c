/* The expiry sweep: removes what is due, on a walk through the partition's tables, bucket by
 * bucket. Under the partition's lock, by its owner. Expired keys also go when they are accessed
 * (partition.c), to the millisecond, and are preferred by eviction (part_evict.c); the sweep gives
 * back the memory of those that nobody asks for.
 *
 * What it costs. A slot says whether its entry has a TTL, so entries without one cost a share of
 * the bucket's cache line, read in the order of memory; when the time is due stands in the entry,
 * a cache miss. So buckets are walked in groups: entries with a TTL are noted and prefetched, then
 * looked at, then those that are due are removed. A group of 64 overlaps its misses.
 *
 * How fast it goes is said by expire_pace.h: a speed a partition, such that about 4% of what is met
 * has expired. The shard (shard/maintain.c) gives turns, in steps between batches, and bounds the
 * time they take.
 *
 * 1. No entry pointer lives longer than a group: entries may be moved between steps.
 * 2. A step ends after SWEEP_STEP_REMOVALS_MAX, or `limit` slots (and the rest of a group).
 * 3. Databases without a TTL are skipped whole. */
#include "engine/partition_internal.h"

enum {
    GROUP_ENTRIES = 64,      /* with a TTL: then they are looked at */
    GROUP_ENTRIES_MAX = 128, /* noted; where keys are made to collide the rest waits a round */
    GROUP_SLOTS_MAX = 32 * BUCKET_SLOTS,
    SWEEP_STEP_REMOVALS_MAX = 128,
    TTL_SAMPLES_MAX = 8192, /* then the mean forgets half */
};

struct group {
    uint32_t met, count;
    struct entry *entries[GROUP_ENTRIES_MAX]; /* with a TTL */
};

static void note_entry(void *arg, struct entry *e, struct table_ref ref) {
    struct group *g = arg;
    g->met++;
    if (table_is_volatile(ref) && g->count < GROUP_ENTRIES_MAX) {
        __builtin_prefetch(e);
        __asm__ volatile("" : : "r"(e)); /* gcc 12 with LTO drops what only prefetches */
        g->entries[g->count++] = e;
    }
}

static void note_ttl(struct partition *p, unsigned db, int64_t ttl_ms) {
    struct ttl_mean *m = &p->ttl[db];
    if (m->count >= TTL_SAMPLES_MAX) {
        m->count /= 2;
        m->sum_ms /= 2;
    }
    m->count++;
    m->sum_ms += ttl_ms;
}

/* Removes what is due of the noted entries; returns how many. */
static uint32_t remove_due(struct partition *p, unsigned db, struct group *g, int64_t now_ms) {
    uint32_t due = 0;
    for (uint32_t i = 0; i < g->count; i++) {
        int64_t expire_ms = entry_expire_ms(g->entries[i]);
        if (expire_ms <= now_ms) {
            g->entries[due++] = g->entries[i];
        } else {
            note_ttl(p, db, expire_ms - now_ms);
        }
    }
    for (uint32_t i = 0; i < due; i++) {
        struct key key = table_key(p->db[db], entry_key(g->entries[i]));
        part_remove_expired(p, db, &key, table_find(p->db[db], &key));
    }
    return due;
}

/* One group of a database's buckets; returns the slots walked. */
static uint32_t sweep_group(struct partition *p, unsigned db, int64_t now_ms, uint32_t limit,
                            uint32_t *due) {
    struct group g;
    g.met = g.count = 0;
    uint32_t slots = 0;
    limit = MIN(limit, GROUP_SLOTS_MAX);
    do {
        p->sweep_cursor[db] = table_scan(p->db[db], p->sweep_cursor[db], note_entry, &g);
        slots += BUCKET_SLOTS;
    } while (slots < limit && g.count < GROUP_ENTRIES && p->sweep_cursor[db] != 0);
    uint32_t removed = remove_due(p, db, &g, now_ms);
    expire_pace_met(&p->pace, slots, g.met, g.count, removed);
    *due += removed;
    return slots;
}

void part_sweep(struct partition *p, int64_t now_ms, uint32_t limit) {
    uint32_t due = 0, slots = 0, finished = 0; /* databases to the end, in this call */
    while (slots < limit && due < SWEEP_STEP_REMOVALS_MAX && finished < DATABASES_MAX) {
        unsigned db = p->sweep_db;
        bool worth = p->db[db] && table_count_volatile(p->db[db]) > 0;
        if (worth) {
            slots += sweep_group(p, db, now_ms, limit - slots, &due);
        } else {
            p->sweep_cursor[db] = 0;
        }
        if (p->sweep_cursor[db] == 0) {
            p->sweep_db = (db + 1) % DATABASES_MAX;
            finished++;
        }
    }
    if (finished == DATABASES_MAX) {
        p->pace.left = 0; /* a whole round in one step */
    }
}

static uint64_t entries_to_sweep(const struct partition *p) {
    uint64_t entries = 0;
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        bool worth = p->db[db] && table_count_volatile(p->db[db]) > 0;
        entries += worth ? table_count(p->db[db]) : 0;
    }
    return entries;
}

bool part_expire_turn(struct partition *p, int64_t now_ms) {
    lock_assert_held(&p->lock);
    uint64_t entries = entries_to_sweep(p);
    expire_pace_turn(&p->pace, now_ms, entries);
    if (entries == 0) {
        p->pace.left = 0;
    }
    atomic_store_explicit(&p->stats.stale_ppm, entries ? p->pace.due_ttl_ppm : 0,
                          memory_order_relaxed);
    return entries > 0 && expire_pace_is_fast(&p->pace, entries);
}
