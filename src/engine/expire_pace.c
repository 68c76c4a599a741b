/* See expire_pace.h. */
#include "engine/expire_pace.h"

#include "base/assert.h"

enum {
    PPM = 1000000,
    SPEED_UP_MAX = 8, /* times, a window */
    SLOW_DOWN_MAX = 2,
    SLOTS_PER_ENTRY_PERCENT = 160, /* so many slots of 100 entries hold one */
};

static uint32_t ppm(uint64_t part, uint64_t whole) {
    return whole ? (uint32_t)(part * PPM / whole) : 0;
}

/* The window is over: its speed times what it met over what is wanted. */
static void adjust(struct expire_pace *p, int64_t now_ms, uint64_t entries) {
    p->due_ppm = ppm(p->due, p->met);
    p->due_ttl_ppm = ppm(p->due, p->met_ttl);
    uint64_t all = (uint64_t)p->due_ppm * PPM / PACE_ALL_PPM;
    uint64_t of_ttl = (uint64_t)p->due_ttl_ppm * PPM / PACE_TTL_PPM;
    uint64_t factor = MAX(all, of_ttl); /* in ppm */
    factor = MIN(MAX(factor, PPM / SLOW_DOWN_MAX), (uint64_t)SPEED_UP_MAX * PPM);
    uint64_t round = entries * SLOTS_PER_ENTRY_PERCENT / 100;
    uint64_t most = MAX(round * PACE_ROUNDS_A_S_MAX, (uint64_t)PACE_SLOTS_A_S_MIN);
    p->slots_a_s = MIN(MAX(p->slots_a_s * factor / PPM, (uint64_t)PACE_SLOTS_A_S_MIN), most);
    p->met = p->met_ttl = p->due = 0;
    p->window_ms = now_ms;
}

void expire_pace_turn(struct expire_pace *p, int64_t now_ms, uint64_t entries) {
    if (p->turn_ms == 0 || now_ms < p->turn_ms) { /* the first one, or the clock was set back */
        p->slots_a_s = MAX(p->slots_a_s, (uint64_t)PACE_SLOTS_A_S_MIN);
        p->turn_ms = p->window_ms = now_ms;
        return;
    }
    if (p->met_ttl >= PACE_WINDOW_ENTRIES || now_ms - p->window_ms >= PACE_WINDOW_MS) {
        adjust(p, now_ms, entries);
    }
    int64_t span_ms = MIN(now_ms - p->turn_ms, PACE_TURN_MS_MAX);
    p->left = p->slots_a_s * (uint64_t)span_ms / 1000;
    p->turn_ms = now_ms;
}

void expire_pace_met(struct expire_pace *p, uint64_t slots, uint64_t met, uint64_t met_ttl,
                     uint64_t due) {
    p->left -= MIN(p->left, slots);
    p->met += met;
    p->met_ttl += met_ttl;
    p->due += due;
    if (due * PPM > met * PACE_HOT_PPM) {
        p->left += slots;
    }
}

bool expire_pace_is_hot(const struct expire_pace *p) {
    return p->met >= PACE_WINDOW_ENTRIES / 4 ? p->due * PPM > p->met * PACE_HOT_PPM
                                             : p->due_ppm > PACE_HOT_PPM;
}
