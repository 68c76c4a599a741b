/* The model's string commands. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "model_internal.h"

static struct slice text_of(const struct value *v) {
    return v ? buf_slice(&v->string) : SLICE("");
}

static void set(struct model *m, uint32_t key, uint32_t value, int64_t expire_ms) {
    struct value *v = model_slot(m, key);
    value_set_string(v, m->argv[value]);
    v->expire_ms = expire_ms;
    model_touch(m, key);
}

static void get(struct model *m) {
    struct value *v;
    if (model_typed(m, 1, KIND_STRING, &v)) {
        expect_value(m, v);
    }
}

static void mget(struct model *m) {
    expect_array(m, m->argc - 1);
    for (uint32_t i = 1; i < m->argc; i++) {
        struct value *v = model_find(m, i);
        expect_value(m, v && v->kind == KIND_STRING ? v : NULL);
    }
}

static void strlen_command(struct model *m) {
    struct value *v;
    if (model_typed(m, 1, KIND_STRING, &v)) {
        expect_int(m, (int64_t)text_of(v).len);
    }
}

static void getrange(struct model *m) {
    int64_t first, last;
    struct value *v;
    if (!model_arg_int(m, 2, &first) || !model_arg_int(m, 3, &last) ||
        !model_typed(m, 1, KIND_STRING, &v)) {
        return;
    }
    struct slice text = text_of(v);
    int64_t len = (int64_t)text.len;
    char *piece = mem_alloc(text.len);
    size_t count = 0;
    bool reversed = first < 0 && last < 0 && first > last;
    /* A position before the start counts as the start, at either end. */
    int64_t from = first < 0 ? MAX(first + len, 0) : first;
    int64_t to = last < 0 ? MAX(last + len, 0) : last;
    for (int64_t at = 0; at < len && !reversed; at++) {
        if (at >= from && at <= to) {
            piece[count++] = text.ptr[at];
        }
    }
    expect_bulk(m, slice_of(piece, count));
    mem_free(piece);
}

static void getdel(struct model *m) {
    struct value *v;
    if (!model_typed(m, 1, KIND_STRING, &v)) {
        return;
    }
    expect_value(m, v);
    if (v) {
        value_clear(v);
        model_touch(m, 1);
    }
}

static void getset(struct model *m) {
    struct value *v;
    if (model_typed(m, 1, KIND_STRING, &v)) {
        expect_value(m, v);
        set(m, 1, 2, MODEL_NEVER);
    }
}

/* SET's and GETEX's words. */
struct options {
    bool nx, xx, get, keepttl, persist;
    uint32_t time_arg; /* 0 = none */
    char time_word[8];
    int64_t unit_ms;
    bool absolute;
};

static bool parse_time_word(struct model *m, uint32_t *arg, struct options *o) {
    static const struct {
        const char *word;
        int64_t unit_ms;
        bool absolute;
    } words[] = {{"EX", 1000, false}, {"PX", 1, false}, {"EXAT", 1000, true}, {"PXAT", 1, true}};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (model_is(m, *arg, words[i].word)) {
            bool other = o->time_arg && strcmp(o->time_word, words[i].word) != 0;
            if (*arg + 1 == m->argc || other || o->keepttl || o->persist) {
                return false;
            }
            o->time_arg = ++*arg;
            o->unit_ms = words[i].unit_ms;
            o->absolute = words[i].absolute;
            snprintf(o->time_word, sizeof o->time_word, "%s", words[i].word);
            return true;
        }
    }
    return false;
}

static bool parse_options(struct model *m, uint32_t first, bool of_set, struct options *o) {
    *o = (struct options){0};
    for (uint32_t i = first; i < m->argc; i++) {
        if (of_set && model_is(m, i, "NX") && !o->xx) {
            o->nx = true;
        } else if (of_set && model_is(m, i, "XX") && !o->nx) {
            o->xx = true;
        } else if (of_set && model_is(m, i, "GET")) {
            o->get = true;
        } else if (of_set && model_is(m, i, "KEEPTTL") && !o->time_arg) {
            o->keepttl = true;
        } else if (!of_set && model_is(m, i, "PERSIST") && !o->time_arg) {
            o->persist = true;
        } else if (!parse_time_word(m, &i, o)) {
            expect_error(m, "ERR syntax error");
            return false;
        }
    }
    return true;
}

