/* The sweep's controller, alone and with a keyspace in simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/assert.h"
#include "engine/keyspace.h"

/* --- the controller alone --- */

enum { ENTRIES = 100000 };

static void test_slowest(void **state) {
    struct expire_pace p = {0};
    expire_pace_turn(&p, 1000, ENTRIES);
    assert_int_equal(p.left, 0); /* no time has passed */
    for (int64_t now_ms = 1100; now_ms < 60000; now_ms += 100) {
        expire_pace_turn(&p, now_ms, ENTRIES);
        assert_int_equal(p.left, PACE_SLOTS_A_S_MIN / 10);
        expire_pace_met(&p, p.left, 200, 200, 0);
        assert_int_equal(p.left, 0);
    }
    assert_false(expire_pace_is_hot(&p));
    assert_false(expire_pace_is_fast(&p, ENTRIES));
    expire_pace_turn(&p, 500, ENTRIES); /* the clock was set back */
    assert_int_equal(p.left, 0);
    expire_pace_turn(&p, 600, ENTRIES);
    assert_int_equal(p.left, PACE_SLOTS_A_S_MIN / 10);
    expire_pace_turn(&p, 600 + 100 * PACE_TURN_MS_MAX, ENTRIES); /* a long pause */
    assert_int_equal(p.left, PACE_SLOTS_A_S_MIN);
}

static void test_fastest(void **state) {
    struct expire_pace p = {0};
    for (int64_t now_ms = 1000; now_ms < 6000; now_ms += 100) {
        expire_pace_turn(&p, now_ms, ENTRIES);
        uint64_t slots = p.left;
        expire_pace_met(&p, slots, 1000, 1000, 1000);
        assert_int_equal(p.left, slots); /* goes on: all that is met is due */
    }
    assert_true(expire_pace_is_hot(&p) && expire_pace_is_fast(&p, ENTRIES));
    assert_int_equal(p.slots_a_s, (uint64_t)ENTRIES * 160 / 100 * PACE_ROUNDS_A_S_MAX);
    for (int64_t now_ms = 6000; now_ms < 12000; now_ms += 100) { /* and back again */
        expire_pace_turn(&p, now_ms, ENTRIES);
        expire_pace_met(&p, p.left, 1000, 1000, 0);
    }
    assert_int_equal(p.slots_a_s, PACE_SLOTS_A_S_MIN);
}

/* What is wanted keeps the speed; twice as much doubles it. */
static void test_proportional(void **state) {
    struct expire_pace p = {0};
    expire_pace_turn(&p, 1000, ENTRIES);
    p.slots_a_s = 50000;
    expire_pace_met(&p, 1000, 10000, 10000, 400);
    expire_pace_turn(&p, 1100, ENTRIES);
    assert_int_equal(p.slots_a_s, 50000);
    expire_pace_met(&p, 1000, 10000, 10000, 800);
    expire_pace_turn(&p, 1200, ENTRIES);
    assert_int_equal(p.slots_a_s, 100000);
    expire_pace_met(&p, 1000, 10000, 100, 40); /* 40% of the few with a TTL */
    expire_pace_turn(&p, 1300, ENTRIES);
    assert_int_equal(p.slots_a_s, 100000); /* too few to tell */
    expire_pace_met(&p, 1000, 50000, 500, 200);
    expire_pace_turn(&p, 1400, ENTRIES);
    assert_int_equal(p.slots_a_s, 200000);
}

/* --- a keyspace in simulated time --- */

struct sim {
    struct keyspace *ks;
    int64_t now_ms;
    unsigned next;
    bool fast;
    uint64_t steps; /* of part_maintain */
    char text[32];
};

static void add(struct sim *sim, int64_t ttl_ms) {
    int len = snprintf(sim->text, sizeof sim->text, "key:%u", sim->next++);
    struct key key = keyspace_key(sim->ks, slice_of(sim->text, (size_t)len));
    struct partition *p = keyspace_partition(sim->ks, key.hash);
    lock_take(&p->lock);
    part_set_string(p, 0, &key, SLICE("v"), ttl_ms ? sim->now_ms + ttl_ms : EXPIRE_NEVER);
    lock_release(&p->lock);
}

/* What the shard does, with all the time it wants, but `steps_max` a partition. */
static void turns(struct sim *sim, uint64_t steps_max) {
    sim->now_ms += sim->fast ? PACE_FAST_TURN_MS : 100;
    sim->fast = false;
    for (uint32_t i = 0; i < sim->ks->partitions_count; i++) {
        struct partition *p = sim->ks->partitions[i];
        uint64_t steps = 0;
        lock_take(&p->lock);
        sim->fast |= part_expire_turn(p, sim->now_ms);
        for (; p->pace.left > 0 && steps < steps_max; steps++) {
            uint64_t before = p->stats.expired;
            part_maintain(p, sim->now_ms, 448);
            assert_true(p->stats.expired - before < 256); /* a step is bounded */
        }
        lock_release(&p->lock);
        sim->steps += steps;
    }
}

struct present {
    uint64_t all, ttl, expired;
};

