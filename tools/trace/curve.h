#ifndef FOREBAY_TRACE_CURVE_H
#define FOREBAY_TRACE_CURVE_H
/* Miss-ratio curves of one trace: what each policy misses at a number of cache sizes, as a table, a
 * plot of characters, and an SVG. */
#include "grid.h"
#include "jobs.h"

enum { CURVE_FINE_POINTS = 200 }; /* of LRU, where one pass gives them all */

struct curve_line {
    const char *name;
    uint32_t count;
    const uint64_t *capacities; /* ascending, not 0 */
    const struct counts *counts;
};

struct curve {
    const struct trace *trace;
    struct curve_line lines[PLAYERS_MAX];
    uint32_t lines_count;
};

/* `count` sizes at equal ratios from a thousandth of the footprint to all of it, ascending and
 * without repetition; returns how many there are. */
uint32_t curve_capacities(uint64_t footprint, uint32_t count, uint64_t *out);
void curve_plot(const struct curve *c, FILE *out);
/* A whole SVG document. */
void curve_svg(const struct curve *c, struct buf *out);
#endif
