/* Schemas: see schema.h. Any thread; a schema is immutable but for its count and check time.
 *
 * 1. The select list begins with the key columns, in the mapping's order, in canonical text, so
 * that a row can be compared with a key byte for byte.
 * 2. Column names reach the SQL in backticks only: quoted with ", SQLite would take a column that
 * is gone for a string.
 * 3. Atomics: the reference count and the counter of ids. */
#include "store/schema.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"

enum { UUID_CHARS = 36 };

/* Connections keep prepared statements by schema id, whichever store they belong to. */
static _Atomic uint64_t last_id;

void schema_quote(struct buf *b, struct slice name) {
    buf_append_char(b, '`');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '`') {
            buf_append_char(b, '`');
        }
        buf_append_char(b, name.ptr[i]);
    }
    buf_append_char(b, '`');
}

/* Length of the sequence at `p`, 0 when it is none. Table 3-7 of the Unicode standard. */
static size_t utf8_sequence(const unsigned char *p, size_t left, uint32_t *point) {
    if (p[0] < 0x80) {
        *point = p[0];
        return 1;
    }
    size_t len = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (len == 0 || len > left) {
        return 0;
    }
    unsigned low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    *point = (uint32_t)(p[0] & (0xff >> (len + 1))) << 6 | (p[1] & 0x3f);
    for (size_t i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
        *point = *point << 6 | (p[i] & 0x3f);
    }
    return len;
}

bool schema_utf8(struct slice text, size_t *chars, uint32_t *highest) {
    const unsigned char *p = (const unsigned char *)text.ptr;
    size_t at = 0;
    *chars = 0;
    *highest = 0;
    while (at < text.len) {
        uint32_t point;
        size_t len = utf8_sequence(p + at, text.len - at, &point);
        if (len == 0) {
            return false;
        }
        *highest = MAX(*highest, point);
        ++*chars;
        at += len;
    }
    return true;
}

void schema_table_deinit(struct schema_table *t) {
    for (uint32_t i = 0; i < t->columns_count; i++) {
        mem_free(t->columns[i].name);
        mem_free(t->columns[i].expression);
        mem_free(t->columns[i].key_expression);
    }
    mem_free(t->columns);
    buf_free(&t->indexes);
    *t = (struct schema_table){0};
}

struct schema_found *schema_table_add(struct schema_table *t, struct slice name) {
    t->columns = mem_realloc(t->columns, (t->columns_count + 1) * sizeof *t->columns);
    struct schema_found *f = &t->columns[t->columns_count++];
    *f = (struct schema_found){.name = mem_dup(name.ptr, name.len), .kind = SCHEMA_TEXT};
    f->key.code_point_max = UINT32_MAX;
    return f;
}

struct schema_found *schema_table_find(const struct schema_table *t, const char *name) {
    for (uint32_t i = 0; i < t->columns_count; i++) {
        if (strcasecmp(t->columns[i].name, name) == 0) {
            return &t->columns[i];
        }
    }
    return NULL;
}

static bool is_key_of(const struct mapping *m, const char *column) {
    for (uint32_t i = 0; i < m->key_columns_count; i++) {
        if (strcasecmp(m->key_columns[i], column) == 0) {
            return true;
        }
    }
    return false;
}

void schema_table_index(struct schema_table *t, const struct mapping *m, const char *index,
                        const char *const *columns, uint32_t columns_count, bool usable) {
    bool same = columns_count == m->key_columns_count, not_null = true;
    buf_printf(&t->indexes, "%s%s(", t->indexes.len ? ", " : "", index);
    for (uint32_t i = 0; i < columns_count; i++) {
        const struct schema_found *f = columns[i] ? schema_table_find(t, columns[i]) : NULL;
        not_null = not_null && f && f->not_null;
        same = same && f && is_key_of(m, f->name);
        buf_printf(&t->indexes, "%s%s", i ? "," : "", f ? f->name : "expression");
    }
    buf_printf(&t->indexes, ")%s", !usable ? " partial" : not_null ? "" : " nullable");
    t->key_found = t->key_found || (same && usable && not_null);
}

