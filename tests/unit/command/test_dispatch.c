#include "harness.h"

#include "base/clock.h"

#include <stdio.h>

#define MAP "product product:{id} table=products as=string:name ttl=1h jitter=0%"

static uint64_t errors_of(const struct harness *h, const char *prefix) {
    for (int i = 0; i < STATS_ERROR_KINDS_MAX; i++) {
        if (strcmp(h->stats.errors[i].name, prefix) == 0) {
            return stat_get(&h->stats.errors[i].count);
        }
    }
    return 0;
}

static struct command_stats *stats_of(struct harness *h, const char *name) {
    uint32_t id;
    assert_non_null(command_table_find(h->table, slice_str(name), &id));
    return &h->stats.per_command[id];
}

static void unknown_commands(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n");
    assert_reply(h, "foo a 'b c'",
                 "-ERR unknown command 'foo', with args beginning with: 'a' 'b c' \r\n");
    assert_reply(h, "\"f\\r\\no\" \"a\\nb\"",
                 "-ERR unknown command 'f  o', with args beginning with: 'a b' \r\n");
    assert_reply(h, "client nope", "-ERR unknown subcommand 'nope'. Try CLIENT HELP.\r\n");
    assert_reply(h, "Config nope x", "-ERR unknown subcommand 'nope'. Try CONFIG HELP.\r\n");
    assert_int_equal(errors_of(h, "ERR"), 5);
    harness_destroy(h);
}

static void echoed_arguments_are_cut(void **state) {
    struct harness *h = harness_create(NULL);
    char line[1024], expected[1024], a[301];
    memset(a, 'a', 300);
    a[300] = 0;
    snprintf(line, sizeof line, "%s", a);
    snprintf(expected, sizeof expected,
             "-ERR unknown command '%.128s', with args beginning with: \r\n", a);
    assert_reply(h, line, expected);
    snprintf(line, sizeof line, "foo %.100s %.100s tail", a, a);
    /* 103 bytes of the first argument with its quotes leave 25. */
    snprintf(expected, sizeof expected,
             "-ERR unknown command 'foo', with args beginning with: '%.100s' '%.25s' \r\n", a, a);
    assert_reply(h, line, expected);
    harness_destroy(h);
}

static void arity(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "GET", "-ERR wrong number of arguments for 'get' command\r\n");
    assert_reply(h, "Get a b", "-ERR wrong number of arguments for 'get' command\r\n");
    assert_reply(h, "CLIENT", "-ERR wrong number of arguments for 'client' command\r\n");
    assert_reply(h, "CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command\r\n");
    assert_reply(h, "PING a b", "-ERR wrong number of arguments for 'ping' command\r\n");
    assert_int_equal(stat_get(&stats_of(h, "get")->rejected), 2);
    assert_int_equal(stat_get(&stats_of(h, "get")->calls), 0);
    assert_int_equal(stat_get(&stats_of(h, "ping")->failed), 1);
    harness_destroy(h);
}

static void a_browser_is_closed(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply_as(h, 0, "POST / HTTP/1.1", "");
    assert_true(client_has(&h->clients[0], CLIENT_CLOSE));
    assert_reply_as(h, 1, "host: localhost", "");
    assert_true(client_has(&h->clients[1], CLIENT_CLOSE));
    harness_destroy(h);
}

