/* See listeners.h. A port that another process listens on must be noticed, which SO_REUSEPORT would
 * hide between two processes of one user: so each address is first bound without it. The sockets of
 * a process that was killed live on for some milliseconds, until the kernel has taken down its
 * rings: an address in use is tried again for IN_USE_RETRY_US. */
#include "server/listeners.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"
#include "resp/inline.h"

enum { IN_USE_RETRY_US = 500 * 1000, IN_USE_STEP_US = 5 * 1000 };

/* After a failure: waits a little and says whether to try again. */
static bool try_again(int64_t until_us) {
    if (errno != EADDRINUSE || clock_mono_us() >= until_us) {
        return false;
    }
    usleep(IN_USE_STEP_US);
    return true;
}

static int open_tcp_socket(const char *address, int port, int backlog, bool share, int64_t until_us,
                           char why[OPTION_WHY_CHARS_MAX]) {
    int fd;
    do {
        errno = 0;
        fd = listener_open_tcp(address, port, backlog, share, why, OPTION_WHY_CHARS_MAX);
    } while (fd < 0 && try_again(until_us));
    return fd;
}

static void keep(struct server *s, uint32_t shard, int fd) {
    ASSERT(s->listen_fds_count[shard] < NET_LISTENERS_MAX);
    s->listen_fds[shard][s->listen_fds_count[shard]++] = fd;
}

enum opened { OPENED, SKIPPED, FAILED };

static enum opened open_address(struct server *s, struct slice word, int port, int backlog,
                                int64_t until_us) {
    char address[128], why[OPTION_WHY_CHARS_MAX];
    bool optional = word.len > 0 && word.ptr[0] == '-';
    snprintf(address, sizeof address, "%.*s", (int)word.len - optional, word.ptr + optional);
    bool share = s->shards > 1;
    for (uint32_t i = 0; i <= s->shards; i++) {
        bool probe = i == 0;
        if (probe && !share) {
            continue;
        }
        int fd = open_tcp_socket(address, port, backlog, share && !probe, until_us, why);
        if (fd < 0 && optional && errno != EADDRINUSE) {
            return SKIPPED;
        }
        if (fd < 0) {
            log_warning("Warning: Could not create server TCP listening socket %s:%d: %s", address,
                        port, why);
            return FAILED;
        }
        if (probe) {
            close(fd);
        } else {
            keep(s, i - 1, fd);
        }
    }
    return OPENED;
}

static bool open_tcp(struct server *s, int64_t until_us, char why[OPTION_WHY_CHARS_MAX]) {
    int port = (int)config_int(s->initial, "port");
    int backlog = (int)config_int(s->initial, "tcp-backlog");
    struct resp_args words = {0};
    char *unescaped = NULL;
    bool split = inline_split(slice_str(config_text(s->initial, "bind")), &words, &unescaped);
    ASSERT(split && !unescaped);
    uint32_t opened = 0;
    bool ok = true;
    for (uint32_t i = 0; i < words.count && ok; i++) {
        enum opened result = open_address(s, words.v[i], port, backlog, until_us);
        opened += result == OPENED;
        ok = result != FAILED;
    }
    bool none = opened == 0 && words.count > 0;
    resp_args_free(&words);
    if (!ok || none) {
        snprintf(why, OPTION_WHY_CHARS_MAX, "Failed listening on port %d (tcp), aborting.", port);
        return false;
    }
    return true;
}

static bool open_unix(struct server *s, int64_t until_us, char why[OPTION_WHY_CHARS_MAX]) {
    const char *path = config_text(s->initial, "unixsocket");
    char reason[OPTION_WHY_CHARS_MAX];
    int fd;
    do {
        errno = 0;
        fd = listener_open_unix(path, (unsigned)config_int(s->initial, "unixsocketperm"),
                                (int)config_int(s->initial, "tcp-backlog"), reason, sizeof reason);
    } while (fd < 0 && try_again(until_us));
    if (fd < 0) {
        snprintf(why, OPTION_WHY_CHARS_MAX, "Failed opening Unix socket %.200s: %.250s, aborting.",
                 path, reason);
        return false;
    }
    s->owns_unixsocket = true;
    keep(s, 0, fd);
    return true;
}

bool listeners_open(struct server *s, char why[OPTION_WHY_CHARS_MAX]) {
    int64_t until_us = clock_mono_us() + IN_USE_RETRY_US;
    if (config_int(s->initial, "port") != 0 && !open_tcp(s, until_us, why)) {
        return false;
    }
    if (config_text(s->initial, "unixsocket")[0] && !open_unix(s, until_us, why)) {
        return false;
    }
    if (s->listen_fds_count[0] == 0) {
        snprintf(why, OPTION_WHY_CHARS_MAX, "Configured to not listen anywhere, exiting.");
        return false;
    }
    return true;
}

void listeners_close(struct server *s) {
    for (uint32_t shard = 0; shard < s->shards; shard++) {
        for (unsigned i = 0; i < s->listen_fds_count[shard]; i++) {
            close(s->listen_fds[shard][i]);
        }
        s->listen_fds_count[shard] = 0;
    }
    if (s->owns_unixsocket) {
        unlink(config_text(s->initial, "unixsocket"));
        s->owns_unixsocket = false;
    }
}
