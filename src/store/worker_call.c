/* Connecting, reading the mapping's schema, reading rows; each with the second try that hides a
 * connection that the server had closed, or a table that was changed.
 *
 * 1. The store's lock is taken for moments only, never over a call of the driver.
 * 2. A schema is read again when it is older than SCHEMA_AGE_MAX_US or a query says so; one that
 *    was refused after SCHEMA_RETRY_US.
 * 3. A load makes three tries at most: as it is, on a new connection, with the new schema. */
#include "store/worker_call.h"

#include <stdatomic.h>
#include <stdio.h>
#include "base/clock.h"
#include "store/schema.h"

enum {
    SCHEMA_AGE_MAX_US = 30 * 1000 * 1000, /* then it is read again, so that new columns are seen */
    SCHEMA_RETRY_US = 1000 * 1000,        /* a mapping that did not hold is not tried sooner */
};

/* --- the connection --- */

void worker_call_close(struct worker *w) {
    if (w->conn) {
        store_lock(w->store);
        w->shown = NULL;
        store_unlock(w->store);
        w->store->driver->close(w->conn);
        w->conn = NULL;
        w->conn_cache_bytes = 0;
    }
}

static void limit_cache(struct worker *w) {
    const struct store_driver *driver = w->store->driver;
    if (driver->limit_cache && w->conn_cache_bytes != w->cache_bytes &&
        driver->limit_cache(w->conn, w->cache_bytes)) {
        w->conn_cache_bytes = w->cache_bytes;
    }
}

/* Sees to it that there is one: a call is about to be made. */
static enum driver_status ensure_connection(struct worker *w, struct driver_error *error) {
    struct store *s = w->store;
    w->called = true;
    if (w->conn) {
        limit_cache(w);
        return DRIVER_OK;
    }
    enum driver_status status =
        s->driver->open(s->library, &s->url, s->params.timeout_ms, &w->conn, error);
    if (status != DRIVER_OK) {
        w->conn = NULL;
        return status;
    }
    store_lock(s);
    s->stats.connects++;
    s->stats.reconnects += w->connected_before;
    snprintf(s->stats.server, sizeof s->stats.server, "%s", s->driver->server(w->conn));
    w->shown = w->conn;
    bool late = w->abandoned;
    store_unlock(s);
    limit_cache(w);
    w->connected_before = true;
    if (late) {
        snprintf(error->text, sizeof error->text, "%s", STORE_TIMEOUT_TEXT);
        return DRIVER_TIMEOUT;
    }
    return DRIVER_OK;
}

static bool is_abandoned(struct worker *w) {
    store_lock(w->store);
    bool abandoned = w->abandoned;
    store_unlock(w->store);
    return abandoned;
}

/* An idle connection that the server had closed is worth another try. */
static bool close_lost(struct worker *w, enum driver_status status, bool reused) {
    if (status != DRIVER_DOWN || !reused || is_abandoned(w)) {
        return false;
    }
    worker_call_close(w);
    return true;
}

/* --- the mapping's schema --- */

/* If it was checked by this store and need not be checked again yet. */
static struct schema *known_schema(struct store *s, struct mapping *map) {
    store_lock(s);
    struct schema *schema = map->schema;
    if (schema) {
        int64_t age_us = clock_mono_us() - schema->checked_us;
        int64_t max_us = schema->refused ? SCHEMA_RETRY_US : SCHEMA_AGE_MAX_US;
        schema = schema->store == s && age_us < max_us ? schema_ref(schema) : NULL;
    }
    store_unlock(s);
    return schema;
}

