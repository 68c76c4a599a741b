/* The lock alone and under contention; locksets. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/keyspace.h"
#include "engine/lock.h"

static void test_states(void **state) {
    for (unsigned elided = 0; elided < 2; elided++) {
        struct lock l;
        lock_init(&l, elided);
        lock_take(&l);
        lock_assert_held(&l);
        assert_false(lock_try(&l));
        lock_release(&l);
        assert_true(lock_try(&l));
        lock_release(&l);
        assert_false(l.held);
        assert_int_equal(l.state, 0);
    }
}

enum { THREADS = 4, ROUNDS = 20000 };

struct shared {
    struct lock lock;
    uint64_t count; /* plain: the lock guards it */
};

static void *add_under_lock(void *arg) {
    struct shared *s = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 8 != 0 || !lock_try(&s->lock)) {
            lock_take(&s->lock);
        }
        s->count++;
        lock_release(&s->lock);
    }
    return NULL;
}

static void run_threads(void *(*fn)(void *), void *arg) {
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fn, arg), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

static void test_contention(void **state) {
    struct shared s = {.count = 0};
    lock_init(&s.lock, false);
    run_threads(add_under_lock, &s);
    assert_int_equal(s.count, THREADS * ROUNDS);
    assert_int_equal(s.lock.state, 0);
}

/* The holder keeps the lock until another thread sleeps on it: the futex's way. */
static void *wait_for_lock(void *arg) {
    struct shared *s = arg;
    lock_take(&s->lock);
    s->count++;
    lock_release(&s->lock);
    return NULL;
}

static void test_sleep_and_wake(void **state) {
    struct shared s = {.count = 0};
    pthread_t thread;
    lock_init(&s.lock, false);
    lock_take(&s.lock);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_lock, &s), 0);
    while (__atomic_load_n((uint32_t *)&s.lock.state, __ATOMIC_RELAXED) != 2) {
        sched_yield();
    }
    assert_int_equal(s.count, 0);
    lock_release(&s.lock);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(s.count, 1);
}

/* Threads take random sets of partitions: ascending order keeps them from deadlock, the locks keep
 * their reads and writes together. */
static void *swap_random_sets(void *arg) {
    struct keyspace *ks = arg;
    struct rng rng = {(uintptr_t)&rng};
    char bytes[4];
    for (unsigned i = 0; i < ROUNDS / 10; i++) {
        struct lockset set;
        lockset_clear(&set);
        for (unsigned k = 0; k < 3; k++) {
            lockset_add(&set, ks->partitions[rng_below(&rng, ks->partitions_count)]);
        }
        lockset_lock(&set, ks);
        for (uint32_t p = 0; p < ks->partitions_count; p++) {
            if (lockset_has(&set, ks->partitions[p])) {
                uint32_t n = (uint32_t)rng_below(&rng, 50) | p << 16;
                memcpy(bytes, &n, sizeof n);
                struct key key = {slice_of(bytes, 4), 0};
                key.hash = (uint64_t)p << (64 - ks->partition_bits) | n;
                ks->partitions[p]->fences[0].seq++;
                part_find(ks->partitions[p], 0, &key, 1, FIND_COUNT);
            }
        }
        lockset_unlock(&set, ks);
    }
    return NULL;
}

static void test_lockset(void **state) {
    struct keyspace *ks = keyspace_create(16, 1, NULL);
    assert_int_equal(ks->partitions_count, 128);
    run_threads(swap_random_sets, ks);
    struct lockset all;
    lockset_clear(&all);
    lockset_add_all(&all, ks);
    lockset_lock(&all, ks);
    uint64_t fences = 0, misses = 0;
    for (uint32_t p = 0; p < ks->partitions_count; p++) {
        assert_true(lockset_has(&all, ks->partitions[p]));
        assert_true(ks->partitions[p]->lock.held);
        fences += ks->partitions[p]->fences[0].seq;
        misses += ks->partitions[p]->stats.misses;
    }
    assert_int_equal(fences, misses);
    assert_true(fences > THREADS * ROUNDS / 10 * 2);
    lockset_unlock(&all, ks);
    keyspace_destroy(ks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_contention),
        cmocka_unit_test(test_sleep_and_wake),
        cmocka_unit_test(test_lockset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
