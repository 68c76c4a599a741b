/* The open loop's schedule: fixed times, no drift, due count the inverse of due time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "schedule.h"
#include "base/rng.h"

static void test_due_times(void **state) {
    struct schedule s = schedule_make(1000, 1e6); /* one a microsecond */
    assert_int_equal(schedule_due_ns(&s, 0), 1000);
    assert_int_equal(schedule_due_ns(&s, 5), 6000);
}

static void test_nothing_is_due_before_the_start(void **state) {
    struct schedule s = schedule_make(1000, 1e6);
    assert_int_equal(schedule_due_count(&s, 999), 0);
    assert_int_equal(schedule_due_count(&s, 1000), 1);
    assert_int_equal(schedule_due_count(&s, 1999), 1);
    assert_int_equal(schedule_due_count(&s, 2000), 2);
}

static void test_no_drift(void **state) {
    struct schedule s = schedule_make(0, 3); /* an interval that is no whole number */
    assert_int_equal(schedule_due_ns(&s, 3000000), INT64_C(1000000) * 1000000000);
}

static void test_count_inverts_time(void **state) {
    struct rng rng = {.state = 3};
    for (int i = 0; i < 10000; i++) {
        struct schedule s = schedule_make(12345, 1 + (double)rng_below(&rng, 3000000));
        uint64_t n = rng_below(&rng, 100000000);
        int64_t due_ns = schedule_due_ns(&s, n);
        assert_int_equal(schedule_due_count(&s, due_ns), n + 1);
        assert_int_equal(schedule_due_count(&s, due_ns - 1), n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_due_times),
        cmocka_unit_test(test_nothing_is_due_before_the_start),
        cmocka_unit_test(test_no_drift),
        cmocka_unit_test(test_count_inverts_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
