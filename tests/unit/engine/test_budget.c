/* The memory budget: what make_room and shrink evict and compact, and when they refuse, for what is
 * used and what is counted as resident; test_resident.c has the kernel's count. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "engine/keyspace.h"
#include "limited.h"

enum { KEYS = 8000 };

static void set(struct keyspace *ks, unsigned db, unsigned n) {
    set_bytes(ks, db, n, 39);
}

static void test_make_room(void **state) {
    mem_thread_register();
    struct keyspace *ks = keyspace_create(2, 5, NULL);
    uint64_t before = (uint64_t)mem_used_bytes();
    for (unsigned n = 0; n < KEYS; n++) {
        set(ks, 0, n);
    }
    uint64_t filled = (uint64_t)mem_used_bytes();
    struct keyspace_params params = {.policy = EVICT_ALL_LRU};
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 100)); /* no limit */
    params.maxmemory_bytes = filled - (filled - before) / 4;
    params.policy = EVICT_NONE;
    keyspace_set_params(ks, &params);
    assert_false(keyspace_make_room(ks, NULL, 0, 1, 100));
    params.policy = EVICT_VOLATILE_TTL; /* there are none */
    keyspace_set_params(ks, &params);
    assert_false(keyspace_make_room(ks, NULL, 0, 1, 100));
    params.policy = EVICT_ALL_RANDOM;
    keyspace_set_params(ks, &params);
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 10)); /* a bounded step on the way down */
    assert_true(keyspace_is_full(ks));
    uint64_t keys, with_expiry;
    keyspace_count(ks, NULL, 0, &keys, &with_expiry);
    assert_int_equal(keys, KEYS - 64 - 4 * 10);
    assert_true(keyspace_make_room(ks, NULL, 0, 1, KEYS));
    assert_true((uint64_t)mem_used_bytes() <= params.maxmemory_bytes);
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        assert_true(ks->partitions[i]->stats.evicted > 0); /* whoever owns it */
    }
    params.maxmemory_bytes = 1; /* can't be reached: ends when nothing is left */
    keyspace_set_params(ks, &params);
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 2 * KEYS));
    assert_false(keyspace_make_room(ks, NULL, 0, 1, 2 * KEYS));
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        struct table *t = ks->partitions[i]->db[0];
        assert_int_equal(table_count(t), 0);
    }
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* After maxmemory was lowered commands that grow are let through only while memory comes down. */
static void test_make_room_comes_down(void **state) {
    mem_thread_register();
    struct keyspace *ks = keyspace_create(1, 5, NULL);
    uint64_t before = 0;
    for (unsigned n = 0; n < KEYS; n++) {
        before = n == KEYS / 8 ? (uint64_t)mem_used_bytes() : before; /* tables, samples are there */
        set(ks, 0, n);
    }
    uint64_t used = (uint64_t)mem_used_bytes();
    struct keyspace_params params = {.policy = EVICT_ALL_LRU,
                                     .maxmemory_bytes = used - (used - before) / 2};
    keyspace_set_params(ks, &params);
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 10));
    void *growth = mem_alloc((used - before) / 16);
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 10)); /* eviction keeps up */
    mem_free(growth);
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 10));
    unsigned steps = 0;
    while (keyspace_is_full(ks)) {
        assert_true(keyspace_shrink(ks, 0, 1, 10));
        steps++;
    }
    assert_in_range(steps, KEYS / 80, KEYS / 10);
    assert_int_equal(keyspace_shrink(ks, 0, 1, 10), 0); /* there is room */
    growth = mem_alloc((size_t)mem_used_bytes() * 2);
    assert_false(keyspace_make_room(ks, NULL, 0, 1, 10)); /* all keys are less than that */
    mem_free(growth);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* FLUSHALL's memory comes back before anything alive is evicted. */
