/* Forebay beside redis-server and valkey-server, as far as they are installed: each is started by
 * itself, plays the trace and is ended, first all with the same `maxmemory`, then the others with
 * the one that makes them as large in resident memory as Forebay was.
 *
 * Resident memory is not proportional to maxmemory, so the second is sought in a few runs; the
 * nearest counts, and what it came to is printed. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/num.h"
#include "child.h"
#include "report.h"
#include "wire_play.h"

enum { PEERS_COUNT = 3, SEEK_RUNS_MAX = 4, SEEK_MAXMEMORY_MIN = 64 * 1024 };
#define SEEK_TOLERANCE 0.02 /* of the resident memory sought */

struct peer {
    const char *name;
    char program[PATH_MAX];
    bool installed;
};

struct peer_run {
    struct wire_result result;
    uint64_t maxmemory;
    uint64_t empty_rss; /* before the first request */
};

struct contest {
    const struct options *o;
    const struct trace *trace;
    const char *policy;
    struct peer peers[PEERS_COUNT];
};

/* --- programs --- */

static bool find_program(struct peer *p) {
    const char *path = getenv("PATH");
    struct slice list = slice_str(path ? path : "/usr/bin:/bin");
    while (list.len > 0) {
        const char *colon = memchr(list.ptr, ':', list.len);
        size_t len = colon ? (size_t)(colon - list.ptr) : list.len;
        int made = snprintf(p->program, sizeof p->program, "%.*s/%s", (int)len, list.ptr, p->name);
        if (made > 0 && (size_t)made < sizeof p->program && access(p->program, X_OK) == 0) {
            return true;
        }
        list = slice_of(list.ptr + len + (colon != NULL), list.len - len - (colon != NULL));
    }
    return false;
}

/* Ours is built beside this program. */
static bool find_forebay(struct peer *p, const char *given) {
    static const char beside[] = "/../../src/forebay";
    if (given) {
        return snprintf(p->program, sizeof p->program, "%s", given) < (int)sizeof p->program &&
               access(p->program, X_OK) == 0;
    }
    char self[PATH_MAX - sizeof beside];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len <= 0) {
        return false;
    }
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    *slash = '\0';
    snprintf(p->program, sizeof p->program, "%s%s", self, beside);
    return access(p->program, X_OK) == 0;
}

static int find_peers(struct contest *c) {
    c->peers[0] = (struct peer){.name = "forebay"};
    c->peers[1] = (struct peer){.name = "redis-server"};
    c->peers[2] = (struct peer){.name = "valkey-server"};
    c->peers[0].installed = find_forebay(&c->peers[0], c->o->forebay);
    if (!c->peers[0].installed) {
        return report_failure("forebay is not built: ninja -C build src/forebay, or --forebay");
    }
    for (int i = 1; i < PEERS_COUNT; i++) {
        c->peers[i].installed = find_program(&c->peers[i]);
        if (!c->peers[i].installed) {
            printf("%s is not installed\n", c->peers[i].name);
        }
    }
    return STATUS_GOOD;
}

/* --- one run --- */

static bool start(struct child *child, const struct contest *c, const struct peer *p,
                  uint64_t maxmemory, char *error) {
    char bytes[NUM_I64_CHARS_MAX + 1], shards[NUM_I64_CHARS_MAX + 1];
    const char *words[CHILD_WORDS_MAX] = {p->program,
                                          "--port", child->port,
                                          "--bind", "127.0.0.1",
                                          "--maxmemory", bytes,
                                          "--maxmemory-policy", c->policy};
    const char *const own[] = {"--shards", shards};
    const char *const others[] = {"--save", "", "--appendonly", "no", "--dir", "/tmp"};
    unsigned count = 9;
    if (p == &c->peers[0]) {
        memcpy(&words[count], own, sizeof own);
    } else {
        memcpy(&words[count], others, sizeof others);
    }
    snprintf(bytes, sizeof bytes, "%" PRIu64, maxmemory);
    snprintf(shards, sizeof shards, "%u", c->o->engine.shards);
    if (!child_free_port(child->port)) {
        snprintf(error, CHILD_ERROR_BYTES, "no free port");
        return false;
    }
    return child_start(child, words, error);
}

static uint64_t resident_now(const struct child *child) {
    const char *info[] = {"INFO", "memory", NULL};
    struct wire w;
    struct wire_reply reply;
    struct buf text = {NULL};
    uint64_t rss = 0;
    if (wire_open(&w, "127.0.0.1", child->port) && wire_call(&w, info, &reply, &text)) {
        rss = wire_info_number(buf_slice(&text), "used_memory_rss");
    }
    wire_close(&w);
    buf_free(&text);
    return rss;
}

