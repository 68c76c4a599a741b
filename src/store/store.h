#ifndef FOREBAY_STORE_STORE_H
#define FOREBAY_STORE_STORE_H
/* The contract between the cache and a database: requests go in from any thread, come back
 * completed on a worker's thread. Blocking calls happen on the workers only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/assert.h"
#include "base/slice.h"
#include "store/mapping.h"

enum {
    STORE_BATCH_KEYS_MAX = 256,    /* keys of one IN query */
    STORE_POOL_MAX = 64,
    STORE_QUEUE_MAX = 1000000,     /* requests waiting, all mappings; more get STORE_BUSY */
    STORE_ERROR_CHARS_MAX = 256,
    STORE_LATENCY_BUCKETS = 64,
};

struct store_params {
    char url[1024];      /* mysql://user[:password]@host[:port]/db
                              [?tls=off|on|verify&ca=/file&socket=/path]
                            sqlite:///absolute/path.db */
    char password_file[512]; /* its first line is the password; "" = none */
    uint32_t pool;       /* worker threads, each with a connection; default 8 */
    int64_t timeout_ms;  /* default 250: a query or connect that takes longer fails */
    uint32_t breaker_errors;    /* this many failed calls (not requests) ... ; 0 = no breaker */
    int64_t breaker_window_ms;  /* ... within this time open it ... */
    int64_t breaker_open_ms;    /* ... for this long: loads then fail at once with STORE_DOWN */
    /* NULL, or told of each change of what rows on their way hold, or are about to (the loads_bytes
     * of the figures). `ctx` is the completion's. Any thread; must not block. */
    void (*on_loads_bytes)(void *ctx, int64_t bytes);
};

enum store_status {
    STORE_ROW,     /* value is set */
    STORE_ABSENT,  /* there is no such row */
    STORE_DOWN,    /* could not connect, connection lost, breaker open */
    STORE_TIMEOUT,
    STORE_BUSY,    /* queue full */
    STORE_REJECT,  /* the database answered with an error: number and text in `error` */
    STORE_SCHEMA,  /* the mapping does not hold for the table: why in `error` */
};

/* A row in its mapping's form. All slices lie in the request's memory. */
struct store_value {
    bool is_hash;
    struct slice string;   /* string and json forms */
    struct slice *pairs;   /* hash form: field, value, field, value ...; NULL columns left out */
    uint32_t pairs_count;  /* pairs, so 2x slices */
};

struct store;

/* One row to be read. The caller allocates it (store_request_create), keeps it alive until it is
 * completed, then destroys it. */
struct store_request {
    struct store_request *next; /* list link, the current holder's */
    struct mapping *map;        /* a reference */
    struct slice values[MAPPING_KEY_COLUMNS_MAX]; /* owned copies of the key's placeholders */
    void *owner;                /* the caller's */
    int64_t queued_us;
    enum store_status status;
    struct store_value value;
    char error[STORE_ERROR_CHARS_MAX]; /* zero-terminated; "" when there is nothing to say */
    void *memory;               /* what value points into; freed with the request */
    uint64_t held_bytes;        /* of it, until it is dropped */
    /* The store's own: a worker that hangs still reads `values` after the request was completed. */
    _Atomic uint32_t refs;
};

/* Copies `values`, takes a reference to `map`. */
struct store_request *store_request_create(struct mapping *map, const struct slice *values,
                                           void *owner);
void store_request_destroy(struct store_request *r); /* takes NULL */
/* Frees the value of a completed request, as soon as it was used. Returns how many bytes the store
 * is to be told of by store_release: they are room for other loads then. 0 when called again. */
uint64_t store_request_drop(struct store_request *r) MUST_USE;

/* The memory that rows on their way may take, what reading them takes included; 0 = no bound, as at
 * first. Loads wait while it is used up, and time out as others do; one row at a time is read
 * whatever its size. Any thread. */
void store_set_loads_bytes_max(struct store *s, uint64_t bytes);
/* Values that took so many bytes, of any number of requests, were dropped. Soon: loads may wait for
 * it. Any thread, while the store lives. */
void store_release(struct store *s, uint64_t bytes);

/* Called on a thread of the store (a worker, or the watchdog for what timed out), or on the
 * caller's own within store_load and store_destroy, with a list of completed requests; they are
 * the callee's again. Several threads may call at once. Must not block. */
typedef void (*store_complete_fn)(void *ctx, struct store_request *list);

/* Parses the URL, loads what its driver needs and starts the workers; does not need the database to
 * be reachable. NULL with the reason in `why`. */
struct store *store_create(const struct store_params *params, store_complete_fn complete, void *ctx,
                           char *why, size_t why_len);
/* Completes what is queued with STORE_DOWN, interrupts what runs, joins the workers. Takes NULL. */
void store_destroy(struct store *s);

/* Queues the list, which becomes the store's until completion. Never blocks on the database.
 * Requests of one mapping that wait together become one IN query. Any thread. */
void store_load(struct store *s, struct store_request *list);

/* Checks a mapping against the database (columns exist; placeholders equal a PRIMARY or UNIQUE NOT
 * NULL index) and prepares its schema. Blocks up to the timeout. */
enum store_check { STORE_CHECK_OK, STORE_CHECK_REFUSED, STORE_CHECK_UNREACHABLE };
enum store_check store_check_mapping(struct store *s, struct mapping *m, char *why, size_t why_len);

/* UNKNOWN: nothing was asked of the database yet. DOWN: the breaker is open, or the last call
 * failed (no connection, connection lost, no answer in time) or found no connection free in time,
 * and none has succeeded since. An error that the database answers is a success. */
enum store_health { STORE_HEALTH_UNKNOWN, STORE_HEALTH_UP, STORE_HEALTH_DOWN };

/* Figures, as of now; any thread. Latency: bucket i counts queries of up to 2^(i/2)
 * microseconds. */
struct store_stats {
    uint64_t loads, rows, absent, batches, errors, timeouts, connects, reconnects, breaker_opened;
    uint64_t queued, busy_workers, workers;
    uint64_t room_waiting, room_idle; /* workers that wait for room: within a query, before one */
    uint64_t loads_bytes, loads_bytes_max; /* held by rows on their way; the bound, 0 = none */
    bool breaker_open;
    enum store_health health;
    uint64_t latency[STORE_LATENCY_BUCKETS];
    char driver[16];   /* "mysql" or "sqlite" */
    char server[64];   /* the database's version text, "" before the first connect */
    char last_error[STORE_ERROR_CHARS_MAX];
};
void store_stats_read(struct store *s, struct store_stats *out);
/* Upper bound in microseconds of the bucket that holds percentile `p` (0..100); 0 when empty. */
uint64_t store_latency_us(const struct store_stats *stats, double p);
#endif
