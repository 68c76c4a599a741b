#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/slice.h"

static const struct slice NONE; /* no pointer, no bytes */

static void test_equality(void **state) {
    assert_true(slice_eq(SLICE("a\0b"), SLICE("a\0b")));
    assert_false(slice_eq(SLICE("a\0b"), SLICE("a\0c")));
    assert_false(slice_eq(SLICE("a"), SLICE("ab")));
    assert_true(slice_eq(NONE, SLICE("")));
    assert_true(slice_eq_nocase(SLICE("GeT"), SLICE("gEt")));
    assert_false(slice_eq_nocase(SLICE("get"), SLICE("got")));
    assert_false(slice_eq_nocase(SLICE("get\0"), SLICE("get")));
}

static void test_prefix_and_order(void **state) {
    assert_true(slice_has_prefix(SLICE("user:1"), SLICE("user:")));
    assert_false(slice_has_prefix(SLICE("use"), SLICE("user:")));
    assert_true(slice_has_prefix(SLICE("a"), NONE));
    assert_true(slice_has_prefix(NONE, NONE));
    assert_true(slice_cmp(SLICE("a"), SLICE("b")) < 0);
    assert_true(slice_cmp(SLICE("b"), SLICE("abc")) > 0);
    assert_true(slice_cmp(SLICE("ab"), SLICE("abc")) < 0);
    assert_true(slice_cmp(SLICE("\xff"), SLICE("a")) > 0);
    assert_true(slice_cmp(NONE, SLICE("")) == 0);
}

static void test_hash_depends_on_seed_and_bytes(void **state) {
    assert_true(hash_bytes(1, "abc", 3) == hash_bytes(1, "abc", 3));
    assert_true(hash_bytes(1, "abc", 3) != hash_bytes(2, "abc", 3));
    assert_true(hash_bytes(1, "abc", 3) != hash_bytes(1, "abd", 3));
}

static void test_rng(void **state) {
    struct rng a = {.state = 5}, b = {.state = 5};
    unsigned seen = 0;
    for (int i = 0; i < 1000; i++) {
        assert_true(rng_next(&a) == rng_next(&b));
        uint64_t below = rng_below(&a, 10);
        assert_true(below < 10);
        seen |= 1u << below;
        rng_next(&b);
    }
    assert_int_equal(seen, 1023);
    assert_true(rng_below(&a, 0) == 0);
    uint64_t bytes[200] = {0}; /* more than the kernel gives in one go uninterrupted */
    rng_system_bytes(bytes, sizeof bytes);
    assert_true(bytes[0] != 0 && bytes[199] != 0 && bytes[0] != bytes[199]);
}

static void test_clock(void **state) {
    int64_t us = clock_mono_us(), ns = clock_mono_ns();
    assert_true(us > 0 && ns / 1000 >= us);
    assert_true(clock_mono_ns() >= ns);
    int64_t ms = clock_wall_ms();
    assert_true(ms > 1600000000000);
    assert_true(clock_wall_us() / 1000 >= ms);
    assert_true(clock_ticks_per_us() > 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_prefix_and_order),
        cmocka_unit_test(test_hash_depends_on_seed_and_bytes),
        cmocka_unit_test(test_rng),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
