#ifndef FOREBAY_ENGINE_GHOSTS_H
#define FOREBAY_ENGINE_GHOSTS_H
/* Which keys were evicted not long ago, and from which queue: a byte of the hash and a bit each, in
 * the set that other bits of it say, until seven more were evicted to that set. A partition's,
 * under its lock, while the policy is one of the lfu family.
 *
 * 1. At most 1.5 bytes an entry of the partition, GHOSTS_MIN at least.
 * 2. A key that was never there is taken for a ghost once in 37 times. */
#include <stdbool.h>
#include <stdint.h>

enum { GHOSTS_MIN = 16 };
enum ghost { GHOST_NONE, GHOST_NEW, GHOST_PROVED };

struct ghosts {
    uint64_t *sets; /* NULL: none yet */
    uint32_t count; /* of sets */
};

/* Room in proportion to `entries`; those remembered stay. Without `grow` it is only made less. */
void ghosts_fit(struct ghosts *g, uint64_t entries, bool grow);
void ghosts_free(struct ghosts *g);
void ghosts_add(struct ghosts *g, uint64_t hash, bool proved);
/* Forgets it as well. */
enum ghost ghosts_take(struct ghosts *g, uint64_t hash);
#endif
