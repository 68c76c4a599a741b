#ifndef FOREBAY_BASE_HASH_H
#define FOREBAY_BASE_HASH_H
/* XXH3 (64 bits) with a random seed a process. Not a cryptographic hash: what a flood of colliding
 * keys may cost is bounded by the table, not here. */
#include <stddef.h>
#include <stdint.h>
#define XXH_INLINE_ALL
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

static inline uint64_t hash_bytes(uint64_t seed, const void *ptr, size_t len) {
    return XXH3_64bits_withSeed(ptr, len, seed);
}
#endif
