#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "ds/buf.h"
#include "resp/parser.h"

static const struct resp_limits OPEN = {
    .bulk_bytes_max = 512u << 20, .inline_bytes_max = 64 * 1024, .args_max = INT32_MAX};
static const struct resp_limits UNAUTHENTICATED = {.bulk_bytes_max = 512u << 20,
                                                   .inline_bytes_max = 64 * 1024,
                                                   .args_max = 10,
                                                   .unauthenticated_bulk_bytes_max = 16384};

struct fixture {
    struct resp_parser parser;
    struct resp_args args;
    size_t consumed;
    char error[RESP_ERROR_CHARS_MAX];
};

static int setup(void **state) {
    *state = mem_zalloc(sizeof(struct fixture));
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    resp_parser_reset(&f->parser);
    resp_args_free(&f->args);
    mem_free(f);
    return 0;
}

static enum resp_status parse(struct fixture *f, struct slice bytes,
                              const struct resp_limits *limits) {
    return resp_parse(&f->parser, bytes.ptr, bytes.len, limits, &f->args, &f->consumed, f->error);
}

/* The arguments as "<GET><key>". */
static void assert_args(const struct fixture *f, const char *expected) {
    struct buf text = {0};
    for (uint32_t i = 0; i < f->args.count; i++) {
        buf_append_char(&text, '<');
        buf_append_slice(&text, f->args.v[i]);
        buf_append_char(&text, '>');
    }
    buf_append_char(&text, '\0');
    assert_string_equal(text.ptr, expected);
    buf_free(&text);
}

static void assert_request(struct fixture *f, struct slice bytes, const char *expected) {
    assert_int_equal(parse(f, bytes, &OPEN), RESP_REQUEST);
    assert_int_equal(f->consumed, bytes.len);
    assert_args(f, expected);
}

static void assert_error(struct fixture *f, struct slice bytes, const struct resp_limits *limits,
                         const char *expected) {
    assert_int_equal(parse(f, bytes, limits), RESP_ERROR);
    assert_string_equal(f->error, expected);
    assert_null(f->parser.partial);
}

static void test_whole_requests(void **state) {
    struct fixture *f = *state;
    assert_request(f, SLICE("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"), "<GET><key>");
    assert_request(f, SLICE("*1\r\n$0\r\n\r\n"), "<>");
    assert_request(f, SLICE("*2\r\n$10\r\n0123456789\r\n$2\r\n\r\n\r\n"), "<0123456789><\r\n>");
    assert_null(f->parser.partial);
}

static void test_arguments_borrow_and_the_array_is_reused(void **state) {
    struct fixture *f = *state;
    struct slice bytes = SLICE("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    assert_request(f, bytes, "<GET><key>");
    assert_ptr_equal(f->args.v[1].ptr, bytes.ptr + 17);
    struct slice *array = f->args.v;
    assert_request(f, bytes, "<GET><key>");
    assert_ptr_equal(f->args.v, array);
}

static void test_zero_bytes_are_kept(void **state) {
    struct fixture *f = *state;
    assert_int_equal(parse(f, SLICE("*1\r\n$3\r\na\0b\r\n"), &OPEN), RESP_REQUEST);
    assert_true(slice_eq(f->args.v[0], SLICE("a\0b")));
}

static void test_nothing(void **state) {
    struct fixture *f = *state;
    const struct slice empty[] = {SLICE("*0\r\n"), SLICE("*-1\r\n"), SLICE("*-99\r\n"),
                                  SLICE("\r\n"),   SLICE("\n"),      SLICE("  \t \r\n")};
    for (size_t i = 0; i < ARRAY_COUNT(empty); i++) {
        assert_int_equal(parse(f, empty[i], &OPEN), RESP_NOTHING);
        assert_int_equal(f->consumed, empty[i].len);
    }
}

static void test_pipeline(void **state) {
    struct fixture *f = *state;
    struct slice bytes =
        SLICE("*1\r\n$4\r\nPING\r\nGET a\r\n*0\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n*1\r\n$");
    const char *expected[] = {"<PING>", "<GET><a>", "", "<b><c>"};
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        enum resp_status status = parse(f, bytes, &OPEN);
        assert_int_equal(status, i == 2 ? RESP_NOTHING : RESP_REQUEST);
        assert_args(f, expected[i]);
        bytes = slice_of(bytes.ptr + f->consumed, bytes.len - f->consumed);
    }
    assert_int_equal(parse(f, bytes, &OPEN), RESP_MORE);
    assert_int_equal(f->consumed, 0);
}

