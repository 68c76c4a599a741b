#include "command/rows.h"

#include "base/assert.h"

struct row *rows_find(const struct rows *rows, const struct key *key) {
    if (!rows) {
        return NULL;
    }
    HMAP_FOR_EACH_HASH(node, &rows->map, key->hash) {
        struct row *row = CONTAINER_OF(node, struct row, node);
        if (slice_eq(row->key, key->bytes)) {
            return row;
        }
    }
    return NULL;
}
