/* The model: state, arguments, comparing replies, transactions. */
#include "model.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "model_internal.h"

/* --- state --- */

struct name *model_name(struct model *m, struct slice bytes) {
    for (uint32_t i = 0; i < m->names_count; i++) {
        if (slice_eq(buf_slice(&m->names[i]->bytes), bytes)) {
            return m->names[i];
        }
    }
    m->names = mem_realloc(m->names, (m->names_count + 1) * sizeof *m->names);
    struct name *name = mem_zalloc(sizeof *name);
    buf_reserve(&name->bytes, 1); /* never NULL, which must not be added to */
    buf_append_slice(&name->bytes, bytes);
    m->names[m->names_count++] = name;
    return name;
}

struct name *model_key(struct model *m, uint32_t arg) {
    return model_name(m, m->argv[arg]);
}

bool value_is_live(const struct model *m, const struct value *v) {
    return v->kind != KIND_NONE && (v->expire_ms == MODEL_NEVER || v->expire_ms > m->now_ms);
}

struct value *model_slot(struct model *m, uint32_t arg) {
    return &model_key(m, arg)->in[m->c->db];
}

struct value *model_find(struct model *m, uint32_t arg) {
    struct value *v = model_slot(m, arg);
    return value_is_live(m, v) ? v : NULL;
}

void value_clear(struct value *v) {
    for (uint32_t i = 0; i < v->count; i++) {
        buf_free(&v->pairs[i].value);
    }
    mem_free(v->pairs);
    buf_free(&v->string);
    *v = (struct value){.kind = KIND_NONE};
}

void value_copy(struct model *m, struct value *to, const struct value *from) {
    value_clear(to);
    *to = *from;
    to->string = (struct buf){0};
    buf_append_slice(&to->string, buf_slice(&from->string));
    to->pairs = from->count ? mem_alloc(from->count * sizeof *to->pairs) : NULL;
    for (uint32_t i = 0; i < from->count; i++) {
        to->pairs[i] = (struct pair){.field = from->pairs[i].field};
        buf_append_slice(&to->pairs[i].value, buf_slice(&from->pairs[i].value));
    }
    to->id = ++m->last_id;
}

void value_set_string(struct value *v, struct slice bytes) {
    struct buf copy = {0};
    buf_append_slice(&copy, bytes);
    value_clear(v);
    *v = (struct value){.kind = KIND_STRING, .expire_ms = MODEL_NEVER, .string = copy};
}

void model_touch_name(struct model *m, unsigned db, const struct name *name) {
    for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
        struct mclient *c = &m->clients[i];
        for (uint32_t w = 0; w < c->watches_count; w++) {
            c->dirty |= c->watches[w].db == db && c->watches[w].name == name;
        }
    }
}

void model_touch(struct model *m, uint32_t arg) {
    model_touch_name(m, m->c->db, model_key(m, arg));
}

struct pair *pair_find(const struct value *v, const struct name *field) {
    for (uint32_t i = 0; v && i < v->count; i++) {
        if (v->pairs[i].field == field) {
            return &v->pairs[i];
        }
    }
    return NULL;
}

/* --- arguments --- */

bool model_is(const struct model *m, uint32_t arg, const char *word) {
    return slice_eq_nocase(m->argv[arg], slice_str(word));
}

/* What printf would have written, and nothing else, is an integer. */
bool model_parse_int(struct slice text, int64_t *out) {
    char copy[32], again[32], *end;
    if (text.len == 0 || text.len > 20) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    long long value = strtoll(copy, &end, 10);
    int len = snprintf(again, sizeof again, "%lld", value);
    if (!slice_eq(slice_of(again, (size_t)len), text)) {
        return false;
    }
    *out = value;
    return true;
}

bool model_parse_float(struct slice text, long double *out) {
    if (text.len == 0 || text.len > 5000 || isspace((unsigned char)text.ptr[0]) ||
        memchr(text.ptr, 0, text.len)) {
        return false;
    }
    char *copy = mem_dup(text.ptr, text.len), *end;
    long double value = strtold(copy, &end);
    bool inf_by_name = tolower(copy[copy[0] == '-' || copy[0] == '+']) == 'i';
    bool whole = *end == 0;
    mem_free(copy);
    if (!whole || isnan(value) || (isinf(value) && !inf_by_name)) {
        return false;
    }
    *out = value;
    return true;
}

