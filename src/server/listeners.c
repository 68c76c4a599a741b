/* See listeners.h. A port that another process listens on must be noticed, which SO_REUSEPORT would
 * hide between two processes of one user: so each address is first bound without it. */
#include "server/listeners.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"
#include "resp/inline.h"

enum { PORT_WAIT_MAX_US = 500 * 1000, PORT_WAIT_STEP_US = 2000 };

static void keep(struct server *s, uint32_t shard, int fd) {
    ASSERT(s->listen_fds_count[shard] < NET_LISTENERS_MAX);
    s->listen_fds[shard][s->listen_fds_count[shard]++] = fd;
}

/* The kernel takes an ended process's ring apart only after the process is gone, and its listeners with
 * it: about 10 ms in which a restarted server would find its own port taken. */
static int open_when_free(const char *address, int port, int backlog, bool share, char *why) {
    int64_t end_us = clock_mono_us() + PORT_WAIT_MAX_US;
    for (;;) {
        errno = 0;
        int fd = listener_open_tcp(address, port, backlog, share, why, OPTION_WHY_CHARS_MAX);
        if (fd >= 0 || errno != EADDRINUSE || clock_mono_us() >= end_us) {
            return fd;
        }
        usleep(PORT_WAIT_STEP_US);
    }
}

enum opened { OPENED, SKIPPED, FAILED };

static enum opened open_address(struct server *s, struct slice word, int port, int backlog) {
    char address[128], why[OPTION_WHY_CHARS_MAX];
    bool optional = word.len > 0 && word.ptr[0] == '-';
    snprintf(address, sizeof address, "%.*s", (int)word.len - optional, word.ptr + optional);
    bool share = s->shards > 1;
    for (uint32_t i = 0; i <= s->shards; i++) {
        bool probe = i == 0;
        if (probe && !share) {
            continue;
        }
        int fd = open_when_free(address, port, backlog, share && !probe, why);
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

static bool open_tcp(struct server *s, char why[OPTION_WHY_CHARS_MAX]) {
    int port = (int)config_int(s->config, "port");
    int backlog = (int)config_int(s->config, "tcp-backlog");
    struct resp_args words = {0};
    char *unescaped = NULL;
    bool split = inline_split(slice_str(config_text(s->config, "bind")), &words, &unescaped);
    ASSERT(split && !unescaped);
    uint32_t opened = 0;
    bool ok = true;
    for (uint32_t i = 0; i < words.count && ok; i++) {
        enum opened result = open_address(s, words.v[i], port, backlog);
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

bool listeners_open(struct server *s, char why[OPTION_WHY_CHARS_MAX]) {
    if (config_int(s->config, "port") != 0 && !open_tcp(s, why)) {
        return false;
    }
    const char *path = config_text(s->config, "unixsocket");
    if (path[0]) {
        char reason[OPTION_WHY_CHARS_MAX];
        int fd =
            listener_open_unix(path, (unsigned)config_int(s->config, "unixsocketperm"),
                               (int)config_int(s->config, "tcp-backlog"), reason, sizeof reason);
        if (fd < 0) {
            snprintf(why, OPTION_WHY_CHARS_MAX,
                     "Failed opening Unix socket %.200s: %.250s, aborting.", path, reason);
            return false;
        }
        s->owns_unixsocket = true;
        keep(s, 0, fd);
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
        unlink(config_text(s->config, "unixsocket"));
        s->owns_unixsocket = false;
    }
}
