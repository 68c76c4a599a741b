/* The pace of the logical clock and what its stamps mean in seconds; see policy_clock.h. Any
 * thread. */
#include "engine/policy_clock.h"

#include "base/assert.h"

enum {
    SPAN_SHIFT = 6,     /* 1/64 of a victim's age enters the average */
    QUIET_TICKS = 4096, /* without an eviction: the entries set the pace again */
    TICK_S_MAX = 3600,
    QUANTUM_MAX = 1 << 30,
};

STATIC_ASSERT(CLOCK_SPAN + CLOCK_SPAN * 2 / 3 < CLOCK_AGE_MAX && CLOCK_AGE_MAX < CLOCK_STAMPS - 256,
              "what is evicted is younger than what is clamped, and that is clamped in time");

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

void policy_clock_init(struct policy_clock *c, uint32_t quantum_min) {
    *c = (struct policy_clock){.quantum_min = quantum_min};
    STORE(c->quantum, quantum_min);
    STORE(c->tick_s, 1);
    STORE(c->tick, CLOCK_STAMPS);
}

/* As if a tick a second had gone before: an idle time that is set finds its stamp. */
static void begin(struct policy_clock *c, int64_t now_s) {
    uint64_t tick = policy_clock_tick(c);
    for (uint32_t age = 0; age < CLOCK_STAMPS; age++) {
        STORE(c->began_s[policy_clock_stamp(tick - age)], (uint32_t)(now_s - age));
    }
    STORE(c->start_s, (uint32_t)now_s);
}

static void move_on(struct policy_clock *c, uint32_t events, int64_t now_s) {
    uint64_t tick = policy_clock_tick(c), sum = LOAD(c->events) + events;
    STORE(c->events, sum);
    STORE(c->began_s[policy_clock_stamp(tick + 1)], (uint32_t)now_s);
    STORE(c->began_events[policy_clock_stamp(tick + 1)], (uint32_t)sum);
    atomic_compare_exchange_strong_explicit(&c->tick, &tick, tick + 1, memory_order_relaxed,
                                            memory_order_relaxed);
}

bool policy_clock_is_quiet(const struct policy_clock *c) {
    uint64_t evicted = LOAD(c->evicted_tick);
    return evicted == 0 || policy_clock_tick(c) - evicted > QUIET_TICKS;
}

static void set_tick_s(struct policy_clock *c, uint32_t tick_s) {
    tick_s = MIN(MAX(tick_s, 1u), TICK_S_MAX);
    if (LOAD(c->tick_s) != tick_s) {
        STORE(c->tick_s, tick_s);
    }
}

static void set_quantum(struct policy_clock *c, uint64_t quantum) {
    quantum = MIN(MAX(quantum, c->quantum_min), (uint64_t)QUANTUM_MAX);
    if (LOAD(c->quantum) != quantum) {
        STORE(c->quantum, (uint32_t)quantum);
    }
}

void policy_clock_advance(struct policy_clock *c, uint32_t events, int64_t now_s, uint64_t entries,
                          uint32_t quiet_span) {
    move_on(c, events, now_s);
    if (policy_clock_is_quiet(c)) {
        set_quantum(c, entries / quiet_span);
        STORE(c->coarse, 0);
    }
}

void policy_clock_second(struct policy_clock *c, int64_t now_s) {
    uint32_t began_s = LOAD(c->began_s[policy_clock_stamp(policy_clock_tick(c))]);
    if (began_s == 0) {
        begin(c, now_s);
    } else if ((uint32_t)now_s - began_s < INT32_MAX &&
               (uint32_t)now_s - began_s >= LOAD(c->tick_s)) {
        move_on(c, 0, now_s);
        if (policy_clock_is_quiet(c)) {
            set_tick_s(c, ((uint32_t)now_s - LOAD(c->start_s)) / CLOCK_QUIET_SPAN);
        }
    }
}

void policy_clock_evicted(struct policy_clock *c, uint16_t stamp, int64_t now_s, uint32_t ticks) {
    uint64_t tick = policy_clock_tick(c);
    uint32_t age = (uint32_t)LOAD(c->events) - LOAD(c->began_events[stamp]);
    uint64_t span = LOAD(c->span);
    if (LOAD(c->evicted_tick) == 0) {
        span = (uint64_t)age << SPAN_SHIFT;
    }
    span += age - (span >> SPAN_SHIFT);
    STORE(c->span, span);
    STORE(c->evicted_tick, tick);
    span >>= SPAN_SHIFT;
    set_quantum(c, span / ticks);
    uint32_t coarse =
        (uint32_t)(MIN(span / LOAD(c->quantum), (uint64_t)ticks) >> CLOCK_COARSE_SHIFT);
    if (LOAD(c->coarse) != coarse) {
        STORE(c->coarse, coarse);
    }
    set_tick_s(c, policy_clock_idle_s(c, stamp, now_s) / (ticks * 2 / 3));
}

uint32_t policy_clock_idle_s(const struct policy_clock *c, uint16_t stamp, int64_t now_s) {
    uint32_t idle = (uint32_t)now_s - LOAD(c->began_s[stamp % CLOCK_STAMPS]);
    return idle < INT32_MAX ? idle : 0;
}

uint16_t policy_clock_stamp_of_idle(const struct policy_clock *c, uint32_t idle_s, int64_t now_s) {
    uint64_t tick = policy_clock_tick(c);
    uint32_t age = 0;
    while (age < CLOCK_AGE_MAX &&
           policy_clock_idle_s(c, policy_clock_stamp(tick - age), now_s) < idle_s) {
        age++;
    }
    return policy_clock_stamp(tick - age);
}
