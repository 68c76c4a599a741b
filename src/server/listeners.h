#ifndef FOREBAY_SERVER_LISTENERS_H
#define FOREBAY_SERVER_LISTENERS_H
/* The listening sockets: one a shard and address over TCP (SO_REUSEPORT), one unix socket. Main
 * thread. */
#include "server/server.h"

/* Opens what `s->config` asks for. False with what to say on the log and stderr in `why`. */
bool listeners_open(struct server *s, char why[OPTION_WHY_CHARS_MAX]) MUST_USE;
/* Closes all; removes the unix socket's file if this process made it. */
void listeners_close(struct server *s);
#endif
