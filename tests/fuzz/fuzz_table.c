/* Fuzz target of the engine's table: a stream of changes and scans, held against an array. The
 * input says which bits of the hashes may differ, so that keys crowd in all parts of it.
 *
 *     [choices][bits of the hash that vary, 8 bytes] then operations:
 *     [which][key, 2 bytes][count or value]
 *
 * 1. What was put in is found, with its policy bits and TTL mark; what was taken out is not.
 * 2. A scan answers what was there from its first step to its last, whatever changed in between,
 *    and nothing else; its cursors ascend.
 * 3. The table's own invariants hold, and it leaves no memory behind. */
#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "engine/defrag.h"
#include "engine/table.h"
#include "fuzz.h"

enum {
    KEYS = 4096,
    SCANS = 2,
    CHOICE_BYTES = 9,
    OPERATION_BYTES = 4,
    OPERATIONS_MAX = 2000,
    CHECK_EVERY = 256,
    EXPIRE_MS = 1000,
    DRAIN_LIMIT = 100,
};

struct key_state {
    bool there, expires;
    uint16_t policy;
    struct {
        bool must, seen;
    } scan[SCANS];
};

struct world {
    struct table *t;
    struct key_state keys[KEYS];
    uint64_t count, expiring, cursor[SCANS];
};

static const struct entry_origin no_origin = {0, 0};

/* `seed` is the mask of what varies. */
static uint64_t masked_hash(uint64_t seed, const void *ptr, size_t len) {
    return hash_bytes(1, ptr, len) & seed;
}

static uint64_t prefixed_hash(uint64_t seed, const void *ptr, size_t len) {
    return masked_hash(seed, ptr, len) >> TABLE_PREFIX_BITS_MAX |
           0x155ull << (64 - TABLE_PREFIX_BITS_MAX);
}

static struct key key_of(const struct world *w, const uint16_t *n) {
    return table_key(w->t, slice_of(n, sizeof *n));
}

static uint16_t number_of(const struct entry *e) {
    uint16_t n;
    ASSERT(entry_key(e).len == sizeof n);
    memcpy(&n, entry_key(e).ptr, sizeof n);
    return n;
}

static struct table_ref find(const struct world *w, uint16_t n) {
    struct key key = key_of(w, &n);
    struct table_ref ref = table_find(w->t, &key);
    const struct key_state *k = &w->keys[n];
    ASSERT((ref.slot != NULL) == k->there);
    if (ref.slot) {
        ASSERT(number_of(table_entry(ref)) == n && table_policy(ref) == k->policy);
        ASSERT(table_is_volatile(ref) == k->expires);
    }
    return ref;
}

static struct entry *entry_of(uint16_t n, bool expires) {
    return entry_create_string(NULL, slice_of(&n, sizeof n), SLICE("v"),
                               expires ? EXPIRE_MS : EXPIRE_NEVER, no_origin);
}

static void set_expires(struct world *w, struct key_state *k, bool expires) {
    w->expiring += (uint64_t)expires - k->expires;
    k->expires = expires;
}

static void put(struct world *w, uint16_t n, uint8_t value) {
    struct key_state *k = &w->keys[n];
    struct key key = key_of(w, &n);
    struct table_ref ref = find(w, n);
    struct entry *e = entry_of(n, value & 1);
    if (ref.slot) {
        entry_destroy(NULL, table_replace(w->t, ref, e));
    } else {
        k->policy = (uint16_t)(value * 16u);
        table_insert(w->t, &key, e, k->policy);
        k->there = true;
        w->count++;
    }
    set_expires(w, k, value & 1);
    find(w, n);
}

static void take(struct world *w, uint16_t n) {
    struct key_state *k = &w->keys[n];
    struct key key = key_of(w, &n);
    struct table_ref ref = find(w, n);
    if (ref.slot) {
        struct entry *e = table_remove(w->t, &key, ref);
        ASSERT(number_of(e) == n);
        entry_destroy(NULL, e);
        set_expires(w, k, false);
        k->there = false;
        k->scan[0].must = k->scan[1].must = false;
        w->count--;
        find(w, n);
    }
}

static void change_in_place(struct world *w, uint16_t n, uint8_t value) {
    struct key_state *k = &w->keys[n];
    struct table_ref ref = find(w, n);
    if (!ref.slot) {
        return;
    }
    k->policy = (uint16_t)(value * 16u + 7) & TABLE_POLICY_MAX;
    table_set_policy(w->t, ref, k->policy);
    struct entry *e = table_entry(ref);
    bool expires = value & 1;
    if (!entry_set_expire(e, expires ? EXPIRE_MS : EXPIRE_NEVER)) {
        e = entry_move(NULL, NULL, e, entry_key(e), EXPIRE_MS);
    }
    table_update(w->t, ref, e);
    set_expires(w, k, expires);
    find(w, n);
}

struct scanning {
    struct world *w;
    unsigned which;
};

