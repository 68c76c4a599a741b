#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "ds/buf.h"
#include "ds/chain.h"

struct fixture {
    struct chunk_pool pool;
    struct chain c;
    int released;
};

static int setup(void **state) {
    struct fixture *f = mem_zalloc(sizeof *f);
    chain_init(&f->c, &f->pool);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    chain_clear(&f->c);
    chunk_pool_free(&f->pool);
    mem_free(f);
    return 0;
}

static void count_release(void *arg) {
    (*(int *)arg)++;
}

static void put(struct chain *c, const char *text) {
    chain_append(c, text, strlen(text));
}

/* All bytes not consumed yet, through as many small iovs as it takes. */
static void read_all(const struct chain *c, struct buf *out) {
    struct iovec iov[1024];
    int count = chain_iov(c, iov, ARRAY_COUNT(iov));
    out->len = 0;
    for (int i = 0; i < count; i++) {
        assert_true(iov[i].iov_len > 0);
        buf_append(out, iov[i].iov_base, iov[i].iov_len);
    }
    assert_int_equal(out->len, c->len_bytes);
}

static void assert_holds(const struct chain *c, const char *expected) {
    struct buf got = {0};
    read_all(c, &got);
    assert_true(slice_eq(buf_slice(&got), slice_str(expected)));
    buf_free(&got);
}

static void test_append_and_consume(void **state) {
    struct fixture *f = *state;
    put(&f->c, "hello ");
    char *at = chain_reserve(&f->c, 100);
    memcpy(at, "world", 5);
    chain_commit(&f->c, 5);
    assert_holds(&f->c, "hello world");
    chain_consume(&f->c, 3);
    assert_holds(&f->c, "lo world");
    put(&f->c, "!");
    assert_holds(&f->c, "lo world!");
    chain_consume(&f->c, 9);
    assert_null(f->c.head);
    assert_null(f->c.tail);
    assert_int_equal(f->pool.free_count, 1);
    chain_consume(&f->c, 0);
}

static void test_bytes_do_not_move(void **state) {
    struct fixture *f = *state;
    put(&f->c, "first");
    struct iovec before, after;
    assert_int_equal(chain_iov(&f->c, &before, 1), 1);
    for (int i = 0; i < 3 * CHUNK_BYTES; i++) {
        chain_append(&f->c, "x", 1);
    }
    assert_int_equal(chain_iov(&f->c, &after, 1), 1);
    assert_ptr_equal(before.iov_base, after.iov_base);
    assert_memory_equal(after.iov_base, "first", 5);
}

static void test_reserve_full_chunk(void **state) {
    struct fixture *f = *state;
    put(&f->c, "x");
    memset(chain_reserve(&f->c, CHUNK_BYTES), 'y', CHUNK_BYTES);
    chain_commit(&f->c, CHUNK_BYTES);
    assert_int_equal(f->c.len_bytes, CHUNK_BYTES + 1);
    struct iovec iov[3];
    assert_int_equal(chain_iov(&f->c, iov, 3), 2);
    assert_int_equal(chain_iov(&f->c, iov, 1), 1);
}

static void test_pinned_is_released_once_sent(void **state) {
    struct fixture *f = *state;
    put(&f->c, "<");
    chain_append_pinned(&f->c, SLICE("pinned"), 0, count_release, &f->released);
    put(&f->c, ">");
    assert_holds(&f->c, "<pinned>");
    chain_consume(&f->c, 6);
    assert_int_equal(f->released, 0);
    assert_holds(&f->c, "d>");
    chain_consume(&f->c, 1);
    assert_int_equal(f->released, 1);
    chain_append_pinned(&f->c, SLICE("dropped"), 0, count_release, &f->released);
    chain_clear(&f->c);
    assert_int_equal(f->released, 2);
}

/* Nothing would ever be sent of it, so nothing would ever release it. */
static void test_empty_pinned_is_released_at_once(void **state) {
    struct fixture *f = *state;
    chain_append_pinned(&f->c, SLICE(""), 0, count_release, &f->released);
    assert_int_equal(f->released, 1);
    assert_null(f->c.head);
}

static void test_rewind(void **state) {
    struct fixture *f = *state;
    struct chain_mark empty = chain_mark(&f->c);
    put(&f->c, "abc");
    struct chain_mark mark = chain_mark(&f->c);
    put(&f->c, "def");
    chain_append_pinned(&f->c, SLICE("pinned"), 0, count_release, &f->released);
    for (int i = 0; i < 3; i++) {
        memset(chain_reserve(&f->c, CHUNK_BYTES), 'y', CHUNK_BYTES);
        chain_commit(&f->c, CHUNK_BYTES);
    }
    chain_rewind(&f->c, mark);
    assert_int_equal(f->released, 1);
    assert_holds(&f->c, "abc");
    put(&f->c, "xyz");
    assert_holds(&f->c, "abcxyz");
    chain_rewind(&f->c, empty);
    assert_holds(&f->c, "");
    put(&f->c, "again");
    assert_holds(&f->c, "again");
}