/* Takes over `found`; returns a reference to what the mapping has now. */
static struct schema *publish_schema(struct store *s, struct mapping *map, struct schema *found) {
    store_lock(s);
    struct schema *old = map->schema;
    found->store = s;
    found->checked_us = clock_mono_us();
    if (old && old->store == s && schema_same(old, found)) {
        old->checked_us = found->checked_us;
        schema_unref(found);
        found = old;
        old = NULL;
    } else {
        map->schema_free = schema_unref;
        __atomic_store_n(&map->schema, found, __ATOMIC_RELEASE);
        /* Copies in the cache have the old table's columns. */
        if (old && !old->refused) {
            atomic_fetch_add(&map->generation, 1);
        }
    }
    schema_ref(found);
    store_unlock(s);
    schema_unref(old);
    return found;
}

/* OK: *out is a reference to a schema, a refused one included. */
static enum driver_status read_schema(struct worker *w, struct mapping *map, struct schema **out,
                                      struct driver_error *error) {
    struct schema *found = NULL;
    enum driver_status status = ensure_connection(w, error);
    if (status == DRIVER_OK) {
        status = w->store->driver->check(w->conn, map, &found, error);
    }
    if (status == DRIVER_SCHEMA || status == DRIVER_REJECT || status == DRIVER_REJECT_DATA) {
        found = schema_create_refused(error->text);
    } else if (status != DRIVER_OK) {
        return status;
    }
    *out = publish_schema(w->store, map, found);
    return DRIVER_OK;
}

enum driver_status worker_call_check(struct worker *w, struct schema **out,
                                     struct driver_error *error) {
    bool reused = w->conn != NULL;
    enum driver_status status = read_schema(w, w->map, out, error);
    if (close_lost(w, status, reused)) {
        status = read_schema(w, w->map, out, error);
    }
    if (status != DRIVER_OK) {
        worker_call_close(w);
    }
    return status;
}

/* --- rows --- */

/* One try at the batch. *schema is kept over tries, for the outcomes' sake. */
static enum driver_status try_batch(struct worker *w, struct schema **schema,
                                    struct driver_error *error) {
    struct store *s = w->store;
    enum driver_status status = DRIVER_OK;
    if (!*schema) {
        *schema = known_schema(s, w->batch->map);
    }
    if (!*schema) {
        status = read_schema(w, w->batch->map, schema, error);
    }
    if (status != DRIVER_OK) {
        return status;
    }
    if ((*schema)->refused) {
        snprintf(error->text, sizeof error->text, "%s", (*schema)->refused);
        return DRIVER_SCHEMA;
    }
    batch_encode(w->batch, *schema);
    if (w->batch->asked_count == 0) {
        return DRIVER_OK;
    }
    status = ensure_connection(w, error);
    return status == DRIVER_OK ? batch_load(w->batch, s->driver, w->conn, error) : status;
}

static enum driver_status try_all(struct worker *w, struct schema **schema,
                                  struct driver_error *error) {
    bool reconnected = false, rechecked = false;
    for (;;) {
        bool reused = w->conn != NULL;
        enum driver_status status = try_batch(w, schema, error);
        if (!reconnected && close_lost(w, status, reused)) {
            reconnected = true;
            continue;
        }
        if (status != DRIVER_SCHEMA || !*schema || (*schema)->refused || rechecked || !w->conn) {
            return status;
        }
        rechecked = true; /* the table was changed: read again what it is now */
        schema_unref(*schema);
        *schema = NULL;
        status = read_schema(w, w->batch->map, schema, error);
        if (status != DRIVER_OK) {
            return status;
        }
    }
}

enum driver_status worker_call_load(struct worker *w, struct driver_error *error) {
    struct schema *schema = NULL;
    enum driver_status status = try_all(w, &schema, error);
    if (status == DRIVER_DOWN || status == DRIVER_TIMEOUT) {
        worker_call_close(w);
    }
    if (status == DRIVER_DOWN) {
        batch_fail(w->batch, STORE_DOWN, error->text);
    } else if (status == DRIVER_TIMEOUT) {
        batch_fail(w->batch, STORE_TIMEOUT, error->text);
    } else if (status == DRIVER_SCHEMA) {
        batch_fail(w->batch, STORE_SCHEMA, error->text);
    }
    schema_unref(schema);
    return status;
}
