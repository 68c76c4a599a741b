#include "fixture.h"
#include "store/form.h"

static void expect_json(struct slice text, enum schema_cell_kind kind, const char *want) {
    struct schema_column column = {.name = "c\"", .kind = kind};
    struct schema s = {.columns = &column, .columns_count = 1};
    struct schema_cell cell = {.text = text, .kind = kind};
    struct store_value value;
    void *memory;
    char whole[256];
    assert_true(form_build(&s, MAPPING_JSON, &cell, &value, &memory));
    snprintf(whole, sizeof whole, "{\"c\\\"\":%s}", want);
    if (!slice_eq(value.string, slice_str(whole))) {
        fail_msg("got %.*s, wanted %s", SLICE_FMT(value.string), whole);
    }
    mem_free(memory);
}

static void test_json(void **state) {
    expect_json(SLICE(""), SCHEMA_NULL, "null");
    expect_json(SLICE("-12.50"), SCHEMA_NUMBER, "-12.50");
    expect_json(SLICE("1e-30"), SCHEMA_NUMBER, "1e-30");
    expect_json(SLICE("1.0e+20"), SCHEMA_NUMBER, "1.0e+20");
    expect_json(SLICE("000042"), SCHEMA_NUMBER, "42");
    expect_json(SLICE("0000"), SCHEMA_NUMBER, "0");
    expect_json(SLICE("007.50"), SCHEMA_NUMBER, "7.50");
    expect_json(SLICE("Inf"), SCHEMA_NUMBER, "\"Inf\"");
    expect_json(SLICE("1."), SCHEMA_NUMBER, "\"1.\"");
    expect_json(SLICE("1e"), SCHEMA_NUMBER, "\"1e\"");
    expect_json(SLICE(""), SCHEMA_NUMBER, "\"\"");
    expect_json(SLICE("a\"\\/\b\f\n\r\t\0\x1f\x7f"), SCHEMA_TEXT,
                "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\"");
    expect_json(SLICE("\xf0\x9f\x90\xac"), SCHEMA_TEXT, "\"\xf0\x9f\x90\xac\"");
    expect_json(SLICE("a\xff"), SCHEMA_TEXT, "\"Yf8=\"");
    expect_json(SLICE("\0"), SCHEMA_BINARY, "\"AA==\"");
    expect_json(SLICE("abc"), SCHEMA_BINARY, "\"YWJj\"");
    expect_json(SLICE(""), SCHEMA_BINARY, "\"\"");
}

static void test_embedded_json(void **state) {
    static const char *const good[] = {
        "1",
        "\"x\"",
        "null",
        "true",
        "false",
        "{}",
        "[]",
        " [ ] ",
        "[1]",
        "[[],{}]",
        "{\"a\":1}",
        "{\"a\":[1,2,{\"b\":null}],\"c\":\"\\u00e9\\n\"}",
        "[-1.5e+3,0.1]",
        "{ \"a\" : { } , \"b\" : [ ] }",
    };
    static const char *const bad[] = {
        "",         "{",           "}",         "[1,]",    "{\"a\"}",
        "{\"a\":}", "{\"a\":1,}",  "[1 2]",     "{a:1}",   "1,",
        "[1]]",     "nul",         "\"x",       "\"\\x\"", "\"\\u12g4\"",
        "01",       "{\"a\":1,2}", "},\"x\":{", "[}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        expect_json(slice_str(good[i]), SCHEMA_JSON, good[i]);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct schema_column column = {.name = "c", .kind = SCHEMA_JSON};
        struct schema s = {.columns = &column, .columns_count = 1};
        struct schema_cell cell = {.text = slice_str(bad[i]), .kind = SCHEMA_JSON};
        struct store_value value;
        void *memory;
        assert_true(form_build(&s, MAPPING_JSON, &cell, &value, &memory));
        if (value.string.ptr[5] != '"') {
            fail_msg("%s was taken for JSON: %.*s", bad[i], SLICE_FMT(value.string));
        }
        mem_free(memory);
    }
    char deep[512];
    memset(deep, '[', 200);
    memset(deep + 200, ']', 200);
    struct schema_column column = {.name = "c", .kind = SCHEMA_JSON};
    struct schema s = {.columns = &column, .columns_count = 1};
    struct schema_cell cell = {.text = slice_of(deep, 400), .kind = SCHEMA_JSON};
    struct store_value value;
    void *memory;
    assert_true(form_build(&s, MAPPING_JSON, &cell, &value, &memory));
    assert_int_equal(value.string.ptr[5], '"');
    mem_free(memory);
}

static bool fetch_fails;

static bool fetch(void *from, uint32_t cell, struct slice to) {
    assert_ptr_equal(from, &fetch_fails);
    assert_int_equal(cell, 1);
    memset((char *)(uintptr_t)to.ptr, 'x', to.len);
    return !fetch_fails;
}

static void expect_fetched(enum mapping_form form, const char *want) {
    struct schema_column columns[2] = {{.name = "a", .kind = SCHEMA_TEXT, .cell = 1},
                                       {.name = "b", .kind = SCHEMA_TEXT, .cell = 0}};
    struct schema s = {.columns = columns, .columns_count = form == MAPPING_STRING ? 1 : 2};
    struct schema_cell cells[2] = {
        {.text = SLICE("1"), .kind = SCHEMA_TEXT},
        {.text = slice_of(NULL, 3), .kind = SCHEMA_TEXT, .fetch = fetch, .from = &fetch_fails}};
    struct store_request r = {.status = STORE_ROW};
    for (int fails = 0; fails < 2; fails++) {
        fetch_fails = fails;
        assert_int_equal(form_build(&s, form, cells, &r.value, &r.memory), !fails);
        if (!fails) {
            assert_string_equal(fixture_text(&r), want);
            mem_free(r.memory);
        }
        assert_true(!fails || r.memory == NULL);
    }
}

/* Cells that are not there yet are fetched to where they go. */
static void test_large_cells(void **state) {
    expect_fetched(MAPPING_STRING, "xxx");
    expect_fetched(MAPPING_HASH, "a=xxx b=1");
    expect_fetched(MAPPING_JSON, "{\"a\":\"xxx\",\"b\":\"1\"}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_embedded_json),
        cmocka_unit_test(test_large_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
