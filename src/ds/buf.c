#include "ds/buf.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

enum { BUF_BYTES_MIN = 64 };

void buf_free(struct buf *b) {
    mem_free(b->ptr);
    *b = (struct buf){0};
}

char *buf_reserve(struct buf *b, size_t extra) {
    if (b->cap - b->len < extra) {
        size_t need = b->len + extra, cap = b->cap ? b->cap * 2 : BUF_BYTES_MIN;
        b->cap = mem_good_size(cap > need ? cap : need);
        b->ptr = mem_realloc(b->ptr, b->cap);
    }
    return b->ptr + b->len;
}

void buf_append(struct buf *b, const void *ptr, size_t len) {
    if (len) {
        memcpy(buf_reserve(b, len), ptr, len);
        b->len += len;
    }
}

void buf_append_char(struct buf *b, char c) {
    *buf_reserve(b, 1) = c;
    b->len++;
}

void buf_printf(struct buf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    ASSERT(len >= 0);
    vsnprintf(buf_reserve(b, (size_t)len + 1), (size_t)len + 1, format, again);
    b->len += (size_t)len;
    va_end(again);
    va_end(args);
}

void buf_consume(struct buf *b, size_t count) {
    ASSERT(count <= b->len);
    b->len -= count;
    if (b->len && count) {
        memmove(b->ptr, b->ptr + count, b->len);
    }
}