static void test_make_room_drains(void **state) {
    mem_thread_register();
    struct keyspace *ks = keyspace_create(1, 5, NULL);
    for (unsigned n = 0; n < KEYS; n++) {
        set(ks, 1, n);
    }
    set(ks, 0, 1);
    struct keyspace_params params = {.policy = EVICT_ALL_LRU};
    params.maxmemory_bytes = (uint64_t)mem_used_bytes() - 10000;
    keyspace_set_params(ks, &params);
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        lock_take(&ks->partitions[i]->lock);
        part_flush(ks->partitions[i], 1);
        lock_release(&ks->partitions[i]->lock);
    }
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 100));
    uint64_t keys, with_expiry;
    keyspace_count(ks, NULL, 0, &keys, &with_expiry);
    assert_int_equal(keys, 1);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

enum { LARGE = 60000, LARGE_KEYS = BUDGET / LARGE / 2 };

static struct blob *blob_of(struct keyspace *ks, unsigned n) {
    char name[32];
    int len = snprintf(name, sizeof name, "key:%u", n);
    struct key key = keyspace_key(ks, slice_of(name, (size_t)len));
    struct partition *p = keyspace_partition(ks, key.hash);
    lock_take(&p->lock);
    const struct entry *e = part_find(p, 0, &key, 1, 0);
    struct blob *b = e ? entry_blob(e) : NULL;
    lock_release(&p->lock);
    return b;
}

/* What replies are sent from stays in memory: no more of it goes at a time than memory is above. */
static void test_pinned_values(void **state) {
    mem_thread_register();
    struct keyspace *ks = limited_to(BUDGET, EVICT_ALL_LRU);
    ks->evictors[0].measure_at_bytes = UINT64_MAX;
    struct blob *pinned[LARGE_KEYS];
    for (unsigned n = 0; n < LARGE_KEYS; n++) {
        set_bytes(ks, 0, n, LARGE);
        pinned[n] = blob_of(ks, n);
        blob_pin(pinned[n], false);
    }
    struct keyspace_params params = {.policy = EVICT_ALL_LRU};
    params.maxmemory_bytes = (uint64_t)mem_used_bytes() - 2 * (uint64_t)LARGE;
    keyspace_set_params(ks, &params);
    for (unsigned times = 1; times <= 10; times++) {
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 1000));
        assert_true(keyspace_is_freeing(ks, 0));
        assert_in_range(blob_orphans_bytes(), 1, times * 8 * blob_memory_bytes(pinned[0]));
    }
    for (unsigned n = 0; n < LARGE_KEYS; n++) {
        blob_unpin(pinned[n]);
    }
    assert_int_equal(blob_orphans_bytes(), 0);
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 1));
    assert_false(keyspace_is_freeing(ks, 0));
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* --- resident memory --- */

/* Never measured: overhead_bytes is as the test says. */
static struct keyspace *limited(enum evict_policy policy) {
    struct keyspace *ks = limited_to(BUDGET, policy);
    ks->evictors[0].measure_at_bytes = UINT64_MAX;
    return ks;
}

/* Resident memory beyond what is known comes out of the keys, but only as much of them: what is
 * evicted becomes holes first, and these are closed rather than more evicted. */
static void test_overhead_takes_its_own_share(void **state) {
    mem_thread_register();
    for (unsigned idle = 0; idle < 2; idle++) {
        struct keyspace *ks = limited(EVICT_ALL_RANDOM);
        fill(ks, 0, BUDGET / 100, 100);
        ks->overhead_bytes = ks->maxmemory_bytes / 100 * 8;
        unsigned times = 0;
        if (idle) {
            while (keyspace_is_full(ks) && times++ < TIMES_MAX) {
                assert_true(keyspace_shrink(ks, 0, 1, 16));
            }
            assert_false(keyspace_is_full(ks));
        } else {
            fill(ks, BUDGET, BUDGET / 400, 100);
        }
        assert_true(used_share(ks) > 0.85 && used_share(ks) < 0.96);
        assert_true(resident_share(ks) < 1.045);
        keyspace_destroy(ks);
    }
    mem_thread_unregister();
}

