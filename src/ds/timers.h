#ifndef FOREBAY_DS_TIMERS_H
#define FOREBAY_DS_TIMERS_H
/* Timers of one thread: a binary heap of intrusive nodes. All zero is an empty set. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    int64_t when_us; /* on the monotonic clock */
    size_t index;    /* place in the heap + 1; 0 = not set */
    void (*fire)(struct timer *t, void *arg);
};

struct timers {
    struct timer **heap;
    size_t count, cap;
};

void timers_free(struct timers *t); /* the heap only */
/* Sets or moves `timer`; its `fire` must be set. O(log n). */
void timers_set(struct timers *t, struct timer *timer, int64_t when_us);
/* Harmless when not set. */
void timers_cancel(struct timers *t, struct timer *timer);
static inline bool timer_is_set(const struct timer *timer) {
    return timer->index != 0;
}
/* The earliest deadline, INT64_MAX when there is none. */
static inline int64_t timers_next_us(const struct timers *t) {
    return t->count ? t->heap[0]->when_us : INT64_MAX;
}
/* Fires what is due, unset before its `fire` runs, at most `limit`; returns how many. */
size_t timers_run(struct timers *t, int64_t now_us, size_t limit, void *arg);
#endif
