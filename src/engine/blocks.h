#ifndef FOREBAY_ENGINE_BLOCKS_H
#define FOREBAY_ENGINE_BLOCKS_H
/* Blocks of memory for the heaps (heap.h), cut from chunks of 2 MB that the kernel may back with
 * huge pages, and spans, which are small pages for long. One pool a keyspace, shared by all
 * partitions: any thread, behind a mutex that is taken once for some hundreds of entries. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BLOCK_BYTES = 64 * 1024, /* and their alignment */
    CHUNK_BLOCKS = 32,       /* blocks of a chunk */
    SPAN_BYTES = BLOCK_BYTES * CHUNK_BLOCKS, /* and their alignment */
    /* Free blocks that keep their memory for the next taker: this many, or a share of those in
     * use, 1 / BLOCKS_SPARE_SHARE. The memory of others goes back to the kernel at once. */
    BLOCKS_SPARE_MIN = 8,
    BLOCKS_SPARE_SHARE = 128,
    BLOCKS_TIDIED_MAX = 128, /* a call */
};

struct block_pool;

struct block_stats { /* bytes */
    uint64_t used;   /* blocks taken, what is held of spans */
    uint64_t spare;  /* free and still in memory, the reserve's included */
    uint64_t mapped; /* address space */
};

/* `huge`: with huge pages, and a thread that makes them ready ahead of need. */
struct block_pool *block_pool_create(bool huge);
/* All blocks must have been given back. Takes NULL. */
void block_pool_destroy(struct block_pool *pool);
/* A block, its content undefined, owned by the caller; never NULL. */
void *block_take(struct block_pool *pool);
void block_give(struct block_pool *pool, void *block);
/* Gives the memory of some free blocks back when none was taken since the last call: every second
 * or so, by a thread that serves no client. */
void block_pool_tidy(struct block_pool *pool);
/* A span is one piece of SPAN_BYTES whose taker says how much of it is in memory. It begins with
 * nothing held; whole pages from its start. What is beyond may not be touched. */
void *block_take_span(struct block_pool *pool);
void block_hold_span(struct block_pool *pool, uint64_t bytes); /* so many more */
/* Gives the memory from `at` on back to the kernel, which was held. */
void block_trim_span(struct block_pool *pool, void *at, uint64_t bytes);
/* All of it is held, and will be for a while: may be a huge page; false: no more. It was touched
 * before, so the kernel's own thread alone makes it one, in its own time: hardly ever within
 * minutes (decision 6). */
void block_set_span_huge(struct block_pool *pool, void *span, bool huge);
void block_give_span(struct block_pool *pool, void *span, uint64_t held);
/* Bytes in use: two relaxed loads. */
uint64_t block_pool_used_bytes(const struct block_pool *pool);
/* Bytes of free blocks that are in memory, those of the reserve included. */
uint64_t block_pool_idle_bytes(const struct block_pool *pool);
void block_pool_stats(struct block_pool *pool, struct block_stats *out);
#endif
