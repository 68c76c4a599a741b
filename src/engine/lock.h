#ifndef FOREBAY_ENGINE_LOCK_H
#define FOREBAY_ENGINE_LOCK_H
/* A partition's lock: three states and a futex (U. Drepper, "Futexes Are Tricky", 2011), with a
 * short spin first. Not recursive. `elided` (one shard): taking it is a branch, and only the
 * assertion that it is held remains. */
#include <stdbool.h>
#include <stdint.h>

struct lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held and somebody sleeps */
    bool elided;
    bool held; /* for assertions, written by the holder */
};

void lock_init(struct lock *l, bool elided);
void lock_take(struct lock *l);
bool lock_try(struct lock *l);
void lock_release(struct lock *l);
#endif
