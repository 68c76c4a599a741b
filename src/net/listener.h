#ifndef FOREBAY_NET_LISTENER_H
#define FOREBAY_NET_LISTENER_H
/* Listening sockets and what an accepted socket gets. Errors leave the reason in `why`. */
#include <stdbool.h>
#include <stddef.h>

/* A non-blocking listening TCP socket on a numeric IPv4 or IPv6 address ("*" is all IPv4, "::*" all
 * IPv6, as in redis.conf), with SO_REUSEADDR and, if `reuse_port`, SO_REUSEPORT. -1 on failure. */
int listener_open_tcp(const char *address, int port, int backlog, bool reuse_port, char *why,
                      size_t why_len);
/* A unix socket; removes a stale file at `path` first when nobody answers there. `perm` 0 leaves
 * the mode to the umask. -1 on failure. */
int listener_open_unix(const char *path, unsigned perm, int backlog, char *why, size_t why_len);

/* TCP_NODELAY, non-blocking, close-on-exec and, for keepalive_s > 0, TCP keepalive with that idle
 * time (interval a third of it, 3 probes). For unix sockets only what applies. */
void socket_prepare(int fd, int keepalive_s);
/* "1.2.3.4:567", "[::1]:567" or "/path:0" of the peer / of this end; cut at `out_len`; "?:0" when
 * the socket cannot tell. */
void socket_peer_name(int fd, char *out, size_t out_len);
void socket_local_name(int fd, char *out, size_t out_len);
bool socket_is_unix(int fd);
/* True when the peer is on this machine: a unix socket, 127.0.0.0/8, ::1, ::ffff:127.0.0.0/104. */
bool socket_peer_is_loopback(int fd);
#endif