struct slice model_format_float(char *out, long double value) {
    int len = snprintf(out, 5120, "%.17Lf", value);
    while (out[len - 1] == '0') {
        len--;
    }
    len -= out[len - 1] == '.';
    if (len == 2 && memcmp(out, "-0", 2) == 0) {
        out[0] = '0';
        len = 1;
    }
    return slice_of(out, (size_t)len);
}

bool model_arg_int(struct model *m, uint32_t arg, int64_t *out) {
    if (!model_parse_int(m->argv[arg], out)) {
        expect_error(m, "ERR value is not an integer or out of range");
        return false;
    }
    return true;
}

bool model_arg_time(struct model *m, uint32_t arg, int64_t unit_ms, bool absolute, bool positive,
                    int64_t *out_ms) {
    const int64_t latest_ms = (1ll << 48) - 2; /* docs: later ones count as this */
    int64_t value;
    if (!model_arg_int(m, arg, &value)) {
        return false;
    }
    __int128 ms = (__int128)value * unit_ms;
    bool in_range = ms >= INT64_MIN && ms <= INT64_MAX;
    ms += absolute ? 0 : m->now_ms;
    if (!in_range || ms > INT64_MAX || (positive && value <= 0)) {
        char text[128];
        snprintf(text, sizeof text, "ERR invalid expire time in '%.*s' command",
                 SLICE_FMT(m->argv[0]));
        expect_error(m, text);
        return false;
    }
    *out_ms = ms > latest_ms ? latest_ms : (int64_t)ms;
    return true;
}

bool model_arg_db(struct model *m, uint32_t arg, unsigned *out) {
    int64_t value;
    if (!model_arg_int(m, arg, &value)) {
        return false;
    }
    if (value < INT32_MIN || value > INT32_MAX) {
        expect_error(m, "ERR value is out of range, value must between -2147483648 and 2147483647");
        return false;
    }
    if (value < 0 || value >= MODEL_DATABASES) {
        expect_error(m, "ERR DB index is out of range");
        return false;
    }
    *out = (unsigned)value;
    return true;
}

bool model_typed(struct model *m, uint32_t arg, enum value_kind kind, struct value **out) {
    *out = model_find(m, arg);
    if (*out && (*out)->kind != kind) {
        expect_wrongtype(m);
        return false;
    }
    return true;
}

static bool glob_class(struct slice *p, char c) {
    bool negated = p->len && p->ptr[0] == '^', matched = false;
    size_t i = negated;
    for (; i < p->len && p->ptr[i] != ']'; i++) {
        if (p->ptr[i] == '\\' && i + 1 < p->len) {
            matched |= p->ptr[++i] == c;
        } else if (i + 2 < p->len && p->ptr[i + 1] == '-') {
            unsigned char a = (unsigned char)p->ptr[i], b = (unsigned char)p->ptr[i + 2];
            unsigned char byte = (unsigned char)c;
            matched |= byte >= MIN(a, b) && byte <= MAX(a, b);
            i += 2;
        } else {
            matched |= p->ptr[i] == c;
        }
    }
    i += i < p->len;
    *p = slice_of(p->ptr + i, p->len - i);
    return matched != negated;
}

bool model_glob(struct slice p, struct slice t) {
    if (p.len == 0) {
        return t.len == 0;
    }
    struct slice rest = slice_of(p.ptr + 1, p.len - 1);
    if (p.ptr[0] == '*') {
        for (size_t skip = 0; skip <= t.len; skip++) {
            if (model_glob(rest, slice_of(t.ptr + skip, t.len - skip))) {
                return true;
            }
        }
        return false;
    }
    if (t.len == 0) {
        return false;
    }
    bool matched = p.ptr[0] == '?';
    if (p.ptr[0] == '[') {
        matched = glob_class(&rest, t.ptr[0]);
    } else if (p.ptr[0] == '\\' && rest.len) {
        matched = rest.ptr[0] == t.ptr[0];
        rest = slice_of(rest.ptr + 1, rest.len - 1);
    } else {
        matched |= p.ptr[0] == t.ptr[0];
    }
    return matched && model_glob(rest, slice_of(t.ptr + 1, t.len - 1));
}

/* --- transactions --- */

static void unwatch(struct mclient *c) {
    mem_free(c->watches);
    c->watches = NULL;
    c->watches_count = 0;
    c->dirty = false;
}

static void discard(struct mclient *c) {
    for (uint32_t i = 0; i < c->queue_count; i++) {
        for (uint32_t a = 0; a < c->queue[i].argc; a++) {
            mem_free((char *)c->queue[i].argv[a].ptr);
        }
        mem_free(c->queue[i].argv);
    }
    mem_free(c->queue);
    c->queue = NULL;
    c->queue_count = 0;
    c->multi = c->aborted = false;
    unwatch(c);
}

