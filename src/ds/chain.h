#ifndef FOREBAY_DS_CHAIN_H
#define FOREBAY_DS_CHAIN_H
/* A client's output: a queue of chunks, written at the tail and sent from the head. Chunks come
 * from a pool of the thread and go back as soon as they are sent, so an idle client holds none.
 * Large values are not copied: they are pinned and sent from where they lie.
 *
 *     head                      tail
 *     [sent|unsent] -> [pinned] -> [unsent|room]
 *
 * 1. Bytes never move once written: what is being sent stays valid while more is appended.
 * 2. len_bytes is what was written and not consumed. pinned_bytes is the length of the pinned
 *    chunks, kept_bytes the memory that stays for them: both whole until a chunk's last byte is
 *    consumed. That memory may be others' as well, and stay for several chunks.
 * 3. Under a limit what would go beyond is counted and not kept: memory is bounded, and it is known
 *    how much would have been needed. Such a chain is good for chain_rewind or chain_clear only. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/assert.h"
#include "base/slice.h"

enum {
    CHUNK_BYTES = 16 * 1024 - 64, /* room in a chunk */
    CHUNK_SMALL_BYTES = 72,       /* in one between pinned ones: end of a value, head of the next */
    CHUNK_POOL_FREE_MAX = 256,    /* chunks kept for reuse a thread */
    CHAIN_LIMIT_MIN = 4 * CHUNK_BYTES,
    PINNED_BYTES = 192, /* of memory that a pinned value takes of the chain, about */
};

struct chunk {
    struct chunk *next;
    char *data;                 /* `room`, or the pinned bytes */
    size_t len, cap;            /* bytes written, and room for them; equal when pinned */
    void (*release)(void *arg); /* set: `data` is pinned */
    void *arg;
    size_t keeps_bytes; /* that the pin does */
    char room[];
};

/* One a thread. All zero is an empty pool. */
struct chunk_pool {
    struct chunk *free;
    unsigned free_count;
};

struct chain {
    struct chunk *head, *tail;
    size_t head_sent; /* bytes of the head already consumed */
    size_t len_bytes, pinned_bytes, kept_bytes;
    size_t pinned_count;
    size_t limit_bytes;   /* of chain_own_bytes, about; 0 = none; see chain_limit */
    struct chunk *keep;   /* the tail when the limit was set: not written over */
    size_t dropped_bytes; /* since it was reached */
    struct chunk_pool *pool;
};

struct chain_mark {
    struct chunk *tail;
    size_t tail_len, len_bytes, dropped_bytes;
};

/* Unsent bytes that the chain itself holds, and what it takes to hold pinned ones. */
static inline size_t chain_own_bytes(const struct chain *c) {
    size_t pinned = c->pinned_bytes;
    if (pinned && c->head->release) {
        pinned -= c->head_sent;
    }
    return c->len_bytes - pinned + c->pinned_count * PINNED_BYTES;
}
/* Sets the limit, 0 = none. What there is stays valid for chain_rewind. */
static inline void chain_limit(struct chain *c, size_t limit_bytes) {
    c->limit_bytes = limit_bytes;
    c->keep = c->dropped_bytes ? NULL : c->tail;
}

/* Where the limit is reached what follows is counted, however little is appended until it is set
 * anew. Some chunks must have been added since it was set first. The tail may be overwritten from
 * then on, so chain_rewind does not go to a mark that was made between chain_limit and this. */
static inline void chain_drop_at_limit(struct chain *c) {
    if (UNLIKELY(c->limit_bytes != 0) && !c->dropped_bytes &&
        chain_own_bytes(c) >= c->limit_bytes) {
        c->dropped_bytes = 1;
        c->keep = NULL;
    }
}

void chunk_pool_free(struct chunk_pool *pool);

static inline void chain_init(struct chain *c, struct chunk_pool *pool) {
    *c = (struct chain){.pool = pool};
}
/* An empty one whose bytes are to be moved to `to`: with what is left of its limit. */
static inline void chain_init_for(struct chain *c, const struct chain *to) {
    chain_init(c, to->pool);
    if (to->limit_bytes) {
        size_t own = chain_own_bytes(to);
        c->limit_bytes = MAX(to->limit_bytes > own ? to->limit_bytes - own : 0,
                             (size_t)CHAIN_LIMIT_MIN);
    }
}
/* Drops everything, releasing pins. Not while a send is under way. */
void chain_clear(struct chain *c);
/* A new tail with room for `len` bytes (at most CHUNK_BYTES). */
void chain_add_chunk(struct chain *c, size_t len);

/* Room for `len` (at most CHUNK_BYTES) contiguous bytes at the tail; chain_commit says how many of
 * them were written. */
static inline char *chain_reserve(struct chain *c, size_t len) {
    if (UNLIKELY(!c->tail || c->tail->cap - c->tail->len < len)) {
        ASSERT(len <= CHUNK_BYTES);
        chain_add_chunk(c, len);
    }
    return c->tail->room + c->tail->len;
}
static inline void chain_commit(struct chain *c, size_t len) {
    c->tail->len += len;
    c->len_bytes += len;
}
/* Copies any number of bytes. */
void chain_append(struct chain *c, const void *ptr, size_t len);
/* Sends `s` from where it lies, in memory of `keeps_bytes` that stays until release(arg) is called:
 * once it is consumed or dropped, at once when `s` is empty. */
void chain_append_pinned(struct chain *c, struct slice s, size_t keeps_bytes,
                         void (*release)(void *arg), void *arg);
/* The sum of `bytes_of` over the pins' args; beyond CHAIN_LOOKS_MAX chunks in proportion to what
 * they keep. */
enum { CHAIN_LOOKS_MAX = 1024 };
size_t chain_sum_pins(const struct chain *c, size_t (*bytes_of)(const void *arg));

/* Remembers the end and cuts back to it: takes back what was appended since. Nothing may be
 * consumed in between: the chunk of the mark goes with its last byte. Behind the limit there is no
 * going back: the bytes stay dropped. */
static inline struct chain_mark chain_mark(const struct chain *c) {
    return (struct chain_mark){c->tail, c->tail ? c->tail->len : 0, c->len_bytes, c->dropped_bytes};
}
void chain_rewind(struct chain *c, struct chain_mark mark);

/* Fills `iov` with what is to be sent, from the head; returns how many entries were used. */
int chain_iov(const struct chain *c, struct iovec *iov, int iov_max);
/* Drops `len` bytes from the head: they were sent. */
void chain_consume(struct chain *c, size_t len);
/* Moves everything of `from` to the end of `to`; both of one pool, nothing consumed of `from`. What
 * fits behind the tail of `to` is copied there, so that short lists don't take a chunk each. Where
 * `to` has reached its limit it is counted there and dropped. */
void chain_move(struct chain *to, struct chain *from);
#endif
