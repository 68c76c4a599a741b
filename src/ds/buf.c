#include "ds/buf.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

enum { BUF_BYTES_MIN = 64 };

static bool is_pages(const struct buf *b) {
    return b->cap >= BUF_PAGES_MIN;
}

void buf_free(struct buf *b) {
    if (is_pages(b)) {
        mem_resize_pages(b->ptr, b->cap, 0);
    } else {
        mem_free(b->ptr);
    }
    *b = (struct buf){0};
}

char *buf_detach(struct buf *b) {
    char *bytes = b->ptr;
    if (is_pages(b)) {
        bytes = mem_dup(b->ptr, b->len);
        buf_free(b);
    }
    *b = (struct buf){0};
    return bytes;
}

static void to_pages(struct buf *b, size_t cap) {
    if (is_pages(b)) {
        b->ptr = mem_resize_pages(b->ptr, b->cap, cap);
        return;
    }
    char *small = b->ptr;
    b->ptr = mem_resize_pages(NULL, 0, cap);
    if (b->len) {
        memcpy(b->ptr, small, b->len);
    }
    mem_free(small);
}

/* What a buf takes that has room for so many bytes. */
static size_t cap_for(size_t bytes) {
    size_t cap = mem_good_size(bytes);
    if (cap < BUF_PAGES_MIN) {
        return cap;
    }
    size_t pages = (bytes + MEM_PAGE_BYTES - 1) & ~(size_t)(MEM_PAGE_BYTES - 1);
    return MAX(pages, (size_t)BUF_PAGES_MIN);
}

static void grow(struct buf *b, size_t cap) {
    if (cap >= BUF_PAGES_MIN) {
        to_pages(b, cap);
    } else {
        b->ptr = mem_realloc(b->ptr, cap);
    }
    b->cap = cap;
}

size_t buf_next_cap(const struct buf *b, size_t extra) {
    if (b->cap - b->len >= extra) {
        return b->cap;
    }
    size_t step = b->cap ? MIN(b->cap, (size_t)BUF_STEP_MAX) : BUF_BYTES_MIN;
    return cap_for(MAX(b->len + extra, b->cap + step));
}

char *buf_reserve_exact(struct buf *b, size_t extra) {
    if (b->cap - b->len < extra) {
        grow(b, cap_for(b->len + extra));
    }
    return b->ptr + b->len;
}

char *buf_reserve(struct buf *b, size_t extra) {
    if (b->cap - b->len < extra) {
        grow(b, buf_next_cap(b, extra));
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
