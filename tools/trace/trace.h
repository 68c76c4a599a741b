#ifndef FOREBAY_TRACE_TRACE_H
#define FOREBAY_TRACE_TRACE_H
/* A trace of requests in memory: one line "key size" each. Read by one thread, then read-only.
 *
 * 1. Keys are numbered from 0 in the order of their first request.
 * 2. `size` is what the object takes in a cache, key and value together, and never less than its
 *    key. When no line has a size above 0, it is a unit trace: every object counts 1.
 * 3. The size of a request is that of its line. A cache keeps an object at the size of the request
 *    that stored it, as a cache-aside client would have it; a hit changes nothing.
 * 4. The footprint is what a cache without limit would hold at the end: every key at the size of
 *    its first request.
 *
 * Memory: 4 bytes a request, 4 more where a key changes its size, 4 more for Belady; 24 bytes and
 * its text a key while reading (16 after). */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "base/assert.h"
#include "base/slice.h"
#include "column.h"

enum {
    TRACE_LINE_BYTES_MAX = 64 * 1024,
    TRACE_ERROR_BYTES = 512,
    TRACE_KEYS_MAX = 1 << 30,
    TRACE_NEVER = UINT32_MAX, /* in `next` */
};
#define TRACE_REQUESTS_MAX (UINT32_MAX - 1)
#define TRACE_SIZE_MAX     UINT32_MAX

struct trace_how {
    bool unit;        /* sizes are ignored */
    bool fixed_sizes; /* a key keeps the size of its first request */
};

struct trace {
    char *name; /* for people: the path without its folder */
    bool unit;
    uint32_t requests_count, keys_count;
    uint32_t size_max, key_bytes_max;
    uint64_t footprint;       /* bytes, or objects of a unit trace */
    uint64_t requested_bytes; /* the same of all requests */
    const uint32_t *ids;      /* by request */
    const uint32_t *sizes;    /* by request; NULL where every key keeps its size */
    const uint32_t *key_sizes; /* by id, of the first request */
    const uint32_t *next; /* by request: the next one of the same key, TRACE_NEVER; trace_link */
    const uint64_t *key_offsets; /* by id, one more than there are keys */
    const char *key_bytes;
    struct column columns[6];
};

/* The footprint as memory: objects of a unit trace take `unit_bytes`, or what the longest key does. */
uint64_t trace_footprint_bytes(const struct trace *t, uint32_t unit_bytes);

/* "-" is standard input, a name ending in ".xz" goes through `xz -dc`. False with a message of at
 * most TRACE_ERROR_BYTES that names file and line. */
bool trace_read(struct trace **out, const char *path, const struct trace_how *how,
                char *error) MUST_USE;
/* Fills `next`. Before other threads use the trace. */
void trace_link(struct trace *t);
/* Takes NULL. */
void trace_destroy(struct trace *t);

static inline uint32_t trace_size(const struct trace *t, uint32_t request) {
    return t->sizes ? t->sizes[request] : t->key_sizes[t->ids[request]];
}
static inline struct slice trace_key(const struct trace *t, uint32_t id) {
    uint64_t at = t->key_offsets[id];
    return slice_of(t->key_bytes + at, t->key_offsets[id + 1] - at);
}
#endif
