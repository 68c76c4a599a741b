/* The bound on the memory of rows on their way: who waits for it, who goes on, who gives up. Rows
 * lie in an SQLite file; those that came back are held until the test releases them. */
#include "fixture.h"
#include <poll.h>
#include <stdatomic.h>

enum {
    ROWS = 20,
    ROW_BYTES = 1000 * 1000,
    WAIT_MS = 30000,
};

static struct fixture_file file;
static char text[ROWS][4];
static struct slice ids[ROWS];
static struct fixture f;
static struct mapping *map;

static int setup(void **state) {
    fixture_file_create(
        &file, "CREATE TABLE t (id INTEGER PRIMARY KEY, v, n);"
               "WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < 19) "
               "INSERT INTO t SELECT i, CAST(zeroblob(1000000) AS BLOB), i FROM c");
    for (int i = 0; i < ROWS; i++) {
        snprintf(text[i], sizeof text[i], "%d", i);
        ids[i] = slice_str(text[i]);
    }
    return 0;
}

static int teardown(void **state) {
    fixture_file_remove(&file);
    return 0;
}

static _Atomic int64_t told_bytes, told_most;

static void on_loads_bytes(void *ctx, int64_t bytes) {
    int64_t now = atomic_fetch_add(&told_bytes, bytes) + bytes, most = atomic_load(&told_most);
    while (now > most && !atomic_compare_exchange_weak(&told_most, &most, now)) {
    }
}

static void open_store(uint32_t pool, int64_t timeout_ms, uint64_t max_bytes) {
    struct store_params params = fixture_params(file.url);
    told_bytes = told_most = 0;
    params.pool = pool;
    params.timeout_ms = timeout_ms;
    params.on_loads_bytes = on_loads_bytes;
    params.breaker_errors = 1;
    params.breaker_window_ms = params.breaker_open_ms = 60000;
    fixture_open(&f, &params);
    map = fixture_map("k k:{id} table=t as=string:v");
    store_set_loads_bytes_max(f.store, max_bytes);
}

static struct store_stats stats_now(void) {
    struct store_stats stats;
    store_stats_read(f.store, &stats);
    return stats;
}

static uint64_t completed(void) {
    pthread_mutex_lock(&f.mutex);
    uint64_t n = f.completed;
    pthread_mutex_unlock(&f.mutex);
    return n;
}

/* All that works waits for room, and so does what is queued: nothing happens by itself then but
 * time-outs. */
static bool is_stuck(void) {
    struct store_stats s = stats_now();
    return s.room_waiting + s.room_idle > 0 && s.busy_workers == s.room_waiting &&
           (s.queued == 0 || s.room_idle > 0);
}

static bool is_idle(void) {
    struct store_stats s = stats_now();
    return s.busy_workers == 0 && s.queued == 0;
}

static void wait_until(bool (*is)(void)) {
    int64_t start_us = clock_mono_us();
    while (!is()) {
        assert_true(clock_mono_us() - start_us < WAIT_MS * 1000);
        poll(NULL, 0, 1);
    }
}

static void close_store(void) {
    fixture_close(&f);
    mapping_unref(map);
}

static void expect_row(struct store_request *r) {
    assert_string_equal(fixture_status(r->status), "ROW");
    assert_int_equal(r->value.string.len, ROW_BYTES);
    assert_true(r->held_bytes >= ROW_BYTES);
    store_release(f.store, store_request_drop(r));
    assert_null(r->memory);
    assert_int_equal(store_request_drop(r), 0);
}

/* Releases what came, until all came. */
static void release_all(struct store_request **v, uint32_t count) {
    bool released[ROWS] = {false};
    for (uint32_t done = 0; done < count;) {
        fixture_wait(&f, done + 1);
        for (uint32_t i = 0; i < count; i++) {
            pthread_mutex_lock(&f.mutex);
            bool came = v[i] != NULL;
            pthread_mutex_unlock(&f.mutex);
            if (came && !released[i]) {
                expect_row(v[i]);
                released[i] = true;
                done++;
            }
        }
    }
    fixture_free(v, count);
}

