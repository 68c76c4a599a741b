#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/glob.h"
#include "base/mem.h"

struct expectation {
    const char *pattern, *text;
    bool matches;
};

/* Answers of a Redis server's KEYS. */
static const struct expectation CASES[] = {
    {"", "", true},
    {"", "a", false},
    {"*", "", true},
    {"*", "abc", true},
    {"?", "", false},
    {"?", "a", true},
    {"a*c", "abbc", true},
    {"a*c", "abbd", false},
    {"*a*b*c", "xxaxbxbxc", true},
    {"**a**", "a", true},
    {"[abc]", "b", true},
    {"[abc]", "d", false},
    {"[^abc]", "d", true},
    {"[^abc]", "a", false},
    {"[a-c]x", "bx", true},
    {"[c-a]x", "bx", true},
    {"[a-]", "]", true},
    {"[a-]", "b", false},
    {"[a-c-e]", "-", true},
    {"[a-c-e]", "d", false},
    {"[]", "a", false},
    {"[]]", "]", false},
    {"[^]", "a", true},
    {"[", "[", false},
    {"[a", "a", true},
    {"[a-b", "b", true},
    {"[^", "a", true},
    {"[\\]]", "]", true},
    {"[\\-a]", "-", true},
    {"[*]", "*", true},
    {"[*]", "a", false},
    {"\\*", "*", true},
    {"\\*", "a", false},
    {"\\", "\\", true},
    {"a\\", "a\\", true},
    {"[\\", "\\", true},
    {"h?llo", "hello", true},
    {"h[^e]llo", "hello", false},
    {"*.txt", "a.txt.txt", true},
};

static void test_as_redis(void **state) {
    for (size_t i = 0; i < ARRAY_COUNT(CASES); i++) {
        const struct expectation *c = &CASES[i];
        if (glob_match(slice_str(c->pattern), slice_str(c->text), false) != c->matches) {
            fail_msg("'%s' on '%s'", c->pattern, c->text);
        }
    }
}

static void test_any_bytes(void **state) {
    assert_true(glob_match(SLICE("a\0?"), SLICE("a\0b"), false));
    assert_false(glob_match(SLICE("a\0b"), SLICE("a\0c"), false));
    assert_true(glob_match(SLICE("[\x80-\xff]"), SLICE("\xc3"), false));
    assert_false(glob_match(SLICE("[\x80-\xff]"), SLICE("a"), false));
}

static void test_ignore_case(void **state) {
    assert_true(glob_match(SLICE("MAX*"), SLICE("maxmemory"), true));
    assert_false(glob_match(SLICE("MAX*"), SLICE("maxmemory"), false));
    assert_true(glob_match(SLICE("[A-C]"), SLICE("b"), true));
    assert_true(glob_match(SLICE("[a-c]"), SLICE("B"), true));
    assert_true(glob_match(SLICE("[xyz]"), SLICE("Y"), true));
    /* Ends are put in order before case is dropped, and escaped bytes keep theirs, as in Redis. */
    assert_false(glob_match(SLICE("[Z-a]"), SLICE("m"), true));
    assert_false(glob_match(SLICE("[\\A]"), SLICE("a"), true));
}

/* A pattern that takes exponential time where every '*' is retried. The bound is on the work: this
 * would not end. */
static void test_hostile_pattern(void **state) {
    char pattern[2001], text[5001];
    for (size_t i = 0; i < 2000; i += 2) {
        memcpy(pattern + i, "a*", 2);
    }
    pattern[2000] = 'b';
    memset(text, 'a', sizeof text);
    assert_false(glob_match(slice_of(pattern, sizeof pattern), slice_of(text, sizeof text), false));
    text[5000] = 'b';
    assert_true(glob_match(slice_of(pattern, sizeof pattern), slice_of(text, sizeof text), false));
}

/* Every pattern of up to five of these bytes, ends included: nothing is read past the ends
 * (under AddressSanitizer). */
static void test_all_short_patterns(void **state) {
    static const char alphabet[] = "a-[]^\\*?";
    unsigned matched = 0;
    for (unsigned len = 0; len <= 5; len++) {
        for (unsigned n = 0; n < 1u << (3 * len); n++) {
            char *pattern = malloc(len ? len : 1), *text = malloc(2);
            for (unsigned i = 0; i < len; i++) {
                pattern[i] = alphabet[n >> (3 * i) & 7];
            }
            memcpy(text, "a]", 2);
            for (unsigned text_len = 0; text_len <= 2; text_len++) {
                matched += glob_match(slice_of(pattern, len), slice_of(text, text_len), false);
            }
            free(pattern);
            free(text);
        }
    }
    assert_true(matched > 1000);
}

static void test_is_all(void **state) {
    assert_true(glob_is_all(SLICE("*")));
    assert_false(glob_is_all(SLICE("**")));
    assert_false(glob_is_all(SLICE("")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_redis),           cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_ignore_case),        cmocka_unit_test(test_hostile_pattern),
        cmocka_unit_test(test_all_short_patterns), cmocka_unit_test(test_is_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