/* Larger values than those evicted find no hole: compaction has to keep up with them. */
static void test_shape_changes_under_load(void **state) {
    mem_thread_register();
    struct keyspace *ks = limited(EVICT_ALL_RANDOM);
    fill(ks, 0, BUDGET / 100, 100);
    double most = 0;
    for (unsigned i = 0; i < BUDGET / 1000; i += 100) {
        fill(ks, BUDGET + i, 100, 1000);
        most = MAX(most, resident_share(ks));
    }
    assert_true(used_share(ks) > 0.9);
    assert_true(most < 1.045);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* Memory is lowered by much, and more and less of it turns out to be resident on the way: a command
 * that adds nothing still evicts no more than its part. */
static void test_lowered_by_much(void **state) {
    mem_thread_register();
    struct keyspace *ks = limited(EVICT_ALL_RANDOM);
    fill(ks, 0, BUDGET / 130, 100);
    struct keyspace_params params = {.policy = EVICT_ALL_RANDOM,
                                     .maxmemory_bytes = ks->maxmemory_bytes * 3 / 4};
    keyspace_set_params(ks, &params);
    uint64_t keys, with_expiry, before;
    keyspace_count(ks, NULL, 0, &before, &with_expiry);
    for (unsigned i = 0; i < TIMES_MAX && keyspace_is_full(ks); i++) {
        ks->overhead_bytes = ks->maxmemory_bytes / 20 * (i / 8 % 2);
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 1));
        keyspace_count(ks, NULL, 0, &keys, &with_expiry);
        assert_in_range(before - keys, 0, 100);
        before = keys;
    }
    assert_false(keyspace_is_full(ks));
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* Holes that nothing fits in can't be closed: then keys go for them, or memory would stay above
 * its limit. */
