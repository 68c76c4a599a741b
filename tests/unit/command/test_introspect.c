#include "harness.h"

#include "command/syntax.h"

#define GET_INFO2                                                                                  \
    "*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"                       \
    "*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n"                                                   \
    "*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n"                                             \
    "$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n" \
    "$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n"  \
    "$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"

#define assert_prefix(text, prefix) assert_int_equal(strncmp(text, prefix, sizeof(prefix) - 1), 0)

static void info_of_one(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "COMMAND INFO get", "*1\r\n" GET_INFO2);
    assert_reply(h, "COMMAND INFO nope GET", "*2\r\n$-1\r\n" GET_INFO2);
    assert_prefix(run(h, "COMMAND INFO client|id"),
                  "*1\r\n*10\r\n$9\r\nclient|id\r\n:2\r\n*3\r\n+noscript\r\n+loading\r\n+stale\r\n");
    run(h, "HELLO 3");
    const char *reply = run(h, "COMMAND INFO get");
    assert_prefix(reply, "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n");
    assert_non_null(strstr(reply, "~1\r\n%3\r\n$5\r\nflags\r\n~2\r\n+RO\r\n"));
    harness_destroy(h);
}

/* Skips one reply of RESP2 and returns what follows it. */
static const char *skip_reply(const char *p) {
    long n = strtol(p + 1, NULL, 10);
    char type = *p;
    p = strchr(p, '\n') + 1;
    if (type == '$') {
        return n < 0 ? p : p + n + 2;
    }
    for (long i = 0; type == '*' && i < n; i++) {
        p = skip_reply(p);
    }
    return p;
}

static void all_of_it_is_well_formed(void **state) {
    struct harness *h = harness_create(NULL);
    long count = strtol(run(h, "COMMAND COUNT") + 1, NULL, 10);
    assert_true(count > 80);
    static const struct {
        const char *text;
        long factor;
    } whole[] = {{"COMMAND", 1}, {"COMMAND INFO", 1}, {"COMMAND DOCS", 2}};
    for (size_t i = 0; i < ARRAY_COUNT(whole); i++) {
        const char *reply = run(h, whole[i].text);
        assert_int_equal(strtol(reply + 1, NULL, 10), count * whole[i].factor);
        assert_string_equal(skip_reply(reply), "");
    }
    harness_destroy(h);
}

static void what_is_done_to_keys(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "COMMAND GETKEYSANDFLAGS DEL a b",
                 "*2\r\n*2\r\n$1\r\na\r\n*2\r\n+RM\r\n+delete\r\n"
                 "*2\r\n$1\r\nb\r\n*2\r\n+RM\r\n+delete\r\n");
    assert_reply(h, "COMMAND GETKEYSANDFLAGS RENAME a b",
                 "*2\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+delete\r\n"
                 "*2\r\n$1\r\nb\r\n*2\r\n+OW\r\n+update\r\n");
    assert_reply(h, "COMMAND GETKEYSANDFLAGS WATCH a",
                 "*1\r\n*2\r\n$1\r\na\r\n*1\r\n+RO\r\n");
    harness_destroy(h);
}

static void lists(void **state) {
    struct harness *h = harness_create(NULL);
    const char *reply = run(h, "COMMAND LIST");
    assert_int_equal(strtol(reply + 1, NULL, 10), command_table_count(h->table));
    assert_reply(h, "COMMAND LIST FILTERBY PATTERN client|n*",
                 "*2\r\n$15\r\nclient|no-evict\r\n$15\r\nclient|no-touch\r\n");
    assert_reply(h, "COMMAND LIST FILTERBY MODULE x", "*0\r\n");
    assert_reply(h, "COMMAND LIST FILTERBY ACLCAT nope", "*0\r\n");
    assert_reply(h, "COMMAND LIST FILTERBY ACLCAT transaction",
                 "*5\r\n$5\r\nmulti\r\n$4\r\nexec\r\n$7\r\ndiscard\r\n$5\r\nwatch\r\n$7\r\nunwatch\r\n");
    assert_reply(h, "COMMAND LIST FILTERBY NOPE x", "-ERR syntax error\r\n");
    assert_reply(h, "COMMAND LIST NOPE", "-ERR syntax error\r\n");
    assert_reply(h, "COMMAND NOPE", "-ERR unknown subcommand 'NOPE'. Try COMMAND HELP.\r\n");
    harness_destroy(h);
}

