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
/* Appends the statement for `count` keys. `values` is what stands before a list of rows: "VALUES "
 * for SQLite, "" for MySQL. */
void sql_append_select(struct buf *b, const struct schema *s, uint32_t count, const char *values);
#endif
