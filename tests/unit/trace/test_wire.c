/* The client and cache-aside, against a small server in a thread of the test: it keeps every key,
 * or answers as it is told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include "base/mem.h"
#include "base/num.h"
#include "trace_file.h"
#include "wire_play.h"

enum { WORDS_MAX = 8, WORD_BYTES_MAX = 1 << 20, KEYS_MAX = 64 };

struct stored {
    char key[32];
    uint64_t len;
};

struct server {
    int listener;
    char port[8];
    pthread_t thread;
    const char *set_reply; /* instead of storing; NULL = stores */
    struct stored keys[KEYS_MAX];
    int keys_count, gets, sets, configs, flushes;
    char ttl[32]; /* of the last SET */
};

static bool read_number(FILE *in, char kind, long *out) {
    char line[64];
    return fgets(line, sizeof line, in) && line[0] == kind && sscanf(line + 1, "%ld", out) == 1;
}

/* A request's words; their text is kept as far as it fits into a key. */
static long read_request(FILE *in, struct stored *words) {
    long count, len;
    if (!read_number(in, '*', &count) || count > WORDS_MAX) {
        return 0;
    }
    for (long i = 0; i < count; i++) {
        if (!read_number(in, '$', &len) || len > WORD_BYTES_MAX) {
            return 0;
        }
        memset(&words[i], 0, sizeof words[i]);
        words[i].len = (uint64_t)len;
        for (long at = 0; at < len + 2; at++) {
            int c = getc(in);
            if (at < len && at < (long)sizeof words[i].key - 1) {
                words[i].key[at] = (char)c;
            }
        }
    }
    return count;
}

static void answer(struct server *s, const struct stored *words, long count, FILE *out) {
    const char *name = words[0].key;
    struct stored *found = NULL;
    for (int i = 0; i < s->keys_count && count > 1; i++) {
        found = strcmp(s->keys[i].key, words[1].key) == 0 ? &s->keys[i] : found;
    }
    if (strcmp(name, "GET") == 0) {
        s->gets++;
        if (!found) {
            fprintf(out, "$-1\r\n");
            return;
        }
        fprintf(out, "$%d\r\n%0*d\r\n", (int)found->len, (int)found->len, 0);
    } else if (strcmp(name, "SET") == 0) {
        s->sets++;
        if (s->set_reply) {
            fprintf(out, "%s\r\n", s->set_reply);
            return;
        }
        found = found ? found : &s->keys[s->keys_count++];
        memcpy(found->key, words[1].key, sizeof found->key);
        found->len = words[2].len;
        memcpy(s->ttl, count > 4 ? words[4].key : "", count > 4 ? sizeof s->ttl : 1);
        fprintf(out, "+OK\r\n");
    } else if (strcmp(name, "INFO") == 0) {
        static const char text[] = "# Memory\r\nused_memory:1234\r\nused_memory_rss:5678\r\n";
        fprintf(out, "$%zu\r\n%s\r\n", sizeof text - 1, text);
    } else {
        s->configs += strcmp(name, "CONFIG") == 0;
        s->flushes += strcmp(name, "FLUSHALL") == 0;
        fprintf(out, "+OK\r\n");
    }
}

static void *serve(void *arg) {
    struct server *s = arg;
    struct stored words[WORDS_MAX];
    int fd = accept(s->listener, NULL, NULL);
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    for (long count; (count = read_request(in, words)) > 0;) {
        answer(s, words, count, out);
        fflush(out);
    }
    fclose(in);
    fclose(out);
    return NULL;
}

