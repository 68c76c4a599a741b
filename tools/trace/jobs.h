#ifndef FOREBAY_TRACE_JOBS_H
#define FOREBAY_TRACE_JOBS_H
/* What can be played in this process, and many such plays at once: a job is one trace through one
 * policy at one size. Traces are shared and read-only. */
#include "engine_play.h"

enum { JOBS_THREADS_MAX = 64, PLAYERS_MAX = 16 };

/* A policy by name: a simulated one, or the engine's. */
struct player {
    const char *name;
    const struct sim_policy *sim; /* NULL: the engine, with */
    enum evict_policy engine;
};
/* Ends at count; the simulated ones first. */
const struct player *players_all(uint32_t *count);
/* NULL when there is none of that name. */
const struct player *player_find(struct slice name);

struct job {
    struct trace *trace;
    const struct player *player;
    uint64_t capacity;
    struct counts counts; /* the result */
};

/* Links the traces where a player needs it, then runs all on `threads` threads. `engine` says how
 * the engine is set up, but for policy and capacity. False with a message (trace.h). */
bool jobs_run(struct job *jobs, uint32_t count, uint32_t threads,
              const struct engine_setup *engine, char *error) MUST_USE;
#endif
