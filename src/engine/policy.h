#ifndef FOREBAY_ENGINE_POLICY_H
#define FOREBAY_ENGINE_POLICY_H
/* What an eviction policy is. It owns the 12 policy bits in an entry's slot (table.h): it says what
 * they are for a new entry, how an access changes them, and which of two entries goes first by
 * them. Sampling is part_evict.c's. No state of its own; any thread.
 *
 *     family  bits                                 file
 *     lru     stamp of the last access             policy_lru.c  (random and ttl keep it as well)
 *     lfu     queue, uses, stamp of entering it    policy_lfu.c
 *
 * Stamps are of the logical clock: policy_clock.h. Changing the family while running leaves bits of
 * the other until an entry is used again. */
#include <stdbool.h>
#include <stdint.h>
#include "base/assert.h"
#include "base/rng.h"
#include "engine/policy_clock.h"

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
    const char *name; /* Redis's */
    bool evicts;
    bool volatile_only; /* only entries with a TTL are candidates */
    bool is_lfu;        /* else the bits are the lru family's */
    bool at_random, by_ttl;
};

extern const struct policy policies[EVICT_POLICIES_COUNT];
static inline const struct policy *policy_of(enum evict_policy policy) {
    ASSERT(policy < EVICT_POLICIES_COUNT);
    return &policies[policy];
}
/* False: there is none of that name. */
bool policy_named(const char *name, enum evict_policy *out);

/* The bits after an access; the same ones where possible, so that no cache line is dirtied. A new
 * entry's are the stamp of `tick`. */
uint16_t policy_lru_touch(const struct policy_clock *c, uint16_t bits, uint64_t tick);
/* The tick of the last access: the least goes first. */
uint64_t policy_lru_rank(uint16_t bits, uint64_t tick);

enum {
    POLICY_LFU_NEW = 1 << 11,
};
static inline bool policy_lfu_is_new(uint16_t bits) {
    return bits & POLICY_LFU_NEW;
}
/* Of an entry just inserted; one that was evicted a short time ago has proved itself. Its stamp
 * lies `ahead` by so many ticks, for its size (policy_size.h). */
uint16_t policy_lfu_fresh(uint64_t tick, bool came_back, int64_t ahead);
uint16_t policy_lfu_touch(uint16_t bits, uint32_t log_factor, struct rng *rng);
/* The least goes first, among the new or among the proved. */
uint64_t policy_lfu_rank(uint16_t bits, uint64_t tick);
/* The bits, made as old as they may get. To be called before they wrap. */
uint16_t policy_lfu_keep(uint16_t bits, uint64_t tick);
/* In ticks, since it entered its queue; less what it was ahead. */
int64_t policy_lfu_age(uint16_t bits, uint64_t tick);
/* Its turn to go has come: does it stay, for its uses, and with which bits? `ahead` is for its size
 * among the proved. It loses a use once in `decay` times; never when that is 0. */
bool policy_lfu_stays(uint16_t *bits, uint64_t tick, int64_t ahead, uint32_t decay,
                      struct rng *rng);
/* OBJECT FREQ: 0 new, 1 new and used, 2 to 5 proved, by the uses since it had its last turn. */
uint32_t policy_lfu_frequency(uint16_t bits);
uint16_t policy_lfu_bits(uint32_t frequency, uint64_t tick);
#endif