static void set_command(struct model *m) {
    struct options o;
    int64_t expire_ms = MODEL_NEVER;
    if (!parse_options(m, 3, true, &o) ||
        (o.time_arg && !model_arg_time(m, o.time_arg, o.unit_ms, o.absolute, true, &expire_ms))) {
        return;
    }
    const struct value *old = model_find(m, 1);
    if (o.get) {
        if (old && old->kind != KIND_STRING) {
            expect_wrongtype(m);
            return;
        }
        expect_value(m, old);
    }
    if ((o.nx && old) || (o.xx && !old)) {
        if (!o.get) {
            expect_null(m);
        }
        return;
    }
    if (o.keepttl && old) {
        expire_ms = old->expire_ms;
    }
    set(m, 1, 2, expire_ms);
    if (!o.get) {
        expect_ok(m);
    }
}

static void setnx(struct model *m) {
    bool exists = model_find(m, 1) != NULL;
    if (!exists) {
        set(m, 1, 2, MODEL_NEVER);
    }
    expect_int(m, !exists);
}

static void setex(struct model *m) {
    int64_t expire_ms;
    if (model_arg_time(m, 2, model_is(m, 0, "setex") ? 1000 : 1, false, true, &expire_ms)) {
        set(m, 1, 3, expire_ms);
        expect_ok(m);
    }
}

static void getex(struct model *m) {
    struct options o;
    struct value *v;
    if (!parse_options(m, 2, false, &o) || !model_typed(m, 1, KIND_STRING, &v)) {
        return;
    }
    int64_t expire_ms = MODEL_NEVER;
    if (v && o.time_arg &&
        !model_arg_time(m, o.time_arg, o.unit_ms, o.absolute, true, &expire_ms)) {
        return;
    }
    expect_value(m, v);
    if (v && (o.time_arg || (o.persist && v->expire_ms != MODEL_NEVER))) {
        v->expire_ms = expire_ms;
        model_touch(m, 1);
        if (!value_is_live(m, v)) {
            value_clear(v);
        }
    }
}

static bool pairs_fit(struct model *m) {
    if (m->argc % 2 == 0) {
        expect_error(m, model_is(m, 0, "mset")
                            ? "ERR wrong number of arguments for 'mset' command"
                            : "ERR wrong number of arguments for 'msetnx' command");
        return false;
    }
    return true;
}

static void mset(struct model *m) {
    bool only_new = model_is(m, 0, "msetnx"), exists = false;
    if (!pairs_fit(m)) {
        return;
    }
    for (uint32_t i = 1; i < m->argc; i += 2) {
        exists |= model_find(m, i) != NULL;
    }
    for (uint32_t i = 1; i < m->argc && !(only_new && exists); i += 2) {
        set(m, i, i + 1, MODEL_NEVER);
    }
    if (only_new) {
        expect_int(m, !exists);
    } else {
        expect_ok(m);
    }
}

/* What a calculation gave takes the old value's place and keeps its TTL. */
static void put_number(struct model *m, struct slice text) {
    const struct value *old = model_find(m, 1);
    int64_t expire_ms = old ? old->expire_ms : MODEL_NEVER;
    struct value *v = model_slot(m, 1);
    value_set_string(v, text);
    v->expire_ms = expire_ms;
    model_touch(m, 1);
}

static void incr(struct model *m) {
    bool down = m->argv[0].ptr[0] == 'd' || m->argv[0].ptr[0] == 'D';
    int64_t by = 1, value = 0;
    struct value *v;
    if (m->argc == 3 && !model_arg_int(m, 2, &by)) {
        return;
    }
    if (down && by == INT64_MIN) {
        expect_error(m, "ERR decrement would overflow");
        return;
    }
    if (!model_typed(m, 1, KIND_STRING, &v)) {
        return;
    }
    if (v && !model_parse_int(text_of(v), &value)) {
        expect_error(m, "ERR value is not an integer or out of range");
        return;
    }
    __int128 sum = (__int128)value + (down ? -(__int128)by : by);
    if (sum < INT64_MIN || sum > INT64_MAX) {
        expect_error(m, "ERR increment or decrement would overflow");
        return;
    }
    char text[32];
    int len = snprintf(text, sizeof text, "%lld", (long long)sum);
    put_number(m, slice_of(text, (size_t)len));
    expect_int(m, (int64_t)sum);
}

