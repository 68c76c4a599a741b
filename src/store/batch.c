/* One query's worth of requests.
 *
 * 1. A row answers a request only if its key columns' text is the placeholders', byte for byte:
 * under a case-insensitive or padding collation the database also returns rows that are not meant.
 * 2. A value that the database refuses (a character its column's set does not have) fails alone:
 * the batch is halved until the guilty ones stand alone, BATCH_QUERIES_MAX queries at most.
 * 3. Duplicates are each answered, with copies of their own.
 * 4. What was given stays given: a further try does not ask for it, or drops what comes of it. */
#include "store/batch.h"

#include <stdio.h>
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/form.h"

STATIC_ASSERT(BATCH_SLOTS >= 2 * STORE_BATCH_KEYS_MAX, "short chains");
STATIC_ASSERT((BATCH_SLOTS & (BATCH_SLOTS - 1)) == 0, "a mask");

static void drop_value(struct batch *b, struct batch_outcome *o) {
    mem_free(o->memory);
    b->built_bytes -= o->bytes;
    o->memory = NULL;
    o->bytes = 0;
    o->value = (struct store_value){0};
}

static void set_outcome(struct batch *b, uint32_t i, enum store_status status, const char *error) {
    struct batch_outcome *o = &b->outcomes[i];
    if (o->given) {
        return;
    }
    drop_value(b, o);
    o->status = status;
    snprintf(o->error, sizeof o->error, "%s", error);
}

void batch_reset(struct batch *b, struct mapping *map) {
    b->map = map;
    b->count = 0;
    b->asked_count = 0;
    b->queries = 0;
    b->built_bytes = b->largest_bytes = 0;
    b->share_bytes = UINT64_MAX;
    b->waited_us = 0;
}

void batch_add(struct batch *b, const struct slice *values) {
    ASSERT(b->count < STORE_BATCH_KEYS_MAX);
    struct batch_outcome *o = &b->outcomes[b->count];
    o->memory = NULL;
    o->bytes = 0;
    o->given = false;
    set_outcome(b, b->count, STORE_ABSENT, "");
    b->values[b->count++] = values;
}

void batch_give(struct batch *b, uint32_t i, struct store_request *r) {
    struct batch_outcome *o = &b->outcomes[i];
    ASSERT(!o->given && b->built_bytes >= o->bytes);
    if (r) {
        r->status = o->status;
        r->value = o->value;
        r->memory = o->memory;
        r->held_bytes = o->bytes;
        memcpy(r->error, o->error, sizeof r->error);
        o->memory = NULL;
    }
    drop_value(b, o);
    o->given = true;
}

void batch_clear(struct batch *b) {
    for (uint32_t i = 0; i < b->count; i++) {
        drop_value(b, &b->outcomes[i]);
    }
    b->count = 0;
}

void batch_fail(struct batch *b, enum store_status status, const char *error) {
    for (uint32_t i = 0; i < b->count; i++) {
        set_outcome(b, i, status, error);
    }
}

/* Chained rather than summed, so that ("a","bc") and ("ab","c") differ. */
static uint64_t hash_text(uint64_t seed, struct slice text) {
    return hash_bytes(seed + text.len + 1, text.ptr, text.len);
}

void batch_encode(struct batch *b, const struct schema *schema) {
    b->schema = schema;
    b->asked_count = 0;
    memset(b->slots, 0, sizeof b->slots);
    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t at = b->asked_count;
        set_outcome(b, i, STORE_ABSENT, "");
        if (b->outcomes[i].given || !schema_encode(schema, b->values[i], &b->keys[at])) {
            continue;
        }
        uint64_t hash = 0;
        for (uint32_t k = 0; k < schema->keys_count; k++) {
            hash = hash_text(hash, b->values[i][k]);
        }
        uint16_t *slot = &b->slots[hash % BATCH_SLOTS];
        b->next[at] = *slot;
        *slot = (uint16_t)(at + 1);
        b->asked[at] = (uint16_t)i;
        b->asked_count++;
    }
}

