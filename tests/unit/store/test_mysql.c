/* The MySQL driver against a MariaDB server of its own; skipped where none is installed. */
#include "contract.h"
#include "mariadb.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct mariadb db;

static void exec(const char *sql) {
    mariadb_exec(&db, sql);
}

static void open_store(struct fixture *f, int64_t timeout_ms, uint32_t pool) {
    struct store_params params = fixture_params(db.url);
    params.timeout_ms = timeout_ms;
    params.pool = pool;
    fixture_open(f, &params);
}

static void test_contract(void **state) {
    const struct contract c = {.url = db.url, .exec = exec, .binary = "VARBINARY(16)"};
    contract_run(&c);
}

/* Every type with odd values, compared with what the text protocol says of the same row. */
static const char types_ddl[] =
    "CREATE TABLE types (id INT NOT NULL PRIMARY KEY, ti TINYINT, tu TINYINT UNSIGNED, "
    "tz TINYINT(4) ZEROFILL, sm SMALLINT, me MEDIUMINT, mu MEDIUMINT UNSIGNED, i INT, "
    "iu INT UNSIGNED, iz INT(8) ZEROFILL, bi BIGINT, bu BIGINT UNSIGNED, bz BIGINT(20) ZEROFILL, "
    "de DECIMAL(20,6), dz DECIMAL(12,3) ZEROFILL, d0 DECIMAL(65,0), fl FLOAT, f2 FLOAT(7,2), "
    "fz FLOAT(10,3) ZEROFILL, dbl DOUBLE, d2 DOUBLE(12,4), b1 BIT(1), b20 BIT(20), b64 BIT(64), "
    "da DATE, ti0 TIME, ti6 TIME(6), dt DATETIME, dt6 DATETIME(6), ts TIMESTAMP NULL, "
    "ts3 TIMESTAMP(3) NULL, ye YEAR, ch CHAR(10), cl CHAR(10) CHARACTER SET latin1, "
    "vc VARCHAR(50), vl VARCHAR(50) CHARACTER SET latin1, vu VARCHAR(50) CHARACTER SET utf16, "
    "bn BINARY(4), vb VARBINARY(20), tt TINYTEXT, te TEXT, lt LONGTEXT, bl BLOB, lb LONGBLOB, "
    "en ENUM('a','b c','\xc3\xa9'), se SET('x','y','z'), js JSON, po POINT, ge GEOMETRY, "
    "i6 INET6, uu UUID, ge2 INT AS (i + 1) VIRTUAL, inv INT INVISIBLE DEFAULT 5)";

