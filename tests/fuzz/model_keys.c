/* The model's commands on keys and databases, and expiry. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "model_internal.h"

enum { EMBSTR_BYTES_MAX = 44 };

static void del(struct model *m) {
    int64_t deleted = 0;
    for (uint32_t i = 1; i < m->argc; i++) {
        struct value *v = model_find(m, i);
        if (v) {
            model_touch(m, i);
            value_clear(v);
            deleted++;
        }
    }
    expect_int(m, deleted);
}

static void exists(struct model *m) {
    int64_t found = 0;
    for (uint32_t i = 1; i < m->argc; i++) {
        found += model_find(m, i) != NULL;
    }
    expect_int(m, found);
}

static void type(struct model *m) {
    const struct value *v = model_find(m, 1);
    expect_raw(m, !v                        ? SLICE("+none\r\n")
                  : v->kind == KIND_STRING ? SLICE("+string\r\n")
                                           : SLICE("+hash\r\n"));
}

static void randomkey(struct model *m) {
    if (model_count(m, m->c->db) == 0) {
        expect_null(m);
        return;
    }
    struct slice key = take_bulk(m);
    if (!value_is_live(m, &model_name(m, key)->in[m->c->db])) {
        model_fail(m, "a key that is there", key);
    }
}

static void dbsize(struct model *m) {
    uint64_t most = 0, least = model_count(m, m->c->db);
    for (uint32_t n = 0; n < m->names_count; n++) {
        most += m->names[n]->in[m->c->db].kind != KIND_NONE;
    }
    /* Expired keys count until they are found. */
    uint64_t answer = (uint64_t)take_int(m);
    if (answer < least || answer > most) {
        model_fail(m, "a possible number of keys", SLICE(""));
    }
}

static void object(struct model *m) {
    ASSERT(model_is(m, 1, "encoding")); /* the only subcommand that is generated */
    const struct value *v = model_find(m, 2);
    int64_t number;
    if (!v) {
        expect_null(m);
    } else if (v->kind == KIND_HASH) {
        expect_bulk(m, v->packed ? SLICE("listpack") : SLICE("hashtable"));
    } else if (v->raw) {
        expect_bulk(m, SLICE("raw"));
    } else if (model_parse_int(buf_slice(&v->string), &number)) {
        expect_bulk(m, SLICE("int"));
    } else {
        expect_bulk(m, v->string.len <= EMBSTR_BYTES_MAX ? SLICE("embstr") : SLICE("raw"));
    }
}

/* --- moving --- */

static void move_value(struct value *to, struct value *from) {
    value_clear(to);
    *to = *from;
    *from = (struct value){.kind = KIND_NONE};
}

static void rename_command(struct model *m) {
    bool only_new = model_is(m, 0, "renamenx");
    struct value *from = model_find(m, 1);
    if (!from) {
        expect_error(m, "ERR no such key");
        return;
    }
    if (only_new && model_find(m, 2)) {
        expect_int(m, 0);
        return;
    }
    if (model_slot(m, 2) != from) {
        model_touch(m, 1);
        model_touch(m, 2);
        move_value(model_slot(m, 2), from);
    }
    if (only_new) {
        expect_int(m, 1);
    } else {
        expect_ok(m);
    }
}

static void move(struct model *m) {
    unsigned to;
    if (!model_arg_db(m, 2, &to)) {
        return;
    }
    if (to == m->c->db) {
        expect_error(m, "ERR source and destination objects are the same");
        return;
    }
    struct value *from = model_find(m, 1);
    struct value *target = &model_key(m, 1)->in[to];
    if (!from || value_is_live(m, target)) {
        expect_int(m, 0);
        return;
    }
    move_value(target, from);
    model_touch(m, 1);
    model_touch_name(m, to, model_key(m, 1));
    expect_int(m, 1);
}

static void copy(struct model *m) {
    unsigned db = m->c->db;
    bool replace = false;
    for (uint32_t i = 3; i < m->argc; i++) {
        if (model_is(m, i, "replace")) {
            replace = true;
        } else if (model_is(m, i, "db") && i + 1 < m->argc) {
            if (!model_arg_db(m, ++i, &db)) {
                return;
            }
        } else {
            expect_error(m, "ERR syntax error");
            return;
        }
    }
    struct name *target = model_key(m, 2);
    struct value *from = model_find(m, 1), *to = &target->in[db];
    if (model_slot(m, 1) == to) {
        expect_error(m, "ERR source and destination objects are the same");
        return;
    }
    if (!from || (value_is_live(m, to) && !replace)) {
        expect_int(m, 0);
        return;
    }
    value_copy(m, to, from);
    model_touch_name(m, db, target);
    expect_int(m, 1);
}

/* --- databases --- */

static void stop_scans(struct model *m, unsigned db) {
    for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
        m->clients[i].scan.active &= m->clients[i].scan.db != db;
    }
}

static void flush(struct model *m, unsigned db) {
    for (uint32_t n = 0; n < m->names_count; n++) {
        struct value *v = &m->names[n]->in[db];
        if (value_is_live(m, v)) {
            model_touch_name(m, db, m->names[n]);
        }
        value_clear(v);
    }
}