static bool check_columns(const struct mapping *m, const struct schema_table *t, char *why,
                          size_t why_len) {
    for (uint32_t i = 0; i < m->key_columns_count; i++) {
        const struct schema_found *f = schema_table_find(t, m->key_columns[i]);
        if (!f) {
            snprintf(why, why_len, "table %s has no column %s (placeholder {%s})", m->table,
                     m->key_columns[i], m->key_columns[i]);
            return false;
        }
        if (!f->key_possible) {
            snprintf(why, why_len,
                     "column %s cannot be part of a key: %s. Integer, character and binary columns "
                     "can",
                     f->name, f->key_reason);
            return false;
        }
    }
    for (uint32_t i = 0; i < m->columns_count; i++) {
        if (!schema_table_find(t, m->columns[i])) {
            snprintf(why, why_len, "table %s has no column %s (columns=)", m->table, m->columns[i]);
            return false;
        }
    }
    if (m->value_column && !schema_table_find(t, m->value_column)) {
        snprintf(why, why_len, "table %s has no column %s (as=string:%s)", m->table,
                 m->value_column, m->value_column);
        return false;
    }
    if (!m->columns_count && !m->value_column && t->columns_count > MAPPING_COLUMNS_MAX) {
        snprintf(why, why_len,
                 "table %s has more than %d columns: name some with columns=", m->table,
                 MAPPING_COLUMNS_MAX);
        return false;
    }
    return true;
}

static bool check_key(const struct mapping *m, const struct schema_table *t, char *why,
                      size_t why_len) {
    if (t->key_found) {
        return true;
    }
    struct buf keys = {0};
    for (uint32_t i = 0; i < m->key_columns_count; i++) {
        buf_printf(&keys, "%s%s", i ? "," : "", m->key_columns[i]);
    }
    snprintf(why, why_len,
             "the placeholders (%.*s) are not the columns of a PRIMARY or UNIQUE NOT NULL index of "
             "%s; %s%.*s",
             SLICE_FMT(keys), m->table,
             t->indexes.len ? "use the columns of one of these, or add one: "
                            : "it has no unique index: add one",
             (int)t->indexes.len, t->indexes.len ? t->indexes.ptr : "");
    buf_free(&keys);
    return false;
}

static void append_expression(struct buf *b, const char *expression, const char *name) {
    if (b->len) {
        buf_append_char(b, ',');
    }
    if (expression) {
        buf_append(b, expression, strlen(expression));
    } else {
        schema_quote(b, slice_str(name));
    }
}

/* The cell of `f`: the key's own where that has the same text, else a further one. */
static uint32_t select_cell(struct schema *s, struct buf *list, const struct schema_found *f) {
    bool same_text =
        f->expression == f->key_expression ||
        (f->expression && f->key_expression && strcmp(f->expression, f->key_expression) == 0);
    for (uint32_t i = 0; same_text && i < s->keys_count; i++) {
        if (strcmp(s->keys[i].name, f->name) == 0) {
            return i;
        }
    }
    append_expression(list, f->expression, f->name);
    return s->cells_count++;
}

static void add_column(struct schema *s, struct buf *list, const struct schema_found *f) {
    s->columns[s->columns_count++] = (struct schema_column){
        .name = mem_strdup(f->name), .kind = f->kind, .cell = select_cell(s, list, f)};
}

/* `table` may be database.table. */
static void append_table(struct buf *b, const char *table) {
    const char *dot = strchr(table, '.');
    if (dot) {
        schema_quote(b, slice_of(table, (size_t)(dot - table)));
        buf_append_char(b, '.');
        table = dot + 1;
    }
    schema_quote(b, slice_str(table));
}

static char *make_signature(const struct schema *s) {
    struct buf b = {0};
    buf_append(&b, s->select, strlen(s->select));
    for (uint32_t i = 0; i < s->keys_count; i++) {
        const struct schema_key_column *k = &s->keys[i];
        buf_printf(&b, "|%d %" PRId64 " %" PRIu64 " %zu %" PRIu32, (int)k->kind, k->min, k->max,
                   k->size_max, k->code_point_max);
    }
    for (uint32_t i = 0; i < s->columns_count; i++) {
        const struct schema_column *c = &s->columns[i];
        buf_printf(&b, "|%s %d %" PRIu32, c->name, (int)c->kind, c->cell);
    }
    char *text = mem_dup(b.ptr, b.len);
    buf_free(&b);
    return text;
}

