#include "harness.h"

#include <pthread.h>
#include <stdio.h>

#define MAP     "product product:{id} table=products as=string:name ttl=1h jitter=0%"
#define ABORTED "-EXECABORT Transaction discarded because of previous errors.\r\n"

static void commands_are_queued_and_run(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "MULTI", "+OK\r\n");
    assert_reply(h, "SET a 1", "+QUEUED\r\n");
    assert_reply(h, "INCR a", "+QUEUED\r\n");
    assert_reply(h, "GET missing", "+QUEUED\r\n");
    assert_reply_as(h, 1, "EXISTS a", ":0\r\n");
    assert_int_equal(h->clients[0].multi_count, 3);
    assert_true(transaction_bytes(&h->clients[0]) > 0);
    assert_reply(h, "EXEC", "*3\r\n+OK\r\n:2\r\n$-1\r\n");
    assert_int_equal(h->clients[0].multi_count, 0);
    assert_reply(h, "GET a", "$1\r\n2\r\n");
    assert_reply(h, "MULTI", "+OK\r\n");
    assert_reply(h, "EXEC", "*0\r\n");
    harness_destroy(h);
}

static void errors_of_the_commands_themselves(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "EXEC", "-ERR EXEC without MULTI\r\n");
    assert_reply(h, "DISCARD", "-ERR DISCARD without MULTI\r\n");
    run(h, "MULTI");
    assert_reply(h, "MULTI", "-ERR MULTI calls can not be nested\r\n");
    assert_reply(h, "WATCH a", "-ERR WATCH inside MULTI is not allowed\r\n");
    assert_reply(h, "SET a 1", "+QUEUED\r\n");
    assert_reply(h, "EXEC", "*1\r\n+OK\r\n"); /* neither ended the transaction */
    run(h, "MULTI");
    run(h, "SET a 2");
    assert_reply(h, "DISCARD", "+OK\r\n");
    assert_reply(h, "GET a", "$1\r\n1\r\n");
    harness_destroy(h);
}

static void an_error_while_queueing_aborts(void **state) {
    struct harness *h = harness_create(NULL);
    static const char *const bad[] = {"NOPE", "GET", "CLIENT NOPE", "SHUTDOWN"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        run(h, "MULTI");
        assert_reply(h, "SET a 1", "+QUEUED\r\n");
        assert_int_equal(run(h, bad[i])[0], '-');
        assert_reply(h, "SET b 1", "+QUEUED\r\n");
        assert_reply(h, "EXEC", ABORTED);
        assert_reply(h, "EXISTS a b", ":0\r\n");
    }
    run(h, "MULTI");
    assert_reply(h, "EXEC x", "-EXECABORT Transaction discarded because of: wrong number of arguments "
                              "for 'exec' command\r\n");
    run(h, "MULTI");
    assert_reply(h, "SHUTDOWN", "-ERR Command not allowed inside a transaction\r\n");
    run(h, "DISCARD");
    harness_destroy(h);
}

static void an_error_while_running_does_not(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "MULTI");
    run(h, "SET a x");
    run(h, "INCR a");
    run(h, "SET b 1");
    assert_reply(h, "EXEC",
                 "*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n+OK\r\n");
    uint32_t exec;
    assert_non_null(command_table_find(h->table, SLICE("exec"), &exec));
    assert_int_equal(stat_get(&h->stats.per_command[exec].failed), 0);
    assert_int_equal(stat_get(&h->stats.error_replies), 1);
    harness_destroy(h);
}

static void out_of_memory(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "MULTI");
    run(h, "SET a 1");
    h->env.over_limit = true;
    assert_reply(h, "EXEC", "-EXECABORT Transaction discarded because of: OOM command not allowed "
                            "when used memory > 'maxmemory'.\r\n");
    assert_reply(h, "EXEC", "-ERR EXEC without MULTI\r\n");
    run(h, "MULTI");
    assert_reply(h, "GET a", "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_reply(h, "EXEC", ABORTED);
    h->env.over_limit = false;
    run(h, "MULTI");
    run(h, "GET a");
    h->env.over_limit = true; /* nothing queued grows */
    assert_reply(h, "EXEC", "*1\r\n$-1\r\n");
    harness_destroy(h);
}

