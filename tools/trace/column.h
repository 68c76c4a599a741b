#ifndef FOREBAY_TRACE_COLUMN_H
#define FOREBAY_TRACE_COLUMN_H
/* A long array that grows in place: pages straight from the kernel, so that growth copies nothing,
 * never holds the old and the new one together, and is no part of the allocator's account (the
 * engine's memory budget is measured there). All zero is an empty column. Owned by its holder. */
#include <stddef.h>
#include <stdint.h>

struct column {
    void *ptr;
    size_t len, cap; /* bytes */
};

/* Room for `extra` more bytes behind len; returns where they go. Ends the process when memory is
 * out. New pages are zero. */
void *column_reserve(struct column *c, size_t extra);
static inline void column_append_u32(struct column *c, uint32_t value) {
    uint32_t *at = c->cap - c->len >= sizeof value ? (void *)((char *)c->ptr + c->len)
                                                   : column_reserve(c, sizeof value);
    *at = value;
    c->len += sizeof value;
}
/* Leaves it empty. */
void column_free(struct column *c);
#endif
