#ifndef FOREBAY_SHARD_SHARD_H
#define FOREBAY_SHARD_SHARD_H
/* The shards of a process, as the server sees them. Unless said otherwise: called by the thread
 * that made them. */
#include <stdbool.h>
#include <stdint.h>
#include "command/dispatch.h"
#include "command/env.h"
#include "net/net.h"
#include "store/store.h"

enum { SHARDS_MAX = 64 };

struct shard_group;

struct shards_params {
    uint32_t count;                /* 1..SHARDS_MAX */
    enum net_backend backend;
    bool pin;                      /* each shard to a CPU of its own, of those allowed */
    const int *listen_fds[SHARDS_MAX]; /* per shard; borrowed until shards_stop has returned */
    unsigned listen_fds_count[SHARDS_MAX];
    struct keyspace *ks;           /* made for `count` shards with transaction_touched */
    const struct command_table *commands;
    struct settings *settings;     /* a reference is taken */
    /* The server's services (info, config_*, shutdown); the shards fill in the others. `host_ctx`
     * is what they find in env->host_ctx. */
    struct host_ops host;
    void *host_ctx;
};

/* Nothing runs yet. Never NULL. */
struct shard_group *shards_create(const struct shards_params *params);
/* store_create's completion; `ctx` is the group. Any thread. */
void shards_store_complete(void *ctx, struct store_request *list);
/* ... and its on_loads_bytes. */
void shards_loads_bytes(void *ctx, int64_t bytes);
/* Before shards_start; NULL = no store. The store must live until shards_stop has returned; stop
 * the shards first, then destroy the store, then shards_destroy. */
void shards_set_store(struct shard_group *g, struct store *store);
/* Starts the threads and waits until each is ready. False with the reason in `why`: none runs
 * then. */
bool shards_start(struct shard_group *g, char *why, size_t why_len);
/* Graceful: no new connections, running batches finish, replies are flushed for at most `grace_ms`,
 * then connections are closed and the threads joined. */
void shards_stop(struct shard_group *g, int64_t grace_ms);
/* Takes NULL. */
void shards_destroy(struct shard_group *g);

/* New settings for all shards, picked up between batches; by the calling shard (`env`, NULL when
 * the caller is none) at once. Takes over one reference. Any thread. */
void shards_publish(struct shard_group *g, struct env *env, struct settings *settings);

/* For statistics; any thread. */
uint32_t shards_count(const struct shard_group *g);
const struct stats *shards_stats(const struct shard_group *g, uint32_t shard);
/* Zeroes the counters that CONFIG RESETSTAT resets: each shard does it soon. Any thread. */
void shards_reset_stats(struct shard_group *g);
enum net_backend shards_backend(const struct shard_group *g);
/* Why NET_AUTO did not take io_uring; "" when it did or was not asked. */
const char *shards_backend_why(const struct shard_group *g);
/* Ticks a microsecond of clock_ticks, for command_stats. */
double shards_ticks_per_us(const struct shard_group *g);
/* What clients hold, of those that hold much: buffers, and values that only their replies have. */
uint64_t shards_clients_bytes(const struct shard_group *g);
/* What rows take that sessions keep to themselves, until the commands that need them have run. */
uint64_t shards_kept_bytes(const struct shard_group *g);
/* Commands that wait for others' rows to be done with, before they ask for their own. */
uint64_t shards_share_waiting(const struct shard_group *g);
/* Requests being executed or parked now, over all shards. */
uint64_t shards_in_progress(const struct shard_group *g);
#endif
