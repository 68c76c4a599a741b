#include "fixture.h"
#include "store/schema.h"
#include "store/sql.h"

static void test_utf8(void **state) {
    static const struct {
        struct slice text;
        int chars; /* -1 = invalid */
        uint32_t highest;
    } cases[] = {
        {{"", 0}, 0, 0},
        {{"abc", 3}, 3, 'c'},
        {{"\0a", 2}, 2, 'a'},
        {{"\xc3\xa9", 2}, 1, 0xe9},
        {{"\xf0\x9f\x90\xac", 4}, 1, 0x1f42c},
        {{"\xf4\x8f\xbf\xbf", 4}, 1, 0x10ffff},
        {{"\xf4\x90\x80\x80", 4}, -1, 0},
        {{"\xed\xa0\x80", 3}, -1, 0},
        {{"\xc0\x80", 2}, -1, 0},
        {{"\xc1\xbf", 2}, -1, 0},
        {{"\xe0\x9f\xbf", 3}, -1, 0},
        {{"\xf0\x8f\xbf\xbf", 4}, -1, 0},
        {{"\x80", 1}, -1, 0},
        {{"\xc3", 1}, -1, 0},
        {{"\xe2\x82", 2}, -1, 0},
        {{"\xff", 1}, -1, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t chars;
        uint32_t highest;
        bool valid = schema_utf8(cases[i].text, &chars, &highest);
        assert_int_equal(valid, cases[i].chars >= 0);
        if (valid) {
            assert_int_equal(chars, cases[i].chars);
            assert_int_equal(highest, cases[i].highest);
        }
    }
}

static struct schema_found *add(struct schema_table *t, const char *name,
                                enum schema_key_kind kind) {
    struct schema_found *f = schema_table_add(t, slice_str(name));
    f->key_possible = f->not_null = true;
    f->key.kind = kind;
    f->key.size_max = 4;
    f->key.min = -10;
    f->key.max = 10;
    return f;
}

static void test_select(void **state) {
    struct schema_table t = {0};
    char why[256];
    add(&t, "Id", SCHEMA_KEY_INT)->expression = mem_strdup("CONCAT(`Id`)");
    schema_table_find(&t, "id")->key_expression = mem_strdup("`Id`+0");
    add(&t, "we`ird", SCHEMA_KEY_TEXT);
    add(&t, "v", SCHEMA_KEY_TEXT);
    struct mapping *m = fixture_map("m k:{we`ird}:{id} table=d.t`1 as=hash");
    const char *columns[] = {"Id", "we`ird"};
    schema_table_index(&t, m, "u", columns, 1, true);
    assert_null(schema_build(m, &t, why, sizeof why));
    schema_table_index(&t, m, "p", columns, 2, false);
    assert_null(schema_build(m, &t, why, sizeof why));
    assert_non_null(strstr(why, "u(Id), p(Id,we`ird) partial"));
    schema_table_index(&t, m, "p", columns, 2, true);
    struct schema *s = schema_build(m, &t, why, sizeof why);
    assert_non_null(s);
    struct buf sql = {0};
    sql_append_select(&sql, s, 1, SQL_MYSQL);
    assert_true(slice_eq(buf_slice(&sql),
                         SLICE("SELECT `we``ird`,`Id`+0,CONCAT(`Id`),`v` FROM `d`.`t``1` WHERE "
                               "`we``ird`=? AND `Id`=?")));
    sql.len = 0;
    sql_append_select(&sql, s, 2, SQL_MYSQL);
    assert_non_null(memmem(sql.ptr, sql.len, "(`we``ird`,`Id`) IN ((?,?),(?,?))", 33));
    sql.len = 0;
    sql_append_select(&sql, s, 2, SQL_SQLITE);
    assert_non_null(memmem(sql.ptr, sql.len, " IN (VALUES (?,?),(?,?))", 24));
    buf_free(&sql);
    assert_int_equal(s->columns[0].cell, 2);
    assert_int_equal(s->columns[1].cell, 0);
    assert_int_equal(s->columns[2].cell, 3);

    struct schema *same = schema_build(m, &t, why, sizeof why);
    assert_true(schema_same(s, same));
    assert_int_not_equal(s->id, same->id);
    schema_unref(same);
    schema_table_find(&t, "v")->kind = SCHEMA_NUMBER;
    same = schema_build(m, &t, why, sizeof why);
    assert_false(schema_same(s, same));
    schema_unref(same);

    struct schema_key key;
    assert_true(schema_encode(s, (struct slice[]){SLICE("abcd"), SLICE("-10")}, &key));
    assert_int_equal((int64_t)key.v[1].number, -10);
    assert_false(schema_encode(s, (struct slice[]){SLICE("abcde"), SLICE("1")}, &key));
    assert_false(schema_encode(s, (struct slice[]){SLICE("a"), SLICE("11")}, &key));
    assert_false(schema_encode(s, (struct slice[]){SLICE("a"), SLICE("-11")}, &key));
    assert_false(schema_encode(s, (struct slice[]){SLICE("\xff"), SLICE("1")}, &key));
    schema_unref(schema_ref(s));
    schema_unref(s);
    schema_unref(NULL);
    schema_table_deinit(&t);
    mapping_unref(m);
}

static void test_cache_drops_the_oldest(void **state) {
    struct sql_cache c = {0};
    bool hit;
    for (uint32_t i = 0; i < SQL_STATEMENTS_MAX; i++) {
        sql_cache_find(&c, i, 4, &hit);
        assert_false(hit);
    }
    uint32_t first = sql_cache_find(&c, 0, 4, &hit);
    assert_true(hit);
    uint32_t second = sql_cache_find(&c, 0, 8, &hit); /* in place of id 1 */
    assert_false(hit);
    assert_int_not_equal(first, second);
    sql_cache_find(&c, 0, 4, &hit);
    assert_true(hit);
    assert_int_equal(sql_cache_find(&c, 1, 4, &hit), 2);
    assert_false(hit);
    sql_cache_drop(&c, first);
    sql_cache_find(&c, 0, 4, &hit);
    assert_false(hit);
    assert_int_equal(sql_padded(1), 1);
    assert_int_equal(sql_padded(3), 4);
    assert_int_equal(sql_padded(256), 256);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_select),
        cmocka_unit_test(test_cache_drops_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
