/* Fuzz target of the request parser. An input is three bytes of choices and then what a client
 * sends:
 *
 *     [limits][seed of the splits, 2 bytes][stream ...]
 *
 * 1. No byte outside the ones at hand is read: each call gets a block of exactly its length, at
 *    another address than the call before (for AddressSanitizer).
 * 2. The stream whole, byte by byte and in pieces gives the same requests and the same error.
 * 3. consumed is within the bytes given, and nothing is consumed without a result.
 * 4. Errors are from the known list, and the state held stays in proportion to the bytes received.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/rng.h"
#include "ds/buf.h"
#include "fuzz.h"
#include "resp/parser.h"

enum { CHOICE_BYTES = 3, STREAM_BYTES_MAX = 1 << 16, STATE_SPARE_BYTES = 4096 };

static void check_error(const char *error) {
    static const char *const known[] = {
        "invalid multibulk length",   "unauthenticated multibulk length",
        "invalid bulk length",        "unauthenticated bulk length",
        "too big mbulk count string", "too big bulk count string",
        "too big inline request",     "unbalanced quotes in request",
    };
    bool found = strncmp(error, "expected '$', got '", 19) == 0;
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        found |= strcmp(error, known[i]) == 0;
    }
    ASSERT(found);
}

/* Events are only compared, so numbers go in as they lie in memory: printing took the most time. */
static void note(struct buf *events, enum resp_status status, size_t consumed,
                 const struct resp_args *args, const char *error) {
    buf_append_char(events, (char)status);
    if (status == RESP_ERROR) {
        check_error(error);
        buf_append(events, error, strlen(error));
        return;
    }
    buf_append(events, &consumed, sizeof consumed);
    for (uint32_t i = 0; status == RESP_REQUEST && i < args->count; i++) {
        buf_append(events, &args->v[i].len, sizeof args->v[i].len);
        buf_append_slice(events, args->v[i]);
    }
}

/* Gives the parser `stream` in pieces: 0 = all of it, else up to `piece_max` bytes more a call. */
static void run(struct slice stream, const struct resp_limits *limits, size_t piece_max,
                struct rng *rng, struct buf *events) {
    struct resp_parser parser = {0};
    struct resp_args args = {0};
    char error[RESP_ERROR_CHARS_MAX];
    size_t start = 0, seen = piece_max ? 0 : stream.len;
    enum resp_status status = RESP_MORE;
    while (status != RESP_ERROR) {
        if (piece_max && (status == RESP_MORE || start == seen)) {
            seen += 1 + rng_below(rng, piece_max);
            seen = MIN(seen, stream.len);
        }
        if (start == seen) {
            break;
        }
        size_t len = seen - start, consumed;
        char *block = malloc(len);
        memcpy(block, stream.ptr + start, len);
        status = resp_parse(&parser, block, len, limits, &args, &consumed, error);
        ASSERT(consumed <= len);
        ASSERT((consumed > 0) == (status == RESP_REQUEST || status == RESP_NOTHING));
        ASSERT(status != RESP_REQUEST || args.count > 0);
        ASSERT(resp_parser_bytes(&parser) <= 16 * len + STATE_SPARE_BYTES);
        if (status != RESP_MORE) {
            note(events, status, consumed, &args, error);
        }
        free(block);
        start += consumed;
        if (status == RESP_MORE && seen == stream.len) {
            break;
        }
    }
    resp_parser_reset(&parser);
    ASSERT(resp_parser_bytes(&parser) == 0);
    resp_args_free(&args);
}

static struct resp_limits choose_limits(unsigned choice) {
    struct resp_limits limits = {
        .bulk_bytes_max = 512u << 20, .inline_bytes_max = 64 * 1024, .args_max = INT32_MAX};
    if (choice & 1) {
        limits.args_max = 10;
        limits.unauthenticated_bulk_bytes_max = 64;
    }
    if (choice & 2) {
        limits.inline_bytes_max = 24;
    }
    if (choice & 4) {
        limits.bulk_bytes_max = 256;
    }
    return limits;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < CHOICE_BYTES || size > STREAM_BYTES_MAX) {
        return 0;
    }
    struct resp_limits limits = choose_limits(data[0]);
    struct rng rng = {.state = (uint64_t)data[1] << 8 | data[2]};
    struct slice stream = slice_of(data + CHOICE_BYTES, size - CHOICE_BYTES);
    struct buf whole = {0}, split = {0};
    run(stream, &limits, 0, NULL, &whole);
    const size_t piece_max[] = {1, 7, 64, 1000};
    for (size_t i = 0; i < ARRAY_COUNT(piece_max); i++) {
        if (stream.len / piece_max[i] > 2048) {
            continue; /* copying the rest at each call would take too long */
        }
        split.len = 0;
        run(stream, &limits, piece_max[i], &rng, &split);
        ASSERT(slice_eq(buf_slice(&whole), buf_slice(&split)));
    }
    buf_free(&whole);
    buf_free(&split);
    return 0;
}
