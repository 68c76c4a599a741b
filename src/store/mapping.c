/* `map` lines: parsing, matching keys, and the immutable set in order of precedence.
 *
 * Place: every command's key passes mapping_set_match, which answers most keys from one bitmap bit.
 * Any thread may match, ref and unref; only the config thread parses.
 *
 * 1. Between two placeholders stands a literal of at least one byte, so that a key has one reading:
 *    each placeholder ends where the literal behind it is first found. Taking the first leaves the
 *    most for the rest, so no match is missed and none is tried twice.
 * 2. Keys and placeholder values are one to one: the key is the literals and values, joined.
 * 3. Atomics: reference counts and the counter of ids.
 *
 * Limits: LINE_BYTES_MAX, and those of mapping.h. */
#include "store/mapping.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"
#include "ds/buf.h"

enum {
    LINE_BYTES_MAX = 32768,
    IDENTIFIER_BYTES_MAX = 256, /* 64 characters of up to four bytes, as MySQL has it */
    TTL_DEFAULT_MS = 3600 * 1000,
    JITTER_DEFAULT_PERCENT = 10,
    JITTER_MAX_PERCENT = 99,
};
/* Ten years: further away is taken for a mistake. */
#define SPAN_MAX_MS (INT64_C(3650) * 24 * 3600 * 1000)

/* Ids must differ in the whole process, as cached copies carry them; hence the one static. */
static _Atomic uint32_t last_id;

struct parse {
    struct mapping *m;
    char *why;
    size_t why_len;
    bool has_form;
};

#define REFUSE(p, ...) (snprintf((p)->why, (p)->why_len, __VA_ARGS__), false)

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static struct slice next_word(struct slice *line) {
    size_t from = 0;
    while (from < line->len && is_space(line->ptr[from])) {
        from++;
    }
    size_t to = from;
    while (to < line->len && !is_space(line->ptr[to])) {
        to++;
    }
    struct slice word = slice_of(line->ptr + from, to - from);
    *line = slice_of(line->ptr + to, line->len - to);
    return word;
}

static bool parse_name(struct parse *p, struct slice word) {
    if (word.len == 0) {
        return REFUSE(p, "a mapping is: name template table=... as=...");
    }
    if (word.len > MAPPING_NAME_BYTES_MAX) {
        return REFUSE(p, "the mapping's name is longer than %d bytes", MAPPING_NAME_BYTES_MAX);
    }
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '_' && !(i > 0 && (c == '-' || c == '.'))) {
            return REFUSE(p, "a mapping's name is letters, digits and _ - . not '%.*s'",
                          SLICE_FMT(word));
        }
    }
    p->m->name = mem_dup(word.ptr, word.len);
    return true;
}

static bool identifier_ok(struct parse *p, const char *what, struct slice name) {
    if (name.len == 0 || name.len > IDENTIFIER_BYTES_MAX) {
        return REFUSE(p, "%s: a name of 1 to %d bytes is needed", what, IDENTIFIER_BYTES_MAX);
    }
    for (size_t i = 0; i < name.len; i++) {
        if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7f) {
            return REFUSE(p, "%s: a name cannot hold control characters", what);
        }
    }
    return true;
}

static bool add_key_column(struct parse *p, struct slice name) {
    struct mapping *m = p->m;
    if (m->key_columns_count == MAPPING_KEY_COLUMNS_MAX) {
        return REFUSE(p, "more than %d placeholders", MAPPING_KEY_COLUMNS_MAX);
    }
    if (!identifier_ok(p, "placeholder", name)) {
        return false;
    }
    for (uint32_t i = 0; i < m->key_columns_count; i++) {
        if (slice_eq_nocase(slice_str(m->key_columns[i]), name)) {
            return REFUSE(p, "placeholder {%.*s} stands twice", SLICE_FMT(name));
        }
    }
    m->key_columns[m->key_columns_count++] = mem_dup(name.ptr, name.len);
    return true;
}

