/* Zipf ranks have the right frequencies, for exponents below, at and above 1. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "zipf.h"

enum { RANKS = 1000, DRAWS = 1000000 };

static void check_frequencies(double theta) {
    static uint32_t seen[RANKS];
    memset(seen, 0, sizeof(seen));
    struct zipf z;
    struct rng rng = {.state = 11};
    zipf_init(&z, RANKS, theta);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t rank = zipf_next(&z, &rng);
        assert_true(rank < RANKS);
        seen[rank]++;
    }
    double norm = 0;
    for (int i = 1; i <= RANKS; i++) {
        norm += pow(i, -theta);
    }
    for (int i = 1; i <= RANKS; i++) {
        double expected = DRAWS * pow(i, -theta) / norm;
        assert_true(fabs(seen[i - 1] - expected) < 6 * sqrt(expected) + 6);
    }
}

static void test_frequencies(void **state) {
    check_frequencies(0.5);
    check_frequencies(0.99);
    check_frequencies(1.0);
    check_frequencies(1.5);
}

static void test_one_rank(void **state) {
    struct zipf z;
    struct rng rng = {.state = 1};
    zipf_init(&z, 1, 1.0);
    assert_int_equal(zipf_next(&z, &rng), 0);
    assert_int_equal(zipf_scatter(&z, 0), 0);
}

static void test_scatter_is_a_bijection(void **state) {
    static uint8_t hit[3000];
    for (uint64_t count = 1; count < 3000; count += 97) {
        struct zipf z;
        zipf_init(&z, count, 1.0);
        memset(hit, 0, sizeof(hit));
        for (uint64_t i = 0; i < count; i++) {
            uint64_t to = zipf_scatter(&z, i);
            assert_true(to < count);
            assert_int_equal(hit[to]++, 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_one_rank),
        cmocka_unit_test(test_scatter_is_a_bijection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