static const char *const types_rows[] = {
    "INSERT INTO types (id) VALUES (1)",
    "INSERT INTO types (id, ti, tu, tz, sm, me, mu, i, iu, iz, bi, bu, bz, de, dz, d0, fl, f2, fz, "
    "dbl, d2, b1, b20, b64) VALUES (2, -128, 255, 7, -32768, -8388608, 16777215, -2147483648, "
    "4294967295, 42, -9223372036854775808, 18446744073709551615, 1, -0.000001, 1.5, "
    "99999999999999999999999999999999999999999999999999999999999999999, 1e-7, 12345.678, 1.25, "
    "1e30, 0.00005, b'1', b'10101010101010101010', ~0)",
    "INSERT INTO types (id, fl, dbl, f2, d2, b1, b20, de) VALUES (3, 0.1, 0.1, -0.005, 1e7, b'0', "
    "0, 12345678901234.5)",
    "INSERT INTO types (id, fl, dbl) VALUES (4, 3.4028234e38, 1.7976931348623157e308)",
    "INSERT INTO types (id, fl, dbl) VALUES (5, -1.17549435e-38, 2.2250738585072014e-308)",
    "INSERT INTO types (id, fl, dbl) VALUES (6, 16777217, 123456789012345678)",
    "INSERT INTO types (id, fl, dbl) VALUES (7, 1e15, 1e15), (8, 1e-5, 1e-16), (9, -0.0, -0.0), "
    "(10, 999999.9, 0.30000000000000004), (11, 1234567, 1e14), (12, 100000000, 1e16)",
    "INSERT INTO types (id, da, ti0, ti6, dt, dt6, ts, ts3, ye) VALUES (13, '2024-02-29', "
    "'-838:59:59', '-00:00:00.000001', '9999-12-31 23:59:59', '1000-01-01 00:00:00.5', "
    "'2038-01-19 03:14:07', '2001-02-03 04:05:06.789', 2155)",
    "INSERT INTO types (id, da, ti0, ti6, dt, dt6, ts, ts3, ye) VALUES (14, '0000-00-00', "
    "'00:00:00', '100:00:00.1', '0000-00-00 00:00:00', '0000-00-00', '0000-00-00', '0000-00-00', "
    "0)",
    "INSERT INTO types (id, ch, cl, vc, vl, vu, bn, vb, tt, te, lt, bl, lb, en, se, js, i6, uu) "
    "VALUES (15, 'pad  ', 'caf\xc3\xa9', '\xf0\x9f\x90\xac  ', '\xe2\x82\xac', '\xf0\x9f\x90\xac', "
    "x'01', x'00ff00', '', 'line\n\"q\"', REPEAT('y', 70000), x'0000', REPEAT('\\0', 300), 'b c', "
    "'z,x', '{\"a\": [1, null, \"\xc3\xa9\"]}', '::ffff:1.2.3.4', "
    "'6CCD780C-BABA-1026-9564-5B8C656024DB')",
    "INSERT INTO types (id, en, se, po, ge, vc) VALUES (16, '\xc3\xa9', '', POINT(1, -2.5), "
    "ST_GeomFromText('LINESTRING(0 0, 1 1)'), REPEAT('\xc3\xa9', 50))",
};

static void compare_row(struct fixture *f, struct mapping *m, const char *id) {
    char sql[64];
    /* A select of * leaves the invisible column out: named, it is the last. */
    snprintf(sql, sizeof sql, "SELECT *, inv FROM types WHERE id=%s", id);
    assert_int_equal(mysql_query(db.admin, sql), 0);
    MYSQL_RES *result = mysql_store_result(db.admin);
    MYSQL_ROW row = mysql_fetch_row(result);
    const unsigned long *lengths = mysql_fetch_lengths(result);
    const MYSQL_FIELD *fields = mysql_fetch_fields(result);
    assert_non_null(row);
    const struct slice key = slice_str(id);
    struct store_request **v = fixture_load(f, m, &key, 1);
    if (v[0]->status != STORE_ROW) {
        fail_msg("row %s: %s", id, fixture_text(v[0]));
    }
    uint32_t at = 0;
    for (unsigned i = 0; i < mysql_num_fields(result); i++) {
        if (!row[i]) {
            continue;
        }
        assert_true(at < v[0]->value.pairs_count);
        struct slice name = v[0]->value.pairs[2 * at], value = v[0]->value.pairs[2 * at + 1];
        assert_true(slice_eq(name, slice_str(fields[i].name)));
        if (!slice_eq(value, slice_of(row[i], lengths[i]))) {
            fail_msg("row %s, column %s: got '%.*s', the text protocol has '%.*s'", id,
                     fields[i].name, SLICE_FMT(value), (int)lengths[i], row[i]);
        }
        at++;
    }
    assert_int_equal(at, v[0]->value.pairs_count);
    fixture_free(v, 1);
    mysql_free_result(result);
}

