#ifndef FOREBAY_ENGINE_LOCK_H
#define FOREBAY_ENGINE_LOCK_H
/* A partition's lock: three states and a futex (U. Drepper, "Futexes Are Tricky", 2011), with a
 * short spin first. Not recursive. `elided` (one shard): taking it is a branch, and only the
 * assertion that it is held remains. Any thread. */
#include <stdbool.h>
#include <stdint.h>
#include "base/assert.h"

enum { LOCK_SPINS = 100 /* pauses before sleeping */ };

struct lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held and somebody sleeps */
    bool elided;
    bool held; /* for assertions, written by the holder */
};

void lock_init(struct lock *l, bool elided);
/* The ways through the futex: lock_take and friends below are the ones to call. */
void lock_take_shared(struct lock *l);
bool lock_try_shared(struct lock *l);
void lock_release_shared(struct lock *l);

static inline void lock_take(struct lock *l) {
    if (!l->elided) {
        lock_take_shared(l);
    }
    ASSERT(!l->held);
    l->held = true;
}
/* False when somebody holds it. */
static inline bool lock_try(struct lock *l) {
    if (l->elided ? l->held : !lock_try_shared(l)) {
        return false;
    }
    ASSERT(!l->held);
    l->held = true;
    return true;
}
static inline void lock_release(struct lock *l) {
    ASSERT(l->held);
    l->held = false;
    if (!l->elided) {
        lock_release_shared(l);
    }
}
/* Asserts that the lock is held; that it is held by the caller is the caller's word. */
static inline void lock_assert_held(const struct lock *l) {
    ASSERT(l->held);
}
#endif
