/* Reply checking; see the header. */
#include "replies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"

void replies_init(struct replies *r, const struct requests *requests) {
    *r = (struct replies){.requests = requests};
}

void replies_expect(struct replies *r, uint32_t batch, uint32_t expected, bool loading) {
    ASSERT(replies_done(r) && r->phase == REPLIES_START);
    r->batch = batch;
    r->next = 0;
    r->expected = expected;
    r->loading = loading;
}

static enum request_kind kind_of_next(const struct replies *r) {
    return r->loading ? requests_kind_of_fill(r->requests->options)
                      : requests_kind(r->requests, r->batch, r->next);
}

static void note(struct replies *r, struct reply_counts *counts, uint64_t *counter) {
    *counter += 1;
    if (!counts->first[0]) {
        snprintf(counts->first, sizeof(counts->first), "%s", r->line_len ? r->line : "wrong bytes");
    }
}

static void end_reply(struct replies *r) {
    r->next++;
    r->phase = REPLIES_START;
    r->line_len = 0;
    r->after_value = false;
}

static void begin_bulk(struct replies *r, struct reply_counts *counts, uint64_t len) {
    r->bad_value = kind_of_next(r) != REQUEST_GET || !requests_size_fits(r->requests->options, len);
    if (r->bad_value) {
        note(r, counts, &counts->wrong);
    }
    r->left = len + 2;
    r->phase = REPLIES_BULK;
}

static void end_line_resp(struct replies *r, struct reply_counts *counts) {
    enum request_kind kind = kind_of_next(r);
    if (r->line[0] == '$' && r->line[1] != '-') {
        begin_bulk(r, counts, strtoull(r->line + 1, NULL, 10));
        return;
    }
    bool status = kind == REQUEST_SET || kind == REQUEST_PING;
    bool integer = kind == REQUEST_INCR || kind == REQUEST_HSET || kind == REQUEST_DEL;
    if (r->line[0] == '-') {
        note(r, counts, &counts->errors);
    } else if (r->line[0] == '$' && kind == REQUEST_GET) {
        counts->misses++;
    } else if (r->line[0] == ':' ? !integer : !(r->line[0] == '+' && status)) {
        note(r, counts, &counts->wrong);
    }
    end_reply(r);
}

static void end_line_memcached(struct replies *r, struct reply_counts *counts) {
    enum request_kind kind = kind_of_next(r);
    if (strncmp(r->line, "VALUE ", 6) == 0 && !r->after_value) {
        begin_bulk(r, counts, strtoull(strrchr(r->line, ' ') + 1, NULL, 10));
        r->after_value = true;
        return;
    }
    bool end = strcmp(r->line, "END") == 0;
    if (end && kind == REQUEST_GET) {
        counts->misses += !r->after_value;
    } else if (kind == REQUEST_DEL && strcmp(r->line, "NOT_FOUND") == 0) {
        counts->misses++;
    } else if (strstr(r->line, "ERROR")) {
        note(r, counts, &counts->errors);
    } else if (strcmp(r->line, kind == REQUEST_SET ? "STORED" : "DELETED") != 0) {
        note(r, counts, &counts->wrong);
    }
    end_reply(r);
}

static size_t feed_line(struct replies *r, const char *bytes, size_t len,
                        struct reply_counts *counts) {
    const char *end = memchr(bytes, '\n', len);
    size_t used = end ? (size_t)(end - bytes) + 1 : len;
    size_t keep = MIN(used, (size_t)REPLIES_LINE_MAX - r->line_len);
    memcpy(r->line + r->line_len, bytes, keep);
    r->line_len += (uint32_t)keep;
    if (!end) {
        return used;
    }
    while (r->line_len > 0 &&
           (r->line[r->line_len - 1] == '\n' || r->line[r->line_len - 1] == '\r')) {
        r->line_len--;
    }
    r->line[r->line_len] = 0;
    if (r->requests->options->protocol == PROTOCOL_MEMCACHED) {
        end_line_memcached(r, counts);
    } else {
        end_line_resp(r, counts);
    }
    return used;
}

/* Compares a part of a value, `position` bytes into it, with the key's text repeated. */
static bool value_matches(const struct replies *r, uint64_t position, const char *bytes,
                          size_t len) {
    const struct options *o = r->requests->options;
    char key[OPTIONS_KEY_BYTES_MAX];
    requests_key(o, r->requests->keys[(uint64_t)r->batch * o->pipeline + r->next], key);
    for (size_t i = 0; i < len && position + i < o->value_bytes; i++) {
        if (bytes[i] != key[(position + i) % o->key_bytes]) {
            return false;
        }
    }
    return true;
}

static size_t feed_bulk(struct replies *r, const char *bytes, size_t len,
                        struct reply_counts *counts) {
    const struct options *o = r->requests->options;
    size_t used = MIN(len, r->left);
    if (o->verify && !r->bad_value &&
        !value_matches(r, o->value_bytes + 2 - r->left, bytes, used)) {
        r->bad_value = true;
        r->line_len = 0;
        note(r, counts, &counts->wrong);
    }
    r->left -= used;
    if (r->left == 0) {
        r->line_len = 0;
        r->phase = REPLIES_LINE;
        if (o->protocol == PROTOCOL_RESP) {
            end_reply(r);
        }
    }
    return used;
}

static bool has_shape(const struct reply_shape *shape, const char *bytes, size_t len) {
    if (shape->len == 0 || len < shape->head_len ||
        memcmp(bytes, shape->head, shape->head_len) != 0) {
        return false;
    }
    return shape->tail_len == 0 ||
           (len >= shape->len &&
            memcmp(bytes + shape->len - shape->tail_len, shape->tail, shape->tail_len) == 0);
}

/* The usual reply: it begins as expected, the rest is skipped. False: take the parser. */
static bool skip_expected(struct replies *r, const char *bytes, size_t len, size_t *used) {
    enum request_kind kind = kind_of_next(r);
    const struct reply_shape *shape = &r->requests->shape[kind];
    if ((kind == REQUEST_GET && r->requests->options->verify) || !has_shape(shape, bytes, len)) {
        return false;
    }
    *used = MIN(len, shape->len);
    if (*used == shape->len) {
        r->next++;
    } else {
        r->left = shape->len - *used;
        r->phase = REPLIES_SKIP;
    }
    return true;
}

uint32_t replies_feed(struct replies *r, const char *bytes, size_t len,
                      struct reply_counts *counts) {
    uint32_t before = r->next;
    while (len > 0) {
        size_t used = 0;
        if (r->phase == REPLIES_START) {
            if (replies_done(r)) {
                note(r, counts, &counts->wrong);
                break;
            }
            if (!skip_expected(r, bytes, len, &used)) {
                r->phase = REPLIES_LINE;
            }
        } else if (r->phase == REPLIES_SKIP) {
            used = MIN(len, r->left);
            r->left -= used;
            if (r->left == 0) {
                end_reply(r);
            }
        } else if (r->phase == REPLIES_LINE) {
            used = feed_line(r, bytes, len, counts);
        } else {
            used = feed_bulk(r, bytes, len, counts);
        }
        bytes += used;
        len -= used;
    }
    return r->next - before;
}