static bool row_is(const struct batch *b, uint32_t request, const struct schema_cell *cells) {
    for (uint32_t k = 0; k < b->schema->keys_count; k++) {
        if (cells[k].kind == SCHEMA_NULL || !slice_eq(cells[k].text, b->values[request][k])) {
            return false;
        }
    }
    return true;
}

static bool on_announce(void *ctx, uint64_t bytes) {
    struct batch *b = ctx;
    b->largest_bytes = MAX(b->largest_bytes, bytes);
    return LIKELY(b->built_bytes + bytes <= b->share_bytes) || b->make_room(b->owner, bytes);
}

/* The last thing in the value's memory is its last text. */
static uint64_t value_bytes(const struct batch_outcome *o) {
    const struct store_value *v = &o->value;
    if (v->is_hash && v->pairs_count == 0) {
        return 0;
    }
    struct slice last = v->is_hash ? v->pairs[2 * (size_t)v->pairs_count - 1] : v->string;
    return (uint64_t)(last.ptr - (const char *)o->memory) + last.len;
}

static void on_row(void *ctx, const struct schema_cell *cells) {
    struct batch *b = ctx;
    uint64_t hash = 0;
    for (uint32_t k = 0; k < b->schema->keys_count; k++) {
        hash = hash_text(hash, cells[k].text);
    }
    for (uint32_t at = b->slots[hash % BATCH_SLOTS]; at; at = b->next[at - 1]) {
        uint32_t request = b->asked[at - 1];
        struct batch_outcome *o = &b->outcomes[request];
        if (o->status != STORE_ROW && !o->given && row_is(b, request, cells) &&
            form_build(b->schema, b->map->form, cells, &o->value, &o->memory)) {
            o->status = STORE_ROW;
            o->error[0] = '\0';
            o->bytes = value_bytes(o);
            b->built_bytes += o->bytes;
        }
    }
    if (UNLIKELY(b->built_bytes > b->share_bytes)) {
        b->give(b->owner);
    }
}

static enum driver_status run_query(struct batch *b, const struct store_driver *driver,
                                    struct store_conn *conn, uint32_t from, uint32_t to,
                                    struct driver_error *error) {
    for (uint32_t i = from; i < to; i++) {
        set_outcome(b, b->asked[i], STORE_ABSENT, "");
    }
    const struct driver_rows rows = {.announce = on_announce, .row = on_row, .ctx = b};
    int64_t start_us = clock_mono_us() - b->waited_us;
    enum driver_status status =
        driver->load(conn, b->schema, &b->keys[from], to - from, &rows, error);
    if (b->queries < ARRAY_COUNT(b->queries_us)) {
        int64_t took_us = clock_mono_us() - b->waited_us - start_us;
        b->queries_us[b->queries++] = (uint32_t)MIN(took_us, UINT32_MAX);
    }
    return status;
}

enum driver_status batch_load(struct batch *b, const struct store_driver *driver,
                              struct store_conn *conn, struct driver_error *error) {
    /* Halving goes as deep as a batch has bits; each level leaves one range behind. */
    struct {
        uint32_t from, to;
    } todo[16];
    uint32_t todo_count = 0, queries = 0;
    if (b->asked_count) {
        todo[todo_count].from = 0;
        todo[todo_count++].to = b->asked_count;
    }
    while (todo_count) {
        uint32_t from = todo[--todo_count].from, to = todo[todo_count].to;
        enum driver_status status = DRIVER_REJECT;
        if (queries < BATCH_QUERIES_MAX) {
            status = run_query(b, driver, conn, from, to, error);
            queries++;
        }
        if (status == DRIVER_REJECT_DATA && to - from > 1) {
            uint32_t middle = from + (to - from) / 2;
            ASSERT(todo_count + 2 <= ARRAY_COUNT(todo));
            todo[todo_count].from = middle;
            todo[todo_count++].to = to;
            todo[todo_count].from = from;
            todo[todo_count++].to = middle;
        } else if (status == DRIVER_REJECT || status == DRIVER_REJECT_DATA) {
            for (uint32_t i = from; i < to; i++) {
                set_outcome(b, b->asked[i], STORE_REJECT, error->text);
            }
        } else if (status != DRIVER_OK) {
            return status;
        }
    }
    return DRIVER_OK;
}
