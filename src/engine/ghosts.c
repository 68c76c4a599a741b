/* Sets of seven marks, one word each, the latest in the low bits; see ghosts.h. */
#include "engine/ghosts.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

/* Hash bits: 8 to 39 the set, 40 to 47 the mark; the table's tag is below, the partition above. */
enum {
    SET_SHIFT = 8,
    MARK_SHIFT = 40,
    SET_MARKS = 7,
    MARK_BITS = 9, /* the highest: was proved */
    MARK_HASH = 0xff,
};
#define SET_MASK ((1ull << (SET_MARKS * MARK_BITS)) - 1)
STATIC_ASSERT(GHOSTS_MIN % sizeof(uint64_t) == 0, "whole sets");

static uint64_t *set_of(const struct ghosts *g, uint64_t hash) {
    return &g->sets[(uint64_t)(uint32_t)(hash >> SET_SHIFT) * g->count >> 32];
}

static uint8_t mark_of(uint64_t hash) {
    uint8_t mark = (uint8_t)(hash >> MARK_SHIFT);
    return mark ? mark : 1; /* 0 is a vacant place */
}

/* Sets are in the order of the hash: each goes to where its share of the room is. */
static void resize(struct ghosts *g, uint32_t count) {
    uint64_t *sets = mem_zalloc(count * sizeof *sets);
    for (uint64_t i = 0; g->sets && i < count; i++) {
        sets[i] = g->sets[i * g->count / count];
    }
    mem_free(g->sets);
    *g = (struct ghosts){sets, count};
}

void ghosts_fit(struct ghosts *g, uint64_t entries, bool grow) {
    uint64_t most = MAX(entries + entries / 2, (uint64_t)GHOSTS_MIN) / sizeof *g->sets;
    uint64_t least = most - most / 4; /* not for every entry more or less */
    most = MIN(most, (uint64_t)INT32_MAX);
    if (g->count > most || (grow && g->count < least)) {
        resize(g, (uint32_t)(most - most / 16));
    }
}

void ghosts_free(struct ghosts *g) {
    mem_free(g->sets);
    *g = (struct ghosts){0};
}

void ghosts_add(struct ghosts *g, uint64_t hash, bool proved) {
    if (g->count) {
        uint64_t *set = set_of(g, hash);
        uint64_t mark = mark_of(hash) | (uint64_t)proved << (MARK_BITS - 1);
        *set = (*set << MARK_BITS & SET_MASK) | mark;
    }
}

enum ghost ghosts_take(struct ghosts *g, uint64_t hash) {
    if (!g->count) {
        return GHOST_NONE;
    }
    uint64_t *set = set_of(g, hash), mark = mark_of(hash);
    for (unsigned at = 0; at < SET_MARKS * MARK_BITS; at += MARK_BITS) {
        if ((*set >> at & MARK_HASH) == mark) {
            bool proved = *set >> at >> (MARK_BITS - 1) & 1;
            uint64_t later = *set & ((1ull << at) - 1);
            uint64_t earlier = *set & ~((1ull << at) - 1);
            *set = later | (earlier >> MARK_BITS & ~((1ull << at) - 1));
            return proved ? GHOST_PROVED : GHOST_NEW;
        }
    }
    return GHOST_NONE;
}
