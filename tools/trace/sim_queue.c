/* LRU, FIFO and SIEVE: one queue, from the newest to the oldest; see sim.h. */
#include "sim.h"

static void queue_insert(struct sim *s, uint32_t id, uint32_t next) {
    s->nodes[id].place = SIM_RESIDENT;
    sim_push(s, &s->main, id);
}

static void queue_evict(struct sim *s) {
    uint32_t id = s->main.oldest;
    ASSERT(id != NO_NODE);
    sim_unlink(s, &s->main, id);
    sim_drop(s, id, SIM_NOWHERE);
}

static void lru_hit(struct sim *s, uint32_t id, uint32_t next) {
    sim_unlink(s, &s->main, id);
    sim_push(s, &s->main, id);
}

static void fifo_hit(struct sim *s, uint32_t id, uint32_t next) {
}

static void sieve_hit(struct sim *s, uint32_t id, uint32_t next) {
    s->nodes[id].uses = 1;
}

/* The hand goes from the oldest to the newest, clears what was visited, and stays where it took
 * one. */
static void sieve_evict(struct sim *s) {
    uint32_t id = s->hand != NO_NODE ? s->hand : s->main.oldest;
    ASSERT(id != NO_NODE);
    while (s->nodes[id].uses) {
        s->nodes[id].uses = 0;
        id = s->nodes[id].newer != NO_NODE ? s->nodes[id].newer : s->main.oldest;
    }
    s->hand = s->nodes[id].newer;
    sim_unlink(s, &s->main, id);
    sim_drop(s, id, SIM_NOWHERE);
}

const struct sim_policy sim_lru = {
    .name = "lru", .hit = lru_hit, .evict = queue_evict, .insert = queue_insert};
const struct sim_policy sim_fifo = {
    .name = "fifo", .hit = fifo_hit, .evict = queue_evict, .insert = queue_insert};
const struct sim_policy sim_sieve = {
    .name = "sieve", .hit = sieve_hit, .evict = sieve_evict, .insert = queue_insert};