static struct slice own(struct slice s) {
    return slice_of(mem_dup(s.ptr, s.len), s.len);
}

static bool parse_template(struct parse *p, struct slice word) {
    struct mapping *m = p->m;
    if (word.len == 0) {
        return REFUSE(p, "the key template is missing, such as product:{id}");
    }
    size_t at = 0;
    for (;;) {
        size_t from = at;
        while (at < word.len && word.ptr[at] != '{' && word.ptr[at] != '}') {
            at++;
        }
        struct slice literal = slice_of(word.ptr + from, at - from);
        m->literals[m->key_columns_count] = own(literal);
        if (at == word.len) {
            break;
        }
        const char *close = memchr(word.ptr + at, '}', word.len - at);
        if (word.ptr[at] == '}' || !close) {
            return REFUSE(p, "template '%.*s': braces do not pair", SLICE_FMT(word));
        }
        struct slice name = slice_of(word.ptr + at + 1, (size_t)(close - word.ptr) - at - 1);
        if (memchr(name.ptr, '{', name.len)) {
            return REFUSE(p, "template '%.*s': braces cannot be nested or literal",
                          SLICE_FMT(word));
        }
        if (m->key_columns_count > 0 && literal.len == 0) {
            return REFUSE(p, "template '%.*s': a literal must stand between two placeholders",
                          SLICE_FMT(word));
        }
        if (!add_key_column(p, name)) {
            return false;
        }
        at = (size_t)(close - word.ptr) + 1;
    }
    if (m->key_columns_count == 0) {
        return REFUSE(p, "template '%.*s' has no {column} placeholder", SLICE_FMT(word));
    }
    return true;
}

static bool parse_as(struct parse *p, struct slice v) {
    struct mapping *m = p->m;
    p->has_form = true;
    if (slice_eq(v, SLICE("hash"))) {
        m->form = MAPPING_HASH;
        return true;
    }
    if (slice_eq(v, SLICE("json"))) {
        m->form = MAPPING_JSON;
        return true;
    }
    if (slice_has_prefix(v, SLICE("string:"))) {
        m->form = MAPPING_STRING;
        struct slice column = slice_of(v.ptr + 7, v.len - 7);
        if (!identifier_ok(p, "as=string", column)) {
            return false;
        }
        m->value_column = mem_dup(column.ptr, column.len);
        return true;
    }
    if (slice_eq(v, SLICE("string"))) {
        return REFUSE(p, "as=string needs a column: as=string:column");
    }
    const struct slice later[] = {SLICE("blob"), SLICE("set"), SLICE("zset"), SLICE("list")};
    for (size_t i = 0; i < ARRAY_COUNT(later); i++) {
        if (slice_eq(v, later[i])) {
            return REFUSE(p, "as=%.*s is not in this version: hash, string:column and json are",
                          SLICE_FMT(v));
        }
    }
    return REFUSE(p, "as=%.*s is none of hash, string:column and json", SLICE_FMT(v));
}

static bool parse_columns(struct parse *p, struct slice v) {
    struct mapping *m = p->m;
    size_t at = 0;
    while (at <= v.len) {
        const char *comma = at < v.len ? memchr(v.ptr + at, ',', v.len - at) : NULL;
        size_t end = comma ? (size_t)(comma - v.ptr) : v.len;
        struct slice name = slice_of(v.ptr + at, end - at);
        if (!identifier_ok(p, "columns", name)) {
            return false;
        }
        if (m->columns_count == MAPPING_COLUMNS_MAX) {
            return REFUSE(p, "columns=: more than %d", MAPPING_COLUMNS_MAX);
        }
        for (uint32_t i = 0; i < m->columns_count; i++) {
            if (slice_eq_nocase(slice_str(m->columns[i]), name)) {
                return REFUSE(p, "columns=: %.*s stands twice", SLICE_FMT(name));
            }
        }
        m->columns[m->columns_count++] = mem_dup(name.ptr, name.len);
        at = end + 1;
    }
    return true;
}

