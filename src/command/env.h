#ifndef FOREBAY_COMMAND_ENV_H
#define FOREBAY_COMMAND_ENV_H
/* What a shard gives the commands it executes: one a shard, used by its thread only. */
#include <stdint.h>
#include "base/rng.h"
#include "command/settings.h"
#include "command/stats.h"
#include "ds/buf.h"
#include "ds/chain.h"
#include "engine/keyspace.h"

struct client;
struct env;
struct cmd;
struct command_table;
struct resp_writer;

/* A client as CLIENT LIST shows it: a copy. */
struct client_info {
    uint64_t id;
    uint32_t shard;
    char address[64], local_address[64];
    int fd;
    char name[64], lib_name[64], lib_version[32];
    int64_t age_s, idle_s;
    uint32_t flags; /* enum client_flag */
    unsigned db, proto;
    uint32_t multi_count, watch_count;
    uint64_t query_bytes, output_bytes, total_bytes, total_in, total_out, total_commands;
    uint32_t last_command; /* row id + 1 */
};

/* Services of the layers above. All may be called on the shard's thread while locks are held, and
 * none takes a partition's lock but `info`: that hands env->held to the keyspace functions it calls
 * (NULL, or all partitions, never some). */
struct host_ops {
    /* INFO: appends the sections named (lower case; none = the default set) to `out`. */
    void (*info)(struct env *env, const struct slice *sections, uint32_t count, struct buf *out);
    /* Calls fn for every option whose name matches one of the patterns, each once. */
    void (*config_get)(struct env *env, const struct slice *patterns, uint32_t count,
                       void (*fn)(void *arg, struct slice name, struct slice value), void *arg);
    /* Sets all pairs or none. False with Redis's error text in `error` (behind "-"). */
    bool (*config_set)(struct env *env, const struct slice *pairs, uint32_t count,
                       struct buf *error);
    bool (*config_rewrite)(struct env *env, struct buf *error);
    void (*config_resetstat)(struct env *env);
    /* Calls fn for a copy of every client of every shard. */
    void (*clients_visit)(struct env *env, void (*fn)(void *arg, const struct client_info *info),
                          void *arg);
    /* The calling client's own. */
    void (*client_describe)(struct env *env, struct client *client, struct client_info *out);
    /* Sets or (empty) clears one of the texts others may read. */
    void (*client_set_text)(struct env *env, struct client *client, int which, struct slice text);
    /* Closes a client of any shard, soon. The caller's own: after its reply. */
    void (*client_kill)(struct env *env, uint32_t shard, uint64_t id);
    /* CLIENT PAUSE: until wall-clock time `until_ms`; only writes when `writes_only`. */
    void (*pause)(struct env *env, int64_t until_ms, bool writes_only);
    void (*unpause)(struct env *env);
    /* The process stops: gracefully, or at once when `now`. Returns, then things end. */
    void (*shutdown)(struct env *env, bool now);
    /* DEBUG SET-ACTIVE-EXPIRE: whether expired keys are swept, on all shards. NULL: this host
     * sweeps always, and the command is unknown. */
    void (*set_active_expire)(struct env *env, bool on);
    /* True when the client connects from this machine, for `enable-debug-command local`. */
    bool (*client_is_local)(struct env *env, struct client *client);
};

enum { ENV_GROWTH_BYTES_MAX = 1 << 20 }; /* by commands, between two looks at maxmemory */
enum { ENV_MISSES_MAX = 1024 }; /* distinct rows one command may wait for at a time */

/* A key found missing by the command that just ran. */
struct row_miss {
    struct key key;       /* borrows from the arguments */
    struct mapping *map;  /* of settings->maps */
    struct slice values[MAPPING_KEY_COLUMNS_MAX];
};

struct env {
    struct keyspace *ks;
    const struct settings *settings; /* this batch's */
    const struct command_table *commands;
    struct stats *stats;             /* the shard's own */
    const struct host_ops *host;
    void *host_ctx;                  /* the server's, for its host_ops */
    struct chunk_pool *chunks;
    struct rng rng;
    int64_t now_ms;                  /* wall clock, of this batch */
    int64_t now_us;                  /* monotonic, of this batch */
    uint32_t shard, shards;
    const struct lockset *held;      /* c->held of the command that runs: for host->info */
    bool over_limit;                 /* memory is past maxmemory and could not be brought below */
    struct row_miss misses[ENV_MISSES_MAX];
    uint32_t misses_count;
};
#endif