static void test_rewind_keeps_what_was_sent(void **state) {
    struct fixture *f = *state;
    put(&f->c, "abcdef");
    chain_consume(&f->c, 2);
    struct chain_mark mark = chain_mark(&f->c);
    put(&f->c, "ghi");
    chain_rewind(&f->c, mark);
    assert_holds(&f->c, "cdef");
}

static void test_move(void **state) {
    struct fixture *f = *state;
    struct chain from;
    chain_init(&from, &f->pool);
    chain_move(&f->c, &from);
    assert_null(f->c.head);
    put(&from, "abc");
    chain_move(&f->c, &from); /* to an empty one */
    assert_null(from.head);
    assert_int_equal(from.len_bytes, 0);
    put(&from, "def");
    chain_move(&f->c, &from); /* fits behind the tail */
    assert_ptr_equal(f->c.head, f->c.tail);
    assert_int_equal(f->pool.free_count, 1);
    chain_append_pinned(&from, SLICE("pinned"), 0, count_release, &f->released);
    put(&from, "!");
    chain_move(&f->c, &from);
    assert_int_equal(f->released, 0);
    chain_consume(&f->c, 2);
    assert_holds(&f->c, "cdefpinned!");
    put(&f->c, "?");
    assert_holds(&f->c, "cdefpinned!?");
}

static void test_move_of_what_does_not_fit(void **state) {
    struct fixture *f = *state;
    struct chain from;
    chain_init(&from, &f->pool);
    put(&f->c, "x");
    memset(chain_reserve(&from, CHUNK_BYTES), 'y', CHUNK_BYTES);
    chain_commit(&from, CHUNK_BYTES);
    struct chunk *chunk = from.head;
    chain_move(&f->c, &from);
    assert_ptr_equal(f->c.tail, chunk);
    assert_int_equal(f->c.len_bytes, CHUNK_BYTES + 1);
}

/* Beyond the limit bytes are counted, not kept; going back makes the chain whole again. */
static void test_limit(void **state) {
    struct fixture *f = *state;
    enum { TIMES = 1000, STEP = 777 };
    static const char bytes[STEP];
    put(&f->c, "before");
    struct chain_mark mark = chain_mark(&f->c);
    chain_limit(&f->c, chain_own_bytes(&f->c) + CHAIN_LIMIT_MIN);
    for (int i = 0; i < TIMES; i++) {
        chain_append(&f->c, bytes, sizeof bytes);
        assert_int_equal(f->c.len_bytes + f->c.dropped_bytes, strlen("before") + (i + 1) * STEP);
        assert_true(f->c.len_bytes <= f->c.limit_bytes + CHUNK_BYTES);
    }
    assert_true(f->c.dropped_bytes > 0);
    struct chain_mark late = chain_mark(&f->c);
    put(&f->c, "more");
    chain_rewind(&f->c, late); /* stays dropped */
    assert_int_equal(f->c.len_bytes + f->c.dropped_bytes, strlen("before") + TIMES * STEP + 4);
    struct chain members;
    chain_init_for(&members, &f->c);
    assert_int_equal(members.limit_bytes, CHAIN_LIMIT_MIN);
    for (int i = 0; i < TIMES; i++) {
        memset(chain_reserve(&members, STEP), 'x', STEP);
        chain_commit(&members, STEP);
    }
    assert_true(members.dropped_bytes > 0);
    chain_move(&f->c, &members);
    assert_int_equal(f->c.len_bytes + f->c.dropped_bytes, strlen("before") + 2 * TIMES * STEP + 4);
    chain_rewind(&f->c, mark);
    chain_limit(&f->c, 0);
    assert_int_equal(f->c.dropped_bytes, 0);
    put(&f->c, " after");
    assert_holds(&f->c, "before after");
}

/* However near the limit is: what was there when it was set is there after going back. Values are
 * not pinned beyond it. */
static void test_limit_keeps_what_was_there(void **state) {
    struct fixture *f = *state;
    static char bytes[CHUNK_BYTES], expected[CHUNK_BYTES];
    memset(bytes, 'y', sizeof bytes);
    memset(expected, 'x', sizeof expected);
    chain_append(&f->c, expected, 1000);
    for (size_t limit = 1; limit < 3 * CHUNK_BYTES; limit += 999) {
        struct chain_mark mark = chain_mark(&f->c);
        chain_limit(&f->c, limit);
        for (int i = 0; i < 5; i++) {
            chain_append(&f->c, bytes, 1 + limit % sizeof bytes);
            chain_append_pinned(&f->c, slice_of(bytes, 9000), 0, count_release, &f->released);
        }
        assert_true(chain_own_bytes(&f->c) < limit + 3 * CHUNK_BYTES);
        chain_rewind(&f->c, mark);
        chain_limit(&f->c, 0);
        assert_int_equal(f->c.len_bytes, 1000);
        assert_memory_equal(f->c.head->data, expected, 1000);
    }
    assert_int_equal(f->released % 5, 0);
    assert_true(f->released > 0 && f->c.pinned_count == 0);
}

