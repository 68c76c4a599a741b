/* Operations on one partition: lifecycle of keys, TTL, watchers, statistics, sweep and drain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "keys.h"

static const struct entry_origin no_origin = {0, 0}, some_origin = {3, 4};
static const struct compact_from compact_any = {0}, compact_2_percent = {.percent = 2};

struct fixture {
    struct keyspace *ks;
    struct partition *p; /* locked */
    struct hmap_node watch;
    unsigned touched, flushed;
    char last[64];
};

static struct fixture fix; /* the callback has no argument of its own */

static void on_touched(struct partition *p, unsigned db, const struct key *key) {
    ASSERT(p->lock.held);
    if (!key) {
        fix.flushed++;
        return;
    }
    fix.touched++;
    snprintf(fix.last, sizeof fix.last, "%u:%.*s", db, SLICE_FMT(key->bytes));
}

static int setup(void **state) {
    memset(&fix, 0, sizeof fix);
    fix.ks = keyspace_create(1, 99, on_touched);
    fix.p = fix.ks->partitions[0];
    lock_take(&fix.p->lock);
    hmap_insert(&fix.p->watched, &fix.watch, 1);
    return 0;
}

static int teardown(void **state) {
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        if (fix.p->db[db]) {
            table_check(fix.p->db[db]);
        }
    }
    heap_check(&fix.p->heap);
    heap_check(&fix.p->large_heap);
    heap_check(&fix.p->index_heap);
    hmap_remove(&fix.p->watched, &fix.watch);
    lock_release(&fix.p->lock);
    keyspace_destroy(fix.ks);
    return 0;
}

/* A key of partition 0. */
struct text {
    char bytes[KEY_TEXT_CHARS];
    struct key key;
};

static struct key *key_of(struct text *t, unsigned n) {
    t->key = key_in(fix.p, t->bytes, n);
    return &t->key;
}

static void assert_string(const struct entry *e, const char *text) {
    assert_non_null(e);
    assert_true(slice_eq(entry_string(e), slice_str(text)));
}

static void test_set_find_delete(void **state) {
    struct text t;
    struct key *k = key_of(&t, 1);
    struct partition *p = fix.p;
    assert_null(part_find(p, 0, k, 10, FIND_COUNT | FIND_TOUCH));
    part_set_string(p, 0, k, SLICE("one"), EXPIRE_NEVER);
    assert_int_equal(fix.touched, 1);
    assert_string(part_find(p, 0, k, 10, FIND_COUNT | FIND_TOUCH), "one");
    assert_null(part_find(p, 1, k, 10, 0));
    assert_int_equal(p->stats.hits, 1);
    assert_int_equal(p->stats.misses, 1);
    const struct entry *e = part_peek(p, 0, k, 10);
    part_set_string(p, 0, k, SLICE("two"), EXPIRE_NEVER);
    assert_ptr_equal(part_peek(p, 0, k, 10), e); /* in its memory */
    assert_string(e, "two");
    part_set_string(p, 0, k, SLICE("much longer than it was before, by far"), 500);
    assert_string(part_peek(p, 0, k, 10), "much longer than it was before, by far");
    assert_int_equal(table_count_volatile(p->db[0]), 1);
    part_set_string(p, 0, k, SLICE("much longer than it was before, by FAR"), EXPIRE_NEVER);
    assert_int_equal(table_count_volatile(p->db[0]), 0); /* SET drops the TTL */
    assert_true(entry_expire_ms(part_peek(p, 0, k, 10)) == EXPIRE_NEVER);
    assert_int_equal(fix.touched, 4);
    assert_string(part_find(p, 0, k, 10, FIND_COUNT), "much longer than it was before, by FAR");
    assert_true(part_delete(p, 0, k, 10));
    assert_false(part_delete(p, 0, k, 10));
    assert_int_equal(fix.touched, 5);
    assert_null(part_peek(p, 0, k, 10));
}

static struct blob *large_blob(char fill) {
    struct blob *b = blob_create(20000, 20000);
    memset(b->bytes, fill, 20000);
    return b;
}

