/* Curves as an SVG document; see curve.h. Sizes in pixels of the drawing. */
#include <math.h>

#include "curve.h"

enum { WIDTH = 860, HEIGHT = 480, LEFT = 70, RIGHT = 170, TOP = 50, BOTTOM = 60, TICKS_MAX = 9 };

/* Told apart also by who sees few colours, and by dashes past the first eight. */
static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                      "#e69f00", "#56b4e9", "#333333", "#999933"};

struct axes {
    double low, high; /* capacities, at the left and right end */
};

static double x_of(const struct axes *a, double capacity) {
    double span = a->high > a->low ? log(capacity / a->low) / log(a->high / a->low) : 1;
    return LEFT + span * (WIDTH - LEFT - RIGHT);
}
static double y_of(double ratio) {
    return TOP + (1 - ratio) * (HEIGHT - TOP - BOTTOM);
}

static void append_escaped(struct buf *out, const char *text) {
    for (; *text; text++) {
        const char *entity = *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : NULL;
        entity = *text == '&' ? "&amp;" : *text == '"' ? "&quot;" : entity;
        if (entity) {
            buf_printf(out, "%s", entity);
        } else {
            buf_append_char(out, (unsigned char)*text < ' ' ? '?' : *text);
        }
    }
}

static void text_at(struct buf *out, double x, double y, const char *anchor, const char *text) {
    buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    append_escaped(out, text);
    buf_printf(out, "</text>\n");
}

static void grid_line(struct buf *out, double x1, double y1, double x2, double y2) {
    buf_printf(out,
               "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", x1, y1,
               x2, y2);
}

/* Ticks at powers: of 10 for objects, of 2 for bytes, as far apart as there is room for. */
static void x_ticks(struct buf *out, const struct axes *a, bool is_objects) {
    double base = is_objects ? 10 : 2, step = base;
    while (log(a->high / a->low) / log(step) > TICKS_MAX) {
        step *= base;
    }
    if (is_objects && log(a->high / a->low) / log(step) < 2) {
        step = 2;
    }
    for (double at = 1; at <= a->high * 1.0001; at *= step) {
        char label[FORMAT_BYTES_MAX];
        if (at < a->low * 0.9999) {
            continue;
        }
        grid_line(out, x_of(a, at), TOP, x_of(a, at), HEIGHT - BOTTOM);
        if (is_objects) {
            format_count(label, (uint64_t)at);
        } else {
            format_amount(label, (uint64_t)at, false);
        }
        text_at(out, x_of(a, at), HEIGHT - BOTTOM + 18, "middle", label);
    }
}

static void y_ticks(struct buf *out) {
    for (int i = 0; i <= 5; i++) {
        char label[FORMAT_BYTES_MAX];
        snprintf(label, sizeof label, "%.1f", i / 5.0);
        grid_line(out, LEFT, y_of(i / 5.0), WIDTH - RIGHT, y_of(i / 5.0));
        text_at(out, LEFT - 8, y_of(i / 5.0) + 4, "end", label);
    }
}

static void draw(struct buf *out, const struct axes *a, const struct curve_line *line,
                 uint32_t index) {
    const char *colour = colours[index % ARRAY_COUNT(colours)];
    const char *dashes = index < ARRAY_COUNT(colours) ? "none" : "6 3";
    buf_printf(out,
               "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" stroke-dasharray=\"%s\" "
               "points=\"",
               colour, dashes);
    for (uint32_t i = 0; i < line->count; i++) {
        buf_printf(out, "%s%.1f,%.1f", i ? " " : "", x_of(a, (double)line->capacities[i]),
                   y_of(counts_miss_ratio(&line->counts[i])));
    }
    buf_printf(out, "\"/>\n");
    double y = TOP + 10 + 22.0 * index;
    buf_printf(out,
               "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"%s\" "
               "stroke-width=\"2\" stroke-dasharray=\"%s\"/>\n",
               WIDTH - RIGHT + 16, y, WIDTH - RIGHT + 44, y, colour, dashes);
    text_at(out, WIDTH - RIGHT + 50, y + 4, "start", line->name);
}

void curve_svg(const struct curve *c, struct buf *out) {
    const struct curve_line *first = &c->lines[0];
    struct axes a = {(double)first->capacities[0], (double)first->capacities[first->count - 1]};
    struct buf title = {NULL};
    char footprint[FORMAT_BYTES_MAX];
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
               "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n"
               "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
               WIDTH, HEIGHT, WIDTH, HEIGHT);
    x_ticks(out, &a, c->trace->unit);
    y_ticks(out);
    buf_printf(out,
               "<path d=\"M%d %d V%d H%d\" fill=\"none\" stroke=\"#000\"/>\n", LEFT, TOP,
               HEIGHT - BOTTOM, WIDTH - RIGHT);
    buf_printf(&title, "%s: %u requests, %u keys, footprint %s%s", c->trace->name,
               c->trace->requests_count, c->trace->keys_count,
               format_amount(footprint, c->trace->footprint, c->trace->unit),
               c->trace->unit ? " objects" : "");
    buf_append_char(&title, '\0');
    text_at(out, LEFT, TOP - 20, "start", title.ptr);
    text_at(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 16, "middle",
            c->trace->unit ? "cache size, objects (logarithmic)"
                           : "cache size, bytes of keys and values (logarithmic)");
    buf_printf(out, "<g transform=\"rotate(-90)\">\n");
    text_at(out, -(TOP + HEIGHT - BOTTOM) / 2.0, 24, "middle", "miss ratio");
    buf_printf(out, "</g>\n");
    for (uint32_t i = 0; i < c->lines_count; i++) {
        draw(out, &a, &c->lines[i], i);
    }
    buf_printf(out, "</svg>\n");
    buf_free(&title);
}