static void a_queue_has_a_limit(void **state) {
    struct harness *h = harness_create(NULL);
    h->settings.query_buffer_bytes_max = 1000;
    run(h, "MULTI");
    for (int i = 0; i < 100 && !client_has(&h->clients[0], CLIENT_CLOSE); i++) {
        run(h, "SET a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    }
    assert_string_equal(h->reply.ptr, "");
    assert_true(client_has(&h->clients[0], CLIENT_CLOSE));
    assert_true(transaction_bytes(&h->clients[0]) <= 1000);
    assert_int_equal(stat_get(&h->stats.clients_closed_query), 1);
    harness_destroy(h);
}

static void select_is_queued(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "MULTI");
    run(h, "SELECT 3");
    run(h, "SET a 3");
    assert_int_equal(client_db(&h->clients[0]), 0);
    assert_reply(h, "EXEC", "*2\r\n+OK\r\n+OK\r\n");
    assert_int_equal(client_db(&h->clients[0]), 3);
    assert_reply(h, "GET a", "$1\r\n3\r\n");
    assert_reply_as(h, 1, "GET a", "$-1\r\n");
    harness_destroy(h);
}

static void reset_and_quit_run_at_once(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "WATCH a");
    run(h, "MULTI");
    run(h, "SET a 1");
    assert_reply(h, "RESET", "+RESET\r\n");
    assert_int_equal(h->clients[0].watch_count, 0);
    assert_reply(h, "EXEC", "-ERR EXEC without MULTI\r\n");
    run(h, "MULTI");
    assert_reply(h, "QUIT", "+OK\r\n");
    harness_destroy(h);
}

/* Client 0 watches `key`, then client 1 says `by`: what EXEC answers. */
static const char *exec_after(struct harness *h, const char *watch, const char *by) {
    run(h, watch);
    run_as(h, 1, by);
    run(h, "MULTI");
    run(h, "PING");
    return run(h, "EXEC");
}

#define RAN "*1\r\n+PONG\r\n"
#define NOT "*-1\r\n"

static void a_change_of_a_watched_key(void **state) {
    struct harness *h = harness_create(NULL);
    assert_string_equal(exec_after(h, "WATCH a", "SET b 1"), RAN);
    assert_string_equal(exec_after(h, "WATCH a", "SET a 1"), NOT);
    assert_string_equal(exec_after(h, "WATCH a", "GET a"), RAN);
    assert_string_equal(exec_after(h, "WATCH x y z a", "EXPIRE a 100"), NOT);
    assert_string_equal(exec_after(h, "WATCH a a", "DEL a"), NOT);
    assert_string_equal(exec_after(h, "WATCH a", "DEL a"), RAN);
    assert_int_equal(h->clients[0].watch_count, 0);
    /* The null of RESP3. */
    run(h, "HELLO 3");
    assert_string_equal(exec_after(h, "WATCH a", "SET a 1"), "_\r\n");
    harness_destroy(h);
}

static void the_watch_is_over_after_exec_discard_and_unwatch(void **state) {
    struct harness *h = harness_create(NULL);
    static const char *const ends[] = {"EXEC", "DISCARD"};
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
        run(h, "WATCH a");
        run(h, "SET a 1");
        run(h, "MULTI");
        run(h, ends[i]);
        assert_string_equal(exec_after(h, "PING", "SET a 2"), RAN);
    }
    run(h, "WATCH a b");
    run_as(h, 1, "SET a 3");
    assert_reply(h, "UNWATCH", "+OK\r\n");
    assert_string_equal(exec_after(h, "PING", "SET a 4"), RAN);
    harness_destroy(h);
}

