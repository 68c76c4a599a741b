/* Rows into values. Any thread; no state.
 *
 * 1. hash and string: the database's own text, NULL left out.
 * 2. Large cells are fetched to where they go, but for json, which has other bytes than they.
 * 3. json: an object in the mapping's column order, and valid JSON whatever the columns hold:
 * numbers bare where JSON has such a number, JSON columns as they are, what is not UTF-8 in base64.
 */
#include "store/form.h"

#include "base/assert.h"
#include "base/mem.h"
#include "ds/buf.h"

enum { JSON_DEPTH_MAX = 128 };

static void append_json_string(struct buf *b, struct slice s) {
    static const char hex[] = "0123456789abcdef";
    buf_append_char(b, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        buf_append(b, s.ptr + from, i - from);
        from = i + 1;
        const char *at = c ? strchr("\"\"\\\\\bb\ff\nn\rr\tt", c) : NULL;
        if (at) {
            buf_append_char(b, '\\');
            buf_append_char(b, at[1]);
        } else {
            char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            buf_append(b, escape, sizeof escape);
        }
    }
    buf_append(b, s.ptr + from, s.len - from);
    buf_append_char(b, '"');
}

static void append_base64(struct buf *b, struct slice s) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    buf_reserve(b, s.len / 3 * 4 + 6);
    buf_append_char(b, '"');
    for (size_t i = 0; i < s.len; i += 3) {
        size_t left = s.len - i;
        uint32_t bits = (uint32_t)(unsigned char)s.ptr[i] << 16;
        bits |= left > 1 ? (uint32_t)(unsigned char)s.ptr[i + 1] << 8 : 0;
        bits |= left > 2 ? (uint32_t)(unsigned char)s.ptr[i + 2] : 0;
        buf_append_char(b, digits[bits >> 18]);
        buf_append_char(b, digits[bits >> 12 & 63]);
        buf_append_char(b, left > 1 ? digits[bits >> 6 & 63] : '=');
        buf_append_char(b, left > 2 ? digits[bits & 63] : '=');
    }
    buf_append_char(b, '"');
}

static size_t skip_digits(struct slice s, size_t at) {
    while (at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9') {
        at++;
    }
    return at;
}

/* End of the number at `at` by RFC 8259's grammar; `at` when there is none. */
static size_t skip_number(struct slice s, size_t at) {
    size_t start = at;
    at += at < s.len && s.ptr[at] == '-';
    size_t digits = at;
    at = skip_digits(s, at);
    if (at == digits || (at - digits > 1 && s.ptr[digits] == '0')) {
        return start;
    }
    if (at < s.len && s.ptr[at] == '.') {
        digits = at + 1;
        at = skip_digits(s, digits);
        if (at == digits) {
            return start;
        }
    }
    if (at < s.len && (s.ptr[at] == 'e' || s.ptr[at] == 'E')) {
        digits = at + 1;
        digits += digits < s.len && (s.ptr[digits] == '+' || s.ptr[digits] == '-');
        at = skip_digits(s, digits);
        if (at == digits) {
            return start;
        }
    }
    return at;
}

static void append_number(struct buf *b, struct slice s) {
    struct slice number = s;
    while (number.len > 1 && number.ptr[0] == '0' && number.ptr[1] >= '0' && number.ptr[1] <= '9') {
        number = slice_of(number.ptr + 1, number.len - 1); /* ZEROFILL */
    }
    if (number.len && skip_number(number, 0) == number.len) {
        buf_append_slice(b, number);
    } else {
        append_json_string(b, s); /* SQLite's Inf */
    }
}

static size_t skip_space(struct slice s, size_t at) {
    while (at < s.len &&
           (s.ptr[at] == ' ' || s.ptr[at] == '\t' || s.ptr[at] == '\n' || s.ptr[at] == '\r')) {
        at++;
    }
    return at;
}

