/* The hash type; see hash.h. Changed and read under the lock of its key's partition.
 *
 *   packed:   count len field len value len field value ...            searched in order
 *             count: one byte, of pairs; 255: that many or more
 *             len: one byte below 128, else four, the highest bit set, most significant first
 *   table:    a struct table of entries, field = key, with a seed of its own
 *
 * 1. At most one of `table` and pairs in `packed` is there; a table never goes back to packed.
 * 2. hash_limits bound what hash_set keeps packed, and PACKED_BYTES_MAX whatever they say.
 * 3. `len` 0: nothing was written to `packed` yet, which may be NULL then. */
#include "engine/hash.h"

#include "base/assert.h"
#include "base/mem.h"
#include "engine/defrag.h"
#include "engine/entry.h"
#include "engine/table.h"

enum {
    PACKED_BYTES_MAX = 64 * 1024 * 1024,
    PACKED_CAP_MIN = 64, /* what is more is given back when half of it is not in use */
    PACKED_LEN_BYTES_MAX = 4,
    PACKED_ALIGN_BYTES = 8,
    PACKED_START = 1, /* behind the count */
};

/* --- packed pairs --- */

static char *write_len(char *at, size_t len) {
    if (len < 0x80) {
        *at = (char)len;
        return at + 1;
    }
    uint32_t big = __builtin_bswap32((uint32_t)len | 1u << 31);
    memcpy(at, &big, sizeof big);
    return at + sizeof big;
}

static size_t packed_bytes(struct slice s) {
    return s.len + (s.len < 0x80 ? 1 : 4);
}

static char *write_slice(char *at, struct slice s) {
    at = write_len(at, s.len);
    if (s.len) {
        memcpy(at, s.ptr, s.len);
    }
    return at + s.len;
}

static const char *read_slice(const char *at, struct slice *out) {
    uint32_t len = (uint8_t)*at;
    size_t len_bytes = 1;
    if (len & 0x80) {
        memcpy(&len, at, sizeof len);
        len = __builtin_bswap32(len) & ~(1u << 31);
        len_bytes = sizeof len;
    }
    *out = slice_of(at + len_bytes, len);
    return at + len_bytes + len;
}

struct pair {
    size_t start, end; /* offsets in `packed` */
    struct slice field, value;
};

/* The pair at offset `at`, which is not the end. */
static struct pair pair_at(const struct hash *h, size_t at) {
    struct pair p = {.start = at};
    const char *end = read_slice(read_slice(h->packed + at, &p.field), &p.value);
    p.end = (size_t)(end - h->packed);
    ASSERT(p.end <= h->len);
    return p;
}

static bool packed_find(const struct hash *h, struct slice field, struct pair *out) {
    for (size_t at = PACKED_START; at < h->len; at = out->end) {
        *out = pair_at(h, at);
        if (slice_eq(out->field, field)) {
            return true;
        }
    }
    return false;
}

static uint32_t packed_count(const struct hash *h) {
    if (LIKELY(h->count != HASH_COUNT_UNKNOWN)) {
        return h->count;
    }
    uint32_t count = 0;
    for (size_t at = PACKED_START; at < h->len; count++) {
        at = pair_at(h, at).end;
    }
    return count;
}

static void set_count(struct hash *h, uint32_t count) {
    h->count = count;
    h->packed[0] = (char)MIN(count, HASH_COUNT_MANY);
}

/* Memory of its own, of `cap` bytes or a few more. */
static void set_cap(struct hash *h, size_t cap) {
    cap = mem_good_size(cap);
    if (h->borrows) {
        char *own = mem_alloc(cap);
        memcpy(own, h->packed, h->len);
        h->packed = own;
        h->borrows = false;
    } else {
        h->packed = mem_realloc(h->packed, cap);
    }
    h->cap = (uint32_t)cap;
}

/* Before the first pair, and before `packed` is read by others. */
static void begin_packed(struct hash *h) {
    if (h->len == 0) {
        if (h->cap == 0) {
            set_cap(h, PACKED_START);
        }
        h->len = PACKED_START;
        set_count(h, 0);
    }
}

/* Makes the run [offset, offset + old) of `packed` `fresh` bytes long; returns where it is now. */
static char *packed_splice(struct hash *h, size_t offset, size_t old, size_t fresh) {
    size_t len = h->len - old + fresh, tail = h->len - offset - old;
    if (len > h->cap) {
        set_cap(h, len + len / 8);
    }
    char *at = h->packed + offset;
    memmove(at + fresh, at + old, tail);
    h->len = (uint32_t)len;
    if (fresh < old && !h->borrows && h->cap > PACKED_CAP_MIN && len < h->cap / 2) {
        set_cap(h, len + len / 8);
    }
    return h->packed + offset;
}

