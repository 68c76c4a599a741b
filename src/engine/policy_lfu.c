/* Least frequently used, as two queues with a memory of what was evicted, after J. Yang et al.,
 * "FIFO queues are all you need for cache eviction" (2023): what was used once leaves soon, and
 * what is used again stays for as long as it is used once a round.
 *
 *     new:    | 1 | used:1 | tick:10           |   inserted a short time ago
 *     proved: | 0 | uses:2 | tick / 64, 9 bits  |   was used while new, or came back after that
 *
 * Small entries' ticks lie ahead, large ones' back: policy_size.h. An access adds to the uses and
 * leaves the tick alone: most store nothing. */
#include "engine/policy.h"

#include "base/assert.h"

enum {
    USED = 1 << 10,
    NEW_AGES = 1 << 10,
    NEW_AGE_MAX = 400,
    NEW_AHEAD_MAX = 400,
    NEW_BACK_MAX = 300,
    PROVED_AGES = 1 << 9,
    PROVED_AGE_MAX = 300,
    PROVED_AHEAD_MAX = 190,
    PROVED_BACK_MAX = 200,
    PROVED_SHIFT = 6,
    USES_SHIFT = 9,
    USES_MAX = 3,
    LOG_FACTOR_UNIT = 20, /* with twice that a second use counts once in two times */
};

STATIC_ASSERT(NEW_AHEAD_MAX + NEW_AGE_MAX + CLOCK_HAND_TICKS < NEW_AGES &&
                  NEW_BACK_MAX < NEW_AGE_MAX &&
                  PROVED_AHEAD_MAX + PROVED_AGE_MAX + (CLOCK_HAND_TICKS >> PROVED_SHIFT) + 1 <
                      PROVED_AGES &&
                  PROVED_BACK_MAX < PROVED_AGE_MAX,
              "what lies ahead is told from what is old");
STATIC_ASSERT(POLICY_LFU_NEW == 1 << 11, "the table counts entries with the highest bit");

static uint16_t proved_bits(uint32_t uses, uint64_t tick) {
    return (uint16_t)(uses << USES_SHIFT | (tick >> PROVED_SHIFT) % PROVED_AGES);
}

static uint32_t uses_of(uint16_t bits) {
    return bits >> USES_SHIFT & USES_MAX;
}

/* In ticks; in units of 64 of the proved. Negative: it lies ahead. */
static int32_t age_of(uint16_t bits, uint64_t tick) {
    if (policy_lfu_is_new(bits)) {
        return (int32_t)((uint32_t)(tick - bits + NEW_AHEAD_MAX) % NEW_AGES) - NEW_AHEAD_MAX;
    }
    uint64_t now = tick >> PROVED_SHIFT;
    return (int32_t)((uint32_t)(now - bits + PROVED_AHEAD_MAX) % PROVED_AGES) - PROVED_AHEAD_MAX;
}

static uint16_t proved_ahead(uint32_t uses, uint64_t tick, int64_t ahead) {
    int64_t units = MIN(MAX(ahead, -(PROVED_BACK_MAX << PROVED_SHIFT)),
                        (PROVED_AHEAD_MAX << PROVED_SHIFT) - (1 << PROVED_SHIFT));
    return proved_bits(uses, tick + (uint64_t)units);
}

uint16_t policy_lfu_fresh(uint64_t tick, bool came_back, int64_t ahead) {
    if (came_back) {
        return proved_ahead(0, tick, ahead);
    }
    ahead = MIN(MAX(ahead, -NEW_BACK_MAX), NEW_AHEAD_MAX);
    return (uint16_t)(POLICY_LFU_NEW | (tick + (uint64_t)ahead) % NEW_AGES);
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
    uint64_t now = policy_lfu_is_new(bits) ? tick : tick >> PROVED_SHIFT;
    return now - (uint64_t)(int64_t)age_of(bits, tick);
}

uint16_t policy_lfu_keep(uint16_t bits, uint64_t tick) {
    int32_t age = age_of(bits, tick);
    if (policy_lfu_is_new(bits)) {
        uint64_t oldest = (tick - NEW_AGE_MAX) % NEW_AGES;
        return age > NEW_AGE_MAX ? (uint16_t)((bits & (POLICY_LFU_NEW | USED)) | oldest) : bits;
    }
    return age > PROVED_AGE_MAX
               ? proved_bits(uses_of(bits), tick - ((uint64_t)PROVED_AGE_MAX << PROVED_SHIFT))
               : bits;
}

int64_t policy_lfu_age(uint16_t bits, uint64_t tick) {
    int32_t age = age_of(bits, tick);
    return policy_lfu_is_new(bits) ? age : age * (1 << PROVED_SHIFT);
}

bool policy_lfu_stays(uint16_t *bits, uint64_t tick, int64_t ahead, uint32_t decay,
                      struct rng *rng) {
    if (policy_lfu_is_new(*bits)) {
        if (!(*bits & USED)) {
            return false;
        }
        *bits = proved_ahead(0, tick, ahead);
        return true;
    }
    uint32_t uses = uses_of(*bits);
    if (uses == 0) {
        return false;
    }
    bool loses = decay > 0 && (decay == 1 || rng_below(rng, decay) == 0);
    *bits = proved_ahead(uses - loses, tick, ahead);
    return true;
}

uint32_t policy_lfu_frequency(uint16_t bits) {
    return policy_lfu_is_new(bits) ? (bits & USED ? 1 : 0) : 2 + uses_of(bits);
}

uint16_t policy_lfu_bits(uint32_t frequency, uint64_t tick) {
    return frequency < 2 ? (uint16_t)(policy_lfu_fresh(tick, false, 0) | (frequency ? USED : 0))
                         : proved_bits(MIN(frequency - 2, (uint32_t)USES_MAX), tick);
}