static void queue(struct model *m) {
    struct mclient *c = m->c;
    ASSERT(c->queue_count < MODEL_QUEUE_MAX);
    c->queue = mem_realloc(c->queue, (c->queue_count + 1) * sizeof *c->queue);
    struct queued *q = &c->queue[c->queue_count++];
    *q = (struct queued){.argc = m->argc, .argv = mem_alloc(m->argc * sizeof *q->argv)};
    for (uint32_t i = 0; i < m->argc; i++) {
        q->argv[i] = slice_of(mem_dup(m->argv[i].ptr, m->argv[i].len), m->argv[i].len);
    }
    expect_raw(m, SLICE("+QUEUED\r\n"));
}

static void multi(struct model *m) {
    if (m->c->multi) {
        expect_error(m, "ERR MULTI calls can not be nested");
        return;
    }
    m->c->multi = true;
    expect_ok(m);
}

static void discard_command(struct model *m) {
    if (!m->c->multi) {
        expect_error(m, "ERR DISCARD without MULTI");
        return;
    }
    discard(m->c);
    expect_ok(m);
}

static void watch(struct model *m) {
    struct mclient *c = m->c;
    if (c->multi) {
        expect_error(m, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    for (uint32_t i = 1; i < m->argc; i++) {
        c->watches = mem_realloc(c->watches, (c->watches_count + 1) * sizeof *c->watches);
        c->watches[c->watches_count++] = (struct watching){model_key(m, i), c->db};
    }
    expect_ok(m);
}

static void unwatch_command(struct model *m) {
    unwatch(m->c);
    expect_ok(m);
}

static void run(struct model *m);

static void exec(struct model *m) {
    struct mclient *c = m->c;
    if (!c->multi) {
        expect_error(m, "ERR EXEC without MULTI");
        return;
    }
    if (c->aborted) {
        expect_error(m, "EXECABORT Transaction discarded because of previous errors.");
    } else if (c->dirty) {
        expect_raw(m, c->proto == 3 ? SLICE("_\r\n") : SLICE("*-1\r\n"));
    } else {
        unwatch(c);
        c->multi = false;
        expect_array(m, c->queue_count);
        for (uint32_t i = 0; i < c->queue_count; i++) {
            m->argv = c->queue[i].argv;
            m->argc = c->queue[i].argc;
            run(m);
        }
    }
    discard(c);
}

/* --- the connection --- */

static void ping(struct model *m) {
    if (m->argc > 2) {
        expect_error(m, "ERR wrong number of arguments for 'ping' command");
    } else if (m->argc == 2) {
        expect_bulk(m, m->argv[1]);
    } else {
        expect_raw(m, SLICE("+PONG\r\n"));
    }
}

static void echo(struct model *m) {
    expect_bulk(m, m->argv[1]);
}

static void select_command(struct model *m) {
    unsigned db;
    if (model_arg_db(m, 1, &db)) {
        m->c->db = db;
        expect_ok(m);
    }
}

static void hello(struct model *m) {
    int64_t proto;
    if (m->argc != 2 || !model_parse_int(m->argv[1], &proto) || proto < 2 || proto > 3) {
        skip_value(m); /* other forms are not modelled, and generated only when damaged */
        return;
    }
    m->c->proto = (unsigned)proto;
    expect_header(m, proto == 3 ? '%' : '*', proto == 3 ? 7 : 14);
    for (unsigned i = 0; i < 14; i++) {
        skip_value(m);
    }
}

static void reset(struct model *m) {
    discard(m->c);
    m->c->db = 0;
    m->c->proto = 2;
    expect_raw(m, SLICE("+RESET\r\n"));
}

static const struct model_command own_commands[] = {
    {"multi", multi, 1, true},     {"exec", exec, 1, true},
    {"discard", discard_command, 1, true}, {"watch", watch, -2, true},
    {"unwatch", unwatch_command, 1, false}, {"ping", ping, -1, false},
    {"echo", echo, 2, false},      {"select", select_command, 2, false},
    {"hello", hello, -1, false},   {"reset", reset, 1, true},
    {NULL},
};

static const struct model_command *find_command(const struct model *m) {
    const struct model_command *const all[] = {own_commands, model_string_commands,
                                               model_key_commands, model_hash_commands,
                                               model_walk_commands};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        for (const struct model_command *row = all[i]; row->name; row++) {
            if (model_is(m, 0, row->name)) {
                return row;
            }
        }
    }
    return NULL;
}

/* What was there before the command and is no more breaks SCAN's promise for it. */
static void after_change(struct model *m) {
    for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
        const struct walk *scan = &m->clients[i].scan, *hscan = &m->clients[i].hscan;
        const struct value *hash = hscan->active ? &hscan->key->in[hscan->db] : NULL;
        if (!scan->active && !hscan->active) {
            continue;
        }
        bool hash_stays = hash && value_is_live(m, hash) && hash->id == hscan->id;
        for (uint32_t n = 0; n < m->names_count; n++) {
            struct name *name = m->names[n];
            name->scan[i].must &= scan->active && value_is_live(m, &name->in[scan->db]);
            name->hscan[i].must &= hash_stays && pair_find(hash, name);
        }
    }
}