static void test_types(void **state) {
    struct fixture f;
    exec("SET sql_mode=''");
    exec(types_ddl);
    for (size_t i = 0; i < ARRAY_COUNT(types_rows); i++) {
        exec(types_rows[i]);
    }
    open_store(&f, 5000, 1);
    struct mapping *m = fixture_map("types types:{id} table=test.types as=hash");
    for (int id = 1; id <= 16; id++) {
        char text[8];
        snprintf(text, sizeof text, "%d", id);
        compare_row(&f, m, text);
    }
    mapping_unref(m);
    m = fixture_map("tj tj:{id} table=types as=json "
                    "columns=tz,bz,dz,fl,dbl,b1,dt,ye,ch,bn,te,js,en,bu");
    fixture_expect(&f, m, "tj:15",
                   "{\"tz\":null,\"bz\":null,\"dz\":null,\"fl\":null,\"dbl\":null,\"b1\":null,"
                   "\"dt\":null,\"ye\":null,\"ch\":\"pad\",\"bn\":\"AQAAAA==\","
                   "\"te\":\"line\\n\\\"q\\\"\",\"js\":{\"a\": [1, null, \"\xc3\xa9\"]},"
                   "\"en\":\"b c\",\"bu\":null}");
    fixture_expect(&f, m, "tj:2",
                   "{\"tz\":7,\"bz\":1,\"dz\":1.500,\"fl\":0.0000001,\"dbl\":1e30,\"b1\":\"AQ==\","
                   "\"dt\":null,\"ye\":null,\"ch\":null,\"bn\":null,\"te\":null,\"js\":null,"
                   "\"en\":null,\"bu\":18446744073709551615}");
    mapping_unref(m);
    exec("SET sql_mode=DEFAULT");
    fixture_close(&f);
}

static void test_integer_keys(void **state) {
    struct fixture f;
    open_store(&f, 5000, 1);
    exec("CREATE TABLE ints (t TINYINT NOT NULL UNIQUE, b BIGINT UNSIGNED NOT NULL UNIQUE, "
         "z INT(6) ZEROFILL NOT NULL UNIQUE, v INT)");
    exec("INSERT INTO ints VALUES (-128, 18446744073709551615, 42, 1), (127, 0, 0, 2)");
    struct mapping *m = fixture_map("t t:{t} table=ints as=string:v");
    fixture_expect(&f, m, "t:-128", "1");
    fixture_expect(&f, m, "t:127", "2");
    fixture_expect(&f, m, "t:128", "ABSENT");
    fixture_expect(&f, m, "t:-129", "ABSENT");
    mapping_unref(m);
    m = fixture_map("b b:{b} table=ints as=string:v");
    fixture_expect(&f, m, "b:18446744073709551615", "1");
    fixture_expect(&f, m, "b:0", "2");
    fixture_expect(&f, m, "b:-1", "ABSENT");
    fixture_expect(&f, m, "b:18446744073709551616", "ABSENT");
    mapping_unref(m);
    m = fixture_map("z z:{z} table=ints as=hash columns=z,v");
    fixture_expect(&f, m, "z:42", "z=000042 v=1");
    fixture_expect(&f, m, "z:0", "z=000000 v=2");
    fixture_expect(&f, m, "z:000042", "ABSENT");
    mapping_unref(m);
    fixture_close(&f);
}

static void test_collations(void **state) {
    struct fixture f;
    open_store(&f, 5000, 1);
    exec("CREATE TABLE ci (k VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY, v INT)");
    exec("INSERT INTO ci VALUES ('Anna', 1), ('caf\xc3\xa9', 2)");
    struct mapping *m = fixture_map("ci ci:{k} table=ci as=string:v");
    const struct slice keys[] = {SLICE("anna"),        SLICE("Anna"), SLICE("ANNA"),
                                 SLICE("Anna "),       SLICE("cafe"), SLICE("caf\xc3\xa9"),
                                 SLICE("cafe\xcc\x81")};
    static const char *const want[] = {"ABSENT", "1", "ABSENT", "ABSENT", "ABSENT", "2", "ABSENT"};
    struct store_request **v = fixture_load(&f, m, keys, ARRAY_COUNT(keys));
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        assert_string_equal(fixture_text(v[i]), want[i]);
    }
    fixture_free(v, ARRAY_COUNT(keys));
    mapping_unref(m);

    exec("CREATE TABLE u (k UUID NOT NULL PRIMARY KEY, v INT)");
    exec("INSERT INTO u VALUES ('6ccd780c-baba-1026-9564-5b8c656024db', 1)");
    m = fixture_map("u u:{k} table=u as=string:v");
    fixture_expect(&f, m, "u:6ccd780c-baba-1026-9564-5b8c656024db", "1");
    fixture_expect(&f, m, "u:6CCD780C-BABA-1026-9564-5B8C656024DB", "ABSENT");
    fixture_expect(&f, m, "u:6ccd780cbaba102695645b8c656024db", "ABSENT");
    mapping_unref(m);

    exec("CREATE TABLE fixed (k BINARY(4) NOT NULL PRIMARY KEY, v INT)");
    exec("INSERT INTO fixed VALUES ('ab', 1)");
    m = fixture_map("fx fx:{k} table=fixed as=string:v");
    const struct slice padded = SLICE("ab\0\0");
    v = fixture_load(&f, m, &padded, 1);
    assert_string_equal(fixture_text(v[0]), "1");
    fixture_free(v, 1);
    fixture_expect(&f, m, "fx:ab", "ABSENT");
    mapping_unref(m);
    fixture_close(&f);
}

