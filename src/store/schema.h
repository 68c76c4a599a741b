#ifndef FOREBAY_STORE_SCHEMA_H
#define FOREBAY_STORE_SCHEMA_H
/* What a mapping means on the table as it was found: the key columns' types, the columns to select,
 * and the SQL that does it. Built by a driver's check; immutable once published; counted. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/assert.h"
#include "base/slice.h"
#include "ds/buf.h"
#include "store/mapping.h"

/* No index of MySQL's is wider than 3072 bytes; a batch of keys must fit in one packet (4 MiB). */
enum { SCHEMA_KEY_BYTES_MAX = 8192 };

enum schema_key_kind {
    SCHEMA_KEY_INT,    /* min .. max, bound as a 64-bit integer */
    SCHEMA_KEY_UINT,   /* 0 .. max, bound as an unsigned one */
    SCHEMA_KEY_TEXT,   /* valid UTF-8 of up to size_max characters */
    SCHEMA_KEY_BINARY, /* up to size_max bytes */
    SCHEMA_KEY_UUID,   /* lower-case canonical text */
};

struct schema_key_column {
    char *name; /* as the table spells it */
    enum schema_key_kind kind;
    int64_t min;
    uint64_t max;
    size_t size_max;
    uint32_t code_point_max; /* the highest the column's character set could hold */
};

/* One placeholder's value, ready to be bound. */
struct schema_value {
    uint64_t number; /* INT and UINT, two's complement */
    struct slice text;
};
struct schema_key {
    struct schema_value v[MAPPING_KEY_COLUMNS_MAX];
};

enum schema_cell_kind { SCHEMA_NULL, SCHEMA_NUMBER, SCHEMA_TEXT, SCHEMA_BINARY, SCHEMA_JSON };

struct schema_cell {
    struct slice text; /* empty when NULL */
    enum schema_cell_kind kind;
    /* Not NULL: a large cell, not a key column's. text has a length and no bytes: these are written
     * where they are wanted. False: it can't be read. */
    bool (*fetch)(void *from, uint32_t cell, struct slice to);
    void *from;
};

/* A column of the mapping's form. */
struct schema_column {
    char *name; /* as the table spells it */
    enum schema_cell_kind kind;
    uint32_t cell; /* which of the selected cells holds it */
};

struct schema {
    _Atomic uint32_t refs;
    uint64_t id;         /* never reused in the process: a name for prepared statements */
    const char *refused; /* not NULL: the mapping does not hold; owned text. No columns then */
    const void *store;   /* whose check it was, */
    int64_t checked_us;  /* ... and when; guarded by that store's lock */
    struct schema_key_column keys[MAPPING_KEY_COLUMNS_MAX];
    uint32_t keys_count;
    struct schema_column *columns;
    uint32_t columns_count;
    uint32_t cells_count; /* selected expressions: the key columns first */
    char *select;         /* "SELECT ... FROM ..." */
    char *signature;      /* two schemas of one signature answer alike */
};

/* What a driver found out about one of the table's columns. */
struct schema_found {
    char *name;
    char
        *expression; /* what to select for the database's own text of it, the quoted name if NULL */
    char *key_expression; /* ... for a key column's canonical text, as above */
    enum schema_cell_kind kind;
    bool not_null;
    bool key_possible;
    const char *key_reason; /* static text: why it cannot be a key column */
    struct schema_key_column key;
};

struct schema_table {
    struct schema_found *columns;
    uint32_t columns_count;
    struct buf indexes; /* one line of text for a refusal: unique indexes, "" = none */
    bool key_found;     /* a unique index holds exactly the key columns */
};

void schema_table_deinit(struct schema_table *t);
struct schema_found *schema_table_add(struct schema_table *t, struct slice name);
/* Case of ASCII letters is ignored, as databases do with column names. NULL when there is none. */
struct schema_found *schema_table_find(const struct schema_table *t, const char *name);
/* A unique index of the table: notes it for the refusal's text, and whether it is the mapping's.
 * `usable` is false for an index over prefixes, expressions or some rows only. */
void schema_table_index(struct schema_table *t, const struct mapping *m, const char *index,
                        const char *const *columns, uint32_t columns_count, bool usable);

/* Puts the schema together. NULL with what is wrong and what to do in `why`. */
struct schema *schema_build(const struct mapping *m, const struct schema_table *t, char *why,
                            size_t why_len);
struct schema *schema_create_refused(const char *why);
/* A check found again what `published` says already: it answers alike. */
bool schema_same(const struct schema *published, const struct schema *found);
struct schema *schema_ref(struct schema *s);
void schema_unref(void *s); /* a struct schema; takes NULL; any thread */

/* False when no row can have these placeholders (or one is beyond SCHEMA_KEY_BYTES_MAX): the
 * database need not be asked. */
bool schema_encode(const struct schema *s, const struct slice *values,
                   struct schema_key *out) MUST_USE;

/* Appends `name` in backticks. */
void schema_quote(struct buf *b, struct slice name);
/* Valid UTF-8 (no surrogates, no overlong forms)? Counts characters and the highest code point. */
bool schema_utf8(struct slice text, size_t *chars, uint32_t *highest) MUST_USE;
#endif
