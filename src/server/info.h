#ifndef FOREBAY_SERVER_INFO_H
#define FOREBAY_SERVER_INFO_H
/* INFO: Redis 7.2's sections, fields and order, and the sections `shards`,
 * `store` and `missratio`. */
#include "server/server.h"

/* Appends the sections named (lower case; none: the default set; "all", "default", "everything").
 * For `keyspace` partitions are locked in turn unless env->held. Any shard's thread. */
void info_write(struct server *s, struct env *env, const struct slice *sections, uint32_t count,
                struct buf *out);

/* --- info_shards.c --- */
void info_shards(struct server *s, struct env *env, const struct totals *t, struct buf *out);
void info_missratio(struct server *s, struct env *env, const struct totals *t, struct buf *out);
void info_store(struct server *s, struct env *env, const struct totals *t, struct buf *out);
#endif
