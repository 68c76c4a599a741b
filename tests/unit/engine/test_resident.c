/* Resident memory as the kernel has it, and what lies in the allocator: what make_room refuses and
 * evicts for it, and what it does not. Skipped where resident memory tells nothing (sanitizers). */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/keyspace.h"
#include "limited.h"

enum { BATCH = 4, BATCHES_A_MEASUREMENT = 64, CLOSED_AT_ONCE = 8000 };

/* Nothing is refused for what was resident when last measured, and is used or given back since. */
static void test_not_refused_for_what_was_resident(void **state) {
    if (!mem_resident_is_telling()) {
        skip();
    }
    static const enum evict_policy refusing[] = {EVICT_NONE, EVICT_VOLATILE_TTL};
    mem_thread_register();
    for (unsigned i = 0; i < ARRAY_COUNT(refusing); i++) {
        struct keyspace *ks = limited_to(LARGE_BUDGET, refusing[i]);
        ks->evictors[0].measure_at_bytes = UINT64_MAX;
        fill(ks, 0, LARGE_BUDGET / 200, 100);
        ks->overhead_bytes = ks->maxmemory_bytes / 2;
        assert_true(resident_share(ks) > 1.1);
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 1));
        ks->overhead_bytes = ks->maxmemory_bytes / 2;
        assert_false(keyspace_make_room(ks, NULL, 0, 1, 1)); /* not again and again */
        assert_true(keyspace_make_room(ks, NULL, 0, 2, 1));
        keyspace_destroy(ks);
    }
    mem_thread_unregister();
}

/* Gives back what it made dirty, again and again; the number is odd while it does. */
struct purger {
    atomic_uint number;
    atomic_bool stops;
    unsigned purged;
};

static void *purge_again(void *arg) {
    enum { PIECES = 64, PIECE_BYTES = 2 * MB };
    struct purger *purger = arg;
    mem_thread_register();
    while (!atomic_load(&purger->stops)) {
        void *pieces[PIECES];
        for (unsigned i = 0; i < PIECES; i++) {
            pieces[i] = memset(mem_alloc(PIECE_BYTES), 1, PIECE_BYTES);
        }
        for (unsigned i = 0; i < PIECES; i++) {
            mem_free(pieces[i]);
        }
        atomic_fetch_add(&purger->number, 1);
        purger->purged += mem_purge();
        atomic_fetch_add(&purger->number, 1);
    }
    mem_thread_unregister();
    return NULL;
}

/* All of it while one and the same purge went on in the other thread: it began before the first
 * call of mem_purge, and had not ended at the last one. */
static bool is_purging_during(struct purger *purger, struct keyspace *ks, bool *let_through) {
    unsigned number = atomic_load(&purger->number);
    if (number % 2 == 0 || mem_purge()) {
        return false;
    }
    ks->overhead_bytes = ks->maxmemory_bytes / 2;
    ks->evictors[0].looked_ms = 1;
    *let_through = true;
    for (unsigned i = 0; i < 3; i++) { /* of one millisecond */
        *let_through &= keyspace_make_room(ks, NULL, 0, 2, 1);
    }
    return !mem_purge() && atomic_load(&purger->number) == number;
}

/* ... nor for what another thread is giving back just now. */
static void test_not_refused_while_another_purges(void **state) {
    enum { SEEN = 3, TRIES_MAX = 100 * 1000 * 1000 };
    if (!mem_resident_is_telling()) {
        skip();
    }
    mem_thread_register();
    struct keyspace *ks = limited_to(LARGE_BUDGET, EVICT_NONE);
    ks->evictors[0].measure_at_bytes = UINT64_MAX;
    fill(ks, 0, LARGE_BUDGET / 160, 100);
    struct purger purger = {0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, purge_again, &purger), 0);
    unsigned seen = 0, through = 0;
    for (unsigned i = 0; seen < SEEN && i < TRIES_MAX; i++) {
        bool let_through = false;
        if (is_purging_during(&purger, ks, &let_through)) {
            seen++;
            through += let_through;
        } else {
            sched_yield();
        }
    }
    atomic_store(&purger.stops, true);
    pthread_join(thread, NULL);
    assert_int_equal(seen, SEEN);
    assert_int_equal(through, SEEN);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* Resident memory that is nobody's, beside what the process has. */
