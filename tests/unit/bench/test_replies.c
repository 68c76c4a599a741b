/* Reply checking: whatever the cuts, replies are counted once, failures noticed, and nothing after
 * a failure is misread. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "options.h"
#include "replies.h"
#include "requests.h"
#include "base/assert.h"

struct expectation {
    uint32_t replies;
    uint64_t errors, misses, wrong;
};

static void init(struct requests *requests, struct options *o, const char *protocol, const char *op,
                 bool verify) {
    char *arguments[] = {"loadgen",    "--protocol",  (char *)protocol,
                         "--op",       (char *)op,    "--value-bytes",
                         "10",         "--key-bytes", "8",
                         "--pipeline", "4",           "--dist",
                         "sequential", "--keys",      "100",
                         "--verify"};
    assert_true(options_parse(o, ARRAY_COUNT(arguments) - !verify, arguments));
    requests_init(requests, o, 0);
}

/* Feeds `text` whole and in pieces of every size. */
static void check(const struct requests *requests, const char *text, struct expectation want) {
    size_t len = strlen(text);
    for (size_t piece = 1; piece <= len; piece++) {
        struct reply_counts counts = {0};
        struct replies r;
        replies_init(&r, requests);
        replies_expect(&r, 0, 4, false);
        uint32_t replies = 0;
        for (size_t at = 0; at < len; at += piece) {
            replies += replies_feed(&r, text + at, MIN(piece, len - at), &counts);
        }
        assert_int_equal(replies, want.replies);
        assert_int_equal(counts.errors, want.errors);
        assert_int_equal(counts.misses, want.misses);
        assert_int_equal(counts.wrong, want.wrong);
        assert_int_equal(replies_done(&r), want.replies == 4);
    }
}

static void test_get(void **state) {
    struct options o;
    struct requests requests;
    init(&requests, &o, "resp", "get", false);
    const struct batch *batch = &requests.batches[0];
    const char *first =
        "*2\r\n$3\r\nGET\r\n$8\r\nk:000000\r\n*2\r\n$3\r\nGET\r\n$8\r\nk:000001\r\n";
    assert_int_equal(batch->len, 2 * strlen(first));
    assert_memory_equal(requests.arena + batch->offset, first, strlen(first));
    check(
        &requests,
        "$10\r\nabcdefghij\r\n$10\r\n$-1\r\n-E\r\nx\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n",
        (struct expectation){.replies = 4});
    check(&requests, "$-1\r\n$10\r\n0123456789\r\n-ERR no\r\n$10\r\n0123456789\r\n",
          (struct expectation){.replies = 4, .errors = 1, .misses = 1});
    check(&requests, "$9\r\n012345678\r\n$10\r\n0123456789\r\n+OK\r\n$0\r\n\r\n",
          (struct expectation){.replies = 4, .wrong = 3});
    check(&requests,
          "$100\r\n0123456789012345678901234567890123456789012345678901234567890123456789"
          "012345678901234567890123456789\r\n$-1\r\n$-1\r\n$-1\r\n",
          (struct expectation){.replies = 4, .misses = 3, .wrong = 1});
    check(&requests, "$10\r\n0123456789\r\n$10\r\n012345678", (struct expectation){.replies = 1});
    requests_deinit(&requests);
}

static void test_set_and_incr(void **state) {
    struct options o;
    struct requests requests;
    init(&requests, &o, "resp", "set", false);
    check(&requests, "+OK\r\n+OK\r\n-OOM x\r\n+OK\r\n",
          (struct expectation){.replies = 4, .errors = 1});
    requests_deinit(&requests);
    init(&requests, &o, "resp", "incr", false);
    check(&requests, ":1\r\n:200\r\n:-3\r\n-ERR\r\n",
          (struct expectation){.replies = 4, .errors = 1});
    requests_deinit(&requests);
}

static void test_memcached(void **state) {
    struct options o;
    struct requests requests;
    init(&requests, &o, "memcached", "get", false);
    check(&requests,
          "VALUE k:000000 0 10\r\n0123456789\r\nEND\r\nEND\r\nSERVER_ERROR x\r\n"
          "VALUE k:000003 0 3\r\n012\r\nEND\r\n",
          (struct expectation){.replies = 4, .errors = 1, .misses = 1, .wrong = 1});
    requests_deinit(&requests);
    init(&requests, &o, "memcached", "set", false);
    check(&requests, "STORED\r\nNOT_STORED\r\nSTORED\r\nERROR\r\n",
          (struct expectation){.replies = 4, .errors = 1, .wrong = 1});
    requests_deinit(&requests);
}

static void test_verify_compares_every_byte(void **state) {
    struct options o;
    struct requests requests;
    init(&requests, &o, "resp", "get", true);
    check(&requests,
          "$10\r\nk:000000k:\r\n$10\r\nk:000001k:\r\n$10\r\nk:000002k;\r\n$10\r\nk:000000k:\r\n",
          (struct expectation){.replies = 4, .wrong = 2});
    requests_deinit(&requests);
}

static void test_more_than_asked_for_is_wrong(void **state) {
    struct options o;
    struct requests requests;
    init(&requests, &o, "resp", "set", false);
    struct reply_counts counts = {0};
    struct replies r;
    replies_init(&r, &requests);
    replies_expect(&r, 0, 1, false);
    assert_int_equal(replies_feed(&r, "+OK\r\n+OK\r\n", 10, &counts), 1);
    assert_int_equal(counts.wrong, 1);
    requests_deinit(&requests);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_set_and_incr),
        cmocka_unit_test(test_memcached),
        cmocka_unit_test(test_verify_compares_every_byte),
        cmocka_unit_test(test_more_than_asked_for_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
