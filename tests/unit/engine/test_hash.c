/* The hash type in both encodings against a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "engine/hash.h"

static const struct hash_limits limits = {128, 64};
enum { FIELDS = 2000, VALUE_BYTES = 300 };

struct text {
    char bytes[16];
    struct slice slice;
};

static struct slice field_of(struct text *t, uint32_t n) {
    int len = snprintf(t->bytes, sizeof t->bytes, n % 11 ? "f%u" : "field-%u", n);
    return slice_of(t->bytes, (size_t)len);
}

static uint32_t number_of(struct slice field) {
    uint32_t n = 0;
    for (size_t i = 0; i < field.len; i++) {
        if (field.ptr[i] >= '0' && field.ptr[i] <= '9') {
            n = n * 10 + (uint32_t)(field.ptr[i] - '0');
        }
    }
    return n;
}

/* Model: the length of each field's value, -1 when it is not there; its bytes all are 'a' + len %
 * 26. */
static void check_all(const struct hash *h, const int *model, uint32_t fields) {
    uint64_t count = 0;
    uint8_t *seen = mem_zalloc(fields);
    char expected[VALUE_BYTES];
    struct text text;
    struct slice field, value;
    for (uint32_t n = 0; n < fields; n++) {
        bool found = hash_get(h, field_of(&text, n), &value);
        assert_int_equal(found, model[n] >= 0);
        if (found) {
            memset(expected, 'a' + model[n] % 26, sizeof expected);
            assert_true(slice_eq(value, slice_of(expected, (size_t)model[n])));
            count++;
        }
    }
    assert_int_equal(hash_count(h), count);
    struct hash_iter it = {0};
    while (hash_next(h, &it, &field, &value)) {
        uint32_t n = number_of(field);
        assert_true(n < fields && model[n] == (int)value.len);
        seen[n]++;
        count--;
    }
    assert_int_equal(count, 0);
    for (uint32_t n = 0; n < fields; n++) {
        assert_int_equal(seen[n], model[n] >= 0);
    }
    mem_free(seen);
}

static void run_model(uint64_t seed, uint32_t fields, size_t value_max, bool stays_packed) {
    struct rng rng = {seed};
    struct hash own = {0}, *h = &own;
    int *model = mem_alloc(fields * sizeof *model);
    memset(model, -1, fields * sizeof *model);
    char bytes[VALUE_BYTES];
    struct text text;
    for (uint32_t i = 0; i < fields * 12; i++) {
        uint32_t n = (uint32_t)rng_below(&rng, fields);
        struct slice field = field_of(&text, n);
        if (rng_below(&rng, 100) < 60) {
            size_t len = rng_below(&rng, value_max + 1);
            memset(bytes, 'a' + (int)(len % 26), sizeof bytes);
            assert_int_equal(hash_set(h, field, slice_of(bytes, len), &limits), model[n] < 0);
            model[n] = (int)len;
        } else {
            assert_int_equal(hash_delete(h, field), model[n] >= 0);
            model[n] = -1;
        }
        if (i % (fields * 2) == 0) {
            check_all(h, model, fields);
        }
    }
    check_all(h, model, fields);
    assert_int_equal(hash_is_packed(h), stays_packed);
    assert_true(hash_memory_bytes(h, 0) > hash_count(h) * 3);
    struct hash other = {0}, *copy = &other;
    hash_copy(copy, h);
    assert_int_equal(hash_is_packed(copy), stays_packed);
    hash_deinit(h);
    check_all(copy, model, fields);
    hash_deinit(copy);
    mem_free(model);
}

static void test_model(void **state) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        run_model(seed, 20, 64, true);
        run_model(seed, 120, 64, true);
        run_model(seed, 20, VALUE_BYTES, false);
        run_model(seed, FIELDS, 64, false);
    }
}

static void test_limits(void **state) {
    struct text text;
    char bytes[65];
    memset(bytes, 'x', sizeof bytes);
    struct hash own = {0}, *h = &own;
    for (uint32_t n = 0; n < 128; n++) {
        assert_true(hash_set(h, field_of(&text, n), slice_of(bytes, 64), &limits));
    }
    assert_true(hash_is_packed(h));
    assert_false(hash_set(h, field_of(&text, 5), slice_of(bytes, 3), &limits));
    assert_true(hash_is_packed(h)); /* an update is no 129th field */
    assert_true(hash_set(h, SLICE("one more"), SLICE("v"), &limits));
    assert_false(hash_is_packed(h));
    assert_int_equal(hash_count(h), 129);
    hash_deinit(h);
    hash_set(h, SLICE("f"), slice_of(bytes, 65), &limits);
    assert_false(hash_is_packed(h));
    hash_deinit(h);
    hash_set(h, slice_of(bytes, 65), SLICE(""), &limits);
    assert_false(hash_is_packed(h));
    hash_deinit(h);
}

