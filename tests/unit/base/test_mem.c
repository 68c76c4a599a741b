#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { BLOCK_BYTES = 1 << 20, THREADS = 8, ROUNDS = 6 };

static void test_sizes(void **state) {
    for (size_t size = 0; size < 5000; size += 37) {
        char *p = mem_alloc(size);
        assert_true(mem_size(p) >= size);
        assert_true(mem_good_size(size) >= size);
        memset(p, 'x', size);
        p = mem_realloc(p, size * 2);
        for (size_t i = 0; i < size; i++) {
            assert_true(p[i] == 'x');
        }
        mem_free(p);
        char *zero = mem_zalloc(size);
        for (size_t i = 0; i < size; i++) {
            assert_true(zero[i] == 0);
        }
        mem_free(zero);
    }
    mem_free(NULL);
}

static void test_aligned(void **state) {
    for (size_t align = 8; align <= 4096; align *= 2) {
        char *p = mem_alloc_aligned(align, align + 1);
        assert_int_equal((uintptr_t)p % align, 0);
        p[align] = 'x';
        mem_free(p);
    }
}

static void test_copies(void **state) {
    char *a = mem_dup("a\0b", 3), *b = mem_strdup("text"), *empty = mem_dup(NULL, 0);
    assert_memory_equal(a, "a\0b\0", 4);
    assert_string_equal(b, "text");
    assert_string_equal(empty, "");
    mem_free(a);
    mem_free(b);
    mem_free(empty);
}

static void assert_near(int64_t actual, int64_t expected) {
    assert_in_range(actual - expected + BLOCK_BYTES / 8, 0, BLOCK_BYTES / 4);
}

static void test_used_follows_allocations(void **state) {
    mem_thread_register();
    mem_thread_register(); /* the second has no effect */
    int64_t before = mem_used_bytes();
    char *p = mem_alloc(BLOCK_BYTES);
    assert_near(mem_used_bytes(), before + BLOCK_BYTES);
    p = mem_realloc(p, 4 * BLOCK_BYTES);
    assert_near(mem_used_bytes(), before + 4 * BLOCK_BYTES);
    mem_free(p);
    assert_near(mem_used_bytes(), before);
}

static void *allocate_in_thread(void *out) {
    mem_thread_register();
    *(void **)out = mem_alloc(BLOCK_BYTES);
    mem_thread_unregister();
    mem_thread_unregister(); /* the second has no effect */
    return NULL;
}

static void test_other_threads_memory_is_counted_and_freed_here(void **state) {
    mem_thread_register();
    int64_t before = mem_used_bytes();
    void *block;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, allocate_in_thread, &block), 0);
    pthread_join(thread, NULL);
    assert_near(mem_used_bytes(), before + BLOCK_BYTES); /* the thread is gone, its block is not */
    mem_free(block);
    assert_near(mem_used_bytes(), before);
}

static void *churn(void *arg) {
    mem_thread_register();
    for (int i = 0; i < 200; i++) {
        void *p = mem_alloc(1000);
        assert_true(mem_used_bytes() > 0);
        mem_free(p);
    }
    mem_thread_unregister();
    return NULL;
}

static void *watch(void *stop) {
    while (!atomic_load((atomic_bool *)stop)) {
        ASSERT(mem_used_bytes() >= 0);
    }
    return NULL;
}

/* Threads come and go while others add up: the counters of one that ended must not be read. */
static void test_threads_end_while_others_add(void **state) {
    mem_thread_register();
    void *keep = mem_alloc(BLOCK_BYTES);
    atomic_bool stop = false;
    pthread_t watcher, threads[THREADS];
    assert_int_equal(pthread_create(&watcher, NULL, watch, &stop), 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, churn, NULL), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
    }
    atomic_store(&stop, true);
    pthread_join(watcher, NULL);
    mem_free(keep);
}

static void test_figures(void **state) {
    struct mem_stats stats;
    void *p = mem_alloc(BLOCK_BYTES);
    mem_stats_read(&stats);
    assert_true(stats.allocated > 0 && stats.resident > 0);
    assert_true(mem_resident_bytes() > BLOCK_BYTES);
    assert_true(strlen(mem_allocator_name()) > 0);
    mem_free(p);
    assert_true(mem_purge());
}

/* Two of three are freed; moving what is left makes most slabs empty. */
static void test_sparse_slabs(void **state) {
    enum { COUNT = 30000, BYTES = 384, KEPT_OF = 3, ROUNDS_MAX = 8 };
    if (!mem_knows_slabs()) { /* libc */
        char *p = mem_zalloc(BYTES);
        assert_false(mem_is_sparse(p));
        p = mem_move(p, BYTES, 8);
        assert_int_equal(p[BYTES - 1], 0);
        mem_free(p);
        return;
    }
    char **kept = mem_alloc(COUNT * sizeof *kept);
    for (int i = 0; i < COUNT; i++) {
        kept[i] = mem_alloc(BYTES);
        memset(kept[i], i % 100, BYTES);
    }
    assert_false(mem_is_sparse(kept[0])); /* its slab is full */
    for (int i = 0; i < COUNT; i++) {
        if (i % KEPT_OF) {
            mem_free(kept[i]);
        }
    }
    struct mem_stats before, after;
    mem_stats_read(&before);
    int moved = 0;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        for (int i = 0; i < COUNT; i += KEPT_OF) {
            if (mem_is_sparse(kept[i])) {
                kept[i] = mem_move(kept[i], BYTES, 8);
                moved++;
            }
        }
    }
    mem_stats_read(&after);
    assert_true(moved > COUNT / KEPT_OF / 4 && moved < COUNT);
    size_t waste_before = before.active - before.allocated;
    size_t waste_after = after.active - after.allocated;
    assert_true(waste_before > COUNT / 2 * (size_t)BYTES);
    assert_true(waste_after < waste_before / 4);
    for (int i = 0; i < COUNT; i += KEPT_OF) {
        assert_true(kept[i][0] == i % 100 && kept[i][BYTES - 1] == i % 100);
        mem_free(kept[i]);
    }
    mem_free(kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_aligned),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_used_follows_allocations),
        cmocka_unit_test(test_other_threads_memory_is_counted_and_freed_here),
        cmocka_unit_test(test_threads_end_while_others_add),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_sparse_slabs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
