/* Sizes of a curve, its plot and its drawing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "curve.h"
#include "trace_file.h"

static void test_capacities(void **state) {
    uint64_t out[200];
    assert_int_equal(curve_capacities(1000000, 4, out), 4);
    assert_int_equal(out[0], 1000);
    assert_int_equal(out[1], 10000);
    assert_int_equal(out[2], 100000);
    assert_int_equal(out[3], 1000000);
    uint32_t count = curve_capacities(7, 200, out); /* none twice, none 0 */
    assert_int_equal(count, 7);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(out[i], i + 1);
    }
    assert_int_equal(curve_capacities(1, 16, out), 1);
    assert_int_equal(out[0], 1);
    assert_int_equal(curve_capacities(50, 1, out), 1);
    assert_int_equal(out[0], 50);
}

static struct trace *make_curve(struct curve *c, char *error) {
    static const uint64_t capacities[] = {10, 100, 1000};
    static const struct counts counts[] = {{.requests = 10, .misses = 10},
                                           {.requests = 10, .misses = 5},
                                           {.requests = 10, .misses = 0}};
    struct trace *t = trace_of("a\nb\n", NULL, error);
    assert_non_null(t);
    *c = (struct curve){.trace = t, .lines_count = 2};
    c->lines[0] = (struct curve_line){"lru", 3, capacities, counts};
    c->lines[1] = (struct curve_line){"a<b", 3, capacities, counts};
    return t;
}

static void test_plot(void **state) {
    char error[TRACE_ERROR_BYTES], *text = NULL;
    size_t len;
    struct curve c;
    struct trace *t = make_curve(&c, error);
    FILE *out = open_memstream(&text, &len);
    curve_plot(&c, out);
    fclose(out);
    assert_non_null(strstr(text, " 1.00 |aa")); /* from the upper left */
    const char *last = strstr(text, " 0.00 |");
    assert_non_null(last);
    assert_int_equal(strchr(last, '\n') - last, 7 + 72); /* to the lower right */
    assert_non_null(strstr(text, "a lru b a<b"));
    free(text);
    trace_destroy(t);
}

static void test_svg(void **state) {
    char error[TRACE_ERROR_BYTES];
    struct curve c;
    struct buf out = {NULL};
    struct trace *t = make_curve(&c, error);
    curve_svg(&c, &out);
    buf_append_char(&out, '\0');
    assert_true(strncmp(out.ptr, "<svg ", 5) == 0);
    assert_non_null(strstr(out.ptr, "</svg>\n"));
    assert_non_null(strstr(out.ptr, ">a&lt;b</text>"));
    assert_null(strstr(out.ptr, "nan"));
    assert_non_null(strstr(out.ptr, ">miss ratio</text>"));
    assert_non_null(strstr(out.ptr, ">100</text>"));
    /* The corners of the drawing: 1 at the smallest, 0 at the largest, a half between. */
    assert_non_null(strstr(out.ptr, "points=\"70.0,50.0 380.0,235.0 690.0,420.0\""));
    buf_free(&out);
    trace_destroy(t);
}

static void test_svg_of_one_point(void **state) {
    char error[TRACE_ERROR_BYTES];
    struct curve c;
    struct buf out = {NULL};
    struct trace *t = make_curve(&c, error);
    c.lines[0].count = c.lines[1].count = 1;
    curve_svg(&c, &out);
    buf_append_char(&out, '\0');
    assert_null(strstr(out.ptr, "nan"));
    assert_null(strstr(out.ptr, "inf"));
    FILE *null = fopen("/dev/null", "w");
    curve_plot(&c, null);
    fclose(null);
    buf_free(&out);
    trace_destroy(t);
}

static void test_grid(void **state) {
    struct grid g = {{NULL}};
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    grid_row(&g);
    grid_cell(&g, "name");
    grid_cell(&g, "%d", 5);
    grid_row(&g);
    grid_cell(&g, "x");
    grid_cell(&g, "1000");
    grid_row(&g);
    grid_cell(&g, "%s", "");
    grid_cell(&g, "a\tb");
    grid_print(&g, out);
    fclose(out);
    assert_string_equal(text, "name     5\nx     1000\n       a b\n");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capacities), cmocka_unit_test(test_plot),
        cmocka_unit_test(test_svg),        cmocka_unit_test(test_svg_of_one_point),
        cmocka_unit_test(test_grid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
