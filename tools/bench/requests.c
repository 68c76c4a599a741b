/* Formatting of requests, and the shapes of the replies to them. */
#include "requests.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/assert.h"
#include "base/mem.h"
#include "base/rng.h"
#include "zipf.h"

enum { OVERHEAD_MAX = 128 }; /* protocol bytes of a request beside keys and values */

/* Draws key numbers in the distribution asked for. */
struct draw {
    const struct options *options;
    struct zipf zipf;
    struct rng rng;
    uint64_t position;
};

static void draw_init(struct draw *d, const struct options *o, uint32_t thread) {
    *d = (struct draw){.options = o, .rng = {.state = o->seed * 7919 + thread}};
    d->position = o->keys / o->threads * thread;
    if (o->dist == DIST_ZIPF) {
        zipf_init(&d->zipf, o->keys, o->theta);
    }
}

static uint64_t draw_key(struct draw *d) {
    switch (d->options->dist) {
    case DIST_UNIFORM:
        return d->options->first_key + rng_below(&d->rng, d->options->keys);
    case DIST_ZIPF:
        return d->options->first_key + zipf_scatter(&d->zipf, zipf_next(&d->zipf, &d->rng));
    case DIST_SEQUENTIAL:
        return d->options->first_key + d->position++ % d->options->keys;
    }
    UNREACHABLE();
}

static enum request_kind draw_kind(struct draw *d) {
    const struct options *o = d->options;
    switch (o->op) {
    case OP_GET:
        return REQUEST_GET;
    case OP_SET:
    case OP_MSET:
        return REQUEST_SET;
    case OP_INCR:
        return REQUEST_INCR;
    case OP_PING:
        return REQUEST_PING;
    case OP_HSET:
        return REQUEST_HSET;
    case OP_DEL:
        return REQUEST_DEL;
    case OP_MIX:
        return (double)(rng_next(&d->rng) >> 11) * 0x1p-53 < o->read_share ? REQUEST_GET
                                                                           : REQUEST_SET;
    }
    UNREACHABLE();
}

void requests_key(const struct options *o, uint64_t number, char *out) {
    memset(out, '0', o->key_bytes);
    memcpy(out, "k:", 2);
    for (uint32_t i = o->key_bytes; number > 0; number /= 10) {
        ASSERT(i > 2);
        out[--i] = (char)('0' + number % 10);
    }
}

static char *put(char *out, const char *text) {
    size_t len = strlen(text);
    memcpy(out, text, len);
    return out + len;
}

/* "$len\r\n", then room for len bytes, then "\r\n"; returns where the bytes go. */
static char *put_bulk_head(char *out, uint32_t len) {
    return out + sprintf(out, "$%u\r\n", len);
}

static char *put_key(const struct options *o, uint64_t number, char *out) {
    out = put_bulk_head(out, o->key_bytes);
    requests_key(o, number, out);
    return put(out + o->key_bytes, "\r\n");
}

/* The size of the value of key `number`: its logarithm is even between the least and the largest.
 */
static uint32_t value_size(const struct options *o, uint64_t number) {
    if (o->value_bytes_min == o->value_bytes) {
        return o->value_bytes;
    }
    struct rng rng = {.state = number};
    double place = (double)(rng_next(&rng) >> 11) * 0x1p-53;
    double low = o->value_bytes_min, high = o->value_bytes;
    return (uint32_t)(low * pow(high / low, place));
}

/* The key's text repeated to the value's size. */
static char *put_value(const struct options *o, uint64_t number, uint32_t size, char *out) {
    char key[OPTIONS_KEY_BYTES_MAX];
    requests_key(o, number, key);
    uint32_t done = MIN(o->key_bytes, size);
    memcpy(out, key, done);
    while (done < size) { /* doubling what is there keeps the text's period */
        uint32_t part = MIN(done, size - done);
        memcpy(out + done, out, part);
        done += part;
    }
    return put(out + size, "\r\n");
}

uint32_t requests_format_set(const struct options *o, uint64_t number, char *out) {
    char *at = out;
    uint32_t size = value_size(o, number);
    if (o->protocol == PROTOCOL_MEMCACHED) {
        at = put(at, "set ");
        requests_key(o, number, at);
        at += o->key_bytes;
        at += sprintf(at, " 0 %u %u\r\n", o->ttl_s, size);
        return (uint32_t)(put_value(o, number, size, at) - out);
    }
    at = put(at, o->ttl_s ? "*5\r\n$3\r\nSET\r\n" : "*3\r\n$3\r\nSET\r\n");
    at = put_key(o, number, at);
    at = put_value(o, number, size, put_bulk_head(at, size));
    if (o->ttl_s) {
        char digits[16];
        int len = sprintf(digits, "%u", o->ttl_s);
        at += sprintf(at, "$2\r\nEX\r\n$%d\r\n%s\r\n", len, digits);
    }
    return (uint32_t)(at - out);
}

