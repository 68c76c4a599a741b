/* Command line of the load generator. Every option takes its value as the next argument. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/assert.h"

static const char *const USAGE =
    "loadgen: load for a RESP or memcached server, on io_uring\n"
    "  --host H --port P | --unix PATH     where (127.0.0.1 6379)\n"
    "  --protocol resp|memcached           (resp)\n"
    "  --connections N  --threads N        in all (50, 1)\n"
    "  --pipeline N                        requests sent together on a connection (1)\n"
    "  --seconds S | --requests N          length of the measurement (5 s)\n"
    "  --warmup S                          before it (1)\n"
    "  --op get|set|incr|mset|ping|hset|del|mix:R   mix: share R of reads, the rest sets (get)\n"
    "  --keys N --key-bytes N --value-bytes N|MIN:MAX   (1000000, 16, 100)\n"
    "                                      MIN:MAX: by the key, its logarithm even\n"
    "  --first-key N  --fields N           the lowest key's number (0), of an hset (10)\n"
    "  --dist uniform|zipf:THETA|sequential     (uniform)\n"
    "  --ttl S                             sets carry this time to live\n"
    "  --rate R                            open loop: R requests a second in all, at fixed times\n"
    "  --populate                          set every key first\n"
    "  --fill sequential|shuffled          set, hset or del each key once, and measure that\n"
    "  --share A:B                         fill only these of the keys, as by lot (0:1)\n"
    "  --verify                            compare every byte of the values\n"
    "  --allow-miss                        a miss is no failure\n"
    "  --pin CPU                           first thread's core, the others on the next ones\n"
    "  --spin                              never sleep: the server pays for no wake-ups\n"
    "  --server-pid PID                    report the server's CPU over the same window\n"
    "  --arena-mb N                        formatted requests kept, a thread (64)\n"
    "  --seed N  --json\n";

static const char *const OP_NAMES[] = {"get", "set", "incr", "mset", "ping", "hset", "del", "mix"};

const char *options_op_name(enum options_op op) {
    return OP_NAMES[op];
}

static bool parse_double(const char *text, double low, double high, double *out) {
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (errno || end == text || *end || !(value >= low && value <= high)) {
        return false;
    }
    *out = value;
    return true;
}

static bool parse_u64(const char *text, uint64_t low, uint64_t high, uint64_t *out) {
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || value < low || value > high) {
        return false;
    }
    *out = value;
    return true;
}

static bool parse_u32(const char *text, uint32_t low, uint32_t high, uint32_t *out) {
    uint64_t value;
    if (!parse_u64(text, low, high, &value)) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

static bool parse_op(struct options *o, const char *text) {
    if (strncmp(text, "mix:", 4) == 0) {
        o->op = OP_MIX;
        return parse_double(text + 4, 0, 1, &o->read_share);
    }
    for (uint32_t i = 0; i < OP_MIX; i++) {
        if (strcmp(text, OP_NAMES[i]) == 0) {
            o->op = (enum options_op)i;
            return true;
        }
    }
    return false;
}

static bool parse_dist(struct options *o, const char *text) {
    if (strncmp(text, "zipf:", 5) == 0) {
        o->dist = DIST_ZIPF;
        return parse_double(text + 5, 0.01, 10, &o->theta);
    }
    o->dist = strcmp(text, "uniform") == 0 ? DIST_UNIFORM : DIST_SEQUENTIAL;
    return o->dist == DIST_UNIFORM || strcmp(text, "sequential") == 0;
}

/* "LOW:HIGH". */
static bool parse_share(struct options *o, const char *text) {
    char *colon;
    errno = 0;
    o->share_low = strtod(text, &colon);
    return !errno && colon != text && *colon == ':' && o->share_low >= 0 &&
           parse_double(colon + 1, o->share_low, 1, &o->share_high);
}

static bool parse_fill(struct options *o, const char *text) {
    o->fill = true;
    o->order = strcmp(text, "shuffled") == 0 ? ORDER_SHUFFLED : ORDER_SEQUENTIAL;
    return o->order == ORDER_SHUFFLED || strcmp(text, "sequential") == 0;
}

/* "BYTES" or "MIN:MAX". */
static bool parse_value_bytes(struct options *o, const char *text) {
    char low[16];
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    if (len >= sizeof(low)) {
        return false;
    }
    memcpy(low, text, len);
    low[len] = 0;
    if (!parse_u32(low, 1, OPTIONS_VALUE_BYTES_MAX, &o->value_bytes_min)) {
        return false;
    }
    o->value_bytes = o->value_bytes_min;
    return !colon ||
           parse_u32(colon + 1, o->value_bytes_min, OPTIONS_VALUE_BYTES_MAX, &o->value_bytes);
}

static bool parse_protocol(struct options *o, const char *text) {
    o->protocol = strcmp(text, "resp") == 0 ? PROTOCOL_RESP : PROTOCOL_MEMCACHED;
    return o->protocol == PROTOCOL_RESP || strcmp(text, "memcached") == 0;
}

