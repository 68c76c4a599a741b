/* The eight policies by name; see policy.h. */
#include "engine/policy.h"

const struct policy policies[EVICT_POLICIES_COUNT] = {
    [EVICT_NONE] = {0},
    [EVICT_ALL_LRU] = {.evicts = true},
    [EVICT_ALL_LFU] = {.evicts = true, .is_lfu = true},
    [EVICT_ALL_RANDOM] = {.evicts = true, .at_random = true},
    [EVICT_VOLATILE_LRU] = {.evicts = true, .volatile_only = true},
    [EVICT_VOLATILE_LFU] = {.evicts = true, .volatile_only = true, .is_lfu = true},
    [EVICT_VOLATILE_RANDOM] = {.evicts = true, .volatile_only = true, .at_random = true},
    [EVICT_VOLATILE_TTL] = {.evicts = true, .volatile_only = true, .by_ttl = true},
};
