/* The futex behind lock.h. States: 0 free, 1 held, 2 held with sleepers (perhaps). A release that
 * finds 2 wakes one sleeper, which takes the lock as 2 again: it cannot know whether more sleep. */
#include "engine/lock.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static void futex_wait(_Atomic uint32_t *word, uint32_t seen) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake_one(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void lock_init(struct lock *l, bool elided) {
    atomic_init(&l->state, 0);
    l->elided = elided;
    l->held = false;
}

bool lock_try_shared(struct lock *l) {
    uint32_t seen = 0;
    return atomic_load_explicit(&l->state, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong_explicit(&l->state, &seen, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

void lock_take_shared(struct lock *l) {
    for (unsigned i = 0; i < LOCK_SPINS; i++) {
        if (lock_try_shared(l)) {
            return;
        }
        pause_briefly();
    }
    while (atomic_exchange_explicit(&l->state, 2, memory_order_acquire) != 0) {
        futex_wait(&l->state, 2);
    }
}

void lock_release_shared(struct lock *l) {
    if (atomic_exchange_explicit(&l->state, 0, memory_order_release) == 2) {
        futex_wake_one(&l->state);
    }
}