/* Behind the string that opens at `at`; 0 when it is none. */
static size_t skip_string(struct slice s, size_t at) {
    if (at >= s.len || s.ptr[at] != '"') {
        return 0;
    }
    for (at++; at < s.len; at++) {
        unsigned char c = (unsigned char)s.ptr[at];
        if (c == '"') {
            return at + 1;
        }
        if (c < 0x20) {
            return 0;
        }
        if (c != '\\') {
            continue;
        }
        at++;
        if (at >= s.len || !strchr("\"\\/bfnrtu", s.ptr[at]) || s.ptr[at] == '\0') {
            return 0;
        }
        for (int i = 0; s.ptr[at] == 'u' && i < 4; i++) {
            if (at + 1 + i >= s.len || !strchr("0123456789abcdefABCDEF", s.ptr[at + 1 + i]) ||
                s.ptr[at + 1 + i] == '\0') {
                return 0;
            }
        }
    }
    return 0;
}

static size_t skip_scalar(struct slice s, size_t at) {
    const struct slice words[] = {SLICE("true"), SLICE("false"), SLICE("null")};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (s.len - at >= words[i].len && memcmp(s.ptr + at, words[i].ptr, words[i].len) == 0) {
            return at + words[i].len;
        }
    }
    if (s.ptr[at] == '"') {
        return skip_string(s, at);
    }
    size_t end = skip_number(s, at);
    return end > at ? end : 0;
}

/* Behind `"name" :`, where an object's next member begins; 0 when there is none. */
static size_t skip_name(struct slice s, size_t at) {
    at = skip_string(s, skip_space(s, at));
    at = at ? skip_space(s, at) : 0;
    return at && at < s.len && s.ptr[at] == ':' ? skip_space(s, at + 1) : 0;
}

/* A database lets a JSON column hold other text where its check is switched off; such text must not
 * break the object around it. Not recursive: `open` is the stack. */
static bool is_json(struct slice s) {
    char open[JSON_DEPTH_MAX];
    size_t depth = 0, at = skip_space(s, 0);
    for (;;) {
        if (at >= s.len) {
            return false;
        }
        char c = s.ptr[at];
        if (c == '{' || c == '[') {
            if (depth == JSON_DEPTH_MAX) {
                return false;
            }
            open[depth++] = c == '{' ? '}' : ']';
            at = skip_space(s, at + 1);
            if (at >= s.len || s.ptr[at] != open[depth - 1]) {
                at = c == '{' ? skip_name(s, at) : at;
                if (at == 0) {
                    return false;
                }
                continue;
            }
        } else {
            at = skip_scalar(s, at);
            if (at == 0) {
                return false;
            }
            at = skip_space(s, at);
        }
        while (depth && at < s.len && s.ptr[at] == open[depth - 1]) {
            depth--;
            at = skip_space(s, at + 1);
        }
        if (depth == 0) {
            return at == s.len;
        }
        if (at >= s.len || s.ptr[at] != ',') {
            return false;
        }
        at = open[depth - 1] == '}' ? skip_name(s, at + 1) : skip_space(s, at + 1);
        if (at == 0) {
            return false;
        }
    }
}

static void append_text(struct buf *b, struct slice s) {
    size_t chars;
    uint32_t highest;
    if (schema_utf8(s, &chars, &highest)) {
        append_json_string(b, s);
    } else {
        append_base64(b, s);
    }
}

static bool read_cell(const struct schema_cell *cells, uint32_t cell, char *to) {
    const struct schema_cell *c = &cells[cell];
    if (c->fetch) {
        return c->fetch(c->from, cell, slice_of(to, c->text.len));
    }
    if (c->text.len) {
        memcpy(to, c->text.ptr, c->text.len);
    }
    return true;
}

static void append_json_cell(struct buf *b, const struct schema_cell *cell) {
    size_t chars;
    uint32_t highest;
    switch (cell->kind) {
    case SCHEMA_NULL:
        buf_append_slice(b, SLICE("null"));
        return;
    case SCHEMA_NUMBER:
        append_number(b, cell->text);
        return;
    case SCHEMA_TEXT:
        append_text(b, cell->text);
        return;
    case SCHEMA_BINARY:
        append_base64(b, cell->text);
        return;
    case SCHEMA_JSON:
        if (schema_utf8(cell->text, &chars, &highest) && is_json(cell->text)) {
            buf_append_slice(b, cell->text);
        } else {
            append_text(b, cell->text);
        }
        return;
    }
    UNREACHABLE();
}

