#include "engine/blob.h"

#include "base/mem.h"

static _Atomic uint64_t orphans_bytes;

struct blob *blob_create(size_t len, size_t cap) {
    size_t bytes = mem_good_size(sizeof(struct blob) + cap);
    struct blob *b = mem_alloc(bytes);
    *b = (struct blob){.refs = 1, .len = len, .cap = bytes - sizeof *b};
    return b;
}

struct blob *blob_of_buf(struct buf *from, size_t len) {
    ASSERT(from->cap >= BLOB_HEAD_BYTES + len);
    if (UNLIKELY(from->cap >= BUF_PAGES_MIN && !mem_may_keep_pages())) {
        struct blob *b = blob_create(len, len);
        memcpy(b->bytes, from->ptr + BLOB_HEAD_BYTES, len);
        buf_free(from);
        return b;
    }
    struct blob *b = (struct blob *)from->ptr;
    *b = (struct blob){.refs = 1, .was_buf = true, .len = len, .cap = from->cap - sizeof *b};
    *from = (struct buf){0};
    return b;
}

static void free_blob(struct blob *b) {
    if (b->was_buf) {
        buf_free(&(struct buf){.ptr = (char *)b, .cap = sizeof *b + b->cap});
    } else {
        mem_free(b);
    }
}

static bool is_orphan(const struct blob *b) {
    return atomic_load_explicit(&b->orphan, memory_order_relaxed);
}

static void unref(struct blob *b) {
    uint32_t before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1) {
        return;
    }
    if (is_orphan(b)) {
        atomic_fetch_sub_explicit(&orphans_bytes, blob_memory_bytes(b), memory_order_relaxed);
    }
    free_blob(b);
}

void blob_drop(struct blob *b) {
    if (blob_is_pinned(b) &&
        !b->exempt) { /* it may not be any more when this is done: unref sees to that */
        atomic_fetch_add_explicit(&orphans_bytes, blob_memory_bytes(b), memory_order_relaxed);
        atomic_store_explicit(&b->orphan, true, memory_order_relaxed);
    }
    unref(b);
}

void blob_pin(struct blob *b, bool exempt) {
    if (UNLIKELY(exempt)) {
        b->exempt = true;
    }
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}

void blob_unpin(void *blob) {
    unref(blob);
}

size_t blob_orphan_part(const void *blob) {
    const struct blob *b = blob;
    uint32_t refs = atomic_load_explicit(&b->refs, memory_order_relaxed);
    return is_orphan(b) && refs ? blob_memory_bytes(b) / refs : 0;
}

uint64_t blob_orphans_bytes(void) {
    return atomic_load_explicit(&orphans_bytes, memory_order_relaxed);
}