static uint32_t format_mset(struct draw *d, char *out) {
    const struct options *o = d->options;
    char *at = out + sprintf(out, "*%d\r\n$4\r\nMSET\r\n", 1 + 2 * OPTIONS_MSET_KEYS);
    for (int i = 0; i < OPTIONS_MSET_KEYS; i++) {
        uint64_t number = draw_key(d);
        uint32_t size = value_size(o, number);
        at = put_key(o, number, at);
        at = put_value(o, number, size, put_bulk_head(at, size));
    }
    return (uint32_t)(at - out);
}

/* HSET of `fields` fields "f000000" and on, each value's size by its own number. */
static uint32_t format_hset(const struct options *o, uint64_t number, char *out) {
    char *at = out + sprintf(out, "*%u\r\n$4\r\nHSET\r\n", 2 + 2 * o->fields);
    at = put_key(o, number, at);
    for (uint32_t i = 0; i < o->fields; i++) {
        uint32_t size = value_size(o, number * o->fields + i);
        at += sprintf(at, "$7\r\nf%06u\r\n", i);
        at = put_value(o, number, size, put_bulk_head(at, size));
    }
    return (uint32_t)(at - out);
}

static uint32_t format_del(const struct options *o, uint64_t number, char *out) {
    char *at = out;
    if (o->protocol == PROTOCOL_MEMCACHED) {
        at = put(at, "delete ");
        requests_key(o, number, at);
        return (uint32_t)(put(at + o->key_bytes, "\r\n") - out);
    }
    return (uint32_t)(put_key(o, number, put(at, "*2\r\n$3\r\nDEL\r\n")) - out);
}

enum request_kind requests_kind_of_fill(const struct options *o) {
    return o->op == OP_HSET ? REQUEST_HSET : o->op == OP_DEL ? REQUEST_DEL : REQUEST_SET;
}

uint32_t requests_format_fill(const struct options *o, uint64_t number, char *out) {
    switch (requests_kind_of_fill(o)) {
    case REQUEST_HSET:
        return format_hset(o, number, out);
    case REQUEST_DEL:
        return format_del(o, number, out);
    default:
        return requests_format_set(o, number, out);
    }
}

static uint32_t format_by_key(const struct options *o, enum request_kind kind, uint64_t number,
                              char *out) {
    char *at = out;
    if (o->protocol == PROTOCOL_MEMCACHED) {
        at = put(at, "get ");
        requests_key(o, number, at);
        return (uint32_t)(put(at + o->key_bytes, "\r\n") - out);
    }
    at = put(at, kind == REQUEST_GET ? "*2\r\n$3\r\nGET\r\n" : "*2\r\n$4\r\nINCR\r\n");
    at = put_key(o, number, at);
    if (kind == REQUEST_INCR) { /* "i:...": the plain key may hold a value that is no number */
        at[-(int)o->key_bytes - 2] = 'i';
    }
    return (uint32_t)(at - out);
}

uint32_t requests_size_max(const struct options *o) {
    uint32_t one = OVERHEAD_MAX + o->key_bytes + o->value_bytes;
    uint32_t values = o->op == OP_HSET ? o->fields : o->op == OP_MSET ? OPTIONS_MSET_KEYS : 1;
    return values * one;
}

static struct reply_shape shape_make(uint32_t len, const char *head, const char *tail) {
    struct reply_shape shape = {.len = len};
    shape.head_len = (uint32_t)MIN(strlen(head), sizeof(shape.head));
    shape.tail_len = (uint32_t)strlen(tail);
    memcpy(shape.head, head, shape.head_len);
    memcpy(shape.tail, tail, shape.tail_len);
    return shape;
}

