#ifndef FOREBAY_TRACE_ENGINE_PLAY_H
#define FOREBAY_TRACE_ENGINE_PLAY_H
/* Plays a trace through the server's own engine, in this process: each request looks its key up
 * under the partition's lock as GET does, and a miss stores a value of the trace's size as SET
 * does. Time is the trace's, so that a run repeats exactly.
 *
 * Capacity is kept in one of two ways:
 * - by the trace's sizes: before an object is stored, objects are evicted until it fits, whatever
 *   memory the process takes; what is larger than the whole cache is not stored. This compares with
 *   the simulated policies.
 * - by memory (`maxmemory_bytes`): the engine's real budget, index and allocator slack included.
 *   One such run at a time in a process, as the allocator's account is the process's. */
#include "engine/policy.h"
#include "sim.h"

enum {
    ENGINE_SHARDS_MAX = 64,
    ENGINE_UNIT_BYTES = 64,     /* key and value of an object in a unit trace */
    ENGINE_RATE_DEFAULT = 1000, /* requests a second of the trace's time */
    ENGINE_SAMPLES_DEFAULT = 5,
};
#define ENGINE_TTL_FAR_MS (365ll * 24 * 3600 * 1000)

struct engine_setup {
    enum evict_policy policy;
    uint64_t capacity;        /* objects or bytes; not used with: */
    uint64_t maxmemory_bytes; /* 0 = by the trace's sizes */
    uint32_t shards;
    uint32_t samples;
    uint32_t unit_bytes; /* key and value of an object in a unit trace */
    uint64_t rate;       /* requests a second of the trace's time */
    uint64_t seed;       /* not 0 */
    int64_t ttl_ms;      /* 0 = none; but volatile-* policies get a far one */
};

struct engine_result {
    struct counts counts;
    uint64_t keys;       /* at the end, counted */
    uint64_t held;       /* their bytes of key and value, or objects of a unit trace */
    uint64_t used_bytes; /* memory of the engine at the end */
};

/* Redis's name of a policy, in its order; NULL past the last. */
const char *engine_policy_name(unsigned policy);
/* False with a message of at most TRACE_ERROR_BYTES. With maxmemory_bytes, the calling thread must be
 * registered (mem.h) and the only one that allocates. */
bool engine_play(const struct trace *t, const struct engine_setup *setup,
                 struct engine_result *out, char *error) MUST_USE;
#endif