static void assert_large(const struct key *k, char fill, int64_t expire_ms) {
    const struct entry *e = part_peek(fix.p, 0, k, 10);
    assert_non_null(e);
    assert_int_equal(entry_string(e).len, 20000);
    assert_int_equal(entry_string(e).ptr[19999], fill);
    assert_true(entry_expire_ms(e) == expire_ms);
    assert_int_equal(entry_origin(e).mapping, 0);
}

static void test_set_blob(void **state) {
    struct text t;
    struct key *k = key_of(&t, 1);
    struct partition *p = fix.p;
    part_set_blob(p, 0, k, large_blob('a'), EXPIRE_NEVER); /* a new key */
    assert_large(k, 'a', EXPIRE_NEVER);
    const struct entry *e = part_peek(p, 0, k, 10);
    part_set_blob(p, 0, k, large_blob('b'), EXPIRE_NEVER);
    assert_ptr_equal(part_peek(p, 0, k, 10), e);
    assert_large(k, 'b', EXPIRE_NEVER);
    part_set_blob(p, 0, k, large_blob('c'), 500); /* there is no room for a TTL */
    assert_large(k, 'c', 500);
    assert_int_equal(table_count_volatile(p->db[0]), 1);
    part_set_blob(p, 0, k, large_blob('d'), EXPIRE_NEVER);
    assert_large(k, 'd', EXPIRE_NEVER);
    assert_int_equal(table_count_volatile(p->db[0]), 0);
    part_set_string(p, 0, k, SLICE("small"), EXPIRE_NEVER);
    part_set_blob(p, 0, k, large_blob('e'), EXPIRE_NEVER);
    assert_large(k, 'e', EXPIRE_NEVER);
    assert_int_equal(fix.touched, 6);
    part_put(p, 0, k, entry_create_string(&p->heap, k->bytes, SLICE("row"), 900, some_origin));
    part_set_blob(p, 0, k, large_blob('f'), EXPIRE_NEVER);
    assert_large(k, 'f', EXPIRE_NEVER);
}

static void test_update_keeps(void **state) {
    struct text t;
    struct key *k = key_of(&t, 1);
    struct entry *e = entry_create_string(&fix.p->heap, k->bytes, SLICE("row"), 900, some_origin);
    part_put(fix.p, 0, k, e);
    const char *values[] = {"abc", "a value that does not fit where the old one was", ""};
    for (unsigned i = 0; i < ARRAY_COUNT(values); i++) {
        part_update_string(fix.p, 0, k, slice_str(values[i]));
        const struct entry *now = part_peek(fix.p, 0, k, 10);
        assert_string(now, values[i]);
        assert_true(entry_expire_ms(now) == 900);
        assert_int_equal(entry_origin(now).mapping, 3);
    }
    part_set_string(fix.p, 0, k, SLICE("SET"), 900); /* no row any more */
    assert_int_equal(entry_origin(part_peek(fix.p, 0, k, 10)).mapping, 0);
    assert_int_equal(fix.touched, 5);
}

static void test_resize(void **state) {
    struct text t;
    struct key *k = key_of(&t, 1);
    size_t len = 0;
    while (len < 20000) { /* APPEND of a byte, then of more */
        size_t more = len < 500 ? 1 : 111;
        char *bytes = part_resize_string(fix.p, 0, k, len + more, 10);
        memset(bytes + len, 'x', more);
        len += more;
    }
    struct slice s = entry_string(part_peek(fix.p, 0, k, 10));
    assert_int_equal(s.len, len);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(s.ptr[i], 'x');
    }
    assert_true(entry_is_raw(part_peek(fix.p, 0, k, 10)));
    part_set_expire(fix.p, 0, k, 50, 10);
    part_resize_string(fix.p, 0, k, len + 1, 20);
    assert_true(entry_expire_ms(part_peek(fix.p, 0, k, 20)) == 50);
    part_resize_string(fix.p, 0, k, 5, 60); /* expired: made anew */
    assert_int_equal(fix.p->stats.expired, 1);
    assert_memory_equal(entry_string(part_peek(fix.p, 0, k, 60)).ptr, "\0\0\0\0\0", 5);
    struct key *absent = key_of(&t, 2);
    part_put(fix.p, 0, absent, entry_create_absent(&fix.p->heap, absent->bytes, 1000, some_origin));
    part_resize_string(fix.p, 0, absent, 1, 60);
    assert_int_equal(entry_string(part_peek(fix.p, 0, absent, 2000)).len, 1);
    part_resize_string(fix.p, 0, key_of(&t, 3), 0, 60); /* APPEND of nothing makes the key */
    assert_non_null(part_peek(fix.p, 0, key_of(&t, 3), 60));
}

