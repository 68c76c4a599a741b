/* Aligned tables; see grid.h. */
#include "grid.h"

#include "base/assert.h"

void grid_row(struct grid *g) {
    buf_append_char(&g->cells, '\n');
}

void grid_cell(struct grid *g, const char *format, ...) {
    char cell[GRID_CELL_BYTES_MAX + 1];
    va_list args;
    va_start(args, format);
    vsnprintf(cell, sizeof cell, format, args);
    va_end(args);
    for (char *at = cell; *at; at++) {
        *at = *at == '\t' || *at == '\n' ? ' ' : *at;
    }
    buf_append(&g->cells, cell, strlen(cell));
    buf_append_char(&g->cells, '\t');
}

void grid_print(struct grid *g, FILE *out) {
    int widths[GRID_COLUMNS_MAX] = {0};
    const char *end = g->cells.ptr + g->cells.len;
    for (int pass = 0; pass < 2; pass++) {
        unsigned column = 0;
        for (const char *at = g->cells.ptr; at < end; at++) {
            if (*at == '\n') {
                if (pass && at > g->cells.ptr) {
                    fputc('\n', out);
                }
                column = 0;
                continue;
            }
            const char *tab = memchr(at, '\t', (size_t)(end - at));
            int len = (int)(tab - at);
            ASSERT(column < GRID_COLUMNS_MAX);
            if (!pass) {
                widths[column] = MAX(widths[column], len);
            } else if (column == 0) {
                fprintf(out, "%-*.*s", widths[0], len, at);
            } else {
                fprintf(out, "  %*.*s", widths[column], len, at);
            }
            column++;
            at = tab;
        }
    }
    fputc('\n', out);
    buf_free(&g->cells);
}

const char *format_amount(char out[FORMAT_BYTES_MAX], uint64_t amount, bool is_objects) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    double scaled = (double)amount;
    if (is_objects) {
        snprintf(out, FORMAT_BYTES_MAX, "%llu", (unsigned long long)amount);
        return out;
    }
    for (; scaled >= 1024 && unit + 1 < ARRAY_COUNT(units); unit++) {
        scaled /= 1024;
    }
    snprintf(out, FORMAT_BYTES_MAX, "%.4g %s", scaled, units[unit]);
    return out;
}

const char *format_count(char out[FORMAT_BYTES_MAX], uint64_t count) {
    if (count >= 10 * 1000 * 1000) {
        snprintf(out, FORMAT_BYTES_MAX, "%.0fM", (double)count / 1e6);
    } else if (count >= 10 * 1000) {
        snprintf(out, FORMAT_BYTES_MAX, "%.0fk", (double)count / 1e3);
    } else {
        snprintf(out, FORMAT_BYTES_MAX, "%llu", (unsigned long long)count);
    }
    return out;
}