static void ones_own_write_counts(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "WATCH a");
    run(h, "SET a 1");
    run(h, "MULTI");
    run(h, "SET a 2");
    assert_reply(h, "EXEC", NOT);
    assert_reply(h, "GET a", "$1\r\n1\r\n");
    /* A write inside the transaction is none. */
    run(h, "WATCH a");
    run(h, "MULTI");
    run(h, "SET a 2");
    run(h, "UNWATCH");
    run(h, "INCR a");
    assert_reply(h, "EXEC", "*3\r\n+OK\r\n+OK\r\n:3\r\n");
    harness_destroy(h);
}

static void watches_are_of_a_database(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "WATCH a");
    run_as(h, 1, "SELECT 1");
    assert_string_equal(exec_after(h, "PING", "SET a 1"), RAN);
    assert_string_equal(exec_after(h, "WATCH a", "SET a 2"), RAN);
    run(h, "SELECT 1");
    assert_string_equal(exec_after(h, "WATCH a", "SET a 3"), NOT);
    harness_destroy(h);
}

static void flushing(void **state) {
    struct harness *h = harness_create(NULL);
    assert_string_equal(exec_after(h, "WATCH a", "FLUSHALL"), RAN); /* there was no such key */
    run(h, "SET a 1");
    assert_string_equal(exec_after(h, "WATCH a", "FLUSHALL"), NOT);
    run(h, "SET a 1");
    assert_string_equal(exec_after(h, "WATCH b", "FLUSHDB"), RAN);
    run(h, "SET a 1");
    assert_string_equal(exec_after(h, "WATCH a b", "FLUSHDB ASYNC"), NOT);
    run(h, "SET a 1");
    run_as(h, 1, "SELECT 1");
    assert_string_equal(exec_after(h, "WATCH a", "FLUSHDB"), RAN);
    harness_destroy(h);
}

static void swapping(void **state) {
    struct harness *h = harness_create(NULL);
    assert_string_equal(exec_after(h, "WATCH a", "SWAPDB 0 1"), RAN);
    run(h, "SET a 1");
    assert_string_equal(exec_after(h, "WATCH a", "SWAPDB 2 3"), RAN);
    assert_string_equal(exec_after(h, "WATCH a", "SWAPDB 0 1"), NOT);
    assert_reply(h, "EXISTS a", ":0\r\n");
    assert_string_equal(exec_after(h, "WATCH a", "SWAPDB 0 1"), NOT); /* it appears */
    assert_reply(h, "EXISTS a", ":1\r\n");
    assert_reply(h, "SWAPDB 0 x", "-ERR invalid second DB index\r\n");
    assert_reply(h, "SWAPDB x 0", "-ERR invalid first DB index\r\n");
    assert_reply(h, "SWAPDB 0 16", "-ERR DB index is out of range\r\n");
    harness_destroy(h);
}

static void expired_keys(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "SET a 1 PX 100");
    run(h, "WATCH a");
    h->env.now_ms += 200; /* expires while it is watched */
    assert_string_equal(exec_after(h, "PING", "PING"), NOT);
    run(h, "SET a 1 PX 100");
    h->env.now_ms += 200; /* had expired before */
    assert_string_equal(exec_after(h, "WATCH a", "EXISTS a"), RAN);
    harness_destroy(h);
}

static void several_clients_watch(void **state) {
    struct harness *h = harness_create(NULL);
    run_as(h, 0, "WATCH a");
    run_as(h, 1, "WATCH a");
    run_as(h, 2, "SET a 1");
    for (int i = 0; i < 2; i++) {
        run_as(h, i, "MULTI");
        run_as(h, i, "PING");
        assert_reply_as(h, i, "EXEC", NOT);
    }
    harness_destroy(h);
}