static void run(struct model *m) {
    const struct model_command *row = find_command(m);
    bool fits = row && (row->arity > 0 ? (int)m->argc == row->arity : (int)m->argc >= -row->arity);
    if (!fits) {
        m->c->aborted |= m->c->multi;
        expect_any_error(m);
        if (row && row->fn == exec) { /* even a malformed EXEC ends the transaction */
            discard(m->c);
        }
    } else if (m->c->multi && !row->at_once) {
        queue(m);
    } else {
        row->fn(m);
        after_change(m);
    }
}

void model_run(struct model *m, unsigned client, const struct slice *argv, uint32_t argc,
               struct slice reply) {
    ASSERT(argc <= MODEL_ARGS_MAX);
    m->c = &m->clients[client];
    m->argv = m->sent_argv = argv;
    m->argc = m->sent_argc = argc;
    m->reply = m->whole = reply;
    run(m);
    if (m->reply.len) {
        model_fail(m, "the end", SLICE(""));
    }
}

/* --- life --- */

struct model *model_create(const struct model_options *options) {
    struct model *m = mem_zalloc(sizeof *m);
    m->options = *options;
    m->now_ms = options->now_ms;
    for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
        m->clients[i].index = i;
        m->clients[i].proto = 2;
        buf_append_char(&m->clients[i].scan.cursor, '0');
        buf_append_char(&m->clients[i].hscan.cursor, '0');
    }
    return m;
}

void model_destroy(struct model *m) {
    for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
        discard(&m->clients[i]);
        buf_free(&m->clients[i].scan.cursor);
        buf_free(&m->clients[i].hscan.cursor);
    }
    for (uint32_t n = 0; n < m->names_count; n++) {
        for (unsigned db = 0; db < MODEL_DATABASES; db++) {
            value_clear(&m->names[n]->in[db]);
        }
        buf_free(&m->names[n]->bytes);
        mem_free(m->names[n]);
    }
    mem_free(m->names);
    mem_free(m);
}

void model_set_now(struct model *m, int64_t now_ms) {
    int64_t before_ms = m->now_ms;
    m->now_ms = now_ms;
    for (uint32_t n = 0; n < m->names_count; n++) {
        for (unsigned db = 0; db < MODEL_DATABASES; db++) {
            const struct value *v = &m->names[n]->in[db];
            if (v->kind && v->expire_ms > before_ms && v->expire_ms <= now_ms) {
                model_touch_name(m, db, m->names[n]);
            }
        }
    }
    after_change(m);
}

int64_t model_now(const struct model *m) {
    return m->now_ms;
}

bool model_in_multi(const struct model *m, unsigned client) {
    return m->clients[client].multi;
}

struct slice model_cursor(const struct model *m, unsigned client, bool of_hash) {
    const struct mclient *c = &m->clients[client];
    return buf_slice(of_hash ? &c->hscan.cursor : &c->scan.cursor);
}

uint64_t model_count(const struct model *m, unsigned db) {
    uint64_t count = 0;
    for (uint32_t n = 0; n < m->names_count; n++) {
        count += value_is_live(m, &m->names[n]->in[db]);
    }
    return count;
}

void model_visit(const struct model *m, unsigned db,
                 void (*fn)(void *arg, struct slice key, bool is_hash), void *arg) {
    for (uint32_t n = 0; n < m->names_count; n++) {
        const struct value *v = &m->names[n]->in[db];
        if (value_is_live(m, v)) {
            fn(arg, buf_slice(&m->names[n]->bytes), v->kind == KIND_HASH);
        }
    }
}
