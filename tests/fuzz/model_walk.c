/* The model's KEYS, SCAN and HSCAN. Of a walk in steps it holds that what was there from the first
 * step to the last is answered, and that nothing is answered that is not there. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "model_internal.h"

static void keys(struct model *m) {
    uint64_t expected = 0;
    for (uint32_t n = 0; n < m->names_count; n++) {
        expected += value_is_live(m, &m->names[n]->in[m->c->db]) &&
                    model_glob(m->argv[1], buf_slice(&m->names[n]->bytes));
    }
    uint64_t count = take_header(m, '*');
    if (count != expected) {
        model_fail(m, "another number of keys", SLICE(""));
    }
    bool *used = mem_zalloc(m->names_count + count + 1);
    for (uint64_t i = 0; i < count; i++) {
        struct slice key = take_bulk(m);
        const struct name *name = model_name(m, key);
        uint32_t at = 0;
        while (m->names[at] != name) {
            at++;
        }
        if (used[at] || !value_is_live(m, &name->in[m->c->db]) || !model_glob(m->argv[1], key)) {
            model_fail(m, "keys that are there, once, and match", key);
        }
        used[at] = true;
    }
    mem_free(used);
}

struct step {
    struct slice match, type;
    bool typed;
};

/* The rule is strtoul's, without leading space. */
static bool cursor_is_valid(struct slice text) {
    char copy[32], *end;
    if (text.len >= sizeof copy || (text.len && strchr(" \t\n\v\f\r", text.ptr[0]))) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    errno = 0;
    strtoul(copy, &end, 10);
    return end == copy + text.len && errno == 0;
}

static bool parse(struct model *m, uint32_t first, bool with_type, struct step *out) {
    *out = (struct step){.match = SLICE("*")};
    for (uint32_t i = first; i < m->argc; i += 2) {
        int64_t count;
        bool more = i + 1 < m->argc;
        if (more && model_is(m, i, "count")) {
            if (!model_arg_int(m, i + 1, &count)) {
                return false;
            }
            if (count < 1) {
                expect_error(m, "ERR syntax error");
                return false;
            }
        } else if (more && model_is(m, i, "match")) {
            out->match = m->argv[i + 1];
        } else if (more && with_type && model_is(m, i, "type")) {
            out->type = m->argv[i + 1];
            out->typed = true;
        } else {
            expect_error(m, "ERR syntax error");
            return false;
        }
    }
    return true;
}

/* Goes on with the walk when this is its cursor; "0" begins a new one. */
static void begin_step(struct walk *walk, struct slice cursor, unsigned db) {
    bool begins = slice_eq(cursor, SLICE("0"));
    bool goes_on = walk->active && walk->db == db && slice_eq(cursor, buf_slice(&walk->cursor));
    walk->active = begins || goes_on;
    walk->db = db;
}

static bool end_step(struct walk *walk, struct slice cursor) {
    walk->cursor.len = 0;
    buf_append_slice(&walk->cursor, cursor);
    return slice_eq(cursor, SLICE("0"));
}

static bool matches(const struct step *step, const struct name *name, const struct value *v) {
    bool of_type = !step->typed ||
                   (v->kind == KIND_STRING && slice_eq_nocase(step->type, SLICE("string"))) ||
                   (v->kind == KIND_HASH && slice_eq_nocase(step->type, SLICE("hash")));
    return of_type && model_glob(step->match, buf_slice(&name->bytes));
}

static void scan(struct model *m) {
    struct step step;
    struct walk *walk = &m->c->scan;
    unsigned client = m->c->index, db = m->c->db;
    if (!cursor_is_valid(m->argv[1])) {
        expect_error(m, "ERR invalid cursor");
        return;
    }
    if (!parse(m, 2, true, &step)) {
        return;
    }
    begin_step(walk, m->argv[1], db);
    bool begins = slice_eq(m->argv[1], SLICE("0"));
    for (uint32_t n = 0; n < m->names_count; n++) {
        struct name *name = m->names[n];
        bool live = value_is_live(m, &name->in[db]);
        name->scan[client].seen &= !begins;
        name->scan[client].must = walk->active && live && (begins || name->scan[client].must) &&
                                  matches(&step, name, &name->in[db]);
    }
    expect_array(m, 2);
    bool ended = end_step(walk, take_bulk(m));
    for (uint64_t count = take_header(m, '*'); count; count--) {
        struct slice key = take_bulk(m);
        struct name *name = model_name(m, key);
        if (!value_is_live(m, &name->in[db]) || !matches(&step, name, &name->in[db])) {
            model_fail(m, "keys that are there and match", key);
        }
        name->scan[client].seen = true;
    }
    for (uint32_t n = 0; n < m->names_count && ended && walk->active; n++) {
        if (m->names[n]->scan[client].must && !m->names[n]->scan[client].seen) {
            model_fail(m, "this key before the end", buf_slice(&m->names[n]->bytes));
        }
    }
    walk->active &= !ended;
}

static void hscan(struct model *m) {
    struct step step;
    struct value *v;
    struct walk *walk = &m->c->hscan;
    unsigned client = m->c->index;
    if (!cursor_is_valid(m->argv[2])) {
        expect_error(m, "ERR invalid cursor");
        return;
    }
    if (!model_typed(m, 1, KIND_HASH, &v)) {
        return;
    }
    if (v && !parse(m, 3, false, &step)) {
        return;
    }
    expect_array(m, 2);
    if (!v) {
        expect_bulk(m, SLICE("0"));
        expect_array(m, 0);
        end_step(walk, SLICE("0"));
        walk->active = false;
        return;
    }
    struct name *key = model_key(m, 1);
    bool begins = slice_eq(m->argv[2], SLICE("0"));
    begin_step(walk, m->argv[2], m->c->db);
    walk->active &= begins || (walk->key == key && walk->id == v->id);
    walk->key = key;
    walk->id = v->id;
    for (uint32_t n = 0; n < m->names_count; n++) {
        struct name *name = m->names[n];
        name->hscan[client].seen &= !begins;
        name->hscan[client].must = walk->active && pair_find(v, name) &&
                                   (begins || name->hscan[client].must) &&
                                   model_glob(step.match, buf_slice(&name->bytes));
    }
    bool ended = end_step(walk, take_bulk(m));
    for (uint64_t count = take_header(m, '*'); count; count -= 2) {
        struct slice field = take_bulk(m), text = take_bulk(m);
        struct name *name = model_name(m, field);
        const struct pair *pair = pair_find(v, name);
        if (!pair || !slice_eq(buf_slice(&pair->value), text) || !model_glob(step.match, field)) {
            model_fail(m, "fields that are there, with their values, and match", field);
        }
        name->hscan[client].seen = true;
    }
    for (uint32_t n = 0; n < m->names_count && ended && walk->active; n++) {
        if (m->names[n]->hscan[client].must && !m->names[n]->hscan[client].seen) {
            model_fail(m, "this field before the end", buf_slice(&m->names[n]->bytes));
        }
    }
    walk->active &= !ended;
}

const struct model_command model_walk_commands[] = {
    {"keys", keys, 2, false},
    {"scan", scan, -2, false},
    {"hscan", hscan, -3, false},
    {NULL},
};
