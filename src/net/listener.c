/* Listening sockets, and the options and names of accepted ones. Any thread: no state is kept. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"

enum { KEEPALIVE_PROBES = 3 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un path;
};

static void set_option(int fd, int level, int name, int value) {
    /* Refused where the socket's family knows no such option, which is then nothing to set. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

/* Closes `fd` and says what failed, by errno. */
static int failed(int fd, const char *what, char *why, size_t why_len) {
    snprintf(why, why_len, "%s: %s", what, strerror(errno));
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* The length of the address in `out`, 0 if `address` is none. */
static socklen_t parse_address(const char *address, int port, union address *out) {
    *out = (union address){0};
    bool any_v4 = strcmp(address, "*") == 0, any_v6 = strcmp(address, "::*") == 0;
    if (any_v4 || inet_pton(AF_INET, address, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons((uint16_t)port);
        return sizeof out->v4;
    }
    if (any_v6 || inet_pton(AF_INET6, address, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons((uint16_t)port);
        return sizeof out->v6;
    }
    return 0;
}

int listener_open_tcp(const char *address, int port, int backlog, bool reuse_port, char *why,
                      size_t why_len) {
    union address at;
    socklen_t at_len = parse_address(address, port, &at);
    if (at_len == 0) {
        snprintf(why, why_len, "'%s' is not a numeric address", address);
        return -1;
    }
    int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return failed(fd, "socket", why, why_len);
    }
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (at.any.sa_family == AF_INET6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1); /* so that "*" and "::*" can stand together */
    }
    int one = 1;
    if (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0) {
        return failed(fd, "SO_REUSEPORT", why, why_len);
    }
    if (bind(fd, &at.any, at_len) != 0) {
        return failed(fd, "bind", why, why_len);
    }
    if (listen(fd, backlog) != 0) {
        return failed(fd, "listen", why, why_len);
    }
    return fd;
}

/* Removes the socket at `at` if nobody answers there. */
static void remove_stale(const struct sockaddr_un *at) {
    struct stat st;
    if (lstat(at->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    if (connect(fd, (const struct sockaddr *)at, sizeof *at) != 0 && errno == ECONNREFUSED) {
        unlink(at->sun_path);
    }
    close(fd);
}

int listener_open_unix(const char *path, unsigned perm, int backlog, char *why, size_t why_len) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof at.sun_path) {
        snprintf(why, why_len, "a socket's path has 1 to %zu bytes", sizeof at.sun_path - 1);
        return -1;
    }
    memcpy(at.sun_path, path, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return failed(fd, "socket", why, why_len);
    }
    remove_stale(&at);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        return failed(fd, "bind", why, why_len);
    }
    /* The mode before listen: until then nobody can connect. */
    if (perm != 0 && chmod(path, (mode_t)perm) != 0) {
        return failed(fd, "chmod", why, why_len);
    }
    if (listen(fd, backlog) != 0) {
        return failed(fd, "listen", why, why_len);
    }
    return fd;
}

void socket_prepare(int fd, int keepalive_s) {
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK)) {
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (keepalive_s > 0) {
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_s);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, MAX(keepalive_s / 3, 1));
        set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    }
}

static void format_address(const union address *at, socklen_t at_len, char *out, size_t out_len) {
    char text[INET6_ADDRSTRLEN];
    if (at->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &at->v4.sin_addr, text, sizeof text);
        snprintf(out, out_len, "%s:%u", text, (unsigned)ntohs(at->v4.sin_port));
    } else if (at->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &at->v6.sin6_addr, text, sizeof text);
        snprintf(out, out_len, "[%s]:%u", text, (unsigned)ntohs(at->v6.sin6_port));
    } else if (at->any.sa_family == AF_UNIX) {
        size_t max = at_len > offsetof(struct sockaddr_un, sun_path)
                         ? at_len - offsetof(struct sockaddr_un, sun_path)
                         : 0;
        snprintf(out, out_len, "%.*s:0", (int)strnlen(at->path.sun_path, max), at->path.sun_path);
    } else {
        snprintf(out, out_len, "?:0");
    }
}

/* The address of this end or of the peer; its length, 0 when the socket cannot tell. */
static socklen_t address_of(int fd, bool peer, union address *out) {
    *out = (union address){0};
    socklen_t len = sizeof *out;
    int rc = peer ? getpeername(fd, &out->any, &len) : getsockname(fd, &out->any, &len);
    return rc == 0 ? MIN(len, (socklen_t)sizeof *out) : 0;
}

void socket_peer_name(int fd, char *out, size_t out_len) {
    union address at, own;
    socklen_t len = address_of(fd, true, &at);
    if (len > 0 && at.any.sa_family == AF_UNIX && at.path.sun_path[0] == '\0') {
        /* A client of a unix socket has no name: the listener's path says where it came in. */
        socklen_t own_len = address_of(fd, false, &own);
        if (own_len > 0) {
            format_address(&own, own_len, out, out_len);
            return;
        }
    }
    if (len == 0) {
        at.any.sa_family = AF_UNSPEC;
    }
    format_address(&at, len, out, out_len);
}

void socket_local_name(int fd, char *out, size_t out_len) {
    union address at;
    socklen_t len = address_of(fd, false, &at);
    if (len == 0) {
        at.any.sa_family = AF_UNSPEC;
    }
    format_address(&at, len, out, out_len);
}

bool socket_is_unix(int fd) {
    union address at;
    return address_of(fd, false, &at) > 0 && at.any.sa_family == AF_UNIX;
}

bool socket_peer_is_loopback(int fd) {
    union address at;
    if (address_of(fd, true, &at) == 0) {
        return false;
    }
    switch (at.any.sa_family) {
    case AF_UNIX:
        return true;
    case AF_INET:
        return ntohl(at.v4.sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&at.v6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&at.v6.sin6_addr) && at.v6.sin6_addr.s6_addr[12] == 127);
    default:
        return false;
    }
}
