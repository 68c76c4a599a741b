/* Compares rates of return; see new_share.h. Any thread. */
#include "engine/new_share.h"

#include "base/assert.h"

enum {
    WINDOW_DIVISOR = 4, /* of the entries; half of it, or more, is from before */
    WINDOW_MIN = 64,
    PROVED_DIVISOR = 8,  /* of the entries: so many proved ones are to go before they count half */
    DOUBT_DIVISOR = 128, /* of the entries: so many proved ones came back, and did not, at first */
    DOUBT_MIN = 4,
    TIMES_TENTHS = 20, /* so many times more often */
    STEP_DIVISOR = 5,
};

static uint64_t load(const _Atomic uint64_t *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void forget_half(struct new_share *s, unsigned i) {
    atomic_store_explicit(&s->evicted[i], load(&s->evicted[i]) / 2, memory_order_relaxed);
    atomic_store_explicit(&s->returned[i], load(&s->returned[i]) / 2, memory_order_relaxed);
}

static void decide(struct new_share *s, uint64_t entries) {
    uint64_t doubt = entries / DOUBT_DIVISOR + DOUBT_MIN;
    double new_rate = (double)load(&s->returned[0]) / (double)(load(&s->evicted[0]) + 1);
    double proved_rate =
        (double)(load(&s->returned[1]) + doubt) / (double)(load(&s->evicted[1]) + 2 * doubt);
    uint32_t share = new_share_of(s);
    if (new_rate * 10 > proved_rate * TIMES_TENTHS) {
        share = MIN(share + share / STEP_DIVISOR, (uint32_t)NEW_SHARE_MAX);
    } else {
        share = MAX(share - share / (STEP_DIVISOR + 1), (uint32_t)NEW_SHARE_MIN);
    }
    atomic_store_explicit(&s->extra, share - NEW_SHARE_MIN, memory_order_relaxed);
    forget_half(s, 0);
    if (load(&s->evicted[1]) >= WINDOW_MIN / 2 + entries / PROVED_DIVISOR) {
        forget_half(s, 1);
    }
}

void new_share_add(struct new_share *s, struct new_share_events *events, uint64_t entries) {
    if (events->evicted[0] + events->evicted[1] < NEW_SHARE_BATCH) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_fetch_add_explicit(&s->evicted[i], events->evicted[i], memory_order_relaxed);
        atomic_fetch_add_explicit(&s->returned[i], events->returned[i], memory_order_relaxed);
    }
    *events = (struct new_share_events){{0}, {0}};
    if (load(&s->evicted[0]) + load(&s->evicted[1]) > WINDOW_MIN + entries / WINDOW_DIVISOR) {
        decide(s, entries);
    }
}
