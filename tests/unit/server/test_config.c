/* Configuration files, CONFIG SET's all or nothing, REWRITE's text, and the settings made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "ds/chain.h"
#include "server/config.h"
#include "server/settings.h"

#define MAP_STOCK "stock stock:{sku} table=inventory as=string:qty"
#define MAP_USER  "user user:{id} table=users as=hash"

/* `wanted` must stand in the text. */
static void assert_has(const struct buf *text, const char *wanted) {
    if (!text->len || !memmem(text->ptr, text->len, wanted, strlen(wanted))) {
        fail_msg("'%s' is not in '%.*s'", wanted, (int)text->len, text->ptr);
    }
}

static struct config *loaded(const char *text) {
    struct config *c = config_create();
    struct buf error = {0};
    if (!config_load_text(c, "x.conf", slice_str(text), &error)) {
        fail_msg("%.*s", (int)error.len, error.ptr);
    }
    return c;
}

static void expect_refused(const char *text, const char *wanted) {
    struct config *c = config_create();
    struct buf error = {0};
    assert_false(config_load_text(c, "x.conf", slice_str(text), &error));
    assert_has(&error, "FATAL CONFIG FILE ERROR");
    assert_has(&error, wanted);
    buf_free(&error);
    config_destroy(c);
}

static void test_file(void **state) {
    struct config *c = loaded("# comment\n\n  port 7000 \r\nrequirepass \"two words\"\n"
                              "bind 127.0.0.1 '-::1'\nPORT 7001\nmaxmemory 64mb");
    assert_int_equal(config_int(c, "port"), 7001);
    assert_string_equal(config_text(c, "requirepass"), "two words");
    assert_string_equal(config_text(c, "bind"), "127.0.0.1 -::1");
    assert_int_equal(config_memory(c, "maxmemory"), 64 << 20);
    assert_true(config_given(c, "bind"));
    assert_false(config_given(c, "timeout"));
    config_destroy(c);
}

static void test_where_the_store_is(void **state) {
    struct config *none = loaded("port 7000\n"), *c = loaded("port 7000\nSTORE sqlite:///a.db\n");
    assert_null(none->store_where);
    assert_string_equal(c->store_where, "x.conf:2");
    struct config *copy = config_copy(c);
    assert_string_equal(copy->store_where, "x.conf:2");
    struct buf error = {0};
    assert_true(config_load(c, NULL, SLICE("store sqlite:///b.db\n"), &error));
    assert_string_equal(c->store_where, "command line");
    config_destroy(none);
    config_destroy(copy);
    config_destroy(c);
}

static void test_refused(void **state) {
    expect_refused("port 1\nmaxclients abc\n",
                   "x.conf:2: maxclients: argument couldn't be parsed into an integer (got 'abc')");
    expect_refused("\n\nnonsense 1\n", "x.conf:3: nonsense: there is no such option");
    expect_refused("store-follow binlog", "x.conf:1: store-follow: not supported by this version");
    expect_refused("save 60 1", "x.conf:1: save: Forebay does not persist");
    expect_refused("bind \"a", "x.conf:1: line: unbalanced quotes");
    expect_refused("port", "x.conf:1: port: wrong number of arguments");
    expect_refused("include /nonexistent/file", "x.conf:1: include: can't open");
    expect_refused("map " MAP_STOCK "\nmap " MAP_STOCK "\n",
                   "x.conf:2: map: mapping 'stock' is defined twice, first at x.conf:1");
    expect_refused("map stock", "x.conf:1: map: ");
}

/* A message must not repeat a password. */
static void test_secret(void **state) {
    char line[2048];
    memset(line, 's', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    memcpy(line, "requirepass ", 12);
    struct config *c = config_create();
    struct buf error = {0};
    assert_false(config_load_text(c, "x.conf", slice_str(line), &error));
    assert_has(&error, "requirepass: argument is longer than 511 bytes");
    assert_null(memmem(error.ptr, error.len, "sssss", 5));
    buf_free(&error);
    config_destroy(c);
}

static void test_include(void **state) {
    char path[] = "/tmp/forebay_test_XXXXXX", line[128];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "timeout 5\nport x\n", 17), 17);
    snprintf(line, sizeof line, "port 1\ninclude %s\n", path);
    struct config *c = config_create();
    struct buf error = {0};
    assert_false(config_load_text(c, "x.conf", slice_str(line), &error));
    snprintf(line, sizeof line, "%s:2: port: ", path);
    assert_has(&error, line);
    assert_int_equal(config_int(c, "timeout"), 5);
    buf_free(&error);
    /* A file that includes itself ends at the depth's limit. */
    assert_int_equal(ftruncate(fd, 0), 0);
    snprintf(line, sizeof line, "include %s\n", path);
    assert_int_equal(pwrite(fd, line, strlen(line), 0), (ssize_t)strlen(line));
    assert_false(config_load_text(c, "x.conf", slice_str(line), &error));
    assert_has(&error, "nested more than");
    buf_free(&error);
    config_destroy(c);
    close(fd);
    unlink(path);
}

