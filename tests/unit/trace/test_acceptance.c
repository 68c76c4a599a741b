/* The three bars, each held and each missed by a little. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "acceptance.h"

static struct acceptance_row row(double lru, double all_lru, double s3fifo, double all_lfu) {
    struct acceptance_row r = {{0}};
    r.ratios[COLUMN_LRU] = lru;
    r.ratios[COLUMN_ALL_LRU] = all_lru;
    r.ratios[COLUMN_S3FIFO] = s3fifo;
    r.ratios[COLUMN_ALL_LFU] = all_lfu;
    return r;
}

static void test_held(void **state) {
    const struct acceptance_row rows[] = {row(0.5, 0.509, 0.45, 0.43), row(0.3, 0.291, 0.29, 0.31)};
    struct acceptance a;
    acceptance_judge(rows, 2, &a);
    assert_true(a.lru_good && a.s3fifo_good && a.lfu_good && acceptance_is_good(&a));
    assert_true(a.mean.ratios[COLUMN_LRU] > 0.3999 && a.mean.ratios[COLUMN_LRU] < 0.4001);
    assert_int_equal(a.lfu_worst_row, 1);
}

static void test_missed(void **state) {
    struct acceptance a;
    /* Better than exact LRU by more than the bar is not LRU either. */
    const struct acceptance_row lru[] = {row(0.5, 0.5, 0.5, 0.4), row(0.3, 0.289, 0.3, 0.3)};
    acceptance_judge(lru, 2, &a);
    assert_true(!a.lru_good && a.s3fifo_good && a.lfu_good && !acceptance_is_good(&a));
    assert_int_equal(a.lru_worst_row, 1);
    const struct acceptance_row s3fifo[] = {row(0.5, 0.5, 0.45, 0.452), row(0.3, 0.3, 0.3, 0.299)};
    acceptance_judge(s3fifo, 2, &a);
    assert_true(a.lru_good && !a.s3fifo_good && a.lfu_good && !acceptance_is_good(&a));
    const struct acceptance_row lfu[] = {row(0.5, 0.5, 0.5, 0.4), row(0.3, 0.3, 0.3, 0.321)};
    acceptance_judge(lfu, 2, &a);
    assert_true(a.lru_good && a.s3fifo_good && !a.lfu_good && !acceptance_is_good(&a));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
