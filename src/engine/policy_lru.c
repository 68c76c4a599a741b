/* Least recently used: the bits are the second of the last access, modulo 4096. Within one second
 * all are equal, and what was idle for more than 68 minutes may look younger until it is sampled in
 * its oldest phase; what is in use never looks old. */
#include "engine/policy.h"

#include "engine/table.h"

uint16_t policy_lru_fresh(int64_t now_s) {
    return (uint16_t)(now_s & TABLE_POLICY_MAX);
}

uint16_t policy_lru_touch(uint16_t bits, int64_t now_s, struct rng *rng) {
    return policy_lru_fresh(now_s);
}

uint32_t policy_lru_idle_s(uint16_t bits, int64_t now_s) {
    return (uint32_t)(now_s - bits) & TABLE_POLICY_MAX;
}

uint64_t policy_lru_worth(uint16_t bits, const struct entry *e, int64_t now_s, struct rng *rng) {
    return TABLE_POLICY_MAX - policy_lru_idle_s(bits, now_s);
}