static void test_holes_that_stay(void **state) {
    mem_thread_register();
    struct keyspace *ks = limited(EVICT_ALL_RANDOM);
    fill(ks, 0, BUDGET / 11000, 11000);
    fill(ks, BUDGET, BUDGET / 4000, 16000);
    assert_true(resident_share(ks) < 1.05);
    ks->overhead_bytes = ks->maxmemory_bytes / 100 * 8;
    for (unsigned i = 0; i < TIMES_MAX && keyspace_is_full(ks); i++) {
        assert_true(keyspace_shrink(ks, 0, 1, 16));
    }
    assert_true(resident_share(ks) < 1.05);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* Who has partitions locked does not wait for the others: what can't be looked at says nothing of
 * its holes, and none of it goes. */
static void test_others_partitions_are_taken(void **state) {
    mem_thread_register();
    struct keyspace *ks = limited(EVICT_ALL_RANDOM);
    fill(ks, 0, BUDGET / 100, 100);
    struct lockset all, none;
    lockset_clear(&all);
    lockset_clear(&none);
    lockset_add_all(&all, ks);
    uint64_t before, keys, with_expiry;
    keyspace_count(ks, NULL, 0, &before, &with_expiry);
    ks->overhead_bytes = ks->maxmemory_bytes / 100 * 8;
    ks->compact_stuck = false;
    ks->evictors[0].compact_barren = 0;
    lockset_lock(&all, ks);
    for (uint32_t i = 0; i < 4 * ks->partitions_count; i++) {
        keyspace_make_room(ks, &none, 0, 1, 1);
    }
    assert_false(ks->compact_stuck);
    keyspace_count(ks, &all, 0, &keys, &with_expiry);
    assert_int_equal(keys, before);
    keyspace_make_room(ks, &all, 0, 1, 1); /* its own it does take */
    keyspace_count(ks, &all, 0, &keys, &with_expiry);
    assert_true(keys < before);
    lockset_unlock(&all, ks);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

static uint64_t entries_in(const struct keyspace *ks, const struct lockset *set, bool in) {
    uint64_t entries = 0;
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        const struct partition *p = ks->partitions[i];
        entries += lockset_has(set, p) == in ? table_count(p->db[0]) : 0;
    }
    return entries;
}

/* Who has partitions locked works on what is in them: that stays while there is anything else, by
 * every policy, and goes when there is not. */
static void test_what_is_locked_goes_last(void **state) {
    static const enum evict_policy by[] = {EVICT_ALL_RANDOM, EVICT_ALL_LRU, EVICT_ALL_LFU};
    mem_thread_register();
    for (unsigned i = 0; i < ARRAY_COUNT(by); i++) {
        struct keyspace *ks = keyspace_create(2, 5, NULL);
        struct lockset own = {{0}};
        for (uint32_t p = 0; p < ks->partitions_count; p += 2) {
            lockset_add(&own, ks->partitions[p]);
        }
        for (unsigned n = 0; n < KEYS; n++) {
            set(ks, 0, n);
        }
        uint64_t filled = (uint64_t)mem_used_bytes(), key_bytes = 50; /* and a little more */
        uint64_t owned = entries_in(ks, &own, true);
        lockset_lock(&own, ks);
        struct keyspace_params params = {.policy = by[i],
                                         .maxmemory_bytes = filled - KEYS / 4 * key_bytes};
        keyspace_set_params(ks, &params);
        assert_true(keyspace_make_room(ks, &own, 0, 1, KEYS));
        assert_int_equal(entries_in(ks, &own, true), owned);
        assert_true(entries_in(ks, &own, false) < KEYS - owned);
        params.maxmemory_bytes = filled - KEYS / 4 * 3 * key_bytes;
        keyspace_set_params(ks, &params);
        assert_true(keyspace_make_room(ks, &own, 0, 1, KEYS));
        assert_int_equal(entries_in(ks, &own, false), 0);
        assert_in_range(entries_in(ks, &own, true), 1, owned - 1);
        lockset_unlock(&own, ks);
        keyspace_destroy(ks);
    }
    mem_thread_unregister();
}

/* Where nothing may be evicted, refusing commands is what holds resident memory. */
static void test_refused_for_resident_memory(void **state) {
    static const struct {
        enum evict_policy policy;
        uint32_t shards, budget; /* of 16 shards, with more partitions than a turn frees entries */
    } cases[] = {
        {EVICT_NONE, 1, BUDGET}, {EVICT_VOLATILE_TTL, 1, BUDGET}, {EVICT_NONE, 16, 48 * MB}};
    mem_thread_register();
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        struct keyspace *ks = limited_shards(cases[i].shards, cases[i].budget, cases[i].policy);
        ks->evictors[0].measure_at_bytes = UINT64_MAX;
        ks->evictors[0].looked_ms = 1;
        unsigned n = cases[i].budget / 200;
        fill(ks, 0, n, 100);
        ks->overhead_bytes = ks->maxmemory_bytes / 100 * 8;
        for (unsigned more = cases[i].budget / 100; more; more--) {
            if (!keyspace_make_room(ks, NULL, 0, 1, 1)) {
                break;
            }
            set_bytes(ks, 0, n++, 100);
        }
        assert_false(keyspace_make_room(ks, NULL, 0, 1, 1));
        assert_true(resident_share(ks) > 1.01 && resident_share(ks) < 1.04);
        struct keyspace_params params = {.policy = EVICT_ALL_LRU,
                                         .maxmemory_bytes = ks->maxmemory_bytes};
        keyspace_set_params(ks, &params);
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 1));
        keyspace_destroy(ks);
    }
    mem_thread_unregister();
}

/* --- what is about to come --- */

/* What is about to come has the holes of what went for it closed first; while it is awaited nobody
 * is refused anything, and what is taken back costs no more. */