static void test_expire(void **state) {
    struct text t;
    struct key *k = key_of(&t, 1);
    struct partition *p = fix.p;
    assert_false(part_set_expire(p, 0, k, 100, 10));
    part_set_string(p, 0, k, SLICE("v"), EXPIRE_NEVER);
    assert_true(part_set_expire(p, 0, k, 100, 10));
    assert_int_equal(table_count_volatile(p->db[0]), 1);
    assert_string(part_peek(p, 0, k, 99), "v");
    assert_true(part_set_expire(p, 0, k, EXPIRE_NEVER, 50));
    assert_int_equal(table_count_volatile(p->db[0]), 0);
    assert_string(part_peek(p, 0, k, 1000), "v");
    assert_true(part_set_expire(p, 0, k, 200, 50));
    assert_int_equal(fix.touched, 4);
    assert_null(part_find(p, 0, k, 200, FIND_COUNT));
    assert_int_equal(p->stats.expired, 1);
    assert_int_equal(p->stats.misses, 1);
    assert_int_equal(fix.touched, 5);
    assert_int_equal(table_count(p->db[0]), 0);
    part_set_string(p, 0, k, SLICE("v"), 300);
    assert_false(part_delete(p, 0, k, 300));
    assert_int_equal(p->stats.expired, 2);
    part_set_string(p, 0, k, SLICE("v"), 300);
    assert_false(part_move_key((struct key_place){p, 0, k}, (struct key_place){p, 1, k}, 300));
    part_set_string(p, 0, k, SLICE("v"), 300);
    assert_false(part_set_expire(p, 0, k, 400, 300));
    assert_int_equal(p->stats.expired, 4);
}

static void test_absent(void **state) {
    struct text t;
    struct key *k = key_of(&t, 1);
    struct partition *p = fix.p;
    part_put(p, 0, k, entry_create_absent(&fix.p->heap, k->bytes, 100, some_origin));
    fix.touched = 0;
    assert_non_null(part_find(p, 0, k, 10, FIND_COUNT));
    assert_int_equal(p->stats.misses, 1);
    assert_int_equal(p->stats.hits, 0);
    assert_null(part_peek(p, 0, k, 10));
    assert_false(part_move_key((struct key_place){p, 0, k}, (struct key_place){p, 1, k}, 10));
    assert_false(part_set_expire(p, 0, k, 500, 10));
    assert_null(part_find(p, 0, k, 100, 0)); /* goes silently */
    assert_int_equal(p->stats.expired, 0);
    part_put(p, 0, k, entry_create_absent(&fix.p->heap, k->bytes, 100, some_origin));
    fix.touched = 0;
    assert_false(part_delete(p, 0, k, 10));
    assert_null(part_find(p, 0, k, 10, 0));
    assert_int_equal(fix.touched, 0);
}

static void test_move_key(void **state) {
    struct text t, u;
    struct key *from = key_of(&t, 1), *to = key_of(&u, 2);
    part_set_string(fix.p, 0, from, SLICE("v"), 700);
    const struct key_place here = {fix.p, 0, from}, there = {fix.p, 3, to};
    assert_true(part_move_key(here, there, 10));
    assert_false(part_move_key(here, there, 10));
    assert_null(part_peek(fix.p, 0, from, 10));
    assert_string(part_peek(fix.p, 3, to, 10), "v");
    assert_true(entry_expire_ms(part_peek(fix.p, 3, to, 10)) == 700);
    assert_int_equal(fix.touched, 3);
    char expected[64];
    snprintf(expected, sizeof expected, "3:%.*s", SLICE_FMT(to->bytes));
    assert_string_equal(fix.last, expected);
}