static bool parse_span(struct parse *p, const char *option, struct slice v, int64_t min_ms,
                       int64_t *out_ms) {
    int64_t ms;
    if (!num_parse_span_ms(v, 1000, &ms) || ms < min_ms || ms > SPAN_MAX_MS) {
        return REFUSE(p, "%s=%.*s is no time span such as 30s, 5m, 1h (%s to 3650d)", option,
                      SLICE_FMT(v), min_ms ? "1ms" : "0");
    }
    *out_ms = ms;
    return true;
}

static bool parse_jitter(struct parse *p, struct slice v) {
    uint64_t percent;
    if (v.len < 2 || v.ptr[v.len - 1] != '%' ||
        !num_parse_u64(slice_of(v.ptr, v.len - 1), &percent) || percent > JITTER_MAX_PERCENT) {
        return REFUSE(p, "jitter=%.*s is none of 0%% to %d%%", SLICE_FMT(v), JITTER_MAX_PERCENT);
    }
    p->m->jitter_percent = (uint32_t)percent;
    return true;
}

static bool parse_table(struct parse *p, struct slice v) {
    if (!identifier_ok(p, "table", v)) {
        return false;
    }
    p->m->table = mem_dup(v.ptr, v.len);
    return true;
}

/* What the design names and this version does not have is told apart from a misspelling. */
static bool refuse_option(struct parse *p, struct slice option, struct slice v) {
    const struct slice later[] = {SLICE("write"), SLICE("refresh"), SLICE("stale"), SLICE("field"),
                                  SLICE("value"), SLICE("member"),  SLICE("score"), SLICE("expire"),
                                  SLICE("min"),   SLICE("max")};
    for (size_t i = 0; i < ARRAY_COUNT(later); i++) {
        if (slice_eq(option, later[i])) {
            return REFUSE(p, "%.*s=%.*s: the option %.*s= is not in this version",
                          SLICE_FMT(option), SLICE_FMT(v), SLICE_FMT(option));
        }
    }
    return REFUSE(p, "unknown option '%.*s': table= as= columns= ttl= jitter= absent= are known",
                  SLICE_FMT(option));
}

enum option {
    OPTION_TABLE,
    OPTION_AS,
    OPTION_COLUMNS,
    OPTION_TTL,
    OPTION_JITTER,
    OPTION_ABSENT,
    OPTION_NONE
};

static enum option find_option(struct slice name) {
    const struct slice names[] = {SLICE("table"), SLICE("as"),     SLICE("columns"),
                                  SLICE("ttl"),   SLICE("jitter"), SLICE("absent")};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (slice_eq(names[i], name)) {
            return (enum option)i;
        }
    }
    return OPTION_NONE;
}

static bool parse_option(struct parse *p, struct slice word, uint32_t *seen) {
    const char *equals = memchr(word.ptr, '=', word.len);
    if (!equals) {
        return REFUSE(p, "'%.*s' is no option=value", SLICE_FMT(word));
    }
    struct slice name = slice_of(word.ptr, (size_t)(equals - word.ptr));
    struct slice v = slice_of(equals + 1, word.len - name.len - 1);
    enum option option = find_option(name);
    if (option != OPTION_NONE && (*seen & 1u << option)) {
        return REFUSE(p, "%.*s= stands twice", SLICE_FMT(name));
    }
    *seen |= 1u << option;
    switch (option) {
    case OPTION_TABLE:
        return parse_table(p, v);
    case OPTION_AS:
        return parse_as(p, v);
    case OPTION_COLUMNS:
        return parse_columns(p, v);
    case OPTION_TTL:
        return parse_span(p, "ttl", v, 1, &p->m->ttl_ms);
    case OPTION_JITTER:
        return parse_jitter(p, v);
    case OPTION_ABSENT:
        return parse_span(p, "absent", v, 0, &p->m->absent_ms);
    case OPTION_NONE:
        break;
    }
    /* The default is no promise that this version cannot keep. */
    if (slice_eq(word, SLICE("write=off"))) {
        return true;
    }
    return refuse_option(p, name, v);
}

