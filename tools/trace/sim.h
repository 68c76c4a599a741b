#ifndef FOREBAY_TRACE_SIM_H
#define FOREBAY_TRACE_SIM_H
/* Exact caches of textbook policies, to measure others by. One thread owns a simulation.
 *
 * 1. A miss stores the object, after evicting until it fits; what is larger than the whole cache is
 *    never stored. Only Belady knows the future, and it too stores every object.
 * 2. An object counts at the size it was stored with.
 *
 *     name     evicts                                                          file
 *     lru      the least recently used                                         sim_queue.c
 *     fifo     the first stored                                                sim_queue.c
 *     sieve    Zhang et al., NSDI '24: the first unvisited one from the hand on sim_queue.c
 *     s3-fifo  Yang et al., SOSP '23: see there                                sim_s3fifo.c
 *     lfu      the least used since it was stored; among these the one         sim_heap.c
 *              least recently used
 *     belady   the one used again last (Belady 1966; Mattson's MIN)            sim_heap.c */
#include <stdbool.h>
#include <stdint.h>
#include "trace.h"

struct counts {
    uint64_t requests, misses;
    uint64_t bytes, missed_bytes; /* objects of a unit trace */
    uint64_t not_stored;          /* misses that were not stored: too large, or nothing to evict */
};
static inline double counts_miss_ratio(const struct counts *c) {
    return c->requests ? (double)c->misses / (double)c->requests : 0;
}
static inline double counts_byte_miss_ratio(const struct counts *c) {
    return c->bytes ? (double)c->missed_bytes / (double)c->bytes : 0;
}
static inline void counts_add(struct counts *c, uint32_t size, bool hit) {
    c->requests++;
    c->bytes += size;
    c->misses += !hit;
    c->missed_bytes += hit ? 0 : size;
}

enum { NO_NODE = UINT32_MAX };

enum sim_place { SIM_NOWHERE, SIM_GHOST, SIM_RESIDENT, SIM_RESIDENT_MAIN };

/* An object, found by its id. */
struct sim_node {
    uint32_t newer, older; /* neighbours in its queue; heap: `newer` is its position */
    uint32_t size;
    uint8_t place; /* enum sim_place */
    uint8_t uses;  /* sieve: visited; s3-fifo: capped at 3 */
};

struct sim_queue {
    uint32_t newest, oldest;
    uint64_t used;
};

struct heap_item {
    uint64_t priority; /* the least goes first */
    uint32_t id;
};

struct sim_policy;
struct sim {
    const struct sim_policy *policy;
    uint64_t capacity, used;
    uint32_t clock; /* requests so far */
    struct sim_node *nodes;
    struct sim_queue main, small, ghost;
    uint32_t hand; /* sieve */
    struct heap_item *heap;
    uint32_t heap_count;
    struct column columns[2];
};

struct sim_policy {
    const char *name;
    bool needs_next, needs_heap;
    void (*hit)(struct sim *s, uint32_t id, uint32_t next);
    /* Removes one object; there is one. */
    void (*evict)(struct sim *s);
    /* The node has its size; room was made. */
    void (*insert)(struct sim *s, uint32_t id, uint32_t next);
};

extern const struct sim_policy sim_lru, sim_fifo, sim_sieve, sim_s3fifo, sim_lfu, sim_belady;

void sim_init(struct sim *s, const struct sim_policy *policy, uint32_t keys_count,
              uint64_t capacity);
void sim_deinit(struct sim *s);
enum sim_outcome { SIM_HIT, SIM_MISS, SIM_MISS_NOT_STORED };
/* `next` is the request's index of the same key's next request, for Belady. */
enum sim_outcome sim_access(struct sim *s, uint32_t id, uint32_t size, uint32_t next);
/* A whole trace; linked where the policy needs it. */
void sim_run(const struct trace *t, const struct sim_policy *policy, uint64_t capacity,
             struct counts *out);

/* --- for the policies --- */
void sim_push(struct sim *s, struct sim_queue *q, uint32_t id);
void sim_unlink(struct sim *s, struct sim_queue *q, uint32_t id);
/* The object leaves the cache; its place says where to. */
static inline void sim_drop(struct sim *s, uint32_t id, enum sim_place place) {
    s->used -= s->nodes[id].size;
    s->nodes[id].place = (uint8_t)place;
}
#endif
