/* SELECT statements by key: one key by equality, several by IN. Any thread; no state. */
#include "store/sql.h"

static void append_marks(struct buf *b, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        buf_append_slice(b, i ? SLICE(",?") : SLICE("?"));
    }
}

/* "`a`=? AND `b`=?" */
static void append_equal(struct buf *b, const struct schema *s) {
    for (uint32_t k = 0; k < s->keys_count; k++) {
        buf_append_slice(b, k ? SLICE(" AND ") : SLICE(""));
        schema_quote(b, slice_str(s->keys[k].name));
        buf_append_slice(b, SLICE("=?"));
    }
}

/* "(`a`,`b`) IN ((?,?),(?,?))" */
static void append_rows(struct buf *b, const struct schema *s, uint32_t count,
                        struct slice before) {
    for (uint32_t k = 0; k < s->keys_count; k++) {
        buf_append_char(b, k ? ',' : '(');
        schema_quote(b, slice_str(s->keys[k].name));
    }
    buf_append_slice(b, SLICE(") IN ("));
    buf_append_slice(b, before);
    for (uint32_t i = 0; i < count; i++) {
        buf_append_slice(b, i ? SLICE(",(") : SLICE("("));
        append_marks(b, s->keys_count);
        buf_append_char(b, ')');
    }
    buf_append_char(b, ')');
}

void sql_append_select(struct buf *b, const struct schema *s, uint32_t count,
                       enum sql_dialect dialect) {
    buf_append_slice(b, slice_str(s->select));
    buf_append_slice(b, SLICE(" WHERE "));
    if (count == 1) {
        append_equal(b, s);
    } else if (s->keys_count == 1) {
        schema_quote(b, slice_str(s->keys[0].name));
        buf_append_slice(b, SLICE(" IN ("));
        append_marks(b, count);
        buf_append_char(b, ')');
    } else {
        append_rows(b, s, count, dialect == SQL_SQLITE ? SLICE("VALUES ") : SLICE(""));
    }
}

uint32_t sql_cache_find(struct sql_cache *c, uint64_t schema_id, uint32_t keys, bool *hit) {
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < SQL_STATEMENTS_MAX; i++) {
        if (c->slots[i].used && c->slots[i].schema_id == schema_id && c->slots[i].keys == keys) {
            c->slots[i].used = ++c->tick;
            *hit = true;
            return i;
        }
        oldest = c->slots[i].used < c->slots[oldest].used ? i : oldest;
    }
    c->slots[oldest].schema_id = schema_id;
    c->slots[oldest].keys = keys;
    c->slots[oldest].used = ++c->tick;
    *hit = false;
    return oldest;
}

void sql_cache_drop(struct sql_cache *c, uint32_t slot) {
    c->slots[slot].used = 0;
}