static struct schema *create(void) {
    struct schema *s = mem_zalloc(sizeof *s);
    atomic_init(&s->refs, 1);
    s->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    return s;
}

struct schema *schema_build(const struct mapping *m, const struct schema_table *t, char *why,
                            size_t why_len) {
    if (!check_columns(m, t, why, why_len) || !check_key(m, t, why, why_len)) {
        return NULL;
    }
    struct schema *s = create();
    struct buf list = {0}, sql = {0};
    for (uint32_t i = 0; i < m->key_columns_count; i++) {
        const struct schema_found *f = schema_table_find(t, m->key_columns[i]);
        s->keys[i] = f->key;
        s->keys[i].name = mem_strdup(f->name);
        append_expression(&list, f->key_expression, f->name);
    }
    s->keys_count = s->cells_count = m->key_columns_count;
    s->columns = mem_zalloc(MAX(t->columns_count, m->columns_count + 1) * sizeof *s->columns);
    if (m->value_column) {
        add_column(s, &list, schema_table_find(t, m->value_column));
    } else if (m->columns_count) {
        for (uint32_t i = 0; i < m->columns_count; i++) {
            add_column(s, &list, schema_table_find(t, m->columns[i]));
        }
    } else {
        for (uint32_t i = 0; i < t->columns_count; i++) {
            add_column(s, &list, &t->columns[i]);
        }
    }
    buf_printf(&sql, "SELECT %.*s FROM ", SLICE_FMT(list));
    append_table(&sql, m->table);
    s->select = mem_dup(sql.ptr, sql.len);
    s->signature = make_signature(s);
    buf_free(&list);
    buf_free(&sql);
    return s;
}

struct schema *schema_create_refused(const char *why) {
    struct schema *s = create();
    s->refused = mem_strdup(why);
    return s;
}

bool schema_same(const struct schema *published, const struct schema *found) {
    if (published->refused || found->refused) {
        return published->refused && found->refused &&
               strcmp(published->refused, found->refused) == 0;
    }
    return strcmp(published->signature, found->signature) == 0;
}

struct schema *schema_ref(struct schema *s) {
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void schema_unref(void *schema) {
    struct schema *s = schema;
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (uint32_t i = 0; i < s->keys_count; i++) {
        mem_free(s->keys[i].name);
    }
    for (uint32_t i = 0; i < s->columns_count; i++) {
        mem_free(s->columns[i].name);
    }
    mem_free(s->columns);
    mem_free(s->select);
    mem_free(s->signature);
    mem_free((void *)(uintptr_t)s->refused);
    mem_free(s);
}

static bool is_uuid(struct slice text) {
    if (text.len != UUID_CHARS) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        if (hyphen ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

static bool encode_value(const struct schema_key_column *k, struct slice text,
                         struct schema_value *out) {
    int64_t number;
    size_t chars;
    uint32_t highest;
    out->text = text;
    if (text.len > SCHEMA_KEY_BYTES_MAX) {
        return false;
    }
    switch (k->kind) {
    case SCHEMA_KEY_INT:
        if (!num_parse_i64(text, &number) || number < k->min ||
            (number > 0 && (uint64_t)number > k->max)) {
            return false;
        }
        out->number = (uint64_t)number;
        return true;
    case SCHEMA_KEY_UINT:
        return num_parse_u64(text, &out->number) && out->number <= k->max;
    case SCHEMA_KEY_TEXT:
        return schema_utf8(text, &chars, &highest) && chars <= k->size_max &&
               highest <= k->code_point_max;
    case SCHEMA_KEY_BINARY:
        return text.len <= k->size_max;
    case SCHEMA_KEY_UUID:
        return is_uuid(text);
    }
    UNREACHABLE();
}

bool schema_encode(const struct schema *s, const struct slice *values, struct schema_key *out) {
    for (uint32_t i = 0; i < s->keys_count; i++) {
        if (!encode_value(&s->keys[i], values[i], &out->v[i])) {
            return false;
        }
    }
    return true;
}