/* Watchers hear of each change once, and it counts as a use. */
static void test_put_hash(void **state) {
    static const struct hash_limits limits = {128, 64};
    struct text t;
    struct key *k = key_of(&t, 1);
    struct hash view = {0}, *h = &view;
    for (unsigned n = 0; n < 200; n++) {
        char field = (char)n;
        hash_set(h, slice_of(&field, 1), SLICE("some value"), &limits);
        fix.ks->now_s = 10000 + n;
        part_put_hash(fix.p, 0, k, h);
        assert_int_equal(fix.touched, n + 1);
        assert_true(part_idle_s(fix.p, 0, k, (10000 + n) * 1000ll) <= 1);
        h = entry_hash(part_peek(fix.p, 0, k, 10), &view);
        assert_int_equal(hash_count(h), n + 1);
    }
    assert_false(hash_is_packed(h));
}

static void test_unwatched(void **state) {
    struct text t;
    hmap_remove(&fix.p->watched, &fix.watch);
    part_set_string(fix.p, 0, key_of(&t, 1), SLICE("v"), EXPIRE_NEVER);
    part_flush(fix.p, 0);
    assert_int_equal(fix.touched + fix.flushed, 0);
    hmap_insert(&fix.p->watched, &fix.watch, 1);
}

static void test_sweep(void **state) {
    struct text t;
    struct partition *p = fix.p;
    for (unsigned n = 0; n < 3000; n++) {
        int64_t expire_ms = n % 3 == 0 ? EXPIRE_NEVER : n % 3 == 1 ? 100 : 200;
        part_set_string(p, n % 2 ? 0 : 5, key_of(&t, n), SLICE("v"), expire_ms);
    }
    fix.touched = 0;
    part_maintain(p, 50, 100000);
    assert_int_equal(p->stats.expired, 0);
    part_maintain(p, 100, 70); /* bounded: at most ten buckets */
    assert_in_range(p->stats.expired, 1, 150);
    for (unsigned i = 0; p->stats.expired < 1000; i++) {
        part_maintain(p, 100, 700);
        ASSERT(i < 100);
    }
    assert_int_equal(fix.touched, 1000);
    assert_int_equal(table_count(p->db[0]) + table_count(p->db[5]), 2000);
    assert_int_equal(p->ttl[0].sum_ms / (int64_t)p->ttl[0].count / 50, 2); /* 150 or 100 left */
    for (unsigned i = 0; p->stats.expired < 2000; i++) {
        part_maintain(p, 200, 700);
        ASSERT(i < 100);
    }
    assert_false(part_maintain(p, 200, 700));
    assert_int_equal(table_count(p->db[0]) + table_count(p->db[5]), 1000);
}

/* Under `k`, gone at 90 ms when it `expires`. */
static void put_large_hash(struct partition *p, unsigned db, struct key *k, unsigned fields,
                           bool expires) {
    const struct hash_limits limits = {128, 64};
    struct hash h = {0};
    char bytes[16];
    for (unsigned n = 0; n < fields; n++) {
        int len = snprintf(bytes, sizeof bytes, "%u", n);
        hash_set(&h, slice_of(bytes, (size_t)len), SLICE("v"), &limits);
    }
    part_put(p, db, k,
             entry_create_hash(&p->heap, k->bytes, &h, expires ? 90 : EXPIRE_NEVER, no_origin));
}

