/* New connections: limits first, then which shard they go to (`accept-balance`).
 *
 * connections[] counts a connection from the decision on, not from its adoption, so that a burst of
 * accepts does not all go to one shard. */
#include "shard/session.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/listener.h"

static void refuse(struct shard *sh, int fd, struct slice error) {
    stat_add(&sh->stats.connections_rejected, 1);
    ssize_t ignored = send(fd, error.ptr, error.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
    close(fd);
}

/* Protected mode: without a password only this machine may connect, whatever `bind` says. */
static bool is_protected_from(const struct settings *settings, int fd) {
    return settings->protected_mode && !settings->requirepass[0] && !socket_peer_is_loopback(fd);
}

static uint32_t least_connected(struct shard_group *g, uint32_t own) {
    uint32_t best = own, best_count = atomic_load(&g->connections[own]);
    for (uint32_t i = 0; i < g->params.count; i++) {
        uint32_t count = atomic_load_explicit(&g->connections[i], memory_order_relaxed);
        if (count < best_count) {
            best = i;
            best_count = count;
        }
    }
    return best;
}

static uint32_t choose_shard(struct shard *sh, int fd) {
    struct shard_group *g = sh->group;
    if (g->params.count == 1) {
        return 0;
    }
    switch (sh->env.settings->balance) {
    case BALANCE_KERNEL:
        /* The kernel spreads TCP only; a unix socket has one listener. */
        return socket_is_unix(fd) ? atomic_fetch_add(&g->round_robin, 1) % g->params.count
                                  : sh->index;
    case BALANCE_ROUND_ROBIN:
        return atomic_fetch_add(&g->round_robin, 1) % g->params.count;
    case BALANCE_LEAST_CONNECTIONS:
        return least_connected(g, sh->index);
    }
    UNREACHABLE();
}

void accept_fd(struct shard *sh, int fd) {
    struct shard_group *g = sh->group;
    const struct settings *settings = sh->env.settings;
    if (atomic_fetch_add(&g->connections_total, 1) >= settings->maxclients) {
        atomic_fetch_sub(&g->connections_total, 1);
        refuse(sh, fd, SLICE("-ERR max number of clients reached\r\n"));
        return;
    }
    if (is_protected_from(settings, fd)) {
        atomic_fetch_sub(&g->connections_total, 1);
        refuse(sh, fd,
               SLICE("-DENIED Forebay is running in protected mode because protected mode is on "
                     "and no password is set. In this mode connections are only accepted from the "
                     "loopback interface. Set a password (requirepass), or set protected-mode "
                     "no.\r\n"));
        return;
    }
    stat_add(&sh->stats.connections_accepted, 1);
    uint32_t target = choose_shard(sh, fd);
    atomic_fetch_add(&g->connections[target], 1);
    if (target == sh->index) {
        accept_adopt(sh, fd);
    } else {
        mailbox_send(&g->shards[target]->mailbox, MESSAGE_ADOPT, fd, 0, NULL);
    }
}

void accept_adopt(struct shard *sh, int fd) {
    socket_prepare(fd, (int)sh->env.settings->tcp_keepalive_s);
    session_create(sh, fd);
}
