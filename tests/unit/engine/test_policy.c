/* The arithmetic of eviction: the logical clock, the lfu family's bits, sizes and share
 * of the new ones, the pool, the ghosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "engine/evict_pool.h"
#include "engine/ghosts.h"
#include "engine/new_share.h"
#include "engine/policy.h"
#include "engine/policy_size.h"

static struct policy_clock clock_state;

static void test_clock_pace(void **state) {
    struct policy_clock *c = &clock_state;
    policy_clock_init(c, 1);
    uint64_t before = policy_clock_tick(c);
    assert_true(policy_clock_is_quiet(c));
    policy_clock_advance(c, 1, 0, 768 * 10, CLOCK_QUIET_SPAN);
    assert_int_equal(policy_clock_tick(c), before + 1);
    assert_int_equal(c->quantum, 10); /* ten insertions a tick in a keyspace ten times the span */
    /* What goes was stamped 30720 events ago: 20 events a tick make that CLOCK_SPAN ticks. */
    uint16_t stamp = policy_clock_stamp(policy_clock_tick(c));
    for (unsigned i = 0; i < 3072; i++) {
        policy_clock_advance(c, 10, 0, 768 * 10, CLOCK_QUIET_SPAN);
    }
    assert_int_equal(policy_clock_age(policy_clock_tick(c), stamp), 3072);
    policy_clock_evicted(c, stamp, 0, CLOCK_SPAN);
    assert_false(policy_clock_is_quiet(c));
    assert_int_equal(c->quantum, 20);
    assert_int_equal(c->coarse, CLOCK_SPAN / 128);
    /* All that goes is of the last tick: the pace rises to the finest. */
    for (unsigned i = 0; i < 2000; i++) {
        policy_clock_evicted(c, policy_clock_stamp(policy_clock_tick(c)), 0, CLOCK_SPAN);
    }
    assert_int_equal(c->quantum, 1);
    for (unsigned i = 0; i < 5000; i++) { /* no eviction for long: the entries set the pace */
        policy_clock_advance(c, 1, 0, 768 * 4, CLOCK_QUIET_SPAN);
    }
    assert_int_equal(c->quantum, 4);
}

static void test_clock_seconds(void **state) {
    struct policy_clock *c = &clock_state;
    policy_clock_init(c, 8);
    policy_clock_second(c, 5000);
    uint64_t tick = policy_clock_tick(c);
    uint16_t stamp = policy_clock_stamp(tick);
    assert_int_equal(policy_clock_idle_s(c, stamp, 5003), 3);
    assert_int_equal(policy_clock_idle_s(c, policy_clock_stamp_of_idle(c, 900, 5000), 5000), 900);
    policy_clock_second(c, 5001);
    assert_int_equal(policy_clock_tick(c), tick + 1);
    policy_clock_second(c, 4000); /* the wall clock was set back */
    assert_int_equal(policy_clock_tick(c), tick + 1);
    assert_int_equal(policy_clock_idle_s(c, stamp, 4000), 0);
    for (int64_t s = 5002; s < 5000 + 14400; s++) { /* hours: fewer ticks than there are stamps */
        policy_clock_second(c, s);
    }
    assert_in_range(policy_clock_tick(c) - tick, 768, CLOCK_STAMPS - 1);
    assert_in_range(policy_clock_idle_s(c, policy_clock_stamp_of_idle(c, 3600, 19400), 19400), 3600,
                    3600 + 30);
    assert_int_equal(policy_clock_age(tick + 1, policy_clock_stamp_of_idle(c, UINT32_MAX, 19400)),
                     (tick + 1 - (policy_clock_tick(c) - CLOCK_AGE_MAX)) % CLOCK_STAMPS);
}

static void test_lru_bits(void **state) {
    struct policy_clock *c = &clock_state;
    policy_clock_init(c, 1);
    uint64_t tick = 3 * CLOCK_STAMPS + 5;
    c->coarse = 4;
    uint16_t bits = policy_clock_stamp(tick);
    assert_int_equal(policy_lru_touch(c, bits, tick + 4), bits); /* no store */
    assert_int_equal(policy_lru_touch(c, bits, tick + 5), policy_clock_stamp(tick + 5));
    assert_int_equal(policy_lru_rank(bits, tick + 1000), tick);
    assert_int_equal(policy_lru_rank(bits, tick + CLOCK_STAMPS - 1), tick);
}