static void authentication_stands_before_all_but_arity(void **state) {
    struct harness *h = harness_create(NULL);
    strcpy(h->settings.requirepass, "secret");
    h->env.over_limit = true;
    assert_reply(h, "GET a", "-NOAUTH Authentication required.\r\n");
    assert_reply(h, "SET a 1", "-NOAUTH Authentication required.\r\n");
    assert_reply(h, "GET", "-ERR wrong number of arguments for 'get' command\r\n");
    assert_reply(h, "NOPE", "-ERR unknown command 'NOPE', with args beginning with: \r\n");
    assert_reply(h, "AUTH secret", "+OK\r\n");
    assert_reply(h, "SET a 1",
                 "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_reply(h, "GET a", "$-1\r\n");
    assert_int_equal(errors_of(h, "NOAUTH"), 2);
    assert_int_equal(errors_of(h, "OOM"), 1);
    harness_destroy(h);
}

static void key_positions(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "COMMAND GETKEYS GET a", "*1\r\n$1\r\na\r\n");
    assert_reply(h, "COMMAND GETKEYS MSET a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_reply(h, "COMMAND GETKEYS DEL a b c", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    assert_reply(h, "COMMAND GETKEYS MEMORY USAGE a", "*1\r\n$1\r\na\r\n");
    assert_reply(h, "COMMAND GETKEYS PING", "-ERR The command has no key arguments\r\n");
    assert_reply(h, "COMMAND GETKEYS NOPE a", "-ERR Invalid command specified\r\n");
    assert_reply(h, "COMMAND GETKEYS GET a b",
                 "-ERR Invalid number of arguments specified for command\r\n");
    assert_reply(h, "COMMAND GETKEYSANDFLAGS GET a",
                 "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+RO\r\n+access\r\n");
    harness_destroy(h);
}

static void keys_are_counted_and_hashed(void **state) {
    struct harness *h = harness_create(NULL);
    struct slice argv[] = {SLICE("MGET"), SLICE("a"), SLICE("b"), SLICE("c")};
    struct key keys[3];
    struct cmd c = {.client = &h->clients[0], .env = &h->env, .argv = argv, .argc = 4};
    dispatch_find(&c);
    assert_int_equal(dispatch_keys(&c, keys, 2), 3); /* no room: only the number */
    assert_int_equal(dispatch_keys(&c, keys, 3), 3);
    assert_true(slice_eq(keys[2].bytes, SLICE("c")));
    assert_true(keys[2].hash == keyspace_key(h->ks, SLICE("c")).hash);
    c.argc = 1; /* too few: no keys, the error follows */
    assert_int_equal(dispatch_keys(&c, keys, 3), 0);
    harness_destroy(h);
}

static void silenced_replies(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "CLIENT REPLY OFF", "");
    assert_reply(h, "SET a 1", "");
    assert_reply(h, "NOPE", "");
    assert_reply(h, "MULTI", "");
    assert_reply(h, "GET a", "");
    assert_reply(h, "EXEC", "");
    assert_reply(h, "CLIENT REPLY SKIP", "");
    assert_reply(h, "CLIENT REPLY ON", "+OK\r\n");
    assert_reply(h, "GET a", "$1\r\n1\r\n");
    assert_reply(h, "CLIENT REPLY SKIP", "");
    assert_reply(h, "NOPE", "");
    assert_reply(h, "GET a", "$1\r\n1\r\n");
    assert_reply(h, "CLIENT REPLY MAYBE", "-ERR syntax error\r\n");
    assert_int_equal(errors_of(h, "ERR"), 3);
    harness_destroy(h);
}

static void statistics(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "SET a x");
    assert_reply(h, "INCR a", "-ERR value is not an integer or out of range\r\n");
    assert_reply(h, "INCR b", ":1\r\n");
    assert_int_equal(stat_get(&stats_of(h, "incr")->calls), 2);
    assert_int_equal(stat_get(&stats_of(h, "incr")->failed), 1);
    assert_int_equal(stat_get(&h->stats.commands), 3);
    assert_int_equal(stat_get(&h->clients[0].total_commands), 3);
    assert_int_equal(errors_of(h, "ERR"), 1);
    assert_int_equal(stat_get(&h->stats.error_replies), 1);
    harness_destroy(h);
}

static void error_kinds_have_a_limit(void **state) {
    struct harness *h = harness_create(NULL);
    char name[16];
    for (int i = 0; i < STATS_ERROR_KINDS_MAX + 5; i++) {
        snprintf(name, sizeof name, "E%d", i);
        stats_count_error(&h->stats, name);
    }
    stats_count_error(&h->stats, "E3");
    assert_int_equal(errors_of(h, "E3"), 2);
    assert_int_equal(errors_of(h, "E64"), 0);
    assert_int_equal(stat_get(&h->stats.error_replies), STATS_ERROR_KINDS_MAX + 6);
    harness_destroy(h);
}

