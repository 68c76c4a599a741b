/* Policies beside each other, the engine at a memory budget, and servers; see report.h. */
#include "report.h"

#include <stdlib.h>

#include "base/mem.h"
#include "wire_play.h"

static const char *const default_policies[] = {"lru",   "lfu",    "fifo",        "s3-fifo",
                                               "sieve", "belady", "allkeys-lru", "allkeys-lfu"};

int report_failure(const char *message) {
    fflush(stdout);
    fprintf(stderr, "replay: %s\n", message);
    return STATUS_FAILED;
}

void report_trace(const struct trace *t) {
    char footprint[FORMAT_BYTES_MAX], requests[FORMAT_BYTES_MAX], keys[FORMAT_BYTES_MAX];
    printf("%s: %s requests, %s keys, footprint %s%s\n", t->name,
           format_count(requests, t->requests_count), format_count(keys, t->keys_count),
           format_amount(footprint, t->footprint, t->unit), t->unit ? " objects" : "");
}

/* --- policies --- */

struct plan {
    const struct player *players[PLAYERS_MAX];
    uint32_t players_count;
    struct job *jobs; /* by trace, size, player */
    uint32_t count;
};

static struct job *job_at(const struct plan *p, const struct options *o, uint32_t trace,
                          uint32_t size, uint32_t player) {
    return &p->jobs[(trace * o->sizes_count + size) * p->players_count + player];
}

static void plan_make(struct plan *p, const struct options *o, const struct traces *traces) {
    p->players_count = o->players_count;
    memcpy(p->players, o->players, sizeof p->players);
    if (!p->players_count) {
        for (unsigned i = 0; i < ARRAY_COUNT(default_policies); i++) {
            p->players[p->players_count++] = player_find(slice_str(default_policies[i]));
        }
    }
    p->count = traces->count * o->sizes_count * p->players_count;
    p->jobs = mem_zalloc(p->count * sizeof *p->jobs);
    for (uint32_t t = 0; t < traces->count; t++) {
        for (uint32_t s = 0; s < o->sizes_count; s++) {
            for (uint32_t i = 0; i < p->players_count; i++) {
                *job_at(p, o, t, s, i) = (struct job){
                    .trace = traces->list[t],
                    .player = p->players[i],
                    .capacity = cache_size_amount(&o->sizes[s], traces->list[t]->footprint)};
            }
        }
    }
}

typedef double (*ratio_fn)(const struct counts *c);

static double miss_ratio(const struct counts *c) {
    return counts_miss_ratio(c);
}
static double byte_miss_ratio(const struct counts *c) {
    return counts_byte_miss_ratio(c);
}

static void head(struct grid *g, const struct plan *p, const char *title) {
    grid_row(g);
    grid_cell(g, "%s", title);
    grid_cell(g, "capacity");
    for (uint32_t i = 0; i < p->players_count; i++) {
        grid_cell(g, "%s", p->players[i]->name);
    }
}

static void mean_row(struct grid *g, const struct plan *p, const double *sums, uint32_t count) {
    grid_row(g);
    grid_cell(g, "mean");
    grid_cell(g, "%s", "");
    for (uint32_t i = 0; i < p->players_count; i++) {
        grid_cell(g, "%.4f", sums[i] / count);
    }
}

/* A trace's table; what it found is added to `totals`. */
static void print_ratios(const struct plan *p, const struct options *o, uint32_t trace,
                         const char *title, ratio_fn ratio, double *totals) {
    struct grid g = {{NULL}};
    double sums[PLAYERS_MAX] = {0};
    head(&g, p, title);
    for (uint32_t s = 0; s < o->sizes_count; s++) {
        char amount[FORMAT_BYTES_MAX];
        const struct job *first = job_at(p, o, trace, s, 0);
        grid_row(&g);
        grid_cell(&g, "%s", o->sizes[s].text);
        grid_cell(&g, "%s", format_amount(amount, first->capacity, first->trace->unit));
        for (uint32_t i = 0; i < p->players_count; i++) {
            double value = ratio(&job_at(p, o, trace, s, i)->counts);
            grid_cell(&g, "%.4f", value);
            sums[i] += value;
            totals[i] += value;
        }
    }
    mean_row(&g, p, sums, o->sizes_count);
    grid_print(&g, stdout);
}