static void scanned(void *arg, struct entry *e, struct table_ref ref) {
    struct scanning *s = arg;
    struct key_state *k = &s->w->keys[number_of(e)];
    ASSERT(k->there && table_entry(ref) == e);
    k->scan[s->which].seen = true;
}

static void scan(struct world *w, unsigned which, uint8_t steps) {
    struct scanning s = {w, which};
    for (unsigned i = 0; i <= steps; i++) {
        uint64_t before = w->cursor[which];
        for (uint32_t n = 0; n < KEYS && before == 0; n++) {
            w->keys[n].scan[which].must = w->keys[n].there;
            w->keys[n].scan[which].seen = false;
        }
        w->cursor[which] = table_scan(w->t, before, scanned, &s);
        ASSERT(w->cursor[which] == 0 || w->cursor[which] > before);
        for (uint32_t n = 0; n < KEYS && w->cursor[which] == 0; n++) {
            ASSERT(!w->keys[n].scan[which].must || w->keys[n].scan[which].seen);
        }
    }
}

static void walk(struct world *w) {
    struct table_iter it = {0};
    struct table_ref ref;
    uint64_t count = 0;
    while ((ref = table_next(w->t, &it)).slot) {
        ASSERT(w->keys[number_of(table_entry(ref))].there);
        count++;
    }
    ASSERT(count == w->count);
}

/* Everything moves, from some bucket on. */
static void defragment(struct world *w, uint16_t n, uint8_t steps) {
    struct defrag d = {.always = true};
    w->t = table_defrag_self(w->t, &d);
    uint64_t cursor = key_of(w, &n).hash >> (64 - TABLE_CURSOR_BITS);
    for (unsigned i = 0; i <= steps && (i == 0 || cursor); i++) {
        uint64_t before = cursor;
        cursor = table_defrag(w->t, cursor, &d);
        ASSERT(cursor == 0 || cursor > before);
    }
    ASSERT(d.moved == d.looked && d.kept == 0);
    find(w, n);
}

static void check(const struct world *w) {
    table_check(w->t);
    ASSERT(table_count(w->t) == w->count);
    ASSERT(table_count_volatile(w->t) == w->expiring);
}

static void operate(struct world *w, const uint8_t *op, struct rng *rng) {
    uint16_t n = (uint16_t)((op[1] << 8 | op[2]) % KEYS);
    switch (op[0] % 10) {
    case 0:
        put(w, n, op[3]);
        break;
    case 1:
        take(w, n);
        break;
    case 2:
    case 3:
        for (unsigned i = 0; i <= op[3]; i++) {
            put(w, (uint16_t)((n + i) % KEYS), (uint8_t)i);
        }
        break;
    case 4:
        for (unsigned i = 0; i <= op[3]; i++) {
            take(w, (uint16_t)((n + i) % KEYS));
        }
        break;
    case 5:
        change_in_place(w, n, op[3]);
        break;
    case 6:
    case 7:
        scan(w, n % SCANS, op[3] % 16);
        break;
    case 8:
        walk(w);
        defragment(w, n, op[3]);
        break;
    default:
        table_prefetch_bucket(w->t, key_of(w, &n).hash);
        table_prefetch_entry(w->t, key_of(w, &n).hash);
        if (w->count) {
            ASSERT(w->keys[number_of(table_entry(table_random(w->t, rng)))].there);
        }
    }
}

static void drained(void *arg, struct entry *e) {
    ++*(uint64_t *)arg;
    entry_destroy(NULL, e);
}

static void finish(struct world *w, bool drain) {
    for (unsigned n = 0; n < KEYS; n++) {
        find(w, (uint16_t)n);
    }
    walk(w);
    check(w);
    uint64_t count = 0;
    while (drain && !table_drain(w->t, DRAIN_LIMIT, drained, &count)) {
        ASSERT(table_count(w->t) == w->count - count);
    }
    ASSERT(!drain || count == w->count);
    table_destroy(w->t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool registered; /* so that memory is counted */
    if (size < CHOICE_BYTES) {
        return 0;
    }
    if (!registered) {
        mem_thread_register();
        registered = true;
    }
    int64_t before_bytes = mem_used_bytes();
    bool prefixed = data[0] & 1, drain = data[0] & 2;
    uint64_t mask;
    memcpy(&mask, data + 1, sizeof mask);
    mask = data[0] & 4 ? UINT64_MAX : mask;
    struct rng rng = {mask};
    struct world *w = mem_zalloc(sizeof *w);
    w->t = table_create_with_hash((struct table_heaps){NULL, NULL}, mask, prefixed ? TABLE_PREFIX_BITS_MAX : 0,
                                  prefixed ? prefixed_hash : masked_hash);
    uint32_t done = 0;
    for (size_t at = CHOICE_BYTES; at + OPERATION_BYTES <= size && done < OPERATIONS_MAX;
         at += OPERATION_BYTES) {
        operate(w, data + at, &rng);
        if (++done % CHECK_EVERY == 0) {
            check(w);
        }
    }
    finish(w, drain);
    mem_free(w);
    ASSERT(mem_used_bytes() == before_bytes);
    return 0;
}