static void docs_of_one(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "COMMAND DOCS nope", "*0\r\n");
    const char *reply = run(h, "COMMAND DOCS select nope");
    assert_prefix(reply, "*2\r\n$6\r\nselect\r\n*10\r\n$7\r\nsummary\r\n");
    assert_non_null(strstr(reply, "$9\r\narguments\r\n*1\r\n*6\r\n$4\r\nname\r\n$5\r\nindex\r\n$4\r\n"
                                  "type\r\n$7\r\ninteger\r\n$12\r\ndisplay_text\r\n$5\r\nindex\r\n"));
    assert_non_null(strstr(run(h, "COMMAND DOCS config"), "subcommands\r\n*10\r\n$10\r\nconfig|get"));
    harness_destroy(h);
}

/* --- syntax lines --- */

/* The tree in one line: name:type, "token=", ? optional, + multiple, (children). */
static void flatten(struct buf *out, const char **p);

static long take_count(const char **p) {
    long n = strtol(*p + 1, NULL, 10);
    *p = strchr(*p, '\n') + 1;
    return n;
}

static struct slice take_text(const char **p) {
    if (**p == '$') {
        long n = take_count(p);
        struct slice s = slice_of(*p, (size_t)n);
        *p += n + 2;
        return s;
    }
    const char *start = *p + 1, *end = strchr(start, '\r');
    *p = end + 2;
    return slice_of(start, (size_t)(end - start));
}

static void flatten_node(struct buf *out, const char **p) {
    long fields = take_count(p) / 2;
    for (long i = 0; i < fields; i++) {
        struct slice field = take_text(p);
        if (slice_eq(field, SLICE("arguments"))) {
            buf_append_char(out, '(');
            flatten(out, p);
            buf_append_char(out, ')');
        } else if (slice_eq(field, SLICE("flags"))) {
            for (long n = take_count(p); n; n--) {
                buf_append_char(out, take_text(p).ptr[0] == 'o' ? '?' : '+');
            }
        } else if (slice_eq(field, SLICE("display_text")) ||
                   slice_eq(field, SLICE("key_spec_index"))) {
            take_text(p);
        } else {
            if (slice_eq(field, SLICE("type"))) {
                buf_append_char(out, ':');
            } else if (slice_eq(field, SLICE("token"))) {
                buf_append_char(out, '=');
            }
            buf_append_slice(out, take_text(p));
        }
    }
}

static void flatten(struct buf *out, const char **p) {
    for (long n = take_count(p), i = 0; i < n; i++) {
        if (i) {
            buf_append_char(out, ' ');
        }
        flatten_node(out, p);
    }
}

static void syntax_lines(void **state) {
    static const struct {
        const char *line, *tree;
    } cases[] = {
        {"key", "key:key"},
        {"key value [NX | XX] [GET]",
         "key:key value:string option:oneof?(nx:pure-token=NX xx:pure-token=XX) get:pure-token=GET?"},
        {"key [key ...]", "key:key+"},
        {"key field value [field value ...]", "key:key data:block+(field:string value:string)"},
        {"[EX seconds | PERSIST]",
         "option:oneof?(seconds:integer=EX persist:pure-token=PERSIST)"},
        {"[section [section ...]]", "section:string?+"},
        {"timeout [WRITE | ALL]",
         "timeout:integer option:oneof?(write:pure-token=WRITE all:pure-token=ALL)"},
        {"[TYPE <A | B>]", "type:oneof=TYPE?(a:pure-token=A b:pure-token=B)"},
        {"<a | b c>", "option:oneof(a:string data:block(b:string c:string))"},
    };
    struct harness *h = harness_create(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct chain out;
        struct buf bytes = {0}, flat = {0};
        struct iovec iov[4];
        chain_init(&out, &h->chunks);
        struct resp_writer w = {.out = &out, .proto = 2};
        syntax_reply(&w, cases[i].line);
        assert_int_equal(chain_iov(&out, iov, 4), 1);
        buf_append(&bytes, iov[0].iov_base, iov[0].iov_len);
        buf_append_char(&bytes, 0);
        const char *p = bytes.ptr;
        flatten(&flat, &p);
        buf_append_char(&flat, 0);
        assert_string_equal(flat.ptr, cases[i].tree);
        buf_free(&bytes);
        buf_free(&flat);
        chain_clear(&out);
    }
    harness_destroy(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info_of_one), cmocka_unit_test(all_of_it_is_well_formed),
        cmocka_unit_test(lists),       cmocka_unit_test(docs_of_one),
        cmocka_unit_test(syntax_lines), cmocka_unit_test(what_is_done_to_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
