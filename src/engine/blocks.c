/* The pool of blocks.
 *
 * 1. A chunk has a bit a block for "taken" and one for "in memory though free". All blocks of one
 *    with huge pages are in memory from the start.
 * 2. `partial` holds the chunks with free blocks. A block that is in memory goes first.
 * 3. A chunk without taken blocks is unmapped, but for one that is kept.
 * 4. A fresh huge page is zeroed when it is touched: 0.2 ms, and some 5 ms on a virtual machine
 *    that must first get the memory from its host. So a thread of the pool keeps a chunk in reserve
 *    that was touched; who finds none takes a chunk of small pages. The reserve goes back when it
 *    is not wanted for RESERVE_IDLE_S.
 * 5. What takes the kernel time (mapping, unmapping, giving a block's memory back) is done without
 *    the mutex: a block is taken until its memory is gone, a chunk is forgotten before it is.
 * 6. Giving a block's memory back splits a huge page. The chunk asks for none until all of it is
 *    taken, or the kernel would in time make it whole again, free blocks and all. heap_trim
 *    releases the end of a block that stays taken, behind the pool's back: it splits the page too,
 *    but the chunk goes on asking for huge ones, so the kernel may in time fill that end again; it
 *    counts as used all along.
 * 7. Spans are mapped and unmapped one by one, and only counted here. */
#include "engine/blocks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "ds/hmap.h"
#include "ds/list.h"

enum {
    CHUNK_SPACE_BYTES = SPAN_BYTES,
    RESERVE_FROM_CHUNKS = 64, /* in smaller pools a chunk more would be much */
    RESERVE_IDLE_S = 1,
    SPARE_TRIES_MAX = 16, /* chunks looked at under the mutex */
    PAGE_BYTES = 4096,    /* or larger; what is touched at least once */
};
STATIC_ASSERT(CHUNK_BLOCKS == 32, "a bit of a uint32_t each");

struct chunk {
    struct hmap_node node;
    struct list link; /* in `partial` while a block is free */
    char *base;
    uint32_t taken, spare; /* bits: taken; free with its memory */
    bool huge;
};

struct block_pool {
    pthread_mutex_t mutex;
    struct hmap chunks; /* by address */
    struct list partial;
    uint64_t spare_count, empty_count, chunks_count;
    uint64_t takes, tidied_at; /* blocks, ever; the same at block_pool_tidy */
    _Atomic uint64_t used_count;
    _Atomic uint64_t resident_count; /* of blocks: used, spare and the reserve's */
    _Atomic uint64_t spans_count, spans_held; /* bytes */
    bool huge;
    char *reserve;         /* a chunk's space, touched; NULL = none */
    bool wanted, stopping; /* a reserve is; the thread ends */
    pthread_cond_t changed;
    bool has_thread;
    pthread_t thread; /* started with the first wish */
};

static void *keep_reserve(void *arg);

static void count(_Atomic uint64_t *counter, int64_t by) {
    atomic_fetch_add_explicit(counter, (uint64_t)by, memory_order_relaxed);
}

struct block_pool *block_pool_create(bool huge) {
    struct block_pool *pool = mem_zalloc(sizeof *pool);
    pthread_mutex_init(&pool->mutex, NULL);
    list_init(&pool->partial);
    pool->huge = huge;
    if (huge) {
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&pool->changed, &attr);
        pthread_condattr_destroy(&attr);
    }
    return pool;
}

static uint64_t base_hash(const char *base) {
    uint64_t number = (uint64_t)(uintptr_t)base / CHUNK_SPACE_BYTES;
    return hash_bytes(0, &number, sizeof number);
}

static void forget_chunk(struct block_pool *pool, struct chunk *c) {
    int spare = __builtin_popcount(c->spare);
    pool->spare_count -= (unsigned)spare;
    count(&pool->resident_count, -spare);
    pool->chunks_count--;
    list_remove(&c->link);
    hmap_remove(&pool->chunks, &c->node);
}