static void test_lfu_bits(void **state) {
    struct rng rng = {7};
    uint64_t tick = 1000000;
    uint16_t bits = policy_lfu_fresh(tick, false, 0);
    assert_true(policy_lfu_is_new(bits));
    assert_int_equal(policy_lfu_frequency(bits), 0);
    assert_int_equal(policy_lfu_rank(bits, tick + 380), tick);
    assert_int_equal(policy_lfu_age(bits, tick + 380), 380);
    assert_false(policy_lfu_stays(&bits, tick + 10, 0, 1, &rng));
    bits = policy_lfu_touch(bits, 10, &rng);
    assert_int_equal(policy_lfu_touch(bits, 10, &rng), bits);  /* used is used */
    assert_int_equal(policy_lfu_rank(bits, tick + 380), tick); /* and no younger for it */
    assert_true(policy_lfu_stays(&bits, tick + 10, 0, 1, &rng));
    assert_false(policy_lfu_is_new(bits));
    assert_int_equal(policy_lfu_frequency(bits), 2);
    for (unsigned uses = 1; uses <= 3; uses++) {
        bits = policy_lfu_touch(bits, 10, &rng);
        assert_int_equal(policy_lfu_frequency(bits), 2 + uses);
    }
    assert_int_equal(policy_lfu_touch(bits, 10, &rng), bits);
    uint64_t older = policy_lfu_rank(bits, tick + 5000);
    uint16_t never = bits;
    for (unsigned i = 0; i < 20; i++) { /* lfu-decay-time 0 */
        assert_true(policy_lfu_stays(&never, tick + 5000, 0, 0, &rng));
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_true(policy_lfu_stays(&bits, tick + 5000, 0, 1, &rng));
    }
    assert_false(policy_lfu_stays(&bits, tick + 5000, 0, 1, &rng));
    assert_true(policy_lfu_rank(bits, tick + 5000) > older); /* to the end of the queue */
    assert_true(policy_lfu_is_new(policy_lfu_fresh(tick, false, 0)));
    assert_false(policy_lfu_is_new(policy_lfu_fresh(tick, true, 0)));
    unsigned counted = 0;
    for (unsigned i = 0; i < 1000; i++) { /* a second use counts once in five times */
        bits = policy_lfu_bits(3, tick);
        counted += policy_lfu_touch(bits, 100, &rng) != bits;
    }
    assert_in_range(counted, 130, 270);
}

static void test_lfu_keeps_stamps(void **state) {
    const bool kinds[] = {false, true};
    for (unsigned k = 0; k < 2; k++) {
        uint64_t tick = 1 << 20, rank = 0;
        uint16_t bits = policy_lfu_fresh(tick, kinds[k], 0);
        for (unsigned i = 0; i < 3000; i++) {
            tick += kinds[k] ? 1000 : 60;
            bits = policy_lfu_keep(bits, tick);
            uint64_t now = kinds[k] ? policy_lfu_rank(policy_lfu_fresh(tick, true, 0), tick)
                                    : policy_lfu_rank(policy_lfu_fresh(tick, false, 0), tick);
            assert_true(policy_lfu_rank(bits, tick) >= rank); /* never younger than it looked */
            assert_true(i < 30 || now - policy_lfu_rank(bits, tick) > 250);
            assert_int_equal(policy_lfu_is_new(bits), !kinds[k]);
            rank = policy_lfu_rank(bits, tick);
        }
    }
}

/* What is ahead looks younger, what is back looks older, both within the bits' range. */
static void test_lfu_ahead(void **state) {
    const int64_t aheads[] = {-10000000, -250, -64, 0, 64, 300, 10000000};
    for (unsigned proved = 0; proved < 2; proved++) {
        for (uint64_t tick = 1 << 20; tick < (1 << 20) + 40000; tick += 64) {
            for (unsigned i = 0; i + 1 < sizeof aheads / sizeof *aheads; i++) {
                uint16_t older = policy_lfu_fresh(tick, proved, aheads[i]);
                uint16_t younger = policy_lfu_fresh(tick, proved, aheads[i + 1]);
                assert_true(policy_lfu_rank(older, tick) <= policy_lfu_rank(younger, tick));
                uint64_t later = tick + 64;
                assert_true(policy_lfu_rank(older, later) <= policy_lfu_rank(younger, later));
                assert_true(policy_lfu_age(older, tick) > policy_lfu_age(younger, tick) ||
                            (proved && aheads[i + 1] - aheads[i] < 64));
                assert_int_equal(policy_lfu_keep(younger, tick), younger);
                assert_int_equal(policy_lfu_is_new(older), !proved);
            }
        }
    }
    struct rng rng = {7};
    uint16_t bits = policy_lfu_bits(3, 1 << 20);
    assert_true(policy_lfu_stays(&bits, 1 << 20, 6400, 1, &rng));
    assert_int_equal(policy_lfu_age(bits, 1 << 20), -6400);
    assert_int_equal(policy_lfu_frequency(bits), 2);
}

