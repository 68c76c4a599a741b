/* Least recently used: the bits are the stamp of the last access. A stamp is left alone until it is
 * a little old, so that what is hot is read without a store. */
#include "engine/policy.h"

uint16_t policy_lru_touch(const struct policy_clock *c, uint16_t bits, uint64_t tick) {
    return policy_clock_age(tick, bits) > atomic_load_explicit(&c->coarse, memory_order_relaxed)
               ? policy_clock_stamp(tick)
               : bits;
}

uint64_t policy_lru_rank(uint16_t bits, uint64_t tick) {
    return tick - policy_clock_age(tick, bits);
}
