/* The model's comparing of replies: a reply is taken from its front, piece by piece. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "model_internal.h"

enum { SHOWN_BYTES_MAX = 2000 };

static void show(const char *what, struct slice s) {
    fprintf(stderr, "%s\"", what);
    for (size_t i = 0; i < s.len && i < SHOWN_BYTES_MAX; i++) {
        unsigned char ch = (unsigned char)s.ptr[i];
        if (ch == '\r' || ch == '\n') {
            fputs(ch == '\r' ? "\\r" : "\\n", stderr);
        } else if (ch >= ' ' && ch < 127) {
            fputc(ch, stderr);
        } else {
            fprintf(stderr, "\\x%02x", ch);
        }
    }
    fprintf(stderr, "\"%s\n", s.len > SHOWN_BYTES_MAX ? "..." : "");
}

_Noreturn void model_fail(struct model *m, const char *what, struct slice expected) {
    fprintf(stderr, "client %u database %u now %" PRId64 "\n", m->c->index, m->c->db, m->now_ms);
    for (uint32_t i = 0; i < m->sent_argc; i++) {
        show("  sent:     ", m->sent_argv[i]);
    }
    for (uint32_t i = 0; i < m->argc && m->argv != m->sent_argv; i++) {
        show("  queued:   ", m->argv[i]);
    }
    fprintf(stderr, "  expected: %s\n", what);
    show("            ", expected);
    show("  at:       ", m->reply);
    show("  of:       ", m->whole);
    abort();
}

static bool starts_with(const struct model *m, struct slice bytes) {
    return slice_has_prefix(m->reply, bytes);
}

bool next_is(const struct model *m, const char *prefix) {
    return starts_with(m, slice_str(prefix));
}

static void advance(struct model *m, size_t len) {
    m->reply = slice_of(m->reply.ptr + len, m->reply.len - len);
}

void expect_raw(struct model *m, struct slice bytes) {
    if (!starts_with(m, bytes)) {
        model_fail(m, "these bytes", bytes);
    }
    advance(m, bytes.len);
}

void expect_ok(struct model *m) {
    expect_raw(m, SLICE("+OK\r\n"));
}

void expect_int(struct model *m, int64_t value) {
    char text[32];
    int len = snprintf(text, sizeof text, ":%" PRId64 "\r\n", value);
    expect_raw(m, slice_of(text, (size_t)len));
}

void expect_header(struct model *m, char type, uint64_t count) {
    char text[32];
    int len = snprintf(text, sizeof text, "%c%" PRIu64 "\r\n", type, count);
    expect_raw(m, slice_of(text, (size_t)len));
}

void expect_array(struct model *m, uint64_t count) {
    expect_header(m, '*', count);
}

void expect_bulk(struct model *m, struct slice bytes) {
    expect_header(m, '$', bytes.len);
    expect_raw(m, bytes);
    expect_raw(m, SLICE("\r\n"));
}

void expect_null(struct model *m) {
    expect_raw(m, m->c->proto == 3 ? SLICE("_\r\n") : SLICE("$-1\r\n"));
}

void expect_value(struct model *m, const struct value *string) {
    if (string) {
        expect_bulk(m, buf_slice(&string->string));
    } else {
        expect_null(m);
    }
}

void expect_error(struct model *m, const char *text) {
    expect_raw(m, SLICE("-"));
    expect_raw(m, slice_str(text));
    expect_raw(m, SLICE("\r\n"));
}

void expect_wrongtype(struct model *m) {
    expect_error(m, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

/* Up to and with the next CR LF. */
static struct slice take_line(struct model *m) {
    const char *end = m->reply.len ? memmem(m->reply.ptr, m->reply.len, "\r\n", 2) : NULL;
    if (!end) {
        model_fail(m, "a line", SLICE(""));
    }
    struct slice line = slice_of(m->reply.ptr, (size_t)(end - m->reply.ptr));
    advance(m, line.len + 2);
    return line;
}

void expect_any_error(struct model *m) {
    if (!next_is(m, "-")) {
        model_fail(m, "an error", SLICE(""));
    }
    take_line(m);
}

uint64_t take_header(struct model *m, char type) {
    const char prefix[2] = {type, 0};
    if (!next_is(m, prefix)) {
        model_fail(m, "a header of this type", slice_str(prefix));
    }
    return strtoull(take_line(m).ptr + 1, NULL, 10);
}

struct slice take_bulk(struct model *m) {
    uint64_t len = take_header(m, '$');
    if (len > m->reply.len) {
        model_fail(m, "as many bytes as it says", SLICE(""));
    }
    struct slice bytes = slice_of(m->reply.ptr, len);
    advance(m, len);
    expect_raw(m, SLICE("\r\n"));
    return bytes;
}

int64_t take_int(struct model *m) {
    if (!next_is(m, ":")) {
        model_fail(m, "an integer", SLICE(""));
    }
    return strtoll(take_line(m).ptr + 1, NULL, 10);
}

void skip_value(struct model *m) {
    if (next_is(m, "$") && !next_is(m, "$-")) {
        take_bulk(m);
        return;
    }
    bool map = next_is(m, "%");
    bool many = map || (next_is(m, "*") && !next_is(m, "*-"));
    uint64_t count = strtoull(take_line(m).ptr + 1, NULL, 10);
    for (uint64_t i = 0; many && i < (map ? 2 * count : count); i++) {
        skip_value(m);
    }
}