static void test_room_for_what_is_expected(void **state) {
    mem_thread_register();
    struct keyspace *ks = limited_to(LARGE_BUDGET, EVICT_ALL_LRU);
    uint64_t large = mem_good_size(ks->maxmemory_bytes / 4);
    assert_int_equal(keyspace_room_turn(ks, NULL, 0, 1), KEYSPACE_ROOM_MADE);
    assert_true(keyspace_expect(ks, large, false) &&
                keyspace_expect(ks, large, false)); /* nothing goes for it */
    keyspace_expect_no_more(ks, 2 * large);
    fill(ks, 0, LARGE_BUDGET / 100, 100);
    assert_true(keyspace_can_hold(ks, large) && keyspace_expect(ks, large, false));
    assert_false(keyspace_can_hold(ks, ks->maxmemory_bytes));
    assert_false(keyspace_expect(ks, large, false)); /* one after the other */
    unsigned turns = 0;
    enum keyspace_room room;
    while ((room = keyspace_room_turn(ks, NULL, 0, 1)) == KEYSPACE_ROOM_COMING) {
        assert_true(turns++ < TIMES_MAX);
    }
    assert_int_equal(room, KEYSPACE_ROOM_MADE);
    assert_in_range(turns, 4, 1000); /* each of them bounded */
    assert_true(used_share(ks) > 0.55);
    keyspace_comes(ks, large);
    assert_false(keyspace_expect(ks, large, false)); /* it has not come yet */
    keyspace_came(ks, large);
    void *came = memset(mem_alloc(large), 'c', large);
    assert_true(mem_resident_is_telling() ? kernels_share(ks) < 1.04 : used_share(ks) < 1.04);
    uint64_t before, keys, with_expiry;
    keyspace_count(ks, NULL, 0, &before, &with_expiry);
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 1));
    keyspace_count(ks, NULL, 0, &keys, &with_expiry);
    assert_in_range(before - keys, 0, 100);
    mem_free(came);
    keyspace_destroy(ks);
    ks = limited(EVICT_NONE);
    fill(ks, 0, BUDGET / 400, 100);
    assert_true(keyspace_expect(ks, BUDGET, false));
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 1)); /* others are not refused for it */
    assert_int_equal(keyspace_room_turn(ks, NULL, 0, 1), KEYSPACE_ROOM_NONE);
    keyspace_expect_no_more(ks, BUDGET);
    assert_true(keyspace_make_room(ks, NULL, 0, 1, 1));
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* Who may wait is let in when the others' share has come, and gone where it goes soon; who can't is
 * counted all the same. Little is no reason to wait for one that wants much. */
static void test_shares_of_what_is_expected(void **state) {
    mem_thread_register();
    struct keyspace *ks = limited_to(LARGE_BUDGET, EVICT_ALL_LRU);
    fill(ks, 0, LARGE_BUDGET / 100, 100);
    uint64_t share = ks->maxmemory_bytes / 4, much = 2 * share, little = ks->maxmemory_bytes / 100;
    assert_int_equal(keyspace_expected(ks), 0);
    assert_true(keyspace_expect(ks, much, false)); /* alone */
    assert_int_equal(keyspace_expected(ks), much);
    assert_false(keyspace_expect(ks, little, false));
    keyspace_comes(ks, much);
    keyspace_stays(ks, much);
    keyspace_came(ks, much);
    assert_int_equal(keyspace_expected(ks), 0);
    assert_false(keyspace_expect(ks, little, false));
    keyspace_came(ks, much - share / 2); /* some of it has been sent */
    assert_false(keyspace_expect(ks, share / 2, true)); /* not beside any other */
    assert_true(keyspace_expect(ks, share / 2, false));
    assert_false(keyspace_expect(ks, little, false));
    keyspace_expect_now(ks, much);
    keyspace_expect_no_more(ks, much);
    keyspace_expect_no_more(ks, share / 2);
    keyspace_came(ks, share / 2 - little);
    assert_true(keyspace_expect(ks, much, true));
    keyspace_expect_no_more(ks, much);
    keyspace_came(ks, little);
    assert_int_equal(ks->admitted_bytes, 0);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* What is resident and neither used nor a hole that can be closed is waited for only while something
 * moves. */
static void test_no_turns_for_what_nothing_can_close(void **state) {
    mem_thread_register();
    struct keyspace *ks = limited(EVICT_ALL_LRU);
    fill(ks, 0, BUDGET / 200, 100);
    uint64_t known = (uint64_t)(resident_share(ks) * (double)ks->maxmemory_bytes);
    ks->overhead_bytes = ks->maxmemory_bytes / 100 * 108 - known;
    ks->goal_bytes = ks->maxmemory_bytes / 100 * 110; /* the kernel said that it does not rise */
    unsigned turns = 0;
    while (keyspace_room_turn(ks, NULL, 0, 1) == KEYSPACE_ROOM_COMING) {
        assert_true(turns++ < 100);
    }
    assert_true(ks->compact_stuck);
    assert_int_equal(keyspace_room_turn(ks, NULL, 0, 1), KEYSPACE_ROOM_MADE);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

static uint64_t keys_count(struct keyspace *ks) {
    uint64_t keys, expires;
    keyspace_count(ks, NULL, 0, &keys, &expires);
    return keys;
}

/* What rows on their way take is kept free while they come and go: keys go once, not each time. */
static void test_rows_that_come_and_go(void **state) {
    enum { ROWS_BYTES = 4 * MB };
    mem_thread_register();
    struct keyspace *ks = limited(EVICT_ALL_LRU);
    fill(ks, 0, BUDGET / 100, 100);
    for (unsigned i = 0; i < 3; i++) {
        keyspace_rows_come(ks, ROWS_BYTES / 2);
        keyspace_rows_come(ks, ROWS_BYTES / 2);
        keyspace_rows_come(ks, -ROWS_BYTES);
    }
    for (unsigned i = 0; i < 500; i++) {
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 64));
    }
    assert_true((uint64_t)mem_used_bytes() + ROWS_BYTES <= ks->maxmemory_bytes);
    assert_true(used_share(ks) > 0.7);
    uint64_t keys = keys_count(ks);
    for (unsigned i = 0; i < 10; i++) {
        void *rows = mem_alloc(ROWS_BYTES);
        keyspace_rows_come(ks, ROWS_BYTES);
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 64));
        mem_free(rows);
        keyspace_rows_come(ks, -ROWS_BYTES);
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 64));
    }
    assert_int_equal(keys_count(ks), keys);
    for (unsigned i = 0; i < 5000; i++) { /* without loads the room is the keys' again */
        keyspace_measure(ks);
    }
    ks->overhead_bytes = 0;
    fill(ks, 2 * BUDGET, BUDGET / 100, 100);
    assert_true(used_share(ks) > 0.95);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

