/* The model's hash commands. */
#include <math.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "model_internal.h"

static struct pair *find(struct model *m, const struct value *v, uint32_t arg) {
    return pair_find(v, model_name(m, m->argv[arg]));
}

/* True when the field is new. The key is made when it is missing. */
static bool set_field(struct model *m, uint32_t field, struct slice text) {
    struct value *v = model_find(m, 1);
    if (!v) {
        v = model_slot(m, 1);
        value_clear(v);
        *v = (struct value){.kind = KIND_HASH, .expire_ms = MODEL_NEVER, .packed = true,
                            .id = ++m->last_id};
    }
    struct pair *pair = find(m, v, field);
    bool added = !pair;
    if (added) {
        v->pairs = mem_realloc(v->pairs, (v->count + 1) * sizeof *v->pairs);
        pair = &v->pairs[v->count++];
        *pair = (struct pair){.field = model_name(m, m->argv[field])};
    }
    pair->value.len = 0;
    buf_append_slice(&pair->value, text);
    if (v->count > m->options.packed_fields_max || text.len > m->options.packed_bytes_max ||
        m->argv[field].len > m->options.packed_bytes_max) {
        v->packed = false;
    }
    return added;
}

static void hset(struct model *m) {
    bool old_reply = model_is(m, 0, "hmset");
    struct value *v;
    if (m->argc % 2) {
        expect_error(m, old_reply ? "ERR wrong number of arguments for 'hmset' command"
                                  : "ERR wrong number of arguments for 'hset' command");
        return;
    }
    if (!model_typed(m, 1, KIND_HASH, &v)) {
        return;
    }
    int64_t added = 0;
    for (uint32_t i = 2; i < m->argc; i += 2) {
        added += set_field(m, i, m->argv[i + 1]);
    }
    model_touch(m, 1);
    if (old_reply) {
        expect_ok(m);
    } else {
        expect_int(m, added);
    }
}

static void hsetnx(struct model *m) {
    struct value *v;
    if (!model_typed(m, 1, KIND_HASH, &v)) {
        return;
    }
    bool exists = find(m, v, 2) != NULL;
    if (!exists) {
        set_field(m, 2, m->argv[3]);
        model_touch(m, 1);
    }
    expect_int(m, !exists);
}

static void hdel(struct model *m) {
    struct value *v;
    int64_t deleted = 0;
    if (!model_typed(m, 1, KIND_HASH, &v)) {
        return;
    }
    for (uint32_t i = 2; v && i < m->argc; i++) {
        struct pair *pair = find(m, v, i);
        if (pair) {
            buf_free(&pair->value);
            *pair = v->pairs[--v->count];
            deleted++;
        }
    }
    if (deleted) {
        model_touch(m, 1);
    }
    if (v && v->count == 0) {
        value_clear(v);
    }
    expect_int(m, deleted);
}

static void hincrby(struct model *m) {
    int64_t by, value = 0;
    struct value *v;
    if (!model_arg_int(m, 3, &by) || !model_typed(m, 1, KIND_HASH, &v)) {
        return;
    }
    const struct pair *pair = find(m, v, 2);
    if (pair && !model_parse_int(buf_slice(&pair->value), &value)) {
        expect_error(m, "ERR hash value is not an integer");
        return;
    }
    __int128 sum = (__int128)value + by;
    if (sum < INT64_MIN || sum > INT64_MAX) {
        expect_error(m, "ERR increment or decrement would overflow");
        return;
    }
    char text[32];
    int len = snprintf(text, sizeof text, "%lld", (long long)sum);
    set_field(m, 2, slice_of(text, (size_t)len));
    model_touch(m, 1);
    expect_int(m, (int64_t)sum);
}

