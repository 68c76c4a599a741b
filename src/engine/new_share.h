#ifndef FOREBAY_ENGINE_NEW_SHARE_H
#define FOREBAY_ENGINE_NEW_SHARE_H
/* How much of the room new entries have with the lfu family: a tenth, but more while those evicted
 * as new come back twice as often as those evicted as proved. That is so where the keys in use
 * drift: what was proved is used no more. One of the keyspace; any thread, relaxed atomics: an
 * event lost in a race does no harm.
 *
 * 1. The share moves by a fifth, at most once in as many evictions as a sixteenth of the entries,
 *    an eighth as a rule; what is counted of the new then counts half the next time. Where the new
 *    are few, hardly any proved ones go: they are counted for as long as it takes to know something
 *    of them.
 * 2. Without evictions of proved entries nothing is known of them: the share falls. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { NEW_SHARE_UNIT = 1000, NEW_SHARE_MIN = 100, NEW_SHARE_MAX = 600, NEW_SHARE_BATCH = 16 };

/* Evicted, and found as a ghost later; [0] as new, [1] as proved, out of a sample. */
struct new_share_events {
    uint32_t evicted[2], returned[2];
};

struct new_share {
    _Atomic uint32_t extra; /* thousandths above the least */
    _Atomic uint64_t evicted[2], returned[2];
};

/* Takes the events up once they are a batch, and forgets them there. `entries` of the keyspace. */
void new_share_add(struct new_share *s, struct new_share_events *events, uint64_t entries);
/* Thousandths of the entries may be new before one of them goes. */
static inline uint32_t new_share_of(const struct new_share *s) {
    return NEW_SHARE_MIN + atomic_load_explicit(&s->extra, memory_order_relaxed);
}
#endif
