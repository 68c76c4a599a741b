#include "fixture.h"

static void refuse(const char *line, const char *part) {
    char why[256] = "";
    struct mapping *m = mapping_parse(slice_str(line), why, sizeof why);
    if (m) {
        fail_msg("accepted: %s", line);
    }
    if (!strstr(why, part)) {
        fail_msg("%s: '%s' without '%s'", line, why, part);
    }
}

static void test_refusals(void **state) {
    refuse("", "name template");
    refuse("   ", "name template");
    refuse("n", "template is missing");
    refuse("-n k:{id} table=t as=hash", "name is letters");
    refuse("a/b k:{id} table=t as=hash", "name is letters");
    refuse("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa k:{i} table=t "
           "as=hash",
           "longer than 64");
    refuse("n k table=t as=hash", "no {column} placeholder");
    refuse("n k:{} table=t as=hash", "placeholder");
    refuse("n k:{id table=t as=hash", "do not pair");
    refuse("n k:id} table=t as=hash", "do not pair");
    refuse("n k:{{id}} table=t as=hash", "nested or literal");
    refuse("n k:{a}{b} table=t as=hash", "must stand between");
    refuse("n k:{a}:{A} table=t as=hash", "twice");
    refuse("n {a}:{b}:{c}:{d}:{e}:{f}:{g}:{h}:{i} table=t as=hash", "more than 8");
    refuse("n k:{id} as=hash", "table= is missing");
    refuse("n k:{id} table= as=hash", "table: a name");
    refuse("n k:{id} table=t", "as= is missing");
    refuse("n k:{id} table=t as=hash as=json", "as= stands twice");
    refuse("n k:{id} table=t as=string", "as=string:column");
    refuse("n k:{id} table=t as=string:", "a name of 1");
    refuse("n k:{id} table=t as=blob", "not in this version");
    refuse("n k:{id} table=t as=set member=x", "not in this version");
    refuse("n k:{id} table=t as=zset", "not in this version");
    refuse("n k:{id} table=t as=HASH", "none of hash");
    refuse("n k:{id} table=t as=hash columns=", "columns: a name");
    refuse("n k:{id} table=t as=hash columns=a,,b", "columns: a name");
    refuse("n k:{id} table=t as=hash columns=a,b,", "columns: a name");
    refuse("n k:{id} table=t as=hash columns=a,A", "twice");
    refuse("n k:{id} table=t as=string:a columns=b", "no meaning");
    refuse("n k:{id} table=t as=hash ttl=0", "no time span");
    refuse("n k:{id} table=t as=hash ttl=-1s", "no time span");
    refuse("n k:{id} table=t as=hash ttl=1x", "no time span");
    refuse("n k:{id} table=t as=hash ttl=4000d", "no time span");
    refuse("n k:{id} table=t as=hash absent=x", "no time span");
    refuse("n k:{id} table=t as=hash jitter=10", "none of 0%");
    refuse("n k:{id} table=t as=hash jitter=100%", "none of 0%");
    refuse("n k:{id} table=t as=hash jitter=%", "none of 0%");
    refuse("n k:{id} table=t as=hash write=through", "write= is not in this version");
    refuse("n k:{id} table=t as=hash refresh=80%", "refresh= is not in this version");
    refuse("n k:{id} table=t as=hash stale=10m", "stale= is not in this version");
    refuse("n k:{id} table=t as=hash expire=col", "expire= is not in this version");
    refuse("n k:{id} table=t as=hash field=x", "field= is not in this version");
    refuse("n k:{id} table=t as=hash tabel=x", "unknown option 'tabel'");
    refuse("n k:{id} table=t as=hash nonsense", "no option=value");
    refuse("n k:{id} table=a\x01 as=hash", "control characters");
}