static void packed_append(struct hash *h, struct slice field, struct slice value) {
    uint32_t count = packed_count(h);
    char *at = packed_splice(h, h->len, 0, packed_bytes(field) + packed_bytes(value));
    write_slice(write_slice(at, field), value);
    set_count(h, count + 1);
}

static bool packed_set(struct hash *h, struct slice field, struct slice value) {
    struct pair p;
    if (packed_find(h, field, &p)) {
        size_t offset = p.start + packed_bytes(field);
        write_slice(packed_splice(h, offset, packed_bytes(p.value), packed_bytes(value)), value);
        return false;
    }
    begin_packed(h);
    packed_append(h, field, value);
    return true;
}

static bool fits_packed(const struct hash *h, struct slice field, struct slice value,
                        const struct hash_limits *l) {
    struct pair p;
    return field.len <= l->packed_bytes_max && value.len <= l->packed_bytes_max &&
           h->len + field.len + value.len + 2 * PACKED_LEN_BYTES_MAX <= PACKED_BYTES_MAX &&
           (packed_count(h) < l->packed_fields_max || packed_find(h, field, &p));
}

/* --- table --- */

static struct table *make_table(void) {
    uint64_t seed;
    rng_system_bytes(&seed, sizeof seed);
    return table_create((struct table_heaps){NULL, NULL}, seed, 0);
}

static struct entry *make_entry(struct slice field, struct slice value) {
    return entry_create_string(NULL, field, value, EXPIRE_NEVER, (struct entry_origin){0, 0});
}

static bool set_in_table(struct table *t, struct slice field, struct slice value) {
    struct key key = table_key(t, field);
    struct table_ref ref = table_find(t, &key);
    if (!ref.slot) {
        table_insert(t, &key, make_entry(field, value), 0);
        return true;
    }
    if (!entry_set_string(table_entry(ref), value)) {
        entry_destroy(NULL, table_replace(t, ref, make_entry(field, value)));
    }
    return false;
}

static void free_packed(struct hash *h) {
    if (!h->borrows) {
        mem_free(h->packed);
    }
    *h = (struct hash){.table = h->table};
}

static void convert_to_table(struct hash *h) {
    struct table *t = make_table();
    for (size_t at = PACKED_START; at < h->len;) {
        struct pair p = pair_at(h, at);
        bool fresh = set_in_table(t, p.field, p.value);
        ASSERT(fresh);
        at = p.end;
    }
    free_packed(h);
    h->table = t;
}

/* --- the type --- */

void hash_deinit(struct hash *h) {
    table_destroy(h->table);
    h->table = NULL;
    free_packed(h);
}

void hash_copy(struct hash *to, const struct hash *from) {
    if (!from->table) {
        if (from->len) {
            set_cap(to, from->len);
            memcpy(to->packed, from->packed, from->len);
            to->len = from->len;
            to->count = from->count;
        }
        return;
    }
    free_packed(to);
    to->table = make_table();
    struct hash_iter it = {0};
    struct slice field, value;
    while (hash_next(from, &it, &field, &value)) {
        set_in_table(to->table, field, value);
    }
}

uint64_t hash_count(const struct hash *h) {
    return h->table ? table_count(h->table) : packed_count(h);
}

struct slice hash_packed(struct hash *h) {
    ASSERT(!h->table);
    begin_packed(h);
    return slice_of(h->packed, h->len);
}

bool hash_get(const struct hash *h, struct slice field, struct slice *value) {
    if (!h->table) {
        struct pair p;
        bool found = packed_find(h, field, &p);
        if (found) {
            *value = p.value;
        }
        return found;
    }
    struct key key = table_key(h->table, field);
    struct table_ref ref = table_find(h->table, &key);
    if (ref.slot) {
        *value = entry_string(table_entry(ref));
    }
    return ref.slot != NULL;
}

bool hash_set(struct hash *h, struct slice field, struct slice value, const struct hash_limits *l) {
    if (!h->table && fits_packed(h, field, value, l)) {
        return packed_set(h, field, value);
    }
    if (!h->table) {
        convert_to_table(h);
    }
    return set_in_table(h->table, field, value);
}

bool hash_delete(struct hash *h, struct slice field) {
    if (!h->table) {
        struct pair p;
        if (!packed_find(h, field, &p)) {
            return false;
        }
        uint32_t count = packed_count(h);
        packed_splice(h, p.start, p.end - p.start, 0);
        set_count(h, count - 1);
        return true;
    }
    struct key key = table_key(h->table, field);
    struct table_ref ref = table_find(h->table, &key);
    if (ref.slot) {
        entry_destroy(NULL, table_remove(h->table, &key, ref));
    }
    return ref.slot != NULL;
}

