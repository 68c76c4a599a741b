/* Entry layouts at every boundary of key and value length, in-place changes, blobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "ds/buf.h"
#include "engine/entry.h"

static const size_t lengths[] = {0, 1, 63, 127, 254, 255, 256, 257, 8191, 8192, 8193, 65535, 65536};
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };
static const struct entry_origin no_origin = {0, 0}, some_origin = {7, 9};

static char *bytes_of(size_t len, unsigned salt) {
    char *bytes = mem_alloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(i * 31 + salt);
    }
    return bytes;
}

static void check(const struct entry *e, struct slice key, struct slice value, int64_t expire_ms,
                  struct entry_origin origin) {
    assert_int_equal(entry_type(e), VALUE_STRING);
    assert_true(slice_eq(entry_key(e), key));
    assert_true(slice_eq(entry_string(e), value));
    assert_true(entry_expire_ms(e) == expire_ms);
    assert_int_equal(entry_origin(e).mapping, origin.mapping);
    assert_int_equal(entry_origin(e).generation, origin.generation);
    assert_int_equal(entry_blob(e) != NULL, value.len > ENTRY_INLINE_BYTES_MAX);
    assert_true(entry_memory_bytes(e, 0) >= key.len + value.len + 3);
}

static void test_layouts(void **state) {
    for (unsigned k = 0; k < LENGTHS; k++) {
        for (unsigned v = 0; v < LENGTHS; v++) {
            char *key_bytes = bytes_of(lengths[k], 1), *value_bytes = bytes_of(lengths[v], 2);
            struct slice key = slice_of(key_bytes, lengths[k]);
            struct slice value = slice_of(value_bytes, lengths[v]);
            for (unsigned form = 0; form < 4; form++) {
                int64_t expire_ms = form & 1 ? 1700000000123 : EXPIRE_NEVER;
                struct entry_origin origin = form & 2 ? some_origin : no_origin;
                struct entry *e = entry_create_string(NULL, key, value, expire_ms, origin);
                check(e, key, value, expire_ms, origin);
                struct entry *copy = entry_copy(NULL, e, SLICE("other"), 5, some_origin);
                check(copy, SLICE("other"), value, 5, some_origin);
                entry_destroy(NULL, copy);
                assert_true(entry_set_expire(e, EXPIRE_NEVER));
                assert_true(entry_expire_ms(e) == EXPIRE_NEVER);
                assert_int_equal(entry_set_expire(e, 99), form & 1);
                e = entry_move(NULL, NULL, e, key, 77);
                check(e, key, value, 77, origin);
                entry_destroy(NULL, e);
            }
            mem_free(key_bytes);
            mem_free(value_bytes);
        }
    }
    entry_destroy(NULL, NULL);
}

static void test_expiry_range(void **state) {
    struct entry *e = entry_create_string(NULL, SLICE("k"), SLICE("v"), 0, no_origin);
    assert_true(entry_expire_ms(e) == 0);
    assert_true(entry_is_expired(e, 0));
    entry_set_expire(e, -5);
    assert_true(entry_expire_ms(e) == 0);
    entry_set_expire(e, ENTRY_EXPIRE_MS_MAX);
    assert_true(entry_expire_ms(e) == ENTRY_EXPIRE_MS_MAX);
    entry_set_expire(e, EXPIRE_NEVER - 1);
    assert_true(entry_expire_ms(e) == ENTRY_EXPIRE_MS_MAX);
    assert_false(entry_is_expired(e, ENTRY_EXPIRE_MS_MAX - 1));
    entry_set_expire(e, EXPIRE_NEVER);
    assert_true(entry_expire_ms(e) == EXPIRE_NEVER);
    assert_false(entry_is_expired(e, INT64_MAX - 1));
    entry_destroy(NULL, e);
}

static void test_absent(void **state) {
    struct entry *absent = entry_create_absent(NULL, SLICE("key"), 5, some_origin);
    assert_int_equal(entry_type(absent), VALUE_ABSENT);
    assert_null(entry_hash_apart(absent));
    absent = entry_move(NULL, NULL, absent, SLICE("key"), 8);
    assert_true(entry_expire_ms(absent) == 8);
    struct entry *copy = entry_copy(NULL, absent, SLICE("copy"), EXPIRE_NEVER, no_origin);
    assert_int_equal(entry_type(copy), VALUE_ABSENT);
    entry_destroy(NULL, copy);
    entry_destroy(NULL, absent);
}

/* Every change in place leaves the neighbours alone: sanitizers see what runs over. */
static void test_overwrite(void **state) {
    unsigned in_place = 0;
    for (size_t from = 0; from < 600; from += 7) {
        for (size_t to = 0; to < 600; to += 5) {
            char *old = bytes_of(from, 1), *new = bytes_of(to, 2);
            struct entry *e =
                entry_create_string(NULL, SLICE("key"), slice_of(old, from), 1234, no_origin);
            bool done = entry_set_string(e, slice_of(new, to));
            check(e, SLICE("key"), done ? slice_of(new, to) : slice_of(old, from), 1234, no_origin);
            assert_true(done || from != to);
            in_place += done;
            entry_destroy(NULL, e);
            mem_free(old);
            mem_free(new);
        }
    }
    assert_true(in_place >= 30); /* what is as long, or a byte off where there was one to spare */
}

