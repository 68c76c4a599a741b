/* Requests out of bytes: the second stage of the way of a request, between the socket's bytes and
 * the command. Owned by the client's shard; no other thread calls.
 *
 *     * 2 CR LF $ 3 CR LF G E T CR LF $ 3 CR LF k e y CR LF
 *     ^ header  ^ length  ^ bulk      ^ cursor.pos after the first argument
 *
 * 1. The cursor (on the stack) says how far a request was read. A request that ends with the bytes
 *    at hand never leaves the stack; otherwise the cursor and the arguments found, as offsets, move
 *    to the heap (struct resp_partial), and the next call goes on from there.
 * 2. A call works on the bytes and arguments it is the first to see; the arguments of earlier calls
 *    are touched once more, when the request is complete: their array becomes the request's.
 * 3. What the result is depends on the bytes only, not on how they were split. Redis is slightly
 *    different there: of a line longer than inline_bytes_max it refuses only what comes in several
 *    reads. Otherwise as in Redis, lines end at CR, the byte behind it and the two behind a
 *    bulk are skipped unseen, and a line is judged when it is complete.
 * 4. An argument that is apart takes no room in the data: the cursor passes it without moving.
 * 5. Arrays grow by what was received: by doubling, large ones by BUF_STEP_MAX and without copying.
 *
 * Limits: struct resp_limits; a line's length in digits is bounded by num_parse_i64. */
#include "resp/parser.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"
#include "ds/buf.h"
#include "resp/inline.h"

enum {
    ARGS_CAP_MIN = 16,    /* of every array */
    SHORT_DIGITS_MAX = 9, /* cannot overflow 32 bits */
    CRLF_BYTES = 2,
};

#define BULK_UNKNOWN UINT64_MAX
static const int64_t ARGS_COUNT_MAX = INT32_MAX; /* whoever asks */

struct cursor {
    size_t pos;         /* of the first byte not taken yet */
    size_t scanned;     /* no end of line was found before here */
    uint64_t bulk_len;  /* of the argument at `pos`; BULK_UNKNOWN before its length was read */
    uint32_t args_left; /* to be read; 0 before the header was read */
};

struct resp_partial {
    struct cursor cursor;
    struct slice apart;    /* the argument that is not in the data; empty: none */
    size_t apart_at;       /* where it would begin */
    uint32_t apart_arg;    /* its index, once the cursor has passed it */
    struct resp_args args; /* each an offset from the request's start: see to_offset */
    /* Set: the memory of a complete inline request, to be freed at the next call. */
    char *unescaped;
};

enum step { STEP_DONE, STEP_MORE, STEP_ERROR };

/* Allocations are multiples of an argument's size, so that `cap` says all of a buf's. */
static struct buf as_buf(const struct resp_args *args) {
    return (struct buf){.ptr = (char *)args->v,
                        .len = args->count * sizeof *args->v,
                        .cap = args->cap * sizeof *args->v};
}

void resp_args_free(struct resp_args *args) {
    struct buf b = as_buf(args);
    buf_free(&b);
    *args = (struct resp_args){0};
}

/* Room for `count` more. `left` more are announced behind them: they bound the growth, and get no
 * more than anybody. `p` (may be NULL) is told of what is large. */
static __attribute__((noinline)) void grow(struct resp_parser *p, struct resp_args *args,
                                           size_t count, size_t left) {
    struct buf b = as_buf(args);
    size_t least = MAX(count, (size_t)ARGS_CAP_MIN - MIN(args->count, (uint32_t)ARGS_CAP_MIN));
    size_t next = buf_next_cap(&b, least * sizeof *args->v);
    size_t all = b.len + MAX(least, count + left) * sizeof *args->v;
    size_t grows = MIN(next, all) - b.cap;
    if (p && p->grows && grows > RESP_GROWTH_BYTES) {
        p->grows(p, grows);
    }
    buf_reserve_exact(&b, MIN(next, all) - b.len);
    ASSERT(b.cap % sizeof *args->v == 0 && b.cap / sizeof *args->v <= UINT32_MAX);
    args->v = (struct slice *)b.ptr;
    args->cap = (uint32_t)(b.cap / sizeof *args->v);
}

