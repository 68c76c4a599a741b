/* A large argument on its way: it is received apart from its request, behind room for the fields of
 * a blob, so that a command which stores it takes the memory over (cmd_take_blob).
 *
 *     in    * 3 CR LF $ 3 CR LF S E T CR LF $ 3 CR LF k e y CR LF $ 1 0 0 0 0 0 CR LF
 *                                                                                    ^ at
 *     bulk  [blob's fields]  100000 bytes  CR LF
 *                                               ^ end
 *
 * The session's, on its shard's thread.
 *
 * 1. It belongs to the request that `in` begins with, and begins while the session runs and has
 *    nothing in the batch; until it is complete nothing of the session is parsed.
 * 2. It grows by what was received, as `in` does: a client that only announces one gets little.
 *    The steps are parts of what is announced: the last one fits, and little is copied before.
 * 3. It goes when its request has been executed; a command may have taken it before.
 *
 * Limits: one a request, of BULK_BYTES_MIN or more. */
#include "shard/session.h"

#include <string.h>

#include "base/assert.h"

enum { CRLF_BYTES = 2 };

/* What is received next has room: more than `have` bytes. */
static void reserve(struct session *s, size_t have) {
    struct bulk *b = &s->bulk;
    size_t most = MAX(have * (1 + INPUT_AHEAD_FACTOR), (size_t)INPUT_AHEAD_BYTES_MIN);
    size_t cap = b->end;
    while (cap > most) {
        cap = cap / (1 + INPUT_AHEAD_FACTOR) + 1;
    }
    if (cap > b->buf.cap) { /* the allocator may have given more than it was asked for */
        pipeline_reserve(s, &b->buf, MIN(cap, b->buf.cap + BUF_STEP_MAX));
    }
}

size_t bulk_begin(struct session *s, struct slice rest) {
    size_t at, len = s->bulk.buf.ptr ? 0 : resp_parser_bulk(&s->parser, &at);
    if (len < BULK_BYTES_MIN) {
        return rest.len;
    }
    s->bulk.at = at;
    s->bulk.end = BLOB_HEAD_BYTES + len + CRLF_BYTES;
    reserve(s, 0);
    s->bulk.buf.len = BLOB_HEAD_BYTES;
    rest = slice_of(rest.ptr + at, rest.len - at);
    bool complete = bulk_receive(s, &rest);
    ASSERT(!complete);
    return at;
}

bool bulk_receive(struct session *s, struct slice *data) {
    struct bulk *b = &s->bulk;
    while (data->len && b->buf.len < b->end) {
        size_t room = MIN(b->buf.cap, b->end) - b->buf.len, len = MIN(room, data->len);
        if (data->ptr != b->buf.ptr + b->buf.len) {
            memcpy(b->buf.ptr + b->buf.len, data->ptr, len);
        }
        b->buf.len += len;
        *data = slice_of(data->ptr + len, data->len - len);
        if (b->buf.len == b->buf.cap) {
            reserve(s, b->buf.len);
        }
    }
    size_t room = MIN(b->buf.cap, b->end) - b->buf.len;
    net_receive_into(s->shard->net, &s->conn, b->buf.ptr + b->buf.len,
                     MIN(room, (size_t)BULK_RECEIVE_BYTES_MAX));
    if (room) {
        return false;
    }
    bulk_again(s);
    return true;
}

void bulk_again(struct session *s) {
    struct bulk *b = &s->bulk;
    ASSERT(b->buf.len == b->end);
    resp_parser_apart(
        &s->parser, b->at,
        slice_of(b->buf.ptr + BLOB_HEAD_BYTES, b->end - BLOB_HEAD_BYTES - CRLF_BYTES));
}

void bulk_drop(struct session *s) {
    buf_free(&s->bulk.buf);
}