static void init_shapes(struct requests *r, const struct options *o) {
    char text[64];
    bool one_size = o->value_bytes_min == o->value_bytes; /* else replies take the parser */
    if (o->protocol == PROTOCOL_MEMCACHED) {
        int len = snprintf(text, sizeof(text), "VALUE  0 %u\r\n\r\nEND\r\n", o->value_bytes);
        if (one_size) {
            r->shape[REQUEST_GET] =
                shape_make((uint32_t)len + o->key_bytes + o->value_bytes, "VALUE ", "\r\nEND\r\n");
        }
        r->shape[REQUEST_SET] = shape_make((uint32_t)strlen("STORED\r\n"), "STORED\r\n", "");
        return;
    }
    int len = snprintf(text, sizeof(text), "$%u\r\n", o->value_bytes);
    if (one_size) {
        r->shape[REQUEST_GET] = shape_make((uint32_t)len + o->value_bytes + 2, text, "");
    }
    r->shape[REQUEST_SET] = shape_make((uint32_t)strlen("+OK\r\n"), "+OK\r\n", "");
    r->shape[REQUEST_PING] = shape_make((uint32_t)strlen("+PONG\r\n"), "+PONG\r\n", "");
}

/* Batches that fit the arena, and no more than make a difference. */
static uint32_t count_batches(const struct options *o, uint64_t *arena_bytes) {
    enum { REQUESTS_MAX = 1 << 20 };
    uint64_t batch_max = (uint64_t)requests_size_max(o) * o->pipeline;
    uint64_t shortest = o->op == OP_GET || o->op == OP_INCR || o->op == OP_PING
                            ? (uint64_t)(OVERHEAD_MAX + o->key_bytes) * o->pipeline
                            : batch_max;
    uint64_t limit = (uint64_t)o->arena_mb << 20;
    uint64_t count = MIN(limit / shortest, (uint64_t)REQUESTS_MAX / o->pipeline);
    count = o->fill ? 1 : MAX(count, 4); /* a fill formats as it goes */
    *arena_bytes = count * shortest;
    ASSERT(*arena_bytes < UINT32_MAX);
    return (uint32_t)count;
}

void requests_init(struct requests *r, const struct options *o, uint32_t thread) {
    *r = (struct requests){.options = o};
    init_shapes(r, o);
    uint64_t arena_bytes;
    r->batch_count = count_batches(o, &arena_bytes);
    r->arena = mem_alloc(arena_bytes);
    r->batches = mem_alloc(sizeof(*r->batches) * r->batch_count);
    uint64_t request_count = (uint64_t)r->batch_count * o->pipeline;
    r->kinds = o->op == OP_MIX ? mem_alloc(request_count) : NULL;
    r->keys = o->verify ? mem_alloc(request_count * sizeof(*r->keys)) : NULL;
    struct draw draw;
    draw_init(&draw, o, thread);
    uint32_t at = 0;
    for (uint64_t i = 0; i < request_count; i++) {
        struct batch *batch = &r->batches[i / o->pipeline];
        if (i % o->pipeline == 0) {
            batch->offset = at;
        }
        enum request_kind kind = draw_kind(&draw);
        uint64_t number = draw_key(&draw);
        if (kind == REQUEST_PING) {
            at += (uint32_t)sprintf(r->arena + at, "*1\r\n$4\r\nPING\r\n");
        } else if (o->op == OP_MSET) {
            at += format_mset(&draw, r->arena + at);
        } else if (kind == REQUEST_SET) {
            at += requests_format_set(o, number, r->arena + at);
        } else if (kind == REQUEST_HSET || kind == REQUEST_DEL) {
            at += requests_format_fill(o, number, r->arena + at);
        } else {
            at += format_by_key(o, kind, number, r->arena + at);
        }
        ASSERT(at <= arena_bytes);
        batch->len = at - batch->offset;
        if (r->kinds) {
            r->kinds[i] = (uint8_t)kind;
        }
        if (r->keys) {
            r->keys[i] = (uint32_t)number;
        }
    }
}

void requests_deinit(struct requests *r) {
    mem_free(r->arena);
    mem_free(r->batches);
    mem_free(r->kinds);
    mem_free(r->keys);
    *r = (struct requests){0};
}

const struct batch *requests_take(struct requests *r, uint32_t *out_index) {
    uint32_t index = r->next;
    r->next = index + 1 == r->batch_count ? 0 : index + 1;
    *out_index = index;
    return &r->batches[index];
}

enum request_kind requests_kind(const struct requests *r, uint32_t index, uint32_t i) {
    if (r->kinds) {
        return (enum request_kind)r->kinds[(uint64_t)index * r->options->pipeline + i];
    }
    switch (r->options->op) {
    case OP_GET:
        return REQUEST_GET;
    case OP_INCR:
        return REQUEST_INCR;
    case OP_PING:
        return REQUEST_PING;
    case OP_HSET:
        return REQUEST_HSET;
    case OP_DEL:
        return REQUEST_DEL;
    case OP_SET:
    case OP_MSET:
    case OP_MIX:
        return REQUEST_SET;
    }
    UNREACHABLE();
}
