/* What a client sees when the database is gone, stands still, or comes back. */
#include "fixture.h"
#include "mariadb.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TIMEOUT_MS = 250,
    SLACK_MS = 1500, /* of a machine that does other things too */
    RECOVERY_MS = 30000,
};

static struct mariadb db;

static void open_store(struct fixture *f, const char *url, uint32_t pool, uint32_t breaker_errors) {
    struct store_params params = fixture_params(url);
    params.timeout_ms = TIMEOUT_MS;
    params.pool = pool;
    params.breaker_errors = breaker_errors;
    params.breaker_window_ms = 60000;
    params.breaker_open_ms = 500;
    fixture_open(f, &params);
}

/* Loads one key and says how long that took. */
static enum store_status timed_get(struct fixture *f, struct mapping *m, const char *key,
                                   int64_t *took_ms) {
    int64_t start_us = clock_mono_us();
    struct store_request *r = fixture_get(f, m, key);
    *took_ms = (clock_mono_us() - start_us) / 1000;
    enum store_status status = r->status;
    if (status == STORE_ROW) {
        assert_true(slice_eq(r->value.string, SLICE("v")));
    } else {
        assert_true(r->error[0]);
    }
    store_request_destroy(r);
    return status;
}

static void expect_recovery(struct fixture *f, struct mapping *m) {
    int64_t start_us = clock_mono_us(), took_ms = 0;
    while (timed_get(f, m, "k:1", &took_ms) != STORE_ROW) {
        assert_true(clock_mono_us() - start_us < RECOVERY_MS * 1000);
        poll(NULL, 0, 10);
    }
    print_message("recovered after %lld ms\n", (long long)((clock_mono_us() - start_us) / 1000));
}

static void test_killed_and_restarted(void **state) {
    struct fixture f;
    int64_t took_ms;
    open_store(&f, db.url, 1, 0);
    struct mapping *m = fixture_map("k k:{id} table=t as=string:v");
    expect_recovery(&f, m);
    mariadb_stop(&db, SIGKILL);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(fixture_status(timed_get(&f, m, "k:1", &took_ms)), "DOWN");
        assert_in_range(took_ms, 0, TIMEOUT_MS + SLACK_MS);
    }
    char why[256];
    assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_UNREACHABLE);
    mariadb_start(&db);
    expect_recovery(&f, m);
    struct store_stats stats;
    store_stats_read(f.store, &stats);
    assert_true(stats.reconnects >= 1);
    assert_true(stats.errors >= 5);
    assert_non_null(strstr(stats.server, "MariaDB"));
    assert_true(stats.last_error[0]);
    mapping_unref(m);
    fixture_close(&f);
}

/* Started while the database is down: the first load that can checks the mapping. */
static void test_starts_without_database(void **state) {
    struct fixture f;
    int64_t took_ms;
    mariadb_stop(&db, SIGTERM);
    open_store(&f, db.url, 2, 0);
    struct mapping *m = fixture_map("k k:{id} table=t as=string:v");
    assert_string_equal(fixture_status(timed_get(&f, m, "k:1", &took_ms)), "DOWN");
    mariadb_start(&db);
    expect_recovery(&f, m);
    mapping_unref(m);
    fixture_close(&f);
}

static void test_stopped(void **state) {
    struct fixture f;
    int64_t took_ms;
    open_store(&f, db.url, 1, 0);
    struct mapping *m = fixture_map("k k:{id} table=t as=string:v");
    expect_recovery(&f, m);
    mariadb_pause(&db);
    /* The first hangs in its query, the second in connecting, others in the queue. */
    for (int i = 0; i < 4; i++) {
        assert_string_equal(fixture_status(timed_get(&f, m, "k:1", &took_ms)), "TIMEOUT");
        print_message("stopped server: answered after %lld ms\n", (long long)took_ms);
        assert_in_range(took_ms, TIMEOUT_MS - 1, TIMEOUT_MS + SLACK_MS);
    }
    char why[256];
    int64_t start_us = clock_mono_us();
    assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_UNREACHABLE);
    assert_in_range((clock_mono_us() - start_us) / 1000, 0, TIMEOUT_MS + SLACK_MS);
    kill(db.pid, SIGCONT);
    expect_recovery(&f, m);
    mapping_unref(m);
    fixture_close(&f);
}