/* What is pinned is not the chain's own, also when the most of it has been sent. */
static void test_own_bytes_behind_a_pinned_head(void **state) {
    struct fixture *f = *state;
    static char value[100000], reply[50000];
    chain_append_pinned(&f->c, slice_of(value, sizeof value), 0, count_release, &f->released);
    size_t alone = chain_own_bytes(&f->c);
    chain_append(&f->c, reply, sizeof reply);
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(chain_own_bytes(&f->c), alone + sizeof reply);
        chain_consume(&f->c, sizeof value / 10);
    }
    chain_consume(&f->c, sizeof value / 10 + 1);
    assert_int_equal(f->released, 1);
    assert_int_equal(chain_own_bytes(&f->c), sizeof reply - 1);
}

/* Moved behind the limit: a list of its own is dropped like anything else. */
static void test_move_at_the_limit(void **state) {
    struct fixture *f = *state;
    static const char bytes[3 * CHUNK_BYTES];
    chain_append(&f->c, bytes, 10);
    struct chain_mark mark = chain_mark(&f->c);
    chain_limit(&f->c, CHUNK_BYTES);
    for (int i = 0; i < 10; i++) {
        struct chain from;
        chain_init_for(&from, &f->c);
        chain_append(&from, bytes, sizeof bytes);
        chain_append_pinned(&from, slice_of(bytes, 10), 10, count_release, &f->released);
        chain_move(&f->c, &from);
        assert_null(from.head);
    }
    assert_true(chain_own_bytes(&f->c) < 5 * CHUNK_BYTES);
    assert_int_equal(f->released, 9);
    assert_true(chain_own_bytes(&f->c) + f->c.dropped_bytes > 10 * sizeof bytes);
    chain_rewind(&f->c, mark);
    assert_int_equal(f->c.len_bytes, 10);
}

static size_t bytes_of(const void *arg) {
    return *(const size_t *)arg;
}

static void forget(void *arg) {
    (void)arg;
}

/* What pins keep is known as a sum; what of it is asked for, of the first of them. */
static void test_what_pins_keep(void **state) {
    struct fixture *f = *state;
    static size_t seven = 7, three = 3;
    struct chain from;
    chain_init(&from, &f->pool);
    put(&f->c, "<");
    chain_append_pinned(&f->c, SLICE("a piece"), 1000, forget, &seven);
    struct chain_mark mark = chain_mark(&f->c);
    chain_append_pinned(&from, SLICE("more"), 500, forget, &three);
    put(&from, ">");
    chain_move(&f->c, &from);
    assert_int_equal(from.kept_bytes, 0);
    assert_int_equal(f->c.kept_bytes, 1500);
    assert_int_equal(chain_sum_pins(&f->c, bytes_of), 10);
    chain_rewind(&f->c, mark);
    assert_int_equal(f->c.kept_bytes, 1000);
    chain_consume(&f->c, 7);
    assert_int_equal(f->c.kept_bytes, 1000); /* it is needed until its last byte is sent */
    chain_consume(&f->c, 1);
    assert_int_equal(f->c.kept_bytes, 0);
    assert_int_equal(chain_sum_pins(&f->c, bytes_of), 0);
    for (int i = 0; i < 4 * CHAIN_LOOKS_MAX; i++) {
        chain_append_pinned(&f->c, SLICE("x"), 100, forget, &seven);
    }
    assert_int_equal(chain_sum_pins(&f->c, bytes_of), 4 * CHAIN_LOOKS_MAX * 7);
}

