/* Logarithms in fixed point; see policy_size.h. Under a partition's lock. */
#include "engine/policy_size.h"

#include "base/assert.h"
#include "base/num.h"

enum {
    LOG_BITS = 8,    /* after the point */
    MEAN_SHIFT = 10, /* 1/1024 of a size enters the mean */
    ROUND_SHIFT = 5,
    /* A power of the size, as a share of 256. Proved ones' is smaller: what was used and is large
     * costs many bytes when it misses. */
    EXPONENT_NEW = 128,
    EXPONENT_PROVED = 64,
    LIFE_ONE = 1 << LOG_BITS,
    LIFE_MIN = LIFE_ONE / 4, /* of a round */
    LIFE_MAX = LIFE_ONE * 3,
    OCTAVES_MAX = 4,
};

/* Linear between powers of two, off by at most 0.09. */
static uint32_t log_of(uint64_t n) {
    n = MIN(MAX(n, 1u), 1ull << 48);
    unsigned whole = num_log2(n);
    return whole << LOG_BITS | (uint32_t)((n << LOG_BITS >> whole) % LIFE_ONE);
}

/* 2^x, the same way. */
static int64_t power_of_two(int64_t x) {
    x = MIN(MAX(x, -OCTAVES_MAX * LIFE_ONE), OCTAVES_MAX * LIFE_ONE);
    int64_t biased = x + OCTAVES_MAX * LIFE_ONE;
    return (LIFE_ONE + biased % LIFE_ONE) << (biased / LIFE_ONE) >> OCTAVES_MAX;
}

void policy_size_seen(struct policy_size *s, size_t bytes) {
    uint32_t log = log_of(bytes);
    s->mean_log = s->mean_log ? s->mean_log + log - (s->mean_log >> MEAN_SHIFT) : log << MEAN_SHIFT;
}

void policy_size_turn(struct policy_size *s, bool proved, int64_t age) {
    uint32_t *round = &s->rounds[proved];
    *round += (uint32_t)MIN(MAX(age, 0), INT16_MAX) - (*round >> ROUND_SHIFT);
}

int64_t policy_size_shift(const struct policy_size *s, bool proved, size_t bytes) {
    int64_t above = (int64_t)log_of(bytes) - (s->mean_log >> MEAN_SHIFT);
    int64_t exponent = proved ? EXPONENT_PROVED : EXPONENT_NEW;
    int64_t life = power_of_two(-above * exponent / LIFE_ONE);
    life = MIN(MAX(life, LIFE_MIN), LIFE_MAX);
    return (int64_t)(s->rounds[proved] >> ROUND_SHIFT) * (life - LIFE_ONE) / LIFE_ONE;
}
