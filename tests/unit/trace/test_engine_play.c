/* The engine under a trace: it holds no more than it may, loses nothing without need, and repeats.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"
#include "jobs.h"
#include "trace_file.h"

enum { KEYS = 3000, REQUESTS = 40000 };

static struct trace *make_trace(bool sized) {
    char *text = mem_alloc(REQUESTS * 24), *at = text, error[TRACE_ERROR_BYTES];
    uint32_t draw = 5;
    for (int i = 0; i < REQUESTS; i++) {
        draw = draw * 1103515245 + 12345;
        unsigned a = (draw >> 8) % KEYS, b = (draw >> 17) % KEYS, key = a < b ? a : b;
        at += sprintf(at, "key:%u %u\n", key, sized ? 20 + key * 131 % 3000 : 0);
    }
    struct trace *t = trace_of(text, NULL, error);
    mem_free(text);
    assert_non_null(t);
    return t;
}

static struct engine_setup setup_of(enum evict_policy policy, uint64_t capacity, uint32_t shards) {
    return (struct engine_setup){.policy = policy,
                                 .capacity = capacity,
                                 .shards = shards,
                                 .samples = ENGINE_SAMPLES_DEFAULT,
                                 .unit_bytes = ENGINE_UNIT_BYTES,
                                 .rate = ENGINE_RATE_DEFAULT,
                                 .seed = 1};
}

static struct engine_result must_play(const struct trace *t, const struct engine_setup *setup) {
    struct engine_result r;
    char error[TRACE_ERROR_BYTES] = "";
    bool good = engine_play(t, setup, &r, error);
    assert_string_equal(error, "");
    assert_true(good);
    assert_int_equal(r.counts.requests, t->requests_count);
    assert_int_equal(r.counts.bytes, t->requested_bytes);
    return r;
}

/* Every policy, on 1, 2 and 8 shards, by objects and by bytes. */
static void check_policies(bool sized) {
    static const uint32_t shards[] = {1, 2, 8};
    struct trace *t = make_trace(sized);
    for (unsigned policy = EVICT_ALL_LRU; policy < EVICT_POLICIES_COUNT; policy++) {
        for (unsigned i = 0; i < 3; i++) {
            struct engine_setup setup =
                setup_of((enum evict_policy)policy, t->footprint / 5, shards[i]);
            struct engine_result r = must_play(t, &setup);
            assert_true(r.held <= setup.capacity);
            assert_true(r.held + t->size_max > setup.capacity); /* and it is used */
            assert_true(r.counts.misses > t->keys_count);
            assert_true(r.counts.misses < t->requests_count * 9ull / 10);
            assert_int_equal(r.counts.not_stored, 0);
            if (!sized) {
                assert_int_equal(r.keys, r.held);
            }
            setup.capacity = t->footprint;
            r = must_play(t, &setup);
            assert_int_equal(r.counts.misses, t->keys_count);
            assert_int_equal(r.keys, t->keys_count);
            assert_int_equal(r.held, t->footprint);
        }
    }
    trace_destroy(t);
}

static void test_objects(void **state) {
    check_policies(false);
}

static void test_bytes(void **state) {
    check_policies(true);
}

static void test_repeats(void **state) {
    struct trace *t = make_trace(true);
    struct engine_setup setup = setup_of(EVICT_ALL_LFU, t->footprint / 10, 2);
    struct engine_result first = must_play(t, &setup), second = must_play(t, &setup);
    assert_memory_equal(&first.counts, &second.counts, sizeof first.counts);
    trace_destroy(t);
}

/* Nothing may go: what does not fit is not stored, and the rest is kept. */
static void test_noeviction(void **state) {
    char error[TRACE_ERROR_BYTES];
    struct trace *t = trace_of("a\nb\nc\na\nb\nc\n", NULL, error);
    assert_non_null(t);
    struct engine_setup setup = setup_of(EVICT_NONE, 2, 1);
    struct engine_result r = must_play(t, &setup);
    assert_int_equal(r.counts.misses, 4);
    assert_int_equal(r.counts.not_stored, 2);
    assert_int_equal(r.keys, 2);
    trace_destroy(t);
}

static void test_too_large(void **state) {
    char error[TRACE_ERROR_BYTES];
    struct trace *t = trace_of("a 10\nb 50\na 10\nb 50\n", NULL, error);
    assert_non_null(t);
    struct engine_setup setup = setup_of(EVICT_ALL_LRU, 40, 1);
    struct engine_result r = must_play(t, &setup);
    assert_int_equal(r.counts.misses, 3);
    assert_int_equal(r.counts.missed_bytes, 110);
    assert_int_equal(r.counts.not_stored, 2);
    trace_destroy(t);
}

