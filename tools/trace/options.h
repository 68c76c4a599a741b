#ifndef FOREBAY_TRACE_OPTIONS_H
#define FOREBAY_TRACE_OPTIONS_H
/* The command line of replay. */
#include "jobs.h"

enum {
    TRACES_MAX = 64,
    SIZES_MAX = 32,
    SERVERS_MAX = 8,
    CURVE_POINTS_DEFAULT = 16,
    CURVE_POINTS_MAX = 200,
    PIPELINE_DEFAULT = 16,
};

/* A cache size: a share of the footprint, or bytes (objects of a unit trace). */
struct cache_size {
    double share; /* 0 = not a share */
    uint64_t amount;
    char text[32]; /* as it was given */
};

struct server_address {
    char label[64], host[256], port[8];
};

enum replay_mode { MODE_POLICIES, MODE_TABLE, MODE_CURVE, MODE_BUDGET, MODE_SERVERS, MODE_PEERS };

struct options {
    enum replay_mode mode;
    const char *paths[TRACES_MAX];
    uint32_t paths_count;
    const struct player *players[PLAYERS_MAX];
    uint32_t players_count; /* 0 = the mode's own */
    struct cache_size sizes[SIZES_MAX];
    uint32_t sizes_count;
    struct trace_how how;
    struct engine_setup engine;
    uint32_t jobs, points, pipeline;
    bool flush;
    struct cache_size maxmemory; /* text "" = not given */
    const char *policy;          /* of servers; NULL = not given */
    const char *svg, *forebay;   /* NULL = not given */
    struct server_address servers[SERVERS_MAX];
    uint32_t servers_count;
};

/* False after a message on stderr; *status is the exit status then (0 after --help). */
bool options_parse(struct options *o, int argc, char **argv, int *status) MUST_USE;
/* At least 1. */
uint64_t cache_size_amount(const struct cache_size *size, uint64_t footprint);
#endif
