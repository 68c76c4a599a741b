/* The acceptance table; see acceptance.h. The bars are judged by the miss ratio of requests; the
 * byte miss ratio is printed with the same bars for whoever pays by bytes, but decides nothing: a
 * policy that prefers small objects trades it away. */
#include "acceptance.h"

#include <math.h>

#include "base/mem.h"
#include "report.h"

static const char *const policies_by_column[COLUMNS_COUNT] = {
    [COLUMN_LRU] = "lru",       [COLUMN_ALL_LRU] = "allkeys-lru", [COLUMN_S3FIFO] = "s3-fifo",
    [COLUMN_ALL_LFU] = "allkeys-lfu", [COLUMN_SIEVE] = "sieve",   [COLUMN_LFU] = "lfu",
    [COLUMN_FIFO] = "fifo",     [COLUMN_BELADY] = "belady"};

void acceptance_judge(const struct acceptance_row *rows, uint32_t count, struct acceptance *out) {
    *out = (struct acceptance){.lru_worst = -1, .lfu_worst = -1};
    for (uint32_t i = 0; i < count; i++) {
        const double *r = rows[i].ratios;
        double lru = fabs(r[COLUMN_ALL_LRU] - r[COLUMN_LRU]);
        double lfu = r[COLUMN_ALL_LFU] - r[COLUMN_LRU];
        if (lru > out->lru_worst) {
            out->lru_worst = lru;
            out->lru_worst_row = i;
        }
        if (lfu > out->lfu_worst) {
            out->lfu_worst = lfu;
            out->lfu_worst_row = i;
        }
        for (unsigned column = 0; column < COLUMNS_COUNT; column++) {
            out->mean.ratios[column] += r[column] / count;
        }
    }
    out->lru_good = out->lru_worst <= ACCEPTANCE_LRU_MAX;
    out->lfu_good = out->lfu_worst <= ACCEPTANCE_LFU_LRU_MAX;
    out->s3fifo_good = out->mean.ratios[COLUMN_ALL_LFU] <= out->mean.ratios[COLUMN_S3FIFO];
}

static void print_row(struct grid *g, const double *r) {
    grid_cell(g, "%.4f", r[COLUMN_LRU]);
    grid_cell(g, "%.4f", r[COLUMN_ALL_LRU]);
    grid_cell(g, "%+.4f", r[COLUMN_ALL_LRU] - r[COLUMN_LRU]);
    grid_cell(g, "%.4f", r[COLUMN_S3FIFO]);
    grid_cell(g, "%.4f", r[COLUMN_ALL_LFU]);
    grid_cell(g, "%+.4f", r[COLUMN_ALL_LFU] - r[COLUMN_S3FIFO]);
    grid_cell(g, "%+.4f", r[COLUMN_ALL_LFU] - r[COLUMN_LRU]);
    for (unsigned column = COLUMN_SIEVE; column < COLUMNS_COUNT; column++) {
        grid_cell(g, "%.4f", r[column]);
    }
}

static void print_bars(const struct acceptance *a, const struct job *jobs,
                       const struct options *o) {
    const struct job *lru = &jobs[a->lru_worst_row * COLUMNS_COUNT];
    const struct job *lfu = &jobs[a->lfu_worst_row * COLUMNS_COUNT];
    printf("%s  |allkeys-lru - lru| at most 0.01 each: largest %.4f (%s at %s)\n",
           a->lru_good ? "pass" : "FAIL", a->lru_worst, lru->trace->name,
           o->sizes[a->lru_worst_row % o->sizes_count].text);
    printf("%s  allkeys-lfu at most s3-fifo on the mean: %.4f and %.4f (%+.4f)\n",
           a->s3fifo_good ? "pass" : "FAIL", a->mean.ratios[COLUMN_ALL_LFU],
           a->mean.ratios[COLUMN_S3FIFO],
           a->mean.ratios[COLUMN_ALL_LFU] - a->mean.ratios[COLUMN_S3FIFO]);
    printf("%s  allkeys-lfu - lru at most 0.02 each: largest %+.4f (%s at %s)\n",
           a->lfu_good ? "pass" : "FAIL", a->lfu_worst, lfu->trace->name,
           o->sizes[a->lfu_worst_row % o->sizes_count].text);
}

/* One of the two tables; true when its bars are held. */
static bool print_table(const struct job *jobs, const struct options *o, uint32_t rows,
                        const char *title, bool bytes) {
    static const char *const titles[] = {"size", "lru", "allkeys-lru", "to lru", "s3-fifo",
                                         "allkeys-lfu", "to s3-fifo", "to lru", "sieve", "lfu",
                                         "fifo", "belady"};
    struct acceptance_row *table = mem_zalloc(rows * sizeof *table);
    struct acceptance a;
    struct grid g = {{NULL}};
    grid_row(&g);
    grid_cell(&g, "%s", title);
    for (unsigned i = 0; i < ARRAY_COUNT(titles); i++) {
        grid_cell(&g, "%s", titles[i]);
    }
    for (uint32_t row = 0; row < rows; row++) {
        const struct job *first = &jobs[row * COLUMNS_COUNT];
        for (unsigned column = 0; column < COLUMNS_COUNT; column++) {
            const struct counts *c = &first[column].counts;
            table[row].ratios[column] = bytes ? counts_byte_miss_ratio(c) : counts_miss_ratio(c);
        }
        grid_row(&g);
        grid_cell(&g, "%s", first->trace->name);
        grid_cell(&g, "%s", o->sizes[row % o->sizes_count].text);
        print_row(&g, table[row].ratios);
    }
    acceptance_judge(table, rows, &a);
    grid_row(&g);
    grid_cell(&g, "mean");
    grid_cell(&g, "%s", "");
    print_row(&g, a.mean.ratios);
    grid_print(&g, stdout);
    printf("\n");
    print_bars(&a, jobs, o);
    mem_free(table);
    return acceptance_is_good(&a);
}

int report_table(const struct options *o, const struct traces *traces) {
    uint32_t rows = traces->count * o->sizes_count;
    struct job *jobs = mem_zalloc((size_t)rows * COLUMNS_COUNT * sizeof *jobs);
    char error[TRACE_ERROR_BYTES];
    bool any_sizes = false;
    for (uint32_t i = 0; i < rows * COLUMNS_COUNT; i++) {
        struct trace *t = traces->list[i / COLUMNS_COUNT / o->sizes_count];
        const struct cache_size *size = &o->sizes[i / COLUMNS_COUNT % o->sizes_count];
        const char *policy = policies_by_column[i % COLUMNS_COUNT];
        jobs[i] = (struct job){.trace = t,
                               .player = player_find(slice_str(policy)),
                               .capacity = cache_size_amount(size, t->footprint)};
        any_sizes |= !t->unit;
    }
    bool good = false, played = jobs_run(jobs, rows * COLUMNS_COUNT, o->jobs, &o->engine, error);
    if (played) {
        for (uint32_t t = 0; t < traces->count; t++) {
            report_trace(traces->list[t]);
        }
        printf("\n");
        good = print_table(jobs, o, rows, "miss ratio", false);
        if (any_sizes) {
            printf("\n");
            print_table(jobs, o, rows, "byte miss ratio (decides nothing)", true);
        }
    }
    mem_free(jobs);
    return !played ? report_failure(error) : good ? STATUS_GOOD : STATUS_MISSED;
}
