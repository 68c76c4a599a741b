#ifndef FOREBAY_BENCH_REQUESTS_H
#define FOREBAY_BENCH_REQUESTS_H
/* Requests ready to be sent. A thread formats a ring of batches before the clock runs and sends
 * each from where it lies; for loading all keys a batch is formatted when it is due.
 *
 * The key of number n is "k:" and n in decimal, filled with zeros to the key size. The value is the
 * key's text repeated, so that a reply can be checked without a copy of what was stored. */
#include <stdint.h>
#include "options.h"

enum request_kind {
    REQUEST_GET,
    REQUEST_SET,
    REQUEST_INCR,
    REQUEST_PING,
    REQUEST_HSET,
    REQUEST_DEL,
    REQUEST_KINDS
};

/* What a good reply to one kind of request looks like. */
struct reply_shape {
    uint32_t len; /* bytes; 0: not known beforehand */
    uint32_t head_len, tail_len;
    char head[8]; /* its first bytes; they tell the size, or else the tail must fit too */
    char tail[8];
};

/* `pipeline` consecutive requests in the arena. */
struct batch {
    uint32_t offset, len; /* bytes */
};

struct requests {
    const struct options *options;
    struct reply_shape shape[REQUEST_KINDS];
    char *arena;
    struct batch *batches;
    uint8_t *kinds; /* enum request_kind of every request, for OP_MIX only */
    uint32_t *keys; /* key number of every request, for --verify only */
    uint32_t batch_count, next;
};

/* Upper bound of the bytes of one request. */
uint32_t requests_size_max(const struct options *o);
/* Formats the ring; `thread` chooses its part of the random sequence. */
void requests_init(struct requests *r, const struct options *o, uint32_t thread);
void requests_deinit(struct requests *r);
/* Writes the key's `key_bytes` bytes. */
void requests_key(const struct options *o, uint64_t number, char *out);
/* Formats one SET of key `number`; returns its length. */
uint32_t requests_format_set(const struct options *o, uint64_t number, char *out);
/* The same for what a fill does to each key, and what kind of request that is. */
uint32_t requests_format_fill(const struct options *o, uint64_t number, char *out);
enum request_kind requests_kind_of_fill(const struct options *o);
/* Whether a value may have this size. */
static inline bool requests_size_fits(const struct options *o, uint64_t size_bytes) {
    return size_bytes >= o->value_bytes_min && size_bytes <= o->value_bytes;
}
/* The next batch of the ring; its index in *out_index. */
const struct batch *requests_take(struct requests *r, uint32_t *out_index);
/* Kind of request `i` of batch `index`. */
enum request_kind requests_kind(const struct requests *r, uint32_t index, uint32_t i);
#endif
