/* Values of options: what is taken, its canonical text, and the reasons of refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "resp/inline.h"
#include "server/options.h"

/* The canonical text of `words` for the option, or "!" and the reason; the caller frees it. */
static char *value_of(const char *name, const char *words) {
    int index = options_find(slice_str(name));
    assert_true(index >= 0);
    const struct option *o = options_at((uint32_t)index);
    struct resp_args args = {0};
    char *unescaped, why[OPTION_WHY_CHARS_MAX] = "";
    assert_true(inline_split(slice_str(words), &args, &unescaped));
    struct buf out = {0};
    bool ok = option_normalise(o, args.v, args.count, o->initial, &out, why);
    char *result = ok ? mem_dup(out.ptr ? out.ptr : "", out.len) : NULL;
    if (!ok) {
        struct buf refused = {0};
        buf_printf(&refused, "!%s", why);
        result = mem_dup(refused.ptr, refused.len);
        buf_free(&refused);
    }
    buf_free(&out);
    mem_free(unescaped);
    resp_args_free(&args);
    return result;
}

static void expect(const char *name, const char *words, const char *wanted) {
    char *got = value_of(name, words);
    assert_string_equal(got, wanted);
    mem_free(got);
}

static void test_bool(void **state) {
    expect("protected-mode", "YES", "yes");
    expect("protected-mode", "no", "no");
    expect("protected-mode", "1", "!argument must be 'yes' or 'no'");
    expect("protected-mode", "yes no", "!wrong number of arguments");
    expect("protected-mode", "", "!wrong number of arguments");
}

static void test_int(void **state) {
    expect("port", "0", "0");
    expect("port", "65535", "65535");
    expect("port", "65536", "!argument must be between 0 and 65535 inclusive");
    expect("port", "-1", "!argument must be between 0 and 65535 inclusive");
    expect("port", "abc", "!argument couldn't be parsed into an integer");
    expect("maxclients", "0", "!argument must be between 1 and 1000000 inclusive");
    expect("databases", "17", "!argument must be between 1 and 16 inclusive");
    expect("unixsocketperm", "700", "700");
    expect("unixsocketperm", "0755", "755");
    expect("unixsocketperm", "1777", "!argument must be between 0 and 777 inclusive");
    expect("unixsocketperm", "888", "!argument couldn't be parsed as an octal number");
}

static void test_memory(void **state) {
    expect("maxmemory", "100mb", "104857600");
    expect("maxmemory", "1G", "1000000000");
    expect("maxmemory", "75%", "75%");
    expect("maxmemory", "0%", "!argument must be a memory or percent value");
    expect("maxmemory", "101%", "!percentage argument must be less or equal to 100");
    expect("maxmemory", "10foo", "!argument must be a memory value");
    expect("proto-max-bulk-len", "2mb", "2097152");
    expect("proto-max-bulk-len", "foo", "!argument must be a memory value");
    expect("proto-max-bulk-len", "1",
           "!argument must be between 1048576 and 9223372036854775807 inclusive");
}

static void test_enum_and_span(void **state) {
    expect("maxmemory-policy", "ALLKEYS-LRU", "allkeys-lru");
    expect("loglevel", "loud",
           "!argument(s) must be one of the following: debug, verbose, notice, warning, nothing");
    expect("store-timeout", "2s", "2000ms");
    expect("store-timeout", "250", "250ms");
    expect("store-timeout", "0", "!argument must be between 1 and 3600000 inclusive");
    expect("store-timeout", "soon", "!argument must be a time span, such as 250ms or 2s");
}