/* --- mapped rows --- */

static void a_row_is_read_through(void **state) {
    struct harness *h = harness_create(MAP);
    h->row_value = "table";
    assert_reply(h, "GET product:1", "$5\r\ntable\r\n");
    assert_int_equal(h->outcome, CMD_MISS);
    assert_int_equal(h->loads, 1);
    assert_int_equal(stat_get(&h->stats.row_misses), 1);
    assert_reply(h, "GET product:1", "$5\r\ntable\r\n");
    assert_int_equal(h->outcome, CMD_DONE);
    assert_int_equal(h->loads, 1);
    assert_int_equal(stat_get(&h->stats.row_hits), 2);
    assert_reply(h, "GET other:1", "$-1\r\n");
    assert_int_equal(h->loads, 1);
    assert_int_equal(stat_get(&stats_of(h, "get")->calls), 3);
    /* Rows are keys of database 0. */
    run(h, "SELECT 1");
    assert_reply(h, "GET product:1", "$-1\r\n");
    assert_int_equal(h->loads, 1);
    harness_destroy(h);
}

static void a_row_that_was_not_stored_is_served_once(void **state) {
    struct harness *h = harness_create(MAP);
    h->row_value = "table";
    h->rows_are_stored = false;
    assert_reply(h, "MGET product:1 product:2 product:1",
                 "*3\r\n$5\r\ntable\r\n$5\r\ntable\r\n$5\r\ntable\r\n");
    assert_int_equal(h->loads, 2); /* each key once */
    assert_reply(h, "GET product:1", "$5\r\ntable\r\n");
    assert_int_equal(h->loads, 3);
    assert_int_equal(stat_get(&h->stats.row_misses), 3);
    harness_destroy(h);
}

static void an_absent_row_is_remembered(void **state) {
    struct harness *h = harness_create(MAP);
    assert_reply(h, "GET product:1", "$-1\r\n");
    assert_reply(h, "EXISTS product:1", ":0\r\n");
    assert_int_equal(h->loads, 1);
    assert_reply(h, "DBSIZE", ":0\r\n");
    harness_destroy(h);
}

static void a_failed_load_replaces_the_reply(void **state) {
    struct harness *h = harness_create(MAP);
    h->row_error = "STOREDOWN no connection";
    assert_reply(h, "MGET a product:1", "-STOREDOWN no connection\r\n");
    assert_int_equal(errors_of(h, "STOREDOWN"), 1);
    assert_int_equal(stat_get(&stats_of(h, "mget")->failed), 1);
    harness_destroy(h);
}

static void a_stale_copy_is_not_served(void **state) {
    struct harness *h = harness_create(MAP);
    h->row_value = "old";
    run(h, "GET product:1");
    h->row_value = "new";
    assert_reply(h, "GET product:1", "$3\r\nold\r\n");
    h->settings.maps->v[0]->generation++;
    assert_reply(h, "GET product:1", "$3\r\nnew\r\n");
    h->settings.maps->v[0]->generation++;
    assert_reply(h, "EXPIRE product:1 10", ":0\r\n");
    harness_destroy(h);
}

static void more_misses_than_fit_are_loaded_in_turns(void **state) {
    struct harness *h = harness_create(MAP);
    struct buf line = {0};
    h->row_value = "x";
    h->rows_are_stored = true;
    buf_printf(&line, "EXISTS");
    for (int i = 0; i < ENV_MISSES_MAX + 10; i++) {
        buf_printf(&line, " product:%d", i);
    }
    buf_append_char(&line, 0);
    assert_reply(h, line.ptr, ":1034\r\n");
    assert_int_equal(h->loads, ENV_MISSES_MAX + 10);
    assert_int_equal(stat_get(&h->stats.row_misses), ENV_MISSES_MAX + 10);
    buf_free(&line);
    harness_destroy(h);
}

