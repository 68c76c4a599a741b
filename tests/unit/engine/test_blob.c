/* Who has a large value, and what only replies have. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/blob.h"

enum { LEN = 20000, ROUNDS = 20000 };

static void test_orphans(void **state) {
    (void)state;
    struct blob *alone = blob_create(LEN, LEN), *b = blob_create(LEN, LEN);
    size_t bytes = blob_memory_bytes(b);
    assert_true(bytes >= sizeof *b + LEN && !blob_is_pinned(b));
    blob_drop(alone);
    blob_pin(b, false);
    blob_pin(b, false);
    assert_true(blob_is_pinned(b));
    assert_int_equal(blob_orphan_part(b), 0);
    assert_int_equal(blob_orphans_bytes(), 0);
    blob_drop(b);
    assert_int_equal(blob_orphans_bytes(), bytes);
    assert_int_equal(blob_orphan_part(b), bytes / 2);
    blob_unpin(b);
    assert_int_equal(blob_orphans_bytes(), bytes);
    assert_int_equal(blob_orphan_part(b), bytes);
    blob_unpin(b);
    assert_int_equal(blob_orphans_bytes(), 0);
}

/* The pins are gone before the owner is. */
static void test_no_orphan(void **state) {
    (void)state;
    struct blob *b = blob_create(LEN, LEN);
    blob_pin(b, false);
    blob_unpin(b);
    assert_false(blob_is_pinned(b));
    blob_drop(b);
    assert_int_equal(blob_orphans_bytes(), 0);
}

static void test_exempt(void **state) {
    (void)state;
    struct blob *b = blob_create(LEN, LEN);
    blob_pin(b, false);
    blob_pin(b, true);
    blob_drop(b);
    assert_int_equal(blob_orphans_bytes(), 0);
    assert_int_equal(blob_orphan_part(b), 0);
    blob_unpin(b);
    blob_unpin(b);
    assert_int_equal(blob_orphans_bytes(), 0);
}

struct race {
    struct blob *b;
    pthread_barrier_t begins, ends;
};

static void *unpin_each(void *arg) {
    struct race *r = arg;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&r->begins);
        blob_unpin(r->b);
        pthread_barrier_wait(&r->ends);
    }
    return NULL;
}

/* Whichever comes last frees it, and nothing is left of the sum. */
static void test_dropped_while_unpinned(void **state) {
    (void)state;
    struct race r = {0};
    pthread_t thread;
    pthread_barrier_init(&r.begins, NULL, 2);
    pthread_barrier_init(&r.ends, NULL, 2);
    assert_int_equal(pthread_create(&thread, NULL, unpin_each, &r), 0);
    for (int i = 0; i < ROUNDS; i++) {
        r.b = blob_create(1, 1);
        blob_pin(r.b, false);
        pthread_barrier_wait(&r.begins);
        blob_drop(r.b);
        pthread_barrier_wait(&r.ends);
        assert_int_equal(blob_orphans_bytes(), 0);
    }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&r.begins);
    pthread_barrier_destroy(&r.ends);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orphans),
        cmocka_unit_test(test_no_orphan),
        cmocka_unit_test(test_exempt),
        cmocka_unit_test(test_dropped_while_unpinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