static void test_output_limits(void **state) {
    expect("client-output-buffer-limit", "normal 1mb 2kb 60",
           "normal 1048576 2048 60 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
    expect("client-output-buffer-limit", "replica 1 2 3 pubsub 0 0 0",
           "normal 0 0 0 slave 1 2 3 pubsub 0 0 0");
    expect("client-output-buffer-limit", "normal 1mb",
           "!Wrong number of arguments in buffer limit configuration.");
    expect("client-output-buffer-limit", "master 1 2 3",
           "!Invalid client class specified in buffer limit configuration.");
    expect("client-output-buffer-limit", "normal x 2 3",
           "!Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    struct option_output_limit l =
        option_output_limit_of("normal 5 6 7 slave 1 2 3 pubsub 0 0 0", "normal");
    assert_int_equal(l.hard_bytes, 5);
    assert_int_equal(l.soft_bytes, 6);
    assert_int_equal(l.soft_s, 7);
}

static void test_breaker(void **state) {
    expect("store-breaker", "errors=3/500ms open=1s", "errors=3/500ms open=1s");
    expect("store-breaker", "off", "off");
    const char *const bad[] = {"errors=3 open=1s", "errors=0/1s open=1s", "errors=3/1s", "open=1s",
                               "errors=3/0s open=1s", "errors=3/1s open=0s", "sometimes", ""};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        expect("store-breaker", bad[i],
               "!argument must be 'off' or like 'errors=20/1s open=2s'");
    }
}

static void test_events(void **state) {
    expect("notify-keyspace-events", "KEA", "AKE");
    expect("notify-keyspace-events", "Egx", "gxE");
    expect("notify-keyspace-events", "g$lshzxetdKEm", "AKEm");
    expect("notify-keyspace-events", "\"\"", "");
    expect("notify-keyspace-events", "Q",
           "!Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
}

static void test_promises_are_refused(void **state) {
    expect("save", "\"\"", "");
    expect("appendonly", "no", "no");
    char *got = value_of("save", "60 1");
    assert_ptr_equal(strstr(got, "!Forebay does not persist"), got);
    mem_free(got);
    got = value_of("appendonly", "yes");
    assert_ptr_equal(strstr(got, "!Forebay does not persist"), got);
    mem_free(got);
    expect("cluster-enabled", "yes", "!cluster mode is not supported");
    got = value_of("daemonize", "yes");
    assert_ptr_equal(strstr(got, "!Forebay stays in the foreground"), got);
    mem_free(got);
    assert_string_equal(options_refused(SLICE("store-follow")), "not supported by this version");
    assert_null(options_refused(SLICE("no-such-thing")));
}

static void test_zero_byte(void **state) {
    expect("requirepass", "\"a\\x00b\"", "!argument must not contain a zero byte");
    expect("requirepass", "\"a\\x01b\"", "a\x01" "b");
}

/* Every row: its default is canonical and accepted, its names are found, none stands twice. */
static void test_table(void **state) {
    for (uint32_t i = 0; i < options_count(); i++) {
        const struct option *o = options_at(i);
        assert_int_equal(options_find(slice_str(o->name)), i);
        if (o->alias) {
            assert_int_equal(options_find(slice_str(o->alias)), i);
        }
        assert_null(options_refused(slice_str(o->name)));
        if (o->type == OPTION_MAPS) {
            continue;
        }
        struct buf line = {0};
        if (o->type == OPTION_SPECIAL) {
            buf_append_slice(&line, slice_str(o->initial));
        } else {
            option_quote(&line, slice_str(o->initial));
        }
        buf_append_char(&line, '\0');
        expect(o->name, line.ptr, o->initial);
        buf_free(&line);
    }
}

static void test_quote(void **state) {
    const char *const texts[] = {"plain", "", "two words", "q\"uo\\te", "tab\tnl\n", "#x", "\xff",
                                 "it's"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct buf out = {0};
        option_quote(&out, slice_str(texts[i]));
        struct resp_args args = {0};
        char *unescaped;
        assert_true(inline_split(buf_slice(&out), &args, &unescaped));
        assert_int_equal(args.count, 1);
        assert_true(slice_eq(args.v[0], slice_str(texts[i])));
        assert_null(memchr(out.ptr, '\n', out.len));
        mem_free(unescaped);
        resp_args_free(&args);
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bool),
        cmocka_unit_test(test_int),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_enum_and_span),
        cmocka_unit_test(test_output_limits),
        cmocka_unit_test(test_breaker),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_promises_are_refused),
        cmocka_unit_test(test_zero_byte),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_quote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
