/* Replies into bytes: the last stage of a command. Whatever is small is formatted in place, at the
 * tail of the chain; a value that does not fit behind what is there is split over chunks.
 * Owned by whoever executes the command; one thread at a time.
 *
 * Limits: texts of resp_errorf are cut at ERROR_TEXT_BYTES_MAX. */
#include "resp/writer.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/num.h"

enum {
    HEADER_BYTES_MAX = 1 + NUM_I64_CHARS_MAX + 2,
    /* Larger values are split rather than leave so much room unused at the end of a chunk. */
    UNSPLIT_BYTES_MAX = 1024,
    ERROR_TEXT_BYTES_MAX = 4096,
};

static inline size_t put_crlf(char *at) {
    memcpy(at, "\r\n", 2);
    return 2;
}

/* "$123\r\n"; at most HEADER_BYTES_MAX bytes. */
static inline size_t put_header(char *at, char type, uint64_t count) {
    at[0] = type;
    if (LIKELY(count < 10)) {
        at[1] = (char)('0' + count);
        return 2 + put_crlf(at + 2);
    }
    if (LIKELY(count < 100)) {
        at[1] = (char)('0' + count / 10);
        at[2] = (char)('0' + count % 10);
        return 3 + put_crlf(at + 3);
    }
    size_t len = 1 + num_format_u64(at + 1, count);
    return len + put_crlf(at + len);
}

static void write_header(struct resp_writer *w, char type, uint64_t count) {
    chain_commit(w->out, put_header(chain_reserve(w->out, HEADER_BYTES_MAX), type, count));
}

static void write_crlf(struct resp_writer *w) {
    chain_append(w->out, "\r\n", 2);
}

void resp_raw(struct resp_writer *w, struct slice encoded) {
    chain_append(w->out, encoded.ptr, encoded.len);
}

void resp_simple(struct resp_writer *w, struct slice text) {
    chain_append(w->out, "+", 1);
    resp_raw(w, text);
    write_crlf(w);
}

static void remember_prefix(struct resp_writer *w, struct slice text) {
    const char *space = text.len ? memchr(text.ptr, ' ', text.len) : NULL;
    size_t len = space ? (size_t)(space - text.ptr) : text.len;
    len = MIN(len, sizeof w->error_prefix - 1);
    memcpy(w->error_prefix, text.ptr, len);
    w->error_prefix[len] = '\0';
}

static bool breaks_line(char c) {
    return c == '\r' || c == '\n';
}

void resp_error(struct resp_writer *w, struct slice text) {
    w->errors++;
    remember_prefix(w, text);
    chain_append(w->out, "-", 1);
    size_t start = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (UNLIKELY(breaks_line(text.ptr[i]))) {
            chain_append(w->out, text.ptr + start, i - start);
            chain_append(w->out, " ", 1);
            start = i + 1;
        }
    }
    chain_append(w->out, text.ptr + start, text.len - start);
    write_crlf(w);
}

