/* The latency histogram's error bound, percentiles and limits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "histogram.h"
#include "base/rng.h"

static struct histogram h;

static int clear(void **state) {
    histogram_clear(&h);
    return 0;
}

static void test_empty(void **state) {
    assert_int_equal(histogram_percentile(&h, 50), 0);
}

/* One value is read back within 1%, over the whole range. */
static void test_error_bound(void **state) {
    for (uint64_t value = 1; value < HISTOGRAM_VALUE_MAX / 2; value = value * 21 / 20 + 1) {
        histogram_clear(&h);
        histogram_record(&h, value, 1);
        histogram_record(&h, HISTOGRAM_VALUE_MAX, 1); /* else the maximum is exact */
        uint64_t got = histogram_percentile(&h, 50);
        uint64_t off = got > value ? got - value : value - got;
        assert_true(off * 100 <= value);
    }
}

static void test_percentiles_of_uniform(void **state) {
    for (uint64_t value = 1; value <= 100000; value++) {
        histogram_record(&h, value, 1);
    }
    assert_int_equal(h.total, 100000);
    assert_in_range(histogram_percentile(&h, 50), 49500, 50500);
    assert_in_range(histogram_percentile(&h, 99), 98010, 99990);
    assert_in_range(histogram_percentile(&h, 99.9), 98900, 100000);
    assert_int_equal(histogram_percentile(&h, 100), 100000);
}

static void test_times_and_small_values_are_exact(void **state) {
    histogram_record(&h, 7, 90);
    histogram_record(&h, 100, 10);
    assert_int_equal(histogram_percentile(&h, 90), 7);
    assert_int_equal(histogram_percentile(&h, 90.1), 100);
}

static void test_too_large_is_counted_as_largest(void **state) {
    histogram_record(&h, UINT64_MAX, 3);
    assert_int_equal(h.total, 3);
    assert_int_equal(h.max, HISTOGRAM_VALUE_MAX);
    assert_int_equal(histogram_percentile(&h, 100), HISTOGRAM_VALUE_MAX);
}

static void test_sum_equals_recording_into_one(void **state) {
    static struct histogram parts[2], whole;
    histogram_clear(&parts[0]);
    histogram_clear(&parts[1]);
    histogram_clear(&whole);
    struct rng rng = {.state = 5};
    for (uint32_t i = 0; i < 10000; i++) {
        uint64_t value = rng_below(&rng, UINT64_C(1) << rng_below(&rng, 40));
        histogram_record(&parts[i % 2], value, 1);
        histogram_record(&whole, value, 1);
    }
    histogram_add(&h, &parts[0]);
    histogram_add(&h, &parts[1]);
    assert_memory_equal(&h, &whole, sizeof(h));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, clear),
        cmocka_unit_test_setup(test_error_bound, clear),
        cmocka_unit_test_setup(test_percentiles_of_uniform, clear),
        cmocka_unit_test_setup(test_times_and_small_values_are_exact, clear),
        cmocka_unit_test_setup(test_too_large_is_counted_as_largest, clear),
        cmocka_unit_test_setup(test_sum_equals_recording_into_one, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
