#ifndef FOREBAY_RESP_PARSER_H
#define FOREBAY_RESP_PARSER_H
/* Incremental request parser. The caller keeps the unconsumed bytes: each call gets the same bytes
 * again from the start of the request, with more behind them, wherever they now lie; the parser
 * remembers how far it got (as offsets), so nothing is scanned twice. */
#include <stdint.h>
#include "base/slice.h"

enum {
    RESP_ERROR_CHARS_MAX = 128,
    RESP_GROWTH_BYTES = 1 << 20, /* by which arrays of arguments grow unasked */
};

struct resp_limits {
    uint64_t bulk_bytes_max;   /* proto-max-bulk-len, 512 MB */
    uint32_t inline_bytes_max; /* 64 KiB, at least 16; also of a "*<n>" or "$<n>" line */
    uint32_t args_max;         /* 2^31 - 1; small before authentication: 10 */
    uint32_t unauthenticated_bulk_bytes_max; /* 16384 before authentication, else 0 = no limit */
};

/* The arguments of one request: borrowed slices into the caller's bytes. The array is grown as
 * needed and reused from request to request, or changed for that which an incomplete request had;
 * it never shrinks, so the owner calls resp_args_free when `cap` has become more than it wants to
 * keep, whatever a call returned, and at the end. It is a buf's memory: only these functions grow
 * and free it. */
struct resp_args {
    struct slice *v;
    uint32_t count, cap;
};
void resp_args_free(struct resp_args *args);
void resp_args_push(struct resp_args *args, struct slice arg);

enum resp_status {
    RESP_REQUEST, /* `args` holds a request, *consumed bytes belong to it */
    RESP_NOTHING, /* *consumed bytes are to be skipped: "*0", "*-1", an empty inline line */
    RESP_MORE,    /* incomplete; nothing consumed */
    RESP_ERROR    /* `error` holds the text behind "-ERR Protocol error: "; close after it */
};

struct resp_partial; /* heap state: an incomplete request, or the unescaped text of the last one */
struct resp_parser {
    struct resp_partial *partial;
    /* Called before an array grows by so many bytes at once, more than RESP_GROWTH_BYTES: whoever
     * counts memory makes room. May be NULL. */
    void (*grows)(struct resp_parser *p, size_t bytes);
};

/* All zero but for `grows` is a fresh parser. Frees the partial state: it is fresh again. */
void resp_parser_reset(struct resp_parser *p);
/* Bytes held by the parser's own state. */
size_t resp_parser_bytes(const struct resp_parser *p);

/* Bytes of the incomplete request that are known to be needed, from its start; 0 = not known. */
size_t resp_parser_wants(const struct resp_parser *p);

/* The argument that the incomplete request waits for: its length and, in *at, where it begins; 0 =
 * none, or its length is not known. */
size_t resp_parser_bulk(const struct resp_parser *p, size_t *at);
/* The argument that begins at offset `at` of the request is `bytes`: neither these nor the CRLF
 * behind them are in the data that parsing goes on or begins with. They are borrowed like the data,
 * until the request is complete or the parser fresh again. One a request. */
void resp_parser_apart(struct resp_parser *p, size_t at, struct slice bytes);

/* Parses one request from data[0, len), len > 0. On RESP_REQUEST args->v borrows from `data`;
 * args->count is at least 1. `args` is overwritten. Errors are Redis 7.2's: "invalid multibulk
 * length", "unauthenticated multibulk length", "expected '$', got 'x'", "invalid bulk length",
 * "unauthenticated bulk length", "too big mbulk count string", "too big bulk count string", "too
 * big inline request", "unbalanced quotes in request"; zero-terminated, the quoted 'x' is the
 * client's byte. After an error the parser is fresh. Inline arguments with quotes or escapes are
 * unescaped into memory of the parser (partial), valid until the next call on it. */
enum resp_status resp_parse(struct resp_parser *p, const char *data, size_t len,
                            const struct resp_limits *limits, struct resp_args *args,
                            size_t *consumed, char error[RESP_ERROR_CHARS_MAX]);
#endif