static void test_drain(void **state) {
    struct text t;
    struct partition *p = fix.p;
    struct key *k = key_of(&t, 1);
    put_large_hash(p, 0, k, 5000, true);
    assert_true(part_delete(p, 0, k, 10));
    assert_int_equal(p->drain_count, 1);
    unsigned steps = 0;
    while (part_maintain(p, 10, 100)) {
        steps++;
    }
    assert_in_range(steps, 2, 6);
    assert_int_equal(p->drain_count, 0);
    /* FLUSHDB of a table that holds a large hash and a large string */
    put_large_hash(p, 0, k, 5000, true);
    part_resize_string(p, 0, key_of(&t, 2), 2 * DRAIN_BLOB_BYTES, 10);
    for (unsigned n = 3; n < 5000; n++) {
        part_set_string(p, 0, key_of(&t, n), SLICE("v"), EXPIRE_NEVER);
    }
    part_flush(p, 0);
    assert_int_equal(fix.flushed, 1);
    part_flush(p, 0); /* nothing there */
    assert_int_equal(fix.flushed, 1);
    assert_null(part_peek(p, 0, key_of(&t, 3), 10));
    part_set_string(p, 0, key_of(&t, 3), SLICE("new"), EXPIRE_NEVER);
    for (steps = 0; part_drain_step(p); steps++) {
        ASSERT(steps < 100);
    }
    assert_true(steps > 8);
    assert_string(part_peek(p, 0, key_of(&t, 3), 10), "new");
    part_discard(p, NULL);
}

/* What its heaps have not filled is given back. */
static void test_part_trim(void **state) {
    static const char bytes[2000];
    struct partition *p = fix.p;
    struct text t;
    part_set_string(p, 0, key_of(&t, 1), slice_of(bytes, sizeof bytes), EXPIRE_NEVER);
    assert_true(heap_block_bytes(&p->large_heap) >= BLOCK_BYTES);
    part_trim(p);
    part_trim(p);
    assert_true(heap_block_bytes(&p->large_heap) < BLOCK_BYTES / 8);
    assert_true(part_find(p, 0, key_of(&t, 1), 0, 0) != NULL);
}

/* What a step frees is counted in fields, also where a flushed table holds many hashes that are not
 * large each: a step would hold the lock for as long as all of a segment's take. */
static void test_drain_counts_fields(void **state) {
    enum { HASHES = 300, FIELDS = 1000, STEP_MAX = 2 * DRAIN_STEP_FIELDS };
    struct partition *p = fix.p;
    struct text t;
    for (unsigned n = 0; n < HASHES; n++) {
        struct key *k = key_of(&t, n);
        put_large_hash(p, 0, k, FIELDS, false);
    }
    part_flush(p, 0);
    unsigned steps = 0;
    while (part_drain_step(p)) {
        steps++;
        assert_true(p->drain_count <= HASHES + 1);
    }
    assert_in_range(steps, HASHES * FIELDS / STEP_MAX, HASHES * 2);
    assert_int_equal(p->drain_count, 0);
    assert_int_equal(p->heap.live_bytes, 0);
}

/* Growing without evictions, no room is made for ghosts, which is copied each time; from the first
 * eviction on there is some. */
static void test_ghosts_from_first_eviction(void **state) {
    enum { KEYS = 20000, FEW = 500 };
    struct keyspace_params params = {.policy = EVICT_ALL_LFU};
    struct partition *p = fix.p;
    struct text t;
    keyspace_set_params(fix.ks, &params);
    for (unsigned n = 0; n < KEYS; n++) {
        part_set_string(p, 0, key_of(&t, n), SLICE("v"), EXPIRE_NEVER);
    }
    assert_int_equal(p->ghosts.count, 0);
    lock_release(&p->lock);
    assert_int_equal(keyspace_evict(fix.ks, 0, 10, 1), 1);
    lock_take(&p->lock);
    assert_true(p->ghosts.count * sizeof *p->ghosts.sets > KEYS);
    part_flush(p, 0);
    for (unsigned n = 0; n < FEW; n++) {
        part_set_string(p, 0, key_of(&t, n), SLICE("v"), EXPIRE_NEVER);
    }
    assert_true(p->ghosts.count * sizeof *p->ghosts.sets < 2 * FEW);
}

