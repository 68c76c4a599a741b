/* A small unsorted array; see evict_pool.h. One shard's thread. */
#include "engine/evict_pool.h"

void evictor_use(struct evictor *v, enum evict_policy policy) {
    if (v->policy != policy) {
        v->policy = policy;
        v->new_entries.count = v->proved.count = 0;
    }
}

static bool same_place(const struct evict_candidate *a, const struct evict_candidate *b) {
    return a->at.at == b->at.at && a->at.line == b->at.line && a->slot == b->slot &&
           a->partition == b->partition && a->db == b->db;
}

void evict_pool_add(struct evict_pool *pool, const struct evict_candidate *candidate) {
    uint32_t at = 0;
    while (at < pool->count && !same_place(&pool->candidates[at], candidate)) {
        at++;
    }
    if (at == EVICT_POOL_MAX) {
        at = pool->worst;
    }
    pool->candidates[at] = *candidate;
    pool->count += at == pool->count;
    if (pool->count == EVICT_POOL_MAX) {
        pool->worst = 0;
        for (uint32_t i = 1; i < EVICT_POOL_MAX; i++) {
            if (pool->candidates[i].rank > pool->candidates[pool->worst].rank) {
                pool->worst = i;
            }
        }
    }
}

bool evict_pool_take(struct evict_pool *pool, struct evict_candidate *out) {
    if (pool->count == 0) {
        return false;
    }
    uint32_t best = 0;
    for (uint32_t i = 1; i < pool->count; i++) {
        if (pool->candidates[i].rank < pool->candidates[best].rank) {
            best = i;
        }
    }
    *out = pool->candidates[best];
    pool->candidates[best] = pool->candidates[--pool->count];
    return true;
}
