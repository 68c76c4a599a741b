#ifndef FOREBAY_COMMAND_DISPATCH_H
#define FOREBAY_COMMAND_DISPATCH_H
/* The way of one request through the command layer; shard/pipeline.c calls these in order:
 *
 *   dispatch_find -> dispatch_keys -> [prefetch] -> dispatch_check -> [lock] -> dispatch_call
 */
#include "command/command.h"

struct command_table;

/* The table over all families: names to rows, row ids. Immutable; any thread. */
struct command_table *command_table_create(void);
void command_table_destroy(struct command_table *t);
uint32_t command_table_count(const struct command_table *t); /* rows, subcommands included */
/* By id. */
const struct command *command_table_row(const struct command_table *t, uint32_t id);
/* "client|id"; zero-terminated, lives as long as the table. */
const char *command_table_full_name(const struct command_table *t, uint32_t id);
/* The container's id, COMMAND_NO_PARENT for a top-level row. */
#define COMMAND_NO_PARENT UINT32_MAX
uint32_t command_table_parent(const struct command_table *t, uint32_t id);
/* By name, top level rows only, ignoring case; NULL when unknown. */
const struct command *command_table_find(const struct command_table *t, struct slice name,
                                         uint32_t *id);
/* The subcommand's row; NULL when unknown. */
const struct command *command_table_find_sub(const struct command_table *t, uint32_t parent_id,
                                             struct slice name, uint32_t *id);

/* Finds the row (c->spec NULL when unknown). Needs argv, env, client. */
void dispatch_find(struct cmd *c);
/* Writes the key positions; for COMMAND GETKEYS too. -1: invalid arguments. */
int dispatch_key_positions(const struct command *spec, const struct slice *argv, uint32_t argc,
                           uint32_t *at);
/* Hashes the keys into `keys` (room for `cap`): the number of keys, which may be more than cap:
 * then call again with room. */
uint32_t dispatch_keys(struct cmd *c, struct key *keys, uint32_t cap);

enum dispatch_verdict {
    DISPATCH_RUN,     /* lock the keys' partitions and call */
    DISPATCH_REPLIED, /* an error or +QUEUED was written: nothing to run */
};
/* Every check that stands before execution, in Redis's order. Needs spec (or NULL), keys, w; no
 * locks are held. REPLIED with CMD_ROOM: nothing was done yet, see there. */
enum dispatch_verdict dispatch_check(struct cmd *c);
/* Runs it on locked partitions. The outcome is in c->outcome; unless CMD_DONE, nothing was written.
 * env->misses starts empty and holds what this run missed. */
void dispatch_call(struct cmd *c);
/* What a run is to add to the statistics. */
struct dispatch_counts {
    uint32_t row_hits;
    bool failed;
    char error_prefix[RESP_ERROR_PREFIX_CHARS];
};
/* The same for a command inside EXEC, on the locks of c->held: it always completes. With `counts`
 * all of its transaction only read: the reply is limited as a whole, CMD_MISS is an outcome too,
 * and it is counted, by dispatch_count, once that reply stays. */
void dispatch_call_queued(struct cmd *c, struct dispatch_counts *counts);
void dispatch_count(struct cmd *c, const struct dispatch_counts *counts);
/* Runs a queued command that reads for the length of its reply alone, of which the chain's limit
 * lets in no more than it must. It is not counted. */
void dispatch_count_queued(struct cmd *c);
/* True when the arguments are as many as the row wants. */
static inline bool dispatch_arity_fits(const struct command *spec, uint32_t argc) {
    return spec->arity > 0 ? argc == (uint32_t)spec->arity : argc >= (uint32_t)-spec->arity;
}
/* The partitions to lock: of its keys, of a transaction's, or all. */
void dispatch_locks(struct cmd *c, struct lockset *out);
/* True when one partition's lock is enough: then it is that of keys[0]. */
static inline bool dispatch_single_lock(const struct cmd *c) {
    return c->keys_count == 1 && !(c->spec->flags & CMD_ALL_KEYS);
}
/* What a command that keeps its arguments adds to memory, about, in bytes. */
size_t dispatch_growth(const struct cmd *c);
/* True when running it may change keys though its row does not say so: EXEC of queued writes. */
bool dispatch_may_write(const struct cmd *c);
/* Rows a queued or later command would miss, added to env->misses: EXEC before it runs, and
 * commands that stand behind a waiting one in its pipeline. Those that it would find are added to
 * c->row_hits. Takes the partitions' locks in turn, but those that c->held has. */
void dispatch_expect_rows(struct cmd *c);
/* The same for c->keys alone, taken as keys of database 0. */
void dispatch_expect_keys(struct cmd *c);
#endif
