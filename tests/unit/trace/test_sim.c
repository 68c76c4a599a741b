/* The simulated policies against results worked out by hand. A trace is a word of letters; what
 * comes of each request is h (hit) or m (miss). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "sim.h"

enum { LETTERS = 26, REQUESTS_MAX = 64 };

static uint32_t next_of(const char *trace, uint32_t at) {
    const char *next = strchr(trace + at + 1, trace[at]);
    return next ? (uint32_t)(next - trace) : TRACE_NEVER;
}

static void check(const struct sim_policy *policy, uint64_t capacity, const char *trace,
                  const char *expected) {
    struct sim s;
    char got[REQUESTS_MAX + 1] = "";
    assert_true(strlen(trace) <= REQUESTS_MAX);
    sim_init(&s, policy, LETTERS, capacity);
    for (uint32_t i = 0; trace[i]; i++) {
        got[i] = sim_access(&s, (uint32_t)(trace[i] - 'A'), 1, next_of(trace, i)) == SIM_HIT
                     ? 'h'
                     : 'm';
        assert_true(s.used <= capacity);
    }
    sim_deinit(&s);
    assert_string_equal(got, expected);
}

static unsigned misses(const struct sim_policy *policy, uint64_t capacity, const char *trace) {
    struct sim s;
    unsigned count = 0;
    sim_init(&s, policy, LETTERS, capacity);
    for (uint32_t i = 0; trace[i]; i++) {
        count += sim_access(&s, (uint32_t)(trace[i] - 'A'), 1, next_of(trace, i)) != SIM_HIT;
    }
    sim_deinit(&s);
    return count;
}

/* The reference string of the operating-system textbooks, 7 0 1 2 0 3 0 4 2 3 0 3 2 1 2 0 1 7 0 1
 * in three frames: 15 faults of FIFO, 12 of LRU, 9 of the optimum. And FIFO's anomaly. */
static void test_textbook(void **state) {
    const char *trace = "HABCADAECDADCBCABHAB";
    assert_int_equal(misses(&sim_fifo, 3, trace), 15);
    assert_int_equal(misses(&sim_lru, 3, trace), 12);
    assert_int_equal(misses(&sim_belady, 3, trace), 9);
    assert_int_equal(misses(&sim_fifo, 3, "ABCDABEABCDE"), 9);
    assert_int_equal(misses(&sim_fifo, 4, "ABCDABEABCDE"), 10);
}

static void test_lru_and_fifo(void **state) {
    check(&sim_lru, 3, "ABCADB", "mmmhmm");
    check(&sim_fifo, 3, "ABCADA", "mmmhmm");
    check(&sim_lru, 3, "ABCADA", "mmmhmh");
    check(&sim_lru, 1, "AAB", "mhm");
}

static void test_lfu(void **state) {
    check(&sim_lfu, 2, "AABCABC", "mhmmhmm"); /* A stays, B and C take the other place in turn */
    check(&sim_lfu, 2, "ABCBA", "mmmhm");     /* a tie: the least recently used one, A, goes */
    check(&sim_lfu, 2, "AAABBCBCB", "mhhmhmmmm"); /* frequency is forgotten with the object */
}

/* C goes first (A and B were visited), the hand then stands past the newest, so A goes, then D
 * behind B, which was visited again; B is never passed by. LRU would lose B at the end. */
static void test_sieve(void **state) {
    check(&sim_sieve, 3, "ABCABDEBFDEB", "mmmhhmmhmmmh");
    check(&sim_lru, 3, "ABCABDEBFDEB", "mmmhhmmhmmmm");
}

/* Ten objects fill small. A, used twice, moves to main when K comes, and B, used once, to the
 * ghosts, from where it comes back to main, as C and D do; what is used once then passes through
 * small and leaves main alone. */
static void test_s3fifo_small_and_ghost(void **state) {
    check(&sim_s3fifo, 10, "ABCDEFGHIJAABKBACDFELMNOPQRSTUVWXYZABCD",
          "mmmmmmmmmm"
          "hhhmmhmmhm"
          "mmmmmmmmmmmmmmm"
          "hhhh");
}

/* Small empties into main, so E takes A's place, which leaves no ghost; E passes through the
 * ghosts into main; B was used and gets another round, C goes. */
static void test_s3fifo_main(void **state) {
    check(&sim_s3fifo, 4, "ABCDAABBCCDDEAEBFCDBE",
          "mmmm"
          "hhhhhhhh"
          "mmmhmmhhh");
}

static void test_sizes(void **state) {
    struct sim s;
    enum { A, B, C, D };
    sim_init(&s, &sim_lru, LETTERS, 10);
    assert_int_equal(sim_access(&s, A, 4, TRACE_NEVER), SIM_MISS);
    assert_int_equal(sim_access(&s, B, 4, TRACE_NEVER), SIM_MISS);
    assert_int_equal(sim_access(&s, C, 4, TRACE_NEVER), SIM_MISS); /* A goes */
    assert_int_equal(s.used, 8);
    assert_int_equal(sim_access(&s, D, 11, TRACE_NEVER), SIM_MISS_NOT_STORED);
    assert_int_equal(sim_access(&s, B, 9, TRACE_NEVER), SIM_HIT); /* keeps the size it has */
    assert_int_equal(s.used, 8);
    assert_int_equal(sim_access(&s, D, 7, TRACE_NEVER), SIM_MISS); /* both must go */
    assert_int_equal(s.used, 7);
    assert_int_equal(sim_access(&s, B, 3, TRACE_NEVER), SIM_MISS); /* stored smaller now */
    assert_int_equal(s.used, 10);
    sim_deinit(&s);
}

/* Nothing beats Belady on objects of one size, and no cache of the whole footprint misses twice. */
static void test_bounds(void **state) {
    const struct sim_policy *all[] = {&sim_lru,    &sim_fifo, &sim_sieve,
                                      &sim_s3fifo, &sim_lfu,  &sim_belady};
    char trace[REQUESTS_MAX + 1] = "";
    uint32_t draw = 7;
    for (int round = 0; round < 200; round++) {
        bool seen[LETTERS] = {false};
        unsigned keys = 0;
        for (int i = 0; i < REQUESTS_MAX; i++) {
            draw = draw * 1103515245 + 12345;
            unsigned a = draw >> 16 & 15, b = draw >> 20 & 15;
            trace[i] = (char)('A' + (a < b ? a : b));
            keys += !seen[trace[i] - 'A'];
            seen[trace[i] - 'A'] = true;
        }
        for (uint64_t capacity = 1; capacity <= keys; capacity++) {
            unsigned optimum = misses(&sim_belady, capacity, trace);
            for (unsigned i = 0; i < ARRAY_COUNT(all); i++) {
                assert_true(misses(all[i], capacity, trace) >= optimum);
            }
        }
        for (unsigned i = 0; i < ARRAY_COUNT(all); i++) {
            assert_int_equal(misses(all[i], keys, trace), keys);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_textbook),   cmocka_unit_test(test_lru_and_fifo),
        cmocka_unit_test(test_lfu),        cmocka_unit_test(test_sieve),
        cmocka_unit_test(test_s3fifo_small_and_ghost),
        cmocka_unit_test(test_s3fifo_main), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