static void locks_of_exec(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "WATCH w");
    run(h, "MULTI");
    run(h, "SET a 1");
    run(h, "MGET b c");
    run(h, "EXEC");
    static const char *const keys[] = {"w", "a", "b", "c"};
    struct lockset expected = {{0}};
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        struct key key = keyspace_key(h->ks, slice_str(keys[i]));
        lockset_add(&expected, keyspace_partition(h->ks, key.hash));
    }
    assert_memory_equal(&h->locked, &expected, sizeof expected);
    /* What looks everywhere has everything locked. */
    static const char *const walkers[] = {"DBSIZE", "KEYS *", "SCAN 0", "INFO", "RANDOMKEY",
                                          "FLUSHALL", "SWAPDB 0 1", "MEMORY STATS"};
    lockset_add_all(&expected, h->ks);
    for (size_t i = 0; i < ARRAY_COUNT(walkers); i++) {
        run(h, "MULTI");
        run(h, walkers[i]);
        assert_int_equal(run(h, "EXEC")[0], '*');
        assert_memory_equal(&h->locked, &expected, sizeof expected);
    }
    harness_destroy(h);
}

/* Two shards raise one counter by WATCH and EXEC: no raise is lost. Reads are of several keys, so that
 * EXEC takes several locks. */
enum { RAISES = 2000 };

static void *raise_counter(void *arg) {
    struct harness *h = arg;
    long aborted = 0;
    for (int done = 0; done < RAISES;) {
        char set[64];
        run(h, "WATCH n m");
        const char *reply = run(h, "GET n");
        long value = reply[1] == '-' ? 0 : strtol(strchr(reply, '\n') + 1, NULL, 10);
        snprintf(set, sizeof set, "MSET n %ld m %ld", value + 1, value + 1);
        run(h, "MULTI");
        run(h, set);
        run(h, "MGET x y z");
        if (strncmp(run(h, "EXEC"), "*2", 2) == 0) {
            done++;
        } else {
            aborted++;
        }
    }
    return (void *)aborted;
}

static void no_update_is_lost(void **state) {
    struct harness *shards[2];
    pthread_t threads[2];
    long aborted[2];
    char expected[32];
    shards[0] = harness_create(NULL);
    shards[1] = harness_create_beside(shards[0]);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, raise_counter, shards[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        void *result;
        pthread_join(threads[i], &result);
        aborted[i] = (long)result;
    }
    snprintf(expected, sizeof expected, "$4\r\n%d\r\n", 2 * RAISES);
    assert_reply(shards[0], "GET n", expected);
    assert_reply(shards[0], "GET m", expected);
    print_message("aborted: %ld and %ld\n", aborted[0], aborted[1]);
    harness_destroy(shards[1]);
    harness_destroy(shards[0]);
}

/* --- mapped rows --- */

static void rows_are_loaded_before_the_block_runs(void **state) {
    struct harness *h = harness_create(MAP);
    h->row_value = "x";
    run(h, "MULTI");
    run(h, "INCR n");
    run(h, "GET product:1");
    run(h, "MGET product:2 product:1");
    assert_reply(h, "EXEC", "*3\r\n:1\r\n$1\r\nx\r\n*2\r\n$1\r\nx\r\n$1\r\nx\r\n");
    assert_int_equal(h->outcome, CMD_MISS);
    assert_int_equal(h->loads, 2);
    assert_reply(h, "GET n", "$1\r\n1\r\n"); /* once */
    harness_destroy(h);
}

static void rows_that_were_not_stored_are_read_too(void **state) {
    struct harness *h = harness_create(MAP);
    h->row_value = "x";
    h->rows_are_stored = false;
    run(h, "MULTI");
    run(h, "GET product:1");
    assert_reply(h, "EXEC", "*1\r\n$1\r\nx\r\n");
    h->row_error = "STOREDOWN gone";
    run(h, "MULTI");
    run(h, "GET product:1");
    run(h, "PING");
    assert_reply(h, "EXEC", "*2\r\n-STOREDOWN gone\r\n+PONG\r\n");
    harness_destroy(h);
}

