/* Least frequently used: a counter that grows with the logarithm of the accesses and decays by one
 * a minute, after R. Morris, "Counting large numbers of events in small registers" (1978).
 *
 *     | minute of the last decay, modulo 16 : 4 | counter : 8 |
 *
 * An entry idle for more than 15 minutes keeps what the modulus hides of its decay. */
#include "engine/policy.h"

#include "base/assert.h"

enum {
    COUNTER_BITS = 8,
    COUNTER_MAX = 255,
    COUNTER_START = 5, /* new entries get a chance to be used before they go */
    COUNTER_SLOWNESS = 10,
    MINUTE_MASK = 15,
    DECAY_PERIOD_S = 60,
};

uint16_t policy_lfu_bits(uint32_t frequency, int64_t now_s) {
    uint32_t minute = (uint32_t)(now_s / DECAY_PERIOD_S) & MINUTE_MASK;
    return (uint16_t)(minute << COUNTER_BITS | MIN(frequency, COUNTER_MAX));
}

uint16_t policy_lfu_fresh(int64_t now_s) {
    return policy_lfu_bits(COUNTER_START, now_s);
}

uint32_t policy_lfu_frequency(uint16_t bits, int64_t now_s) {
    uint32_t counter = bits & COUNTER_MAX;
    uint32_t minutes = (uint32_t)(now_s / DECAY_PERIOD_S - (bits >> COUNTER_BITS)) & MINUTE_MASK;
    return counter - MIN(counter, minutes);
}

uint16_t policy_lfu_touch(uint16_t bits, int64_t now_s, struct rng *rng) {
    uint32_t counter = policy_lfu_frequency(bits, now_s);
    uint32_t above = counter > COUNTER_START ? counter - COUNTER_START : 0;
    if (counter < COUNTER_MAX && rng_below(rng, above * COUNTER_SLOWNESS + 1) == 0) {
        counter++;
    }
    return policy_lfu_bits(counter, now_s);
}