static void test_blob_overwrite(void **state) {
    char *big = bytes_of(100000, 1), *other = bytes_of(100000, 2);
    struct entry *e =
        entry_create_string(NULL, SLICE("k"), slice_of(big, 100000), EXPIRE_NEVER, no_origin);
    struct blob *b = entry_blob(e);
    assert_true(entry_set_string(e, slice_of(other, 99000)));
    assert_ptr_equal(entry_blob(e), b);
    assert_true(slice_eq(entry_string(e), slice_of(other, 99000)));
    assert_false(entry_set_string(e, slice_of(other, 20000))); /* would waste */
    assert_false(entry_set_string(e, slice_of(other, 100)));
    blob_pin(b, false); /* a reply pins it */
    assert_false(entry_set_string(e, slice_of(big, 99000)));
    e = entry_resize_string(NULL, e, 99001);
    assert_ptr_not_equal(entry_blob(e), b);
    assert_int_equal(b->len, 99000);
    assert_memory_equal(b->bytes, other, 99000);
    assert_memory_equal(entry_string(e).ptr, other, 99000);
    entry_destroy(NULL, e);
    assert_memory_equal(b->bytes, other, 99000);
    blob_unpin(b);
    mem_free(big);
    mem_free(other);
}

static void test_resize(void **state) {
    struct entry *e = entry_create_string(NULL, SLICE("key"), SLICE("ab"), 42, some_origin);
    assert_false(entry_is_raw(e));
    size_t len = 2, moves = 0;
    while (len < 200000) {
        size_t more = len < 300 ? 1 : 1 + len / 50;
        struct entry *before = e;
        struct blob *blob_before = entry_blob(e);
        e = entry_resize_string(NULL, e, len + more);
        moves += e != before || entry_blob(e) != blob_before;
        struct slice s = entry_string(e);
        assert_int_equal(s.len, len + more);
        for (size_t i = len; i < len + more; i++) {
            assert_int_equal(s.ptr[i], 0);
        }
        assert_memory_equal(s.ptr, "ab", 2);
        assert_true(entry_is_raw(e));
        len += more;
    }
    assert_true(moves < 40);
    assert_true(slice_eq(entry_key(e), SLICE("key")));
    assert_true(entry_expire_ms(e) == 42);
    assert_int_equal(entry_origin(e).mapping, 7);
    e = entry_resize_string(NULL, e, 1);
    assert_true(slice_eq(entry_string(e), SLICE("a")));
    e = entry_resize_string(NULL, e, 3);
    assert_memory_equal(entry_string(e).ptr, "a\0\0", 3);
    struct entry *copy = entry_copy(NULL, e, SLICE("x"), EXPIRE_NEVER, no_origin);
    assert_true(entry_is_raw(copy));
    entry_destroy(NULL, copy);
    entry_destroy(NULL, e);
    e = entry_create_string(NULL, SLICE("key"), SLICE("abc"), EXPIRE_NEVER, no_origin);
    e = entry_resize_string(NULL, e, 2);
    assert_true(entry_is_raw(e));
    assert_true(slice_eq(entry_string(e), SLICE("ab")));
    copy = entry_copy(NULL, e, SLICE("x"), EXPIRE_NEVER, no_origin);
    assert_true(entry_is_raw(copy));
    assert_true(slice_eq(entry_string(copy), SLICE("ab")));
    entry_destroy(NULL, copy);
    entry_destroy(NULL, e);
}