static void incrbyfloat(struct model *m) {
    struct value *v;
    long double value = 0, by;
    if (!model_typed(m, 1, KIND_STRING, &v)) {
        return;
    }
    if ((v && !model_parse_float(text_of(v), &value)) || !model_parse_float(m->argv[2], &by)) {
        expect_error(m, "ERR value is not a valid float");
        return;
    }
    if (!isfinite(value + by)) {
        expect_error(m, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[5120];
    struct slice sum = model_format_float(text, value + by);
    put_number(m, sum);
    expect_bulk(m, sum);
}

static void write_at(struct model *m, int64_t offset, struct slice piece) {
    struct value *v = model_find(m, 1);
    if ((unsigned __int128)offset + piece.len > m->options.string_bytes_max) {
        expect_error(m, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    if (!v) {
        v = model_slot(m, 1);
        value_set_string(v, SLICE(""));
    }
    while (v->string.len < (size_t)offset + piece.len) {
        buf_append_char(&v->string, 0);
    }
    if (piece.len) {
        memcpy(v->string.ptr + offset, piece.ptr, piece.len);
    }
    v->raw = true;
    model_touch(m, 1);
    expect_int(m, (int64_t)v->string.len);
}

static void append(struct model *m) {
    struct value *v;
    if (!model_typed(m, 1, KIND_STRING, &v)) {
        return;
    }
    if (v) {
        write_at(m, (int64_t)v->string.len, m->argv[2]);
    } else {
        set(m, 1, 2, MODEL_NEVER);
        expect_int(m, (int64_t)m->argv[2].len);
    }
}

static void setrange(struct model *m) {
    int64_t offset;
    struct value *v;
    if (!model_arg_int(m, 2, &offset)) {
        return;
    }
    if (offset < 0) {
        expect_error(m, "ERR offset is out of range");
        return;
    }
    if (!model_typed(m, 1, KIND_STRING, &v)) {
        return;
    }
    if (m->argv[3].len == 0) {
        expect_int(m, (int64_t)text_of(v).len);
    } else {
        write_at(m, offset, m->argv[3]);
    }
}

/* --- LCS: its length, and any common subsequence of that length --- */

static uint32_t lcs_length(struct slice a, struct slice b) {
    uint32_t *before = mem_zalloc((b.len + 1) * sizeof *before);
    uint32_t *row = mem_zalloc((b.len + 1) * sizeof *row);
    for (size_t i = 0; i < a.len; i++) {
        for (size_t j = 0; j < b.len; j++) {
            row[j + 1] = a.ptr[i] == b.ptr[j] ? before[j] + 1 : MAX(before[j + 1], row[j]);
        }
        memcpy(before, row, (b.len + 1) * sizeof *row);
    }
    uint32_t length = row[b.len];
    mem_free(before);
    mem_free(row);
    return length;
}

static bool is_subsequence(struct slice part, struct slice of) {
    size_t found = 0;
    for (size_t i = 0; i < of.len && found < part.len; i++) {
        found += of.ptr[i] == part.ptr[found];
    }
    return found == part.len;
}

static void lcs(struct model *m) {
    const struct value *a = model_find(m, 1), *b = model_find(m, 2);
    if ((a && a->kind != KIND_STRING) || (b && b->kind != KIND_STRING)) {
        expect_error(m, "ERR The specified keys must contain string values");
        return;
    }
    bool length = m->argc > 3 && model_is(m, 3, "len");
    if (m->argc > 4 || (m->argc == 4 && !length)) {
        skip_value(m); /* the other forms are not modelled */
        return;
    }
    struct slice x = text_of(a), y = text_of(b);
    if ((x.len + 1) * (y.len + 1) * 4 > m->options.string_bytes_max) {
        expect_any_error(m);
        return;
    }
    if (length) {
        expect_int(m, lcs_length(x, y));
        return;
    }
    struct slice common = take_bulk(m);
    if (common.len != lcs_length(x, y) || !is_subsequence(common, x) ||
        !is_subsequence(common, y)) {
        model_fail(m, "a longest common subsequence", common);
    }
}

const struct model_command model_string_commands[] = {
    {"get", get, 2, false},
    {"mget", mget, -2, false},
    {"strlen", strlen_command, 2, false},
    {"getrange", getrange, 4, false},
    {"substr", getrange, 4, false},
    {"getdel", getdel, 2, false},
    {"getset", getset, 3, false},
    {"set", set_command, -3, false},
    {"setnx", setnx, 3, false},
    {"setex", setex, 4, false},
    {"psetex", setex, 4, false},
    {"getex", getex, -2, false},
    {"mset", mset, -3, false},
    {"msetnx", mset, -3, false},
    {"incr", incr, 2, false},
    {"decr", incr, 2, false},
    {"incrby", incr, 3, false},
    {"decrby", incr, 3, false},
    {"incrbyfloat", incrbyfloat, 3, false},
    {"append", append, 3, false},
    {"setrange", setrange, 4, false},
    {"lcs", lcs, -3, false},
    {NULL},
};