void resp_errorf(struct resp_writer *w, const char *format, ...) {
    char text[ERROR_TEXT_BYTES_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ASSERT(len >= 0);
    resp_error(w, slice_of(text, MIN((size_t)len, sizeof text - 1)));
}

void resp_int(struct resp_writer *w, int64_t value) {
    char *at = chain_reserve(w->out, HEADER_BYTES_MAX);
    if (LIKELY(value >= 0)) {
        chain_commit(w->out, put_header(at, ':', (uint64_t)value));
        return;
    }
    at[0] = ':';
    size_t len = 1 + num_format_i64(at + 1, value);
    chain_commit(w->out, len + put_crlf(at + len));
}

/* Header, `prefix` (may be empty) and text in one go. */
static void write_blob(struct resp_writer *w, char type, struct slice prefix, struct slice text) {
    struct chain *out = w->out;
    uint64_t blob_len = prefix.len + text.len;
    size_t most = HEADER_BYTES_MAX + blob_len + 2;
    bool fits = out->tail && most <= out->tail->cap - out->tail->len;
    if (LIKELY(fits || most <= UNSPLIT_BYTES_MAX)) {
        char *at = chain_reserve(out, most);
        size_t len = put_header(at, type, blob_len);
        memcpy(at + len, prefix.ptr, prefix.len);
        if (text.len) {
            memcpy(at + len + prefix.len, text.ptr, text.len);
        }
        len += blob_len;
        chain_commit(out, len + put_crlf(at + len));
        return;
    }
    write_header(w, type, blob_len);
    chain_append(out, prefix.ptr, prefix.len);
    chain_append(out, text.ptr, text.len);
    write_crlf(w);
}

void resp_bulk(struct resp_writer *w, struct slice value) {
    write_blob(w, '$', SLICE(""), value);
}

void resp_bulk_pinned(struct resp_writer *w, struct slice value, size_t keeps_bytes,
                      void (*release)(void *), void *arg) {
    write_header(w, '$', value.len);
    chain_append_pinned(w->out, value, keeps_bytes, release, arg);
    write_crlf(w);
}

void resp_bulk_int(struct resp_writer *w, int64_t value) {
    char digits[NUM_I64_CHARS_MAX];
    resp_bulk(w, slice_of(digits, num_format_i64(digits, value)));
}

void resp_null(struct resp_writer *w) {
    resp_raw(w, w->proto == 3 ? SLICE("_\r\n") : SLICE("$-1\r\n"));
}

void resp_null_array(struct resp_writer *w) {
    resp_raw(w, w->proto == 3 ? SLICE("_\r\n") : SLICE("*-1\r\n"));
}

void resp_bool(struct resp_writer *w, bool value) {
    if (w->proto == 3) {
        resp_raw(w, value ? SLICE("#t\r\n") : SLICE("#f\r\n"));
    } else {
        resp_int(w, value);
    }
}

void resp_double(struct resp_writer *w, double value) {
    char text[NUM_DOUBLE_CHARS_MAX];
    size_t len = num_format_double(text, value);
    if (w->proto != 3) {
        resp_bulk(w, slice_of(text, len));
        return;
    }
    char *at = chain_reserve(w->out, 1 + NUM_DOUBLE_CHARS_MAX + 2);
    at[0] = ',';
    memcpy(at + 1, text, len);
    chain_commit(w->out, 1 + len + put_crlf(at + 1 + len));
}

void resp_verbatim(struct resp_writer *w, const char format[3], struct slice text) {
    if (w->proto != 3) {
        resp_bulk(w, text);
        return;
    }
    char prefix[4] = {format[0], format[1], format[2], ':'};
    write_blob(w, '=', slice_of(prefix, sizeof prefix), text);
}

void resp_array(struct resp_writer *w, uint64_t count) {
    write_header(w, '*', count);
}

void resp_map(struct resp_writer *w, uint64_t pairs) {
    if (w->proto == 3) {
        write_header(w, '%', pairs);
    } else {
        write_header(w, '*', pairs * 2);
    }
}

void resp_set(struct resp_writer *w, uint64_t count) {
    write_header(w, w->proto == 3 ? '~' : '*', count);
}

void resp_push(struct resp_writer *w, uint64_t count) {
    write_header(w, w->proto == 3 ? '>' : '*', count);
}

void resp_defer_begin(struct resp_writer *w, struct resp_deferred *d) {
    chain_init_for(&d->members, w->out);
    d->out = w->out;
    w->out = &d->members;
}

/* Ends must come in the reverse order of the begins. */
static void leave(struct resp_writer *w, struct resp_deferred *d) {
    ASSERT(w->out == &d->members);
    w->out = d->out;
}

void resp_defer_end_array(struct resp_writer *w, struct resp_deferred *d, uint64_t count) {
    leave(w, d);
    resp_array(w, count);
    chain_move(w->out, &d->members);
}

void resp_defer_end_map(struct resp_writer *w, struct resp_deferred *d, uint64_t pairs) {
    leave(w, d);
    resp_map(w, pairs);
    chain_move(w->out, &d->members);
}

void resp_defer_end_set(struct resp_writer *w, struct resp_deferred *d, uint64_t count) {
    leave(w, d);
    resp_set(w, count);
    chain_move(w->out, &d->members);
}

void resp_defer_cancel(struct resp_writer *w, struct resp_deferred *d) {
    leave(w, d);
    chain_clear(&d->members);
}