static void server_start(struct server *s, const char *set_reply) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    *s = (struct server){.set_reply = set_reply, .listener = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(s->listener, 4), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &len), 0);
    snprintf(s->port, sizeof s->port, "%u", (unsigned)ntohs(address.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s) {
    pthread_join(s->thread, NULL);
    close(s->listener);
}

static struct trace *must_read(const char *text) {
    char error[TRACE_ERROR_BYTES];
    struct trace *t = trace_of(text, NULL, error);
    assert_non_null(t);
    return t;
}

/* Whatever the pipeline, a key that comes again in a batch is asked for after it was stored. */
static void test_play(void **state) {
    static const uint32_t pipelines[] = {1, 2, 5, 64};
    struct trace *t = must_read("a 10\na 10\nb 500\na 10\nc 70000\nb 500\nc 70000\na 10\nd 1\n");
    for (unsigned i = 0; i < ARRAY_COUNT(pipelines); i++) {
        struct server s;
        struct wire_result r;
        char error[TRACE_ERROR_BYTES] = "";
        server_start(&s, NULL);
        const struct wire_setup setup = {.host = "127.0.0.1", .port = s.port,
                                         .pipeline = pipelines[i], .unit_bytes = 64};
        assert_true(wire_play(t, &setup, &r, error));
        server_stop(&s);
        assert_int_equal(r.counts.requests, 9);
        assert_int_equal(r.counts.misses, 4);
        assert_int_equal(r.counts.missed_bytes, 10 + 500 + 70000 + 1);
        assert_int_equal(r.counts.bytes, t->requested_bytes);
        assert_int_equal(r.used_memory, 1234);
        assert_int_equal(r.rss, 5678);
        assert_int_equal(s.gets, 9);
        assert_int_equal(s.sets, 4); /* the last batch's too */
        assert_int_equal(s.configs, 0);
        assert_int_equal(s.flushes, 0);
        assert_int_equal(s.keys[1].len, 499); /* key and value are the trace's size */
        assert_string_equal(s.ttl, "");
    }
    trace_destroy(t);
}

static void test_settings(void **state) {
    struct trace *t = must_read("a\nbcd\n");
    struct server s;
    struct wire_result r;
    char error[TRACE_ERROR_BYTES] = "";
    server_start(&s, NULL);
    const struct wire_setup setup = {.host = "127.0.0.1", .port = s.port, .pipeline = 16,
                                     .unit_bytes = 20, .ttl_ms = 60000, .flush = true,
                                     .maxmemory = "1000", .policy = "allkeys-lru"};
    assert_true(wire_play(t, &setup, &r, error));
    server_stop(&s);
    assert_int_equal(s.configs, 2);
    assert_int_equal(s.flushes, 1);
    assert_int_equal(s.keys[1].len, 17); /* bcd makes 20 */
    assert_string_equal(s.ttl, "60000");
    trace_destroy(t);
}

static void test_errors(void **state) {
    struct trace *t = must_read("a\nb\n");
    struct server s;
    struct wire_result r;
    char error[TRACE_ERROR_BYTES] = "";
    server_start(&s, "-OOM command not allowed when used memory > 'maxmemory'.");
    struct wire_setup setup = {.host = "127.0.0.1", .port = s.port, .pipeline = 4};
    assert_false(wire_play(t, &setup, &r, error));
    server_stop(&s);
    assert_non_null(strstr(error, ": OOM command not allowed when used memory > 'maxmemory'."));
    assert_false(wire_play(t, &setup, &r, error)); /* nobody listens any more */
    assert_non_null(strstr(error, "can't connect to 127.0.0.1:"));
    server_start(&s, "HTTP/1.1 400 Bad Request");
    setup.port = s.port;
    assert_false(wire_play(t, &setup, &r, error));
    server_stop(&s);
    assert_non_null(strstr(error, "an unexpected reply: HTTP/1.1 400"));
    trace_destroy(t);
}

static void test_info(void **state) {
    struct slice info = SLICE("a:1\r\nused_memory_rss:7\r\nused_memory:12\r\nv:8.0.1\r\nlast:3");
    assert_int_equal(wire_info_number(info, "used_memory"), 12);
    assert_int_equal(wire_info_number(info, "last"), 3);
    assert_int_equal(wire_info_number(info, "v"), 0);
    assert_int_equal(wire_info_number(info, "nosuch"), 0);
    assert_true(slice_eq(wire_info_text(info, "v"), SLICE("8.0.1")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_play),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
