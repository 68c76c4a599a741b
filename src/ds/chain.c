#include "ds/chain.h"

#include "base/mem.h"

static void chunk_drop(struct chain *c, struct chunk *chunk) {
    struct chunk_pool *pool = c->pool;
    if (chunk->release) {
        c->pinned_bytes -= chunk->len;
        c->kept_bytes -= chunk->keeps_bytes;
        c->pinned_count--;
        chunk->release(chunk->arg);
        mem_free(chunk);
    } else if (chunk->cap == CHUNK_BYTES && pool->free_count < CHUNK_POOL_FREE_MAX) {
        chunk->next = pool->free;
        pool->free = chunk;
        pool->free_count++;
    } else {
        mem_free(chunk);
    }
}

void chunk_pool_free(struct chunk_pool *pool) {
    while (pool->free) {
        struct chunk *chunk = pool->free;
        pool->free = chunk->next;
        mem_free(chunk);
    }
    pool->free_count = 0;
}

static void link_tail(struct chain *c, struct chunk *chunk) {
    chunk->next = NULL;
    if (c->tail) {
        c->tail->next = chunk;
    } else {
        c->head = chunk;
        c->head_sent = 0;
    }
    c->tail = chunk;
}

static bool is_at_limit(const struct chain *c) {
    return UNLIKELY(c->limit_bytes != 0) && chain_own_bytes(c) >= c->limit_bytes;
}

/* At the limit: the tail is written over. It was added since the limit was set, so it is neither
 * being sent nor one that chain_rewind goes back to. */
static bool drop_tail(struct chain *c) {
    struct chunk *tail = c->tail;
    if (!tail || tail == c->keep || tail->release || tail->cap < CHUNK_BYTES) {
        return false;
    }
    c->dropped_bytes += tail->len;
    c->len_bytes -= tail->len;
    tail->len = 0;
    return true;
}

static struct chunk *take_chunk(struct chunk_pool *pool) {
    struct chunk *chunk = pool->free;
    if (chunk) {
        pool->free = chunk->next;
        pool->free_count--;
        return chunk;
    }
    return mem_alloc(sizeof *chunk + CHUNK_BYTES);
}

void chain_add_chunk(struct chain *c, size_t len) {
    if (is_at_limit(c) && drop_tail(c)) {
        return;
    }
    bool small = c->tail && c->tail->release && len <= CHUNK_SMALL_BYTES;
    struct chunk *chunk =
        small ? mem_alloc(sizeof *chunk + CHUNK_SMALL_BYTES) : take_chunk(c->pool);
    chunk->data = chunk->room;
    chunk->len = 0;
    chunk->cap = small ? CHUNK_SMALL_BYTES : CHUNK_BYTES;
    chunk->release = NULL;
    link_tail(c, chunk);
}

void chain_clear(struct chain *c) {
    while (c->head) {
        struct chunk *chunk = c->head;
        c->head = chunk->next;
        chunk_drop(c, chunk);
    }
    c->tail = NULL;
    c->head_sent = c->len_bytes = c->dropped_bytes = 0;
}

void chain_append(struct chain *c, const void *ptr, size_t len) {
    const char *from = ptr;
    while (len) {
        if (!c->tail || c->tail->len == c->tail->cap) {
            chain_add_chunk(c, MIN(len, (size_t)CHUNK_BYTES));
        }
        size_t step = c->tail->cap - c->tail->len;
        step = step < len ? step : len;
        memcpy(c->tail->room + c->tail->len, from, step);
        chain_commit(c, step);
        from += step;
        len -= step;
    }
}

