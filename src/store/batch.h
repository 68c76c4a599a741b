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
    void *memory; /* the value's; NULL when there is none */
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
};

void batch_reset(struct batch *b, struct mapping *map);
void batch_add(struct batch *b, const struct slice *values);
/* Frees what outcomes still hold. */
void batch_clear(struct batch *b);
/* Every outcome becomes `status`; values are freed. */
void batch_fail(struct batch *b, enum store_status status, const char *error);
/* Sets all outcomes to ABSENT and sorts out which keys must be asked for at all. `schema` must live
 * as long as the outcomes are in use. */
void batch_encode(struct batch *b, const struct schema *schema);
/* Runs the queries. OK: every outcome is set, STORE_REJECT among them. Otherwise DOWN, TIMEOUT or
 * SCHEMA, and no outcome holds. */
enum driver_status batch_load(struct batch *b, const struct store_driver *driver,
                              struct store_conn *conn, struct driver_error *error) MUST_USE;
#endif
