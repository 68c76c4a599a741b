#ifndef FOREBAY_ENGINE_POLICY_SIZE_H
#define FOREBAY_ENGINE_POLICY_SIZE_H
/* What an entry's size is worth to the lfu family: small ones stay longer in their queue, large
 * ones go earlier, by a stamp that lies ahead or back (Cao and Irani's GreedyDual-Size does the
 * same with its value). So nothing but the stamp is read when entries are compared. A partition's,
 * under its lock.
 *
 *     life = its queue's round * (mean size / size) ^ exponent
 *
 * 1. An entry of mean size, and so every one where sizes are equal, has no shift.
 * 2. The mean is of the logarithm: a few huge values do not make all others small. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct policy_size {
    uint32_t mean_log;  /* of the sizes of what was inserted, base 2, times 2^18; 0 = none yet */
    uint32_t rounds[2]; /* ticks from stamp to turn, of new and of proved entries, times 2^5 */
};

/* An entry of this size was inserted. */
void policy_size_seen(struct policy_size *s, size_t bytes);
/* An entry's turn came, this many ticks after its stamp. */
void policy_size_turn(struct policy_size *s, bool proved, int64_t age);
/* How many ticks ahead (back when negative) its stamp is to lie. */
int64_t policy_size_shift(const struct policy_size *s, bool proved, size_t bytes);
#endif