/* Lengths around the two forms of a packed length. */
static void test_packed_lengths(void **state) {
    const struct hash_limits wide = {1000, 1000000};
    const size_t lengths[] = {0, 1, 127, 128, 129, 65536, 70000};
    char *bytes = mem_zalloc(70000);
    struct hash own = {0}, *h = &own;
    for (unsigned f = 0; f < ARRAY_COUNT(lengths); f++) {
        for (unsigned v = 0; v < ARRAY_COUNT(lengths); v++) {
            struct slice field = slice_of(bytes, lengths[f]), value;
            hash_set(h, field, slice_of(bytes, lengths[v]), &wide);
            assert_true(hash_get(h, field, &value));
            assert_int_equal(value.len, lengths[v]);
            assert_int_equal(hash_count(h), f + 1);
        }
    }
    assert_true(hash_is_packed(h));
    for (unsigned f = 0; f < ARRAY_COUNT(lengths); f++) {
        assert_true(hash_delete(h, slice_of(bytes, lengths[f])));
    }
    assert_int_equal(hash_count(h), 0);
    hash_deinit(h);
    mem_free(bytes);
}

static void mark(void *arg, struct slice field, struct slice value) {
    uint8_t *seen = arg;
    seen[number_of(field)] = 1;
}

/* A packed hash gives back what its deleted fields took. */
static void test_packed_shrinks(void **state) {
    enum { PACKED = 100 };
    struct hash own = {0}, *h = &own;
    struct text text;
    char value[64];
    memset(value, 'v', sizeof value);
    for (uint32_t n = 0; n < PACKED; n++) {
        hash_set(h, field_of(&text, n), slice_of(value, sizeof value), &limits);
    }
    assert_true(hash_is_packed(h) && hash_memory_bytes(h, 0) > PACKED * sizeof value);
    for (uint32_t n = PACKED; n-- > 1;) {
        assert_true(hash_delete(h, field_of(&text, n)));
    }
    assert_true(hash_memory_bytes(h, 0) < 4 * sizeof value);
    struct slice left;
    assert_true(hash_get(h, field_of(&text, 0), &left) && left.len == sizeof value);
    hash_set(h, field_of(&text, 0), SLICE(""), &limits);
    assert_true(hash_get(h, field_of(&text, 0), &left) && left.len == 0);
    assert_true(hash_delete(h, field_of(&text, 0)) && hash_count(h) == 0);
    hash_deinit(h);
}

static void test_scan(void **state) {
    struct text text;
    struct hash own = {0}, *h = &own;
    uint8_t seen[FIELDS * 3] = {0};
    for (uint32_t n = 0; n < FIELDS; n++) {
        hash_set(h, field_of(&text, n), SLICE("v"), &limits);
    }
    uint64_t cursor = 0;
    uint32_t next = FIELDS, calls = 0;
    do { /* the hash grows and loses fields meanwhile; those below 1000 stay */
        cursor = hash_scan(h, cursor, 20, mark, seen);
        calls++;
        for (unsigned i = 0; i < 20 && next < FIELDS * 3; i++, next++) {
            hash_set(h, field_of(&text, next), SLICE("v"), &limits);
            hash_delete(h, field_of(&text, next - 1000));
        }
    } while (cursor);
    assert_true(calls > 20);
    for (uint32_t n = 0; n < 1000; n++) {
        assert_int_equal(seen[n], 1);
    }
    hash_deinit(h);
    memset(seen, 0, sizeof seen);
    hash_set(h, field_of(&text, 1), SLICE("v"), &limits);
    hash_set(h, field_of(&text, 2), SLICE("v"), &limits);
    assert_int_equal(hash_scan(h, 99, 1, mark, seen), 0);
    assert_true(seen[1] && seen[2]);
    hash_deinit(h);
}

static void test_random(void **state) {
    struct text text;
    struct rng rng = {3};
    struct slice field, value;
    for (uint32_t fields = 10; fields <= 200; fields += 190) {
        struct hash own = {0}, *h = &own;
        uint32_t times[200] = {0};
        for (uint32_t n = 0; n < fields; n++) {
            hash_set(h, field_of(&text, n), SLICE("v"), &limits);
        }
        for (uint32_t i = 0; i < fields * 200; i++) {
            hash_random(h, &rng, &field, &value);
            times[number_of(field)]++;
        }
        for (uint32_t n = 0; n < fields; n++) {
            assert_in_range(times[n], 100, 400);
        }
        hash_deinit(h);
    }
}

static void test_drain(void **state) {
    struct text text;
    struct hash own = {0}, *h = &own;
    for (uint32_t n = 0; n < FIELDS; n++) {
        hash_set(h, field_of(&text, n), SLICE("v"), &limits);
    }
    uint32_t steps = 1;
    while (!hash_drain(h, 100)) {
        steps++;
    }
    assert_true(steps >= 4);
    assert_int_equal(hash_count(h), 0);
    hash_deinit(h);
    hash_set(h, SLICE("f"), SLICE("v"), &limits);
    assert_true(hash_drain(h, 1));
    hash_deinit(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),          cmocka_unit_test(test_limits),
        cmocka_unit_test(test_packed_lengths), cmocka_unit_test(test_scan),
        cmocka_unit_test(test_packed_shrinks), cmocka_unit_test(test_random),
        cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