static void a_row_dropped_inside_is_refused(void **state) {
    struct harness *h = harness_create(MAP);
    h->row_value = "x";
    run(h, "GET product:1");
    run(h, "MULTI");
    run(h, "DEL product:1");
    run(h, "GET product:1");
    run(h, "INCR n");
    assert_reply(h, "EXEC", "*3\r\n:1\r\n-STOREUNSUPPORTED a row that the transaction dropped can't "
                            "be read in it\r\n:1\r\n");
    harness_destroy(h);
}

static void writes_to_rows_are_refused_while_queueing(void **state) {
    struct harness *h = harness_create(MAP);
    run(h, "MULTI");
    assert_string_equal(
        run(h, "SET product:1 x"),
        "-STOREDENIED the key is a row of a mapping without write=: it can only be read\r\n");
    assert_reply(h, "EXEC", ABORTED);
    run(h, "MULTI");
    run(h, "SELECT 1"); /* rows are of database 0 */
    assert_reply(h, "SET product:1 x", "+QUEUED\r\n");
    run(h, "SELECT 0");
    assert_int_equal(run(h, "SET product:1 x")[0], '-');
    run(h, "DISCARD");
    harness_destroy(h);
}

static void watching_a_row_loads_it(void **state) {
    struct harness *h = harness_create(MAP);
    h->row_value = "x";
    assert_reply(h, "WATCH product:1", "+OK\r\n");
    assert_int_equal(h->loads, 1);
    assert_string_equal(exec_after(h, "PING", "GET product:1"), RAN);
    assert_string_equal(exec_after(h, "WATCH product:1", "DEL product:1"), NOT);
    harness_destroy(h);
}

/* --- long replies --- */

enum { LONG_BYTES = 2 * CHAIN_LIMIT_MIN };

/* 0 to 3 are values of 4000 bytes. */
static struct harness *with_values(size_t read_bytes_max) {
    struct harness *h = harness_create(NULL);
    char set[4096];
    memset(set, 'v', sizeof set);
    for (int i = 0; i < 4; i++) {
        int len = snprintf(set, sizeof set, "SET %d ", i);
        set[len] = 'v';
        set[4000 + len] = '\0';
        assert_reply(h, set, "+OK\r\n");
    }
    h->settings.read_bytes_max = read_bytes_max;
    h->settings.growth_bytes_max = read_bytes_max;
    h->settings.reply_bytes_max = 1 << 20;
    return h;
}

static void queue_reads(struct harness *h, int count) {
    for (int i = 0; i < count; i++) {
        assert_reply(h, "MGET 0 1 2 3 0 1 2 3 0 1", "+QUEUED\r\n");
    }
}

static void assert_begins(const char *reply, const char *with) {
    assert_memory_equal(reply, with, strlen(with));
}

static const struct command_stats *stats_of(const struct harness *h, const char *name) {
    uint32_t id;
    assert_non_null(command_table_find(h->table, slice_str(name), &id));
    return &h->stats.per_command[id];
}

static uint64_t hits_of(const struct harness *h) {
    uint64_t hits = 0;
    for (uint32_t i = 0; i < h->ks->partitions_count; i++) {
        hits += h->ks->partitions[i]->stats.hits;
    }
    return hits;
}

static uint64_t misses_of(const struct harness *h) {
    uint64_t misses = 0;
    for (uint32_t i = 0; i < h->ks->partitions_count; i++) {
        misses += h->ks->partitions[i]->stats.misses;
    }
    return misses;
}