static struct present look(const struct sim *sim) {
    struct present n = {0, 0, 0};
    for (uint32_t i = 0; i < sim->ks->partitions_count; i++) {
        struct table *t = sim->ks->partitions[i]->db[0];
        struct table_iter it = {0, 0};
        for (struct table_ref ref; t && (ref = table_next(t, &it)).slot;) {
            n.all++;
            n.ttl += table_is_volatile(ref);
            n.expired += entry_is_expired(table_entry(ref), sim->now_ms);
        }
    }
    return n;
}

static int setup(void **state) {
    static struct sim sim;
    sim = (struct sim){.ks = keyspace_create(1, 7, NULL), .now_ms = 1000000};
    *state = &sim;
    return 0;
}

static int teardown(void **state) {
    struct sim *sim = *state;
    keyspace_destroy(sim->ks);
    return 0;
}

/* 10^5 keys, TTL spread over 200 s, new ones as the old expire: the rates of 10^7 keys over five
 * hours. At most 5% expired all the time, with few steps. */
static void test_steady(void **state) {
    struct sim *sim = *state;
    enum { KEYS = 100000, SPAN_MS = 200000 };
    for (unsigned n = 0; n < KEYS; n++) {
        add(sim, 1 + (int64_t)n * SPAN_MS / KEYS);
    }
    for (unsigned turn = 0; turn < 2 * SPAN_MS / 100; turn++) {
        turns(sim, UINT64_MAX);
        for (unsigned n = 0; n < KEYS / (SPAN_MS / 100); n++) {
            add(sim, SPAN_MS);
        }
        if (turn % 50 == 49) {
            struct present n = look(sim);
            assert_true(n.expired * 100 <= n.all * 5);
            assert_in_range(n.all, KEYS * 97 / 100, KEYS * 107 / 100);
        }
        if (turn == SPAN_MS / 100) {
            sim->steps = 0;
        }
    }
    /* A round of about 370 steps each 8 s (4% of the span), not ten times as many. */
    assert_in_range(sim->steps, 1000, 80000);
    assert_false(sim->fast);
    uint64_t ttl_ms = keyspace_mean_ttl_ms(sim->ks, NULL, 0);
    assert_in_range(ttl_ms, SPAN_MS * 4 / 10, SPAN_MS * 6 / 10);
}

/* All due at once: gone within two seconds, in bounded steps. */
static void test_same_second(void **state) {
    struct sim *sim = *state;
    enum { KEYS = 200000 };
    int64_t due_ms = sim->now_ms + 20000;
    for (unsigned n = 0; n < KEYS; n++) {
        add(sim, due_ms - sim->now_ms);
    }
    while (sim->now_ms < due_ms - 100) {
        turns(sim, UINT64_MAX);
    }
    assert_int_equal(look(sim).all, KEYS);
    while (sim->now_ms < due_ms + 2000) {
        turns(sim, 200);
    }
    assert_int_equal(look(sim).all, 0);
    sim->steps = 0;
    turns(sim, UINT64_MAX);
    assert_int_equal(sim->steps, 0); /* nothing has a TTL: nothing is walked */
}

/* 1% live for 5 s among those that stay: of that 1%, not much is expired. */
static void test_few_short(void **state) {
    struct sim *sim = *state;
    enum { KEYS = 100000, SHORT = KEYS / 100, SHORT_MS = 5000 };
    for (unsigned n = 0; n < KEYS; n++) {
        add(sim, n % 2 ? 0 : 100000000);
    }
    for (unsigned turn = 0; turn < 600; turn++) {
        turns(sim, UINT64_MAX);
        for (unsigned n = 0; n < SHORT / (SHORT_MS / 100); n++) {
            add(sim, SHORT_MS);
        }
        if (turn > 200 && turn % 20 == 0) {
            struct present n = look(sim);
            assert_true(n.expired * 100 <= n.all * 5);
        }
    }
}

/* The same among keys without TTL: the share of those with one counts. */
static void test_few_with_ttl(void **state) {
    struct sim *sim = *state;
    enum { KEYS = 100000, SHORT_MS = 5000 };
    for (unsigned n = 0; n < KEYS; n++) {
        add(sim, 0);
    }
    for (unsigned turn = 0; turn < 600; turn++) {
        turns(sim, UINT64_MAX);
        for (unsigned n = 0; n < 100; n++) {
            add(sim, SHORT_MS);
        }
        if (turn > 200 && turn % 20 == 0) {
            struct present n = look(sim);
            assert_true(n.expired * 100 <= n.ttl * 30);
        }
    }
}

/* A TTL of a second under steady SETs. */
static void test_one_second(void **state) {
    struct sim *sim = *state;
    enum { A_SECOND = 50000 };
    for (unsigned turn = 0; turn < 400; turn++) {
        int64_t before_ms = sim->now_ms;
        turns(sim, UINT64_MAX);
        for (int64_t n = 0; n < A_SECOND * (sim->now_ms - before_ms) / 1000; n++) {
            add(sim, 1000);
        }
        if (turn > 100) {
            struct present n = look(sim);
            assert_true(n.expired * 100 <= n.all * 5);
        }
    }
    assert_true(sim->fast);
}

int main(void) {
#define SIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slowest), cmocka_unit_test(test_fastest),
        cmocka_unit_test(test_proportional),
        SIM(test_steady), SIM(test_same_second), SIM(test_few_short), SIM(test_few_with_ttl),
        SIM(test_one_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