void chain_append_pinned(struct chain *c, struct slice s, size_t keeps_bytes,
                         void (*release)(void *arg), void *arg) {
    ASSERT(release);
    if (s.len == 0 || is_at_limit(c)) { /* nothing would ever be sent of it */
        c->dropped_bytes += s.len ? PINNED_BYTES : 0;
        release(arg);
        return;
    }
    struct chunk *chunk = mem_alloc(sizeof *chunk);
    *chunk = (struct chunk){.data = (char *)s.ptr,
                            .len = s.len,
                            .cap = s.len,
                            .release = release,
                            .arg = arg,
                            .keeps_bytes = keeps_bytes};
    link_tail(c, chunk);
    c->len_bytes += s.len;
    c->pinned_bytes += s.len;
    c->kept_bytes += keeps_bytes;
    c->pinned_count++;
}

size_t chain_sum_pins(const struct chain *c, size_t (*bytes_of)(const void *arg)) {
    size_t sum = 0, looked_bytes = 0;
    uint32_t looks = 0;
    const struct chunk *chunk = c->pinned_count ? c->head : NULL;
    for (; chunk && looks < CHAIN_LOOKS_MAX; chunk = chunk->next, looks++) {
        if (chunk->release) {
            sum += bytes_of(chunk->arg);
            looked_bytes += chunk->keeps_bytes;
        }
    }
    double part = chunk && looked_bytes ? (double)c->kept_bytes / (double)looked_bytes : 1;
    return (size_t)((double)sum * part);
}

void chain_rewind(struct chain *c, struct chain_mark mark) {
    if (mark.dropped_bytes) {
        return;
    }
    ASSERT(c->len_bytes >= mark.len_bytes);
    struct chunk *chunk = mark.tail ? mark.tail->next : c->head;
    if (mark.tail) {
        mark.tail->next = NULL;
        mark.tail->len = mark.tail_len;
    } else {
        c->head = NULL;
        c->head_sent = 0;
    }
    c->tail = mark.tail;
    c->len_bytes = mark.len_bytes;
    c->dropped_bytes = 0;
    while (chunk) {
        struct chunk *next = chunk->next;
        chunk_drop(c, chunk);
        chunk = next;
    }
}

int chain_iov(const struct chain *c, struct iovec *iov, int iov_max) {
    int count = 0;
    size_t skip = c->head_sent;
    for (struct chunk *chunk = c->head; chunk && count < iov_max; chunk = chunk->next) {
        if (chunk->len > skip) {
            iov[count++] = (struct iovec){chunk->data + skip, chunk->len - skip};
        }
        skip = 0;
    }
    return count;
}

void chain_consume(struct chain *c, size_t len) {
    ASSERT(len <= c->len_bytes);
    c->len_bytes -= len;
    while (c->head && len >= c->head->len - c->head_sent) {
        struct chunk *chunk = c->head;
        len -= chunk->len - c->head_sent;
        c->head = chunk->next;
        c->head_sent = 0;
        chunk_drop(c, chunk);
    }
    if (c->head) {
        c->head_sent += len;
    } else {
        ASSERT(len == 0);
        c->tail = NULL;
    }
}

void chain_move(struct chain *to, struct chain *from) {
    ASSERT(to->pool == from->pool && from->head_sent == 0);
    to->dropped_bytes += from->dropped_bytes;
    from->dropped_bytes = 0;
    if (!from->head) {
        return;
    }
    if (is_at_limit(to)) {
        to->dropped_bytes += chain_own_bytes(from);
        chain_clear(from);
        return;
    }
    if (from->head == from->tail && !from->head->release && to->tail &&
        from->head->len <= to->tail->cap - to->tail->len) {
        chain_append(to, from->head->data, from->head->len);
        chain_clear(from);
        return;
    }
    if (to->tail) {
        to->tail->next = from->head;
    } else {
        to->head = from->head;
        to->head_sent = 0;
    }
    to->tail = from->tail;
    to->len_bytes += from->len_bytes;
    to->pinned_bytes += from->pinned_bytes;
    to->kept_bytes += from->kept_bytes;
    to->pinned_count += from->pinned_count;
    from->head = from->tail = NULL;
    from->len_bytes = from->pinned_bytes = from->kept_bytes = from->pinned_count = 0;
}