void resp_args_push(struct resp_args *args, struct slice arg) {
    if (UNLIKELY(args->count == args->cap)) {
        grow(NULL, args, 1, SIZE_MAX / 2 / sizeof arg);
    }
    args->v[args->count++] = arg;
}

void resp_parser_reset(struct resp_parser *p) {
    if (p->partial) {
        resp_args_free(&p->partial->args);
        mem_free(p->partial->unescaped);
        mem_free(p->partial);
        p->partial = NULL;
    }
}

size_t resp_parser_bytes(const struct resp_parser *p) {
    const struct resp_partial *partial = p->partial;
    if (!partial) {
        return 0;
    }
    return mem_size(partial) + partial->args.cap * sizeof *partial->args.v +
           (partial->unescaped ? mem_size(partial->unescaped) : 0);
}

size_t resp_parser_wants(const struct resp_parser *p) {
    const struct resp_partial *partial = p->partial;
    if (!partial || partial->unescaped || !partial->cursor.args_left ||
        partial->cursor.bulk_len == BULK_UNKNOWN) {
        return 0;
    }
    return partial->cursor.pos + partial->cursor.bulk_len + CRLF_BYTES;
}

size_t resp_parser_bulk(const struct resp_parser *p, size_t *at) {
    if (!resp_parser_wants(p)) {
        return 0;
    }
    *at = p->partial->cursor.pos;
    return p->partial->cursor.bulk_len;
}

void resp_parser_apart(struct resp_parser *p, size_t at, struct slice bytes) {
    ASSERT(bytes.len);
    if (!p->partial) {
        p->partial = mem_zalloc(sizeof *p->partial);
        p->partial->cursor.bulk_len = BULK_UNKNOWN;
    }
    p->partial->apart = bytes;
    p->partial->apart_at = at;
}

static enum step fail(char *error, const char *text) {
    snprintf(error, RESP_ERROR_CHARS_MAX, "%s", text);
    return STEP_ERROR;
}

/* Finds `end_char` from the cursor on: at *line_len bytes behind its pos. `extra` more bytes must
 * be at hand behind it. */
static enum step find_line(const char *data, size_t len, struct cursor *c, char end_char,
                           size_t extra, uint32_t line_max, size_t *line_len) {
    size_t last = c->pos + line_max; /* the end may stand here at the latest */
    size_t stop = MIN(len, last + 1), from = MIN(MAX(c->pos, c->scanned), stop);
    const char *end = memchr(data + from, end_char, stop - from);
    if (!end) {
        c->scanned = stop;
        return len > last ? STEP_ERROR : STEP_MORE;
    }
    size_t at = (size_t)(end - data);
    if (len - at <= extra) {
        c->scanned = at;
        return STEP_MORE;
    }
    *line_len = at - c->pos;
    return STEP_DONE;
}

/* A length of up to nine digits whose line is at hand, the usual case. Returns what is behind the
 * line; NULL leaves it to the slow way to say what is wrong or missing. */
static inline const char *short_length(const char *at, const char *end, uint32_t *out) {
    if (UNLIKELY(end - at < SHORT_DIGITS_MAX + CRLF_BYTES)) {
        if (!memchr(at, '\r', (size_t)(end - at)) || end[-1] == '\r') {
            return NULL; /* the digits below end at a CR with a byte behind it */
        }
    }
    const char *p = at;
    uint32_t value = 0;
    for (unsigned digit;
         p - at < SHORT_DIGITS_MAX && (digit = (unsigned)(unsigned char)*p - '0') <= 9; p++) {
        value = value * 10 + digit;
    }
    if (UNLIKELY(p == at || *p != '\r' || (*at == '0' && p - at > 1))) {
        return NULL;
    }
    *out = value;
    return p + CRLF_BYTES;
}

