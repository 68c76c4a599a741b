/* The expiry sweep: walks a partition's tables bucket by bucket and removes what is due. Under the
 * partition's lock, by its owner. Expired keys also go when they are accessed (partition.c), and
 * are preferred by eviction (part_evict.c). */
#include "engine/partition_internal.h"

enum {
    SWEEP_BATCH_MAX = 64,     /* expired entries a bucket; more wait for the next round */
    SWEEP_AGAIN_PERCENT = 25, /* of the entries with a TTL seen: then sweeping goes on at once */
};

struct sweep {
    int64_t now_ms;
    uint64_t seen; /* entries with a TTL */
    uint32_t due_count;
    struct entry *due[SWEEP_BATCH_MAX];
};

static void sweep_entry(void *arg, struct entry *e, struct table_ref ref) {
    struct sweep *s = arg;
    if (table_is_volatile(ref)) {
        s->seen++;
        if (entry_is_expired(e, s->now_ms) && s->due_count < SWEEP_BATCH_MAX) {
            s->due[s->due_count++] = e;
        }
    }
}

static void sweep_bucket(struct partition *p, unsigned db, struct sweep *s) {
    struct table *t = p->db[db];
    s->due_count = 0;
    p->sweep_cursor[db] = table_scan(t, p->sweep_cursor[db], sweep_entry, s);
    for (uint32_t i = 0; i < s->due_count; i++) {
        struct key key = table_key(t, entry_key(s->due[i]));
        part_remove_expired(p, db, &key, table_find(t, &key));
    }
}

bool part_sweep(struct partition *p, int64_t now_ms, uint32_t limit) {
    struct sweep s = {.now_ms = now_ms};
    uint64_t due = 0;
    uint32_t slots = 0, finished = 0; /* databases to the end, in this call */
    while (slots < limit && finished < DATABASES_MAX) {
        unsigned db = p->sweep_db;
        bool worth = p->db[db] && table_count_volatile(p->db[db]) > 0;
        if (worth) {
            sweep_bucket(p, db, &s);
            due += s.due_count;
            slots += BUCKET_SLOTS;
        } else {
            p->sweep_cursor[db] = 0;
        }
        if (p->sweep_cursor[db] == 0) {
            p->sweep_db = (db + 1) % DATABASES_MAX;
            finished++;
        }
    }
    return due > 0 && due * 100 >= s.seen * SWEEP_AGAIN_PERCENT;
}