static void unmap_chunk(struct chunk *c) {
    mem_unmap(c->base, CHUNK_SPACE_BYTES);
    mem_free(c);
}

void block_pool_destroy(struct block_pool *pool) {
    if (!pool) {
        return;
    }
    ASSERT(atomic_load(&pool->used_count) == 0 && atomic_load(&pool->spans_count) == 0);
    LIST_FOR_EACH(link, &pool->partial) {
        struct chunk *c = CONTAINER_OF(link, struct chunk, link);
        forget_chunk(pool, c);
        unmap_chunk(c);
    }
    ASSERT(pool->chunks_count == 0);
    if (pool->has_thread) {
        pthread_mutex_lock(&pool->mutex);
        pool->stopping = true;
        pthread_cond_signal(&pool->changed);
        pthread_mutex_unlock(&pool->mutex);
        pthread_join(pool->thread, NULL);
    }
    if (pool->huge) {
        pthread_cond_destroy(&pool->changed);
    }
    hmap_free(&pool->chunks);
    pthread_mutex_destroy(&pool->mutex);
    mem_free(pool);
}

/* A chunk for which the caller has `space`; the reserve when that is NULL. */
static struct chunk *add_chunk(struct block_pool *pool, char *space) {
    struct chunk *c = mem_zalloc(sizeof *c);
    c->base = space;
    if (!space) {
        c->huge = true;
        c->base = pool->reserve;
        c->spare = UINT32_MAX;
        pool->spare_count += CHUNK_BLOCKS;
        pool->reserve = NULL;
    }
    if (pool->huge && pool->chunks_count >= RESERVE_FROM_CHUNKS) {
        pool->wanted = true;
        pool->has_thread =
            pool->has_thread || pthread_create(&pool->thread, NULL, keep_reserve, pool) == 0;
        pthread_cond_signal(&pool->changed);
    }
    list_init(&c->link);
    list_push_back(&pool->partial, &c->link);
    hmap_insert(&pool->chunks, &c->node, base_hash(c->base));
    pool->chunks_count++;
    pool->empty_count++;
    return c;
}

/* --- the reserve --- */

static char *touched_space(void) {
    char *space = mem_map(CHUNK_SPACE_BYTES, CHUNK_SPACE_BYTES);
    mem_map_huge(space, CHUNK_SPACE_BYTES, true);
    for (size_t at = 0; at < CHUNK_SPACE_BYTES; at += PAGE_BYTES) {
        ((volatile char *)space)[at] = 0;
    }
    return space;
}

/* Waits until something is to be done; false when nothing was for RESERVE_IDLE_S. */
static bool wait_wanted(struct block_pool *pool) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RESERVE_IDLE_S;
    int error = 0;
    while (!pool->wanted && !pool->stopping && error == 0) {
        error = pool->reserve ? pthread_cond_timedwait(&pool->changed, &pool->mutex, &until)
                              : pthread_cond_wait(&pool->changed, &pool->mutex);
    }
    return error == 0;
}

