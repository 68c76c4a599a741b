/* LFU and Belady's MIN: objects in a binary heap by what they are worth; see sim.h.
 *
 *     lfu     uses since it was stored : 32 | last use : 32
 *     belady  how near its next use is : 32 | last use : 32
 *
 * With sizes, evicting the furthest next use is not optimal any more (the optimum is NP-hard); it
 * is the usual approximation. */
#include "sim.h"

static void place(struct sim *s, uint32_t at, struct heap_item item) {
    s->heap[at] = item;
    s->nodes[item.id].newer = at;
}

static void sift_up(struct sim *s, uint32_t at, struct heap_item item) {
    while (at > 0 && s->heap[(at - 1) / 2].priority > item.priority) {
        place(s, at, s->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(s, at, item);
}

static void sift_down(struct sim *s, uint32_t at, struct heap_item item) {
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= s->heap_count) {
            break;
        }
        if (child + 1 < s->heap_count &&
            s->heap[child + 1].priority < s->heap[child].priority) {
            child++;
        }
        if (s->heap[child].priority >= item.priority) {
            break;
        }
        place(s, at, s->heap[child]);
        at = child;
    }
    place(s, at, item);
}

static void heap_insert(struct sim *s, uint32_t id, uint64_t priority) {
    s->nodes[id].place = SIM_RESIDENT;
    sift_up(s, s->heap_count++, (struct heap_item){priority, id});
}

static void heap_change(struct sim *s, uint32_t id, uint64_t priority) {
    uint32_t at = s->nodes[id].newer;
    struct heap_item item = {priority, id};
    if (priority < s->heap[at].priority) {
        sift_up(s, at, item);
    } else {
        sift_down(s, at, item);
    }
}

static void heap_evict(struct sim *s) {
    ASSERT(s->heap_count > 0);
    uint32_t id = s->heap[0].id;
    struct heap_item last = s->heap[--s->heap_count];
    if (s->heap_count > 0) {
        sift_down(s, 0, last);
    }
    sim_drop(s, id, SIM_NOWHERE);
}

static void lfu_insert(struct sim *s, uint32_t id, uint32_t next) {
    heap_insert(s, id, 1ull << 32 | s->clock);
}

static void lfu_hit(struct sim *s, uint32_t id, uint32_t next) {
    uint64_t uses = s->heap[s->nodes[id].newer].priority >> 32;
    heap_change(s, id, (uses + 1) << 32 | s->clock);
}

static uint64_t belady_priority(const struct sim *s, uint32_t next) {
    return (uint64_t)(TRACE_NEVER - next) << 32 | s->clock;
}

static void belady_insert(struct sim *s, uint32_t id, uint32_t next) {
    heap_insert(s, id, belady_priority(s, next));
}

static void belady_hit(struct sim *s, uint32_t id, uint32_t next) {
    heap_change(s, id, belady_priority(s, next));
}

const struct sim_policy sim_lfu = {.name = "lfu", .needs_heap = true, .hit = lfu_hit,
                                   .evict = heap_evict, .insert = lfu_insert};
const struct sim_policy sim_belady = {.name = "belady", .needs_heap = true, .needs_next = true,
                                      .hit = belady_hit, .evict = heap_evict,
                                      .insert = belady_insert};
