#ifndef FOREBAY_STORE_SQL_H
#define FOREBAY_STORE_SQL_H
/* What the drivers' prepared statements have in common. */
#include <stdint.h>
#include "ds/buf.h"
#include "store/schema.h"

enum { SQL_STATEMENTS_MAX = 64 /* prepared ones a connection keeps */ };

/* Keys of the statement that serves `count`: the next power of two. The last key is repeated. */
static inline uint32_t sql_padded(uint32_t count) {
    uint32_t n = 1;
    while (n < count) {
        n *= 2;
    }
    return n;
}

/* Which of a connection's statement slots holds which statement; the driver has the statements. */
struct sql_cache {
    uint64_t tick;
    struct {
        uint64_t schema_id, used; /* used: tick of the last use, 0 = the slot is free */
        uint32_t keys;
    } slots[SQL_STATEMENTS_MAX];
};
/* The slot for this statement. When *hit is false, what the slot held (it was not used for longest)
 * must be closed and the new statement put there. */
uint32_t sql_cache_find(struct sql_cache *c, uint64_t schema_id, uint32_t keys, bool *hit);
void sql_cache_drop(struct sql_cache *c, uint32_t slot);

enum sql_dialect { SQL_MYSQL, SQL_SQLITE };
/* Appends the statement for `count` keys. */
void sql_append_select(struct buf *b, const struct schema *s, uint32_t count,
                       enum sql_dialect dialect);
#endif
