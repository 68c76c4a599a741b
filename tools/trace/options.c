/* The command line; see options.h. */
#include "options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "wire_play.h"

static const char usage[] =
    "replay: plays a trace of requests through caches and says how much they miss\n"
    "\n"
    "  tools/replay [options] TRACE...              policies beside each other\n"
    "  tools/replay --mrc [--svg FILE] TRACE...     miss-ratio curves\n"
    "  tools/replay --table TRACE_OR_FOLDER...      acceptance table, exit status 1 on a failed bar\n"
    "  tools/replay --maxmemory SIZE TRACE...       the engine with its real memory budget\n"
    "  tools/replay --server [LABEL=]HOST:PORT ... TRACE    any RESP server, over the wire\n"
    "  tools/replay --peers --maxmemory SIZE TRACE  forebay, redis-server and valkey-server\n"
    "\n"
    "TRACE has a line \"key size\" for each request; .xz files and - (standard input) too.\n"
    "\n"
    "  --policies LIST   lru,lfu,fifo,s3-fifo,sieve,belady (simulated, exact) and Redis's names\n"
    "                    (the engine): allkeys-lru,allkeys-lfu,volatile-ttl,noeviction ...\n"
    "  --sizes LIST      cache sizes: shares of the footprint or bytes, objects where the trace\n"
    "                    has no sizes (default 1%,5%,10%,25%)\n"
    "  --unit            ignore sizes: every object counts 1\n"
    "  --fixed-sizes     a key keeps the size of its first request\n"
    "  --unit-bytes N    key and value of an object without a size (default 64)\n"
    "  --jobs N          threads (default: one a core)\n"
    "  --mrc             curves; --points N sizes (default 16), --svg FILE\n"
    "  --shards N        partitions as a server with N shards has them (default 1)\n"
    "  --samples N       maxmemory-samples (default 5)\n"
    "  --ttl SPAN        TTL of every key, as 60s, 1h (volatile-* get a far one without)\n"
    "  --rate N          requests a second of the trace's own time (default 1000)\n"
    "  --seed N          of the engine (default 1)\n"
    "  --maxmemory SIZE  512mb, or 10% of the footprint; with --server: CONFIG SET first\n"
    "  --server ADDRESS  may be given up to 8 times; --pipeline N (default 16),\n"
    "                    --policy NAME: CONFIG SET maxmemory-policy first, --flush: FLUSHALL first\n"
    "  --peers           --policy NAME (default: allkeys-lru and allkeys-lfu), --forebay PATH\n"
    "\n"
    "docs/replay.md explains formats, policies and how to size a cache.\n";

static bool refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool refuse(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("replay: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return false;
}

uint64_t cache_size_amount(const struct cache_size *size, uint64_t footprint) {
    double share = size->share * (double)footprint;
    return MAX(size->share > 0 ? (uint64_t)(share + 1e-9) : size->amount, 1u);
}

static bool parse_size(struct cache_size *out, struct slice text) {
    *out = (struct cache_size){0};
    if (text.len >= sizeof out->text) {
        return refuse("a size of too many characters");
    }
    memcpy(out->text, text.ptr, text.len);
    bool share = text.len > 1 && text.ptr[text.len - 1] == '%';
    bool good = share ? num_parse_double(slice_of(text.ptr, text.len - 1), &out->share) &&
                            out->share > 0 && out->share <= 100000
                      : num_parse_memory(text, &out->amount) && out->amount > 0;
    out->share /= 100;
    return good || refuse("\"%s\" is no size: 10%%, 4096, 64mb", out->text);
}

/* The next word of a list with commas; false at its end. */
static bool next_word(struct slice *list, struct slice *word) {
    if (!list->ptr) {
        return false;
    }
    const char *comma = memchr(list->ptr, ',', list->len);
    *word = slice_of(list->ptr, comma ? (size_t)(comma - list->ptr) : list->len);
    *list = comma ? slice_of(comma + 1, list->len - word->len - 1) : slice_of(NULL, 0);
    return true;
}

static bool parse_sizes(struct options *o, const char *text) {
    struct slice list = slice_str(text), word;
    o->sizes_count = 0;
    while (next_word(&list, &word)) {
        if (o->sizes_count == SIZES_MAX) {
            return refuse("more than %d sizes", SIZES_MAX);
        }
        if (!parse_size(&o->sizes[o->sizes_count++], word)) {
            return false;
        }
    }
    return true;
}

static bool parse_policies(struct options *o, const char *text) {
    struct slice list = slice_str(text), word;
    o->players_count = 0;
    while (next_word(&list, &word)) {
        const struct player *player = player_find(word);
        if (!player) {
            return refuse("there is no policy \"%.*s\"", SLICE_FMT(word));
        }
        if (o->players_count == PLAYERS_MAX) {
            return refuse("more than %d policies", PLAYERS_MAX);
        }
        o->players[o->players_count++] = player;
    }
    return true;
}

static bool parse_server(struct options *o, const char *text) {
    if (o->servers_count == SERVERS_MAX) {
        return refuse("more than %d servers", SERVERS_MAX);
    }
    struct server_address *s = &o->servers[o->servers_count++];
    const char *equals = strchr(text, '='), *address = equals ? equals + 1 : text;
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || strlen(colon + 1) >= sizeof s->port ||
        (size_t)(colon - address) >= sizeof s->host) {
        return refuse("\"%s\" is no [LABEL=]HOST:PORT", text);
    }
    snprintf(s->label, sizeof s->label, "%.*s", (int)(equals ? equals - text : strlen(text)),
             text);
    bool bracketed = *address == '[' && colon[-1] == ']';
    snprintf(s->host, sizeof s->host, "%.*s", (int)(colon - address) - 2 * bracketed,
             address + bracketed);
    snprintf(s->port, sizeof s->port, "%s", colon + 1);
    return true;
}