#define DENIED                                                                                     \
    "-STOREDENIED the key is a row of a mapping without write=: it can only be read\r\n"
#define UNSUPPORTED                                                                                \
    "-STOREUNSUPPORTED this command is not supported on a key that is a mapped row\r\n"

static void rows_are_not_written(void **state) {
    struct harness *h = harness_create(MAP);
    assert_reply(h, "SET product:1 x", DENIED);
    assert_reply(h, "MSET a 1 product:1 x", DENIED);
    assert_reply(h, "EXISTS a", ":0\r\n");
    assert_reply(h, "RENAME a product:1", UNSUPPORTED);
    assert_reply(h, "DEL product:1", ":0\r\n");
    assert_reply(h, "SELECT 1", "+OK\r\n");
    assert_reply(h, "SET product:1 x", "+OK\r\n");
    assert_reply(h, "MOVE product:1 0", UNSUPPORTED);
    assert_reply(h, "COPY product:1 product:2 DB 0", UNSUPPORTED);
    assert_reply(h, "COPY product:1 a DB 0", ":1\r\n");
    assert_reply(h, "COPY product:1 product:2 DB 2", ":1\r\n");
    assert_reply(h, "SWAPDB 0 1",
                 "-STOREUNSUPPORTED database 0 holds mapped rows: it can't be swapped\r\n");
    assert_reply(h, "SWAPDB 1 2", "+OK\r\n");
    harness_destroy(h);
}

static void expected_rows_are_gathered_under_locks(void **state) {
    struct harness *h = harness_create(MAP);
    struct slice argv[] = {SLICE("MGET"), SLICE("product:1"), SLICE("a"), SLICE("product:2")};
    struct key keys[3];
    struct cmd c = {.client = &h->clients[0], .env = &h->env, .argv = argv, .argc = 4, .keys = keys};
    h->row_value = "x";
    run(h, "GET product:2");
    h->env.misses_count = 0;
    dispatch_find(&c);
    c.keys_count = dispatch_keys(&c, keys, 3);
    dispatch_expect_rows(&c);
    assert_int_equal(h->env.misses_count, 1);
    assert_true(slice_eq(h->env.misses[0].key.bytes, SLICE("product:1")));
    assert_true(slice_eq(h->env.misses[0].values[0], SLICE("1")));
    harness_destroy(h);
}

/* However much room there is, a reply is never longer than its client may hold. */
static void a_reply_has_an_end(void **state) {
    struct harness *h = harness_create(NULL);
    char set[1024];
    memset(set, 'v', sizeof set);
    memcpy(set, "SET a ", 6);
    set[sizeof set - 1] = '\0';
    assert_reply(h, set, "+OK\r\n");
    struct buf mget = {0};
    buf_append_slice(&mget, SLICE("MGET"));
    for (int i = 0; i < 200; i++) {
        buf_append_slice(&mget, SLICE(" a"));
    }
    buf_append_char(&mget, '\0');
    h->settings.read_bytes_max = CHAIN_LIMIT_MIN;
    h->settings.reply_bytes_max = 2 * CHAIN_LIMIT_MIN;
    h->settings.exempt_reply_bytes_max = 4 * CHAIN_LIMIT_MIN;
    h->room_bytes = CMD_ROOM_ANY;
    assert_reply(h, mget.ptr, "");
    assert_true(client_has(&h->clients[0], CLIENT_CLOSE));
    client_init(&h->clients[1], 2, h->env.now_ms);
    client_set(&h->clients[1], CLIENT_NO_EVICT);
    assert_true(strlen(run_as(h, 1, mget.ptr)) > 200 * 1000);
    h->settings.exempt_reply_bytes_max = 2 * CHAIN_LIMIT_MIN;
    assert_reply_as(h, 1, mget.ptr, "");
    assert_true(client_has(&h->clients[1], CLIENT_CLOSE));
    buf_free(&mget);
    harness_destroy(h);
}

