#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>

#include "base/mem.h"
#include "ds/buf.h"
#include "resp/writer.h"

struct fixture {
    struct chunk_pool pool;
    struct chain out;
    struct resp_writer w;
    int released;
};

static int setup(void **state) {
    struct fixture *f = mem_zalloc(sizeof *f);
    chain_init(&f->out, &f->pool);
    f->w = (struct resp_writer){.out = &f->out, .proto = 2};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    chain_clear(&f->out);
    chunk_pool_free(&f->pool);
    mem_free(f);
    return 0;
}

/* Takes all that was written. */
static void take(struct fixture *f, struct buf *out) {
    struct iovec iov[64];
    out->len = 0;
    while (f->out.len_bytes) {
        int count = chain_iov(&f->out, iov, ARRAY_COUNT(iov));
        size_t bytes = 0;
        for (int i = 0; i < count; i++) {
            buf_append(out, iov[i].iov_base, iov[i].iov_len);
            bytes += iov[i].iov_len;
        }
        assert_true(bytes > 0);
        chain_consume(&f->out, bytes);
    }
}

static void assert_wrote(struct fixture *f, const char *expected) {
    struct buf got = {0};
    take(f, &got);
    buf_append_char(&got, '\0');
    assert_string_equal(got.ptr, expected);
    buf_free(&got);
}

#define ASSERT_BOTH(f, call, resp2, resp3)                                                         \
    do {                                                                                           \
        (f)->w.proto = 2;                                                                          \
        call;                                                                                      \
        assert_wrote(f, resp2);                                                                    \
        (f)->w.proto = 3;                                                                          \
        call;                                                                                      \
        assert_wrote(f, resp3);                                                                    \
    } while (0)

static void test_same_in_both_versions(void **state) {
    struct fixture *f = *state;
    struct resp_writer *w = &f->w;
    ASSERT_BOTH(f, resp_ok(w), "+OK\r\n", "+OK\r\n");
    ASSERT_BOTH(f, resp_simple(w, SLICE("PONG")), "+PONG\r\n", "+PONG\r\n");
    ASSERT_BOTH(f, resp_int(w, 0), ":0\r\n", ":0\r\n");
    ASSERT_BOTH(f, resp_int(w, 12345), ":12345\r\n", ":12345\r\n");
    ASSERT_BOTH(f, resp_int(w, -7), ":-7\r\n", ":-7\r\n");
    ASSERT_BOTH(f, resp_int(w, INT64_MIN), ":-9223372036854775808\r\n",
                ":-9223372036854775808\r\n");
    ASSERT_BOTH(f, resp_int(w, INT64_MAX), ":9223372036854775807\r\n", ":9223372036854775807\r\n");
    ASSERT_BOTH(f, resp_bulk(w, SLICE("hello")), "$5\r\nhello\r\n", "$5\r\nhello\r\n");
    ASSERT_BOTH(f, resp_bulk(w, (struct slice){0}), "$0\r\n\r\n", "$0\r\n\r\n");
    ASSERT_BOTH(f, resp_bulk(w, SLICE("0123456789")), "$10\r\n0123456789\r\n",
                "$10\r\n0123456789\r\n");
    ASSERT_BOTH(f, resp_bulk_int(w, 42), "$2\r\n42\r\n", "$2\r\n42\r\n");
    ASSERT_BOTH(f, resp_bulk_int(w, -42), "$3\r\n-42\r\n", "$3\r\n-42\r\n");
    ASSERT_BOTH(f, resp_array(w, 0), "*0\r\n", "*0\r\n");
    ASSERT_BOTH(f, resp_array(w, 1234567890123), "*1234567890123\r\n", "*1234567890123\r\n");
}

