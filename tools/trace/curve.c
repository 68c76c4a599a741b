/* Curves as numbers and characters; see curve.h and svg.c.
 *
 * LRU comes from one pass (stack.h) where that is exact; a policy else is played at each size. */
#include "curve.h"

#include <errno.h>
#include <math.h>

#include "base/mem.h"
#include "report.h"
#include "stack.h"

enum { PLOT_COLUMNS = 72, PLOT_ROWS = 20 };
#define FOOTPRINT_SHARE_MIN 0.001

uint32_t curve_capacities(uint64_t footprint, uint32_t count, uint64_t *out) {
    uint32_t kept = 0;
    double low = MAX((double)footprint * FOOTPRINT_SHARE_MIN, 1);
    for (uint32_t i = 0; i < count; i++) {
        double share = count > 1 ? (double)i / (count - 1) : 1;
        uint64_t capacity = (uint64_t)llround(low * pow((double)footprint / low, share));
        capacity = MIN(MAX(capacity, 1u), footprint);
        if (kept == 0 || capacity > out[kept - 1]) {
            out[kept++] = capacity;
        }
    }
    return kept;
}

/* --- the plot --- */

static char line_mark(uint32_t line) {
    return (char)('a' + line);
}

/* The ratio of a line at a capacity, between its points by the logarithm. */
static double ratio_at(const struct curve_line *line, double capacity) {
    uint32_t i = 0;
    while (i + 1 < line->count && (double)line->capacities[i + 1] < capacity) {
        i++;
    }
    double ratio = counts_miss_ratio(&line->counts[i]);
    if (i + 1 == line->count || capacity <= (double)line->capacities[i]) {
        return ratio;
    }
    double from = log((double)line->capacities[i]), to = log((double)line->capacities[i + 1]);
    double next = counts_miss_ratio(&line->counts[i + 1]);
    return ratio + (next - ratio) * (log(capacity) - from) / (to - from);
}

void curve_plot(const struct curve *c, FILE *out) {
    char cells[PLOT_ROWS + 1][PLOT_COLUMNS + 1];
    char left[FORMAT_BYTES_MAX], right[FORMAT_BYTES_MAX];
    const struct curve_line *first = &c->lines[0];
    double low = (double)first->capacities[0], high = (double)first->capacities[first->count - 1];
    memset(cells, ' ', sizeof cells);
    for (uint32_t line = c->lines_count; line-- > 0;) {
        for (int x = 0; x < PLOT_COLUMNS; x++) {
            double capacity = low * pow(high / low, (double)x / (PLOT_COLUMNS - 1));
            int y = (int)lround((1 - ratio_at(&c->lines[line], capacity)) * PLOT_ROWS);
            cells[y][x] = line_mark(line);
        }
    }
    for (int y = 0; y <= PLOT_ROWS; y++) {
        int len = PLOT_COLUMNS;
        while (len > 0 && cells[y][len - 1] == ' ') {
            len--;
        }
        if (y % 5 == 0) {
            fprintf(out, "%5.2f |%.*s\n", 1 - (double)y / PLOT_ROWS, len, cells[y]);
        } else {
            fprintf(out, "      |%.*s\n", len, cells[y]);
        }
    }
    fprintf(out, "      +");
    for (int x = 0; x < PLOT_COLUMNS; x++) {
        fputc('-', out);
    }
    format_amount(left, (uint64_t)low, c->trace->unit);
    format_amount(right, (uint64_t)high, c->trace->unit);
    fprintf(out, "\n       %s%*s\n", left, PLOT_COLUMNS - (int)strlen(left), right);
    fprintf(out, "       miss ratio by cache size (logarithmic):");
    for (uint32_t line = 0; line < c->lines_count; line++) {
        fprintf(out, " %c %s", line_mark(line), c->lines[line].name);
    }
    fputc('\n', out);
}

/* --- what is played --- */

static const char *const default_policies[] = {"lru", "allkeys-lru", "allkeys-lfu", "s3-fifo",
                                               "belady"};

struct work {
    const struct player *players[PLAYERS_MAX];
    uint32_t players_count, points_count, fine_count;
    uint64_t points[CURVE_POINTS_MAX], fine[CURVE_FINE_POINTS];
    struct counts counts[PLAYERS_MAX][CURVE_POINTS_MAX];
    struct counts fine_counts[CURVE_FINE_POINTS];
};

static void choose_players(struct work *w, const struct options *o) {
    w->players_count = o->players_count;
    memcpy(w->players, o->players, sizeof w->players);
    if (!w->players_count) {
        for (unsigned i = 0; i < ARRAY_COUNT(default_policies); i++) {
            w->players[w->players_count++] = player_find(slice_str(default_policies[i]));
        }
    }
}

static bool from_stack(const struct trace *t, const struct player *player, uint64_t capacity) {
    return player->sim == &sim_lru && stack_is_exact(t, capacity);
}

static bool play_points(struct work *w, const struct options *o, struct trace *t, char *error) {
    struct job *jobs = mem_zalloc(sizeof *jobs * w->players_count * w->points_count);
    struct counts *homes[PLAYERS_MAX * CURVE_POINTS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->players_count; i++) {
        for (uint32_t k = 0; k < w->points_count; k++) {
            if (!from_stack(t, w->players[i], w->points[k])) {
                homes[count] = &w->counts[i][k];
                jobs[count++] = (struct job){
                    .trace = t, .player = w->players[i], .capacity = w->points[k]};
            }
        }
    }
    bool good = jobs_run(jobs, count, o->jobs, &o->engine, error);
    for (uint32_t i = 0; i < count; i++) {
        *homes[i] = jobs[i].counts;
    }
    mem_free(jobs);
    return good;
}