/* EXEC of reads waits for room like a read: what they answer is counted first, and that once. */
static void long_reads_wait_for_room(void **state) {
    struct harness *h = with_values(LONG_BYTES);
    run(h, "HSET hash field value");
    run(h, "MULTI");
    run(h, "SELECT 0");
    queue_reads(h, 10);
    run(h, "GET hash");
    run(h, "TTL 0");
    uint64_t hits = hits_of(h);
    const char *reply = run(h, "EXEC");
    assert_int_equal(h->asked, 1);
    assert_true(h->asked_bytes > 400000 && h->asked_bytes < 400000 * 5 / 4 + LONG_BYTES);
    assert_begins(reply, "*13\r\n+OK\r\n*10\r\n$4000\r\nvvv");
    assert_true(strlen(reply) > 400000);
    assert_string_equal(reply + strlen(reply) - 4, "-1\r\n");
    assert_int_equal(hits_of(h) - hits, 102);
    assert_int_equal(stat_get(&stats_of(h, "mget")->calls), 10);
    assert_int_equal(stat_get(&stats_of(h, "exec")->calls), 1);
    assert_int_equal(stat_get(&stats_of(h, "get")->failed), 1);
    assert_int_equal(stat_get(&h->stats.error_replies), 1);
    assert_reply(h, "EXEC", "-ERR EXEC without MULTI\r\n");
    harness_destroy(h);
}

static void short_reads_do_not(void **state) {
    struct harness *h = with_values(LONG_BYTES);
    run(h, "MULTI");
    queue_reads(h, 3);
    assert_true(strlen(run(h, "EXEC")) > 120000);
    run(h, "MULTI");
    run(h, "SET 0 short");
    queue_reads(h, 1);
    run(h, "HGETALL none");
    assert_true(strlen(run(h, "EXEC")) > 28000);
    assert_int_equal(h->asked, 0);
    harness_destroy(h);
}

static void change_value(struct harness *h) {
    assert_reply_as(h, 1, "SET 0 changed", "+OK\r\n");
}

/* It is the run that answers which counts: what is watched may change until then. */
static void what_is_watched_changes_while_it_waits(void **state) {
    for (int writes = 0; writes < 2; writes++) {
        struct harness *h = with_values(LONG_BYTES);
        h->waits = change_value;
        run(h, "WATCH 0");
        run(h, "MULTI");
        run(h, "SELECT 3");
        if (writes) {
            run(h, "SET own x");
        }
        run(h, "SELECT 0");
        queue_reads(h, 10);
        run(h, "SELECT 5");
        assert_reply(h, "EXEC", "*-1\r\n");
        assert_int_equal(h->asked, 1);
        assert_int_equal(client_db(&h->clients[0]), 0);
        assert_false(client_has(&h->clients[0], CLIENT_MULTI | CLIENT_EXECUTING));
        run(h, "SELECT 3");
        assert_reply(h, "EXISTS own", ":0\r\n");
        harness_destroy(h);
    }
}

static void values_change_while_it_waits(void **state) {
    struct harness *h = with_values(LONG_BYTES);
    h->waits = change_value;
    run(h, "MULTI");
    queue_reads(h, 10);
    const char *reply = run(h, "EXEC");
    int changed = 0;
    for (const char *at = reply; (at = strstr(at, "$7\r\nchanged")); at++) {
        changed++;
    }
    assert_int_equal(changed, 30);
    harness_destroy(h);
}

/* Where some write, what the others answer is counted before any of them runs. */
static void reads_among_writes_wait_before_anything_is_written(void **state) {
    struct harness *h = with_values(LONG_BYTES);
    h->waits = change_value;
    run(h, "MULTI");
    run(h, "APPEND 0 +");
    queue_reads(h, 10);
    run(h, "INCR n");
    uint64_t hits = hits_of(h);
    const char *reply = run(h, "EXEC");
    assert_int_equal(h->asked, 1);
    assert_true(h->asked_bytes > 400000);
    assert_begins(reply, "*12\r\n:8\r\n*10\r\n$8\r\nchanged+\r\n");
    assert_string_equal(reply + strlen(reply) - 4, ":1\r\n");
    assert_int_equal(hits_of(h) - hits, 100);
    assert_int_equal(stat_get(&stats_of(h, "mget")->calls), 10);
    assert_int_equal(stat_get(&stats_of(h, "append")->calls), 1);
    harness_destroy(h);
}

