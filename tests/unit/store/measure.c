/* Figures of the MySQL driver on a private MariaDB: not a test, run by hand. */
#include "fixture.h"
#include "mariadb.h"

enum { ROWS = 10000, ROUNDS = 5 };

static struct mariadb db;

static void measure(const char *what, struct mapping *m, const struct slice *keys, uint32_t list,
                    uint32_t pool, uint32_t at_once) {
    struct fixture f;
    struct store_params params = fixture_params(db.url);
    struct store_stats before, after;
    params.pool = pool;
    params.timeout_ms = 60000;
    fixture_open(&f, &params);
    fixture_free(fixture_load(&f, m, keys, ROWS), ROWS); /* warm: connected and prepared */
    store_stats_read(f.store, &before);
    int64_t start_us = clock_mono_us();
    uint64_t base = ROWS, sent = 0;
    static struct store_request **v[ROWS * ROUNDS];
    uint32_t lists = ROWS * ROUNDS / list;
    for (uint32_t i = 0; i < lists; i++) {
        uint64_t first = (uint64_t)i * list % ROWS;
        v[i] = fixture_submit(&f, m, keys + first * m->key_columns_count, list);
        sent += list;
        if (sent > at_once) {
            fixture_wait(&f, base + sent - at_once);
        }
    }
    fixture_wait(&f, base + sent);
    int64_t took_us = clock_mono_us() - start_us;
    store_stats_read(f.store, &after);
    for (uint32_t i = 0; i < lists; i++) {
        fixture_free(v[i], list);
    }
    printf("%-34s %7.0f queries per 10^4 keys, %8.0f rows/s, p50 %llu us, p99 %llu us\n", what,
           (double)(after.batches - before.batches) / ROUNDS * 10000 / ROWS,
           (double)(after.rows - before.rows) * 1e6 / (double)took_us,
           (unsigned long long)store_latency_us(&after, 50),
           (unsigned long long)store_latency_us(&after, 99));
    fixture_close(&f);
}

static void run(void **state) {
    static char text[ROWS][8];
    static struct slice keys[ROWS], pairs[ROWS * 2];
    mariadb_create(&db);
    mariadb_exec(&db, "CREATE TABLE one (id INT NOT NULL PRIMARY KEY, name VARCHAR(50), qty INT, "
                      "price DECIMAL(10,2), changed DATETIME)");
    mariadb_exec(&db, "INSERT INTO one SELECT seq, CONCAT('name ', seq), seq * 3, seq / 7, NOW() "
                      "FROM seq_1_to_10000");
    mariadb_exec(&db,
                 "CREATE TABLE two (a INT NOT NULL, b INT NOT NULL, v INT, PRIMARY KEY (a, b))");
    mariadb_exec(&db, "INSERT INTO two SELECT seq, seq, seq FROM seq_1_to_10000");
    for (uint32_t i = 0; i < ROWS; i++) {
        snprintf(text[i], sizeof text[i], "%u", (unsigned)(i * 7919u % ROWS + 1));
        keys[i] = pairs[2 * i] = pairs[2 * i + 1] = slice_str(text[i]);
    }
    struct mapping *one = fixture_map("one one:{id} table=one as=hash");
    struct mapping *two = fixture_map("two two:{a}:{b} table=two as=hash");
    measure("one key a time, pool 1", one, keys, 1, 1, 0);
    measure("one key a query, pool 8", one, keys, 1, 8, 7);
    measure("lists of 100, pool 8", one, keys, 100, 8, 800);
    measure("lists of 100, pool 1", one, keys, 100, 1, 100);
    measure("1000 clients of one key, pool 8", one, keys, 1, 8, 1000);
    measure("1000 clients of one key, pool 2", one, keys, 1, 2, 1000);
    measure("composite, lists of 100, pool 8", two, pairs, 100, 8, 800);
    measure("composite, lists of 250, pool 1", two, pairs, 250, 1, 250);
    mapping_unref(one);
    mapping_unref(two);
    mariadb_destroy(&db);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(run)};
    return mariadb_available() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
