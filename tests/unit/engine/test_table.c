/* The table against a plain model (an array of present keys), with well-spread and with colliding
 * hashes; SCAN's promise while the table grows, splits, shrinks and merges; flood cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "engine/table.h"

enum { KEYS = 20000 };
static const struct entry_origin no_origin = {0, 0};

/* Keys are 4 bytes, the number. */
static uint32_t number_of(const struct entry *e) {
    uint32_t n;
    assert_int_equal(entry_key(e).len, sizeof n);
    memcpy(&n, entry_key(e).ptr, sizeof n);
    return n;
}

static struct key key_of(const struct table *t, const uint32_t *n) {
    return table_key(t, slice_of(n, sizeof *n));
}

static int64_t ttl_of(uint32_t n) {
    return n % 3 ? EXPIRE_NEVER : 1000 + n;
}

static struct entry *entry_of(uint32_t n) {
    if (n % 7 == 0) {
        return entry_create_absent(NULL, slice_of(&n, sizeof n), ttl_of(n), no_origin);
    }
    return entry_create_string(NULL, slice_of(&n, sizeof n), SLICE("v"), ttl_of(n), no_origin);
}

static bool present(const struct table *t, uint32_t n) {
    struct key key = key_of(t, &n);
    struct table_ref ref = table_find(t, &key);
    assert_true(!ref.slot || number_of(table_entry(ref)) == n);
    return ref.slot != NULL;
}

static void add(struct table *t, uint32_t n) {
    struct key key = key_of(t, &n);
    struct table_ref ref = table_insert(t, &key, entry_of(n), n % 4096);
    assert_int_equal(number_of(table_entry(ref)), n);
    assert_int_equal(table_policy(ref), n % 4096);
    assert_int_equal(table_is_volatile(ref), ttl_of(n) != EXPIRE_NEVER);
}

static void take(struct table *t, uint32_t n) {
    struct key key = key_of(t, &n);
    struct entry *e = table_remove(t, &key, table_find(t, &key));
    assert_int_equal(number_of(e), n);
    entry_destroy(NULL, e);
}

/* Hashes that crowd: few values of the high bits, few of the low ones. */
static uint64_t crowded(uint64_t seed, const void *ptr, size_t len) {
    uint64_t h = hash_bytes(seed, ptr, len);
    return (h & 0x00000f0000000001ull) | (h & 1 ? h & 0xf000000000000000ull : h & 3ull << 62);
}
static uint64_t all_the_same(uint64_t seed, const void *ptr, size_t len) {
    return 0xdeadbeef12345678ull;
}
/* Two groups that differ in one bit deep down. */
static uint64_t deep_bit(uint64_t seed, const void *ptr, size_t len) {
    return 0xdead000012345600ull | (hash_bytes(seed, ptr, len) & 1) << 44;
}
/* A quarter of the keys fall on one spot, the rest is spread. */
static uint64_t one_spot(uint64_t seed, const void *ptr, size_t len) {
    uint64_t h = hash_bytes(seed, ptr, len);
    return h & 3 ? h : 0xabcdef0123456700ull | (h >> 8 & 0xff);
}

static void run_model(table_hash_fn hash, uint64_t seed, uint32_t keys, unsigned prefix_bits,
                      uint32_t steps) {
    struct table *t =
        table_create_with_hash((struct table_heaps){NULL, NULL}, seed, prefix_bits, hash);
    bool *model = mem_zalloc(keys * sizeof *model);
    struct rng rng = {seed};
    uint64_t count = 0;
    for (uint32_t i = 0; i < steps; i++) {
        /* The share of inserts swings, so that the table grows and shrinks several times. */
        bool adding = rng_below(&rng, 100) < (i / keys % 2 ? 15u : 85u);
        uint32_t n = (uint32_t)rng_below(&rng, keys);
        assert_int_equal(present(t, n), model[n]);
        if (adding && !model[n]) {
            add(t, n);
        } else if (!adding && model[n]) {
            take(t, n);
        } else {
            continue;
        }
        model[n] = adding;
        count += adding ? 1 : (uint64_t)-1;
        if (i % (steps / 16) == 0) {
            table_check(t);
        }
    }
    assert_int_equal(table_count(t), count);
    uint64_t with_ttl = 0, absent = 0;
    for (uint32_t n = 0; n < keys; n++) {
        assert_int_equal(present(t, n), model[n]);
        with_ttl += model[n] && ttl_of(n) != EXPIRE_NEVER;
        absent += model[n] && n % 7 == 0;
    }
    assert_int_equal(table_count_volatile(t), with_ttl);
    assert_int_equal(table_count_absent(t), absent);
    table_check(t);
    for (uint32_t n = 0; n < keys; n++) {
        if (model[n]) {
            take(t, n);
        }
    }
    table_check(t);
    assert_int_equal(table_count(t), 0);
    if (!hash) { /* memory comes back */
        assert_true(table_index_bytes(t) < 4096);
    }
    table_destroy(t);
    mem_free(model);
}

