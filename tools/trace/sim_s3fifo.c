/* S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP
 * 2023): three queues, none of which moves an object on a hit.
 *
 *     a miss -> small (a tenth) --used twice or more--> main (the rest), back to its head while used
 *                   |                                     |
 *                   +--> ghost (keys alone, as many        +--> gone
 *                        bytes as main) --a miss--> main
 *
 * Uses are counted up to 3, start at 0, begin anew when an object moves to main, and lose one for
 * each round in main. The queue that is evicted from is small when it holds its tenth, else main.
 * With sizes all limits are in bytes. */
#include "sim.h"

enum { USES_MAX = 3, USES_TO_MAIN = 2 };

static uint64_t small_capacity(const struct sim *s) {
    return MAX(s->capacity / 10, 1u);
}
static uint64_t main_capacity(const struct sim *s) {
    return s->capacity - s->capacity / 10;
}

static void hit(struct sim *s, uint32_t id, uint32_t next) {
    s->nodes[id].uses = MIN(s->nodes[id].uses + 1, USES_MAX);
}

static void insert(struct sim *s, uint32_t id, uint32_t next) {
    bool known = s->nodes[id].place == SIM_GHOST;
    s->nodes[id].place = known ? SIM_RESIDENT_MAIN : SIM_RESIDENT;
    sim_push(s, known ? &s->main : &s->small, id);
}

static void evict_main(struct sim *s) {
    for (;;) {
        uint32_t id = s->main.oldest;
        ASSERT(id != NO_NODE);
        sim_unlink(s, &s->main, id);
        if (s->nodes[id].uses == 0) {
            sim_drop(s, id, SIM_NOWHERE);
            return;
        }
        s->nodes[id].uses--;
        sim_push(s, &s->main, id);
    }
}

static void remember(struct sim *s, uint32_t id) {
    while (s->ghost.oldest != NO_NODE &&
           s->ghost.used + s->nodes[id].size > main_capacity(s)) {
        uint32_t forgotten = s->ghost.oldest;
        sim_unlink(s, &s->ghost, forgotten);
        s->nodes[forgotten].place = SIM_NOWHERE;
    }
    sim_push(s, &s->ghost, id);
}

/* False when all of small moved to main. */
static bool evict_small(struct sim *s) {
    while (s->small.oldest != NO_NODE) {
        uint32_t id = s->small.oldest;
        sim_unlink(s, &s->small, id);
        if (s->nodes[id].uses < USES_TO_MAIN) {
            sim_drop(s, id, SIM_GHOST);
            remember(s, id);
            return true;
        }
        s->nodes[id].uses = 0;
        s->nodes[id].place = SIM_RESIDENT_MAIN;
        sim_push(s, &s->main, id);
        if (s->main.used > main_capacity(s)) {
            evict_main(s);
        }
    }
    return false;
}

static void evict(struct sim *s) {
    if (s->small.used >= small_capacity(s) || s->main.oldest == NO_NODE) {
        uint64_t before = s->used;
        if (evict_small(s) || s->used < before) {
            return;
        }
    }
    evict_main(s);
}

const struct sim_policy sim_s3fifo = {
    .name = "s3-fifo", .hit = hit, .evict = evict, .insert = insert};
