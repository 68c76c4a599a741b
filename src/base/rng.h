#ifndef FOREBAY_BASE_RNG_H
#define FOREBAY_BASE_RNG_H
/* A small seeded generator (splitmix64, Steele, Lea and Flood 2014): for sampling and jitter, never
 * for secrets. One a thread; the state is the caller's. */
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r) {
    uint64_t z = (r->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* Uniform in [0, bound); bound 0 gives 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t bound) {
    return (uint64_t)(((unsigned __int128)rng_next(r) * bound) >> 64);
}

/* `len` bytes from the kernel, for seeds and identifiers. */
void rng_system_bytes(void *out, uint64_t len);
#endif
