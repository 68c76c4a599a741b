#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "base/rng.h"

static void assert_i64(const char *text, int64_t expected) {
    int64_t value = 0;
    assert_true(num_parse_i64(slice_str(text), &value));
    assert_int_equal(value, expected);
}

static void test_parse_i64(void **state) {
    assert_i64("0", 0);
    assert_i64("-1", -1);
    assert_i64("1234567890", 1234567890);
    assert_i64("9223372036854775807", INT64_MAX);
    assert_i64("-9223372036854775808", INT64_MIN);
    const char *wrong[] = {"",
                           "-",
                           "-0",
                           "+1",
                           "01",
                           "-01",
                           " 1",
                           "1 ",
                           "1.0",
                           "0x1",
                           "9223372036854775808",
                           "a",
                           "--1",
                           "-9223372036854775809",
                           "18446744073709551616",
                           "99999999999999999999",
                           "111111111111111111111"};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        int64_t value = 7;
        assert_false(num_parse_i64(slice_str(wrong[i]), &value));
        assert_int_equal(value, 7);
    }
    int64_t value = 7;
    assert_false(num_parse_i64(SLICE("1\0"), &value));
    assert_false(num_parse_i64((struct slice){0}, &value));
}

static void test_parse_u64(void **state) {
    uint64_t value = 7;
    assert_true(num_parse_u64(SLICE("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_true(num_parse_u64(SLICE("0"), &value));
    assert_true(value == 0);
    assert_false(num_parse_u64(SLICE("18446744073709551616"), &value));
    assert_false(num_parse_u64(SLICE("-1"), &value));
    assert_false(num_parse_u64(SLICE("00"), &value));
    assert_false(num_parse_u64(SLICE(""), &value));
}

/* Taken from what ZADD and INCRBYFLOAT of a Redis server accept. */
static void test_parse_double(void **state) {
    const struct {
        const char *text;
        double value;
    } right[] = {{"0x10", 16},  {"+1", 1},    {"inf", INFINITY},  {"-inf", -INFINITY},
                 {".5", 0.5},   {"5.", 5},    {"INF", INFINITY},  {"infinity", INFINITY},
                 {"1e3", 1000}, {"0x1p3", 8}, {"5e-324", 5e-324}, {"007", 7}};
    const char *wrong[] = {"",       " 1",     "1 ",  "nan", "-", "1_0", "1e400",
                           "-1e400", "1e-400", "\t1", "1e",  "x", "."};
    double value;
    for (size_t i = 0; i < ARRAY_COUNT(right); i++) {
        assert_true(num_parse_double(slice_str(right[i].text), &value));
        assert_true(value == right[i].value);
    }
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        long double wide = 7;
        value = 7;
        assert_false(num_parse_double(slice_str(wrong[i]), &value));
        assert_true(value == 7);
        bool ok = num_parse_long_double(slice_str(wrong[i]), &wide);
        assert_true(ok == (strstr(wrong[i], "400") != NULL)); /* the wider type holds it */
    }
    long double wide;
    assert_false(num_parse_long_double(SLICE("1e5000"), &wide));
    assert_false(num_parse_double(SLICE("1\0"), &value));
}

static void test_parse_long_texts(void **state) {
    static char text[NUM_LONG_DOUBLE_CHARS_MAX];
    double value = 7;
    memset(text, '0', sizeof text);
    text[sizeof text - 2] = '1';
    assert_true(num_parse_double(slice_of(text, sizeof text - 1), &value));
    assert_true(value == 1);
    assert_false(num_parse_double(slice_of(text, sizeof text), &value));
}

static void assert_double(double value, const char *expected) {
    char text[NUM_DOUBLE_CHARS_MAX + 1];
    size_t len = num_format_double(text, value);
    assert_true(len < NUM_DOUBLE_CHARS_MAX);
    text[len] = '\0';
    assert_string_equal(text, expected);
}

/* The forms are those of Redis 7.2. */
static void test_format_double(void **state) {
    assert_double(3.0, "3");
    assert_double(0, "0");
    assert_double(-0.0, "-0");
    assert_double(-1.5, "-1.5");
    assert_double(0.1, "0.1");
    assert_double(0.1 + 0.2, "0.30000000000000004");
    assert_double(1.0 / 3, "0.3333333333333333");
    assert_double(100.25, "100.25");
    assert_double(1e15, "1000000000000000");
    assert_double(1e17, "100000000000000000");
    assert_double(1e18, "1000000000000000000");
    assert_double(-123456789012345680.0, "-123456789012345680");
    assert_double(4611686018427387904.0, "4611686018427387904");
    assert_double(1e19, "1e+19");
    assert_double(1e21, "1e+21");
    assert_double(123456789012345680000.0, "123456789012345680000");
    assert_double(1.7976931348623157e308, "1.7976931348623157e+308");
    assert_double(-1.7976931348623157e308, "-1.7976931348623157e+308");
    assert_double(DBL_MIN, "2.2250738585072014e-308");
    assert_double(5e-324, "5e-324");
    assert_double(0.001234567, "0.001234567");
    assert_double(0.000001, "0.000001");
    assert_double(1e-7, "1e-7");
    assert_double(1.5e-7, "1.5e-7");
    assert_double(0.00012345678901234, "1.2345678901234e-4");
    assert_double(123456789.123456789, "1.2345678912345679e+8");
    assert_double(1234.5678901234567, "1234.5678901234567");
    assert_double(INFINITY, "inf");
    assert_double(-INFINITY, "-inf");
    assert_double(NAN, "nan");
}

static void test_format_double_reads_back(void **state) {
    struct rng rng = {.state = 11};
    for (int i = 0; i < 50000; i++) {
        uint64_t bits = rng_next(&rng);
        double value, back = 0;
        memcpy(&value, &bits, sizeof value);
        if (i % 2) {
            value = (double)(int64_t)(bits >> 20) / 1000;
        }
        if (!isfinite(value)) {
            continue;
        }
        char text[NUM_DOUBLE_CHARS_MAX];
        size_t len = num_format_double(text, value);
        assert_true(num_parse_double(slice_of(text, len), &back));
        assert_true(back == value);
    }
}

static void assert_long_double(const char *in, const char *expected) {
    static char text[NUM_LONG_DOUBLE_CHARS_MAX + 1];
    long double value;
    assert_true(num_parse_long_double(slice_str(in), &value));
    text[num_format_long_double(text, value)] = '\0';
    assert_string_equal(text, expected);
}

/* Answers of a Redis server's INCRBYFLOAT. */
static void test_format_long_double(void **state) {
    assert_long_double("0.3", "0.3");
    assert_long_double("4.5", "4.5");
    assert_long_double("1e20", "100000000000000000000");
    assert_long_double("5.0e3", "5000");
    assert_long_double("1e-10", "0.0000000001");
    assert_long_double("1e-18", "0");
    assert_long_double("-1e-18", "0");
    assert_long_double("-0", "0");
    assert_long_double("10.60", "10.6");
    assert_long_double("3.14159265358979", "3.14159265358979");
    assert_long_double("inf", "inf");
    assert_long_double("-inf", "-inf");
    static char text[NUM_LONG_DOUBLE_CHARS_MAX];
    assert_int_equal(num_format_long_double(text, LDBL_MAX), 4933);
    assert_int_equal(num_format_long_double(text, (long double)NAN), 3);
}

static void test_format_integers(void **state) {
    char text[NUM_I64_CHARS_MAX];
    assert_true(
        slice_eq(slice_of(text, num_format_i64(text, INT64_MIN)), SLICE("-9223372036854775808")));
    assert_true(
        slice_eq(slice_of(text, num_format_u64(text, UINT64_MAX)), SLICE("18446744073709551615")));
    assert_true(slice_eq(slice_of(text, num_format_i64(text, 0)), SLICE("0")));
    uint64_t power = 1;
    for (int digits = 1; digits <= 19; digits++, power *= 10) {
        char expected[32];
        for (int delta = -1; delta <= 1; delta++) {
            int len =
                snprintf(expected, sizeof expected, "%llu", (unsigned long long)power + delta);
            assert_int_equal(num_format_u64(text, power + (uint64_t)delta), len);
            assert_memory_equal(text, expected, (size_t)len);
        }
    }
}

static void test_memory(void **state) {
    const struct {
        const char *text;
        uint64_t bytes;
    } right[] = {
        {"0", 0},        {"100", 100},     {"1b", 1},          {"1k", 1000},        {"1KB", 1024},
        {"2m", 2000000}, {"2mb", 2097152}, {"1g", 1000000000}, {"1Gb", 1073741824}, {"007", 7}};
    const char *wrong[] = {"",
                           "b",
                           "-1",
                           "1tb",
                           "1 kb",
                           "1.5g",
                           "99999999999999999999",
                           "1kbb",
                           "18446744073709551615kb"};
    uint64_t bytes;
    for (size_t i = 0; i < ARRAY_COUNT(right); i++) {
        assert_true(num_parse_memory(slice_str(right[i].text), &bytes));
        assert_true(bytes == right[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_false(num_parse_memory(slice_str(wrong[i]), &bytes));
    }
}

static void test_span(void **state) {
    const struct {
        const char *text;
        int64_t ms;
    } right[] = {{"0", 0},       {"5", 5000},     {"250ms", 250},   {"10s", 10000},
                 {"2m", 120000}, {"1H", 3600000}, {"1d", 86400000}, {"1us", 1},
                 {"1000us", 1},  {"1001us", 2},   {"0us", 0}};
    const char *wrong[] = {"", "ms", "-1s", "1w", "1.5s", "18446744073709551615d"};
    int64_t ms;
    for (size_t i = 0; i < ARRAY_COUNT(right); i++) {
        assert_true(num_parse_span_ms(slice_str(right[i].text), 1000, &ms));
        assert_int_equal(ms, right[i].ms);
    }
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_false(num_parse_span_ms(slice_str(wrong[i]), 1000, &ms));
    }
    assert_true(num_parse_span_ms(SLICE("5"), 1, &ms));
    assert_int_equal(ms, 5);
}

static void test_format_bytes(void **state) {
    const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0B"},          {1023, "1023B"},       {1024, "1.00K"},
                 {1572864, "1.50M"}, {1ull << 40, "1.00T"}, {UINT64_MAX, "16.00E"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[32];
        assert_int_equal(num_format_bytes(text, cases[i].bytes), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

static void test_log2(void **state) {
    assert_int_equal(num_log2(1), 0);
    assert_int_equal(num_log2(UINT64_MAX), 63);
    for (uint32_t i = 1; i < 64; i++) {
        assert_int_equal(num_log2(1ull << i), i);
        assert_int_equal(num_log2((1ull << i) - 1), i - 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_i64),
        cmocka_unit_test(test_parse_u64),
        cmocka_unit_test(test_parse_double),
        cmocka_unit_test(test_parse_long_texts),
        cmocka_unit_test(test_format_double),
        cmocka_unit_test(test_format_double_reads_back),
        cmocka_unit_test(test_format_long_double),
        cmocka_unit_test(test_format_integers),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_span),
        cmocka_unit_test(test_format_bytes),
        cmocka_unit_test(test_log2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
