/* SELECT statements by key: one key by equality, several by IN. Any thread; no state. */
#include "store/sql.h"

static void append_marks(struct buf *b, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        buf_append_slice(b, i ? SLICE(",?") : SLICE("?"));
    }
}

void sql_append_select(struct buf *b, const struct schema *s, uint32_t count, const char *values) {
    buf_append_slice(b, slice_str(s->select));
    buf_append_slice(b, SLICE(" WHERE "));
    if (count == 1) {
        for (uint32_t k = 0; k < s->keys_count; k++) {
            buf_append_slice(b, k ? SLICE(" AND ") : SLICE(""));
            schema_quote(b, slice_str(s->keys[k].name));
            buf_append_slice(b, SLICE("=?"));
        }
        return;
    }
    if (s->keys_count == 1) {
        schema_quote(b, slice_str(s->keys[0].name));
        buf_append_slice(b, SLICE(" IN ("));
        append_marks(b, count);
        buf_append_char(b, ')');
        return;
    }
    for (uint32_t k = 0; k < s->keys_count; k++) {
        buf_append_char(b, k ? ',' : '(');
        schema_quote(b, slice_str(s->keys[k].name));
    }
    buf_append_slice(b, SLICE(") IN ("));
    buf_append_slice(b, slice_str(values));
    for (uint32_t i = 0; i < count; i++) {
        buf_append_slice(b, i ? SLICE(",(") : SLICE("("));
        append_marks(b, s->keys_count);
        buf_append_char(b, ')');
    }
    buf_append_char(b, ')');
}