enum { BALLAST_MAX = LARGE_BUDGET };
struct ballast {
    char *space;
    size_t bytes;
};

static void ballast_init(struct ballast *b) {
    b->space = mem_map(BALLAST_MAX, 2 * MB);
    b->bytes = 0;
    mem_map_huge(b->space, BALLAST_MAX, false);
}

static void ballast_set(struct ballast *b, uint64_t bytes) {
    size_t want = bytes / MEM_PAGE_BYTES * MEM_PAGE_BYTES;
    assert_true(want <= BALLAST_MAX);
    for (size_t at = b->bytes; at < want; at += MEM_PAGE_BYTES) {
        b->space[at] = 1;
    }
    if (want < b->bytes) {
        mem_map_release(b->space + want, b->bytes - want);
    }
    b->bytes = want;
}

static void ballast_deinit(struct ballast *b) {
    mem_unmap(b->space, BALLAST_MAX);
}

/* No hole is left that would be closed before keys go. */
static void close_holes(struct keyspace *ks) {
    const struct compact_from from = {.percent = 1};
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        struct partition *p = ks->partitions[i];
        lock_take(&p->lock);
        while (part_compact(p, from, CLOSED_AT_ONCE)) {
        }
        lock_release(&p->lock);
    }
}

/* While resident memory comes down by itself nothing goes for it, but it does for what it rises by.
 */
