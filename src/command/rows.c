#include "command/rows.h"

/* Linear: there are at most ENV_MISSES_MAX rows, compared by hash. */
const struct row *rows_find(const struct rows *rows, const struct key *key) {
    if (!rows) {
        return NULL;
    }
    for (uint32_t i = 0; i < rows->count; i++) {
        if (rows->v[i].hash == key->hash && slice_eq(rows->v[i].key, key->bytes)) {
            return &rows->v[i];
        }
    }
    return NULL;
}
