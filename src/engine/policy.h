#ifndef FOREBAY_ENGINE_POLICY_H
#define FOREBAY_ENGINE_POLICY_H
/* What an eviction policy is. It owns the 12 policy bits in an entry's slot (table.h): it says what
 * they are for a new entry, how an access changes them, and what an entry is worth by them.
 * Sampling is the partition's: of the `maxmemory-samples` candidates the one of least worth goes,
 * an expired one before any other. No state of its own; any thread.
 *
 *     family  bits                                 file
 *     lru     access time in seconds, modulo 4096  policy_lru.c  (random and ttl keep it as well)
 *     lfu     counter:8, minute of last decay:4    policy_lfu.c
 *
 * Changing the family while running leaves bits of the other until an entry is used again. */
#include <stdbool.h>
#include <stdint.h>
#include "base/assert.h"
#include "base/rng.h"
#include "engine/entry.h"

/* Redis's policy names. */
enum evict_policy {
    EVICT_NONE,
    EVICT_ALL_LRU,
    EVICT_ALL_LFU,
    EVICT_ALL_RANDOM,
    EVICT_VOLATILE_LRU,
    EVICT_VOLATILE_LFU,
    EVICT_VOLATILE_RANDOM,
    EVICT_VOLATILE_TTL,
    EVICT_POLICIES_COUNT
};

struct policy {
    bool evicts;
    bool volatile_only; /* only entries with a TTL are candidates */
    bool is_lfu;
    /* The bits of a new entry. */
    uint16_t (*fresh)(int64_t now_s);
    /* The bits after an access; the same ones where possible, so that no cache line is dirtied. */
    uint16_t (*touch)(uint16_t bits, int64_t now_s, struct rng *rng);
    /* The least goes first. `e` may be read, at the price of a cache miss. */
    uint64_t (*worth)(uint16_t bits, const struct entry *e, int64_t now_s, struct rng *rng);
};

extern const struct policy policies[EVICT_POLICIES_COUNT];
static inline const struct policy *policy_of(enum evict_policy policy) {
    ASSERT(policy < EVICT_POLICIES_COUNT);
    return &policies[policy];
}

uint16_t policy_lru_fresh(int64_t now_s);
uint16_t policy_lru_touch(uint16_t bits, int64_t now_s, struct rng *rng);
uint64_t policy_lru_worth(uint16_t bits, const struct entry *e, int64_t now_s, struct rng *rng);
/* Seconds since the last access, modulo 4096 (68 minutes). */
uint32_t policy_lru_idle_s(uint16_t bits, int64_t now_s);

uint16_t policy_lfu_fresh(int64_t now_s);
uint16_t policy_lfu_touch(uint16_t bits, int64_t now_s, struct rng *rng);
uint64_t policy_lfu_worth(uint16_t bits, const struct entry *e, int64_t now_s, struct rng *rng);
/* The bits of an entry whose counter is `frequency` (at most 255 is kept) now. */
uint16_t policy_lfu_bits(uint32_t frequency, int64_t now_s);
/* The counter, decayed until now: 0 to 255, growing with the logarithm of the accesses. */
uint32_t policy_lfu_frequency(uint16_t bits, int64_t now_s);
#endif
