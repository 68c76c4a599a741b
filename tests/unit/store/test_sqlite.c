/* The SQLite driver, by the contract and where it differs. */
#include "contract.h"
#include <sqlite3.h>

static struct fixture_file file;
static sqlite3 *db;

static void exec(const char *sql) {
    char *error = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK) {
        fail_msg("%.200s: %s", sql, error);
    }
}

static int setup(void **state) {
    fixture_file_create(&file, "PRAGMA journal_mode=WAL");
    assert_int_equal(sqlite3_open(file.path, &db), SQLITE_OK);
    return 0;
}

static int teardown(void **state) {
    sqlite3_close(db);
    fixture_file_remove(&file);
    return 0;
}

static void test_contract(void **state) {
    const struct contract c = {.url = file.url, .exec = exec, .binary = "BLOB"};
    contract_run(&c);
}

static void test_kinds_of_tables(void **state) {
    struct fixture f;
    struct store_params params = fixture_params(file.url);
    fixture_open(&f, &params);
    exec("CREATE TABLE alias (id INTEGER PRIMARY KEY, v)");
    exec("CREATE TABLE wr (k TEXT PRIMARY KEY, v) WITHOUT ROWID");
    exec("CREATE TABLE nullable (k TEXT PRIMARY KEY, v)");
    exec("CREATE TABLE nocase (k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v)");
    exec("CREATE TABLE part (k INTEGER NOT NULL, v)");
    exec("CREATE UNIQUE INDEX part_k ON part (k) WHERE v > 0");
    exec("INSERT INTO alias VALUES (7, 1.5), (8, x'ff'), (9, 'caf\xc3\xa9\"\n'), (10, 1e100), "
         "(11, NULL), (12, 9e999), (9223372036854775807, -1)");
    exec("INSERT INTO wr VALUES ('k', 'w')");
    exec("INSERT INTO nocase VALUES ('Key', 'n')");
    struct mapping *m = fixture_map("a a:{id} table=alias as=json columns=v");
    fixture_expect(&f, m, "a:7", "{\"v\":1.5}");
    fixture_expect(&f, m, "a:8", "{\"v\":\"/w==\"}");
    fixture_expect(&f, m, "a:9", "{\"v\":\"caf\xc3\xa9\\\"\\n\"}");
    fixture_expect(&f, m, "a:10", "{\"v\":1.0e+100}");
    fixture_expect(&f, m, "a:11", "{\"v\":null}");
    fixture_expect(&f, m, "a:12", "{\"v\":\"Inf\"}");
    fixture_expect(&f, m, "a:9223372036854775807", "{\"v\":-1}");
    mapping_unref(m);
    m = fixture_map("w w:{k} table=main.wr as=string:v");
    fixture_expect(&f, m, "w:k", "w");
    mapping_unref(m);
    m = fixture_map("n n:{k} table=nocase as=string:v");
    fixture_expect(&f, m, "n:Key", "n");
    fixture_expect(&f, m, "n:key", "ABSENT");
    mapping_unref(m);
    char why[256];
    m = fixture_map("x x:{k} table=nullable as=string:v");
    assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_REFUSED);
    assert_non_null(strstr(why, "nullable"));
    mapping_unref(m);
    m = fixture_map("x x:{k} table=part as=string:v");
    assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_REFUSED);
    assert_non_null(strstr(why, "part_k(k) partial"));
    mapping_unref(m);
    fixture_close(&f);
}

/* A writer's lock keeps readers of a rollback journal out: they wait no longer than the timeout. */
static void test_locked(void **state) {
    struct fixture f;
    struct store_params params = fixture_params(file.url);
    params.timeout_ms = 400;
    exec("PRAGMA journal_mode=DELETE");
    exec("CREATE TABLE locked (id INTEGER PRIMARY KEY, v)");
    exec("INSERT INTO locked VALUES (1, 'v')");
    fixture_open(&f, &params);
    struct mapping *m = fixture_map("l l:{id} table=locked as=string:v");
    fixture_expect(&f, m, "l:1", "v");
    exec("BEGIN EXCLUSIVE");
    struct store_request *r = fixture_get(&f, m, "l:1");
    assert_string_equal(fixture_status(r->status), "TIMEOUT");
    store_request_destroy(r);
    exec("COMMIT");
    fixture_expect(&f, m, "l:1", "v");
    mapping_unref(m);
    fixture_close(&f);
}

static void test_file_gone(void **state) {
    struct fixture f;
    struct store_params params = fixture_params("sqlite:///nonexistent/forebay/x.db");
    params.breaker_errors = 2;
    params.breaker_window_ms = params.breaker_open_ms = 60000;
    fixture_open(&f, &params);
    char why[256] = "";
    struct mapping *m = fixture_map("l l:{id} table=t as=string:v");
    assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_UNREACHABLE);
    assert_true(why[0]);
    struct store_request *r = fixture_get(&f, m, "l:1");
    assert_string_equal(fixture_status(r->status), "DOWN");
    store_request_destroy(r);
    fixture_expect(&f, m, "l:1", "DOWN: the store's breaker is open");
    struct store_stats stats;
    store_stats_read(f.store, &stats);
    assert_true(stats.breaker_open);
    assert_int_equal(stats.breaker_opened, 1);
    mapping_unref(m);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_contract, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kinds_of_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locked, setup, teardown),
        cmocka_unit_test(test_file_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
