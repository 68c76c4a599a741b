#ifndef FOREBAY_TESTS_STORE_FIXTURE_H
#define FOREBAY_TESTS_STORE_FIXTURE_H
/* A store under test and what came back from it. */
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/store.h"

struct fixture {
    struct store *store;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    uint64_t completed;
};

/* An SQLite file of the test's own. */
struct fixture_file {
    char path[32], url[48];
};

/* `sql` is run in it. */
void fixture_file_create(struct fixture_file *file, const char *sql);
void fixture_file_remove(struct fixture_file *file);

struct store_params fixture_params(const char *url);
void fixture_open(struct fixture *f, const struct store_params *params);
void fixture_close(struct fixture *f);

/* Parses; fails the test on a refusal. */
struct mapping *fixture_map(const char *line);
/* Requests of which [i] has the placeholders values[i * columns ...]; waits for all. */
struct store_request **fixture_load(struct fixture *f, struct mapping *m,
                                    const struct slice *values, uint32_t count);
void fixture_free(struct store_request **v, uint32_t count);
/* Submits and does not wait; the array is filled when `completed` has risen by `count`. */
struct store_request **fixture_submit(struct fixture *f, struct mapping *m,
                                      const struct slice *values, uint32_t count);
void fixture_wait(struct fixture *f, uint64_t completed);
/* One request, by key: the request, to be destroyed by the caller. */
struct store_request *fixture_get(struct fixture *f, struct mapping *m, const char *key);
/* The hash as "field=value field=value", the string as it is, else the status' name; static buffer.
 */
const char *fixture_text(const struct store_request *r);
/* Loads `key` and compares fixture_text. */
void fixture_expect(struct fixture *f, struct mapping *m, const char *key, const char *text);
const char *fixture_status(enum store_status s);
#endif
