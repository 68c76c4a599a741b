#ifndef FOREBAY_TRACE_GRID_H
#define FOREBAY_TRACE_GRID_H
/* A table of text with aligned columns: the first to the left, the others to the right. Cells are
 * added from left to right; grid_row begins a line. */
#include <stdint.h>
#include <stdio.h>
#include "ds/buf.h"

enum { GRID_COLUMNS_MAX = 24, GRID_CELL_BYTES_MAX = 127 };

struct grid {
    struct buf cells; /* each ends with a tab; each row with a line feed before its cells */
};

void grid_row(struct grid *g);
void grid_cell(struct grid *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints it and leaves it empty. */
void grid_print(struct grid *g, FILE *out);

enum { FORMAT_BYTES_MAX = 32 };
/* "12.3 MiB" of bytes, "12345" of objects, in `out`, which it returns. */
const char *format_amount(char out[FORMAT_BYTES_MAX], uint64_t amount, bool is_objects);
/* "1.2M" for 1200000. */
const char *format_count(char out[FORMAT_BYTES_MAX], uint64_t count);
#endif