/* A key that latin1 has no character for must neither fail its neighbours nor a client that only
 * asked for what is not there. */
static void test_latin1(void **state) {
    enum { COUNT = 200 };
    static char text[COUNT][16];
    static struct slice keys[COUNT];
    struct fixture f;
    open_store(&f, 5000, 1);
    exec("CREATE TABLE l1 (k VARCHAR(20) CHARACTER SET latin1 NOT NULL PRIMARY KEY, v INT)");
    for (int i = 0; i < COUNT; i++) {
        char sql[96];
        snprintf(text[i], sizeof text[i], "k\xc3\xa9%d", i);
        snprintf(sql, sizeof sql, "INSERT INTO l1 VALUES ('%s', %d)", text[i], i);
        exec(sql);
        keys[i] = slice_str(text[i]);
    }
    keys[20] = SLICE("\xe6\x97\xa5"); /* too high a code point: not even asked for */
    keys[77] = SLICE("\xd0\x80");     /* within the set's range, and not in it */
    keys[150] = SLICE("\xd7\x90");
    struct mapping *m = fixture_map("l1 l1:{k} table=l1 as=string:v");
    struct store_request **v = fixture_load(&f, m, keys, COUNT);
    for (int i = 0; i < COUNT; i++) {
        char want[8];
        snprintf(want, sizeof want, "%d", i);
        if (i == 77 || i == 150) {
            assert_string_equal(fixture_status(v[i]->status), "REJECT");
        } else if (i == 20) {
            assert_string_equal(fixture_text(v[i]), "ABSENT");
        } else {
            assert_string_equal(fixture_text(v[i]), want);
        }
    }
    struct store_stats stats;
    store_stats_read(f.store, &stats);
    print_message("latin1: 2 poisonous keys of 200 took %d queries, the first says: %s\n",
                  (int)stats.batches, fixture_text(v[77]));
    fixture_free(v, COUNT);
    mapping_unref(m);
    fixture_close(&f);
}

/* Rows that the server has looked at so far: by scans of tables and of indexes. */
static int rows_read(void) {
    return atoi(mariadb_value(&db, "SELECT SUM(VARIABLE_VALUE) FROM "
                                   "information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN "
                                   "('HANDLER_READ_RND_NEXT', 'HANDLER_READ_NEXT')"));
}