static struct blob *blob_given_over(size_t len, unsigned salt) {
    struct buf b = {0};
    char *value = bytes_of(len, salt);
    buf_reserve_exact(&b, BLOB_HEAD_BYTES + len);
    b.len = BLOB_HEAD_BYTES;
    buf_append(&b, value, len);
    mem_free(value);
    struct blob *blob = blob_of_buf(&b, len);
    assert_null(b.ptr);
    return blob;
}

static void test_blob_of_buf(void **state) {
    const size_t sizes[] = {8193,          32768,
                            1000000,       BUF_PAGES_MIN - BLOB_HEAD_BYTES,
                            BUF_PAGES_MIN, 3 * BUF_PAGES_MIN + 1};
    mem_thread_register();
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t len = sizes[i];
        int64_t before = mem_thread_bytes();
        char *value = bytes_of(len, i), *other = bytes_of(9000, 77);
        struct slice key = SLICE("key");
        struct entry *e = entry_create_blob(NULL, key, blob_given_over(len, i), 55, some_origin);
        check(e, key, slice_of(value, len), 55, some_origin);
        assert_true(entry_memory_bytes(e, 0) < len + len / 4 + 2 * MEM_PAGE_BYTES);
        assert_true(entry_memory_bytes(e, 0) <= (size_t)(mem_thread_bytes() - before));
        struct blob *pinned = entry_blob(e);
        blob_pin(pinned, false);
        assert_true(entry_set_blob(e, blob_given_over(9000, 77)));
        assert_memory_equal(pinned->bytes, value, len); /* a reply still has it */
        blob_unpin(pinned);
        check(e, key, slice_of(other, 9000), 55, some_origin);
        assert_true(entry_set_blob(e, blob_given_over(len, i)));
        assert_true(entry_set_string(e, slice_of(value, len))); /* in its memory */
        e = entry_resize_string(NULL, e, len + 10);
        assert_memory_equal(entry_string(e).ptr, value, len);
        entry_destroy(NULL, e);
        mem_free(value);
        mem_free(other);
        assert_int_equal(mem_thread_bytes(), before);
    }
    struct entry *small = entry_create_string(NULL, SLICE("k"), SLICE("v"), 0, no_origin);
    struct blob *b = blob_given_over(9000, 1);
    assert_false(entry_set_blob(small, b)); /* it has no room for a pointer; `b` is ours still */
    blob_drop(b);
    entry_destroy(NULL, small);
}

/* Where too many are kept the value is copied: the kernel's mappings are for everybody. */
static void test_blob_of_buf_where_there_are_many(void **state) {
    void **runs = mem_alloc(MEM_KEPT_PAGES_MAX * sizeof *runs);
    for (unsigned i = 0; i < MEM_KEPT_PAGES_MAX; i++) {
        runs[i] = mem_resize_pages(NULL, 0, MEM_PAGE_BYTES);
    }
    assert_false(mem_may_keep_pages());
    int64_t before = mem_thread_bytes();
    struct blob *b = blob_given_over(BUF_PAGES_MIN, 3);
    assert_false(b->was_buf);
    char *value = bytes_of(BUF_PAGES_MIN, 3);
    assert_memory_equal(b->bytes, value, BUF_PAGES_MIN);
    mem_free(value);
    blob_drop(b);
    assert_int_equal(mem_thread_bytes(), before);
    for (unsigned i = 0; i < MEM_KEPT_PAGES_MAX; i++) {
        mem_resize_pages(runs[i], MEM_PAGE_BYTES, 0);
    }
    assert_true(mem_may_keep_pages());
    mem_free(runs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_expiry_range),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_overwrite),
        cmocka_unit_test(test_blob_overwrite),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_blob_of_buf),
        cmocka_unit_test(test_blob_of_buf_where_there_are_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