/* In two pieces, split at every byte; each call sees the bytes at another address. */
static void assert_same_when_split(struct fixture *f, struct slice bytes, const char *expected) {
    for (size_t first = 1; first < bytes.len; first++) {
        char *a = mem_dup(bytes.ptr, first), *b = mem_dup(bytes.ptr, bytes.len);
        assert_int_equal(parse(f, slice_of(a, first), &OPEN), RESP_MORE);
        assert_int_equal(f->consumed, 0);
        assert_true(resp_parser_bytes(&f->parser) > 0);
        memset(a, '#', first);
        mem_free(a);
        assert_int_equal(parse(f, slice_of(b, bytes.len), &OPEN), RESP_REQUEST);
        assert_int_equal(f->consumed, bytes.len);
        assert_args(f, expected);
        mem_free(b);
    }
}

static void test_split_at_every_byte(void **state) {
    struct fixture *f = *state;
    assert_same_when_split(f, SLICE("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$12\r\n0123456789\r\n\r\n"),
                           "<SET><key><0123456789\r\n>");
    assert_same_when_split(f, SLICE("set \"a b\" 'c'\r\n"), "<set><a b><c>");
}

static void test_byte_by_byte(void **state) {
    struct fixture *f = *state;
    struct slice bytes = SLICE("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n");
    for (size_t len = 1; len < bytes.len; len++) {
        assert_int_equal(parse(f, slice_of(bytes.ptr, len), &OPEN), RESP_MORE);
    }
    assert_request(f, bytes, "<SET><key><value>");
    assert_null(f->parser.partial);
}

static void test_reset_forgets_a_partial_request(void **state) {
    struct fixture *f = *state;
    assert_int_equal(parse(f, SLICE("*2\r\n$3\r\nGET\r\n"), &OPEN), RESP_MORE);
    resp_parser_reset(&f->parser);
    assert_int_equal(resp_parser_bytes(&f->parser), 0);
    assert_request(f, SLICE("*1\r\n$4\r\nPING\r\n"), "<PING>");
}

static void test_inline_words(void **state) {
    struct fixture *f = *state;
    assert_request(f, SLICE("PING\r\n"), "<PING>");
    assert_request(f, SLICE("PING\n"), "<PING>");
    assert_request(f, SLICE("  set\tkey   value \r\n"), "<set><key><value>");
    assert_request(f, SLICE("$3\r\n"), "<$3>");
    assert_request(f, SLICE("a\rb\n"), "<a><b>");
    assert_request(f, SLICE("a\vb \v c\n"), "<a\vb><c>");
}

static void test_inline_quotes(void **state) {
    struct fixture *f = *state;
    assert_request(f, SLICE("\"\" ''\n"), "<><>");
    assert_request(f, SLICE("\"a\\n\\r\\t\\b\\a\\q\\\\\\\"'\"\n"), "<a\n\r\t\b\aq\\\"'>");
    assert_request(f, SLICE("\"\\x41\\x7a\\xZZ\\x4\"\n"), "<AzxZZx4>");
    assert_request(f, SLICE("'a\\'b\\n\"' c\n"), "<a'b\\n\"><c>");
    assert_request(f, SLICE("foo\"bar baz\" x\n"), "<foobar baz><x>");
    assert_request(f, SLICE("\"a\"\vb\n"), "<a><b>");
    assert_true(resp_parser_bytes(&f->parser) > 0);
    assert_request(f, SLICE("PING\r\n"), "<PING>");
    assert_int_equal(resp_parser_bytes(&f->parser), 0);
}

static void test_inline_unbalanced(void **state) {
    struct fixture *f = *state;
    const struct slice wrong[] = {SLICE("\"a\n"),   SLICE("'a\n"),       SLICE("\"a\"b\n"),
                                  SLICE("'a'b\n"),  SLICE("a\"b\\\"\n"), SLICE("x \"\n"),
                                  SLICE("'a\\'\n"), SLICE("\"a\"'b'\n")};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_error(f, wrong[i], &OPEN, "unbalanced quotes in request");
    }
}