/* What stands between two pinned values takes no whole chunk. */
static void test_between_pinned(void **state) {
    struct fixture *f = *state;
    static const char value[CHUNK_BYTES];
    mem_thread_register();
    int64_t before = mem_used_bytes();
    for (int i = 0; i < 100; i++) {
        put(&f->c, "$16320\r\n");
        chain_append_pinned(&f->c, slice_of(value, sizeof value), 0, count_release, &f->released);
        put(&f->c, "\r\n");
    }
    assert_true(mem_used_bytes() - before < 2 * CHUNK_BYTES + 100 * 512);
    memset(chain_reserve(&f->c, CHUNK_SMALL_BYTES), 'y', CHUNK_SMALL_BYTES);
    chain_commit(&f->c, CHUNK_SMALL_BYTES);
    chain_append_pinned(&f->c, slice_of(value, 10), 0, count_release, &f->released);
    memset(chain_reserve(&f->c, CHUNK_BYTES), 'z', CHUNK_BYTES);
    chain_commit(&f->c, CHUNK_BYTES);
    assert_int_equal(chain_own_bytes(&f->c),
                     100 * 10 + CHUNK_SMALL_BYTES + CHUNK_BYTES + 101 * PINNED_BYTES);
    chain_consume(&f->c, f->c.len_bytes);
    assert_int_equal(f->released, 101);
    mem_thread_unregister();
}

static void test_pool_is_bounded(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < CHUNK_POOL_FREE_MAX + 10; i++) {
        chain_commit(&f->c, (chain_reserve(&f->c, CHUNK_BYTES), CHUNK_BYTES));
    }
    chain_clear(&f->c);
    assert_int_equal(f->pool.free_count, CHUNK_POOL_FREE_MAX);
}

/* Against a plain buffer, by chance. */
static void test_against_model(void **state) {
    struct fixture *f = *state;
    struct buf model = {0}, got = {0};
    struct rng rng = {.state = 3};
    static char bytes[40000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)rng_next(&rng);
    }
    int pinned = 0;
    for (int i = 0; i < 3000; i++) {
        uint64_t kind = rng_below(&rng, 10);
        size_t len = rng_below(&rng, kind < 7 ? 200 : sizeof bytes);
        if (kind < 5 || kind == 7) {
            chain_append(&f->c, bytes, len);
            buf_append(&model, bytes, len);
        } else if (kind == 5) {
            chain_append_pinned(&f->c, slice_of(bytes, len), 0, count_release, &f->released);
            buf_append(&model, bytes, len);
            pinned++;
        } else if (kind == 6) {
            struct chain_mark mark = chain_mark(&f->c);
            chain_append(&f->c, bytes, sizeof bytes);
            chain_rewind(&f->c, mark);
        } else {
            len = MIN(len, model.len);
            chain_consume(&f->c, len);
            buf_consume(&model, len);
        }
        if (i % 50 == 0) {
            read_all(&f->c, &got);
            assert_true(slice_eq(buf_slice(&got), buf_slice(&model)));
        }
    }
    chain_clear(&f->c);
    assert_int_equal(f->released, pinned);
    buf_free(&model);
    buf_free(&got);
}

static void ignore(void *arg) {
}

/* What it holds itself: pinned bytes are another's, however they come and go. */
static void test_own_bytes(void **state) {
    struct chunk_pool pool = {0};
    struct chain a, b;
    chain_init(&a, &pool);
    chain_init(&b, &pool);
    static const char value[40000];
    chain_append(&a, "12345", 5);
    chain_append_pinned(&a, slice_of(value, sizeof value), 0, ignore, NULL);
    chain_append(&a, "678", 3);
    assert_int_equal(a.len_bytes, 40008);
    assert_int_equal(chain_own_bytes(&a), 8 + PINNED_BYTES);
    struct chain_mark mark = chain_mark(&a);
    chain_append_pinned(&a, slice_of(value, 100), 0, ignore, NULL);
    assert_int_equal(chain_own_bytes(&a), 8 + 2 * PINNED_BYTES);
    chain_rewind(&a, mark);
    assert_int_equal(a.pinned_bytes, sizeof value);
    chain_append_pinned(&b, slice_of(value, 7), 0, ignore, NULL);
    chain_append(&b, "9", 1);
    chain_move(&a, &b);
    assert_int_equal(chain_own_bytes(&a), 9 + 2 * PINNED_BYTES);
    assert_int_equal(b.pinned_bytes, 0);
    chain_consume(&a, 5 + sizeof value);
    assert_int_equal(chain_own_bytes(&a), 4 + PINNED_BYTES);
    chain_clear(&a);
    assert_int_equal(a.pinned_bytes, 0);
    chunk_pool_free(&pool);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_append_and_consume),
        T(test_bytes_do_not_move),
        T(test_reserve_full_chunk),
        T(test_pinned_is_released_once_sent),
        T(test_empty_pinned_is_released_at_once),
        T(test_rewind),
        T(test_rewind_keeps_what_was_sent),
        T(test_move),
        T(test_move_of_what_does_not_fit),
        T(test_limit),
        T(test_limit_keeps_what_was_there),
        T(test_between_pinned),
        T(test_pool_is_bounded),
        T(test_against_model),
        T(test_own_bytes_behind_a_pinned_head),
        T(test_what_pins_keep),
        T(test_move_at_the_limit),
        cmocka_unit_test(test_own_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