/* Many keys must be found by the index, whatever the column's type or character set. */
static void test_index_is_used(void **state) {
    static const struct {
        const char *ddl, *map, *format;
    } cases[] = {
        {"CREATE TABLE ix0 (a INT NOT NULL PRIMARY KEY, v INT)", "x x:{a} table=ix0 as=hash", "%d"},
        {"CREATE TABLE ix1 (a VARCHAR(20) NOT NULL PRIMARY KEY, v INT)",
         "x x:{a} table=ix1 as=hash", "%d"},
        {"CREATE TABLE ix2 (a VARCHAR(20) CHARACTER SET latin1 NOT NULL PRIMARY KEY, v INT)",
         "x x:{a} table=ix2 as=hash", "%d"},
        {"CREATE TABLE ix3 (a VARCHAR(20) CHARACTER SET utf8mb3 NOT NULL PRIMARY KEY, v INT)",
         "x x:{a} table=ix3 as=hash", "%d"},
        {"CREATE TABLE ix4 (a VARBINARY(20) NOT NULL PRIMARY KEY, v INT)",
         "x x:{a} table=ix4 as=hash", "%d"},
        {"CREATE TABLE ix5 (a VARCHAR(20) COLLATE utf8mb4_bin NOT NULL PRIMARY KEY, v INT)",
         "x x:{a} table=ix5 as=hash", "%d"},
        {"CREATE TABLE ix6 (a BIGINT UNSIGNED NOT NULL PRIMARY KEY, v INT)",
         "x x:{a} table=ix6 as=hash", "%d"},
    };
    struct fixture f;
    open_store(&f, 5000, 1);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char sql[128], text[100][8];
        struct slice keys[100];
        exec(cases[i].ddl);
        snprintf(sql, sizeof sql, "INSERT INTO ix%zu SELECT seq, seq FROM seq_1_to_20000", i);
        exec(sql);
        for (int k = 0; k < 100; k++) {
            snprintf(text[k], sizeof text[k], cases[i].format, k + 1);
            keys[k] = slice_str(text[k]);
        }
        struct mapping *m = fixture_map(cases[i].map);
        char why[256];
        assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_OK);
        int before = rows_read();
        struct store_request **v = fixture_load(&f, m, keys, 100);
        for (int k = 0; k < 100; k++) {
            assert_int_equal(v[k]->status, STORE_ROW);
        }
        fixture_free(v, 100);
        int rows = rows_read() - before;
        if (rows > 1000) {
            fail_msg("%s: %d rows were read for 100", cases[i].ddl, rows);
        }
        mapping_unref(m);
    }
    fixture_close(&f);
}

static void test_composite_index(void **state) {
    struct fixture f;
    open_store(&f, 5000, 1);
    exec("CREATE TABLE cx (a INT NOT NULL, b VARCHAR(20) NOT NULL, v INT, PRIMARY KEY (a, b))");
    exec("INSERT INTO cx SELECT seq % 100, seq, seq FROM seq_1_to_20000");
    struct mapping *m = fixture_map("cx cx:{a}:{b} table=cx as=hash");
    char text[200][8];
    struct slice keys[200];
    for (int i = 0; i < 100; i++) {
        snprintf(text[2 * i], 8, "%d", (i + 1) % 100);
        snprintf(text[2 * i + 1], 8, "%d", i + 1);
        keys[2 * i] = slice_str(text[2 * i]);
        keys[2 * i + 1] = slice_str(text[2 * i + 1]);
    }
    char why[256];
    assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_OK);
    int before = rows_read();
    struct store_request **v = fixture_load(&f, m, keys, 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(v[i]->status, STORE_ROW);
    }
    fixture_free(v, 100);
    int rows = rows_read() - before;
    if (rows > 1000) {
        fail_msg("%d rows were read for 100", rows);
    }
    mapping_unref(m);
    fixture_close(&f);
}

/* More than 1000 parameters: beyond where MariaDB turns a list of constants into a subquery. */
static void test_wide_key_index(void **state) {
    enum { COUNT = 256 };
    static char text[COUNT][8];
    static struct slice keys[COUNT * 4];
    struct fixture f;
    open_store(&f, 5000, 1);
    exec("CREATE TABLE wide (a INT NOT NULL, b VARCHAR(20) NOT NULL, c INT NOT NULL, d BIGINT NOT "
         "NULL, v INT, UNIQUE (d, c, b, a))");
    exec("INSERT INTO wide SELECT seq, seq, seq, seq, seq FROM seq_1_to_20000");
    struct mapping *m = fixture_map("w w:{a}:{b}:{c}:{d} table=wide as=string:v");
    for (int i = 0; i < COUNT; i++) {
        snprintf(text[i], sizeof text[i], "%d", i + 1);
        keys[4 * i] = keys[4 * i + 1] = keys[4 * i + 2] = keys[4 * i + 3] = slice_str(text[i]);
    }
    fixture_expect(&f, m, "w:1:1:1:1", "1");
    int before = rows_read();
    struct store_request **v = fixture_load(&f, m, keys, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_string_equal(fixture_text(v[i]), text[i]);
    }
    fixture_free(v, COUNT);
    int rows = rows_read() - before;
    if (rows > 2000) {
        fail_msg("%d rows were read for %d", rows, COUNT);
    }
    mapping_unref(m);
    fixture_close(&f);
}