/* The pool's thread. Allocates nothing that is counted. */
static void *keep_reserve(void *arg) {
    struct block_pool *pool = arg;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->stopping) {
        bool idle = !wait_wanted(pool);
        char *old = idle || pool->stopping ? pool->reserve : NULL, *space = NULL;
        bool make = pool->wanted && !pool->reserve && !pool->stopping;
        pool->reserve = old ? NULL : pool->reserve;
        pool->wanted = false;
        pthread_mutex_unlock(&pool->mutex);
        if (old) {
            mem_unmap(old, CHUNK_SPACE_BYTES);
            count(&pool->resident_count, -CHUNK_BLOCKS);
        }
        if (make) {
            count(&pool->resident_count, CHUNK_BLOCKS);
            space = touched_space();
        }
        pthread_mutex_lock(&pool->mutex);
        pool->reserve = space ? space : pool->reserve;
    }
    if (pool->reserve) {
        mem_unmap(pool->reserve, CHUNK_SPACE_BYTES);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* The first chunk that has a spare block, among a few; NULL: none of them. */
static struct chunk *find_spare(const struct block_pool *pool) {
    unsigned tries = 0;
    LIST_FOR_EACH(link, &pool->partial) {
        struct chunk *c = CONTAINER_OF(link, struct chunk, link);
        if (c->spare) {
            return c;
        }
        if (++tries == SPARE_TRIES_MAX || !pool->spare_count) {
            break;
        }
    }
    return NULL;
}

/* One with a free block. The mutex is let go of meanwhile when one must be mapped. */
static struct chunk *find_chunk(struct block_pool *pool) {
    if (!list_empty(&pool->partial)) {
        struct chunk *first = CONTAINER_OF(pool->partial.next, struct chunk, link);
        struct chunk *c = find_spare(pool);
        return c ? c : first;
    }
    char *space = NULL;
    if (!pool->reserve) {
        pthread_mutex_unlock(&pool->mutex);
        space = mem_map(CHUNK_SPACE_BYTES, CHUNK_SPACE_BYTES);
        pthread_mutex_lock(&pool->mutex);
    }
    return add_chunk(pool, space);
}

/* Under the mutex. */
static void *take_from(struct block_pool *pool, struct chunk *c) {
    unsigned i = (unsigned)__builtin_ctz(c->spare ? c->spare : ~c->taken),
             spare = c->spare >> i & 1;
    pool->empty_count -= c->taken == 0;
    pool->spare_count -= spare;
    count(&pool->resident_count, !spare);
    c->spare &= ~(1u << i);
    c->taken |= 1u << i;
    if (c->taken == UINT32_MAX) {
        list_remove(&c->link);
        c->huge = c->huge || (pool->huge && mem_map_huge(c->base, CHUNK_SPACE_BYTES, true));
    }
    count(&pool->used_count, 1);
    return c->base + (size_t)i * BLOCK_BYTES;
}

void *block_take(struct block_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    pool->takes++;
    void *block = take_from(pool, find_chunk(pool));
    pthread_mutex_unlock(&pool->mutex);
    return block;
}

static struct chunk *chunk_of(const struct block_pool *pool, const char *base) {
    HMAP_FOR_EACH_HASH(node, &pool->chunks, base_hash(base)) {
        struct chunk *c = CONTAINER_OF(node, struct chunk, node);
        if (c->base == base) {
            return c;
        }
    }
    UNREACHABLE();
}

/* Gives the memory of a block that is still taken back to the kernel. */
static void release_block(struct block_pool *pool, struct chunk *c, void *block) {
    if (c->huge) {
        mem_map_huge(c->base, CHUNK_SPACE_BYTES, false);
        c->huge = false;
    }
    pthread_mutex_unlock(&pool->mutex);
    mem_map_release(block, BLOCK_BYTES);
    count(&pool->resident_count, -1);
    pthread_mutex_lock(&pool->mutex);
}

static void give(struct block_pool *pool, void *block, uint64_t spare_most) {
    uintptr_t at = (uintptr_t)block;
    ASSERT(at % BLOCK_BYTES == 0);
    pthread_mutex_lock(&pool->mutex);
    struct chunk *c = chunk_of(pool, (char *)(at - at % CHUNK_SPACE_BYTES));
    uint32_t bit = 1u << at % CHUNK_SPACE_BYTES / BLOCK_BYTES;
    ASSERT(c->taken & bit);
    bool last = c->taken == bit && pool->empty_count > 0; /* all of the chunk goes, see below */
    if (last || pool->spare_count < spare_most) {
        c->spare |= bit;
        pool->spare_count++;
    } else {
        release_block(pool, c, block);
    }
    if (c->taken == UINT32_MAX) {
        list_push_back(&pool->partial, &c->link);
    }
    c->taken &= ~bit;
    count(&pool->used_count, -1);
    bool unmapped = c->taken == 0 && ++pool->empty_count > 1;
    if (unmapped) {
        pool->empty_count--;
        forget_chunk(pool, c);
    }
    pthread_mutex_unlock(&pool->mutex);
    if (unmapped) {
        unmap_chunk(c);
    }
}

void block_give(struct block_pool *pool, void *block) {
    uint64_t used = atomic_load_explicit(&pool->used_count, memory_order_relaxed) - 1;
    give(pool, block, MAX((uint64_t)BLOCKS_SPARE_MIN, used / BLOCKS_SPARE_SHARE));
}

/* A block that is free and in memory: NULL when none of the first chunks has one, which go behind
 * the others then. False: there is none anywhere. */
static bool take_spare(struct block_pool *pool, void **block) {
    pthread_mutex_lock(&pool->mutex);
    bool any = pool->spare_count > 0;
    struct chunk *c = any ? find_spare(pool) : NULL;
    *block = c ? take_from(pool, c) : NULL;
    for (unsigned i = 0; any && !c && i < SPARE_TRIES_MAX; i++) {
        list_push_back(&pool->partial, list_pop_front(&pool->partial));
    }
    pthread_mutex_unlock(&pool->mutex);
    return any;
}

void block_pool_tidy(struct block_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    bool quiet = pool->takes == pool->tidied_at;
    pool->tidied_at = pool->takes;
    pthread_mutex_unlock(&pool->mutex);
    void *block;
    for (unsigned i = 0; quiet && i < BLOCKS_TIDIED_MAX && take_spare(pool, &block); i++) {
        if (block) {
            give(pool, block, 0);
        }
    }
}

/* --- spans --- */

void *block_take_span(struct block_pool *pool) {
    char *span = mem_map(SPAN_BYTES, SPAN_BYTES);
    mem_map_huge(span, SPAN_BYTES, false);
    count(&pool->spans_count, 1);
    return span;
}

void block_hold_span(struct block_pool *pool, uint64_t bytes) {
    count(&pool->spans_held, (int64_t)bytes);
}

void block_trim_span(struct block_pool *pool, void *at, uint64_t bytes) {
    mem_map_release(at, bytes);
    count(&pool->spans_held, -(int64_t)bytes);
}

void block_set_span_huge(struct block_pool *pool, void *span, bool huge) {
    if (pool->huge) {
        mem_map_huge(span, SPAN_BYTES, huge);
    }
}

void block_give_span(struct block_pool *pool, void *span, uint64_t held) {
    mem_unmap(span, SPAN_BYTES);
    count(&pool->spans_held, -(int64_t)held);
    count(&pool->spans_count, -1);
}

/* --- figures --- */

uint64_t block_pool_used_bytes(const struct block_pool *pool) {
    return atomic_load_explicit(&pool->used_count, memory_order_relaxed) * BLOCK_BYTES +
           atomic_load_explicit(&pool->spans_held, memory_order_relaxed);
}

uint64_t block_pool_idle_bytes(const struct block_pool *pool) {
    uint64_t resident = atomic_load_explicit(&pool->resident_count, memory_order_relaxed);
    uint64_t used = atomic_load_explicit(&pool->used_count, memory_order_relaxed);
    return resident > used ? (resident - used) * BLOCK_BYTES : 0; /* spans have none */
}

void block_pool_stats(struct block_pool *pool, struct block_stats *out) {
    pthread_mutex_lock(&pool->mutex);
    uint64_t spans = atomic_load_explicit(&pool->spans_count, memory_order_relaxed);
    *out = (struct block_stats){.used = block_pool_used_bytes(pool),
                                .spare = block_pool_idle_bytes(pool),
                                .mapped = (pool->chunks_count + spans) * CHUNK_SPACE_BYTES};
    pthread_mutex_unlock(&pool->mutex);
}