static bool parse_count(const char *name, const char *text, uint64_t max, uint64_t *out) {
    return (num_parse_u64(slice_str(text), out) && *out > 0 && *out <= max) ||
           refuse("--%s must be 1 to %llu", name, (unsigned long long)max);
}

static bool parse_u32(const char *name, const char *text, uint32_t max, uint32_t *out) {
    uint64_t value = 0;
    bool good = parse_count(name, text, max, &value);
    *out = (uint32_t)value;
    return good;
}

enum {
    OPT_POLICIES = 256, OPT_SIZES, OPT_UNIT, OPT_FIXED, OPT_UNIT_BYTES, OPT_JOBS, OPT_MRC,
    OPT_POINTS, OPT_SVG, OPT_TABLE, OPT_SHARDS, OPT_SAMPLES, OPT_TTL, OPT_RATE, OPT_SEED,
    OPT_MAXMEMORY, OPT_SERVER, OPT_PIPELINE, OPT_POLICY, OPT_FLUSH, OPT_PEERS, OPT_FOREBAY,
    OPT_HELP
};

static const struct option names[] = {
    {"policies", required_argument, NULL, OPT_POLICIES},
    {"sizes", required_argument, NULL, OPT_SIZES},
    {"unit", no_argument, NULL, OPT_UNIT},
    {"fixed-sizes", no_argument, NULL, OPT_FIXED},
    {"unit-bytes", required_argument, NULL, OPT_UNIT_BYTES},
    {"jobs", required_argument, NULL, OPT_JOBS},
    {"mrc", no_argument, NULL, OPT_MRC},
    {"points", required_argument, NULL, OPT_POINTS},
    {"svg", required_argument, NULL, OPT_SVG},
    {"table", no_argument, NULL, OPT_TABLE},
    {"shards", required_argument, NULL, OPT_SHARDS},
    {"samples", required_argument, NULL, OPT_SAMPLES},
    {"ttl", required_argument, NULL, OPT_TTL},
    {"rate", required_argument, NULL, OPT_RATE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"maxmemory", required_argument, NULL, OPT_MAXMEMORY},
    {"server", required_argument, NULL, OPT_SERVER},
    {"pipeline", required_argument, NULL, OPT_PIPELINE},
    {"policy", required_argument, NULL, OPT_POLICY},
    {"flush", no_argument, NULL, OPT_FLUSH},
    {"peers", no_argument, NULL, OPT_PEERS},
    {"forebay", required_argument, NULL, OPT_FOREBAY},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static bool parse_ttl(struct options *o, const char *text) {
    return (num_parse_span_ms(slice_str(text), 1000, &o->engine.ttl_ms) && o->engine.ttl_ms > 0) ||
           refuse("--ttl must be a time span: 60s, 1h, 1d");
}

static bool parse_flag(struct options *o, int opt, bool *modes) {
    switch (opt) {
    case OPT_UNIT:
        return o->how.unit = true;
    case OPT_FIXED:
        return o->how.fixed_sizes = true;
    case OPT_FLUSH:
        return o->flush = true;
    case OPT_MRC:
        return modes[MODE_CURVE] = true;
    case OPT_TABLE:
        return modes[MODE_TABLE] = true;
    case OPT_PEERS:
        return modes[MODE_PEERS] = true;
    default:
        return refuse("--help lists the options");
    }
}

static bool parse_one(struct options *o, int opt, const char *arg, bool *modes) {
    switch (opt) {
    case OPT_POLICIES:
        return parse_policies(o, arg);
    case OPT_SIZES:
        return parse_sizes(o, arg);
    case OPT_UNIT_BYTES:
        return parse_u32("unit-bytes", arg, 1 << 30, &o->engine.unit_bytes);
    case OPT_JOBS:
        return parse_u32("jobs", arg, JOBS_THREADS_MAX, &o->jobs);
    case OPT_POINTS:
        return parse_u32("points", arg, CURVE_POINTS_MAX, &o->points);
    case OPT_SVG:
        o->svg = arg;
        return true;
    case OPT_SHARDS:
        return parse_u32("shards", arg, ENGINE_SHARDS_MAX, &o->engine.shards);
    case OPT_SAMPLES:
        return parse_u32("samples", arg, 64, &o->engine.samples);
    case OPT_TTL:
        return parse_ttl(o, arg);
    case OPT_RATE:
        return parse_count("rate", arg, 1000 * 1000 * 1000, &o->engine.rate);
    case OPT_SEED:
        return parse_count("seed", arg, INT64_MAX, &o->engine.seed);
    case OPT_MAXMEMORY:
        return parse_size(&o->maxmemory, slice_str(arg));
    case OPT_SERVER:
        modes[MODE_SERVERS] = true;
        return parse_server(o, arg);
    case OPT_PIPELINE:
        return parse_u32("pipeline", arg, WIRE_PIPELINE_MAX, &o->pipeline);
    case OPT_POLICY:
        o->policy = arg;
        return true;
    case OPT_FOREBAY:
        o->forebay = arg;
        return true;
    default:
        return parse_flag(o, opt, modes);
    }
}

static bool choose_mode(struct options *o, const bool *modes) {
    uint32_t given = 0;
    for (int mode = 0; mode <= MODE_PEERS; mode++) {
        if (modes[mode]) {
            o->mode = (enum replay_mode)mode;
            given++;
        }
    }
    if (given > 1) {
        return refuse("one of --mrc, --table, --server, --peers at a time");
    }
    if (given == 0 && o->maxmemory.text[0]) {
        o->mode = MODE_BUDGET;
    }
    bool remote = o->mode == MODE_SERVERS || o->mode == MODE_PEERS;
    if (o->mode == MODE_PEERS && !o->maxmemory.text[0]) {
        return refuse("--peers needs --maxmemory");
    }
    if ((o->mode == MODE_TABLE || o->mode == MODE_CURVE) && o->maxmemory.text[0]) {
        return refuse("--maxmemory goes with neither --table nor --mrc");
    }
    if (o->svg && o->mode != MODE_CURVE) {
        return refuse("--svg goes with --mrc");
    }
    if (!remote && (o->flush || o->policy)) {
        return refuse("--flush and --policy are for servers (--server, --peers); see --policies");
    }
    if (o->paths_count == 0) {
        return refuse("no trace; --help says more");
    }
    return true;
}

bool options_parse(struct options *o, int argc, char **argv, int *status) {
    bool modes[MODE_PEERS + 1] = {false};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *o = (struct options){
        .engine = {.shards = 1, .samples = ENGINE_SAMPLES_DEFAULT, .seed = 1,
                   .unit_bytes = ENGINE_UNIT_BYTES, .rate = ENGINE_RATE_DEFAULT},
        .jobs = (uint32_t)MIN(MAX(cores, 1), JOBS_THREADS_MAX),
        .points = CURVE_POINTS_DEFAULT,
        .pipeline = PIPELINE_DEFAULT};
    bool good = parse_sizes(o, "1%,5%,10%,25%");
    int opt;
    *status = 2;
    while (good && (opt = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (opt == OPT_HELP || opt == 'h') {
            fputs(usage, stdout);
            *status = 0;
            return false;
        }
        good = parse_one(o, opt, optarg, modes);
    }
    for (int i = optind; good && i < argc; i++) {
        if (o->paths_count == TRACES_MAX) {
            return refuse("more than %d traces", TRACES_MAX);
        }
        o->paths[o->paths_count++] = argv[i];
    }
    return good && choose_mode(o, modes);
}