/* Reads "*<n>\r\n". Done with nothing left to read means an empty request. */
static enum step read_header(const char *data, size_t len, struct cursor *c,
                             const struct resp_limits *limits, char *error) {
    size_t line_len;
    switch (find_line(data, len, c, '\r', 1, limits->inline_bytes_max, &line_len)) {
    case STEP_MORE:
        return STEP_MORE;
    case STEP_ERROR:
        return fail(error, "too big mbulk count string");
    case STEP_DONE:
        break;
    }
    int64_t count;
    if (!num_parse_i64(slice_of(data + c->pos + 1, line_len - 1), &count) ||
        count > ARGS_COUNT_MAX) {
        return fail(error, "invalid multibulk length");
    }
    if (count > (int64_t)limits->args_max) {
        return fail(error, "unauthenticated multibulk length");
    }
    c->pos += line_len + CRLF_BYTES;
    c->args_left = count > 0 ? (uint32_t)count : 0;
    return STEP_DONE;
}

static enum step check_bulk_len(uint64_t bulk_len, const struct resp_limits *limits, char *error) {
    if (UNLIKELY(bulk_len > limits->bulk_bytes_max)) {
        return fail(error, "invalid bulk length");
    }
    if (UNLIKELY(limits->unauthenticated_bulk_bytes_max &&
                 bulk_len > limits->unauthenticated_bulk_bytes_max)) {
        return fail(error, "unauthenticated bulk length");
    }
    return STEP_DONE;
}

/* Reads "$<n>\r\n" into cursor.bulk_len, whatever stands there. */
static enum step read_bulk_len(const char *data, size_t len, struct cursor *c,
                               const struct resp_limits *limits, char *error) {
    size_t line_len;
    switch (find_line(data, len, c, '\r', 1, limits->inline_bytes_max, &line_len)) {
    case STEP_MORE:
        return STEP_MORE;
    case STEP_ERROR:
        return fail(error, "too big bulk count string");
    case STEP_DONE:
        break;
    }
    const char *line = data + c->pos;
    if (*line != '$') {
        snprintf(error, RESP_ERROR_CHARS_MAX, "expected '$', got '%c'", *line);
        return STEP_ERROR;
    }
    int64_t bulk_len;
    if (!num_parse_i64(slice_of(line + 1, line_len - 1), &bulk_len) || bulk_len < 0) {
        return fail(error, "invalid bulk length");
    }
    if (check_bulk_len((uint64_t)bulk_len, limits, error) != STEP_DONE) {
        return STEP_ERROR;
    }
    c->pos += line_len + CRLF_BYTES;
    c->bulk_len = (uint64_t)bulk_len;
    return STEP_DONE;
}

/* The argument at the cursor is not in the data. No other begins there: its length comes before. */
static bool is_apart(const struct resp_partial *partial, const struct cursor *c) {
    return partial->apart.len && c->pos == partial->apart_at;
}