static void test_stopped_batch(void **state) {
    enum { COUNT = 1000 };
    static struct slice keys[COUNT];
    struct fixture f;
    open_store(&f, db.url, 2, 0);
    struct mapping *m = fixture_map("k k:{id} table=t as=string:v");
    expect_recovery(&f, m);
    for (int i = 0; i < COUNT; i++) {
        keys[i] = SLICE("1");
    }
    mariadb_pause(&db);
    int64_t start_us = clock_mono_us();
    struct store_request **v = fixture_load(&f, m, keys, COUNT);
    assert_in_range((clock_mono_us() - start_us) / 1000, 0, TIMEOUT_MS + SLACK_MS);
    for (int i = 0; i < COUNT; i++) {
        assert_string_equal(fixture_status(v[i]->status), "TIMEOUT");
        assert_true(slice_eq(v[i]->values[0], SLICE("1")));
    }
    fixture_free(v, COUNT);
    start_us = clock_mono_us();
    store_destroy(f.store); /* while workers hang */
    f.store = NULL;
    print_message("destroyed after %lld ms\n", (long long)((clock_mono_us() - start_us) / 1000));
    assert_in_range((clock_mono_us() - start_us) / 1000, 0, 5000);
    kill(db.pid, SIGCONT);
    mapping_unref(m);
    fixture_close(&f);
}

static void test_breaker(void **state) {
    struct fixture f;
    struct store_stats stats;
    int64_t took_ms;
    open_store(&f, db.url, 2, 3);
    struct mapping *m = fixture_map("k k:{id} table=t as=string:v");
    expect_recovery(&f, m);
    mariadb_pause(&db);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(fixture_status(timed_get(&f, m, "k:1", &took_ms)), "TIMEOUT");
    }
    /* A request's time may be up a moment before its query's is, which is what counts. */
    int64_t start_us = clock_mono_us();
    for (stats.breaker_opened = 0; stats.breaker_opened == 0;) {
        store_stats_read(f.store, &stats);
        assert_true(clock_mono_us() - start_us < RECOVERY_MS * 1000);
    }
    assert_true(stats.breaker_open);
    fixture_expect(&f, m, "k:1", "DOWN: the store's breaker is open");
    /* The probe after the open time finds it standing still as ever: open again. */
    do {
        store_stats_read(f.store, &stats);
        assert_true(timed_get(&f, m, "k:1", &took_ms) != STORE_ROW);
        poll(NULL, 0, 10);
    } while (stats.breaker_opened < 2);
    kill(db.pid, SIGCONT);
    expect_recovery(&f, m);
    store_stats_read(f.store, &stats);
    assert_false(stats.breaker_open);
    mapping_unref(m);
    fixture_close(&f);
}

/* The server drops an idle connection: nobody notices. */
static void test_idle_connection_lost(void **state) {
    struct fixture f;
    struct store_stats stats;
    char sql[64];
    open_store(&f, db.url, 1, 1);
    struct mapping *m = fixture_map("k k:{id} table=t as=string:v");
    fixture_expect(&f, m, "k:1", "v");
    snprintf(sql, sizeof sql, "KILL %s",
             mariadb_value(&db, "SELECT ID FROM information_schema.PROCESSLIST "
                                "WHERE ID<>CONNECTION_ID() AND USER='root'"));
    mariadb_exec(&db, sql);
    fixture_expect(&f, m, "k:1", "v");
    store_stats_read(f.store, &stats);
    assert_int_equal(stats.reconnects, 1);
    assert_int_equal(stats.errors, 0);
    mapping_unref(m);
    fixture_close(&f);
}

/* A listener that takes connections and says nothing; and a port where nobody listens. */
static void test_silent_host(void **state) {
    struct fixture f;
    int64_t took_ms;
    char url[128];
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    snprintf(url, sizeof url, "mysql://u:p@127.0.0.1:%d/d", ntohs(address.sin_port));
    struct mapping *m = fixture_map("k k:{id} table=t as=string:v");

    open_store(&f, url, 1, 0); /* bound, not listening: refused */
    assert_string_equal(fixture_status(timed_get(&f, m, "k:1", &took_ms)), "DOWN");
    assert_in_range(took_ms, 0, TIMEOUT_MS - 1);
    fixture_close(&f);

    assert_int_equal(listen(fd, 8), 0);
    open_store(&f, url, 1, 0);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(fixture_status(timed_get(&f, m, "k:1", &took_ms)), "TIMEOUT");
        assert_in_range(took_ms, TIMEOUT_MS - 1, TIMEOUT_MS + SLACK_MS);
    }
    fixture_close(&f);
    close(fd);
    mapping_unref(m);
}

static int setup(void **state) {
    mysql_library_init(0, NULL, NULL);
    mariadb_create(&db);
    mariadb_exec(&db, "CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v VARCHAR(10))");
    mariadb_exec(&db, "INSERT INTO t VALUES (1, 'v')");
    return 0;
}

static int teardown(void **state) {
    if (db.pid > 0) {
        kill(db.pid, SIGCONT);
    }
    mariadb_destroy(&db);
    return 0;
}

int main(void) {
    if (!mariadb_available()) {
        puts("skipped: no MariaDB server is installed");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_and_restarted),
        cmocka_unit_test(test_starts_without_database),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_stopped_batch),
        cmocka_unit_test(test_breaker),
        cmocka_unit_test(test_idle_connection_lost),
        cmocka_unit_test(test_silent_host),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
