/* Stack distances against a list that is searched, and against LRU played at each size. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "stack.h"
#include "trace_file.h"

enum { KEYS = 60, REQUESTS = 20000 }; /* times are renumbered many times over */

static struct trace *make_trace(bool sized) {
    char *text = mem_alloc(REQUESTS * 16), *at = text, error[TRACE_ERROR_BYTES];
    uint32_t draw = 99;
    for (int i = 0; i < REQUESTS; i++) {
        draw = draw * 1103515245 + 12345;
        unsigned a = (draw >> 8) % KEYS, b = (draw >> 20) % KEYS, key = a < b ? a : b;
        at += sprintf(at, "k%u %u\n", key, sized ? 10 + key * 13 % 37 : 0);
    }
    struct trace *t = trace_of(text, NULL, error);
    mem_free(text);
    assert_non_null(t);
    return t;
}

/* A list with the most recently used key in front. */
static void by_search(const struct trace *t, uint64_t capacity, struct counts *out) {
    uint32_t list[KEYS], count = 0;
    *out = (struct counts){0};
    for (uint32_t i = 0; i < t->requests_count; i++) {
        uint32_t at = 0, id = t->ids[i];
        uint64_t distance = t->key_sizes[id];
        while (at < count && list[at] != id) {
            distance += t->key_sizes[list[at++]];
        }
        counts_add(out, trace_size(t, i), at < count && distance <= capacity);
        count += at == count;
        memmove(list + 1, list, at * sizeof *list);
        list[0] = id;
    }
}

static void check_all(bool sized) {
    struct trace *t = make_trace(sized);
    uint64_t capacities[16];
    struct counts got[16], searched, played;
    for (uint64_t i = 0; i < 16; i++) {
        capacities[i] = t->size_max + (t->footprint - t->size_max) * i / 15;
        assert_true(stack_is_exact(t, capacities[i]));
    }
    stack_run(t, capacities, 16, got);
    for (int i = 0; i < 16; i++) {
        by_search(t, capacities[i], &searched);
        sim_run(t, &sim_lru, capacities[i], &played);
        assert_memory_equal(&got[i], &searched, sizeof searched);
        assert_memory_equal(&got[i], &played, sizeof played);
    }
    assert_int_equal(got[15].misses, t->keys_count);
    assert_true(got[0].misses > got[8].misses);
    trace_destroy(t);
}

static void test_objects(void **state) {
    check_all(false);
}

static void test_bytes(void **state) {
    check_all(true);
}

static void test_not_exact(void **state) {
    char error[TRACE_ERROR_BYTES];
    struct trace *t = trace_of("a 10\nb 20\na 11\n", NULL, error);
    assert_non_null(t);
    assert_false(stack_is_exact(t, 1000)); /* a changes its size */
    trace_destroy(t);
    t = trace_of("a 10\nb 20\na 10\n", NULL, error);
    assert_non_null(t);
    assert_true(stack_is_exact(t, 20));
    assert_false(stack_is_exact(t, 19)); /* b would not be stored */
    trace_destroy(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_not_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
