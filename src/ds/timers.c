#include "ds/timers.h"

#include "base/assert.h"
#include "base/mem.h"

static void place(struct timers *t, size_t at, struct timer *timer) {
    t->heap[at] = timer;
    timer->index = at + 1;
}

static void sift_up(struct timers *t, size_t at, struct timer *timer) {
    while (at > 0 && t->heap[(at - 1) / 2]->when_us > timer->when_us) {
        place(t, at, t->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(t, at, timer);
}

static void sift_down(struct timers *t, size_t at, struct timer *timer) {
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= t->count) {
            break;
        }
        if (child + 1 < t->count && t->heap[child + 1]->when_us < t->heap[child]->when_us) {
            child++;
        }
        if (t->heap[child]->when_us >= timer->when_us) {
            break;
        }
        place(t, at, t->heap[child]);
        at = child;
    }
    place(t, at, timer);
}

void timers_free(struct timers *t) {
    mem_free(t->heap);
    *t = (struct timers){0};
}

void timers_set(struct timers *t, struct timer *timer, int64_t when_us) {
    ASSERT(timer->fire);
    timers_cancel(t, timer);
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 16;
        t->heap = mem_realloc(t->heap, t->cap * sizeof *t->heap);
    }
    timer->when_us = when_us;
    sift_up(t, t->count++, timer);
}

void timers_cancel(struct timers *t, struct timer *timer) {
    if (timer->index == 0) {
        return;
    }
    size_t at = timer->index - 1;
    ASSERT(at < t->count && t->heap[at] == timer);
    timer->index = 0;
    struct timer *last = t->heap[--t->count];
    if (last != timer) {
        if (at > 0 && t->heap[(at - 1) / 2]->when_us > last->when_us) {
            sift_up(t, at, last);
        } else {
            sift_down(t, at, last);
        }
    }
}

size_t timers_run(struct timers *t, int64_t now_us, size_t limit, void *arg) {
    size_t fired = 0;
    while (fired < limit && t->count && t->heap[0]->when_us <= now_us) {
        struct timer *timer = t->heap[0];
        timers_cancel(t, timer);
        timer->fire(timer, arg);
        fired++;
    }
    return fired;
}
