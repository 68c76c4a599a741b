#ifndef FOREBAY_BENCH_REPLIES_H
#define FOREBAY_BENCH_REPLIES_H
/* Counts and checks the replies on one connection. A reply whose first bytes are the expected ones
 * is skipped by its known length; anything else (an error, a miss, a value of another size, a reply
 * cut by the end of a chunk) takes the exact parser, which always finds the reply's end, so that a
 * failure never shifts what follows.
 *
 * Limit: a status or error line is read whole and its first REPLIES_LINE_MAX bytes kept. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "requests.h"

enum { REPLIES_LINE_MAX = 127 };

struct reply_counts {
    uint64_t errors, misses;
    uint64_t wrong;                   /* another type, size or bytes than expected */
    char first[REPLIES_LINE_MAX + 1]; /* of the errors and wrong replies */
};

enum replies_phase { REPLIES_START, REPLIES_SKIP, REPLIES_LINE, REPLIES_BULK };

struct replies {
    const struct requests *requests;
    uint32_t batch, next, expected; /* which batch, replies seen and awaited of it */
    bool loading;                   /* the batch is SETs outside the ring */
    enum replies_phase phase;
    bool after_value; /* memcached: the END line is awaited */
    bool bad_value;
    uint32_t line_len;
    uint64_t left; /* bytes still to skip, or of the bulk and its line end */
    char line[REPLIES_LINE_MAX + 1];
};

void replies_init(struct replies *r, const struct requests *requests);
/* A batch was sent: `expected` replies are awaited. The one before must have ended. */
void replies_expect(struct replies *r, uint32_t batch, uint32_t expected, bool loading);
static inline bool replies_done(const struct replies *r) {
    return r->next == r->expected;
}
/* Takes `len` received bytes; returns how many replies ended in them. Bytes beyond the awaited
 * replies count as wrong. */
uint32_t replies_feed(struct replies *r, const char *bytes, size_t len,
                      struct reply_counts *counts);
#endif