static void append_span(struct buf *b, const char *option, int64_t ms) {
    const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (ms % units[i].ms == 0) {
            buf_printf(b, " %s=%" PRId64 "%s", option, ms / units[i].ms, units[i].unit);
            return;
        }
    }
}

static char *make_definition(const struct mapping *m, struct slice template) {
    struct buf b = {0};
    buf_printf(&b, "%s ", m->name);
    buf_append_slice(&b, template);
    buf_printf(&b, " table=%s", m->table);
    if (m->form == MAPPING_STRING) {
        buf_printf(&b, " as=string:%s", m->value_column);
    } else {
        buf_printf(&b, " as=%s", m->form == MAPPING_HASH ? "hash" : "json");
    }
    for (uint32_t i = 0; i < m->columns_count; i++) {
        buf_printf(&b, "%s%s", i ? "," : " columns=", m->columns[i]);
    }
    if (m->ttl_ms != TTL_DEFAULT_MS) {
        append_span(&b, "ttl", m->ttl_ms);
    }
    if (m->jitter_percent != JITTER_DEFAULT_PERCENT) {
        buf_printf(&b, " jitter=%" PRIu32 "%%", m->jitter_percent);
    }
    if (m->absent_ms) {
        append_span(&b, "absent", m->absent_ms);
    }
    char *text = mem_dup(b.ptr, b.len);
    buf_free(&b);
    return text;
}

static bool parse_line(struct parse *p, struct slice line) {
    if (line.len > LINE_BYTES_MAX) {
        return REFUSE(p, "the line is longer than %d bytes", LINE_BYTES_MAX);
    }
    if (!parse_name(p, next_word(&line))) {
        return false;
    }
    struct slice template = next_word(&line);
    if (!parse_template(p, template)) {
        return false;
    }
    uint32_t seen = 0;
    for (struct slice word = next_word(&line); word.len; word = next_word(&line)) {
        if (!parse_option(p, word, &seen)) {
            return false;
        }
    }
    if (!p->m->table) {
        return REFUSE(p, "table= is missing");
    }
    if (!p->has_form) {
        return REFUSE(p, "as= is missing: hash, string:column or json");
    }
    if (p->m->form == MAPPING_STRING && p->m->columns_count) {
        return REFUSE(p, "columns= has no meaning with as=string:column");
    }
    p->m->definition = make_definition(p->m, template);
    return true;
}

struct mapping *mapping_parse(struct slice line, char *why, size_t why_len) {
    struct mapping *m = mem_zalloc(sizeof *m);
    atomic_init(&m->refs, 1);
    m->ttl_ms = TTL_DEFAULT_MS;
    m->jitter_percent = JITTER_DEFAULT_PERCENT;
    struct parse p = {.m = m, .why = why, .why_len = why_len};
    if (!parse_line(&p, line)) {
        mapping_unref(m);
        return NULL;
    }
    m->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    return m;
}

uint64_t mapping_row_bytes(const struct mapping *m) {
    return atomic_load_explicit(&m->row_bytes, memory_order_relaxed);
}

