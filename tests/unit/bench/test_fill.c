/* The order of a fill: every key once over all threads, shares that adjoin meet all keys once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/assert.h"
#include "fill.h"
#include "options.h"

enum { KEYS_MAX = 5000, FIRST = 100 };

static void parse(struct options *o, const char *keys, const char *order, const char *share) {
    char *arguments[] = {"loadgen",     "--op",        "set",    "--keys",      (char *)keys,
                         "--threads",   "3",           "--fill", (char *)order, "--share",
                         (char *)share, "--first-key", "100"};
    assert_true(options_parse(o, ARRAY_COUNT(arguments), arguments));
}

/* Counts each key the fill names; returns how many neighbours follow each other. */
static uint32_t run(const struct options *o, uint8_t *seen) {
    uint32_t neighbours = 0;
    for (uint32_t thread = 0; thread < o->threads; thread++) {
        struct fill f = fill_make(o, thread);
        uint64_t number, last = 0;
        while (fill_next(&f, &number)) {
            assert_in_range(number, FIRST, FIRST + o->keys - 1);
            seen[number - FIRST]++;
            neighbours += number == last + 1;
            last = number;
        }
    }
    return neighbours;
}

static void test_every_key_once(void **state) {
    (void)state;
    static const char *const counts[] = {"3", "4", "5", "1000", "4096", "5000"};
    for (uint32_t i = 0; i < ARRAY_COUNT(counts); i++) {
        for (uint32_t shuffled = 0; shuffled < 2; shuffled++) {
            struct options o;
            uint8_t seen[KEYS_MAX] = {0};
            parse(&o, counts[i], shuffled ? "shuffled" : "sequential", "0:1");
            uint32_t neighbours = run(&o, seen);
            for (uint64_t n = 0; n < o.keys; n++) {
                assert_int_equal(seen[n], 1);
            }
            if (o.keys >= 1000) {
                assert_true(shuffled ? neighbours < o.keys / 20 : neighbours > o.keys - 4);
            }
        }
    }
}

static void test_shares_adjoin(void **state) {
    (void)state;
    struct options o;
    uint8_t seen[KEYS_MAX] = {0};
    parse(&o, "5000", "shuffled", "0:0.6");
    run(&o, seen);
    uint32_t first = 0;
    for (uint32_t n = 0; n < KEYS_MAX; n++) {
        first += seen[n];
    }
    assert_in_range(first, 2850, 3150);
    parse(&o, "5000", "sequential", "0.6:1");
    run(&o, seen);
    for (uint32_t n = 0; n < KEYS_MAX; n++) {
        assert_int_equal(seen[n], 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_once),
        cmocka_unit_test(test_shares_adjoin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
