#ifndef FOREBAY_BENCH_OPTIONS_H
#define FOREBAY_BENCH_OPTIONS_H
/* What the load generator was asked to do; read once by main, constant afterwards. */
#include <stdbool.h>
#include <stdint.h>

enum {
    OPTIONS_CONNECTIONS_MAX = 4096, /* a thread */
    OPTIONS_PIPELINE_MAX = 1024,
    OPTIONS_THREADS_MAX = 64,
    OPTIONS_KEY_BYTES_MIN = 8,
    OPTIONS_KEY_BYTES_MAX = 250, /* memcached's limit */
    OPTIONS_VALUE_BYTES_MAX = 16 << 20,
    OPTIONS_MSET_KEYS = 10,
    OPTIONS_FIELDS_MAX = 100000
};

enum options_op { OP_GET, OP_SET, OP_INCR, OP_MSET, OP_PING, OP_HSET, OP_DEL, OP_MIX };
enum options_order { ORDER_SEQUENTIAL, ORDER_SHUFFLED };
enum options_dist { DIST_UNIFORM, DIST_ZIPF, DIST_SEQUENTIAL };
enum options_protocol { PROTOCOL_RESP, PROTOCOL_MEMCACHED };

struct options {
    const char *host;
    const char *port;
    const char *unix_path; /* NULL: TCP */
    enum options_protocol protocol;
    enum options_op op;
    double read_share; /* of OP_MIX */
    enum options_dist dist;
    double theta;         /* of DIST_ZIPF */
    uint32_t connections; /* in all */
    uint32_t threads;
    uint32_t pipeline; /* requests sent together and in flight a connection */
    uint64_t requests; /* 0: measure for `seconds` */
    double seconds, warmup_s;
    double rate;              /* requests a second in all; 0: closed loop */
    uint64_t keys, first_key; /* how many, and the first one's number */
    uint32_t key_bytes;
    uint32_t value_bytes, value_bytes_min; /* the key's number decides; equal: all the same */
    uint32_t fields;                       /* of a hash, OP_HSET */
    bool fill;                             /* each key once, and that is measured */
    enum options_order order;              /* of the fill */
    double share_low, share_high;          /* of the keys, for the fill: 0 to 1 is all */
    uint32_t ttl_s;                        /* 0: none */
    uint32_t arena_mb;                     /* of formatted requests, a thread */
    uint64_t seed;
    int cpu; /* the first thread's core, the others follow; -1: not pinned */
    int server_pid;
    bool populate, verify, spin, json, allow_miss;
};

/* False after a message on stderr, or after --help. */
bool options_parse(struct options *o, int argc, char **argv) __attribute__((warn_unused_result));
/* "get", "mix", ... */
const char *options_op_name(enum options_op op);
#endif