/* Entries of several databases and index segments move, and are found where they were. */
static void test_compact(void **state) {
    enum { KEYS = 60000 };
    struct partition *p = fix.p;
    struct text t;
    uint32_t kept = 0;
    for (int i = 0; i < KEYS; i++) {
        struct key *k = key_of(&t, i);
        part_set_string(p, i % 3 ? 0 : 5, k, k->bytes, i % 2 ? EXPIRE_NEVER : 1000000 + i);
    }
    for (int i = 0; i < KEYS; i++) {
        if (i % 5) {
            part_delete(p, i % 3 ? 0 : 5, key_of(&t, i), 10);
        } else {
            kept++;
        }
    }
    uint64_t before = heap_block_bytes(&p->heap) + heap_block_bytes(&p->index_heap);
    uint64_t moved = 0;
    for (uint32_t step; (step = part_compact(p, compact_2_percent, 50)) > 0; moved += step) {
        assert_true(step <= 51 && moved < 100 * KEYS);
    }
    uint64_t after = heap_block_bytes(&p->heap) + heap_block_bytes(&p->index_heap);
    assert_true(moved > kept / 4 && after < before / 2);
    table_check(p->db[0]);
    table_check(p->db[5]);
    for (int i = 0; i < KEYS; i += 5) {
        struct key *k = key_of(&t, i);
        struct entry *e = part_peek(p, i % 3 ? 0 : 5, k, 10);
        assert_true(e && slice_eq(entry_string(e), k->bytes));
        assert_true(entry_expire_ms(e) == (i % 2 ? EXPIRE_NEVER : 1000000 + i));
    }
    for (int i = 5; i < KEYS; i += 10) { /* holes again, but flushed: nothing may move */
        part_delete(p, i % 3 ? 0 : 5, key_of(&t, i), 10);
    }
    part_flush(p, 0);
    assert_int_equal(part_compact(p, compact_any, 50), 0);
    while (part_drain_step(p)) {
    }
    while (part_compact(p, compact_2_percent, 50)) {
    }
    table_check(p->db[5]);
}

enum { LARGE_MAX = 6200 };

static struct slice large_value(char *text, int i, size_t len) {
    memset(text, 'a' + i % 26, len);
    return (struct slice){text, len};
}

static void set_all_large(int keys, size_t len, unsigned shuffle) {
    static char text[LARGE_MAX];
    struct text t;
    for (int n = 0; n < keys; n++) {
        int i = (int)((unsigned)n * shuffle % (unsigned)keys);
        part_set_string(fix.p, 0, key_of(&t, i), large_value(text, i, len), EXPIRE_NEVER);
    }
}

static void check_all_large(int keys, size_t len) {
    static char text[LARGE_MAX];
    struct text t;
    for (int i = 0; i < keys; i++) {
        struct entry *e = part_peek(fix.p, 0, key_of(&t, i), 10);
        assert_true(e && slice_eq(entry_string(e), large_value(text, i, len)));
    }
}

/* Holes of few per cent are many bytes a key where values are large: closed down to bytes a key. */
static void test_compact_bytes_an_object(void **state) {
    enum { KEYS = 9973, BYTES = 12, LAST = 2051 };
    const struct compact_from fine = {.percent = 100, .bytes_an_object = BYTES};
    struct partition *p = fix.p;
    set_all_large(KEYS, 4096, 1);
    set_all_large(KEYS, 6149, 31);
    set_all_large(KEYS, LAST, 77);
    assert_true(heap_hole_bytes(&p->large_heap) > (uint64_t)KEYS * 2 * BYTES);
    for (uint32_t step, moved = 0; (step = part_compact(p, fine, 50)) > 0; moved += step) {
        assert_true(moved < 20 * KEYS);
    }
    assert_true(heap_hole_bytes(&p->large_heap) <= (uint64_t)KEYS * BYTES);
    assert_true(heap_hole_bytes(&p->heap) < BLOCK_BYTES);
    check_all_large(KEYS, LAST);
    assert_int_equal(part_compact(p, fine, 50), 0);
    table_check(p->db[0]);
}