/* Reads of what is only going to be there: each 4 KB. */
static void what_is_written_is_expected(void **state) {
    enum { READS = 100, VALUE_BYTES = 4000 };
    static const char *const writes[][4] = {
        {"HSET to field %s", NULL},
        {"HSET to a 1", "HSET to field %s", NULL},
        {"HSET from field %s", "COPY from to", NULL},
        {"HSET from field %s", "RENAME from b", "RENAME b to", NULL},
        {"COPY hash b", "COPY b to", NULL},
    };
    char value[VALUE_BYTES + 1], text[VALUE_BYTES + 64];
    memset(value, 'v', VALUE_BYTES);
    value[VALUE_BYTES] = '\0';
    for (size_t i = 0; i < ARRAY_COUNT(writes); i++) {
        struct harness *h = with_values(LONG_BYTES);
        snprintf(text, sizeof text, "HSET hash field %s", value);
        run(h, text);
        run(h, "MULTI");
        for (int k = 0; writes[i][k]; k++) {
            snprintf(text, sizeof text, writes[i][k], value);
            assert_reply(h, text, "+QUEUED\r\n");
        }
        for (int k = 0; k < READS; k++) {
            run(h, k % 2 ? "HGETALL to" : "HGET to field");
        }
        assert_true(strlen(run(h, "EXEC")) > READS * VALUE_BYTES);
        assert_int_equal(h->asked, 1);
        assert_true(h->asked_bytes > READS * VALUE_BYTES);
        assert_true(h->asked_bytes < READS * VALUE_BYTES * 3 / 2);
        harness_destroy(h);
    }
}

/* Nothing is made that could never be sent, and nothing kept that is not wanted. */
static void replies_of_reads_have_an_end(void **state) {
    struct harness *h = with_values(LONG_BYTES);
    h->settings.reply_bytes_max = 300000;
    client_set(&h->clients[0], CLIENT_REPLY_OFF);
    run(h, "MULTI");
    for (int i = 0; i < 10; i++) {
        run(h, "MGET 0 1 2 3 0 1 2 3 0 1");
    }
    assert_reply(h, "EXEC", "");
    assert_false(client_has(&h->clients[0], CLIENT_CLOSE | CLIENT_MULTI));
    client_unset(&h->clients[0], CLIENT_REPLY_OFF);
    run(h, "MULTI");
    queue_reads(h, 10);
    assert_reply(h, "EXEC", "");
    assert_true(client_has(&h->clients[0], CLIENT_CLOSE));
    assert_int_equal(h->asked, 0);
    harness_destroy(h);
}

/* What is behind FLUSHDB may answer anything, so no room is made before: for each when it runs. */
static void rows_are_found_once(void **state) {
    enum { ROW_BYTES = 4000, TIMES = 20 };
    char value[ROW_BYTES + 1], mget[TIMES * 30 + 8] = "MGET";
    memset(value, 'x', ROW_BYTES);
    value[ROW_BYTES] = '\0';
    for (int i = 0; i < TIMES; i++) {
        strcat(mget, " product:1 own product:2");
    }
    struct harness *h = harness_create(MAP);
    h->row_value = value;
    run(h, "SET own x");
    uint64_t hits = hits_of(h);
    run(h, "MGET product:1 own product:2");
    assert_int_equal(hits_of(h) - hits, 1); /* the others were not there, however often it ran */
    assert_int_equal(misses_of(h), 2);
    assert_int_equal(stat_get(&h->stats.row_hits), 2); /* once they were waited for */
    h->settings.read_bytes_max = h->settings.growth_bytes_max = 100000;
    h->settings.reply_bytes_max = 300000;
    run(h, "MULTI");
    run(h, "SELECT 1");
    run(h, "FLUSHDB");
    run(h, "SELECT 0");
    for (int i = 0; i < 4; i++) {
        run(h, mget);
    }
    hits = hits_of(h);
    run(h, "EXEC");
    assert_int_equal(hits_of(h) - hits, 4 * TIMES * 3);
    assert_int_equal(stat_get(&h->stats.row_hits), 2 + 4 * TIMES * 2);
    assert_int_equal(misses_of(h), 2);
    harness_destroy(h);
}