/* Reads arguments until none is left, appending them to `args`. */
static enum step read_args(struct resp_parser *p, const char *data, size_t len, struct cursor *c,
                           const struct resp_limits *limits, struct resp_args *args, char *error) {
    while (c->args_left) {
        if (c->bulk_len == BULK_UNKNOWN) {
            const char *at = data + c->pos, *end = data + len, *behind = NULL;
            uint32_t bulk_len;
            if (LIKELY(c->pos < len && *at == '$')) {
                behind = short_length(at + 1, end, &bulk_len);
            }
            if (LIKELY(behind)) {
                if (check_bulk_len(bulk_len, limits, error) != STEP_DONE) {
                    return STEP_ERROR;
                }
                c->pos = (size_t)(behind - data);
                c->bulk_len = bulk_len;
            } else {
                enum step step = read_bulk_len(data, len, c, limits, error);
                if (step != STEP_DONE) {
                    return step;
                }
            }
        }
        bool apart = UNLIKELY(p->partial != NULL) && is_apart(p->partial, c);
        if (UNLIKELY(!apart && len - c->pos < c->bulk_len + CRLF_BYTES)) {
            return STEP_MORE;
        }
        if (UNLIKELY(args->count == args->cap)) {
            grow(p, args, 1, c->args_left - 1);
        }
        args->v[args->count++] = slice_of(data + c->pos, c->bulk_len);
        if (UNLIKELY(apart)) {
            p->partial->apart_arg = p->partial->args.count + args->count - 1;
        } else {
            c->pos += c->bulk_len + CRLF_BYTES;
        }
        c->bulk_len = BULK_UNKNOWN;
        c->args_left--;
    }
    return STEP_DONE;
}

/* An argument whose pointer is an offset from the start of its request. */
static struct slice to_offset(struct slice arg, const char *data) {
    return slice_of((const char *)(uintptr_t)(arg.ptr - data), arg.len);
}

static struct slice from_offset(struct slice arg, const char *data) {
    return slice_of(data + (uintptr_t)arg.ptr, arg.len);
}

static void swap_args(struct resp_args *a, struct resp_args *b) {
    struct resp_args was = *a;
    *a = *b;
    *b = was;
}

/* Puts what this call has found behind the arguments kept; `left` are to come. */
static void keep_found(struct resp_parser *p, const char *data, struct resp_args *found,
                       size_t left) {
    struct resp_args *kept = &p->partial->args;
    if (kept->count == 0 && found->count >= found->cap / 2) {
        swap_args(kept, found);
        for (uint32_t i = 0; i < kept->count; i++) {
            kept->v[i] = to_offset(kept->v[i], data);
        }
        return;
    }
    if (found->count > kept->cap - kept->count) {
        grow(p, kept, found->count, left);
    }
    for (uint32_t i = 0; i < found->count; i++) {
        kept->v[kept->count++] = to_offset(found->v[i], data);
    }
}

/* The request is incomplete: keeps the cursor and the arguments this call has found. */
static void keep(struct resp_parser *p, const char *data, const struct cursor *c,
                 struct resp_args *found) {
    if (!p->partial) {
        p->partial = mem_zalloc(sizeof *p->partial);
    }
    p->partial->cursor = *c;
    keep_found(p, data, found, c->args_left);
    found->count = 0;
}

/* The request is complete: what was kept and what this call found become one. */
static void take_kept(struct resp_parser *p, const char *data, struct resp_args *args) {
    struct resp_args *kept = &p->partial->args;
    keep_found(p, data, args, 0);
    swap_args(kept, args);
    for (uint32_t i = 0; i < args->count; i++) {
        args->v[i] = from_offset(args->v[i], data);
    }
}

static enum resp_status parse_multibulk(struct resp_parser *p, const char *data, size_t len,
                                        struct cursor *c, const struct resp_limits *limits,
                                        struct resp_args *args, size_t *consumed, char *error) {
    enum step step = STEP_DONE;
    if (!c->args_left) {
        uint32_t count;
        const char *behind = short_length(data + 1, data + len, &count);
        if (LIKELY(behind && count <= limits->args_max)) {
            c->pos = (size_t)(behind - data);
            c->args_left = count;
        } else {
            step = read_header(data, len, c, limits, error);
        }
        if (step == STEP_DONE && !c->args_left) {
            resp_parser_reset(p);
            *consumed = c->pos;
            return RESP_NOTHING;
        }
    }
    if (LIKELY(step == STEP_DONE)) {
        step = read_args(p, data, len, c, limits, args, error);
    }
    if (UNLIKELY(step == STEP_ERROR)) {
        resp_parser_reset(p);
        return RESP_ERROR;
    }
    if (UNLIKELY(step == STEP_MORE)) {
        keep(p, data, c, args);
        return RESP_MORE;
    }
    if (UNLIKELY(p->partial)) {
        if (p->partial->args.count) {
            take_kept(p, data, args);
        }
        if (p->partial->apart.len) {
            args->v[p->partial->apart_arg] = p->partial->apart;
        }
        resp_parser_reset(p);
    }
    *consumed = c->pos;
    return RESP_REQUEST;
}

