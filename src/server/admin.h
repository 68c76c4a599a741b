#ifndef FOREBAY_SERVER_ADMIN_H
#define FOREBAY_SERVER_ADMIN_H
/* What commands ask of the process: env->host's functions that the server answers. They run on the
 * asking shard's thread, with env->host_ctx the server. */
#include "server/server.h"

/* Fills in info, config_* and shutdown; the shards fill in the rest. */
void admin_host_ops(struct host_ops *out);
/* The work of CONFIG SET and CONFIG GET; `env` NULL when no shard asks. Any thread. */
bool admin_config_set(struct server *s, struct env *env, const struct slice *pairs, uint32_t count,
                      struct buf *error);
/* Looks what memory the process may use now; where maxmemory is a share of it and it changed, the
 * shards get new settings. The main thread. */
void admin_refresh_memory(struct server *s);
#endif
