#include "contract.h"
#include "ds/buf.h"

static void load_rows(const struct contract *c, struct fixture *f) {
    c->exec("CREATE TABLE item (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(100), qty INTEGER)");
    c->exec("INSERT INTO item VALUES (1, 'one', 10), (2, NULL, 20), (-3, '', NULL)");
    struct mapping *hash = fixture_map("h item:{id} table=item as=hash");
    struct mapping *json = fixture_map("j json:{id} table=item as=json");
    struct mapping *some = fixture_map("s some:{id} table=item as=json columns=qty,id");
    struct mapping *text = fixture_map("t name:{id} table=item as=string:name");
    char why[256] = "x";
    assert_int_equal(store_check_mapping(f->store, hash, why, sizeof why), STORE_CHECK_OK);
    fixture_expect(f, hash, "item:1", "id=1 name=one qty=10");
    fixture_expect(f, hash, "item:2", "id=2 qty=20");
    fixture_expect(f, hash, "item:-3", "id=-3 name=");
    fixture_expect(f, hash, "item:4", "ABSENT");
    fixture_expect(f, json, "json:1", "{\"id\":1,\"name\":\"one\",\"qty\":10}");
    fixture_expect(f, json, "json:-3", "{\"id\":-3,\"name\":\"\",\"qty\":null}");
    fixture_expect(f, some, "some:2", "{\"qty\":20,\"id\":2}");
    fixture_expect(f, text, "name:1", "one");
    fixture_expect(f, text, "name:2", "ABSENT");
    fixture_expect(f, text, "name:-3", "");
    static const char *const bad[] = {"item:01",
                                      "item:+1",
                                      "item: 1",
                                      "item:1 ",
                                      "item:1.0",
                                      "item:1e0",
                                      "item:0x1",
                                      "item:one",
                                      "item:-0",
                                      "item:99999999999999999999",
                                      "item:-",
                                      "item:1 OR 1=1",
                                      "item:1;DROP TABLE item",
                                      "item:1) OR (1=1",
                                      "item:'1'",
                                      "item:1\xc2\xa0"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        fixture_expect(f, hash, bad[i], "ABSENT");
    }
    fixture_expect(f, hash, "item:1", "id=1 name=one qty=10");
    mapping_unref(hash);
    mapping_unref(json);
    mapping_unref(some);
    mapping_unref(text);
}

static void load_text_keys(const struct contract *c, struct fixture *f) {
    c->exec("CREATE TABLE person (email VARCHAR(100) NOT NULL UNIQUE, name VARCHAR(100))");
    c->exec("INSERT INTO person VALUES ('a@b.c', 'A'), ('it''s', 'quote'), ('\xf0\x9f\x90\xac', "
            "'dolphin'), ('%', 'percent'), ('x'' OR ''1''=''1', 'sql')");
    struct mapping *m = fixture_map("p person:{email} table=person as=string:name");
    fixture_expect(f, m, "person:a@b.c", "A");
    fixture_expect(f, m, "person:A@B.C", "ABSENT");
    fixture_expect(f, m, "person:a@b.c ", "ABSENT");
    fixture_expect(f, m, "person:it's", "quote");
    fixture_expect(f, m, "person:\xf0\x9f\x90\xac", "dolphin");
    fixture_expect(f, m, "person:%", "percent");
    fixture_expect(f, m, "person:' OR '1'='1", "ABSENT");
    fixture_expect(f, m, "person:x' OR '1'='1", "sql");
    fixture_expect(f, m, "person:\\", "ABSENT");
    fixture_expect(f, m, "person:\"; DROP TABLE person; --", "ABSENT");
    fixture_expect(f, m, "person:\xff\xfe", "ABSENT");
    const struct slice zero[] = {SLICE("a@b.c\0"), SLICE("\0"), SLICE("a@b.c")};
    struct store_request **v = fixture_load(f, m, zero, 3);
    assert_string_equal(fixture_text(v[0]), "ABSENT");
    assert_string_equal(fixture_text(v[1]), "ABSENT");
    assert_string_equal(fixture_text(v[2]), "A");
    fixture_free(v, 3);
    mapping_unref(m);
}

static void load_binary_keys(const struct contract *c, struct fixture *f) {
    char sql[256];
    snprintf(sql, sizeof sql, "CREATE TABLE blobs (k %s NOT NULL PRIMARY KEY, v INTEGER)",
             c->binary);
    c->exec(sql);
    c->exec("INSERT INTO blobs VALUES (x'00', 1), (x'ff00fe', 2), (x'6100', 3), (x'61', 4)");
    struct mapping *m = fixture_map("b blob:{k} table=blobs as=string:v");
    const struct slice keys[] = {SLICE("\0"), SLICE("\xff\0\xfe"), SLICE("a\0"), SLICE("a"),
                                 SLICE("A")};
    static const char *const want[] = {"1", "2", "3", "4", "ABSENT"};
    struct store_request **v = fixture_load(f, m, keys, ARRAY_COUNT(keys));
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        assert_string_equal(fixture_text(v[i]), want[i]);
    }
    fixture_free(v, ARRAY_COUNT(keys));
    mapping_unref(m);
}

