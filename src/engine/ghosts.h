#ifndef FOREBAY_ENGINE_GHOSTS_H
#define FOREBAY_ENGINE_GHOSTS_H
/* Which keys were evicted not long ago, and from which queue: 15 bits of the hash and one, in the
 * set that other bits of it say, a cache line, until as many more as it has places were evicted to
 * that set. A partition's, under its lock, while the policy is one of the lfu family.
 *
 * 1. At most 1.75 bytes an entry of the partition and GHOSTS_MORE_BYTES, in whole cache lines: 0.8
 *    to 1.1 keys an entry. Of the only lines of a partition with few entries no more places are
 *    used than that: who remembers keys for many rounds takes all that comes back for proved.
 * 2. A key that was never there is taken for a ghost once in 1000 times. (Once in 40 was enough to
 *    spoil the proved queue where most requests miss.)
 * 3. Sets are large so that keys are remembered for about the same time, within a fifth or so: with
 *    seven a set loops just within their reach were lost. */
#include <stdbool.h>
#include <stdint.h>

enum { GHOSTS_A_SET = 31, GHOSTS_MORE_BYTES = 512 };
enum ghost { GHOST_NONE, GHOST_NEW, GHOST_PROVED };

struct ghost_set {
    uint16_t marks[GHOSTS_A_SET]; /* 0: vacant */
    uint16_t next;                /* place of the next one */
};

struct ghosts {
    struct ghost_set *sets; /* NULL: none yet */
    uint32_t count;         /* of sets */
    uint32_t places;        /* in use in each */
};

/* Room in proportion to `entries`; those remembered stay, the newest where there are fewer places.
 * Without `grow` it is only made less. */
void ghosts_fit(struct ghosts *g, uint64_t entries, bool grow);
void ghosts_free(struct ghosts *g);
void ghosts_add(struct ghosts *g, uint64_t hash, bool proved);
/* Forgets it as well. */
enum ghost ghosts_take(struct ghosts *g, uint64_t hash);
#endif