/* Nobody is refused anything for rows that might come. */
static void test_rows_that_might_come_refuse_nothing(void **state) {
    static const enum evict_policy barren[] = {EVICT_NONE, EVICT_VOLATILE_LRU};
    mem_thread_register();
    for (unsigned i = 0; i < ARRAY_COUNT(barren); i++) {
        struct keyspace *ks = limited(barren[i]);
        fill(ks, 0, BUDGET / 400, 100);
        keyspace_rows_come(ks, BUDGET);
        keyspace_rows_come(ks, -BUDGET);
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 1));
        for (unsigned turn = 0; turn < 100; turn++) {
            assert_int_equal(keyspace_room_turn(ks, NULL, 0, 1), KEYSPACE_ROOM_MADE);
        }
        keyspace_destroy(ks);
    }
    mem_thread_unregister();
}

/* Most of maxmemory is used or held by what is no key: keys have what is left, and do not go as
 * soon as they are set. */
static void test_little_beside_the_keys(void **state) {
    enum { LIMIT = 16 * MB, OTHERS = 9 * MB, FEW = 500 };
    mem_thread_register();
    void *others = mem_alloc(OTHERS);
    struct keyspace *ks = limited_to(LIMIT - OTHERS, EVICT_ALL_LRU); /* beside what is used */
    keyspace_note_base(ks);
    ks->overhead_bytes = LIMIT / 2;
    fill(ks, 0, FEW, 100);
    assert_false(keyspace_is_full(ks));
    for (unsigned i = 0; i < 100; i++) {
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 16));
    }
    uint64_t keys, expires;
    keyspace_count(ks, NULL, 0, &keys, &expires);
    assert_int_equal(keys, FEW);
    keyspace_destroy(ks);
    mem_free(others);
    mem_thread_unregister();
}

/* --- beside others --- */

enum { TOGGLED_BYTES = 1 * MB, TOGGLE_TURNS_MAX = 1000, TOGGLED_LOOKS = 200 * 1000 };

