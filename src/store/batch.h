#ifndef FOREBAY_STORE_BATCH_H
#define FOREBAY_STORE_BATCH_H
/* Requests of one mapping that are answered by one query, and what came of each. A worker's own. */
#include <stdint.h>
#include "base/assert.h"
#include "store/driver.h"

enum {
    BATCH_QUERIES_MAX = 64, /* of one load: a batch with guilty values is split only so often */
    BATCH_SLOTS = 512,      /* twice STORE_BATCH_KEYS_MAX, a power of two */
};

struct batch_outcome {
    enum store_status status;
    struct store_value value;
    void *memory;   /* the value's; NULL when there is none */
    uint64_t bytes; /* of it */
    bool given;     /* its request is gone: nothing changes it any more */
    char error[STORE_ERROR_CHARS_MAX];
};

struct batch {
    struct mapping *map; /* borrowed */
    uint32_t count;
    const struct slice *values[STORE_BATCH_KEYS_MAX]; /* borrowed */
    struct batch_outcome outcomes[STORE_BATCH_KEYS_MAX];

    /* Those that the database is asked for. */
    const struct schema *schema;
    uint32_t asked_count;
    uint16_t asked[STORE_BATCH_KEYS_MAX]; /* index of the request */
    struct schema_key keys[STORE_BATCH_KEYS_MAX];
    uint16_t slots[BATCH_SLOTS]; /* 1 + index into asked; 0 = the chain's end */
    uint16_t next[STORE_BATCH_KEYS_MAX];

    uint32_t queries; /* of the last loads, since batch_reset */
    uint32_t queries_us[BATCH_QUERIES_MAX * 4];

    /* Rows that are built, and not given, take `built_bytes`. A row that makes them more than
     * `share_bytes` is announced to `make_room`, which gives what is finished and waits until there
     * is room for the row; false ends the load. `give` is called when they have become more. */
    uint64_t built_bytes, share_bytes, largest_bytes;
    int64_t waited_us; /* by make_room, since batch_reset */
    bool (*make_room)(void *owner, uint64_t row_bytes);
    void (*give)(void *owner);
    void *owner;
};

/* Without a bound to what is built. */
void batch_reset(struct batch *b, struct mapping *map);
/* Gives outcome `i` to `r`, NULL when nobody wants it any more. */
void batch_give(struct batch *b, uint32_t i, struct store_request *r);
void batch_add(struct batch *b, const struct slice *values);
/* Frees what outcomes still hold. */
void batch_clear(struct batch *b);
/* Every outcome that is not given becomes `status`; values are freed. */
void batch_fail(struct batch *b, enum store_status status, const char *error);
/* Sets all outcomes that are not given to ABSENT and sorts out which keys must be asked for at all.
 * `schema` must live as long as the outcomes are in use. */
void batch_encode(struct batch *b, const struct schema *schema);
/* Runs the queries. OK: every outcome is set, STORE_REJECT among them. Otherwise DOWN, TIMEOUT or
 * SCHEMA, and no outcome holds. */
enum driver_status batch_load(struct batch *b, const struct store_driver *driver,
                              struct store_conn *conn, struct driver_error *error) MUST_USE;
#endif
