/* Jobs on threads; see jobs.h. The only shared state is which job is next and the first error.
 *
 * Atomics: `next`, relaxed; results are read after the threads were joined. */
#include "jobs.h"

#include <pthread.h>
#include <stdatomic.h>

struct crew {
    struct job *jobs;
    uint32_t count;
    const struct engine_setup *engine;
    _Atomic uint32_t next;
    pthread_mutex_t lock; /* of: */
    char *error;
    bool failed;
};

static const struct player players[] = {
    {"lru", &sim_lru, 0},
    {"lfu", &sim_lfu, 0},
    {"fifo", &sim_fifo, 0},
    {"s3-fifo", &sim_s3fifo, 0},
    {"sieve", &sim_sieve, 0},
    {"belady", &sim_belady, 0},
    {"allkeys-lru", NULL, EVICT_ALL_LRU},
    {"allkeys-lfu", NULL, EVICT_ALL_LFU},
    {"allkeys-random", NULL, EVICT_ALL_RANDOM},
    {"volatile-lru", NULL, EVICT_VOLATILE_LRU},
    {"volatile-lfu", NULL, EVICT_VOLATILE_LFU},
    {"volatile-random", NULL, EVICT_VOLATILE_RANDOM},
    {"volatile-ttl", NULL, EVICT_VOLATILE_TTL},
    {"noeviction", NULL, EVICT_NONE},
};
STATIC_ASSERT(ARRAY_COUNT(players) <= PLAYERS_MAX, "lists of players have room for all");

const struct player *players_all(uint32_t *count) {
    *count = ARRAY_COUNT(players);
    return players;
}

const struct player *player_find(struct slice name) {
    for (unsigned i = 0; i < ARRAY_COUNT(players); i++) {
        if (slice_eq_nocase(slice_str(players[i].name), name)) {
            return &players[i];
        }
    }
    return NULL;
}

static void job_run(struct crew *crew, struct job *job) {
    if (job->player->sim) {
        sim_run(job->trace, job->player->sim, job->capacity, &job->counts);
        return;
    }
    struct engine_setup setup = *crew->engine;
    struct engine_result result;
    char error[TRACE_ERROR_BYTES];
    setup.policy = job->player->engine;
    setup.capacity = job->capacity;
    bool good = engine_play(job->trace, &setup, &result, error);
    job->counts = result.counts;
    if (!good) {
        pthread_mutex_lock(&crew->lock);
        if (!crew->failed) {
            memcpy(crew->error, error, sizeof error);
            crew->failed = true;
        }
        pthread_mutex_unlock(&crew->lock);
    }
}

static void *work(void *arg) {
    struct crew *crew = arg;
    uint32_t at;
    while ((at = atomic_fetch_add_explicit(&crew->next, 1, memory_order_relaxed)) < crew->count) {
        job_run(crew, &crew->jobs[at]);
    }
    return NULL;
}

bool jobs_run(struct job *jobs, uint32_t count, uint32_t threads,
              const struct engine_setup *engine, char *error) {
    struct crew crew = {.jobs = jobs, .count = count, .engine = engine, .error = error};
    pthread_t started[JOBS_THREADS_MAX];
    uint32_t running = 0, wanted = MIN(MIN(threads, count), JOBS_THREADS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (jobs[i].player->sim && jobs[i].player->sim->needs_next) {
            trace_link(jobs[i].trace);
        }
    }
    pthread_mutex_init(&crew.lock, NULL);
    while (running < wanted && pthread_create(&started[running], NULL, work, &crew) == 0) {
        running++;
    }
    if (running == 0 && count > 0) {
        snprintf(error, TRACE_ERROR_BYTES, "can't start a thread");
        crew.failed = true;
    }
    for (uint32_t i = 0; i < running; i++) {
        pthread_join(started[i], NULL);
    }
    pthread_mutex_destroy(&crew.lock);
    return !crew.failed;
}