/* Memory that is above the limit one moment and within it the next. */
static void *toggle(void *arg) {
    atomic_bool *stops = arg;
    struct rng rng = {.state = 7};
    mem_thread_register();
    for (int64_t bytes = TOGGLED_BYTES; !atomic_load(stops) || bytes < 0; bytes = -bytes) {
        mem_count(bytes);
        for (uint64_t i = rng_below(&rng, TOGGLE_TURNS_MAX); i && !atomic_load(stops); i--) {
        }
    }
    mem_thread_unregister();
    return NULL;
}

/* What others make and take while a shard looks is not what it refuses for: only when it has seen
 * that nothing is left. */
static void test_others_make_room_meanwhile(void **state) {
    mem_thread_register();
    struct keyspace *ks = keyspace_create(1, 5, NULL);
    for (unsigned n = 0; n < KEYS; n++) {
        set(ks, 0, n);
    }
    struct keyspace_params params = {.policy = EVICT_NONE,
                                     .maxmemory_bytes = (uint64_t)mem_used_bytes() +
                                                        TOGGLED_BYTES / 2};
    keyspace_set_params(ks, &params);
    atomic_bool stops = false;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, toggle, &stops), 0);
    unsigned refused = 0, made = 0, wrong = 0;
    const struct evictor *v = &ks->evictors[0];
    for (unsigned i = 0; i < TOGGLED_LOOKS || !refused || !made; i++) {
        bool through = keyspace_make_room(ks, NULL, 0, 1, 1);
        wrong += !through && !v->barren;
        made += through;
        enum keyspace_room room = keyspace_room_turn(ks, NULL, 0, 1);
        wrong += room == KEYSPACE_ROOM_NONE && !v->barren;
        refused += room == KEYSPACE_ROOM_NONE;
    }
    atomic_store(&stops, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(wrong, 0);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

static void maintain_all(struct keyspace *ks) {
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        struct partition *p = ks->partitions[i];
        lock_take(&p->lock);
        part_maintain(p, 1, 16);
        lock_release(&p->lock);
    }
}

/* Large objects lie in spans again when there is room, and not before. */
static void test_spans_when_there_is_room(void **state) {
    mem_thread_register();
    struct keyspace *ks = limited(EVICT_ALL_LRU);
    fill(ks, 0, BUDGET / 100, 100);
    struct heap *heap = &ks->partitions[0]->heap;
    assert_int_equal(heap->object_max, HEAP_SMALL_MAX);
    heap_use_spans(heap, false);
    maintain_all(ks);
    assert_int_equal(heap->object_max, HEAP_OBJECT_MAX);
    struct keyspace_params params = {.policy = EVICT_ALL_LRU,
                                     .maxmemory_bytes = 2 * ks->maxmemory_bytes};
    keyspace_set_params(ks, &params);
    maintain_all(ks);
    assert_int_equal(heap->object_max, HEAP_SMALL_MAX);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make_room),
        cmocka_unit_test(test_make_room_comes_down),
        cmocka_unit_test(test_make_room_drains),
        cmocka_unit_test(test_pinned_values),
        cmocka_unit_test(test_overhead_takes_its_own_share),
        cmocka_unit_test(test_shape_changes_under_load),
        cmocka_unit_test(test_lowered_by_much),
        cmocka_unit_test(test_holes_that_stay),
        cmocka_unit_test(test_others_partitions_are_taken),
        cmocka_unit_test(test_what_is_locked_goes_last),
        cmocka_unit_test(test_refused_for_resident_memory),
        cmocka_unit_test(test_room_for_what_is_expected),
        cmocka_unit_test(test_shares_of_what_is_expected),
        cmocka_unit_test(test_no_turns_for_what_nothing_can_close),
        cmocka_unit_test(test_rows_that_come_and_go),
        cmocka_unit_test(test_rows_that_might_come_refuse_nothing),
        cmocka_unit_test(test_little_beside_the_keys),
        cmocka_unit_test(test_others_make_room_meanwhile),
        cmocka_unit_test(test_spans_when_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
