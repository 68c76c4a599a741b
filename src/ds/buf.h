#ifndef FOREBAY_DS_BUF_H
#define FOREBAY_DS_BUF_H
/* A growable run of bytes, owned. All zero is an empty buf. Grows by doubling; from BUF_PAGES_MIN
 * on without copying and by BUF_STEP_MAX a time, and then its memory is not the allocator's. */
#include <stdarg.h>
#include "base/slice.h"

struct buf {
    char *ptr;
    size_t len, cap; /* bytes */
};

enum {
    BUF_PAGES_MIN = 2 << 20, /* bytes; a smaller `cap` lies in the allocator */
    BUF_STEP_MAX = 8 << 20,
};

void buf_free(struct buf *b); /* leaves it empty */
/* Its bytes, for mem_free; NULL when there are none. Leaves it empty. */
char *buf_detach(struct buf *b);
/* Room for `extra` more bytes behind len; returns where they go. */
char *buf_reserve(struct buf *b, size_t extra);
/* `cap` after that. */
size_t buf_next_cap(const struct buf *b, size_t extra);
/* The same without doubling: for who knows how much will come. */
char *buf_reserve_exact(struct buf *b, size_t extra);
void buf_append(struct buf *b, const void *ptr, size_t len);
static inline void buf_append_slice(struct buf *b, struct slice s) {
    buf_append(b, s.ptr, s.len);
}
void buf_append_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));
/* Drops the first `count` bytes, moving the rest down. */
void buf_consume(struct buf *b, size_t count);
static inline struct slice buf_slice(const struct buf *b) {
    return slice_of(b->ptr, b->len);
}
#endif
