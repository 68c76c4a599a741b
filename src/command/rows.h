#ifndef FOREBAY_COMMAND_ROWS_H
#define FOREBAY_COMMAND_ROWS_H
/* Outcomes of row loads that a client waited for: what its command sees of rows that are not (or no
 * longer, or not to be) in the table. Kept by the shard's park.c, read by cmd_read. */
#include <stdint.h>
#include "ds/hmap.h"
#include "engine/entry.h"
#include "engine/table.h"

enum row_state { ROW_PENDING, ROW_LOADED, ROW_ABSENT, ROW_FAILED };

struct row {
    struct hmap_node node;     /* by the key's hash */
    struct slice key;          /* of the database 0; owned by `owner` */
    enum row_state state;
    const struct entry *entry; /* ROW_LOADED: a private copy, for reading only */
    const char *error;         /* ROW_FAILED: the whole error text */
    bool needed;               /* the waiting command needs it: park.c */
    void *owner;               /* the shard's load */
};

struct rows {
    struct hmap map; /* struct row */
    uint32_t pending;
    const char *refusal; /* NULL, or the whole error text for rows that are not here */
};

/* NULL when nothing is known of this key. */
struct row *rows_find(const struct rows *rows, const struct key *key);
#endif