static bool parse_flag(struct options *o, const char *name) {
    struct {
        const char *name;
        bool *flag;
    } flags[] = {{"--populate", &o->populate},
                 {"--verify", &o->verify},
                 {"--spin", &o->spin},
                 {"--json", &o->json},
                 {"--allow-miss", &o->allow_miss}};
    for (uint32_t i = 0; i < ARRAY_COUNT(flags); i++) {
        if (strcmp(name, flags[i].name) == 0) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

/* Where the load goes to and how it looks. */
static bool parse_target(struct options *o, const char *name, const char *v, bool *known) {
    if (strcmp(name, "--host") == 0) {
        o->host = v;
    } else if (strcmp(name, "--port") == 0) {
        o->port = v;
    } else if (strcmp(name, "--unix") == 0) {
        o->unix_path = v;
    } else if (strcmp(name, "--protocol") == 0) {
        return parse_protocol(o, v);
    } else if (strcmp(name, "--op") == 0) {
        return parse_op(o, v);
    } else if (strcmp(name, "--dist") == 0) {
        return parse_dist(o, v);
    } else if (strcmp(name, "--fill") == 0) {
        return parse_fill(o, v);
    } else if (strcmp(name, "--share") == 0) {
        return parse_share(o, v);
    } else if (strcmp(name, "--value-bytes") == 0) {
        return parse_value_bytes(o, v);
    } else {
        *known = false;
    }
    return true;
}

static bool parse_number(struct options *o, const char *name, const char *v) {
    struct {
        const char *name;
        uint32_t low, high, *out;
    } numbers[] = {
        {"--connections", 1, OPTIONS_CONNECTIONS_MAX * OPTIONS_THREADS_MAX, &o->connections},
        {"--threads", 1, OPTIONS_THREADS_MAX, &o->threads},
        {"--pipeline", 1, OPTIONS_PIPELINE_MAX, &o->pipeline},
        {"--key-bytes", OPTIONS_KEY_BYTES_MIN, OPTIONS_KEY_BYTES_MAX, &o->key_bytes},
        {"--fields", 1, OPTIONS_FIELDS_MAX, &o->fields},
        {"--ttl", 0, UINT32_MAX, &o->ttl_s},
        {"--arena-mb", 1, 3000, &o->arena_mb},
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            return parse_u32(v, numbers[i].low, numbers[i].high, numbers[i].out);
        }
    }
    uint64_t number;
    if (strcmp(name, "--requests") == 0) {
        return parse_u64(v, 1, UINT64_MAX, &o->requests);
    }
    if (strcmp(name, "--keys") == 0) {
        return parse_u64(v, 1, UINT64_C(100000000), &o->keys);
    }
    if (strcmp(name, "--first-key") == 0) {
        return parse_u64(v, 0, UINT64_C(99999999), &o->first_key);
    }
    if (strcmp(name, "--seed") == 0) {
        return parse_u64(v, 0, UINT64_MAX, &o->seed);
    }
    if (strcmp(name, "--seconds") == 0) {
        return parse_double(v, 0.01, 1e6, &o->seconds);
    }
    if (strcmp(name, "--warmup") == 0) {
        return parse_double(v, 0, 1e6, &o->warmup_s);
    }
    if (strcmp(name, "--rate") == 0) {
        return parse_double(v, 1, 1e9, &o->rate);
    }
    if (strcmp(name, "--pin") == 0 && parse_u64(v, 0, 1023, &number)) {
        o->cpu = (int)number;
        return true;
    }
    if (strcmp(name, "--server-pid") == 0 && parse_u64(v, 1, INT32_MAX, &number)) {
        o->server_pid = (int)number;
        return true;
    }
    return false;
}

static const char *contradiction(const struct options *o) {
    if (o->connections < o->threads || o->connections / o->threads >= OPTIONS_CONNECTIONS_MAX) {
        return "connections must be at least threads, and below 4096 a thread";
    }
    if (o->protocol == PROTOCOL_MEMCACHED &&
        (o->op == OP_MSET || o->op == OP_PING || o->op == OP_INCR || o->op == OP_HSET)) {
        return "with memcached only get, set, del and mix";
    }
    if (o->fill &&
        ((o->op != OP_SET && o->op != OP_HSET && o->op != OP_DEL) || o->rate > 0 || o->populate)) {
        return "a fill is by set, hset or del, without a rate and without populating";
    }
    if (o->verify && o->value_bytes_min != o->value_bytes) {
        return "values of different sizes can't be verified";
    }
    uint64_t values = o->op == OP_HSET ? o->fields : o->op == OP_MSET ? OPTIONS_MSET_KEYS : 1;
    if (o->pipeline * (o->value_bytes + UINT64_C(512)) * values > 1u << 30) {
        return "too many bytes in a batch";
    }
    if (o->first_key + o->keys > UINT64_C(99999999)) {
        return "key numbers have eight digits";
    }
    return NULL;
}

bool options_parse(struct options *o, int argc, char **argv) {
    *o = (struct options){.host = "127.0.0.1",
                          .port = "6379",
                          .connections = 50,
                          .threads = 1,
                          .pipeline = 1,
                          .seconds = 5,
                          .warmup_s = 1,
                          .keys = 1000000,
                          .key_bytes = 16,
                          .value_bytes = 100,
                          .value_bytes_min = 100,
                          .fields = 10,
                          .share_high = 1,
                          .arena_mb = 64,
                          .seed = 1,
                          .cpu = -1};
    for (int i = 1; i < argc; i++) {
        if (parse_flag(o, argv[i])) {
            continue;
        }
        bool known = true;
        if (i + 1 == argc || !parse_target(o, argv[i], argv[i + 1], &known) ||
            (!known && !parse_number(o, argv[i], argv[i + 1]))) {
            fprintf(stderr, "loadgen: can't use '%s'\n%s", argv[i], USAGE);
            return false;
        }
        i++;
    }
    const char *why = contradiction(o);
    if (why) {
        fprintf(stderr, "loadgen: %s\n", why);
    }
    return !why;
}