/* Points and fine points from one pass: both lists merged, then taken apart again. */
static void run_stack(struct work *w, const struct trace *t, struct counts *at_points) {
    enum { BOTH_MAX = CURVE_POINTS_MAX + CURVE_FINE_POINTS };
    uint64_t both[BOTH_MAX];
    struct counts counts[BOTH_MAX];
    uint32_t i = 0, k = 0, count = 0;
    while (i < w->points_count || k < w->fine_count) {
        bool point = k == w->fine_count || (i < w->points_count && w->points[i] <= w->fine[k]);
        both[count++] = point ? w->points[i++] : w->fine[k++];
    }
    stack_run(t, both, count, counts);
    for (i = k = count = 0; i < w->points_count || k < w->fine_count; count++) {
        bool point = k == w->fine_count || (i < w->points_count && w->points[i] <= w->fine[k]);
        *(point ? &at_points[i++] : &w->fine_counts[k++]) = counts[count];
    }
}

/* The points of LRU that one pass gives. */
static void play_stack(struct work *w, const struct trace *t) {
    bool any = false;
    struct counts at_points[CURVE_POINTS_MAX];
    for (uint32_t i = 0; i < w->players_count; i++) {
        any |= from_stack(t, w->players[i], UINT64_MAX);
    }
    if (!any) {
        return;
    }
    run_stack(w, t, at_points);
    for (uint32_t i = 0; i < w->players_count; i++) {
        for (uint32_t k = 0; k < w->points_count; k++) {
            if (from_stack(t, w->players[i], w->points[k])) {
                w->counts[i][k] = at_points[k];
            }
        }
    }
}

static void draw_lines(const struct work *w, const struct trace *t, struct curve *c) {
    *c = (struct curve){.trace = t, .lines_count = w->players_count};
    for (uint32_t i = 0; i < w->players_count; i++) {
        bool fine = from_stack(t, w->players[i], w->fine[0]);
        c->lines[i] = (struct curve_line){
            .name = w->players[i]->name,
            .count = fine ? w->fine_count : w->points_count,
            .capacities = fine ? w->fine : w->points,
            .counts = fine ? w->fine_counts : w->counts[i]};
    }
}

static void print_numbers(const struct work *w, const struct trace *t, bool bytes) {
    struct grid g = {{NULL}};
    grid_row(&g);
    grid_cell(&g, "cache size");
    grid_cell(&g, "of the footprint");
    for (uint32_t i = 0; i < w->players_count; i++) {
        grid_cell(&g, "%s", w->players[i]->name);
    }
    for (uint32_t k = 0; k < w->points_count; k++) {
        char amount[FORMAT_BYTES_MAX];
        grid_row(&g);
        grid_cell(&g, "%s", format_amount(amount, w->points[k], t->unit));
        grid_cell(&g, "%.2f%%", 100 * (double)w->points[k] / (double)t->footprint);
        for (uint32_t i = 0; i < w->players_count; i++) {
            const struct counts *at = &w->counts[i][k];
            grid_cell(&g, "%.4f", bytes ? counts_byte_miss_ratio(at) : counts_miss_ratio(at));
        }
    }
    printf("%s\n", bytes ? "byte miss ratio" : "miss ratio");
    grid_print(&g, stdout);
    printf("\n");
}

/* "curve.svg", and for the traces behind the first "curve-2.svg". */
static bool write_svg(const struct curve *c, const char *path, uint32_t index) {
    struct buf name = {NULL}, text = {NULL};
    size_t len = strlen(path);
    size_t stem = len > 4 && strcmp(path + len - 4, ".svg") == 0 ? len - 4 : len;
    if (index == 0) {
        buf_append(&name, path, len);
    } else {
        buf_printf(&name, "%.*s-%u%s", (int)stem, path, index + 1, path + stem);
    }
    buf_append_char(&name, '\0');
    curve_svg(c, &text);
    FILE *file = fopen(name.ptr, "w");
    bool good = file && fwrite(text.ptr, 1, text.len, file) == text.len;
    good = file && fclose(file) == 0 && good;
    if (good) {
        printf("\nwritten: %s\n", name.ptr);
    } else {
        fprintf(stderr, "replay: %s: %s\n", name.ptr, strerror(errno));
    }
    buf_free(&name);
    buf_free(&text);
    return good;
}

static int curves_of(struct work *w, const struct options *o, struct trace *t, uint32_t index) {
    char error[TRACE_ERROR_BYTES];
    struct curve c;
    choose_players(w, o);
    w->points_count = curve_capacities(t->footprint, o->points, w->points);
    w->fine_count = curve_capacities(t->footprint, CURVE_FINE_POINTS, w->fine);
    play_stack(w, t);
    if (!play_points(w, o, t, error)) {
        return report_failure(error);
    }
    report_trace(t);
    printf("\n");
    print_numbers(w, t, false);
    if (!t->unit) {
        print_numbers(w, t, true);
    }
    draw_lines(w, t, &c);
    curve_plot(&c, stdout);
    return o->svg && !write_svg(&c, o->svg, index) ? STATUS_FAILED : STATUS_GOOD;
}

int report_curves(const struct options *o, const struct traces *traces) {
    struct work *w = mem_alloc(sizeof *w);
    int status = STATUS_GOOD;
    for (uint32_t i = 0; i < traces->count && status == STATUS_GOOD; i++) {
        memset(w, 0, sizeof *w);
        printf("%s", i ? "\n" : "");
        status = curves_of(w, o, traces->list[i], i);
    }
    mem_free(w);
    return status;
}
