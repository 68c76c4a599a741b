/* What all simulated policies share; see sim.h. */
#include "sim.h"

void sim_init(struct sim *s, const struct sim_policy *policy, uint32_t keys_count,
              uint64_t capacity) {
    const struct sim_queue empty = {NO_NODE, NO_NODE, 0};
    *s = (struct sim){.policy = policy, .capacity = capacity, .main = empty, .small = empty,
                      .ghost = empty, .hand = NO_NODE};
    s->nodes = column_reserve(&s->columns[0], (size_t)keys_count * sizeof *s->nodes);
    if (policy->needs_heap) {
        s->heap = column_reserve(&s->columns[1], (size_t)keys_count * sizeof *s->heap);
    }
}

void sim_deinit(struct sim *s) {
    column_free(&s->columns[0]);
    column_free(&s->columns[1]);
}

void sim_push(struct sim *s, struct sim_queue *q, uint32_t id) {
    struct sim_node *node = &s->nodes[id];
    node->newer = NO_NODE;
    node->older = q->newest;
    if (q->newest != NO_NODE) {
        s->nodes[q->newest].newer = id;
    } else {
        q->oldest = id;
    }
    q->newest = id;
    q->used += node->size;
}

void sim_unlink(struct sim *s, struct sim_queue *q, uint32_t id) {
    struct sim_node *node = &s->nodes[id];
    if (node->newer != NO_NODE) {
        s->nodes[node->newer].older = node->older;
    } else {
        q->newest = node->older;
    }
    if (node->older != NO_NODE) {
        s->nodes[node->older].newer = node->newer;
    } else {
        q->oldest = node->newer;
    }
    q->used -= node->size;
}

enum sim_outcome sim_access(struct sim *s, uint32_t id, uint32_t size, uint32_t next) {
    struct sim_node *node = &s->nodes[id];
    s->clock++;
    if (node->place >= SIM_RESIDENT) {
        s->policy->hit(s, id, next);
        return SIM_HIT;
    }
    if (size > s->capacity) {
        return SIM_MISS_NOT_STORED;
    }
    while (s->used + size > s->capacity) {
        s->policy->evict(s);
    }
    s->used += size;
    if (node->place == SIM_GHOST) {
        sim_unlink(s, &s->ghost, id);
    }
    node->size = size;
    node->uses = 0;
    s->policy->insert(s, id, next);
    return SIM_MISS;
}

void sim_run(const struct trace *t, const struct sim_policy *policy, uint64_t capacity,
             struct counts *out) {
    ASSERT(t->next || !policy->needs_next);
    struct sim s;
    struct counts c = {0};
    sim_init(&s, policy, t->keys_count, capacity);
    for (uint32_t i = 0; i < t->requests_count; i++) {
        uint32_t size = trace_size(t, i);
        enum sim_outcome outcome =
            sim_access(&s, t->ids[i], size, t->next ? t->next[i] : TRACE_NEVER);
        counts_add(&c, size, outcome == SIM_HIT);
        c.not_stored += outcome == SIM_MISS_NOT_STORED;
    }
    sim_deinit(&s);
    *out = c;
}
