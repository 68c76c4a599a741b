/* Growable arrays of whole pages; see column.h. Any thread that owns the column. */
#include "column.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { COLUMN_BYTES_MIN = 64 * 1024 };

void *column_reserve(struct column *c, size_t extra) {
    if (c->cap - c->len < extra) {
        size_t cap = c->cap ? c->cap : COLUMN_BYTES_MIN;
        while (cap - c->len < extra) {
            cap *= 2;
        }
        void *ptr = c->ptr ? mremap(c->ptr, c->cap, cap, MREMAP_MAYMOVE)
                           : mmap(NULL, cap, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (ptr == MAP_FAILED) {
            fprintf(stderr, "replay: out of memory for %zu bytes of a trace\n", cap);
            exit(2);
        }
        c->ptr = ptr;
        c->cap = cap;
    }
    return (char *)c->ptr + c->len;
}

void column_free(struct column *c) {
    if (c->ptr) {
        munmap(c->ptr, c->cap);
    }
    *c = (struct column){NULL};
}
