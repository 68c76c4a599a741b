#ifndef FOREBAY_SERVER_SERVER_H
#define FOREBAY_SERVER_SERVER_H
/* The process. Made, run and stopped by the main thread; the shards' threads reach it through
 * env->host_ctx (admin.c, info.c). */
#include <pthread.h>
#include <stdatomic.h>
#include "server/config.h"
#include "server/sampler.h"
#include "server/totals.h"
#include "shard/shard.h"

enum {
    SERVER_STOP_GRACE_MS = 2000,
    SERVER_LEAST_BYTES = 8 << 20, /* of maxmemory: for the program, each shard, and a store */
    SERVER_LIMIT_PERIOD_SAMPLES = 20, /* the memory limit is looked at each so many samples */
    SERVER_RUN_ID_CHARS = 40,
    SERVER_PATH_BYTES_MAX = 4096,
};

struct server {
    pthread_mutex_t config_lock; /* CONFIG of one client at a time, of any shard */
    struct config *config;       /* (config_lock) */
    struct config *initial;      /* as it was at start; never changes, so any thread may read it */
    _Atomic uint32_t maxclients; /* what descriptors allow */
    uint32_t shards;
    struct keyspace *ks;
    struct command_table *commands;
    struct store *store; /* NULL = none */
    struct shard_group *group;
    int listen_fds[SHARDS_MAX][NET_LISTENERS_MAX];
    unsigned listen_fds_count[SHARDS_MAX];
    int stop_fd; /* eventfd: SHUTDOWN asks the main thread to stop */
    _Atomic bool stop_now;
    struct sampler sampler;
    uint32_t samples; /* taken so far: the main thread's */
    pthread_mutex_t base_lock;
    struct totals_base base; /* (base_lock) what CONFIG RESETSTAT takes off */
    /* Written before the shards start: */
    char run_id[SERVER_RUN_ID_CHARS + 1];
    char executable[SERVER_PATH_BYTES_MAX];
    uint64_t startup_bytes;
    int64_t started_us;                 /* monotonic */
    bool owns_unixsocket, owns_pidfile; /* made by this process: removed at the end */
};

/* Runs until a signal or SHUTDOWN ends it; takes `config` over. Returns the exit status; what was
 * wrong at start has been written to stderr. */
int server_run(struct config *config);
#endif