/* Misses that could not be stored are said once a policy and size. */
static void print_not_stored(const struct plan *p, const struct options *o, uint32_t trace) {
    for (uint32_t s = 0; s < o->sizes_count; s++) {
        for (uint32_t i = 0; i < p->players_count; i++) {
            const struct job *job = job_at(p, o, trace, s, i);
            if (job->counts.not_stored) {
                printf("%s at %s: %llu misses were not stored (larger than the cache, or nothing "
                       "to evict)\n",
                       job->player->name, o->sizes[s].text,
                       (unsigned long long)job->counts.not_stored);
            }
        }
    }
}

int report_policies(const struct options *o, const struct traces *traces) {
    struct plan p;
    char error[TRACE_ERROR_BYTES];
    plan_make(&p, o, traces);
    if (!jobs_run(p.jobs, p.count, o->jobs, &o->engine, error)) {
        mem_free(p.jobs);
        return report_failure(error);
    }
    double totals[PLAYERS_MAX] = {0}, byte_totals[PLAYERS_MAX] = {0};
    bool any_sizes = false;
    for (uint32_t t = 0; t < traces->count; t++) {
        report_trace(traces->list[t]);
        printf("\n");
        print_ratios(&p, o, t, "miss ratio", miss_ratio, totals);
        printf("\n");
        if (!traces->list[t]->unit) {
            any_sizes = true;
            print_ratios(&p, o, t, "byte miss ratio", byte_miss_ratio, byte_totals);
            printf("\n");
        } else {
            for (uint32_t i = 0; i < p.players_count; i++) {
                for (uint32_t s = 0; s < o->sizes_count; s++) {
                    byte_totals[i] += miss_ratio(&job_at(&p, o, t, s, i)->counts);
                }
            }
        }
        print_not_stored(&p, o, t);
    }
    if (traces->count > 1) {
        struct grid g = {{NULL}};
        head(&g, &p, "all traces, miss ratio");
        mean_row(&g, &p, totals, traces->count * o->sizes_count);
        if (any_sizes) {
            head(&g, &p, "all traces, byte miss ratio");
            mean_row(&g, &p, byte_totals, traces->count * o->sizes_count);
        }
        grid_print(&g, stdout);
    }
    mem_free(p.jobs);
    return STATUS_GOOD;
}

/* --- the engine's own memory --- */

static const char *const budget_policies[] = {"allkeys-lru", "allkeys-lfu"};

static int budget_row(struct grid *g, const struct options *o, const struct trace *t,
                      const struct player *player) {
    char error[TRACE_ERROR_BYTES], used[FORMAT_BYTES_MAX], per_key[FORMAT_BYTES_MAX] = "-";
    struct engine_setup setup = o->engine;
    struct engine_result r;
    if (player->sim) {
        snprintf(error, sizeof error, "%s is simulated and has no memory of its own",
                 player->name);
        return report_failure(error);
    }
    setup.policy = player->engine;
    setup.maxmemory_bytes =
        cache_size_amount(&o->maxmemory, trace_footprint_bytes(t, setup.unit_bytes));
    if (!engine_play(t, &setup, &r, error)) {
        return report_failure(error);
    }
    if (r.keys) {
        snprintf(per_key, sizeof per_key, "%.1f", (double)r.used_bytes / (double)r.keys);
    }
    grid_row(g);
    grid_cell(g, "%s", player->name);
    grid_cell(g, "%s", format_amount(used, setup.maxmemory_bytes, false));
    grid_cell(g, "%.4f", counts_miss_ratio(&r.counts));
    grid_cell(g, "%.4f", counts_byte_miss_ratio(&r.counts));
    grid_cell(g, "%llu", (unsigned long long)r.counts.misses);
    grid_cell(g, "%llu", (unsigned long long)r.keys);
    grid_cell(g, "%s", format_amount(used, r.used_bytes, false));
    grid_cell(g, "%s", per_key);
    grid_cell(g, "%llu", (unsigned long long)r.counts.not_stored);
    return STATUS_GOOD;
}

