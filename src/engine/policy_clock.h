#ifndef FOREBAY_ENGINE_POLICY_CLOCK_H
#define FOREBAY_ENGINE_POLICY_CLOCK_H
/* The keyspace's logical clock: what the policy bits of a slot are stamped with. One for all
 * partitions, so that stamps compare between them. Any thread; relaxed atomics throughout.
 *
 *     events    accesses and insertions, counted a partition; insertions alone while nothing is
 *               evicted
 *     tick      what `quantum` events in one partition, or `tick_s` seconds, move on
 *     stamp     a tick modulo 4096; the wall second and the events at its beginning are remembered
 *
 * 1. The clock never goes back. Losing a race for a tick means that another thread made it.
 * 2. The pace follows the age of what is evicted: it is CLOCK_SPAN ticks of events, whatever the
 *    rate of requests, and at most two thirds as many of seconds. Half of the range is to spare.
 * 3. Stamps older than CLOCK_AGE_MAX are made that old by a sweeping hand (part_evict.c) before
 *    they wrap.
 * 4. While nothing is evicted, `quiet_span` ticks stand for as many insertions as there are
 *    entries, and for the seconds since the start: the clock slows down as the keyspace grows, and
 *    what was inserted first is still told from what came later when room becomes scarce.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    CLOCK_STAMPS = 4096,
    CLOCK_SPAN = 1536,
    CLOCK_SPAN_NEW = 256, /* of a new entry of mean size, with the lfu family: policy_lfu.c */
    CLOCK_AGE_MAX = 3400,
    CLOCK_HAND_TICKS = 192, /* the hand that keeps stamps goes round at least once in as many */
    CLOCK_QUIET_SPAN = 768,
    CLOCK_QUIET_SPAN_NEW = 128, /* the lfu family's */
    CLOCK_COARSE_SHIFT = 7, /* a stamp younger than 1/128 of an evicted one's age is left alone */
};

struct policy_clock {
    _Atomic uint64_t tick;
    _Atomic uint64_t events;  /* at the beginning of the tick */
    _Atomic uint32_t quantum; /* events a tick */
    _Atomic uint32_t coarse;  /* age in ticks up to which an access leaves the stamp alone */
    _Atomic uint32_t tick_s;  /* seconds a tick, at least one event given */
    _Atomic uint64_t span;    /* age of what is evicted, in events: a moving average, times 64 */
    _Atomic uint64_t evicted_tick; /* of the last eviction; 0 = none yet */
    _Atomic uint32_t start_s;      /* of the first second seen */
    uint32_t quantum_min;
    _Atomic uint32_t began_s[CLOCK_STAMPS], began_events[CLOCK_STAMPS];
};

/* `quantum_min`: the least events a tick, so that threads do not meet at it too often. */
void policy_clock_init(struct policy_clock *c, uint32_t quantum_min);

static inline uint64_t policy_clock_tick(const struct policy_clock *c) {
    return atomic_load_explicit(&c->tick, memory_order_relaxed);
}
static inline uint16_t policy_clock_stamp(uint64_t tick) {
    return (uint16_t)(tick % CLOCK_STAMPS);
}
/* Ticks since the stamp was current. */
static inline uint32_t policy_clock_age(uint64_t tick, uint16_t stamp) {
    return (uint32_t)(tick - stamp) % CLOCK_STAMPS;
}

/* Nothing was evicted for a long time, or ever: only insertions are events. */
bool policy_clock_is_quiet(const struct policy_clock *c);
/* `events` were counted since the last call, at wall second `now_s`, in a keyspace of about
 * `entries`. */
void policy_clock_advance(struct policy_clock *c, uint32_t events, int64_t now_s, uint64_t entries,
                          uint32_t quiet_span);
/* The wall second has changed. */
void policy_clock_second(struct policy_clock *c, int64_t now_s);
/* An entry with this stamp was evicted as the one of least worth: the pace follows, so that it
 * takes about `span` ticks from a stamp to its eviction. */
void policy_clock_evicted(struct policy_clock *c, uint16_t stamp, int64_t now_s, uint32_t span);

/* Seconds since the stamp's tick began. */
uint32_t policy_clock_idle_s(const struct policy_clock *c, uint16_t stamp, int64_t now_s);
/* The stamp of the latest tick that began `idle_s` ago or earlier; the oldest one there is. */
uint16_t policy_clock_stamp_of_idle(const struct policy_clock *c, uint32_t idle_s, int64_t now_s);
#endif