static void test_sinks_and_rises(void **state) {
    enum { SETTLES = 64, LONG = 2500 };
    if (!mem_resident_is_telling()) {
        skip();
    }
    mem_thread_register();
    struct ballast ballast;
    ballast_init(&ballast);
    struct keyspace *ks = limited_to(LARGE_BUDGET, EVICT_ALL_LRU);
    ks->evictors[0].measure_at_bytes = UINT64_MAX;
    fill(ks, 0, LARGE_BUDGET / 160, 100);
    close_holes(ks);
    uint64_t step = ks->maxmemory_bytes / 128;
    ballast_set(&ballast, ks->maxmemory_bytes / 1000 * 1060 - mem_resident_bytes());
    for (unsigned i = 0; i < SETTLES; i++) { /* what it was before, is forgotten */
        keyspace_measure(ks);
    }
    assert_true(keyspace_is_full(ks));
    ballast_set(&ballast, ballast.bytes - step);
    keyspace_measure(ks);
    assert_false(keyspace_is_full(ks)); /* a new low */
    for (unsigned i = 0; i < 6; i++) {
        ballast_set(&ballast, ballast.bytes + step / 2);
        keyspace_measure(ks);
        assert_true(i < 2 || keyspace_is_full(ks)); /* two of them only make up for the fall */
    }
    for (unsigned i = 0; i < LONG; i++) {
        keyspace_measure(ks);
    }
    assert_true(keyspace_is_full(ks));
    ballast_set(&ballast, ballast.bytes - step); /* above the last low, which was long ago */
    keyspace_measure(ks);
    assert_false(keyspace_is_full(ks));
    ballast_deinit(&ballast);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* Less than half of maxmemory is used, but more is about to be: what is resident beside counts. */
static void test_what_is_expected_is_not_put_on_top(void **state) {
    if (!mem_resident_is_telling()) {
        skip();
    }
    mem_thread_register();
    struct keyspace *ks = limited_to(LARGE_BUDGET, EVICT_ALL_RANDOM);
    uint64_t max = ks->maxmemory_bytes;
    fill(ks, 0, LARGE_BUDGET / 17500, 8000);
    assert_true(used_share(ks) > 0.4 && used_share(ks) < 0.5);
    struct ballast ballast;
    ballast_init(&ballast);
    ballast_set(&ballast, max / 100 * 90 - mem_resident_bytes());
    keyspace_measure(ks);
    assert_true(keyspace_expect(ks, max / 4, false));
    for (unsigned i = 0; i < TIMES_MAX; i++) {
        if (keyspace_room_turn(ks, NULL, 0, 1) != KEYSPACE_ROOM_COMING) {
            break;
        }
    }
    assert_true(mem_resident_bytes() + max / 4 < max / 100 * 103);
    keyspace_expect_no_more(ks, max / 4);
    ballast_deinit(&ballast);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

static struct keyspace *full_of_small(void) {
    struct keyspace *ks = limited_to(LARGE_BUDGET, EVICT_ALL_RANDOM);
    for (unsigned n = 0; n < LARGE_BUDGET / 100; n += 1000) {
        fill(ks, n, 1000, 100);
        keyspace_measure(ks);
    }
    return ks;
}

/* Large values leave dirty pages behind, faster than the main thread measures; and where they take
 * the room of small ones, hundreds of these must go for one. */
static void test_large_values_in_the_room_of_small_ones(void **state) {
    if (!mem_resident_is_telling()) {
        skip();
    }
    mem_thread_register();
    struct keyspace *ks = full_of_small();
    struct rng rng = {.state = 7};
    double most = 0;
    for (unsigned i = 0; i < 8 * LARGE_BUDGET / (BATCH * 40000); i++) {
        if (i % BATCHES_A_MEASUREMENT == 0) {
            keyspace_measure(ks);
        }
        assert_true(keyspace_make_room(ks, NULL, 0, 1, BATCH));
        for (unsigned n = 0; n < BATCH; n++) {
            set_bytes(ks, 0, LARGE_BUDGET + (unsigned)rng_below(&rng, LARGE_BUDGET / 20000),
                      16000 + rng_below(&rng, VALUE_MAX - 16000));
        }
        most = MAX(most, kernels_share(ks));
    }
    assert_true(most < 1.06);
    assert_true(used_share(ks) > 0.8);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* A hash whose fields lie in the allocator's slabs, those of an evicted one anywhere among others.
 */
static void set_hash(struct keyspace *ks, unsigned n, struct rng *rng) {
    static const struct hash_limits limits = {.packed_fields_max = 1, .packed_bytes_max = 1};
    static const char bytes[256];
    char name[32];
    struct hash h = {0};
    for (uint64_t i = 0, fields = 2 + rng_below(rng, 40); i < fields; i++) {
        int len = snprintf(name, sizeof name, "f%u", (unsigned)i);
        hash_set(&h, slice_of(name, (size_t)len), slice_of(bytes, rng_below(rng, 200)), &limits);
    }
    int len = snprintf(name, sizeof name, "hash:%u", n);
    struct key key = keyspace_key(ks, slice_of(name, (size_t)len));
    struct partition *p = keyspace_partition(ks, key.hash);
    lock_take(&p->lock);
    struct entry_origin none = {0, 0};
    part_put(p, 0, &key, entry_create_hash(&p->heap, key.bytes, &h, EXPIRE_NEVER, none));
    lock_release(&p->lock);
}

/* What is evicted leaves slack in slabs, and resident memory as it was: that alone must not make
 * more and more go. */
static void test_slack_of_slabs(void **state) {
    if (!mem_resident_is_telling()) {
        skip();
    }
    mem_thread_register();
    struct keyspace *ks = limited_to(LARGE_BUDGET, EVICT_ALL_RANDOM);
    struct rng rng = {.state = 7};
    double most = 0, least = 1;
    unsigned filled = LARGE_BUDGET / 2000, count = 4 * LARGE_BUDGET / 2000;
    for (unsigned n = 0; n < count; n++) {
        if (n % BATCHES_A_MEASUREMENT == 0) {
            keyspace_measure(ks);
        }
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 1));
        set_hash(ks, n, &rng);
        most = MAX(most, kernels_share(ks));
        least = n > filled ? MIN(least, used_share(ks)) : 1;
    }
    assert_true(most < 1.05);
    assert_true(least > 0.6);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_refused_for_what_was_resident),
        cmocka_unit_test(test_not_refused_while_another_purges),
        cmocka_unit_test(test_sinks_and_rises),
        cmocka_unit_test(test_what_is_expected_is_not_put_on_top),
        cmocka_unit_test(test_large_values_in_the_room_of_small_ones),
        cmocka_unit_test(test_slack_of_slabs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
