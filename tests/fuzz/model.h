#ifndef FOREBAY_FUZZ_MODEL_H
#define FOREBAY_FUZZ_MODEL_H
/* What the commands do, once more: as plainly as possible (arrays searched from the start), from
 * Redis's documentation and from nothing of src but its smallest tools. It runs a command on its
 * own state and holds the server's reply against it; where a reply's order or choice is free,
 * against all that is allowed. */
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { MODEL_CLIENTS = 3, MODEL_DATABASES = 4 };

struct model_options {
    int64_t now_ms;
    uint32_t packed_fields_max, packed_bytes_max; /* hash-max-listpack-* */
    size_t string_bytes_max;                      /* proto-max-bulk-len */
};

struct model;
struct model *model_create(const struct model_options *options);
void model_destroy(struct model *m);
/* `reply` is what the server answered to `client`. Aborts, telling both, unless it is right. */
void model_run(struct model *m, unsigned client, const struct slice *argv, uint32_t argc,
               struct slice reply);
/* Time never goes back. */
void model_set_now(struct model *m, int64_t now_ms);
int64_t model_now(const struct model *m);
/* True between MULTI and EXEC. */
bool model_in_multi(const struct model *m, unsigned client);
/* The cursor that SCAN or HSCAN answered this client last; "0" at first. */
struct slice model_cursor(const struct model *m, unsigned client, bool of_hash);
/* Keys that are there now. */
uint64_t model_count(const struct model *m, unsigned db);
/* Calls fn for each of them; fn must not change the model's keys. */
void model_visit(const struct model *m, unsigned db,
                 void (*fn)(void *arg, struct slice key, bool is_hash), void *arg);
#endif