struct mapping *mapping_ref(struct mapping *m) {
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void mapping_unref(struct mapping *m) {
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    if (m->schema) {
        m->schema_free(m->schema);
    }
    for (uint32_t i = 0; i < MAPPING_KEY_COLUMNS_MAX; i++) {
        mem_free(m->key_columns[i]);
    }
    for (uint32_t i = 0; i <= MAPPING_KEY_COLUMNS_MAX; i++) {
        mem_free((void *)(uintptr_t)m->literals[i].ptr);
    }
    for (uint32_t i = 0; i < m->columns_count; i++) {
        mem_free(m->columns[i]);
    }
    mem_free(m->value_column);
    mem_free(m->table);
    mem_free(m->definition);
    mem_free(m->name);
    mem_free(m);
}

bool mapping_match(const struct mapping *m, struct slice key,
                   struct slice values[MAPPING_KEY_COLUMNS_MAX]) {
    if (!slice_has_prefix(key, m->literals[0])) {
        return false;
    }
    uint32_t last = m->key_columns_count - 1;
    const char *at = key.ptr + m->literals[0].len;
    const char *end = key.ptr + key.len;
    for (uint32_t i = 0; i < last; i++) {
        struct slice behind = m->literals[i + 1];
        if (at == end) {
            return false;
        }
        const char *found = memmem(at + 1, (size_t)(end - at - 1), behind.ptr, behind.len);
        if (!found) {
            return false;
        }
        values[i] = slice_of(at, (size_t)(found - at));
        at = found + behind.len;
    }
    struct slice tail = m->literals[last + 1];
    size_t rest = (size_t)(end - at);
    if (rest <= tail.len || memcmp(end - tail.len, tail.ptr, tail.len) != 0) {
        return false;
    }
    values[last] = slice_of(at, rest - tail.len);
    return true;
}

static size_t literal_bytes(const struct mapping *m) {
    size_t sum = 0;
    for (uint32_t i = 0; i <= m->key_columns_count; i++) {
        sum += m->literals[i].len;
    }
    return sum;
}

static int by_precedence(const void *a, const void *b) {
    const struct mapping *x = *(struct mapping *const *)a, *y = *(struct mapping *const *)b;
    if (x->literals[0].len != y->literals[0].len) {
        return x->literals[0].len > y->literals[0].len ? -1 : 1;
    }
    size_t xs = literal_bytes(x), ys = literal_bytes(y);
    if (xs != ys) {
        return xs > ys ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

struct mapping_set *mapping_set_create(struct mapping *const *v, uint32_t count) {
    ASSERT(count <= MAPPINGS_MAX);
    struct mapping_set *s = mem_zalloc(sizeof *s + count * sizeof s->v[0]);
    atomic_init(&s->refs, 1);
    s->count = count;
    for (uint32_t i = 0; i < count; i++) {
        s->v[i] = mapping_ref(v[i]);
        struct slice prefix = v[i]->literals[0];
        if (prefix.len == 0) {
            memset(s->first_bytes, 0xff, sizeof s->first_bytes);
        } else {
            unsigned char c = (unsigned char)prefix.ptr[0];
            s->first_bytes[c / 64] |= UINT64_C(1) << (c % 64);
        }
    }
    if (count) {
        qsort(s->v, count, sizeof s->v[0], by_precedence);
    }
    for (uint32_t i = 1; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            ASSERT(strcmp(s->v[j]->name, s->v[i]->name) != 0);
        }
    }
    return s;
}

struct mapping_set *mapping_set_ref(struct mapping_set *s) {
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void mapping_set_unref(struct mapping_set *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (uint32_t i = 0; i < s->count; i++) {
        mapping_unref(s->v[i]);
    }
    mem_free(s);
}

struct mapping *mapping_set_match(const struct mapping_set *s, struct slice key,
                                  struct slice values[MAPPING_KEY_COLUMNS_MAX]) {
    if (key.len == 0) {
        return NULL;
    }
    unsigned char c = (unsigned char)key.ptr[0];
    if (!(s->first_bytes[c / 64] >> (c % 64) & 1)) {
        return NULL;
    }
    for (uint32_t i = 0; i < s->count; i++) {
        if (mapping_match(s->v[i], key, values)) {
            return s->v[i];
        }
    }
    return NULL;
}

struct mapping *mapping_set_find(const struct mapping_set *s, uint32_t id) {
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->v[i]->id == id) {
            return s->v[i];
        }
    }
    return NULL;
}