static void test_model(void **state) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
        run_model(NULL, seed, KEYS, 0, 6 * KEYS);
    }
    run_model(NULL, 9, 5, 0, 500);
    run_model(NULL, 10, 60, 0, 5000);
    run_model(NULL, 11, 900, 0, 20000);
}

static void test_model_collisions(void **state) {
    run_model(crowded, 5, 4000, 0, 40000);
    run_model(crowded, 6, 4000, 2, 40000);
    run_model(all_the_same, 7, 1500, 0, 12000);
    run_model(deep_bit, 8, 1500, 0, 12000);
    run_model(one_spot, 9, 6000, 0, 60000);
}

/* Removing six in ten leaves every segment too full to merge: each is built smaller. */
static void test_shrink(void **state) {
    struct table *t = table_create((struct table_heaps){NULL, NULL}, 1, 0);
    for (uint32_t n = 0; n < KEYS; n++) {
        add(t, n);
    }
    assert_true(table_index_bytes(t) < KEYS * 13);
    for (uint32_t n = 0; n < KEYS; n++) {
        if (n % 10 < 6) {
            take(t, n);
        }
    }
    table_check(t);
    assert_true(table_index_bytes(t) < KEYS * 4 / 10 * 21);
    table_destroy(t);
}

/* With a prefix all hashes begin alike, as in a partition. */
static uint64_t prefixed(uint64_t seed, const void *ptr, size_t len) {
    return hash_bytes(seed, ptr, len) >> 9 | 0x155ull << 55;
}

static void test_prefix(void **state) {
    run_model(prefixed, 3, KEYS, TABLE_PREFIX_BITS_MAX, 4 * KEYS);
}

static void test_flood_bounds(void **state) {
    struct table *t = table_create_with_hash((struct table_heaps){NULL, NULL}, 1, 0, all_the_same);
    for (uint32_t n = 0; n < 3000; n++) {
        add(t, n);
    }
    table_check(t);
    /* 12 bytes a key or so: neither the directory nor the segments may blow up. */
    assert_true(table_index_bytes(t) < 3000 * 40);
    for (uint32_t n = 0; n < 3000; n++) {
        assert_true(present(t, n));
    }
    table_destroy(t);
}

static void test_replace(void **state) {
    struct table *t = table_create((struct table_heaps){NULL, NULL}, 1, 0);
    uint32_t n = 8;
    add(t, n);
    struct key key = key_of(t, &n);
    struct table_ref ref = table_find(t, &key);
    struct entry *fresh = entry_create_string(NULL, key.bytes, SLICE("w"), 55, no_origin);
    struct entry *old = table_replace(t, ref, fresh);
    assert_true(slice_eq(entry_string(old), SLICE("v")));
    entry_destroy(NULL, old);
    assert_int_equal(table_count_volatile(t), 1);
    assert_true(table_is_volatile(ref));
    assert_int_equal(table_policy(ref), 8);
    entry_set_expire(fresh, EXPIRE_NEVER);
    table_update(t, ref, fresh);
    assert_int_equal(table_count_volatile(t), 0);
    assert_int_equal(table_count_marked(t), 0);
    table_set_policy(t, ref, TABLE_POLICY_MAX);
    assert_int_equal(table_count_marked(t), 1);
    assert_int_equal(table_policy(ref), TABLE_POLICY_MAX);
    assert_ptr_equal(table_entry(ref), fresh);
    table_check(t);
    table_destroy(t);
}

struct seen {
    uint8_t times[KEYS];
    uint64_t calls;
};

static void see(void *arg, struct entry *e, struct table_ref ref) {
    struct seen *s = arg;
    assert_ptr_equal(table_entry(ref), e);
    s->times[number_of(e)] += s->times[number_of(e)] < UINT8_MAX;
    s->calls++;
}

static void test_scan_at_rest(void **state) {
    const table_hash_fn hashes[] = {NULL, crowded, one_spot, all_the_same, prefixed};
    for (unsigned i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        struct table *t = table_create_with_hash((struct table_heaps){NULL, NULL}, 1,
                                                 hashes[i] == prefixed ? 9 : 0, hashes[i]);
        uint32_t keys = hashes[i] == all_the_same ? 1000 : KEYS / 4;
        for (uint32_t n = 0; n < keys; n++) {
            add(t, n);
        }
        struct seen *s = mem_zalloc(sizeof *s);
        uint64_t cursor = 0, last = 0;
        do {
            cursor = table_scan(t, cursor, see, s);
            assert_true(cursor == 0 || cursor > last); /* ascends, so it ends */
            last = cursor;
        } while (cursor);
        for (uint32_t n = 0; n < keys; n++) {
            assert_int_equal(s->times[n], 1); /* nothing twice when nothing moves */
        }
        mem_free(s);
        table_destroy(t);
    }
}

