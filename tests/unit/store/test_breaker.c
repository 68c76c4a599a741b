#include "fixture.h"
#include "store/breaker.h"

static void test_opens_within_window(void **state) {
    struct breaker b;
    breaker_init(&b, 3, 100, 1000);
    assert_false(breaker_failed(&b, 0));
    assert_false(breaker_failed(&b, 50));
    assert_false(breaker_failed(&b, 101)); /* the first is too long ago */
    assert_true(breaker_admit(&b, 102));
    assert_true(breaker_failed(&b, 150)); /* 50, 101, 150 */
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_false(breaker_failed(&b, 151));
    breaker_succeeded(&b); /* of a call that began before */
    assert_false(breaker_admit(&b, 1149));
    assert_true(breaker_admit(&b, 1150)); /* the probe */
    assert_false(breaker_admit(&b, 1151));
    assert_true(breaker_failed(&b, 1160));
    assert_false(breaker_admit(&b, 2159));
    assert_true(breaker_admit(&b, 2160));
    breaker_succeeded(&b);
    assert_true(breaker_admit(&b, 2161));
    assert_false(breaker_failed(&b, 2162)); /* counts from the beginning again */
    assert_false(breaker_failed(&b, 2163));
    assert_true(breaker_failed(&b, 2164));
    breaker_deinit(&b);
}

static void test_probe_says_nothing(void **state) {
    struct breaker b;
    breaker_init(&b, 1, 100, 1000);
    breaker_untried(&b);
    assert_true(breaker_admit(&b, 0));
    assert_true(breaker_failed(&b, 0));
    breaker_untried(&b);
    assert_false(breaker_admit(&b, 999));
    assert_true(breaker_admit(&b, 1000));
    breaker_untried(&b);
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_true(breaker_admit(&b, 1001)); /* the next is the probe, at once */
    assert_false(breaker_admit(&b, 1002));
    breaker_deinit(&b);
}

static void test_never_opens(void **state) {
    struct breaker b;
    breaker_init(&b, 0, 0, 0);
    for (int i = 0; i < 100; i++) {
        assert_false(breaker_failed(&b, i));
        assert_true(breaker_admit(&b, i));
    }
    breaker_deinit(&b);
    breaker_init(&b, 1, 1, 10);
    assert_true(breaker_failed(&b, 5));
    assert_false(breaker_admit(&b, 14));
    breaker_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_within_window),
        cmocka_unit_test(test_probe_says_nothing),
        cmocka_unit_test(test_never_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