static void test_arguments(void **state) {
    char *argv[] = {"--port",    "0",      "--save", "",         "--bind",
                    "127.0.0.1", "-::1",   "--map",  MAP_STOCK,  "--requirepass",
                    "a \"b\"",   "--map",  MAP_USER, "--slowlog-log-slower-than", "-1"};
    struct buf text = {0}, error = {0};
    config_options_text(ARRAY_COUNT(argv), argv, &text);
    struct config *c = config_create();
    assert_true(config_load(c, NULL, buf_slice(&text), &error));
    assert_int_equal(config_int(c, "port"), 0);
    assert_string_equal(config_text(c, "bind"), "127.0.0.1 -::1");
    assert_string_equal(config_text(c, "requirepass"), "a \"b\"");
    assert_int_equal(config_int(c, "slowlog-log-slower-than"), -1);
    assert_int_equal(c->maps_count, 2);
    config_destroy(c);
    buf_free(&text);
    buf_free(&error);
}

static struct config *set(const struct config *c, const char *const *words, uint32_t pairs,
                          struct buf *error) {
    struct slice v[16];
    for (uint32_t i = 0; i < 2 * pairs; i++) {
        v[i] = slice_str(words[i]);
    }
    return config_changed(c, v, pairs, error);
}

static void expect_set_refused(const struct config *c, const char *const *words, uint32_t pairs,
                               const char *wanted) {
    struct buf error = {0};
    assert_null(set(c, words, pairs, &error));
    buf_append_char(&error, '\0');
    assert_string_equal(error.ptr, wanted);
    buf_free(&error);
}

static void test_set(void **state) {
    struct config *c = loaded("");
    struct buf error = {0};
    struct config *changed =
        set(c, (const char *[]){"timeout", "7", "maxmemory", "1mb", "SAVE", ""}, 3, &error);
    assert_non_null(changed);
    assert_int_equal(config_int(changed, "timeout"), 7);
    assert_int_equal(config_int(c, "timeout"), 0); /* the old one is as it was */
    config_destroy(changed);
    expect_set_refused(c, (const char *[]){"timeout", "7", "nope", "1"}, 2,
                       "ERR Unknown option or number of arguments for CONFIG SET - 'nope'");
    expect_set_refused(c, (const char *[]){"timeout", "7", "maxmemory", "x"}, 2,
                       "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - "
                       "argument must be a memory value");
    expect_set_refused(c, (const char *[]){"port", "7"}, 1,
                       "ERR CONFIG SET failed (possibly related to argument 'port') - can't set "
                       "immutable config");
    expect_set_refused(c, (const char *[]){"dir", "/"}, 1,
                       "ERR CONFIG SET failed (possibly related to argument 'dir') - can't set "
                       "protected config");
    expect_set_refused(c, (const char *[]){"hash-max-listpack-value", "7",
                                           "hash-max-ziplist-value", "7"}, 2,
                       "ERR CONFIG SET failed (possibly related to argument "
                       "'hash-max-ziplist-value') - duplicate parameter");
    config_destroy(c);
}

static void test_set_map(void **state) {
    struct config *c = loaded("map " MAP_STOCK "\nmap " MAP_USER "\n");
    const struct mapping *stock = config_find_map(c, SLICE("stock"))->map;
    struct buf error = {0}, shown = {0};
    /* The same definition keeps the mapping, so that cached copies stay valid. */
    struct config *same = set(c, (const char *[]){"map", MAP_STOCK}, 1, &error);
    assert_ptr_equal(config_find_map(same, SLICE("stock"))->map, stock);
    struct config *less = set(same, (const char *[]){"map", "-user"}, 1, &error);
    assert_int_equal(less->maps_count, 1);
    struct config *other = set(less, (const char *[]){"map", MAP_STOCK " ttl=5s"}, 1, &error);
    assert_int_equal(other->maps_count, 1);
    assert_ptr_not_equal(config_find_map(other, SLICE("stock"))->map, stock);
    assert_int_equal(config_find_map(other, SLICE("stock"))->map->ttl_ms, 5000);
    struct config *two = set(other, (const char *[]){"map", MAP_USER}, 1, &error);
    config_show(two, options_at((uint32_t)options_find(SLICE("map"))), &shown);
    assert_has(&shown, "stock stock:{sku}");
    assert_has(&shown, "\nuser user:{id}");
    expect_set_refused(two, (const char *[]){"map", "-nope"}, 1,
                       "ERR CONFIG SET failed (possibly related to argument 'map') - there is no "
                       "mapping 'nope'");
    buf_free(&shown);
    config_destroy(two);
    config_destroy(other);
    config_destroy(less);
    config_destroy(same);
    config_destroy(c);
}

