#ifndef FOREBAY_ENGINE_BLOB_H
#define FOREBAY_ENGINE_BLOB_H
/* A large string value: an allocation of its own, which replies are sent from without a copy.
 *
 *     its entry has it --blob_drop--> nobody, or only replies: an orphan --the last blob_unpin-->
 * gone blob_pin: replies being sent
 *
 * 1. It has one owner, an entry or whoever made it, which alone pins and drops it; one thread at a
 *    time does. Any thread unpins.
 * 2. Its bytes are changed only while nobody pins it, by who may pin it.
 * 3. An orphan is memory of those that pin it: no key goes for it any more, each reply has an equal
 *    part of it. What all orphans take is known at any time, but for those that somebody pinned
 *    who is exempt from that. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "ds/buf.h"

struct blob {
    _Atomic uint32_t refs; /* the owner's and the pins */
    _Atomic bool orphan;   /* and counted */
    bool exempt;           /* when it is an orphan */
    bool was_buf;          /* its memory is a buf's */
    size_t len, cap;       /* bytes */
    char bytes[];
};

/* Room for `cap` bytes, `len` of them in use and not set. The caller owns it. */
struct blob *blob_create(size_t len, size_t cap);
/* Of what lies in `b`, which is empty then: the blob's own fields go to the first BLOB_HEAD_BYTES,
 * the value is the `len` bytes behind them. */
enum { BLOB_HEAD_BYTES = sizeof(struct blob) };
struct blob *blob_of_buf(struct buf *b, size_t len);
/* The owner is done with it. */
void blob_drop(struct blob *b);
void blob_pin(struct blob *b, bool exempt);
/* Fits chain_append_pinned. */
void blob_unpin(void *blob);
static inline bool blob_is_pinned(const struct blob *b) {
    return atomic_load_explicit(&b->refs, memory_order_acquire) > 1;
}
/* All of its memory. */
static inline size_t blob_memory_bytes(const struct blob *b) {
    return sizeof *b + b->cap;
}
/* Of one that the caller has pinned: what of it is the pin's, 0 while it has an owner. */
size_t blob_orphan_part(const void *blob);
/* Of all orphans of the process. */
uint64_t blob_orphans_bytes(void);
#endif
