/* Rates over the last samples; the memory's peak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/sampler.h"

static void test_rate(void **state) {
    struct sampler s = {0};
    uint64_t totals[SAMPLER_METRICS] = {5000, 0, 0};
    sampler_add(&s, 1000000, totals);
    assert_int_equal(sampler_rate(&s, SAMPLE_COMMANDS), 0); /* what was before the first */
    for (int i = 1; i <= SAMPLER_KEPT; i++) {
        totals[SAMPLE_COMMANDS] += 100;
        totals[SAMPLE_OUT_BYTES] += 2000;
        sampler_add(&s, 1000000 + i * 100000, totals);
    }
    assert_int_equal(sampler_rate(&s, SAMPLE_COMMANDS), 1000);
    assert_int_equal(sampler_rate(&s, SAMPLE_OUT_BYTES), 20000);
    assert_int_equal(sampler_rate(&s, SAMPLE_IN_BYTES), 0);
}

static void test_reset(void **state) {
    struct sampler s = {0};
    uint64_t totals[SAMPLER_METRICS] = {5000, 0, 0};
    sampler_add(&s, 1000000, totals);
    totals[SAMPLE_COMMANDS] = 1; /* CONFIG RESETSTAT */
    sampler_add(&s, 1100000, totals);
    assert_int_equal(sampler_rate(&s, SAMPLE_COMMANDS), 0);
}

static void test_peak(void **state) {
    struct sampler s = {0};
    assert_int_equal(sampler_peak(&s, 10), 10);
    assert_int_equal(sampler_peak(&s, 5), 10);
    assert_int_equal(sampler_peak(&s, 11), 11);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