static void expect_rewritten(const char *file, const char *const *words, uint32_t pairs,
                             const char *wanted) {
    struct config *c = loaded(file);
    struct buf error = {0}, out = {0};
    struct config *changed = pairs ? set(c, words, pairs, &error) : config_copy(c);
    assert_non_null(changed);
    assert_true(config_rewrite_text(changed, slice_str(file), &out, &error));
    buf_append_char(&out, '\0');
    assert_string_equal(out.ptr, wanted);
    /* What was written means the running configuration. */
    struct config *again = loaded(out.ptr);
    for (uint32_t i = 0; i < options_count(); i++) {
        assert_string_equal(again->values[i], changed->values[i]);
    }
    assert_int_equal(again->maps_count, changed->maps_count);
    buf_free(&out);
    config_destroy(again);
    config_destroy(changed);
    config_destroy(c);
}

static void test_rewrite(void **state) {
    const char *file = "# head\ntimeout   1\n\n# about memory\nmaxmemory 1024kb\ntimeout 2\n";
    expect_rewritten(file, NULL, 0, file);
    expect_rewritten(file, (const char *[]){"timeout", "9"}, 1,
                     "# head\ntimeout 9\n\n# about memory\nmaxmemory 1024kb\n");
    expect_rewritten(file, (const char *[]){"maxmemory", "2gb", "requirepass", "a b"}, 2,
                     "# head\ntimeout   1\n\n# about memory\nmaxmemory 2gb\ntimeout 2\n"
                     "# Generated by CONFIG REWRITE\nrequirepass \"a b\"\n");
    expect_rewritten("requirepass x\n", (const char *[]){"requirepass", ""}, 1,
                     "requirepass \"\"\n");
    expect_rewritten("save \"\"\nclient-output-buffer-limit normal 1 2 3\n",
                     (const char *[]){"client-output-buffer-limit", "pubsub 1kb 2 3"}, 1,
                     "save \"\"\nclient-output-buffer-limit normal 1 2 3 slave 268435456 67108864 "
                     "60 pubsub 1024 2 3\n");
}

static void test_rewrite_map(void **state) {
    const char *file = "map  " MAP_STOCK "\n# users\nmap " MAP_USER "\nport 0\n";
    expect_rewritten(file, NULL, 0, file);
    expect_rewritten(file, (const char *[]){"map", "-stock"}, 1,
                     "# users\nmap " MAP_USER "\nport 0\n");
    struct config *c = loaded(file);
    struct buf error = {0}, out = {0};
    struct config *changed = set(
        c, (const char *[]){"map", "user u:{id} table=users as=hash\nnew n:{id} table=t as=hash"},
        1, &error);
    assert_true(config_rewrite_text(changed, slice_str(file), &out, &error));
    assert_has(&out, "map  " MAP_STOCK "\n# users\nmap user u:{id}");
    assert_has(&out, "port 0\n# Generated by CONFIG REWRITE\nmap new n:{id}");
    buf_free(&out);
    config_destroy(changed);
    config_destroy(c);
}

static void test_rewrite_file(void **state) {
    char path[] = "/tmp/forebay_test_XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "# kept\nport 7\n", 14), 14);
    close(fd);
    struct config *c = config_create();
    struct buf error = {0}, text = {0};
    assert_false(config_rewrite(c, &error));
    assert_has(&error, "ERR The server is running without a config file");
    error.len = 0;
    assert_true(config_load(c, path, SLICE("timeout 3\n"), &error));
    assert_true(config_rewrite(c, &error));
    assert_true(config_read_file(path, &text));
    buf_append_char(&text, '\0');
    assert_string_equal(text.ptr,
                        "# kept\nport 7\n# Generated by CONFIG REWRITE\ntimeout 3\n");
    buf_free(&text);
    buf_free(&error);
    config_destroy(c);
    unlink(path);
}

static void count_one(void *arg, struct slice name, struct slice value) {
    ++*(int *)arg;
}

static void test_visit(void **state) {
    struct config *c = loaded("store mysql://me:secret@h/db\n");
    int count = 0;
    config_visit(c, (struct slice[]){SLICE("PORT"), SLICE("po?t"), SLICE("nope")}, 3, count_one,
                 &count);
    assert_int_equal(count, 1);
    count = 0;
    config_visit(c, (struct slice[]){SLICE("hash-max-*")}, 1, count_one, &count);
    assert_int_equal(count, 4); /* two options, two aliases */
    struct buf shown = {0};
    config_show(c, options_at((uint32_t)options_find(SLICE("store"))), &shown);
    buf_append_char(&shown, '\0');
    assert_string_equal(shown.ptr, "mysql://me:***@h/db");
    buf_free(&shown);
    config_destroy(c);
}

