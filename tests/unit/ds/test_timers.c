#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/rng.h"
#include "ds/timers.h"

enum { COUNT = 300 };

struct item {
    struct timer timer;
    unsigned fired;
};

struct log {
    struct timers *timers;
    int64_t last_us;
    unsigned count;
};

static void on_fire(struct timer *t, void *arg) {
    struct log *log = arg;
    assert_false(timer_is_set(t));
    assert_true(t->when_us >= log->last_us);
    log->last_us = t->when_us;
    log->count++;
    CONTAINER_OF(t, struct item, timer)->fired++;
}

static void fire_again(struct timer *t, void *arg) {
    struct log *log = arg;
    log->count++;
    timers_set(log->timers, t, t->when_us);
}

static void test_empty(void **state) {
    struct timers t = {0};
    assert_true(timers_next_us(&t) == INT64_MAX);
    assert_int_equal(timers_run(&t, INT64_MAX, 10, NULL), 0);
    struct timer unset = {.fire = on_fire};
    timers_cancel(&t, &unset);
    timers_free(&t);
}

static void test_due_ones_fire_in_order(void **state) {
    struct timers t = {0};
    struct item items[5] = {0};
    const int64_t when[] = {50, 10, 40, 20, 30};
    for (int i = 0; i < 5; i++) {
        items[i].timer.fire = on_fire;
        timers_set(&t, &items[i].timer, when[i]);
    }
    assert_int_equal(timers_next_us(&t), 10);
    struct log log = {.timers = &t};
    assert_int_equal(timers_run(&t, 9, 10, &log), 0);
    assert_int_equal(timers_run(&t, 30, 2, &log), 2);
    assert_int_equal(timers_run(&t, 30, 10, &log), 1);
    assert_int_equal(items[4].fired, 1);
    timers_set(&t, &items[0].timer, 35); /* moved forward */
    timers_cancel(&t, &items[2].timer);
    timers_cancel(&t, &items[2].timer);
    assert_false(timer_is_set(&items[2].timer));
    assert_int_equal(timers_next_us(&t), 35);
    assert_int_equal(timers_run(&t, 100, 10, &log), 1);
    assert_int_equal(t.count, 0);
    timers_free(&t);
}

static void test_limit_holds_against_rearming(void **state) {
    struct timers t = {0};
    struct timer timer = {.fire = fire_again};
    struct log log = {.timers = &t};
    timers_set(&t, &timer, 5);
    assert_int_equal(timers_run(&t, 5, 100, &log), 100);
    assert_int_equal(log.count, 100);
    assert_true(timer_is_set(&timer));
    timers_free(&t);
}

/* Sets, moves and cancels by chance; the earliest is compared with a search. */
static void test_against_model(void **state) {
    struct timers t = {0};
    struct item items[COUNT] = {0};
    struct rng rng = {.state = 4};
    size_t set = 0;
    for (int i = 0; i < 20000; i++) {
        struct timer *timer = &items[rng_below(&rng, COUNT)].timer;
        timer->fire = on_fire;
        set -= timer_is_set(timer);
        if (rng_below(&rng, 3)) {
            timers_set(&t, timer, (int64_t)rng_below(&rng, 1000));
            set++;
        } else {
            timers_cancel(&t, timer);
        }
        int64_t earliest = INT64_MAX;
        for (int j = 0; j < COUNT; j++) {
            if (timer_is_set(&items[j].timer)) {
                earliest = MIN(earliest, items[j].timer.when_us);
            }
        }
        assert_true(timers_next_us(&t) == earliest);
        assert_int_equal(t.count, set);
    }
    struct log log = {.timers = &t};
    assert_int_equal(timers_run(&t, 1000, SIZE_MAX, &log), set);
    timers_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_due_ones_fire_in_order),
        cmocka_unit_test(test_limit_holds_against_rearming),
        cmocka_unit_test(test_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