size_t hash_pairs_bytes(const struct slice *pairs, uint32_t count) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < 2 * count; i++) {
        bytes += packed_bytes(pairs[i]);
    }
    return bytes;
}

void hash_append(struct hash *h, const struct slice *pairs, uint32_t count) {
    begin_packed(h);
    size_t len = h->len + hash_pairs_bytes(pairs, count);
    ASSERT(!h->table && len <= PACKED_BYTES_MAX);
    if (len > h->cap) {
        set_cap(h, len);
    }
    for (uint32_t i = 0; i < count; i++) {
        packed_append(h, pairs[2 * i], pairs[2 * i + 1]);
    }
}

static void read_entry(struct table_ref ref, struct slice *field, struct slice *value) {
    const struct entry *e = table_entry(ref);
    *field = entry_key(e);
    *value = entry_string(e);
}

bool hash_next(const struct hash *h, struct hash_iter *it, struct slice *field,
               struct slice *value) {
    if (!h->table) {
        size_t at = MAX(it->at, PACKED_START);
        if (at >= h->len) {
            return false;
        }
        struct pair p = pair_at(h, at);
        it->at = p.end;
        *field = p.field;
        *value = p.value;
        return true;
    }
    struct table_iter table_it = {it->at, it->sub};
    struct table_ref ref = table_next(h->table, &table_it);
    *it = (struct hash_iter){table_it.at, table_it.sub};
    if (ref.slot) {
        read_entry(ref, field, value);
    }
    return ref.slot != NULL;
}

struct scan {
    void (*fn)(void *arg, struct slice field, struct slice value);
    void *arg;
    uint64_t visited;
};

static void scan_entry(void *arg, struct entry *e, struct table_ref ref) {
    (void)ref;
    struct scan *s = arg;
    s->visited++;
    s->fn(s->arg, entry_key(e), entry_string(e));
}

uint64_t hash_scan(const struct hash *h, uint64_t cursor, uint64_t count,
                   void (*fn)(void *arg, struct slice field, struct slice value), void *arg) {
    if (!h->table) {
        struct hash_iter it = {0};
        struct slice field, value;
        while (hash_next(h, &it, &field, &value)) {
            fn(arg, field, value);
        }
        return 0;
    }
    struct scan s = {fn, arg, 0};
    do {
        cursor = table_scan(h->table, cursor, scan_entry, &s);
    } while (cursor && s.visited < count);
    return cursor;
}

void hash_random(const struct hash *h, struct rng *rng, struct slice *field, struct slice *value) {
    ASSERT(hash_count(h) > 0);
    if (h->table) {
        read_entry(table_random(h->table, rng), field, value);
        return;
    }
    struct hash_iter it = {0};
    for (uint64_t skip = rng_below(rng, packed_count(h)) + 1; skip > 0; skip--) {
        bool more = hash_next(h, &it, field, value);
        ASSERT(more);
    }
}

size_t hash_memory_bytes(const struct hash *h, uint32_t samples) {
    if (!h->table) {
        return h->borrows || !h->packed ? 0 : mem_size(h->packed);
    }
    uint64_t count = table_count(h->table), measured = 0, sum = 0;
    struct table_iter it = {0};
    struct table_ref ref;
    while ((samples == 0 || measured < samples) && (ref = table_next(h->table, &it)).slot) {
        sum += entry_memory_bytes(table_entry(ref), 0);
        measured++;
    }
    double entries = measured ? (double)sum / (double)measured * (double)count : 0;
    return table_index_bytes(h->table) + (size_t)entries;
}

static void drain_entry(void *arg, struct entry *e) {
    (void)arg;
    entry_destroy(NULL, e);
}

bool hash_drain(struct hash *h, uint64_t limit) {
    if (!h->table) {
        free_packed(h);
        return true;
    }
    return table_drain(h->table, limit, drain_entry, NULL);
}

void hash_defrag(struct hash *h, struct defrag *d, uint64_t *cursor) {
    if (*cursor == 0) {
        if (h->packed && !h->borrows) {
            h->packed = defrag_move(d, h->packed, h->cap, PACKED_ALIGN_BYTES);
        }
        if (h->table) {
            h->table = table_defrag_self(h->table, d);
        }
    }
    if (!h->table) {
        *cursor = 0;
        return;
    }
    do {
        *cursor = table_defrag(h->table, *cursor, d);
    } while (*cursor && !defrag_is_spent(d));
}
