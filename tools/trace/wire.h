#ifndef FOREBAY_TRACE_WIRE_H
#define FOREBAY_TRACE_WIRE_H
/* A small RESP2 client: requests are queued, then sent while replies are read, so that neither side
 * can wait for the other. One thread owns it. Values of replies are kept up to WIRE_KEEP_BYTES_MAX
 * where asked for, and skipped else. */
#include <stdint.h>
#include "base/assert.h"
#include "base/slice.h"
#include "ds/buf.h"

enum {
    WIRE_ERROR_BYTES = 512,
    WIRE_READ_BYTES = 256 * 1024,
    WIRE_LINE_BYTES_MAX = 4096,
    WIRE_KEEP_BYTES_MAX = 1024 * 1024,
    WIRE_TIMEOUT_MS = 60 * 1000, /* without a byte in either direction */
};

struct wire {
    int fd;
    struct buf out; /* queued; `sent` of them are gone */
    size_t sent;
    char *in;
    size_t in_at, in_len;
    char error[WIRE_ERROR_BYTES]; /* why the last call failed */
};

enum wire_type { WIRE_STATUS, WIRE_INTEGER, WIRE_BULK, WIRE_NIL };

struct wire_reply {
    enum wire_type type;
    uint64_t len;   /* of a bulk, in bytes */
    int64_t number; /* of an integer */
};

/* `port` in decimals. False: w->error says why, and nothing is to be closed. */
bool wire_open(struct wire *w, const char *host, const char *port) MUST_USE;
void wire_close(struct wire *w);
/* Queues a request; nothing is sent before a reply is asked for. */
void wire_request(struct wire *w, const struct slice *words, uint32_t count);
/* The next reply. `keep` (may be NULL) takes a bulk's bytes. False: an error reply (its text is in
 * w->error), a connection that failed, or a reply of another kind. */
bool wire_reply(struct wire *w, struct wire_reply *out, struct buf *keep) MUST_USE;
/* One request of zero-terminated words up to NULL, and its reply. */
bool wire_call(struct wire *w, const char *const *words, struct wire_reply *out,
               struct buf *keep) MUST_USE;
#endif