static void hincrbyfloat(struct model *m) {
    long double by, value = 0;
    struct value *v;
    if (!model_parse_float(m->argv[3], &by)) {
        expect_error(m, "ERR value is not a valid float");
        return;
    }
    if (!isfinite(by)) {
        expect_error(m, "ERR value is NaN or Infinity");
        return;
    }
    if (!model_typed(m, 1, KIND_HASH, &v)) {
        return;
    }
    const struct pair *pair = find(m, v, 2);
    if (pair && !model_parse_float(buf_slice(&pair->value), &value)) {
        expect_error(m, "ERR hash value is not a float");
        return;
    }
    if (!isfinite(value + by)) {
        expect_error(m, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[5120];
    struct slice sum = model_format_float(text, value + by);
    set_field(m, 2, sum);
    model_touch(m, 1);
    expect_bulk(m, sum);
}

static void expect_field(struct model *m, const struct pair *pair) {
    if (pair) {
        expect_bulk(m, buf_slice(&pair->value));
    } else {
        expect_null(m);
    }
}

static void hget(struct model *m) {
    struct value *v;
    if (model_typed(m, 1, KIND_HASH, &v)) {
        expect_field(m, find(m, v, 2));
    }
}

static void hmget(struct model *m) {
    struct value *v;
    if (!model_typed(m, 1, KIND_HASH, &v)) {
        return;
    }
    expect_array(m, m->argc - 2);
    for (uint32_t i = 2; i < m->argc; i++) {
        expect_field(m, find(m, v, i));
    }
}

static void hlen(struct model *m) {
    struct value *v;
    if (model_typed(m, 1, KIND_HASH, &v)) {
        expect_int(m, v ? v->count : 0);
    }
}

static void hexists(struct model *m) {
    struct value *v;
    if (model_typed(m, 1, KIND_HASH, &v)) {
        expect_int(m, find(m, v, 2) != NULL);
    }
}

static void hstrlen(struct model *m) {
    struct value *v;
    if (model_typed(m, 1, KIND_HASH, &v)) {
        const struct pair *pair = find(m, v, 2);
        expect_int(m, pair ? (int64_t)pair->value.len : 0);
    }
}

/* Takes a field, a value or both off the reply: one of the hash that `used` does not have yet. */
static void take_pair(struct model *m, const struct value *v, bool field, bool value, bool *used) {
    struct slice name = field ? take_bulk(m) : SLICE("");
    struct slice text = value ? take_bulk(m) : SLICE("");
    for (uint32_t i = 0; v && i < v->count; i++) {
        if (!(used && used[i]) &&
            (!field || slice_eq(buf_slice(&v->pairs[i].field->bytes), name)) &&
            (!value || slice_eq(buf_slice(&v->pairs[i].value), text))) {
            if (used) {
                used[i] = true;
            }
            return;
        }
    }
    model_fail(m, field ? "a field with its value" : "a value", field ? name : text);
}

static void all(struct model *m) {
    bool fields = !model_is(m, 0, "hvals"), values = !model_is(m, 0, "hkeys");
    struct value *v;
    if (!model_typed(m, 1, KIND_HASH, &v)) {
        return;
    }
    uint32_t count = v ? v->count : 0;
    bool both = fields && values;
    expect_header(m, both && m->c->proto == 3 ? '%' : '*',
                  both && m->c->proto == 2 ? 2 * count : count);
    bool *used = mem_zalloc(count + 1);
    for (uint32_t i = 0; i < count; i++) {
        take_pair(m, v, fields, values, used);
    }
    mem_free(used);
}

static void hrandfield(struct model *m) {
    enum { REPEATS_MAX = 1 << 20 };
    struct value *v;
    int64_t count;
    bool values = m->argc == 4;
    if (m->argc == 2) {
        if (model_typed(m, 1, KIND_HASH, &v)) {
            if (v) {
                take_pair(m, v, true, false, NULL);
            } else {
                expect_null(m);
            }
        }
        return;
    }
    if (!model_arg_int(m, 2, &count)) {
        return;
    }
    if (count == INT64_MIN) {
        expect_any_error(m);
        return;
    }
    if (m->argc > 4 || (values && !model_is(m, 3, "withvalues"))) {
        expect_error(m, "ERR syntax error");
        return;
    }
    if (values && (count < -(INT64_MAX / 2) || count > INT64_MAX / 2)) {
        expect_error(m, "ERR value is out of range");
        return;
    }
    if (!model_typed(m, 1, KIND_HASH, &v)) {
        return;
    }
    if (v && count < -REPEATS_MAX) {
        expect_error(m, "ERR value is out of range");
        return;
    }
    uint64_t size = v ? v->count : 0;
    bool repeats = count < 0;
    uint64_t answered = !v ? 0 : repeats ? (uint64_t)-count : MIN((uint64_t)count, size);
    bool *used = mem_zalloc(size + 1);
    expect_array(m, values && m->c->proto == 2 ? 2 * answered : answered);
    for (uint64_t i = 0; i < answered; i++) {
        if (values && m->c->proto == 3) {
            expect_array(m, 2);
        }
        take_pair(m, v, true, values, repeats ? NULL : used);
    }
    mem_free(used);
}

const struct model_command model_hash_commands[] = {
    {"hset", hset, -4, false},
    {"hmset", hset, -4, false},
    {"hsetnx", hsetnx, 4, false},
    {"hdel", hdel, -3, false},
    {"hincrby", hincrby, 4, false},
    {"hincrbyfloat", hincrbyfloat, 4, false},
    {"hget", hget, 3, false},
    {"hmget", hmget, -3, false},
    {"hlen", hlen, 2, false},
    {"hexists", hexists, 3, false},
    {"hstrlen", hstrlen, 3, false},
    {"hgetall", all, 2, false},
    {"hkeys", all, 2, false},
    {"hvals", all, 2, false},
    {"hrandfield", hrandfield, -2, false},
    {NULL},
};
