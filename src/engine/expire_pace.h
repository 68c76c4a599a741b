#ifndef FOREBAY_ENGINE_EXPIRE_PACE_H
#define FOREBAY_ENGINE_EXPIRE_PACE_H
/* How fast a partition's expiry sweep goes: slots a second, from the share of expired entries that
 * it meets. Time is a parameter; no clock is asked. Under the partition's lock.
 *
 * With the sweep's round taking R and the entries' lifetimes being T on average, R/T of what the
 * cursor meets has expired (it was here R ago), and half of that is expired in the table as a
 * whole. So the met share is proportional to 1/speed, and speed x (met / wanted) is the speed that
 * meets the wanted share: one multiplication a window, no gain to tune.
 *
 * The wanted shares: PACE_ALL_PPM of all entries, which is what memory is about, and
 * PACE_TTL_PPM of those with a TTL, so that a few short-lived keys among many others do not stay
 * for long. */
#include <stdbool.h>
#include <stdint.h>

enum {
    PACE_ALL_PPM = 40000,      /* met, so about 2% are there expired */
    PACE_TTL_PPM = 200000,
    PACE_HOT_PPM = 100000,     /* of all: expired entries are in the way, more time is given */
    PACE_WINDOW_ENTRIES = 512, /* with a TTL: met before the speed is changed */
    PACE_WINDOW_MS = 1000,     /* ... or after so long */
    PACE_SLOTS_A_S_MIN = 4096,
    PACE_ROUNDS_A_S_MAX = 50,
    PACE_TURN_MS_MAX = 1000, /* a longer pause does not make a turn longer */
    PACE_FAST_TURN_MS = 20,  /* turns wanted this often once a round takes less than a second */
};

struct expire_pace {
    uint64_t slots_a_s;            /* the speed */
    uint64_t left;                 /* slots of this turn */
    int64_t turn_ms, window_ms;    /* when they began; 0 = never */
    uint64_t met, met_ttl, due;    /* entries in this window */
    uint32_t due_ppm, due_ttl_ppm; /* in the last one: of all, of those with a TTL */
};

/* A turn begins: sets `left` by the time since the last turn, and the speed when the window is
 * full. `entries`: in the partition, of any kind. */
void expire_pace_turn(struct expire_pace *p, int64_t now_ms, uint64_t entries);
/* The sweep met so many entries in so many slots. Goes on within the turn while much is due. */
void expire_pace_met(struct expire_pace *p, uint64_t slots, uint64_t met, uint64_t met_ttl,
                     uint64_t due);
/* Much of what is met has expired. */
bool expire_pace_is_hot(const struct expire_pace *p);
/* A round of `entries` takes less than a second: turns should come more often. */
static inline bool expire_pace_is_fast(const struct expire_pace *p, uint64_t entries) {
    return p->slots_a_s > 2 * entries && p->slots_a_s > PACE_SLOTS_A_S_MIN;
}
#endif