static void test_alter_under_load(void **state) {
    struct fixture f;
    open_store(&f, 5000, 2);
    exec("CREATE TABLE alt (id INT NOT NULL PRIMARY KEY, a INT, b VARCHAR(10))");
    exec("INSERT INTO alt VALUES (1, 2, 'x')");
    struct mapping *m = fixture_map("alt alt:{id} table=alt as=hash columns=b,a,id");
    fixture_expect(&f, m, "alt:1", "b=x a=2 id=1");
    exec("ALTER TABLE alt ADD COLUMN c INT FIRST");
    fixture_expect(&f, m, "alt:1", "b=x a=2 id=1");
    exec("ALTER TABLE alt MODIFY a BIGINT, MODIFY b TEXT");
    fixture_expect(&f, m, "alt:1", "b=x a=2 id=1");
    exec("ALTER TABLE alt DROP COLUMN a");
    struct store_request *r = fixture_get(&f, m, "alt:1");
    assert_int_equal(r->status, STORE_SCHEMA);
    assert_non_null(strstr(r->error, "no column a"));
    store_request_destroy(r);
    exec("DROP TABLE alt");
    mapping_unref(m);
    fixture_close(&f);
}

static void test_denied(void **state) {
    struct fixture f;
    char why[256], url[256];
    exec("CREATE TABLE secret (id INT NOT NULL PRIMARY KEY, v INT)");
    exec("CREATE USER poor@localhost IDENTIFIED BY 'p%@:/w'");
    exec("GRANT SELECT (id) ON test.secret TO poor@localhost");
    snprintf(url, sizeof url, "mysql://poor:p%%25%%40%%3a%%2Fw@localhost/test?socket=%s",
             db.socket);
    struct store_params params = fixture_params(url);
    fixture_open(&f, &params);
    struct mapping *m = fixture_map("s s:{id} table=secret as=string:v");
    assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_REFUSED);
    mapping_unref(m);
    fixture_close(&f);
    snprintf(params.url, sizeof params.url, "mysql://poor:wrong@localhost/test?socket=%s",
             db.socket);
    fixture_open(&f, &params);
    m = fixture_map("s s:{id} table=secret as=string:v");
    assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_UNREACHABLE);
    assert_non_null(strstr(why, "1045"));
    assert_null(strstr(why, "wrong"));
    mapping_unref(m);
    fixture_close(&f);

    /* This server has no certificate: what must be encrypted must then fail. */
    snprintf(params.url, sizeof params.url, "%s&tls=on", db.url);
    fixture_open(&f, &params);
    m = fixture_map("s s:{id} table=secret as=string:v");
    assert_int_equal(store_check_mapping(f.store, m, why, sizeof why), STORE_CHECK_UNREACHABLE);
    assert_non_null(strstr(why, "TLS"));
    mapping_unref(m);
    fixture_close(&f);
}

static int setup(void **state) {
    mysql_library_init(0, NULL, NULL);
    mariadb_create(&db);
    return 0;
}

static int teardown(void **state) {
    mariadb_destroy(&db);
    return 0;
}

int main(void) {
    if (!mariadb_available()) {
        puts("skipped: no MariaDB server is installed");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract),        cmocka_unit_test(test_types),
        cmocka_unit_test(test_integer_keys),    cmocka_unit_test(test_collations),
        cmocka_unit_test(test_latin1),          cmocka_unit_test(test_index_is_used),
        cmocka_unit_test(test_composite_index), cmocka_unit_test(test_alter_under_load),
        cmocka_unit_test(test_wide_key_index),  cmocka_unit_test(test_denied),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
