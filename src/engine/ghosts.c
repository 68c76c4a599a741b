/* Sets of a cache line each: a ring of marks; see ghosts.h. */
#include "engine/ghosts.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

/* Hash bits: 8 to 39 the set, 40 to 54 the mark; the table's tag is below, the partition above. */
enum {
    SET_SHIFT = 8,
    MARK_SHIFT = 40,
    MARK_HASH = 0x7fff,
    MARK_PROVED = 0x8000,
    BYTES_TIMES_4 = 7, /* an entry */
};
STATIC_ASSERT(sizeof(struct ghost_set) == 64, "a cache line");

static struct ghost_set *set_of(const struct ghosts *g, uint64_t hash) {
    return &g->sets[(uint64_t)(uint32_t)(hash >> SET_SHIFT) * g->count >> 32];
}

static uint16_t mark_of(uint64_t hash) {
    uint16_t mark = (uint16_t)(hash >> MARK_SHIFT & MARK_HASH);
    return mark ? mark : 1; /* 0 is a vacant place */
}

/* The newest of those in a ring of `old` places, in one of `places`. */
static struct ghost_set newest_of(const struct ghost_set *from, uint32_t old, uint32_t places) {
    struct ghost_set to = {0};
    uint32_t kept = MIN(old, places);
    for (uint32_t i = 0; i < kept; i++) {
        to.marks[i] = from->marks[(from->next + old - kept + i) % old];
    }
    to.next = (uint16_t)(kept % places);
    return to;
}

/* Sets are in the order of the hash: each goes to where its share of the room is. */
static void resize(struct ghosts *g, uint32_t count, uint32_t places) {
    struct ghost_set *sets = mem_alloc_aligned(sizeof *sets, count * sizeof *sets);
    for (uint64_t i = 0; i < count; i++) {
        sets[i] = g->sets ? newest_of(&g->sets[i * g->count / count], g->places, places)
                          : (struct ghost_set){0};
    }
    mem_free(g->sets);
    *g = (struct ghosts){sets, count, places};
}

void ghosts_fit(struct ghosts *g, uint64_t entries, bool grow) {
    uint64_t bytes = entries * BYTES_TIMES_4 / 4 + MIN(entries / 2, (uint64_t)GHOSTS_MORE_BYTES);
    uint64_t most = MAX(bytes * GHOSTS_A_SET / sizeof *g->sets, 1u);
    uint64_t least = most - most / 8; /* not for every entry more or less */
    most = MIN(most, (uint64_t)INT32_MAX);
    uint64_t have = (uint64_t)g->count * g->places;
    if (have > most || (grow && have < least)) {
        uint64_t want = most - most / 16;
        uint64_t count = (want + GHOSTS_A_SET - 1) / GHOSTS_A_SET;
        resize(g, (uint32_t)count, (uint32_t)(want / count));
    }
}

void ghosts_free(struct ghosts *g) {
    mem_free(g->sets);
    *g = (struct ghosts){0};
}

void ghosts_add(struct ghosts *g, uint64_t hash, bool proved) {
    if (g->count) {
        struct ghost_set *set = set_of(g, hash);
        set->marks[set->next] = (uint16_t)(mark_of(hash) | (proved ? MARK_PROVED : 0));
        set->next = (uint16_t)((set->next + 1) % g->places);
    }
}

enum ghost ghosts_take(struct ghosts *g, uint64_t hash) {
    if (!g->count) {
        return GHOST_NONE;
    }
    struct ghost_set *set = set_of(g, hash);
    uint16_t mark = mark_of(hash);
    bool found = false;
    for (unsigned i = 0; i < GHOSTS_A_SET; i++) { /* all of them: that is vectorised */
        found |= (set->marks[i] & MARK_HASH) == mark;
    }
    for (unsigned i = 0; found && i < GHOSTS_A_SET; i++) {
        if ((set->marks[i] & MARK_HASH) == mark) {
            bool proved = set->marks[i] & MARK_PROVED;
            set->marks[i] = 0;
            return proved ? GHOST_PROVED : GHOST_NEW;
        }
    }
    return GHOST_NONE;
}