static void flush_command(struct model *m) {
    if (m->argc > 2 || (m->argc == 2 && !model_is(m, 1, "async") && !model_is(m, 1, "sync"))) {
        expect_error(m, "ERR syntax error");
        return;
    }
    for (unsigned db = 0; db < MODEL_DATABASES; db++) {
        if (model_is(m, 0, "flushall") || db == m->c->db) {
            flush(m, db);
        }
    }
    expect_ok(m);
}

static bool index_arg(struct model *m, uint32_t arg, const char *error, int64_t *out) {
    if (!model_parse_int(m->argv[arg], out) || *out < INT32_MIN || *out > INT32_MAX) {
        expect_error(m, error);
        return false;
    }
    return true;
}

static void swapdb(struct model *m) {
    int64_t a, b;
    if (!index_arg(m, 1, "ERR invalid first DB index", &a) ||
        !index_arg(m, 2, "ERR invalid second DB index", &b)) {
        return;
    }
    if (a < 0 || b < 0 || a >= MODEL_DATABASES || b >= MODEL_DATABASES) {
        expect_error(m, "ERR DB index is out of range");
        return;
    }
    for (uint32_t n = 0; n < m->names_count && a != b; n++) {
        struct value *x = &m->names[n]->in[a], *y = &m->names[n]->in[b], swapped = *x;
        if (value_is_live(m, x) || value_is_live(m, y)) {
            model_touch_name(m, (unsigned)a, m->names[n]);
            model_touch_name(m, (unsigned)b, m->names[n]);
        }
        *x = *y;
        *y = swapped;
    }
    if (a != b) {
        stop_scans(m, (unsigned)a);
        stop_scans(m, (unsigned)b);
    }
    expect_ok(m);
}

/* --- expiry --- */

static bool has_word(struct model *m, const char *word) {
    for (uint32_t i = 3; i < m->argc; i++) {
        if (model_is(m, i, word)) {
            return true;
        }
    }
    return false;
}

static void expire(struct model *m) {
    bool nx = has_word(m, "nx"), xx = has_word(m, "xx"), gt = has_word(m, "gt"),
         lt = has_word(m, "lt");
    for (uint32_t i = 3; i < m->argc; i++) {
        if (!model_is(m, i, "nx") && !model_is(m, i, "xx") && !model_is(m, i, "gt") &&
            !model_is(m, i, "lt")) {
            expect_any_error(m); /* it repeats the argument */
            return;
        }
    }
    if (nx && (xx || gt || lt)) {
        expect_error(m, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return;
    }
    if (gt && lt) {
        expect_error(m, "ERR GT and LT options at the same time are not compatible");
        return;
    }
    int64_t expire_ms;
    bool absolute = m->argv[0].ptr[m->argv[0].len - 1] == 't';
    bool ms = m->argv[0].ptr[0] == 'p';
    if (!model_arg_time(m, 2, ms ? 1 : 1000, absolute, false, &expire_ms)) {
        return;
    }
    struct value *v = model_find(m, 1);
    bool persistent = v && v->expire_ms == MODEL_NEVER;
    if (!v || (nx && !persistent) || (xx && persistent) ||
        (gt && (persistent || expire_ms <= v->expire_ms)) ||
        (lt && !persistent && expire_ms >= v->expire_ms)) {
        expect_int(m, 0);
        return;
    }
    v->expire_ms = expire_ms;
    model_touch(m, 1);
    if (expire_ms <= m->now_ms) {
        value_clear(v);
    }
    expect_int(m, 1);
}

static void ttl(struct model *m) {
    const struct value *v = model_find(m, 1);
    if (!v) {
        expect_int(m, -2);
    } else if (v->expire_ms == MODEL_NEVER) {
        expect_int(m, -1);
    } else {
        bool absolute = m->argv[0].ptr[m->argv[0].len - 1] == 'e';
        int64_t ms = v->expire_ms - (absolute ? 0 : m->now_ms);
        expect_int(m, m->argv[0].ptr[0] == 'p' ? ms : (ms + 500) / 1000);
    }
}

static void persist(struct model *m) {
    struct value *v = model_find(m, 1);
    bool changes = v && v->expire_ms != MODEL_NEVER;
    if (changes) {
        v->expire_ms = MODEL_NEVER;
        model_touch(m, 1);
    }
    expect_int(m, changes);
}

const struct model_command model_key_commands[] = {
    {"del", del, -2, false},
    {"unlink", del, -2, false},
    {"exists", exists, -2, false},
    {"touch", exists, -2, false},
    {"type", type, 2, false},
    {"randomkey", randomkey, 1, false},
    {"dbsize", dbsize, 1, false},
    {"object", object, 3, false},
    {"rename", rename_command, 3, false},
    {"renamenx", rename_command, 3, false},
    {"move", move, 3, false},
    {"copy", copy, -3, false},
    {"flushall", flush_command, -1, false},
    {"flushdb", flush_command, -1, false},
    {"swapdb", swapdb, 3, false},
    {"expire", expire, -3, false},
    {"pexpire", expire, -3, false},
    {"expireat", expire, -3, false},
    {"pexpireat", expire, -3, false},
    {"ttl", ttl, 2, false},
    {"pttl", ttl, 2, false},
    {"expiretime", ttl, 2, false},
    {"pexpiretime", ttl, 2, false},
    {"persist", persist, 2, false},
    {NULL},
};