static void test_expired(void **state) {
    char error[TRACE_ERROR_BYTES] = "";
    struct trace *t = make_trace(false);
    struct engine_setup setup = setup_of(EVICT_ALL_LRU, t->footprint, 1);
    struct engine_result r;
    setup.ttl_ms = 1000; /* 1000 of the trace's 40000 requests */
    assert_false(engine_play(t, &setup, &r, error));
    assert_non_null(strstr(error, "longer --ttl"));
    trace_destroy(t);
}

/* With its own memory: the budget holds, and index and slack are part of it. */
static void test_memory(void **state) {
    struct trace *t = make_trace(true);
    struct engine_setup setup = setup_of(EVICT_ALL_LRU, 0, 1);
    setup.maxmemory_bytes = t->footprint / 4;
    struct engine_result r = must_play(t, &setup);
    assert_true(r.used_bytes <= setup.maxmemory_bytes + 2 * t->size_max);
    assert_true(r.used_bytes > setup.maxmemory_bytes / 2);
    assert_true(r.keys < t->keys_count && r.keys > 0);
    trace_destroy(t);
}

/* Round and round half as many keys again as there is room for: exact LRU never hits. What is
 * evicted from among the proved ones must not push those out of memory that were evicted new. */
static void test_loop(void **state) {
    enum { LOOP = 6000, ROUNDS = 12 };
    char *text = mem_alloc(LOOP * ROUNDS * 12), *at = text, error[TRACE_ERROR_BYTES];
    for (int i = 0; i < LOOP * ROUNDS; i++) {
        at += sprintf(at, "%d\n", i % LOOP);
    }
    struct trace *t = trace_of(text, NULL, error);
    mem_free(text);
    assert_non_null(t);
    struct engine_setup setup = setup_of(EVICT_ALL_LFU, LOOP * 2 / 3, 1);
    struct engine_result r = must_play(t, &setup);
    assert_true(r.counts.misses < t->requests_count * 3 / 4);
    trace_destroy(t);
}

/* A few entries in each partition, or less than one: no worse than S3-FIFO, which knows where all
 * of them are. */
static void test_few_entries(void **state) {
    static const uint64_t capacities[] = {10, 20, 60, 150};
    struct trace *t = make_trace(false);
    char error[TRACE_ERROR_BYTES];
    for (unsigned i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        const struct engine_setup setup = setup_of(EVICT_NONE, capacities[i], 1);
        struct job jobs[] = {
            {.trace = t, .player = player_find(SLICE("s3-fifo")), .capacity = capacities[i]},
            {.trace = t, .player = player_find(SLICE("allkeys-lfu")), .capacity = capacities[i]},
        };
        assert_true(jobs_run(jobs, 2, 1, &setup, error));
        uint64_t hits[2];
        for (unsigned j = 0; j < 2; j++) {
            hits[j] = jobs[j].counts.requests - jobs[j].counts.misses;
        }
        assert_true(hits[1] * 100 > hits[0] * 96);
    }
    trace_destroy(t);
}

static void test_names(void **state) {
    assert_string_equal(engine_policy_name(EVICT_VOLATILE_TTL), "volatile-ttl");
    assert_null(engine_policy_name(EVICT_POLICIES_COUNT));
    for (unsigned i = 0; i < EVICT_POLICIES_COUNT; i++) {
        const struct player *player = player_find(slice_str(engine_policy_name(i)));
        assert_non_null(player);
        assert_null(player->sim);
        assert_int_equal(player->engine, i);
    }
    assert_ptr_equal(player_find(SLICE("S3-FIFO"))->sim, &sim_s3fifo);
    assert_null(player_find(SLICE("allkeys")));
}

/* Threads come to the same results as one. */
static void test_jobs(void **state) {
    struct trace *t = make_trace(false);
    const struct engine_setup setup = setup_of(EVICT_NONE, 0, 1);
    uint32_t count;
    const struct player *all = players_all(&count);
    struct job one[PLAYERS_MAX], four[PLAYERS_MAX];
    char error[TRACE_ERROR_BYTES];
    for (uint32_t i = 0; i < count; i++) {
        one[i] = four[i] = (struct job){.trace = t, .player = &all[i], .capacity = 200};
    }
    assert_true(jobs_run(one, count, 1, &setup, error));
    assert_true(jobs_run(four, count, 4, &setup, error));
    for (uint32_t i = 0; i < count; i++) {
        assert_memory_equal(&one[i].counts, &four[i].counts, sizeof one[i].counts);
        assert_int_equal(one[i].counts.requests, t->requests_count);
    }
    trace_destroy(t);
}

static int register_thread(void **state) {
    mem_thread_register();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects),     cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_repeats),     cmocka_unit_test(test_noeviction),
        cmocka_unit_test(test_too_large),   cmocka_unit_test(test_expired),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_loop),
        cmocka_unit_test(test_few_entries), cmocka_unit_test(test_names),
        cmocka_unit_test(test_jobs),
    };
    return cmocka_run_group_tests(tests, register_thread, NULL);
}