/* The usual request: few arguments, all of it at hand, nothing odd about it. Returns what is behind
 * it; NULL leaves it to the general way, which knows what is wrong or missing. */
static const char *take_whole(const char *at, const char *end, const struct resp_limits *limits,
                              struct resp_args *args) {
    uint32_t count, len;
    at = short_length(at + 1, end, &count);
    if (UNLIKELY(!at || count - 1 >= ARGS_CAP_MIN || count > limits->args_max ||
                 limits->unauthenticated_bulk_bytes_max)) {
        return NULL;
    }
    if (UNLIKELY(args->cap < ARGS_CAP_MIN)) {
        args->count = 0;
        grow(NULL, args, ARGS_CAP_MIN, 0);
    }
    struct slice *v = args->v;
    for (uint32_t i = 0; i < count; i++) {
        if (UNLIKELY(at == end || *at != '$')) {
            return NULL;
        }
        at = short_length(at + 1, end, &len);
        if (UNLIKELY(!at || (size_t)(end - at) < (size_t)len + CRLF_BYTES ||
                     len > limits->bulk_bytes_max)) {
            return NULL;
        }
        v[i] = slice_of(at, len);
        at += len + CRLF_BYTES;
    }
    args->count = count;
    return at;
}

static enum resp_status parse_inline(struct resp_parser *p, const char *data, size_t len,
                                     struct cursor *c, const struct resp_limits *limits,
                                     struct resp_args *args, size_t *consumed, char *error) {
    size_t line_len;
    enum step step = find_line(data, len, c, '\n', 0, limits->inline_bytes_max, &line_len);
    if (step == STEP_MORE) {
        keep(p, data, c, args);
        return RESP_MORE;
    }
    resp_parser_reset(p);
    if (step == STEP_ERROR) {
        fail(error, "too big inline request");
        return RESP_ERROR;
    }
    size_t taken = line_len + 1;
    if (line_len && data[line_len - 1] == '\r') {
        line_len--;
    }
    char *unescaped;
    if (!inline_split(slice_of(data, line_len), args, &unescaped)) {
        fail(error, "unbalanced quotes in request");
        return RESP_ERROR;
    }
    if (unescaped) {
        p->partial = mem_zalloc(sizeof *p->partial);
        p->partial->unescaped = unescaped;
    }
    *consumed = taken;
    return args->count ? RESP_REQUEST : RESP_NOTHING;
}

enum resp_status resp_parse(struct resp_parser *p, const char *data, size_t len,
                            const struct resp_limits *limits, struct resp_args *args,
                            size_t *consumed, char error[RESP_ERROR_CHARS_MAX]) {
    ASSERT(len > 0);
    if (LIKELY(data[0] == '*' && !p->partial)) {
        const char *behind = take_whole(data, data + len, limits, args);
        if (LIKELY(behind)) {
            *consumed = (size_t)(behind - data);
            return RESP_REQUEST;
        }
    }
    struct cursor c = {.bulk_len = BULK_UNKNOWN};
    if (UNLIKELY(p->partial)) {
        if (p->partial->unescaped) {
            resp_parser_reset(p);
        } else {
            c = p->partial->cursor;
            ASSERT(len >= c.pos);
        }
    }
    args->count = 0;
    *consumed = 0;
    if (LIKELY(data[0] == '*')) {
        return parse_multibulk(p, data, len, &c, limits, args, consumed, error);
    }
    return parse_inline(p, data, len, &c, limits, args, consumed, error);
}