static void test_settings(void **state) {
    struct config *c = loaded("maxmemory 50%\nmaxmemory-policy volatile-ttl\ntimeout 4\n"
                              "requirepass pw\nclient-output-buffer-limit normal 9 8 7\n"
                              "accept-balance kernel\nmap " MAP_STOCK "\n");
    struct settings *s = settings_make(c, 77);
    config_destroy(c);
    assert_true(s->keyspace.maxmemory_bytes > 1 << 20);
    assert_int_equal(s->keyspace.policy, EVICT_VOLATILE_TTL);
    assert_int_equal(s->timeout_s, 4);
    assert_string_equal(s->requirepass, "pw");
    assert_int_equal(s->output_hard_bytes, 9);
    assert_int_equal(s->output_soft_bytes, 8);
    assert_int_equal(s->output_soft_s, 7);
    assert_int_equal(s->balance, BALANCE_KERNEL);
    assert_int_equal(s->maxclients, 77);
    assert_int_equal(s->maps->count, 1);
    assert_string_equal(s->maps->v[0]->name, "stock");
    settings_unref(s);
}

/* The most of a reply: the least of what clients may hold, the hard limit, most of maxmemory. */
static void test_reply_limits(void **state) {
    static const struct {
        const char *lines;
        uint64_t read, reply, exempt;
    } cases[] = {
        {"", 0, 0, 0},
        {"client-output-buffer-limit normal 2mb 0 0\n", 0, 2 << 20, 2 << 20},
        {"maxmemory 100mb\n", 100 << 10, 50 << 20, 75 << 20},
        {"maxmemory 100mb\nmaxmemory-clients 90%\n", 100 << 10, 75 << 20, 75 << 20},
        {"maxmemory 100mb\nclient-output-buffer-limit normal 60mb 0 0\n", 100 << 10, 50 << 20,
         60 << 20},
        {"maxmemory 100mb\nmaxmemory-clients 80kb\n", 80 << 10, 80 << 10, 75 << 20},
        {"maxmemory 2gb\n", 2 << 20, 1 << 30, 1536ULL << 20},
        {"maxmemory 1kb\n", CHAIN_LIMIT_MIN, CHAIN_LIMIT_MIN, CHAIN_LIMIT_MIN},
    };
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        struct config *c = loaded(cases[i].lines);
        struct settings *s = settings_make(c, 1);
        config_destroy(c);
        assert_in_range(s->read_bytes_max, cases[i].read, cases[i].read);
        assert_in_range(s->reply_bytes_max, cases[i].reply / 100 * 99, cases[i].reply);
        assert_in_range(s->exempt_reply_bytes_max, cases[i].exempt / 100 * 99, cases[i].exempt);
        settings_unref(s);
    }
}

/* A share is of the limit that the config knows: kept as a share, shown in bytes. */
static void test_percent(void **state) {
    struct config *c = loaded("maxmemory 75%\n");
    c->memory_limit_bytes = 1000000;
    assert_int_equal(config_memory(c, "maxmemory"), 750000);
    assert_int_equal(config_percent(c, "maxmemory"), 75);
    struct config *copy = config_copy(c);
    copy->memory_limit_bytes = 2000000;
    struct settings *s = settings_make(copy, 1);
    assert_int_equal(s->keyspace.maxmemory_bytes, 1500000);
    settings_unref(s);
    struct buf shown = {0}, error = {0};
    config_show(copy, options_at((uint32_t)options_find(SLICE("maxmemory"))), &shown);
    assert_true(slice_eq(buf_slice(&shown), SLICE("1500000")));
    struct config *bytes =
        config_changed(copy, (struct slice[]){SLICE("maxmemory"), SLICE("3kb")}, 1, &error);
    assert_non_null(bytes);
    assert_int_equal(config_percent(bytes, "maxmemory"), 0);
    assert_int_equal(config_memory(bytes, "maxmemory"), 3072);
    assert_int_equal(bytes->memory_limit_bytes, 2000000);
    buf_free(&shown);
    buf_free(&error);
    config_destroy(bytes);
    config_destroy(copy);
    config_destroy(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),         cmocka_unit_test(test_where_the_store_is),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_secret),       cmocka_unit_test(test_include),
        cmocka_unit_test(test_arguments),    cmocka_unit_test(test_set),
        cmocka_unit_test(test_set_map),      cmocka_unit_test(test_rewrite),
        cmocka_unit_test(test_rewrite_map),  cmocka_unit_test(test_rewrite_file),
        cmocka_unit_test(test_visit),        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_reply_limits), cmocka_unit_test(test_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