/* What its arguments take is asked for before anything is locked, and behind all refusals. */
static void a_large_request_asks_for_room(void **state) {
    struct harness *h = harness_create(NULL);
    static char bytes[128 * 1024];
    struct slice argv[] = {SLICE("SET"), SLICE("a"), slice_of(bytes, sizeof bytes)};
    struct chain out;
    chain_init(&out, &h->chunks);
    struct resp_writer w = {.out = &out, .proto = 2};
    struct cmd c = {.client = &h->clients[0], .env = &h->env, .argv = argv, .argc = 3,
                    .args_bytes = sizeof bytes + 30, .w = &w};
    h->settings.growth_bytes_max = 64 * 1024;
    strcpy(h->settings.requirepass, "secret");
    dispatch_find(&c);
    assert_int_equal(dispatch_check(&c), DISPATCH_REPLIED);
    assert_int_equal(c.outcome, CMD_DONE); /* NOAUTH */
    assert_true(out.len_bytes > 0);
    chain_clear(&out);
    h->settings.requirepass[0] = '\0';
    assert_int_equal(dispatch_check(&c), DISPATCH_REPLIED);
    assert_int_equal(c.outcome, CMD_ROOM);
    assert_true(c.room_bytes > sizeof bytes && out.len_bytes == 0);
    c.outcome = CMD_DONE;
    assert_int_equal(dispatch_check(&c), DISPATCH_RUN);
    assert_reply(h, "MULTI", "+OK\r\n");
    c.room_bytes = 0;
    argv[0] = SLICE("ECHO"); /* whatever is queued is kept */
    c.argc = 2;
    dispatch_find(&c);
    assert_int_equal(dispatch_check(&c), DISPATCH_REPLIED);
    assert_int_equal(c.outcome, CMD_ROOM);
    assert_true(out.len_bytes == 0);
    assert_reply(h, "DISCARD", "+OK\r\n");
    chain_clear(&out);
    harness_destroy(h);
}

static void lookup_is_cheap(void **state) {
    struct harness *h = harness_create(NULL);
    struct slice argv[] = {SLICE("GET"), SLICE("a")};
    struct cmd c = {.client = &h->clients[0], .env = &h->env, .argv = argv, .argc = 2};
    enum { ROUNDS = 1000000 };
    uint64_t sum = 0;
    int64_t start = clock_mono_ns();
    for (int i = 0; i < ROUNDS; i++) {
        __asm__ volatile("" : : "r"(argv) : "memory");
        dispatch_find(&c);
        sum += c.id;
    }
    print_message("dispatch_find: %.1f ns (%llu)\n",
                  (double)(clock_mono_ns() - start) / ROUNDS, (unsigned long long)sum);
    assert_non_null(c.spec);
    harness_destroy(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_commands),
        cmocka_unit_test(echoed_arguments_are_cut),
        cmocka_unit_test(arity),
        cmocka_unit_test(a_browser_is_closed),
        cmocka_unit_test(authentication_stands_before_all_but_arity),
        cmocka_unit_test(key_positions),
        cmocka_unit_test(keys_are_counted_and_hashed),
        cmocka_unit_test(silenced_replies),
        cmocka_unit_test(statistics),
        cmocka_unit_test(error_kinds_have_a_limit),
        cmocka_unit_test(a_row_is_read_through),
        cmocka_unit_test(a_row_that_was_not_stored_is_served_once),
        cmocka_unit_test(an_absent_row_is_remembered),
        cmocka_unit_test(a_failed_load_replaces_the_reply),
        cmocka_unit_test(a_stale_copy_is_not_served),
        cmocka_unit_test(more_misses_than_fit_are_loaded_in_turns),
        cmocka_unit_test(rows_are_not_written),
        cmocka_unit_test(expected_rows_are_gathered_under_locks),
        cmocka_unit_test(a_reply_has_an_end),
        cmocka_unit_test(a_large_request_asks_for_room),
        cmocka_unit_test(lookup_is_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
