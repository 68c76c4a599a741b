/* The eight policies by name; see policy.h. */
#include "engine/policy.h"

static uint64_t random_worth(uint16_t bits, const struct entry *e, int64_t now_s, struct rng *rng) {
    return rng_next(rng);
}

static uint64_t ttl_worth(uint16_t bits, const struct entry *e, int64_t now_s, struct rng *rng) {
    return (uint64_t)entry_expire_ms(e);
}

#define LRU_BITS .fresh = policy_lru_fresh, .touch = policy_lru_touch
#define LFU_BITS .fresh = policy_lfu_fresh, .touch = policy_lfu_touch, .is_lfu = true

const struct policy policies[EVICT_POLICIES_COUNT] = {
    [EVICT_NONE] = {LRU_BITS, .worth = policy_lru_worth},
    [EVICT_ALL_LRU] = {LRU_BITS, .worth = policy_lru_worth, .evicts = true},
    [EVICT_ALL_LFU] = {LFU_BITS, .worth = policy_lfu_worth, .evicts = true},
    [EVICT_ALL_RANDOM] = {LRU_BITS, .worth = random_worth, .evicts = true},
    [EVICT_VOLATILE_LRU] = {LRU_BITS, .worth = policy_lru_worth, .evicts = true,
                            .volatile_only = true},
    [EVICT_VOLATILE_LFU] = {LFU_BITS, .worth = policy_lfu_worth, .evicts = true,
                            .volatile_only = true},
    [EVICT_VOLATILE_RANDOM] = {LRU_BITS, .worth = random_worth, .evicts = true,
                               .volatile_only = true},
    [EVICT_VOLATILE_TTL] = {LRU_BITS, .worth = ttl_worth, .evicts = true, .volatile_only = true},
};