/* Even keys stay throughout, odd ones come and go; whatever the table does, the even are seen. */
static void scan_while_changing(table_hash_fn hash, uint64_t seed, uint32_t keys, bool growing) {
    struct table *t = table_create_with_hash((struct table_heaps){NULL, NULL}, seed, 0, hash);
    for (uint32_t n = 0; n < keys; n++) {
        if (n % 16 == 0 || !growing) {
            add(t, n);
        }
    }
    struct rng rng = {seed};
    struct seen *s = mem_zalloc(sizeof *s);
    uint64_t cursor = 0;
    uint32_t rounds = 0;
    do {
        cursor = table_scan(t, cursor, see, s);
        for (unsigned i = 0; i < 40; i++) {
            uint32_t n = (uint32_t)rng_below(&rng, keys);
            bool swing = rng_below(&rng, 10) == 0;
            if (n % 16 != 0 && present(t, n) != (growing != swing)) {
                growing != swing ? add(t, n) : take(t, n);
            }
        }
        ASSERT(rounds++ < 100000);
    } while (cursor);
    table_check(t);
    for (uint32_t n = 0; n < keys; n += 16) {
        assert_true(s->times[n] > 0);
    }
    mem_free(s);
    table_destroy(t);
}

static void test_scan_while_changing(void **state) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
        scan_while_changing(NULL, seed, KEYS, true);
        scan_while_changing(NULL, seed, KEYS, false);
        scan_while_changing(crowded, seed, 3000, true);
        scan_while_changing(one_spot, seed, 3000, false);
    }
}

static void test_scan_bogus(void **state) {
    struct table *t = table_create((struct table_heaps){NULL, NULL}, 1, 0);
    struct seen *s = mem_zalloc(sizeof *s);
    assert_int_equal(table_scan(t, 0, see, s), 0);
    for (uint32_t n = 0; n < 3000; n++) {
        add(t, n);
    }
    struct rng rng = {4};
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t cursor = rng_next(&rng);
        uint64_t next = table_scan(t, i ? cursor : UINT64_MAX, see, s);
        assert_true(next < 1ull << TABLE_CURSOR_BITS);
    }
    mem_free(s);
    table_destroy(t);
}

static void test_next_and_random(void **state) {
    struct table *t = table_create((struct table_heaps){NULL, NULL}, 1, 0);
    for (uint32_t n = 0; n < 500; n++) {
        add(t, n);
    }
    uint32_t times[500] = {0};
    struct table_iter it = {0};
    struct table_ref ref;
    while ((ref = table_next(t, &it)).slot) {
        times[number_of(table_entry(ref))]++;
    }
    for (uint32_t n = 0; n < 500; n++) {
        assert_int_equal(times[n], 1);
        times[n] = 0;
    }
    struct rng rng = {1};
    for (unsigned i = 0; i < 100 * 500; i++) {
        times[number_of(table_entry(table_random(t, &rng)))]++;
    }
    for (uint32_t n = 0; n < 500; n++) {
        assert_in_range(times[n], 40, 220); /* 100 expected; segments' loads differ */
    }
    for (uint32_t n = 1; n < 500; n++) {
        take(t, n);
    }
    assert_int_equal(number_of(table_entry(table_random(t, &rng))), 0);
    table_destroy(t);
}

static void drain_one(void *arg, struct entry *e) {
    ++*(uint64_t *)arg;
    entry_destroy(NULL, e);
}

static void test_drain(void **state) {
    struct table *t = table_create_with_hash((struct table_heaps){NULL, NULL}, 1, 0, one_spot);
    for (uint32_t n = 0; n < 8000; n++) {
        add(t, n);
    }
    uint64_t drained = 0, steps = 0;
    while (!table_drain(t, 100, drain_one, &drained)) {
        assert_int_equal(table_count(t), 8000 - drained);
        steps++;
    }
    assert_int_equal(drained, 8000);
    assert_true(steps > 5);
    table_destroy(t);
    table_destroy(NULL);
}

static void test_prefetch(void **state) { /* hints: nothing to see but that they do no harm */
    struct table *t = table_create((struct table_heaps){NULL, NULL}, 1, 0);
    for (uint32_t n = 0; n < 3000; n++) {
        struct key key = key_of(t, &n);
        table_prefetch_bucket(t, key.hash);
        table_prefetch_entry(t, key.hash);
        table_prefetch_value(t, key.hash);
        add(t, n);
        table_prefetch_entry(t, key.hash);
        table_prefetch_value(t, key.hash);
    }
    table_destroy(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),        cmocka_unit_test(test_model_collisions),
        cmocka_unit_test(test_prefix),       cmocka_unit_test(test_flood_bounds),
        cmocka_unit_test(test_shrink),       cmocka_unit_test(test_replace),
        cmocka_unit_test(test_scan_at_rest), cmocka_unit_test(test_scan_while_changing),
        cmocka_unit_test(test_scan_bogus),   cmocka_unit_test(test_next_and_random),
        cmocka_unit_test(test_drain),        cmocka_unit_test(test_prefetch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
