#ifndef FOREBAY_ENGINE_DEFRAG_H
#define FOREBAY_ENGINE_DEFRAG_H
/* A step of moving values out of the allocator's sparse slabs: what it may look at, what it has
 * done. Passed down from part_defrag.c to the values; the lock of their partition is held. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/mem.h"

struct defrag {
    bool always;           /* for tests: everything is moved, whatever the allocator says */
    uint32_t looked, most; /* entries and allocations; the step ends at `most` */
    uint32_t moved, kept;  /* allocations */
};

static inline bool defrag_is_spent(const struct defrag *d) {
    return d->looked >= d->most;
}

/* Where the `size_bytes` at `ptr` are now; `align` as in mem_move. */
static inline void *defrag_move(struct defrag *d, void *ptr, size_t size_bytes, size_t align) {
    void *to = d->always || mem_is_sparse(ptr) ? mem_move(ptr, size_bytes, align) : ptr;
    d->looked++;
    d->moved += to != ptr;
    d->kept += to == ptr;
    return to;
}
#endif