/* Loads a row, so that the rows' size is known. */
static void learn_size(void) {
    struct store_request *r = fixture_get(&f, map, "k:0");
    expect_row(r);
    store_request_destroy(r);
    assert_in_range(mapping_row_bytes(map), ROW_BYTES, ROW_BYTES + 100);
    wait_until(is_idle);
    f.completed = 0;
}

static void test_waits_and_goes_on(void **state) {
    open_store(4, 60000, 4 * ROW_BYTES + ROW_BYTES / 2);
    learn_size();
    struct store_request **v = fixture_submit(&f, map, ids, ROWS);
    wait_until(is_stuck);
    struct store_stats stats = stats_now();
    assert_in_range(completed(), 1, 4);
    assert_true(stats.loads_bytes >= completed() * ROW_BYTES);
    release_all(v, ROWS);
    wait_until(is_idle); /* the last query's rows come before it ends */
    assert_int_equal(stats_now().loads_bytes, 0);
    assert_int_equal(told_bytes, 0); /* who wants to know was told of all */
    assert_true((uint64_t)told_most >= ROW_BYTES);
    close_store();
}

/* One query for all, as the size is not known: it stands still in the middle, with rows handed out.
 */
static void test_rows_come_before_the_query_ends(void **state) {
    open_store(1, 60000, 4 * ROW_BYTES + ROW_BYTES / 2);
    struct store_request **v = fixture_submit(&f, map, ids, ROWS);
    wait_until(is_stuck);
    struct store_stats stats = stats_now();
    assert_int_equal(stats.batches, 0);
    assert_int_equal(stats.busy_workers, 1);
    assert_in_range(completed(), 2, 4);
    release_all(v, ROWS);
    close_store();
}

/* Before one row was seen, one query at a time is what can be afforded. */
static void test_size_unknown(void **state) {
    open_store(4, 60000, ROW_BYTES);
    struct store_request **v = mem_zalloc(ROWS * sizeof *v);
    struct store_request *list = NULL;
    for (int i = 0; i < ROWS; i++) {
        struct store_request *r = store_request_create(map, &ids[i], &v[i]);
        if (i < 8) {
            store_load(f.store, r);
        } else {
            r->next = list;
            list = r;
        }
    }
    store_load(f.store, list);
    wait_until(is_stuck);
    assert_int_equal(completed(), 1);
    release_all(v, ROWS);
    close_store();
}

static void test_larger_than_the_bound(void **state) {
    open_store(3, 60000, 256 * 1024);
    learn_size();
    struct store_request **v = fixture_submit(&f, map, ids, 5);
    for (uint32_t done = 1; done <= 5; done++) {
        fixture_wait(&f, done);
        wait_until(done < 5 ? is_stuck : is_idle);
        assert_int_equal(completed(), done); /* one at a time */
        for (uint32_t i = 0; i < 5; i++) {
            if (v[i] && v[i]->memory) {
                expect_row(v[i]);
                break;
            }
        }
    }
    fixture_free(v, 5);
    close_store();
}

/* Small rows are always on their way: who has large ones gets its turn nevertheless. */
static void test_small_rows_do_not_keep_large_ones_out(void **state) {
    open_store(3, 60000, 512 * 1024);
    learn_size();
    struct mapping *number = fixture_map("n n:{id} table=t as=string:n");
    struct store_request **small = fixture_load(&f, number, ids, ROWS); /* and they stay */
    for (int i = 0; i < 5; i++) {
        struct store_request *r = fixture_get(&f, map, "k:1");
        expect_row(r);
        store_request_destroy(r);
    }
    assert_true(stats_now().loads_bytes > 0);
    fixture_free(small, ROWS);
    mapping_unref(number);
    close_store();
}

/* Two queries meet rows that are larger than they thought, at one time. */
static void test_both_larger_than_thought(void **state) {
    open_store(2, 60000, ROW_BYTES / 2);
    atomic_store(&map->row_bytes, 1);
    struct store_request **v = mem_zalloc(ROWS * sizeof *v);
    for (int i = 0; i < ROWS; i++) {
        store_load(f.store, store_request_create(map, &ids[i], &v[i]));
    }
    release_all(v, ROWS);
    close_store();
}

