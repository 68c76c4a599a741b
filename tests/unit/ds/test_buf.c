#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_consume),
        cmocka_unit_test(test_growth_doubles),
        cmocka_unit_test(test_reserve_keeps_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