static void set_to(struct harness *h, const char *key, char with, size_t len) {
    char text[4096];
    snprintf(text, sizeof text, "SET %s ", key);
    size_t at = strlen(text);
    memset(text + at, with, len);
    text[at + len] = '\0';
    assert_reply(h, text, "+OK\r\n");
}

/* The last GET reaches the limit, so what the failing command answers first lies beyond it. */
static void a_row_that_fails_at_the_limit(void **state) {
    enum { GETS = 40, VALUE_BYTES = 990, KEYS_MAX = 40 };
    struct harness *h = harness_create(MAP);
    h->row_error = "STOREDOWN gone";
    h->settings.read_bytes_max = h->settings.growth_bytes_max = GETS * VALUE_BYTES;
    h->settings.reply_bytes_max = 1 << 20;
    set_to(h, "x", 'x', VALUE_BYTES);
    set_to(h, "z", 'z', VALUE_BYTES);
    for (int keys = 0; keys < KEYS_MAX; keys++) {
        char mget[KEYS_MAX * 2 + 32] = "MGET product:1";
        run(h, "MULTI");
        for (int i = 0; i < GETS; i++) {
            run(h, "GET x");
        }
        for (int i = 0; i < keys; i++) {
            memcpy(mget + 4 + 2 * i, " z", 2);
            strcpy(mget + 6 + 2 * i, " product:1");
        }
        assert_reply(h, mget, "+QUEUED\r\n");
        const char *at = run(h, "EXEC");
        assert_begins(at, "*41\r\n");
        at += strlen("*41\r\n");
        for (int i = 0; i < GETS; i++) {
            assert_begins(at, "$990\r\n");
            at += strlen("$990\r\n");
            assert_int_equal(strspn(at, "x"), VALUE_BYTES);
            at += VALUE_BYTES + 2;
        }
        assert_string_equal(at, "-STOREDOWN gone\r\n");
        assert_int_equal(stat_get(&stats_of(h, "mget")->failed), keys + 1);
    }
    harness_destroy(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_queued_and_run),
        cmocka_unit_test(errors_of_the_commands_themselves),
        cmocka_unit_test(an_error_while_queueing_aborts),
        cmocka_unit_test(an_error_while_running_does_not),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(a_queue_has_a_limit),
        cmocka_unit_test(select_is_queued),
        cmocka_unit_test(reset_and_quit_run_at_once),
        cmocka_unit_test(a_change_of_a_watched_key),
        cmocka_unit_test(the_watch_is_over_after_exec_discard_and_unwatch),
        cmocka_unit_test(ones_own_write_counts),
        cmocka_unit_test(watches_are_of_a_database),
        cmocka_unit_test(flushing),
        cmocka_unit_test(swapping),
        cmocka_unit_test(expired_keys),
        cmocka_unit_test(several_clients_watch),
        cmocka_unit_test(locks_of_exec),
        cmocka_unit_test(no_update_is_lost),
        cmocka_unit_test(rows_are_loaded_before_the_block_runs),
        cmocka_unit_test(rows_that_were_not_stored_are_read_too),
        cmocka_unit_test(a_row_dropped_inside_is_refused),
        cmocka_unit_test(writes_to_rows_are_refused_while_queueing),
        cmocka_unit_test(watching_a_row_loads_it),
        cmocka_unit_test(long_reads_wait_for_room),
        cmocka_unit_test(short_reads_do_not),
        cmocka_unit_test(what_is_watched_changes_while_it_waits),
        cmocka_unit_test(values_change_while_it_waits),
        cmocka_unit_test(reads_among_writes_wait_before_anything_is_written),
        cmocka_unit_test(what_is_written_is_expected),
        cmocka_unit_test(replies_of_reads_have_an_end),
        cmocka_unit_test(rows_are_found_once),
        cmocka_unit_test(a_row_that_fails_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