static void test_multibulk_lengths(void **state) {
    struct fixture *f = *state;
    const struct slice wrong[] = {
        SLICE("*\r\n"),
        SLICE("*x\r\n"),
        SLICE("*+1\r\n"),
        SLICE("*01\r\n"),
        SLICE("*1 \r\n"),
        SLICE("* 1\r\n"),
        SLICE("*-0\r\n"),
        SLICE("*1\n\r\n"),
        SLICE("*2147483648\r\n"),
        SLICE("*00\r\n"),
        SLICE("*99999999999999999999999\r\n"),
        SLICE("*1\0\r\n"),
        SLICE("*--1\r\n"),
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_error(f, wrong[i], &OPEN, "invalid multibulk length");
        assert_error(f, wrong[i], &UNAUTHENTICATED, "invalid multibulk length");
    }
    assert_int_equal(parse(f, SLICE("*2147483647\r\n"), &OPEN), RESP_MORE);
    assert_true(resp_parser_bytes(&f->parser) < 4096);
}

static void test_bulk_lengths(void **state) {
    struct fixture *f = *state;
    const struct slice wrong[] = {
        SLICE("*1\r\n$\r\n"),   SLICE("*1\r\n$-1\r\n"),
        SLICE("*1\r\n$x\r\n"),  SLICE("*1\r\n$03\r\n"),
        SLICE("*1\r\n$+3\r\n"), SLICE("*1\r\n$536870913\r\n"),
        SLICE("*1\r\n$3 \r\n"), SLICE("*1\r\n$99999999999999999999\r\n"),
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_error(f, wrong[i], &OPEN, "invalid bulk length");
        assert_error(f, wrong[i], &UNAUTHENTICATED, "invalid bulk length");
    }
    assert_int_equal(parse(f, SLICE("*1\r\n$536870912\r\n"), &OPEN), RESP_MORE);
    assert_true(resp_parser_bytes(&f->parser) < 4096);
}

static void test_expected_dollar(void **state) {
    struct fixture *f = *state;
    assert_error(f, SLICE("*1\r\nfoo\r\n"), &OPEN, "expected '$', got 'f'");
    assert_error(f, SLICE("*2\r\n$1\r\na\r\n*1\r\n"), &OPEN, "expected '$', got '*'");
    assert_error(f, SLICE("*1\r\n\r\n"), &OPEN, "expected '$', got '\r'");
    /* Longer than said: what follows is no argument. */
    assert_error(f, SLICE("*2\r\n$1\r\nabcde\r\n"), &OPEN, "expected '$', got 'd'");
    /* Judged when the line is complete, as in Redis. */
    assert_int_equal(parse(f, SLICE("*1\r\nfoo"), &OPEN), RESP_MORE);
}

static void test_unauthenticated_limits(void **state) {
    struct fixture *f = *state;
    assert_error(f, SLICE("*11\r\n"), &UNAUTHENTICATED, "unauthenticated multibulk length");
    assert_error(f, SLICE("*1\r\n$16385\r\n"), &UNAUTHENTICATED, "unauthenticated bulk length");
    assert_int_equal(parse(f, SLICE("*10\r\n$16384\r\n"), &UNAUTHENTICATED), RESP_MORE);
}

static void assert_line_limit(struct fixture *f, const char *start, char end, const char *error) {
    size_t max = OPEN.inline_bytes_max, start_len = strlen(start);
    const char *line = strrchr(start, '\n');
    size_t line_start = line ? (size_t)(line + 1 - start) : 0;
    char *bytes = mem_alloc(line_start + max + 3);
    memset(bytes, '1', line_start + max + 3);
    memcpy(bytes, start, start_len);
    assert_int_equal(parse(f, slice_of(bytes, line_start + max), &OPEN), RESP_MORE);
    assert_error(f, slice_of(bytes, line_start + max + 1), &OPEN, error);
    bytes[line_start + max + 1] = end; /* too late, though in the same piece */
    assert_error(f, slice_of(bytes, line_start + max + 3), &OPEN, error);
    bytes[line_start + max] = end; /* just in time */
    enum resp_status status = parse(f, slice_of(bytes, line_start + max + 3), &OPEN);
    assert_true(status == RESP_REQUEST || strcmp(f->error, error) != 0);
    resp_parser_reset(&f->parser);
    mem_free(bytes);
}

