#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/mem.h"
#include "ds/buf.h"

static void test_append_and_consume(void **state) {
    struct buf b = {0};
    buf_append(&b, NULL, 0);
    buf_append_slice(&b, SLICE("abc"));
    buf_append_char(&b, 'd');
    buf_printf(&b, "%s-%d", "efg", 42);
    assert_true(slice_eq(buf_slice(&b), SLICE("abcdefg-42")));
    buf_consume(&b, 0);
    buf_consume(&b, 3);
    assert_true(slice_eq(buf_slice(&b), SLICE("defg-42")));
    buf_consume(&b, b.len);
    assert_int_equal(b.len, 0);
    buf_append_char(&b, 'x');
    assert_true(slice_eq(buf_slice(&b), SLICE("x")));
    buf_free(&b);
    assert_null(b.ptr);
    buf_free(&b);
}

static void test_growth_doubles(void **state) {
    struct buf b = {0};
    unsigned moves = 0;
    size_t cap = 0;
    for (int i = 0; i < 1000000; i++) {
        buf_append_char(&b, (char)i);
        moves += b.cap != cap;
        cap = b.cap;
    }
    assert_true(moves < 24);
    for (int i = 0; i < 1000000; i++) {
        assert_true(b.ptr[i] == (char)i);
    }
    buf_free(&b);
}

static void test_reserve_keeps_length(void **state) {
    struct buf b = {0};
    buf_append_slice(&b, SLICE("abc"));
    char *room = buf_reserve(&b, 100000);
    assert_ptr_equal(room, b.ptr + 3);
    assert_int_equal(b.len, 3);
    assert_true(b.cap >= 100003);
    memset(room, 'x', 100000);
    assert_memory_equal(b.ptr, "abcx", 4);
    buf_free(&b);
}

/* Grown by the page without losing a byte; taken over it can be freed like any other. */
static void test_pages(void **state) {
    struct buf b = {0};
    mem_thread_register();
    int64_t before = mem_used_bytes(), own = mem_thread_bytes();
    for (size_t i = 0; i < 3 * BUF_STEP_MAX; i += 3) {
        size_t cap = b.cap, next = buf_next_cap(&b, 3);
        buf_append(&b, &i, 3);
        assert_int_equal(b.cap, next);
        assert_true(b.cap - cap <= BUF_STEP_MAX);
        if (i % 99 == 0) {
            assert_true(mem_used_bytes() - before >= (int64_t)b.cap);
            assert_true(mem_thread_bytes() - own >= (int64_t)b.cap);
        }
    }
    for (size_t i = 0; i < b.len; i += 3) {
        assert_memory_equal(b.ptr + i, &i, 3);
    }
    size_t len = b.len;
    char *bytes = buf_detach(&b);
    assert_true(b.ptr == NULL && b.cap == 0);
    assert_true(mem_used_bytes() - before < (int64_t)len * 3 / 2);
    for (size_t i = 0; i < len; i += 3) {
        assert_memory_equal(bytes + i, &i, 3);
    }
    mem_free(bytes);
    buf_reserve_exact(&b, BUF_PAGES_MIN - 1);
    buf_append(&b, "x", 1);
    buf_reserve_exact(&b, 3 * BUF_PAGES_MIN);
    assert_int_equal(b.ptr[0], 'x');
    assert_true(b.cap < 3 * BUF_PAGES_MIN + 2 * MEM_PAGE_BYTES);
    buf_free(&b);
    assert_true(mem_used_bytes() - before < 64 * 1024);
    assert_null(buf_detach(&b));
    mem_thread_unregister();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_consume),
        cmocka_unit_test(test_growth_doubles),
        cmocka_unit_test(test_reserve_keeps_length),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
