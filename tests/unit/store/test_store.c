/* The pool's own decisions, on an SQLite file that comes and goes. */
#include "fixture.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"

enum { WAIT_MS = 30000, STANDSTILL_MS = 5000 };

static struct fixture_file file;
static char away[48];

static int setup(void **state) {
    fixture_file_create(&file, "CREATE TABLE t (id INTEGER PRIMARY KEY, v);"
                               "INSERT INTO t VALUES (1, 'v')");
    snprintf(away, sizeof away, "%s-away", file.path);
    return 0;
}

static int teardown(void **state) {
    fixture_file_remove(&file);
    unlink(away);
    return 0;
}

static void open_store(struct fixture *f, uint32_t breaker_errors) {
    struct store_params params = fixture_params(file.url);
    params.pool = 1;
    params.breaker_errors = breaker_errors;
    params.breaker_window_ms = 60000;
    params.breaker_open_ms = 1;
    fixture_open(f, &params);
}

/* Loads `key` again and again for as long as the breaker is what answers. */
static struct store_request *get_admitted(struct fixture *f, struct mapping *m, const char *key) {
    int64_t start_us = clock_mono_us();
    for (;;) {
        struct store_request *r = fixture_get(f, m, key);
        if (strcmp(r->error, "the store's breaker is open") != 0) {
            return r;
        }
        store_request_destroy(r);
        assert_true(clock_mono_us() - start_us < WAIT_MS * 1000);
        poll(NULL, 0, 1);
    }
}

static bool breaker_is_open(struct fixture *f) {
    struct store_stats stats;
    store_stats_read(f->store, &stats);
    return stats.breaker_open;
}

/* A probe that is answered without the database says nothing about it: an id that no row can have,
 * a mapping that is known not to hold. */
static void test_probe_without_a_call(void **state) {
    struct fixture f;
    char why[STORE_ERROR_CHARS_MAX];
    open_store(&f, 1);
    struct mapping *m = fixture_map("k k:{id} table=t as=string:v");
    struct mapping *refused = fixture_map("r r:{id} table=t as=string:nothing");
    fixture_expect(&f, m, "k:1", "v");
    assert_int_equal(store_check_mapping(f.store, refused, why, sizeof why), STORE_CHECK_REFUSED);
    assert_int_equal(rename(file.path, away), 0);
    struct store_request *r = fixture_get(&f, m, "k:1");
    assert_string_equal(fixture_status(r->status), "DOWN");
    store_request_destroy(r);
    assert_true(breaker_is_open(&f));

    r = get_admitted(&f, m, "k:no-number");
    assert_string_equal(fixture_status(r->status), "ABSENT");
    store_request_destroy(r);
    assert_true(breaker_is_open(&f));
    r = get_admitted(&f, refused, "r:1");
    assert_true(r->status == STORE_SCHEMA || r->status == STORE_DOWN); /* due to be tried again */
    store_request_destroy(r);
    assert_true(breaker_is_open(&f));

    /* The next is the probe then. */
    r = get_admitted(&f, m, "k:1");
    assert_string_equal(fixture_status(r->status), "DOWN");
    store_request_destroy(r);
    assert_int_equal(rename(away, file.path), 0);
    r = get_admitted(&f, m, "k:1");
    assert_string_equal(fixture_status(r->status), "ROW");
    store_request_destroy(r);
    assert_false(breaker_is_open(&f));
    mapping_unref(m);
    mapping_unref(refused);
    fixture_close(&f);
}

static enum store_health health(struct fixture *f) {
    struct store_stats stats;
    store_stats_read(f->store, &stats);
    return stats.health;
}

/* With no breaker to open: what the last call said. */
static void test_health(void **state) {
    struct fixture f;
    char why[STORE_ERROR_CHARS_MAX];
    struct mapping *m = fixture_map("k k:{id} table=t as=string:v");
    struct mapping *refused = fixture_map("r r:{id} table=t as=string:nothing");
    assert_int_equal(rename(file.path, away), 0);
    open_store(&f, 0);
    assert_int_equal(health(&f), STORE_HEALTH_UNKNOWN);
    assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_UNREACHABLE);
    assert_int_equal(health(&f), STORE_HEALTH_DOWN); /* and never was connected */
    assert_int_equal(rename(away, file.path), 0);
    fixture_expect(&f, m, "k:1", "v");
    assert_int_equal(health(&f), STORE_HEALTH_UP);
    assert_int_equal(rename(file.path, away), 0);
    store_request_destroy(fixture_get(&f, m, "k:1"));
    assert_int_equal(health(&f), STORE_HEALTH_DOWN);
    fixture_expect(&f, m, "k:no-number", "ABSENT"); /* without a call */
    assert_int_equal(health(&f), STORE_HEALTH_DOWN);
    assert_int_equal(rename(away, file.path), 0);
    assert_int_equal(store_check_mapping(f.store, refused, why, sizeof why), STORE_CHECK_REFUSED);
    assert_int_equal(health(&f), STORE_HEALTH_UP); /* a refusal is an answer */
    mapping_unref(m);
    mapping_unref(refused);
    fixture_close(&f);
}

/* A log whose reader stands still: a pipe that is full. */
static int open_stalled_log(void) {
    static char chunk[4096];
    int fd = open(away, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(log_open(away));
    int in = open(away, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(in >= 0);
    while (write(in, chunk, sizeof chunk) > 0) {
    }
    while (write(in, chunk, 1) > 0) {
    }
    close(in);
    return fd;
}

static bool stands_still(struct fixture *f, uint64_t completed) {
    int64_t start_us = clock_mono_us();
    for (;;) {
        pthread_mutex_lock(&f->mutex);
        bool done = f->completed >= completed;
        pthread_mutex_unlock(&f->mutex);
        if (done || clock_mono_us() - start_us > STANDSTILL_MS * 1000) {
            return !done;
        }
        poll(NULL, 0, 1);
    }
}

/* Nobody waits for the log: neither the load that failed, nor others for the store's lock. */
static void test_log_that_blocks(void **state) {
    struct fixture f;
    char drained[4096];
    struct slice id = SLICE("1");
    open_store(&f, 0);
    struct mapping *m = fixture_map("k k:{id} table=t as=string:v");
    assert_int_equal(unlink(file.path), 0);
    assert_int_equal(mkfifo(away, 0600), 0);
    int fd = open_stalled_log();
    struct store_request **v = fixture_submit(&f, m, &id, 1);
    bool stood_still = stands_still(&f, 1);
    if (!stood_still) {
        struct store_stats stats;
        store_stats_read(f.store, &stats);
        assert_int_equal(stats.errors, 1);
    }
    while (read(fd, drained, sizeof drained) > 0) {
    }
    fixture_wait(&f, 1);
    fixture_close(&f);
    assert_true(log_open(""));
    close(fd);
    assert_string_equal(fixture_status(v[0]->status), "DOWN");
    fixture_free(v, 1);
    mapping_unref(m);
    assert_false(stood_still);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_probe_without_a_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_health, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_that_blocks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