/* While memory is short and spans have holes, what comes goes to blocks; to spans again later. */
static void test_compact_pressed(void **state) {
    enum { KEYS = 3989 };
    struct partition *p = fix.p;
    set_all_large(KEYS, 4096, 1);
    assert_int_equal(part_compact(p, (struct compact_from){.percent = 2, .pressed = true}, 50), 0);
    set_all_large(KEYS, 4096, 31);
    assert_true(p->heap.live_bytes == 0); /* holes of one size are filled: nothing to close */
    set_all_large(KEYS / 2, 1500, 31);
    while (part_compact(p, (struct compact_from){.percent = 2, .pressed = true}, 50)) {
    }
    uint64_t before = p->large_heap.live_bytes;
    set_all_large(KEYS, 5000, 77);
    assert_true(p->large_heap.live_bytes < before && p->heap.live_bytes > 4000ul * KEYS);
    check_all_large(KEYS, 5000);
    part_maintain(p, 10, 0); /* without maxmemory it is not short */
    set_all_large(KEYS, 3000, 31);
    assert_true(p->heap.live_bytes == 0 && p->large_heap.live_bytes > 3000ul * KEYS);
    while (part_compact(p, compact_2_percent, 50)) {
    }
    check_all_large(KEYS, 3000);
    table_check(p->db[0]);
}

static void test_destroy_with_drain(void **state) { /* leaks show under sanitizers */
    struct text t;
    struct key *k = key_of(&t, 1);
    put_large_hash(fix.p, 0, k, 5000, true);
    part_flush(fix.p, 0);
    put_large_hash(fix.p, 1, k, 5000, true);
    part_delete(fix.p, 1, k, 10);
    assert_int_equal(fix.p->drain_count, 2);
}

static void test_idle_and_frequency(void **state) {
    struct text t;
    struct key *k = key_of(&t, 1);
    struct partition *p = fix.p;
    fix.ks->now_s = 10000;
    part_set_string(p, 0, k, SLICE("v"), EXPIRE_NEVER);
    assert_int_equal(part_idle_s(p, 0, k, 10000 * 1000), 0);
    assert_int_equal(part_idle_s(p, 0, k, 10007 * 1000), 7);
    fix.ks->now_s = 10005;
    part_find(p, 0, k, 10005 * 1000, 0); /* no touch */
    assert_int_equal(part_idle_s(p, 0, k, 10007 * 1000), 7);
    part_find(p, 0, k, 10005 * 1000, FIND_TOUCH);
    assert_int_equal(part_idle_s(p, 0, k, 10007 * 1000), 2);
    part_set_idle_s(p, 0, k, 1000, 10007 * 1000);
    assert_int_equal(part_idle_s(p, 0, k, 10008 * 1000), 1001);
    assert_int_equal(part_frequency(p, 0, k, 10007 * 1000), 0);
    keyspace_set_params(fix.ks, &(struct keyspace_params){.policy = EVICT_ALL_LFU});
    fix.ks->now_s = 10080;
    part_set_string(p, 0, key_of(&t, 2), SLICE("v"), EXPIRE_NEVER);
    assert_int_equal(part_frequency(p, 0, &t.key, 10080 * 1000), 0);
    part_find(p, 0, &t.key, 10080 * 1000, FIND_TOUCH);
    assert_int_equal(part_frequency(p, 0, &t.key, 10080 * 1000), 1);
    for (uint32_t frequency = 0; frequency <= 5; frequency++) {
        part_set_frequency(p, 0, &t.key, frequency, 10080 * 1000);
        assert_int_equal(part_frequency(p, 0, &t.key, 10080 * 1000), frequency);
    }
    part_set_frequency(p, 0, &t.key, 200, 10080 * 1000); /* from a server that counts further */
    assert_int_equal(part_frequency(p, 0, &t.key, 10080 * 1000), 5);
    k = &t.key;
    table_check(p->db[0]);
    assert_int_equal(part_idle_s(p, 0, k, 10080 * 1000), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_set_find_delete),
        TEST(test_set_blob),
        TEST(test_update_keeps),
        TEST(test_resize),
        TEST(test_expire),
        TEST(test_absent),
        TEST(test_move_key),
        TEST(test_put_hash),
        TEST(test_unwatched),
        TEST(test_sweep),
        TEST(test_drain),
        TEST(test_drain_counts_fields),
        TEST(test_ghosts_from_first_eviction),
        TEST(test_part_trim),
        TEST(test_compact),
        TEST(test_compact_bytes_an_object),
        TEST(test_compact_pressed),
        TEST(test_destroy_with_drain),
        TEST(test_idle_and_frequency),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
