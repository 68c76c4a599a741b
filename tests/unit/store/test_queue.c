#include "fixture.h"
#include "store/queue.h"

static struct store_request *make(struct mapping *m, int64_t queued_us) {
    const struct slice value = SLICE("x");
    struct store_request *r = store_request_create(m, &value, NULL);
    r->queued_us = queued_us;
    return r;
}

static uint32_t take(void *count, const struct mapping *m) {
    return *(uint32_t *)count;
}

/* Of the mapping that is `ctx` alone. */
static uint32_t take_only(void *ctx, const struct mapping *m) {
    return m == ctx ? 10 : 0;
}

static uint32_t free_list(struct store_request *list, const struct mapping *only) {
    uint32_t count = 0;
    int64_t last_us = INT64_MIN;
    while (list) {
        struct store_request *next = list->next;
        if (only) {
            assert_ptr_equal(list->map, only);
            assert_true(list->queued_us >= last_us);
            last_us = list->queued_us;
        }
        store_request_destroy(list);
        list = next;
        count++;
    }
    return count;
}

static void test_longest_waiting_first(void **state) {
    struct mapping *a = fixture_map("a a:{i} table=t as=hash");
    struct mapping *b = fixture_map("b b:{i} table=t as=hash");
    struct queue q = {0};
    assert_null(queue_pop(&q, take, &(uint32_t){10}));
    assert_true(queue_oldest_us(&q) == INT64_MAX);
    for (int i = 0; i < 10; i++) {
        queue_push(&q, make(a, 10 + i));
        queue_push(&q, make(b, 15 + i));
    }
    assert_int_equal(queue_oldest_us(&q), 10);
    assert_int_equal(free_list(queue_pop(&q, take, &(uint32_t){4}), a), 4); /* 10..13 */
    assert_int_equal(queue_oldest_us(&q), 14);
    assert_int_equal(free_list(queue_pop(&q, take, &(uint32_t){4}), a), 4); /* 14..17 */
    assert_int_equal(free_list(queue_pop(&q, take, &(uint32_t){2}), b), 2); /* 15, 16 */
    assert_int_equal(free_list(queue_pop_older(&q, 18), NULL), 1);          /* b's 17 */
    assert_int_equal(queue_oldest_us(&q), 18);
    assert_int_equal(q.count, 9);
    struct mapping *c = fixture_map("c c:{i} table=t as=hash");
    queue_push(&q, make(c, 100));
    assert_int_equal(free_list(queue_pop(&q, take_only, c), c), 1); /* though it is the youngest */
    assert_null(queue_pop(&q, take_only, c));
    assert_false(queue_fits(&q, take_only, c));
    assert_true(queue_fits(&q, take_only, a) && queue_fits(&q, take_only, b));
    assert_int_equal(queue_oldest_us(&q), 18);
    mapping_unref(c);
    assert_int_equal(free_list(queue_pop_older(&q, INT64_MAX), NULL), 9);
    assert_int_equal(q.lines_count, 0);
    queue_deinit(&q);
    mapping_unref(a);
    mapping_unref(b);
}

/* Of many lines: those that are emptied go, wherever they stand, and the others stay whole. */
static void test_older_of_many_lines(void **state) {
    enum { LINES = 9, EACH = 4 };
    struct mapping *m[LINES];
    struct queue q = {0};
    for (int i = 0; i < LINES; i++) {
        m[i] = fixture_map("a a:{i} table=t as=hash");
        for (int k = 0; k < EACH; k++) {
            /* Lines 0, 3, 6 are old, 1, 4, 7 half old, 2, 5, 8 young. */
            queue_push(&q, make(m[i], i % 3 * 2 + k));
        }
    }
    assert_int_equal(free_list(queue_pop_older(&q, 4), NULL), 3 * EACH + 3 * EACH / 2);
    assert_int_equal(q.count, 3 * EACH + 3 * EACH / 2);
    assert_int_equal(q.lines_count, 6);
    assert_int_equal(queue_oldest_us(&q), 4);
    assert_int_equal(free_list(queue_pop_older(&q, 4), NULL), 0);
    uint32_t left = 0;
    for (int i = 0; i < 6; i++) {
        left += free_list(queue_pop(&q, take, &(uint32_t){EACH}), NULL);
    }
    assert_int_equal(left, 3 * EACH + 3 * EACH / 2);
    assert_int_equal(q.count, 0);
    queue_deinit(&q);
    for (int i = 0; i < LINES; i++) {
        mapping_unref(m[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longest_waiting_first),
        cmocka_unit_test(test_older_of_many_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