static void test_different_in_the_versions(void **state) {
    struct fixture *f = *state;
    struct resp_writer *w = &f->w;
    ASSERT_BOTH(f, resp_null(w), "$-1\r\n", "_\r\n");
    ASSERT_BOTH(f, resp_null_array(w), "*-1\r\n", "_\r\n");
    ASSERT_BOTH(f, resp_bool(w, true), ":1\r\n", "#t\r\n");
    ASSERT_BOTH(f, resp_bool(w, false), ":0\r\n", "#f\r\n");
    ASSERT_BOTH(f, resp_double(w, 3.25), "$4\r\n3.25\r\n", ",3.25\r\n");
    ASSERT_BOTH(f, resp_double(w, -3), "$2\r\n-3\r\n", ",-3\r\n");
    ASSERT_BOTH(f, resp_double(w, INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    ASSERT_BOTH(f, resp_double(w, -INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    ASSERT_BOTH(f, resp_double(w, NAN), "$3\r\nnan\r\n", ",nan\r\n");
    ASSERT_BOTH(f, resp_verbatim(w, "txt", SLICE("a\r\nb")), "$4\r\na\r\nb\r\n",
                "=8\r\ntxt:a\r\nb\r\n");
    ASSERT_BOTH(f, resp_map(w, 3), "*6\r\n", "%3\r\n");
    ASSERT_BOTH(f, resp_set(w, 3), "*3\r\n", "~3\r\n");
    ASSERT_BOTH(f, resp_push(w, 12), "*12\r\n", ">12\r\n");
}

static void test_errors(void **state) {
    struct fixture *f = *state;
    resp_error(&f->w, SLICE("WRONGTYPE Operation"));
    assert_wrote(f, "-WRONGTYPE Operation\r\n");
    assert_int_equal(f->w.errors, 1);
    assert_string_equal(f->w.error_prefix, "WRONGTYPE");
    resp_errorf(&f->w, "ERR bad '%s' of %d", "a\r\nb\n", 3);
    assert_wrote(f, "-ERR bad 'a  b ' of 3\r\n");
    assert_int_equal(f->w.errors, 2);
    assert_string_equal(f->w.error_prefix, "ERR");
    resp_error(&f->w, SLICE("\r\n"));
    assert_wrote(f, "-  \r\n");
    resp_error(&f->w, SLICE("ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
    assert_string_equal(f->w.error_prefix, "ABCDEFGHIJKLMNOPQRSTUVW");
    assert_int_equal(f->w.errors, 4);
}

static void test_long_error_is_cut(void **state) {
    struct fixture *f = *state;
    char text[6000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    resp_errorf(&f->w, "ERR %s", text);
    struct buf got = {0};
    take(f, &got);
    assert_int_equal(got.len, 1 + 4095 + 2);
    assert_memory_equal(got.ptr + got.len - 3, "x\r\n", 3);
    buf_free(&got);
}

/* Values of every size around the ends of chunks come out whole. */
static void test_bulk_sizes(void **state) {
    struct fixture *f = *state;
    const size_t sizes[] = {1,     9,     10,    99,    100,
                            999,   1000,  1024,  5000,  16000,
                            16300, 16310, 16320, 16321, CHUNK_BYTES * 3,
                            100000};
    struct buf expected = {0}, got = {0};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        char *value = mem_alloc(sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++) {
            value[j] = (char)(j * 31 + i);
        }
        expected.len = 0;
        for (int repeat = 0; repeat < 40; repeat++) {
            resp_bulk(&f->w, slice_of(value, sizes[i]));
            buf_printf(&expected, "$%zu\r\n", sizes[i]);
            buf_append(&expected, value, sizes[i]);
            buf_append_slice(&expected, SLICE("\r\n"));
        }
        take(f, &got);
        assert_true(slice_eq(buf_slice(&got), buf_slice(&expected)));
        mem_free(value);
    }
    buf_free(&expected);
    buf_free(&got);
}

static void count_release(void *arg) {
    (*(int *)arg)++;
}

static void test_pinned(void **state) {
    struct fixture *f = *state;
    char value[] = "pinned";
    resp_bulk_pinned(&f->w, slice_of(value, 6), 0, count_release, &f->released);
    struct iovec iov[4];
    assert_int_equal(chain_iov(&f->out, iov, 4), 3);
    assert_ptr_equal(iov[1].iov_base, value);
    assert_int_equal(f->released, 0);
    assert_wrote(f, "$6\r\npinned\r\n");
    assert_int_equal(f->released, 1);
    resp_bulk_pinned(&f->w, SLICE(""), 0, count_release, &f->released);
    assert_wrote(f, "$0\r\n\r\n");
    assert_int_equal(f->released, 2);
}

static void test_deferred_nested(void **state) {
    struct fixture *f = *state;
    struct resp_writer *w = &f->w;
    struct resp_deferred outer, map, dropped, set;
    w->proto = 3;
    resp_int(w, 1);
    resp_defer_begin(w, &outer);
    resp_int(w, 2);
    resp_defer_begin(w, &map);
    resp_bulk(w, SLICE("k"));
    resp_bulk(w, SLICE("v"));
    resp_defer_end_map(w, &map, 1);
    resp_defer_begin(w, &dropped);
    resp_bulk(w, SLICE("never seen"));
    resp_defer_cancel(w, &dropped);
    resp_defer_begin(w, &set);
    resp_defer_end_set(w, &set, 0);
    resp_defer_end_array(w, &outer, 3);
    resp_int(w, 3);
    assert_ptr_equal(w->out, &f->out);
    assert_wrote(f, ":1\r\n*3\r\n:2\r\n%1\r\n$1\r\nk\r\n$1\r\nv\r\n~0\r\n:3\r\n");
}

static void test_deferred_large(void **state) {
    struct fixture *f = *state;
    struct resp_deferred d;
    struct buf expected = {0}, got = {0};
    resp_defer_begin(&f->w, &d);
    buf_append_slice(&expected, SLICE("*50000\r\n"));
    for (int i = 0; i < 50000; i++) {
        resp_int(&f->w, i);
        buf_printf(&expected, ":%d\r\n", i);
    }
    assert_int_equal(f->out.len_bytes, 0);
    resp_defer_end_array(&f->w, &d, 50000);
    take(f, &got);
    assert_true(slice_eq(buf_slice(&got), buf_slice(&expected)));
    buf_free(&expected);
    buf_free(&got);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_same_in_both_versions),
        T(test_different_in_the_versions),
        T(test_errors),
        T(test_long_error_is_cut),
        T(test_bulk_sizes),
        T(test_pinned),
        T(test_deferred_nested),
        T(test_deferred_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
