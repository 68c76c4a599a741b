#ifndef FOREBAY_COMMAND_TRANSACTION_H
#define FOREBAY_COMMAND_TRANSACTION_H
/* MULTI's queue and WATCH. Watched keys stand in their partition's `watched` map, under its
 * lock. */
#include "command/command.h"

/* EXEC. Its locks are those of transaction_locks, in c->held. */
void transaction_exec(struct cmd *c);
/* The database that the next queued command will run on: queued SELECTs count. */
unsigned transaction_db(const struct client *client);
/* dispatch_growth of the queued commands that have CMD_GROWS, together; 0: there are none. */
size_t transaction_growth(const struct client *client);
/* True when all that is queued reads, or selects a database: it can be run again. */
bool transaction_reads(const struct client *client);
/* EXEC is not going to run it. */
bool transaction_is_dirty(const struct client *client);
/* True when a queued command changes keys. */
bool transaction_writes(const struct client *client);
/* Before SWAPDB: marks the watchers of keys of `db` that exist in `other`. */
void transaction_swapping(struct partition *p, unsigned db, unsigned other, int64_t now_ms);
/* Counts the queued commands where all of them read: what they answered stays, or was too long. */
void transaction_count_reads(struct cmd *c);
/* Copies the command to the client's queue. */
void transaction_queue(struct cmd *c);
/* Drops queue and MULTI state; watches are dropped too. */
void transaction_discard(struct client *client, struct env *env);
/* Drops all watches. Takes each partition's lock unless `held` has it (NULL = none). */
void transaction_unwatch(struct client *client, struct keyspace *ks, const struct lockset *held);
/* keyspace.on_touched: marks the watchers of a changed key dirty. */
void transaction_touched(struct partition *p, unsigned db, const struct key *key);
/* Locks EXEC needs: of the queued commands' keys and the watched ones. */
void transaction_locks(struct cmd *c, struct lockset *out);
/* dispatch_expect_rows for the queued commands, which c->client would run now. */
void transaction_expect_rows(struct cmd *c);
/* Bytes queued. */
size_t transaction_bytes(const struct client *client);
#endif
