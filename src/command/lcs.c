/* LCS: the longest common subsequence of two string values, by the textbook table of the lengths
 * for all pairs of prefixes (R. Wagner and M. Fischer, 1974), walked back from its end.
 *
 * Runs on the executing shard's thread with both keys' partitions locked.
 *
 * 1. The values are read in place: nothing here changes the keyspace, so they stay.
 * 2. Ranges come out from the strings' ends to their starts, as Redis gives them.
 *
 * Limit: the table takes 4 bytes a pair of positions and may not exceed proto-max-bulk-len. */
#include "command/lcs.h"

#include "base/mem.h"
#include "command/errors.h"

struct lcs_options {
    bool length, ranges, match_lengths;
    int64_t min_match;
};

struct lcs {
    struct slice a, b;
    uint32_t *cells; /* (a.len + 1) rows of b.len + 1: length for the prefixes of i and j bytes */
};

static uint32_t *cell(const struct lcs *l, size_t i, size_t j) {
    return &l->cells[i * (l->b.len + 1) + j];
}

static bool parse_options(struct cmd *c, struct lcs_options *o) {
    *o = (struct lcs_options){0};
    for (uint32_t i = 3; i < c->argc; i++) {
        if (cmd_arg_is(c, i, SLICE("idx"))) {
            o->ranges = true;
        } else if (cmd_arg_is(c, i, SLICE("len"))) {
            o->length = true;
        } else if (cmd_arg_is(c, i, SLICE("withmatchlen"))) {
            o->match_lengths = true;
        } else if (cmd_arg_is(c, i, SLICE("minmatchlen")) && i + 1 < c->argc) {
            if (!cmd_arg_i64(c, ++i, &o->min_match)) {
                return false;
            }
        } else {
            resp_error(c->w, ERR_SYNTAX);
            return false;
        }
    }
    if (o->length && o->ranges) {
        resp_error(c->w, SLICE("ERR If you want both the length and indexes, please just use "
                               "IDX."));
        return false;
    }
    return true;
}

static void fill_cells(const struct lcs *l) {
    memset(l->cells, 0, (l->b.len + 1) * sizeof *l->cells);
    for (size_t i = 1; i <= l->a.len; i++) {
        const uint32_t *above = cell(l, i - 1, 0);
        uint32_t *row = cell(l, i, 0);
        row[0] = 0;
        for (size_t j = 1; j <= l->b.len; j++) {
            row[j] = l->a.ptr[i - 1] == l->b.ptr[j - 1] ? above[j - 1] + 1
                                                        : MAX(above[j], row[j - 1]);
        }
    }
}

static void write_range(struct resp_writer *w, const struct lcs_options *o, size_t a_first,
                        size_t b_first, size_t len) {
    resp_array(w, o->match_lengths ? 3 : 2);
    resp_array(w, 2);
    resp_int(w, (int64_t)a_first);
    resp_int(w, (int64_t)(a_first + len - 1));
    resp_array(w, 2);
    resp_int(w, (int64_t)b_first);
    resp_int(w, (int64_t)(b_first + len - 1));
    if (o->match_lengths) {
        resp_int(w, (int64_t)len);
    }
}

/* Walks the table back. Writes the common bytes to `common` (NULL = not wanted), or the ranges of
 * at least min_match bytes to `w`, and returns how many ranges. */
static uint64_t walk_back(const struct lcs *l, const struct lcs_options *o, char *common,
                          struct resp_writer *w) {
    size_t i = l->a.len, j = l->b.len, at = *cell(l, i, j);
    uint64_t ranges = 0;
    while (i > 0 && j > 0) {
        if (l->a.ptr[i - 1] != l->b.ptr[j - 1]) {
            if (*cell(l, i - 1, j) > *cell(l, i, j - 1)) {
                i--;
            } else {
                j--;
            }
            continue;
        }
        size_t end = i;
        while (i > 0 && j > 0 && l->a.ptr[i - 1] == l->b.ptr[j - 1]) {
            i--;
            j--;
            if (common) {
                common[--at] = l->a.ptr[i];
            }
        }
        if (!common && (int64_t)(end - i) >= o->min_match) {
            write_range(w, o, i, j, end - i);
            ranges++;
        }
    }
    return ranges;
}

static void reply(struct cmd *c, const struct lcs *l, const struct lcs_options *o) {
    uint32_t length = *cell(l, l->a.len, l->b.len);
    if (o->ranges) {
        struct resp_deferred ranges;
        resp_map(c->w, 2);
        resp_bulk(c->w, SLICE("matches"));
        resp_defer_begin(c->w, &ranges);
        uint64_t count = walk_back(l, o, NULL, c->w);
        resp_defer_end_array(c->w, &ranges, count);
        resp_bulk(c->w, SLICE("len"));
        resp_int(c->w, length);
    } else if (o->length) {
        resp_int(c->w, length);
    } else {
        char *common = mem_alloc(length);
        walk_back(l, o, common, c->w);
        resp_bulk(c->w, slice_of(common, length));
        mem_free(common);
    }
}

void lcs_command(struct cmd *c) {
    const struct entry *a = cmd_read(c, 0), *b = cmd_read(c, 1);
    if ((a && entry_type(a) != VALUE_STRING) || (b && entry_type(b) != VALUE_STRING)) {
        resp_error(c->w, SLICE("ERR The specified keys must contain string values"));
        return;
    }
    struct lcs_options options;
    if (!parse_options(c, &options)) {
        return;
    }
    struct lcs l = {.a = a ? entry_string(a) : SLICE(""), .b = b ? entry_string(b) : SLICE("")};
    if (l.a.len >= UINT32_MAX - 1 || l.b.len >= UINT32_MAX - 1) {
        resp_error(c->w, SLICE("ERR String too long for LCS"));
        return;
    }
    size_t bytes;
    if (__builtin_mul_overflow((l.a.len + 1) * (l.b.len + 1), sizeof *l.cells, &bytes) ||
        bytes > c->env->settings->resp.bulk_bytes_max) {
        resp_error(c->w, SLICE("ERR Insufficient memory, transient memory for LCS exceeds "
                               "proto-max-bulk-len"));
        return;
    }
    if (!keyspace_can_hold(c->env->ks, bytes)) {
        resp_error(c->w,
                   SLICE("ERR Insufficient memory, failed allocating transient memory for LCS"));
        return;
    }
    if (!cmd_has_room(c, bytes)) {
        return;
    }
    l.cells = mem_alloc(bytes);
    fill_cells(&l);
    reply(c, &l, &options);
    mem_free(l.cells);
}
