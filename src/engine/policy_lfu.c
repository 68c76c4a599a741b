/* Least frequently used, as two queues with a memory of what was evicted, after J. Yang et al.,
 * "FIFO queues are all you need for cache eviction" (2023): what was used once leaves soon, and
 * what is used again stays for as long as it is used once a round.
 *
 *     new:    | 1 | used:1 | tick:10           |   inserted a short time ago
 *     proved: | 0 | uses:2 | tick / 64, 9 bits  |   was used while new, or came back
 *
 * An access adds to the uses and leaves the tick alone: most store nothing. */
#include "engine/policy.h"

#include "base/assert.h"

enum {
    USED = 1 << 10,
    NEW_AGES = 1 << 10,
    NEW_AGE_MAX = 900,
    PROVED_AGES = 1 << 9,
    PROVED_AGE_MAX = 480,
    PROVED_SHIFT = 6,
    USES_SHIFT = 9,
    USES_MAX = 3,
    LOG_FACTOR_UNIT = 20, /* with twice that a second use counts once in two times */
};

STATIC_ASSERT(POLICY_LFU_NEW == 1 << 11, "the table counts entries with the highest bit");

static uint16_t proved_bits(uint32_t uses, uint64_t tick) {
    return (uint16_t)(uses << USES_SHIFT | (tick >> PROVED_SHIFT) % PROVED_AGES);
}

static uint32_t uses_of(uint16_t bits) {
    return bits >> USES_SHIFT & USES_MAX;
}

/* In ticks; in units of 64 of the proved. */
static uint32_t age_of(uint16_t bits, uint64_t tick) {
    return policy_lfu_is_new(bits) ? (uint32_t)(tick - bits) % NEW_AGES
                                   : (uint32_t)((tick >> PROVED_SHIFT) - bits) % PROVED_AGES;
}

uint16_t policy_lfu_fresh(uint64_t tick, bool came_back) {
    return came_back ? proved_bits(0, tick) : (uint16_t)(POLICY_LFU_NEW | tick % NEW_AGES);
}

uint16_t policy_lfu_touch(uint16_t bits, uint32_t log_factor, struct rng *rng) {
    if (policy_lfu_is_new(bits)) {
        return bits | USED;
    }
    uint32_t uses = uses_of(bits);
    if (uses == USES_MAX) {
        return bits;
    }
    uint64_t odds = (uint64_t)uses * log_factor / LOG_FACTOR_UNIT;
    return odds <= 1 || rng_below(rng, odds) == 0 ? (uint16_t)(bits + (1 << USES_SHIFT)) : bits;
}

uint64_t policy_lfu_rank(uint16_t bits, uint64_t tick) {
    return (policy_lfu_is_new(bits) ? tick : tick >> PROVED_SHIFT) - age_of(bits, tick);
}

uint16_t policy_lfu_keep(uint16_t bits, uint64_t tick) {
    uint32_t age = age_of(bits, tick);
    if (policy_lfu_is_new(bits)) {
        uint64_t oldest = (tick - NEW_AGE_MAX) % NEW_AGES;
        return age > NEW_AGE_MAX ? (uint16_t)((bits & (POLICY_LFU_NEW | USED)) | oldest) : bits;
    }
    return age > PROVED_AGE_MAX
               ? proved_bits(uses_of(bits), tick - ((uint64_t)PROVED_AGE_MAX << PROVED_SHIFT))
               : bits;
}

uint64_t policy_lfu_since(uint16_t bits, uint64_t tick) {
    ASSERT(policy_lfu_is_new(bits));
    return tick - age_of(bits, tick);
}

bool policy_lfu_stays(uint16_t *bits, uint64_t tick, uint32_t decay, struct rng *rng) {
    if (policy_lfu_is_new(*bits)) {
        if (!(*bits & USED)) {
            return false;
        }
        *bits = proved_bits(0, tick);
        return true;
    }
    uint32_t uses = uses_of(*bits);
    if (uses == 0) {
        return false;
    }
    bool loses = decay > 0 && (decay == 1 || rng_below(rng, decay) == 0);
    *bits = proved_bits(uses - loses, tick);
    return true;
}

uint32_t policy_lfu_frequency(uint16_t bits) {
    return policy_lfu_is_new(bits) ? (bits & USED ? 1 : 0) : 2 + uses_of(bits);
}

uint16_t policy_lfu_bits(uint32_t frequency, uint64_t tick) {
    return frequency < 2 ? (uint16_t)(policy_lfu_fresh(tick, false) | (frequency ? USED : 0))
                         : proved_bits(MIN(frequency - 2, (uint32_t)USES_MAX), tick);
}
