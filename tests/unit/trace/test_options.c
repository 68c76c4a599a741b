/* The command line: sizes, policies, servers, and what does not go together. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "options.h"

static bool parse(struct options *o, char *line) {
    char *words[32] = {"replay"};
    int count = 1, status;
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        words[count++] = word;
    }
    optind = 0; /* glibc: from the beginning */
    return options_parse(o, count, words, &status);
}

#define PARSE(o, text) parse(o, (char[]){text})

static void test_defaults(void **state) {
    struct options o;
    assert_true(PARSE(&o, "a.txt b.txt"));
    assert_int_equal(o.mode, MODE_POLICIES);
    assert_int_equal(o.paths_count, 2);
    assert_int_equal(o.sizes_count, 4);
    assert_int_equal(cache_size_amount(&o.sizes[0], 76349), 763);
    assert_int_equal(cache_size_amount(&o.sizes[3], 1000), 250);
    assert_int_equal(cache_size_amount(&o.sizes[0], 5), 1);
    assert_int_equal(o.engine.shards, 1);
}

static void test_values(void **state) {
    struct options o;
    assert_true(PARSE(&o, "--sizes 0.5%,4kb,100 --policies LRU,allkeys-lfu --ttl 2h --shards 8 t"));
    assert_int_equal(o.sizes_count, 3);
    assert_int_equal(cache_size_amount(&o.sizes[0], 1000), 5);
    assert_int_equal(cache_size_amount(&o.sizes[1], 1000), 4096);
    assert_int_equal(cache_size_amount(&o.sizes[2], 1000), 100);
    assert_int_equal(o.players_count, 2);
    assert_string_equal(o.players[1]->name, "allkeys-lfu");
    assert_int_equal(o.engine.ttl_ms, 7200000);
    assert_int_equal(o.engine.shards, 8);
    assert_true(PARSE(&o, "--server redis=localhost:6379 --server [::1]:7000 --maxmemory 10% t"));
    assert_int_equal(o.mode, MODE_SERVERS);
    assert_string_equal(o.servers[0].label, "redis");
    assert_string_equal(o.servers[0].host, "localhost");
    assert_string_equal(o.servers[0].port, "6379");
    assert_string_equal(o.servers[1].label, "[::1]:7000");
    assert_string_equal(o.servers[1].host, "::1");
    assert_true(PARSE(&o, "--maxmemory 1mb t"));
    assert_int_equal(o.mode, MODE_BUDGET);
    assert_true(PARSE(&o, "--mrc --svg x.svg t"));
    assert_int_equal(o.mode, MODE_CURVE);
}

static void test_refused(void **state) {
    struct options o;
    char *bad[] = {"",
                   "--sizes 0% t",
                   "--sizes 5%, t",
                   "--sizes x t",
                   "--sizes 0 t",
                   "--policies lru,clock t",
                   "--shards 0 t",
                   "--shards 65 t",
                   "--pipeline 1025 t",
                   "--ttl soon t",
                   "--server localhost t",
                   "--server :1 t",
                   "--mrc --table t",
                   "--peers t",
                   "--svg x.svg t",
                   "--flush t",
                   "--table --maxmemory 1mb t",
                   "--nosuch t"};
    char line[64];
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        snprintf(line, sizeof line, "%s", bad[i]);
        if (parse(&o, line)) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
}

static int quiet(void **state) {
    return freopen("/dev/null", "w", stderr) ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test_setup(test_refused, quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
