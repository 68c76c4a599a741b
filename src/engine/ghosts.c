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
STATIC_ASSERT(sizeof(struct ghost_set) == GHOSTS_MIN, "a cache line");

static struct ghost_set *set_of(const struct ghosts *g, uint64_t hash) {
    return &g->sets[(uint64_t)(uint32_t)(hash >> SET_SHIFT) * g->count >> 32];
}

static uint16_t mark_of(uint64_t hash) {
    uint16_t mark = (uint16_t)(hash >> MARK_SHIFT & MARK_HASH);
    return mark ? mark : 1; /* 0 is a vacant place */
}

/* Sets are in the order of the hash: each goes to where its share of the room is. */
static void resize(struct ghosts *g, uint32_t count) {
    struct ghost_set *sets = mem_alloc_aligned(sizeof *sets, count * sizeof *sets);
    for (uint64_t i = 0; i < count; i++) {
        sets[i] = g->sets ? g->sets[i * g->count / count] : (struct ghost_set){0};
    }
    mem_free(g->sets);
    *g = (struct ghosts){sets, count};
}

void ghosts_fit(struct ghosts *g, uint64_t entries, bool grow) {
    uint64_t most = MAX(entries * BYTES_TIMES_4 / 4, (uint64_t)GHOSTS_MIN) / sizeof *g->sets;
    uint64_t least = most - most / 8; /* not for every entry more or less */
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
        struct ghost_set *set = set_of(g, hash);
        set->marks[set->next] = (uint16_t)(mark_of(hash) | (proved ? MARK_PROVED : 0));
        set->next = (uint16_t)((set->next + 1) % GHOSTS_A_SET);
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