static void test_size_shift(void **state) {
    struct policy_size equal = {0};
    for (unsigned i = 0; i < 5000; i++) {
        policy_size_seen(&equal, 177);
        policy_size_turn(&equal, i % 2, i % 2 ? 6400 : 256);
        assert_int_equal(policy_size_shift(&equal, i % 2, 177), 0);
    }
    assert_in_range(policy_size_shift(&equal, false, 177 / 4), 240, 270);   /* twice as long */
    assert_in_range(-policy_size_shift(&equal, false, 177 * 4), 120, 135);  /* half as long */
    assert_in_range(policy_size_shift(&equal, true, 177 / 16), 6000, 6500); /* less for proved */
    assert_in_range(-policy_size_shift(&equal, true, 177 * 16), 3000, 3250);
    assert_int_equal(policy_size_shift(&equal, false, 1), 512); /* at most three rounds */
    int64_t last = INT64_MAX;
    for (size_t bytes = 1; bytes < (size_t)1 << 40; bytes += bytes / 8 + 1) {
        int64_t shift = policy_size_shift(&equal, false, bytes);
        assert_true(shift <= last && shift >= -192);
        last = shift;
    }
    for (unsigned i = 0; i < 1000; i++) { /* a few that are huge do not move the mean far */
        policy_size_seen(&equal, i % 100 ? 177 : 1 << 20);
    }
    assert_in_range(-policy_size_shift(&equal, false, 177) + 100, 70, 100);
    struct policy_size none = {0}; /* nothing was evicted yet */
    policy_size_seen(&none, 100);
    assert_int_equal(policy_size_shift(&none, false, 1000000), 0);
}

/* Rounds of evictions and returns in thousandths of them. */
static uint32_t share_after(struct new_share *s, unsigned new_rate, unsigned proved_rate,
                            unsigned rounds) {
    enum { ENTRIES = 8000 };
    for (unsigned i = 0; i < rounds; i++) {
        struct new_share_events events = {{1000, 1000}, {new_rate, proved_rate}};
        new_share_add(s, &events, ENTRIES);
        assert_int_equal(events.evicted[0] + events.returned[1], 0);
    }
    return new_share_of(s);
}

static void test_new_share(void **state) {
    struct new_share s = {0};
    assert_int_equal(new_share_of(&s), NEW_SHARE_MIN);
    assert_int_equal(share_after(&s, 500, 450, 50), NEW_SHARE_MIN); /* as in a skewed set */
    assert_int_equal(share_after(&s, 800, 50, 200), NEW_SHARE_MAX); /* drifts */
    assert_int_equal(share_after(&s, 400, 400, 200), NEW_SHARE_MIN);
    struct new_share_events none_proved = {{100000, 0}, {20000, 0}};
    new_share_add(&s, &none_proved, 8000); /* nothing known of the proved */
    assert_int_equal(new_share_of(&s), NEW_SHARE_MIN);
    struct new_share_events few = {{NEW_SHARE_BATCH - 1, 0}, {5, 0}};
    new_share_add(&s, &few, 8000);
    assert_int_equal(few.returned[0], 5); /* kept until they are a batch */
}

/* Hardly any proved entry goes and none comes back: in time that is known. While nothing is, or
 * they do come back, the share stays. */
static void test_few_proved(void **state) {
    for (unsigned proved = 0; proved <= 24; proved += 12) {
        for (unsigned returned = 0; returned <= proved; returned += 12) {
            struct new_share s = {0};
            for (unsigned i = 0; i < 400; i++) {
                struct new_share_events events = {{1000, proved}, {300, returned}};
                new_share_add(&s, &events, 8000);
            }
            bool drifts = proved > 0 && returned == 0;
            assert_int_equal(new_share_of(&s) > 3 * NEW_SHARE_MIN, drifts);
        }
    }
}

static void test_pool(void **state) {
    struct evictor v = {.policy = EVICT_ALL_LRU};
    struct evict_pool *pool = &v.new_entries;
    struct evict_candidate c = {0}, out;
    for (unsigned i = 0; i < 200; i++) {
        c.at.line = i;
        c.rank = (i * 37) % 200;
        if (evict_pool_wants(pool, c.rank)) {
            evict_pool_add(pool, &c);
        }
    }
    assert_int_equal(pool->count, EVICT_POOL_MAX);
    assert_false(evict_pool_wants(pool, EVICT_POOL_MAX));
    c.at.line = 0; /* known as rank 0: its place is taken once */
    c.rank = 5000;
    evict_pool_add(pool, &c);
    assert_int_equal(pool->count, EVICT_POOL_MAX);
    for (unsigned rank = 1; rank < EVICT_POOL_MAX; rank++) {
        assert_true(evict_pool_take(pool, &out));
        assert_int_equal(out.rank, rank);
    }
    evictor_use(&v, EVICT_ALL_LRU);
    assert_int_equal(pool->count, 1);
    evictor_use(&v, EVICT_ALL_LFU);
    assert_false(evict_pool_take(pool, &out));
}

