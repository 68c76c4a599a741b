/* The eight policies by name; see policy.h. */
#include "engine/policy.h"

#include <string.h>

const struct policy policies[EVICT_POLICIES_COUNT] = {
    [EVICT_NONE] = {"noeviction"},
    [EVICT_ALL_LRU] = {"allkeys-lru", .evicts = true},
    [EVICT_ALL_LFU] = {"allkeys-lfu", .evicts = true, .is_lfu = true},
    [EVICT_ALL_RANDOM] = {"allkeys-random", .evicts = true, .at_random = true},
    [EVICT_VOLATILE_LRU] = {"volatile-lru", .evicts = true, .volatile_only = true},
    [EVICT_VOLATILE_LFU] = {"volatile-lfu", .evicts = true, .volatile_only = true, .is_lfu = true},
    [EVICT_VOLATILE_RANDOM] = {"volatile-random", .evicts = true, .volatile_only = true,
                               .at_random = true},
    [EVICT_VOLATILE_TTL] = {"volatile-ttl", .evicts = true, .volatile_only = true, .by_ttl = true},
};

bool policy_named(const char *name, enum evict_policy *out) {
    for (unsigned i = 0; i < EVICT_POLICIES_COUNT; i++) {
        if (strcmp(policies[i].name, name) == 0) {
            *out = (enum evict_policy)i;
            return true;
        }
    }
    return false;
}