static void test_line_limits(void **state) {
    struct fixture *f = *state;
    assert_line_limit(f, "get", '\n', "too big inline request");
    assert_line_limit(f, "*1", '\r', "too big mbulk count string");
    assert_line_limit(f, "*1\r\n$1", '\r', "too big bulk count string");
}

static void test_line_byte_by_byte_is_not_scanned_again(void **state) {
    struct fixture *f = *state;
    size_t max = OPEN.inline_bytes_max;
    char *bytes = mem_alloc(max);
    memset(bytes, 'x', max);
    for (size_t len = 1; len <= max; len++) {
        assert_int_equal(parse(f, slice_of(bytes, len), &OPEN), RESP_MORE);
        bytes[len - 1] = '\n'; /* would end the line if it were looked at again */
    }
    mem_free(bytes);
}

/* Linear: every byte is overwritten once the call that saw it is over, so whatever was read again
 * would be an error. Values are overwritten with others of the same length. */
static void test_million_arguments_in_pieces(void **state) {
    struct fixture *f = *state;
    enum { COUNT = 1000000, PIECE_BYTES = 1024 };
    struct buf b = {0};
    buf_printf(&b, "*%d\r\n", COUNT);
    for (int i = 0; i < COUNT; i++) {
        buf_append_slice(&b, SLICE("$1\r\nx\r\n"));
    }
    size_t len = 0, spoiled = 0;
    while (len + PIECE_BYTES < b.len) {
        len += PIECE_BYTES;
        assert_int_equal(parse(f, slice_of(b.ptr, len), &OPEN), RESP_MORE);
        assert_true(resp_parser_bytes(&f->parser) < 16 * len + 4096);
        size_t keep_from = len > 16 ? len - 16 : 0; /* a line may be cut in two */
        memset(b.ptr + spoiled, '!', keep_from - spoiled);
        b.ptr[0] = '*';
        spoiled = keep_from;
    }
    assert_int_equal(parse(f, buf_slice(&b), &OPEN), RESP_REQUEST);
    assert_int_equal(f->args.count, COUNT);
    assert_int_equal(f->consumed, b.len);
    for (int i = 0; i < COUNT; i++) {
        assert_true(f->args.v[i].len == 1);
        assert_true(f->args.v[i].ptr == b.ptr + 10 + i * 7 + 4);
    }
    assert_null(f->parser.partial);
    buf_free(&b);
}

struct asked {
    struct resp_parser parser; /* first: grows() is given it */
    size_t bytes, most;
    uint32_t times;
};

static void note_growth(struct resp_parser *p, size_t bytes) {
    struct asked *asked = (struct asked *)p;
    assert_true(bytes > RESP_GROWTH_BYTES);
    asked->bytes += bytes;
    asked->most = MAX(asked->most, bytes);
    asked->times++;
}

/* A request of `count` empty arguments that announces `announced`; parsed in `pieces` calls. What
 * its array holds, or what is kept of it while it is incomplete. */
static size_t array_bytes(struct asked *asked, uint32_t count, uint32_t announced,
                          uint32_t pieces) {
    struct buf b = {0};
    buf_printf(&b, "*%u\r\n", announced);
    for (uint32_t i = 0; i < count; i++) {
        buf_append_slice(&b, SLICE("$0\r\n\r\n"));
    }
    struct resp_args args = {0};
    size_t consumed;
    char error[RESP_ERROR_CHARS_MAX];
    enum resp_status status = RESP_MORE;
    for (uint32_t i = 1; i <= pieces; i++) {
        assert_int_equal(status, RESP_MORE);
        status = resp_parse(&asked->parser, b.ptr,
                            b.len / pieces * i + (i == pieces ? b.len % pieces : 0), &OPEN, &args,
                            &consumed, error);
    }
    assert_int_equal(status, count == announced ? RESP_REQUEST : RESP_MORE);
    size_t bytes =
        status == RESP_REQUEST ? args.cap * sizeof *args.v : resp_parser_bytes(&asked->parser);
    for (uint32_t i = 0; i < args.count; i++) {
        assert_true(args.v[i].len == 0 && args.v[i].ptr > b.ptr && args.v[i].ptr <= b.ptr + b.len);
    }
    resp_parser_reset(&asked->parser);
    assert_ptr_equal(asked->parser.grows, note_growth);
    resp_args_free(&args);
    buf_free(&b);
    return bytes;
}