static uint64_t hash_of(uint64_t n) {
    return hash_bytes(9, &n, sizeof n);
}

static void test_ghosts(void **state) {
    enum { ENTRIES = 10000 };
    struct ghosts g = {0};
    ghosts_add(&g, hash_of(1), false); /* no room: forgotten */
    assert_int_equal(ghosts_take(&g, hash_of(1)), GHOST_NONE);
    ghosts_fit(&g, ENTRIES, false);
    assert_int_equal(g.count, 0);
    ghosts_fit(&g, ENTRIES, true);
    assert_true(g.count * sizeof *g.sets <= ENTRIES * 7 / 4);
    for (uint64_t n = 0; n < ENTRIES / 2; n++) {
        ghosts_add(&g, hash_of(n), n % 2);
    }
    ghosts_fit(&g, ENTRIES + ENTRIES / 100, true);
    unsigned known = 0, mistaken = 0, again = 0;
    for (uint64_t n = 0; n < ENTRIES / 2; n++) {
        mistaken += ghosts_take(&g, hash_of(n + 1000000)) != GHOST_NONE;
    }
    for (uint64_t n = 0; n < ENTRIES / 2; n++) {
        known += ghosts_take(&g, hash_of(n)) == (n % 2 ? GHOST_PROVED : GHOST_NEW);
        again += ghosts_take(&g, hash_of(n)) != GHOST_NONE;
    }
    assert_true(mistaken < ENTRIES / 2 / 250);
    assert_true(known > ENTRIES / 2 * 98 / 100);
    assert_true(again < ENTRIES / 2 / 250);
    for (uint64_t n = 0; n < 5 * ENTRIES; n++) {
        ghosts_add(&g, hash_of(n), n % 2);
    }
    unsigned old = 0;
    for (uint64_t n = 0; n < ENTRIES; n++) {
        old += ghosts_take(&g, hash_of(n)) != GHOST_NONE;
    }
    assert_true(old < ENTRIES / 20); /* others came in their place */
    ghosts_fit(&g, 10, false);
    assert_true(g.count == 1);
    ghosts_free(&g);
    assert_int_equal(g.count, 0);
}

/* Where there are few entries no more is remembered than where there are many, an entry. */
static void test_few_ghosts(void **state) {
    for (uint64_t entries = 1; entries <= 300; entries += 1 + entries / 4) {
        struct ghosts g = {0};
        unsigned known = 0;
        ghosts_fit(&g, entries, true);
        for (uint64_t n = 0; n < 20 * entries; n++) {
            ghosts_add(&g, hash_of(n), false);
        }
        for (uint64_t n = 0; n < 20 * entries; n++) {
            known += ghosts_take(&g, hash_of(n)) != GHOST_NONE;
        }
        assert_in_range(known, MAX(entries * 3 / 4, 1u), entries * 5 / 4 + 1);
        ghosts_free(&g);
    }
}

/* Where the places of a set become fewer, or more, the newest stay. */
static void test_ghosts_stay(void **state) {
    struct ghosts g = {0};
    ghosts_fit(&g, 28, true);
    uint32_t places = g.places, added = places + places / 2;
    assert_int_equal(g.count, 1);
    for (uint64_t n = 0; n < added; n++) {
        ghosts_add(&g, hash_of(n), false);
    }
    ghosts_fit(&g, 14, false);
    uint32_t fewer = g.places;
    assert_in_range(fewer, 4, places - 4);
    ghosts_add(&g, hash_of(added++), false); /* in the place of the oldest */
    ghosts_fit(&g, 28, true);
    ghosts_add(&g, hash_of(added++), false); /* in a vacant one */
    for (uint64_t n = 0; n < added; n++) {
        assert_int_equal(ghosts_take(&g, hash_of(n)),
                         n + fewer + 1 >= added ? GHOST_NEW : GHOST_NONE);
    }
    ghosts_free(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_pace),       cmocka_unit_test(test_clock_seconds),
        cmocka_unit_test(test_lru_bits),         cmocka_unit_test(test_lfu_bits),
        cmocka_unit_test(test_lfu_keeps_stamps), cmocka_unit_test(test_pool),
        cmocka_unit_test(test_lfu_ahead),        cmocka_unit_test(test_size_shift),
        cmocka_unit_test(test_new_share),        cmocka_unit_test(test_few_proved),
        cmocka_unit_test(test_ghosts),           cmocka_unit_test(test_few_ghosts),
        cmocka_unit_test(test_ghosts_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
