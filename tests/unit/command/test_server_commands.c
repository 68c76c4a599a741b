#include "harness.h"

#include "command/version.h"

static void config(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "CONFIG GET a b", "*4\r\n$1\r\na\r\n$1\r\nx\r\n$1\r\nb\r\n$1\r\nx\r\n");
    assert_reply(h, "CONFIG SET a 1", "+OK\r\n");
    assert_reply(h, "CONFIG SET a 1 b", "-ERR syntax error\r\n");
    assert_reply(h, "CONFIG SET a", "-ERR wrong number of arguments for 'config|set' command\r\n");
    assert_reply(h, "CONFIG SET bad 1",
                 "-ERR Unknown option or number of arguments for CONFIG SET - 'bad'\r\n");
    assert_reply(h, "CONFIG REWRITE", "-ERR The server is running without a config file\r\n");
    assert_reply(h, "CONFIG RESETSTAT", "+OK\r\n");
    run(h, "HELLO 3");
    assert_reply(h, "CONFIG GET a", "%1\r\n$1\r\na\r\n$1\r\nx\r\n");
    harness_destroy(h);
}

static void info(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "SET a 1");
    assert_reply(h, "INFO", "$8\r\nkeys:1\r\n\r\n");
    assert_reply(h, "INFO Server ALL", "$25\r\nkeys:1\r\n# server\r\n# all\r\n\r\n");
    run(h, "HELLO 3");
    assert_reply(h, "INFO", "=12\r\ntxt:keys:1\r\n\r\n");
    run(h, "MULTI"); /* all locks are held then */
    run(h, "INFO");
    assert_reply(h, "EXEC", "*1\r\n=12\r\ntxt:keys:1\r\n\r\n");
    harness_destroy(h);
}

static void time_is_now(void **state) {
    struct harness *h = harness_create(NULL);
    const char *reply = run(h, "TIME");
    assert_memory_equal(reply, "*2\r\n$10\r\n", 9);
    assert_true(strtoll(reply + 9, NULL, 10) > 1700000000);
    assert_non_null(strstr(run(h, "LOLWUT"), "Redis ver. " REDIS_VERSION "\n"));
    harness_destroy(h);
}

#define DEBUG_REFUSED                                                                              \
    "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can "  \
    "run it from a local connection, otherwise you need to set this option in the configuration "    \
    "file, and then restart the server.\r\n"

static void debug(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "DEBUG SLEEP 0", DEBUG_REFUSED);
    h->settings.debug_local = true;
    assert_reply(h, "DEBUG SLEEP 0", DEBUG_REFUSED);
    h->is_local = true;
    assert_reply(h, "DEBUG SLEEP 0", "+OK\r\n");
    assert_int_equal(h->outcome, CMD_DONE);
    h->settings.debug_enabled = true;
    h->is_local = false;
    int64_t before = h->env.now_us;
    assert_reply(h, "DEBUG SLEEP 1.5", "+OK\r\n");
    assert_int_equal(h->outcome, CMD_SLEEP);
    assert_int_equal(h->env.now_us - before, 1500000);
    assert_reply(h, "DEBUG SET-ACTIVE-EXPIRE 1", "+OK\r\n");
    assert_true(h->sweeping);
    assert_reply(h, "DEBUG SET-ACTIVE-EXPIRE 0", "+OK\r\n");
    assert_false(h->sweeping);
    h->host.set_active_expire = NULL;
    assert_int_equal(run(h, "DEBUG SET-ACTIVE-EXPIRE 0")[0], '-');
    assert_reply(h, "DEBUG STRINGMATCH-LEN abc a*", ":1\r\n");
    assert_reply(h, "DEBUG STRINGMATCH-LEN abc b*", ":0\r\n");
    assert_reply(h, "DEBUG NOPE",
                 "-ERR unknown subcommand or wrong number of arguments for 'NOPE'. Try DEBUG "
                 "HELP.\r\n");
    run(h, "MULTI");
    run(h, "DEBUG SLEEP 1");
    assert_reply(h, "EXEC",
                 "*1\r\n-ERR DEBUG SLEEP is not supported inside a transaction\r\n");
    harness_destroy(h);
}

static void shutdown_ends_without_a_reply(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "SHUTDOWN ABORT", "-ERR No shutdown in progress.\r\n");
    assert_reply(h, "SHUTDOWN ABORT NOW", "-ERR syntax error\r\n");
    assert_reply(h, "SHUTDOWN SAVE NOSAVE", "-ERR syntax error\r\n");
    assert_reply(h, "SHUTDOWN NOPE", "-ERR syntax error\r\n");
    assert_false(h->shut_down);
    assert_reply(h, "SHUTDOWN NOSAVE", "");
    assert_true(h->shut_down);
    assert_false(h->shut_down_now);
    assert_reply(h, "SHUTDOWN NOW FORCE", "");
    assert_true(h->shut_down_now);
    harness_destroy(h);
}

static void flushing(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "MSET a 1 b 2 c 3");
    run(h, "SELECT 1");
    run(h, "SET a 1");
    assert_reply(h, "FLUSHDB NOPE", "-ERR syntax error\r\n");
    assert_reply(h, "FLUSHDB SYNC ASYNC", "-ERR syntax error\r\n");
    assert_reply(h, "DBSIZE", ":1\r\n");
    assert_reply(h, "FLUSHDB sync", "+OK\r\n");
    assert_reply(h, "DBSIZE", ":0\r\n");
    run(h, "SELECT 0");
    assert_reply(h, "DBSIZE", ":3\r\n");
    assert_reply(h, "FLUSHALL ASYNC", "+OK\r\n");
    assert_reply(h, "DBSIZE", ":0\r\n");
    assert_reply(h, "GET a", "$-1\r\n");
    harness_destroy(h);
}

static void swapping(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "MSET a 1 b 2");
    assert_reply(h, "SWAPDB 0 5", "+OK\r\n");
    assert_reply(h, "DBSIZE", ":0\r\n");
    run(h, "SELECT 5");
    assert_reply(h, "MGET a b", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    assert_reply(h, "SWAPDB 5 5", "+OK\r\n");
    assert_reply(h, "DBSIZE", ":2\r\n");
    harness_destroy(h);
}

static void memory(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "MEMORY USAGE a", "$-1\r\n");
    run(h, "SET a 1");
    long long bytes = strtoll(run(h, "MEMORY USAGE a") + 1, NULL, 10);
    assert_true(bytes > 8 && bytes < 100);
    assert_int_equal(run(h, "MEMORY USAGE a SAMPLES 0")[0], ':');
    assert_reply(h, "MEMORY USAGE a SAMPLES -1", "-ERR syntax error\r\n");
    assert_reply(h, "MEMORY USAGE a SAMPLES", "-ERR syntax error\r\n");
    assert_reply(h, "MEMORY USAGE a NOPE 1", "-ERR syntax error\r\n");
    assert_reply(h, "MEMORY PURGE", "+OK\r\n");
    assert_memory_equal(run(h, "MEMORY STATS"), "*30\r\n", 5);
    assert_non_null(strstr(h->reply.ptr, "keys.count\r\n:1\r\n"));
    assert_int_equal(run(h, "MEMORY DOCTOR")[0], '$');
    assert_int_equal(run(h, "MEMORY HELP")[0], '*');
    harness_destroy(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config),
        cmocka_unit_test(info),
        cmocka_unit_test(time_is_now),
        cmocka_unit_test(debug),
        cmocka_unit_test(shutdown_ends_without_a_reply),
        cmocka_unit_test(flushing),
        cmocka_unit_test(swapping),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