static void test_bound_changes(void **state) {
    open_store(4, 60000, 2 * ROW_BYTES + ROW_BYTES / 2);
    learn_size();
    struct store_request **v = fixture_submit(&f, map, ids, ROWS);
    wait_until(is_stuck);
    assert_in_range(completed(), 1, 2);
    store_set_loads_bytes_max(f.store, 8 * ROW_BYTES);
    fixture_wait(&f, 3);
    wait_until(is_stuck);
    assert_in_range(completed(), 3, 8);
    store_set_loads_bytes_max(f.store, 0);
    fixture_wait(&f, ROWS);
    release_all(v, ROWS);
    close_store();
}

/* Time is up while rows wait, within a query and for one: their clients are told so, and nobody
 * says that the database is down. */
static void test_time_is_up(void **state) {
    open_store(2, 300, 4 * ROW_BYTES + ROW_BYTES / 2);
    struct store_request **v = fixture_submit(&f, map, ids, ROWS);
    fixture_wait(&f, ROWS);
    uint32_t rows = 0, late = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        if (v[i]->status == STORE_ROW) {
            rows++;
        } else {
            assert_string_equal(fixture_text(v[i]),
                                "TIMEOUT: there was no room for the row in time");
            late++;
        }
    }
    assert_in_range(rows, 1, 4);
    assert_int_equal(rows + late, ROWS);
    struct store_request **queued = fixture_submit(&f, map, ids, 1); /* no worker takes it */
    fixture_wait(&f, ROWS + 1);
    assert_string_equal(fixture_text(queued[0]), "TIMEOUT: there was no room for the row in time");
    assert_false(stats_now().breaker_open);
    assert_int_not_equal(stats_now().health, STORE_HEALTH_DOWN);
    for (uint32_t i = 0; i < ROWS; i++) {
        store_release(f.store, store_request_drop(v[i]));
    }
    fixture_free(v, ROWS);
    fixture_free(queued, 1);
    struct store_request *r = fixture_get(&f, map, "k:3");
    expect_row(r);
    store_request_destroy(r);
    wait_until(is_idle);
    assert_int_equal(stats_now().health, STORE_HEALTH_UP);
    close_store();
}

static void test_stops_while_rows_wait(void **state) {
    for (int known = 0; known < 2; known++) {
        open_store(3, 60000, 2 * ROW_BYTES + ROW_BYTES / 2);
        if (known) {
            learn_size();
        }
        struct store_request **v = fixture_submit(&f, map, ids, ROWS);
        wait_until(is_stuck);
        close_store();
        uint32_t rows = 0;
        for (uint32_t i = 0; i < ROWS; i++) {
            assert_non_null(v[i]);
            rows += v[i]->status == STORE_ROW;
            assert_true(v[i]->status == STORE_ROW || v[i]->status == STORE_DOWN);
        }
        assert_in_range(rows, 1, 2);
        fixture_free(v, ROWS);
    }
}

/* Small rows know nothing of all this. */
static void test_small_rows(void **state) {
    open_store(2, 60000, 256 * 1024);
    struct mapping *number = fixture_map("n n:{id} table=t as=string:n");
    for (int round = 0; round < 50; round++) {
        struct store_request **v = fixture_load(&f, number, ids, ROWS);
        for (int i = 0; i < ROWS; i++) {
            assert_string_equal(fixture_text(v[i]), text[i]);
            store_release(f.store, store_request_drop(v[i]));
        }
        fixture_free(v, ROWS);
    }
    assert_in_range(mapping_row_bytes(number), 1, 8);
    assert_in_range(stats_now().batches, 50, 200);
    mapping_unref(number);
    close_store();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_waits_and_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_come_before_the_query_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_size_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_larger_than_the_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_rows_do_not_keep_large_ones_out, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_both_larger_than_thought, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_is_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stops_while_rows_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_rows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