int report_budget(const struct options *o, const struct traces *traces) {
    static const char *const titles[] = {"the engine",  "maxmemory", "miss ratio",
                                         "byte misses", "misses",    "keys at the end",
                                         "memory used", "bytes a key", "not stored"};
    for (uint32_t t = 0; t < traces->count; t++) {
        struct grid g = {{NULL}};
        grid_row(&g);
        for (unsigned i = 0; i < ARRAY_COUNT(titles); i++) {
            grid_cell(&g, "%s", titles[i]);
        }
        uint32_t count = o->players_count ? o->players_count : ARRAY_COUNT(budget_policies);
        for (uint32_t i = 0; i < count; i++) {
            const struct player *player = o->players_count
                                              ? o->players[i]
                                              : player_find(slice_str(budget_policies[i]));
            if (budget_row(&g, o, traces->list[t], player) != STATUS_GOOD) {
                buf_free(&g.cells);
                return STATUS_FAILED;
            }
        }
        report_trace(traces->list[t]);
        grid_print(&g, stdout);
        printf("\n");
    }
    return STATUS_GOOD;
}

/* --- servers --- */

void report_wire_head(struct grid *g) {
    static const char *const titles[] = {"hits",        "misses",          "miss ratio",
                                         "byte misses", "used_memory",     "used_memory_rss",
                                         "requests/s"};
    for (unsigned i = 0; i < ARRAY_COUNT(titles); i++) {
        grid_cell(g, "%s", titles[i]);
    }
}

void report_wire_cells(struct grid *g, const struct wire_result *r) {
    char amount[FORMAT_BYTES_MAX];
    grid_cell(g, "%llu", (unsigned long long)(r->counts.requests - r->counts.misses));
    grid_cell(g, "%llu", (unsigned long long)r->counts.misses);
    grid_cell(g, "%.4f", counts_miss_ratio(&r->counts));
    grid_cell(g, "%.4f", counts_byte_miss_ratio(&r->counts));
    grid_cell(g, "%s", format_amount(amount, r->used_memory, false));
    grid_cell(g, "%s", format_amount(amount, r->rss, false));
    grid_cell(g, "%s",
              format_count(amount, (uint64_t)((double)r->counts.requests /
                                              (r->seconds > 0 ? r->seconds : 1))));
}

int report_servers(const struct options *o, const struct traces *traces) {
    for (uint32_t t = 0; t < traces->count; t++) {
        const struct trace *trace = traces->list[t];
        struct grid g = {{NULL}};
        char bytes[FORMAT_BYTES_MAX], error[TRACE_ERROR_BYTES];
        uint64_t footprint = trace_footprint_bytes(trace, o->engine.unit_bytes);
        snprintf(bytes, sizeof bytes, "%llu",
                 (unsigned long long)cache_size_amount(&o->maxmemory, footprint));
        grid_row(&g);
        grid_cell(&g, "server");
        report_wire_head(&g);
        for (uint32_t i = 0; i < o->servers_count; i++) {
            const struct server_address *s = &o->servers[i];
            struct wire_setup setup = {.host = s->host,
                                       .port = s->port,
                                       .maxmemory = o->maxmemory.text[0] ? bytes : NULL,
                                       .policy = o->policy,
                                       .flush = o->flush,
                                       .pipeline = o->pipeline,
                                       .unit_bytes = o->engine.unit_bytes,
                                       .ttl_ms = o->engine.ttl_ms};
            struct wire_result r;
            if (!wire_play(trace, &setup, &r, error)) {
                buf_free(&g.cells);
                return report_failure(error);
            }
            grid_row(&g);
            grid_cell(&g, "%s", s->label);
            report_wire_cells(&g, &r);
        }
        report_trace(trace);
        grid_print(&g, stdout);
        printf("\n");
    }
    return STATUS_GOOD;
}