static bool append_fetched(struct buf *b, const struct schema_cell *cells, uint32_t cell) {
    struct schema_cell fetched = {.kind = cells[cell].kind};
    char *bytes = mem_alloc(cells[cell].text.len);
    bool read = read_cell(cells, cell, bytes);
    fetched.text = slice_of(bytes, cells[cell].text.len);
    if (read) {
        append_json_cell(b, &fetched);
    }
    mem_free(bytes);
    return read;
}

static bool build_json(const struct schema *s, const struct schema_cell *cells,
                       struct store_value *out, void **memory) {
    struct buf b = {0};
    bool read = true;
    buf_append_char(&b, '{');
    for (uint32_t i = 0; i < s->columns_count; i++) {
        if (i) {
            buf_append_char(&b, ',');
        }
        append_text(&b, slice_str(s->columns[i].name));
        buf_append_char(&b, ':');
        uint32_t cell = s->columns[i].cell;
        if (UNLIKELY(cells[cell].fetch != NULL)) {
            read = read && append_fetched(&b, cells, cell);
        } else {
            append_json_cell(&b, &cells[cell]);
        }
    }
    buf_append_char(&b, '}');
    size_t len = b.len;
    *memory = buf_detach(&b);
    *out = (struct store_value){.string = slice_of(*memory, len)};
    return read;
}

/* One block: the slices, then names and values. */
static bool build_hash(const struct schema *s, const struct schema_cell *cells,
                       struct store_value *out, void **memory) {
    uint32_t count = 0;
    size_t bytes = 0;
    for (uint32_t i = 0; i < s->columns_count; i++) {
        const struct schema_cell *cell = &cells[s->columns[i].cell];
        if (cell->kind != SCHEMA_NULL) {
            count++;
            bytes += strlen(s->columns[i].name) + cell->text.len;
        }
    }
    struct slice *pairs = mem_alloc_handed(count * 2 * sizeof *pairs + bytes);
    char *to = (char *)(pairs + (size_t)count * 2);
    uint32_t at = 0;
    bool read = true;
    for (uint32_t i = 0; i < s->columns_count; i++) {
        const struct schema_cell *cell = &cells[s->columns[i].cell];
        if (cell->kind == SCHEMA_NULL) {
            continue;
        }
        size_t len = strlen(s->columns[i].name);
        memcpy(to, s->columns[i].name, len);
        pairs[at++] = slice_of(to, len);
        to += len;
        read = read && read_cell(cells, s->columns[i].cell, to);
        pairs[at++] = slice_of(to, cell->text.len);
        to += cell->text.len;
    }
    *out = (struct store_value){.is_hash = true, .pairs = pairs, .pairs_count = count};
    *memory = pairs;
    return read;
}

static bool build_string(const struct schema *s, const struct schema_cell *cells,
                         struct store_value *out, void **memory) {
    const struct schema_cell *cell = &cells[s->columns[0].cell];
    if (cell->kind == SCHEMA_NULL) {
        return false;
    }
    char *copy = mem_alloc_handed(cell->text.len);
    bool read = read_cell(cells, s->columns[0].cell, copy);
    *out = (struct store_value){.string = slice_of(copy, cell->text.len)};
    *memory = copy;
    return read;
}

bool form_build(const struct schema *s, enum mapping_form form, const struct schema_cell *cells,
                struct store_value *out, void **memory) {
    bool read = false;
    *memory = NULL;
    switch (form) {
    case MAPPING_HASH:
        read = build_hash(s, cells, out, memory);
        break;
    case MAPPING_JSON:
        read = build_json(s, cells, out, memory);
        break;
    case MAPPING_STRING:
        read = build_string(s, cells, out, memory);
        break;
    }
    if (!read) {
        mem_free(*memory);
        *memory = NULL;
    }
    return read;
}
