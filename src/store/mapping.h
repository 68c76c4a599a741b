#ifndef FOREBAY_STORE_MAPPING_H
#define FOREBAY_STORE_MAPPING_H
/* `map` lines: which keys are rows of which table, and in what form they come out.
 *
 *     map product  product:{id}  table=products  as=hash  ttl=1h jitter=10% absent=30s
 *
 * Placeholders are the key columns, in the table's terms; literals may stand before, between and
 * behind them. A placeholder takes at least one byte, as few as possible, the last one all the
 * rest. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slice.h"

enum {
    MAPPING_KEY_COLUMNS_MAX = 8,
    MAPPING_COLUMNS_MAX = 256,
    MAPPINGS_MAX = 256,
    MAPPING_NAME_BYTES_MAX = 64,
};

enum mapping_form { MAPPING_HASH, MAPPING_STRING, MAPPING_JSON };

struct mapping {
    uint32_t id;      /* never reused in the process */
    char *name;
    char *definition; /* the line behind "map ", normalised: CONFIG GET and REWRITE */
    enum mapping_form form;
    char *table;
    char *value_column;                               /* as=string:col, else NULL */
    char *columns[MAPPING_COLUMNS_MAX];               /* columns=..., else none: all */
    uint32_t columns_count;
    char *key_columns[MAPPING_KEY_COLUMNS_MAX];
    struct slice literals[MAPPING_KEY_COLUMNS_MAX + 1]; /* before, between, behind them */
    uint32_t key_columns_count;
    int64_t ttl_ms;          /* of a filled copy; default 1h */
    uint32_t jitter_percent; /* the TTL is shortened by up to this share, at random; default 10 */
    int64_t absent_ms;       /* how long a missing row is remembered; 0 = not at all, the default */
    _Atomic uint32_t refs;
    /* Bumped to make every copy of the mapping stale at once. */
    _Atomic uint32_t generation;
    _Atomic uint64_t row_bytes; /* see mapping_row_bytes; set by the store */
    void *schema; /* the driver's, once checked; see driver.h. Published with release */
    void (*schema_free)(void *schema);
};

/* Parses the words behind "map". Options that this version does not have (write=through, refresh=,
 * field=, as=blob, ...) are refused by name. NULL with the reason in `why`. refs is 1. */
struct mapping *mapping_parse(struct slice line, char *why, size_t why_len);
struct mapping *mapping_ref(struct mapping *m);
/* Bytes of the largest row seen lately, about; 0 = none was seen yet. Any thread. */
uint64_t mapping_row_bytes(const struct mapping *m);
void mapping_unref(struct mapping *m); /* takes NULL; any thread */

/* True when `key` is of this mapping; values[] are the placeholders' bytes, borrowed from `key`. */
bool mapping_match(const struct mapping *m, struct slice key,
                   struct slice values[MAPPING_KEY_COLUMNS_MAX]);

/* An immutable set, in the order of precedence: longest literal prefix first, then more literal
 * bytes, then the name. Shared by reference count; replaced as a whole. */
struct mapping_set {
    _Atomic uint32_t refs;
    uint32_t count;
    uint64_t first_bytes[4]; /* bitmap of bytes a mapped key can start with: the quick "no" */
    struct mapping *v[];
};
/* Takes a reference to each of `v`. Two mappings of one name are a bug of the caller. */
struct mapping_set *mapping_set_create(struct mapping *const *v, uint32_t count);
struct mapping_set *mapping_set_ref(struct mapping_set *s);
void mapping_set_unref(struct mapping_set *s); /* takes NULL */
/* The mapping that `key` belongs to, NULL when it is an ordinary key. Never allocates. */
struct mapping *mapping_set_match(const struct mapping_set *s, struct slice key,
                                  struct slice values[MAPPING_KEY_COLUMNS_MAX]);
/* By id, NULL when it is gone. */
struct mapping *mapping_set_find(const struct mapping_set *s, uint32_t id);
#endif
