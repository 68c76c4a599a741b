#ifndef FOREBAY_STORE_DRIVER_H
#define FOREBAY_STORE_DRIVER_H
/* The contract between the pool and a kind of database. A connection belongs to one worker's
 * thread; only `interrupt` is called from another, and only while the connection is open.
 *
 * 1. A driver selects a schema's `select` list and hands out each row's cells in that order, the
 *    database's own text of each value.
 * 2. It may return more rows than were asked for, in any order: the caller compares keys.
 * 3. Rows may be handed out while the load runs; what comes of them is not undone by its failure.
 * 4. After DRIVER_DOWN and DRIVER_TIMEOUT the connection is only good for close(). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/slice.h"
#include "store/mapping.h"
#include "store/schema.h"
#include "store/store.h"
#include "store/url.h"

/* Each driver's own: a connection; what it loaded, or NULL. */
struct store_conn;
struct store_library;

enum driver_status {
    DRIVER_OK,
    DRIVER_DOWN, /* no connection, or it was lost */
    DRIVER_TIMEOUT,
    DRIVER_REJECT,      /* the database refused the statement */
    DRIVER_REJECT_DATA, /* ... for the sake of one of the values: fewer values may pass */
    DRIVER_SCHEMA,      /* check: the mapping does not hold; load: the table is not what it was */
};

/* Text of a failure, zero-terminated. */
struct driver_error {
    char text[STORE_ERROR_CHARS_MAX];
};

/* What becomes of the rows of a load, in the calling thread. */
struct driver_rows {
    /* A row came, whose cells have so many bytes; it may be long until this returns. To be called
     * before copies of large cells are made. False: no row is wanted any more; the load then
     * returns DRIVER_TIMEOUT. */
    bool (*announce)(void *ctx, uint64_t bytes);
    /* Its cells, borrowed for the call. */
    void (*row)(void *ctx, const struct schema_cell *cells);
    void *ctx;
};

struct store_driver {
    const char *name;
    uint32_t row_copies; /* of a row being read, that go with it, the value built of it aside */
    /* Before all else, by one thread at a time. False with the reason in `why`. */
    bool (*library_open)(struct store_library **out, char *why, size_t why_len) MUST_USE;
    /* After all else. */
    void (*library_close)(struct store_library *library);
    /* A worker's first and last act. */
    void (*thread_init)(const struct store_library *library);
    void (*thread_deinit)(const struct store_library *library);
    /* The connection borrows `library`. */
    enum driver_status (*open)(const struct store_library *library, const struct store_url *url,
                               int64_t timeout_ms, struct store_conn **out,
                               struct driver_error *error) MUST_USE;
    void (*close)(struct store_conn *c); /* takes NULL */
    /* Bounds what the connection keeps of what it read, to be faster: about `bytes`. False:
     * it keeps what it did, try again. NULL: it keeps nothing that could be bounded. */
    bool (*limit_cache)(struct store_conn *c, uint64_t bytes);
    /* Makes the call that runs on `c`, and later ones, fail soon. Any thread; does not block. */
    void (*interrupt)(struct store_conn *c);
    /* The database's version; valid while `c` is open. */
    const char *(*server)(const struct store_conn *c);
    /* OK gives a schema of one reference; SCHEMA says in `error` what is wrong and what to do. */
    enum driver_status (*check)(struct store_conn *c, const struct mapping *m, struct schema **out,
                                struct driver_error *error) MUST_USE;
    /* Reads the rows of keys[0..count), 1 <= count <= STORE_BATCH_KEYS_MAX; duplicates are fine. */
    enum driver_status (*load)(struct store_conn *c, const struct schema *schema,
                               const struct schema_key *keys, uint32_t count,
                               const struct driver_rows *rows, struct driver_error *error) MUST_USE;
};

extern const struct store_driver driver_mysql, driver_sqlite;
#endif