/* However it came: its array is not larger than the request needs, and was asked for a part after
 * the other before it grew. */
static void test_large_arrays_are_asked_for(void **state) {
    (void)state;
    const uint32_t pieces[] = {1, 2, 7, 1000}, count = 1000000;
    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
        struct asked asked = {.parser.grows = note_growth};
        size_t bytes = array_bytes(&asked, count, count, pieces[i]);
        assert_true(bytes >= count * sizeof(struct slice));
        assert_true(bytes <= count * sizeof(struct slice) + 64 * 1024);
        assert_true(asked.bytes >= bytes - (4u << 20));
        assert_true(asked.bytes <= 2 * bytes); /* what one call finds, too */
        assert_true(asked.most <= BUF_STEP_MAX);
    }
    struct asked small = {.parser.grows = note_growth};
    array_bytes(&small, 60000, 60000, 1);
    array_bytes(&small, 60000, 60000, 10);
    assert_int_equal(small.times, 0);
}

static void test_announced_arguments_get_nothing(void **state) {
    (void)state;
    struct asked asked = {.parser.grows = note_growth};
    assert_true(array_bytes(&asked, 1, INT32_MAX, 1) < 4096);
    for (uint32_t count = 100; count < 2000000; count *= 10) {
        for (uint32_t pieces = 1; pieces <= 100; pieces *= 10) {
            size_t bytes = array_bytes(&asked, count, INT32_MAX, pieces);
            size_t needs = count * sizeof(struct slice);
            assert_true(bytes >= needs && bytes < needs + MIN(needs, (size_t)BUF_STEP_MAX) + 8192);
        }
    }
}

static void test_large_bulk_in_pieces(void **state) {
    struct fixture *f = *state;
    const size_t bulk_len = 64u << 20, piece = 16 * 1024;
    struct buf b = {0};
    buf_printf(&b, "*2\r\n$3\r\nSET\r\n$%zu\r\n", bulk_len);
    size_t header = b.len;
    memset(buf_reserve(&b, bulk_len + 2), 'v', bulk_len);
    b.len += bulk_len;
    buf_append_slice(&b, SLICE("\r\n"));
    assert_int_equal(parse(f, slice_of(b.ptr, header), &OPEN), RESP_MORE);
    size_t state_bytes = resp_parser_bytes(&f->parser);
    char first_only = '*'; /* while the value is incomplete nothing but the first byte is read */
    for (size_t len = header; len < b.len; len += piece) {
        assert_int_equal(parse(f, slice_of(&first_only, len), &OPEN), RESP_MORE);
        assert_int_equal(resp_parser_bytes(&f->parser), state_bytes);
    }
    assert_int_equal(parse(f, buf_slice(&b), &OPEN), RESP_REQUEST);
    assert_int_equal(f->args.count, 2);
    assert_true(slice_eq(f->args.v[0], SLICE("SET")));
    assert_ptr_equal(f->args.v[1].ptr, b.ptr + header);
    assert_int_equal(f->args.v[1].len, bulk_len);
    buf_free(&b);
}

static void test_wants_what_was_announced(void **state) {
    struct fixture *f = *state;
    const char *whole = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n";
    size_t len = strlen(whole);
    assert_int_equal(resp_parser_wants(&f->parser), 0);
    for (size_t cut = 1; cut < len; cut++) {
        assert_int_equal(parse(f, slice_of(whole, cut), &OPEN), RESP_MORE);
        size_t wants = resp_parser_wants(&f->parser);
        assert_true(wants == 0 || (wants > cut && wants <= len));
        if (cut > len - 7) { /* the last length was read */
            assert_int_equal(wants, len);
        }
    }
    assert_request(f, slice_of(whole, len), "<SET><k><hello>");
    assert_int_equal(resp_parser_wants(&f->parser), 0);
}

