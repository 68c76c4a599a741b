/* Reading traces: keys, sizes, what is refused and where. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "trace_file.h"

static struct trace *must_read(const char *text, const struct trace_how *how) {
    char error[TRACE_ERROR_BYTES] = "";
    struct trace *t = trace_of(text, how, error);
    if (!t) {
        print_error("%s\n", error);
    }
    assert_non_null(t);
    return t;
}

static void check_refused(const char *text, const char *wanted) {
    char error[TRACE_ERROR_BYTES] = "";
    assert_null(trace_of(text, NULL, error));
    if (!strstr(error, wanted)) {
        fail_msg("\"%s\" is not in \"%s\"", wanted, error);
    }
}

static void test_sizes(void **state) {
    struct trace *t = must_read("a 10\nlonger-key 3\na 10\nb\t0\r\na 12\nb 7", NULL);
    assert_int_equal(t->requests_count, 6);
    assert_int_equal(t->keys_count, 3);
    assert_false(t->unit);
    assert_true(slice_eq(trace_key(t, 1), SLICE("longer-key")));
    const uint32_t ids[] = {0, 1, 0, 2, 0, 2}, sizes[] = {10, 10, 10, 1, 12, 7};
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(t->ids[i], ids[i]);
        assert_int_equal(trace_size(t, i), sizes[i]); /* never less than the key */
    }
    assert_int_equal(t->footprint, 10 + 10 + 1);
    assert_int_equal(t->requested_bytes, 50);
    assert_int_equal(t->size_max, 12);
    trace_destroy(t);
}

static void test_fixed_sizes(void **state) {
    const struct trace_how how = {.fixed_sizes = true};
    struct trace *t = must_read("a 10\na 20\nb 5\n", &how);
    assert_null(t->sizes);
    assert_int_equal(trace_size(t, 1), 10);
    assert_int_equal(t->footprint, 15);
    trace_destroy(t);
}

static void test_unit(void **state) {
    struct trace *t = must_read("a\nb 0\na \nlong-name\n", NULL);
    assert_true(t->unit);
    assert_int_equal(t->footprint, 3);
    assert_int_equal(t->requested_bytes, 4);
    assert_int_equal(trace_size(t, 3), 1);
    trace_destroy(t);
    const struct trace_how how = {.unit = true};
    t = must_read("a 5\na 6\n", &how);
    assert_true(t->unit);
    assert_int_equal(t->footprint, 1);
    trace_destroy(t);
}

static void test_next(void **state) {
    struct trace *t = must_read("a\nb\na\nc\nb\na\n", NULL);
    trace_link(t);
    const uint32_t next[] = {2, 4, 5, TRACE_NEVER, TRACE_NEVER, TRACE_NEVER};
    assert_memory_equal(t->next, next, sizeof next);
    trace_destroy(t);
}

static void test_refused(void **state) {
    check_refused("", ": no requests");
    check_refused("a 1\n\nb 1\n", ".txt:2: an empty line");
    check_refused("a 1\nb x\n", ".txt:2: the size is not");
    check_refused("a 1\nb -4\n", ".txt:2: the size is not");
    check_refused("a 1\nb 1\nc 1 2", ".txt:3: the size is not");
    check_refused("a 1\n b 1\n", ".txt:2: a line begins with its key");
    check_refused("a 4294967296\n", ".txt:1: the size is 4 GiB");
    char *line = mem_alloc(TRACE_LINE_BYTES_MAX + 3);
    memset(line, 'k', TRACE_LINE_BYTES_MAX + 2);
    line[TRACE_LINE_BYTES_MAX + 2] = '\0';
    check_refused(line, ".txt:1: a line of more than 64 KiB");
    mem_free(line);
    char error[TRACE_ERROR_BYTES];
    struct trace *t;
    const struct trace_how how = {false, false};
    assert_false(trace_read(&t, "/nonexistent/trace", &how, error));
    assert_string_equal(error, "/nonexistent/trace: No such file or directory");
}

/* More keys than the table of ids begins with, and more text than a chunk. */
static void test_many(void **state) {
    enum { KEYS = 100000, ROUNDS = 2 };
    char *text = mem_alloc((size_t)KEYS * ROUNDS * 24), *at = text;
    for (int i = 0; i < KEYS * ROUNDS; i++) {
        at += sprintf(at, "user:%d %d\n", i % KEYS * 7, 100 + i % KEYS % 50);
    }
    struct trace *t = must_read(text, NULL);
    mem_free(text);
    assert_int_equal(t->keys_count, KEYS);
    assert_int_equal(t->requests_count, KEYS * ROUNDS);
    assert_null(t->sizes);
    for (uint32_t i = 0; i < KEYS * ROUNDS; i++) {
        assert_int_equal(t->ids[i], i % KEYS);
    }
    assert_true(slice_eq(trace_key(t, 99999), SLICE("user:699993")));
    assert_int_equal(trace_size(t, KEYS + 73), 100 + 73 % 50);
    trace_destroy(t);
}

static void test_xz(void **state) {
    if (system("command -v xz >/dev/null") != 0) {
        skip();
    }
    char *name = trace_file("a 1\nb 2\n", ".txt"), command[128], packed[80];
    snprintf(command, sizeof command, "xz %s", name);
    snprintf(packed, sizeof packed, "%s.xz", name);
    assert_int_equal(system(command), 0);
    const struct trace_how how = {false, false};
    char error[TRACE_ERROR_BYTES] = "";
    struct trace *t;
    assert_true(trace_read(&t, packed, &how, error));
    assert_int_equal(t->requests_count, 2);
    trace_destroy(t);
    assert_int_equal(truncate(packed, 30), 0);
    assert_false(trace_read(&t, packed, &how, error));
    assert_non_null(strstr(error, ".xz: "));
    unlink(packed);
    free(name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),   cmocka_unit_test(test_fixed_sizes),
        cmocka_unit_test(test_unit),    cmocka_unit_test(test_next),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_many),
        cmocka_unit_test(test_xz),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