static void test_definition(void **state) {
    static const struct {
        const char *line, *definition;
    } cases[] = {
        {"p  product:{id}\ttable=products  as=hash  ttl=1h jitter=10% absent=30s ",
         "p product:{id} table=products as=hash absent=30s"},
        {"p x:{a}:y:{b}:z as=string:qty table=db.t ttl=90m jitter=0% write=off",
         "p x:{a}:y:{b}:z table=db.t as=string:qty ttl=90m jitter=0%"},
        {"p {k} absent=0 table=t columns=b,a as=json ttl=1500ms",
         "p {k} table=t as=json columns=b,a ttl=1500ms"},
        {"p k:{k} table=t as=json ttl=48h absent=60", "p k:{k} table=t as=json ttl=2d absent=1m"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct mapping *m = fixture_map(cases[i].line);
        assert_string_equal(m->definition, cases[i].definition);
        struct mapping *again = fixture_map(m->definition);
        assert_string_equal(again->definition, m->definition);
        assert_int_equal(again->ttl_ms, m->ttl_ms);
        assert_int_equal(again->absent_ms, m->absent_ms);
        assert_int_equal(again->jitter_percent, m->jitter_percent);
        assert_true(again->id > m->id);
        mapping_unref(again);
        mapping_unref(m);
    }
    struct mapping *m = fixture_map("p product:{id} table=products as=hash");
    assert_int_equal(m->ttl_ms, 3600000);
    assert_int_equal(m->jitter_percent, 10);
    assert_int_equal(m->absent_ms, 0);
    mapping_unref(m);
}

/* `want` holds the values, each ended by '|'; NULL for no match. */
static void expect_match(const struct mapping *m, struct slice key, const char *want) {
    struct slice values[MAPPING_KEY_COLUMNS_MAX];
    char got[256] = "";
    bool match = mapping_match(m, key, values);
    for (uint32_t i = 0; match && i < m->key_columns_count; i++) {
        strncat(got, values[i].ptr, values[i].len);
        strcat(got, "|");
    }
    if (match != (want != NULL) || (want && strcmp(got, want) != 0)) {
        fail_msg("%s on %.*s: got %s, wanted %s", m->definition, SLICE_FMT(key),
                 match ? got : "no match", want ? want : "none");
    }
}

static void test_match(void **state) {
    struct mapping *m = fixture_map("m stock:{sku}:of:{shop}:end table=t as=hash");
    expect_match(m, SLICE("stock:a:of:b:end"), "a|b|");
    expect_match(m, SLICE("stock:a:of:b:of:c:end"), "a|b:of:c|");
    expect_match(m, SLICE("stock::of::of:b:end"), ":of:|b|");
    expect_match(m, SLICE("stock:a:of:b:end:end"), "a|b:end|");
    expect_match(m, SLICE("stock:a:of::end"), NULL);
    expect_match(m, SLICE("stock::of:b:end"), NULL);
    expect_match(m, SLICE("stock:a:of:b:en"), NULL);
    expect_match(m, SLICE("stock:a:of:end"), NULL);
    expect_match(m, SLICE("stock:"), NULL);
    expect_match(m, SLICE("stock"), NULL);
    expect_match(m, SLICE("xstock:a:of:b:end"), NULL);
    expect_match(m, SLICE(""), NULL);
    mapping_unref(m);
    m = fixture_map("m {a} table=t as=hash");
    expect_match(m, SLICE("x"), "x|");
    expect_match(m, SLICE("' OR 1=1 --"), "' OR 1=1 --|");
    expect_match(m, SLICE("\xf0\x9f\x90\xac"), "\xf0\x9f\x90\xac|");
    mapping_unref(m);
    m = fixture_map("m k:{a}.{b} table=t as=hash");
    struct slice values[MAPPING_KEY_COLUMNS_MAX];
    assert_true(mapping_match(m, SLICE("k:\0\xff.\0"), values));
    assert_true(slice_eq(values[0], SLICE("\0\xff")));
    assert_true(slice_eq(values[1], SLICE("\0")));
    mapping_unref(m);
}

static void test_precedence(void **state) {
    static const char *const lines[] = {
        "any {key} table=t as=hash",          "json product:json:{id} table=t as=json",
        "plain product:{id} table=t as=hash", "tail product:{id}:tail table=t as=hash",
        "b user:{x} table=t as=hash",         "a user:{y} table=t as=hash",
    };
    static const struct {
        const char *key, *name;
    } cases[] = {
        {"product:1", "plain"},     {"product:json:1", "json"}, {"product:json:", "plain"},
        {"product:1:tail", "tail"}, {"product::tail", "plain"}, {"user:1", "a"},
        {"zebra", "any"},           {"product:", "any"},
    };
    struct mapping *v[ARRAY_COUNT(lines)];
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        v[i] = fixture_map(lines[i]);
    }
    struct mapping_set *s = mapping_set_create(v, ARRAY_COUNT(v));
    struct mapping_set *without_any = mapping_set_create(v + 1, ARRAY_COUNT(v) - 1);
    struct slice values[MAPPING_KEY_COLUMNS_MAX];
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct mapping *m = mapping_set_match(s, slice_str(cases[i].key), values);
        assert_non_null(m);
        assert_string_equal(m->name, cases[i].name);
    }
    assert_null(mapping_set_match(s, SLICE(""), values));
    assert_null(mapping_set_match(without_any, SLICE("zebra"), values));
    assert_null(mapping_set_match(without_any, SLICE("product:"), values));
    uint32_t id = v[0]->id;
    for (size_t i = 0; i < ARRAY_COUNT(v); i++) {
        mapping_unref(v[i]); /* the sets have their own */
    }
    assert_string_equal(mapping_set_find(s, id)->name, "any");
    assert_null(mapping_set_find(without_any, id));
    mapping_set_unref(mapping_set_ref(s));
    mapping_set_unref(s);
    mapping_set_unref(without_any);
    struct mapping_set *empty = mapping_set_create(NULL, 0);
    assert_null(mapping_set_match(empty, SLICE("x"), values));
    mapping_set_unref(empty);
    mapping_set_unref(NULL);
    mapping_unref(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_precedence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