static void append_bulk(struct buf *b, const char *text, bool with_bytes) {
    buf_printf(b, "$%zu\r\n", strlen(text));
    if (with_bytes) {
        buf_printf(b, "%s\r\n", text);
    }
}

/* A request of which argument `apart` comes elsewhere, and one behind it. The parser is given `cut`
 * bytes first, and is told of the argument when it waits for it or (`fresh`) from the start. */
static void parse_apart(struct fixture *f, unsigned apart, size_t cut, bool fresh) {
    static const char *const args[] = {"SET", "a key", "the value", "EX", "10"};
    struct buf data = {0};
    size_t at = 0;
    buf_printf(&data, "*%zu\r\n", ARRAY_COUNT(args));
    for (unsigned i = 0; i < ARRAY_COUNT(args); i++) {
        append_bulk(&data, args[i], i != apart);
        at = i == apart ? data.len : at;
    }
    size_t len = data.len;
    struct slice bytes = slice_str(args[apart]);
    if (fresh) {
        resp_parser_apart(&f->parser, at, bytes);
    } else {
        size_t found = 0;
        char *first = mem_dup(data.ptr, at); /* at another address than what follows */
        assert_int_equal(parse(f, slice_of(first, at), &OPEN), RESP_MORE);
        assert_int_equal(resp_parser_bulk(&f->parser, &found), bytes.len);
        assert_int_equal(found, at);
        resp_parser_apart(&f->parser, at, bytes);
        mem_free(first);
    }
    buf_printf(&data, "*1\r\n$4\r\nPING\r\n");
    if (cut >= at && cut < len) {
        char *first = mem_dup(data.ptr, cut);
        assert_int_equal(parse(f, slice_of(first, cut), &OPEN), RESP_MORE);
        mem_free(first);
    }
    assert_int_equal(parse(f, buf_slice(&data), &OPEN), RESP_REQUEST);
    assert_int_equal(f->consumed, len);
    assert_args(f, "<SET><a key><the value><EX><10>");
    assert_ptr_equal(f->args.v[apart].ptr, bytes.ptr);
    assert_null(f->parser.partial);
    assert_request(f, slice_of(data.ptr + len, data.len - len), "<PING>");
    buf_free(&data);
}

static void test_an_argument_apart(void **state) {
    struct fixture *f = *state;
    for (unsigned apart = 0; apart < 5; apart++) {
        for (size_t cut = 0; cut < 60; cut++) {
            parse_apart(f, apart, cut, false);
            parse_apart(f, apart, cut, true);
        }
    }
}

static void test_an_error_behind_an_argument_apart(void **state) {
    struct fixture *f = *state;
    const char *data = "*3\r\n$3\r\nSET\r\n$5\r\n";
    resp_parser_apart(&f->parser, strlen(data), SLICE("hello"));
    assert_int_equal(parse(f, slice_str(data), &OPEN), RESP_MORE);
    size_t at;
    assert_int_equal(resp_parser_bulk(&f->parser, &at), 0);
    assert_error(f, SLICE("*3\r\n$3\r\nSET\r\n$5\r\nhello\r\n"), &OPEN, "expected '$', got 'h'");
    assert_request(f, SLICE("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), "<GET><k>");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_whole_requests),
        T(test_arguments_borrow_and_the_array_is_reused),
        T(test_zero_bytes_are_kept),
        T(test_nothing),
        T(test_pipeline),
        T(test_split_at_every_byte),
        T(test_byte_by_byte),
        T(test_reset_forgets_a_partial_request),
        T(test_inline_words),
        T(test_inline_quotes),
        T(test_inline_unbalanced),
        T(test_multibulk_lengths),
        T(test_bulk_lengths),
        T(test_expected_dollar),
        T(test_unauthenticated_limits),
        T(test_line_limits),
        T(test_line_byte_by_byte_is_not_scanned_again),
        T(test_million_arguments_in_pieces),
        T(test_large_arrays_are_asked_for),
        T(test_announced_arguments_get_nothing),
        T(test_large_bulk_in_pieces),
        T(test_wants_what_was_announced),
        T(test_an_argument_apart),
        T(test_an_error_behind_an_argument_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