/* False with a message of at most TRACE_ERROR_BYTES. */
static bool run_peer(const struct contest *c, const struct peer *p, uint64_t maxmemory,
                     struct peer_run *out, char *message) {
    struct child child = {0};
    char error[TRACE_ERROR_BYTES] = "";
    *out = (struct peer_run){.maxmemory = maxmemory};
    bool good = start(&child, c, p, maxmemory, error) && child_wait_ready(&child, error);
    if (good) {
        struct wire_setup setup = {.host = "127.0.0.1",
                                   .port = child.port,
                                   .pipeline = c->o->pipeline,
                                   .unit_bytes = c->o->engine.unit_bytes,
                                   .ttl_ms = c->o->engine.ttl_ms};
        out->empty_rss = resident_now(&child);
        good = wire_play(c->trace, &setup, &out->result, error);
    }
    child_stop(&child);
    if (!good) {
        snprintf(message, TRACE_ERROR_BYTES, "%s with maxmemory %" PRIu64 ": %.400s", p->name,
                 maxmemory, error);
    }
    return good;
}

/* --- the same resident memory --- */

static double distance(uint64_t rss, uint64_t wanted) {
    return wanted ? fabs((double)rss - (double)wanted) / (double)wanted : 0;
}

/* Maxmemory in proportion to what is resident beyond the empty server. */
static uint64_t next_maxmemory(const struct peer_run *run, uint64_t wanted) {
    double grown = (double)run->result.rss - (double)run->empty_rss;
    double room = (double)wanted - (double)run->empty_rss;
    double factor = grown > 0 && room > 0 ? room / grown : 0.5;
    double bytes = (double)run->maxmemory * MIN(MAX(factor, 0.1), 10.0);
    return MAX((uint64_t)bytes, (uint64_t)SEEK_MAXMEMORY_MIN);
}

/* `best` is the run at the same maxmemory, and the nearest one afterwards. A server that cannot
 * work in as little ends the search. */
static void seek_resident(const struct contest *c, const struct peer *p, uint64_t wanted,
                          struct peer_run *best) {
    struct peer_run last = *best;
    char error[TRACE_ERROR_BYTES];
    for (int i = 0; i < SEEK_RUNS_MAX && distance(last.result.rss, wanted) > SEEK_TOLERANCE; i++) {
        if (!run_peer(c, p, next_maxmemory(&last, wanted), &last, error)) {
            printf("%s: no nearer to the resident memory of forebay: %s\n", p->name, error);
            return;
        }
        if (distance(last.result.rss, wanted) < distance(best->result.rss, wanted)) {
            *best = last;
        }
    }
}

/* --- tables --- */

static void head(struct grid *g, const char *title) {
    grid_row(g);
    grid_cell(g, "%s", title);
    grid_cell(g, "maxmemory");
    report_wire_head(g);
}

static void row(struct grid *g, const struct peer *p, const struct peer_run *run) {
    char amount[FORMAT_BYTES_MAX];
    grid_row(g);
    grid_cell(g, "%s", p->name);
    grid_cell(g, "%s", format_amount(amount, run->maxmemory, false));
    report_wire_cells(g, &run->result);
}

static bool run_all(const struct contest *c, struct peer_run *runs, struct grid *same,
                    struct grid *resident) {
    uint64_t footprint = trace_footprint_bytes(c->trace, c->o->engine.unit_bytes);
    uint64_t maxmemory = cache_size_amount(&c->o->maxmemory, footprint);
    char title[GRID_CELL_BYTES_MAX], error[TRACE_ERROR_BYTES];
    snprintf(title, sizeof title, "%s, same maxmemory", c->policy);
    head(same, title);
    for (int i = 0; i < PEERS_COUNT; i++) {
        if (c->peers[i].installed) {
            if (!run_peer(c, &c->peers[i], maxmemory, &runs[i], error)) {
                report_failure(error);
                return false;
            }
            row(same, &c->peers[i], &runs[i]);
        }
    }
    snprintf(title, sizeof title, "%s, same resident memory", c->policy);
    head(resident, title);
    for (int i = 0; i < PEERS_COUNT; i++) {
        if (c->peers[i].installed) {
            if (i > 0) {
                seek_resident(c, &c->peers[i], runs[0].result.rss, &runs[i]);
            }
            row(resident, &c->peers[i], &runs[i]);
        }
    }
    return true;
}

static int play_policy(const struct contest *c) {
    struct peer_run runs[PEERS_COUNT];
    struct grid same = {{NULL}}, resident = {{NULL}};
    bool good = run_all(c, runs, &same, &resident);
    if (good) {
        grid_print(&same, stdout);
        printf("\n");
        grid_print(&resident, stdout);
        printf("\n");
    }
    buf_free(&same.cells);
    buf_free(&resident.cells);
    return good ? STATUS_GOOD : STATUS_FAILED;
}

int report_peers(const struct options *o, const struct traces *traces) {
    static const char *const both[] = {"allkeys-lru", "allkeys-lfu"};
    struct contest c = {.o = o};
    int status = find_peers(&c);
    for (uint32_t t = 0; t < traces->count && status == STATUS_GOOD; t++) {
        c.trace = traces->list[t];
        report_trace(c.trace);
        printf("\n");
        unsigned count = o->policy ? 1 : ARRAY_COUNT(both);
        for (unsigned i = 0; i < count && status == STATUS_GOOD; i++) {
            c.policy = o->policy ? o->policy : both[i];
            status = play_policy(&c);
        }
    }
    return status;
}