static void load_composite(const struct contract *c, struct fixture *f) {
    c->exec("CREATE TABLE stock (shop INTEGER NOT NULL, sku VARCHAR(20) NOT NULL, qty INTEGER, "
            "PRIMARY KEY (shop, sku))");
    c->exec("INSERT INTO stock VALUES (1, 'a', 11), (1, 'b', 12), (2, 'a', 21), (2, 'c:d', 24)");
    struct mapping *m = fixture_map("k stock:{sku}:of:{shop} table=stock as=string:qty");
    fixture_expect(f, m, "stock:a:of:1", "11");
    fixture_expect(f, m, "stock:b:of:2", "ABSENT");
    fixture_expect(f, m, "stock:c:d:of:2", "24");
    fixture_expect(f, m, "stock:a:of:x", "ABSENT");
    const struct slice keys[] = {SLICE("a"),   SLICE("1"),  SLICE("b"),   SLICE("1"), SLICE("b"),
                                 SLICE("2"),   SLICE("a"),  SLICE("2"),   SLICE("a"), SLICE("1"),
                                 SLICE("c:d"), SLICE("02"), SLICE("c:d"), SLICE("2")};
    static const char *const want[] = {"11", "12", "ABSENT", "21", "11", "ABSENT", "24"};
    struct store_request **v = fixture_load(f, m, keys, ARRAY_COUNT(want));
    for (size_t i = 0; i < ARRAY_COUNT(want); i++) {
        assert_string_equal(fixture_text(v[i]), want[i]);
    }
    fixture_free(v, ARRAY_COUNT(want));
    mapping_unref(m);
}

static void load_many(const struct contract *c, struct fixture *f) {
    enum { COUNT = 1000 };
    static char numbers[COUNT][8];
    static struct slice keys[COUNT];
    c->exec("CREATE TABLE many (id INTEGER NOT NULL PRIMARY KEY, v INTEGER)");
    for (int i = 0; i < COUNT; i++) {
        char sql[64];
        /* Odd ones only; every number stands twice among the keys. */
        if (i % 2 && i < COUNT / 2) {
            snprintf(sql, sizeof sql, "INSERT INTO many VALUES (%d, %d)", i, i * 7);
            c->exec(sql);
        }
        snprintf(numbers[i], sizeof numbers[i], "%d", i % (COUNT / 2));
        keys[i] = slice_str(numbers[i]);
    }
    struct mapping *m = fixture_map("m many:{id} table=many as=string:v");
    struct store_stats before, after;
    store_stats_read(f->store, &before);
    struct store_request **v = fixture_load(f, m, keys, COUNT);
    store_stats_read(f->store, &after);
    for (int i = 0; i < COUNT; i++) {
        int id = i % (COUNT / 2);
        char want[16] = "ABSENT";
        if (id % 2) {
            snprintf(want, sizeof want, "%d", id * 7);
        }
        assert_string_equal(fixture_text(v[i]), want);
    }
    assert_int_equal(after.batches - before.batches, 4);
    assert_int_equal(after.loads - before.loads, COUNT);
    assert_int_equal(after.rows - before.rows, COUNT / 2);
    assert_int_equal(after.absent - before.absent, COUNT / 2);
    fixture_free(v, COUNT);
    mapping_unref(m);
}

static void refuse(struct fixture *f, const char *line, const char *part) {
    char why[256] = "";
    struct mapping *m = fixture_map(line);
    enum store_check result = store_check_mapping(f->store, m, why, sizeof why);
    if (result != STORE_CHECK_REFUSED || !strcasestr(why, part)) {
        fail_msg("%s: check %d, '%s' without '%s'", line, (int)result, why, part);
    }
    struct slice values[MAPPING_KEY_COLUMNS_MAX];
    for (uint32_t i = 0; i < MAPPING_KEY_COLUMNS_MAX; i++) {
        values[i] = SLICE("1");
    }
    struct store_request **v = fixture_load(f, m, values, 1);
    assert_int_equal(v[0]->status, STORE_SCHEMA);
    assert_string_equal(v[0]->error, why);
    fixture_free(v, 1);
    mapping_unref(m);
}

static void check_refusals(const struct contract *c, struct fixture *f) {
    c->exec(
        "CREATE TABLE odd (a INTEGER NOT NULL, b INTEGER, c INTEGER NOT NULL, d DOUBLE NOT NULL, "
        "e INTEGER NOT NULL)");
    c->exec("CREATE UNIQUE INDEX odd_b ON odd (b)");
    c->exec("CREATE UNIQUE INDEX odd_ac ON odd (a, c)");
    c->exec("CREATE UNIQUE INDEX odd_d ON odd (d)");
    c->exec("CREATE INDEX odd_e ON odd (e)");
    c->exec("CREATE VIEW odd_view AS SELECT * FROM odd");
    refuse(f, "x x:{id} table=nowhere as=hash", "no table nowhere");
    refuse(f, "x x:{id} table=odd_view as=hash", "view");
    refuse(f, "x x:{id} table=odd as=hash", "no column id");
    refuse(f, "x x:{a} table=odd as=string:nope", "no column nope");
    refuse(f, "x x:{a} table=odd as=hash columns=a,nope", "no column nope");
    refuse(f, "x x:{a} table=odd as=hash", "odd_ac(a,c)");
    refuse(f, "x x:{b} table=odd as=hash", "odd_b(b) nullable");
    refuse(f, "x x:{d} table=odd as=hash", "cannot be part of a key");
    refuse(f, "x x:{e} table=odd as=hash", "not the columns of a PRIMARY or UNIQUE");
    refuse(f, "x x:{a}:{c}:{e} table=odd as=hash", "not the columns of a PRIMARY or UNIQUE");
    refuse(f, "x x:{a} table=odd'; as=hash", "no table");
    refuse(f, "x x:{a} table=`odd` as=hash", "no table");
    struct mapping *m = fixture_map("ok ok:{C}:{A} table=odd as=hash");
    char why[256] = "";
    assert_int_equal(store_check_mapping(f->store, m, why, sizeof why), STORE_CHECK_OK);
    c->exec("INSERT INTO odd VALUES (1, NULL, 3, 0.5, 5)");
    fixture_expect(f, m, "ok:3:1", "a=1 c=3 d=0.5 e=5");
    fixture_expect(f, m, "ok:1:3", "ABSENT");
    mapping_unref(m);
}

static void follow_changes(const struct contract *c, struct fixture *f) {
    c->exec("CREATE TABLE moving (id INTEGER NOT NULL PRIMARY KEY, a INTEGER)");
    c->exec("INSERT INTO moving VALUES (1, 10)");
    struct mapping *m = fixture_map("mv mv:{id} table=moving as=hash");
    fixture_expect(f, m, "mv:1", "id=1 a=10");
    uint32_t generation = m->generation;
    c->exec("ALTER TABLE moving RENAME COLUMN a TO b");
    fixture_expect(f, m, "mv:1", "id=1 b=10");
    assert_int_not_equal(m->generation, generation);
    c->exec("DROP TABLE moving");
    struct store_request *r = fixture_get(f, m, "mv:1");
    assert_int_equal(r->status, STORE_SCHEMA);
    assert_non_null(strstr(r->error, "no table moving"));
    store_request_destroy(r);
    mapping_unref(m);
}

static void large_values(const struct contract *c, struct fixture *f) {
    c->exec("CREATE TABLE large (id INTEGER NOT NULL PRIMARY KEY, v LONGTEXT, w LONGTEXT)");
    const size_t size = 16u << 20;
    struct buf sql = {0};
    buf_printf(&sql, "INSERT INTO large VALUES (1, '");
    size_t head = sql.len;
    memset(buf_reserve(&sql, size), 'x', size);
    sql.len += size;
    buf_printf(&sql, "', 'tail')");
    c->exec(sql.ptr);
    struct mapping *m = fixture_map("l l:{id} table=large as=hash");
    struct store_request *r = fixture_get(f, m, "l:1");
    assert_string_equal(fixture_status(r->status), "ROW");
    assert_int_equal(r->value.pairs_count, 3);
    assert_int_equal(r->value.pairs[3].len, size);
    assert_memory_equal(r->value.pairs[3].ptr, sql.ptr + head, size);
    assert_true(slice_eq(r->value.pairs[5], SLICE("tail")));
    store_request_destroy(r);
    buf_free(&sql);
    mapping_unref(m);
}

static void destroy_under_load(const struct contract *c) {
    struct fixture f;
    struct store_params params = fixture_params(c->url);
    params.pool = 1;
    fixture_open(&f, &params);
    struct mapping *m = fixture_map("d d:{id} table=item as=hash");
    enum { COUNT = 2000 };
    static struct slice keys[COUNT];
    for (int i = 0; i < COUNT; i++) {
        keys[i] = SLICE("1");
    }
    struct store_request **v = fixture_submit(&f, m, keys, COUNT);
    store_destroy(f.store);
    f.store = NULL;
    for (int i = 0; i < COUNT; i++) {
        /* How many were read before depends on the machine. */
        assert_true(v[i] && (v[i]->status == STORE_DOWN || v[i]->status == STORE_ROW));
        assert_string_equal(fixture_text(v[i]), v[i]->status == STORE_ROW
                                                    ? "id=1 name=one qty=10"
                                                    : "DOWN: the store is shutting down");
    }
    fixture_free(v, COUNT);
    mapping_unref(m);
    fixture_close(&f);
}

void contract_run(const struct contract *c) {
    struct fixture f;
    struct store_params params = fixture_params(c->url);
    fixture_open(&f, &params);
    load_rows(c, &f);
    load_text_keys(c, &f);
    load_binary_keys(c, &f);
    load_composite(c, &f);
    load_many(c, &f);
    check_refusals(c, &f);
    follow_changes(c, &f);
    large_values(c, &f);
    fixture_close(&f);
    destroy_under_load(c);
}
