/* The epoll backend, for where io_uring is not to be had: readiness in, level-triggered, so that
 * what does not fit a round is reported again by the next.
 *
 *   epoll_wait -> a recv a readable connection, into a buffer of a LIFO pool
 *   net_flush  -> a send at once; EPOLLOUT is asked for only while output is stuck
 *
 * One shard's thread. The kernel never holds anything of a connection: pending_ops stays 0 and
 * closing is immediate.
 *
 * 1. A connection is in the epoll set exactly while ATTACHED. It is taken out when it is readable
 *    no more and nothing is stuck: EPOLLHUP and EPOLLERR can't be masked and would spin.
 * 2. All of a round's readiness is handled within the round, so no stale pointer to a connection
 *    survives net_close.
 *
 * Limits: READY_MAX ready descriptors and one receive a connection a round, ACCEPTS_MAX connections
 * a listener a round, SENDS_MAX sends of a connection a flush. */
#include "net/net_backend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    READY_MAX = NET_BUFFERS_MAX,
    ACCEPTS_MAX = 64,
    SENDS_MAX = 4,
    BUFFER_STRIDE = NET_BUFFER_BYTES + 192, /* see uring.c */
};

/* conn->backend_flags */
enum {
    WANT_IN = 1,  /* in the interest mask */
    WANT_OUT = 2, /* in the interest mask: output is stuck */
    ATTACHED = 4,
    READ_ENDED = 8, /* EOF or error */
};

/* The low bits of epoll_event.data say what is ready. */
enum tag { TAG_CONN, TAG_LISTENER, TAG_WAKE, TAG_MASK = 7 };

struct epoll {
    struct net net;
    int epoll_fd;
    bool no_pwait2; /* the kernel or a filter refuses epoll_pwait2: timeouts are milliseconds */
    bool listening; /* the listeners are in the epoll set */
    char *buffers;
    unsigned buffers_count, free_count;
    uint16_t free[NET_BUFFERS_MAX];
    struct epoll_event ready[READY_MAX];
};

static struct epoll *of_net(struct net *net) {
    return CONTAINER_OF(net, struct epoll, net);
}

/* ---- interest ---- */

static void set_interest(struct epoll *e, struct conn *conn, unsigned want) {
    unsigned now = conn->backend_flags;
    if ((now & ATTACHED) && (now & (WANT_IN | WANT_OUT)) == want) {
        return;
    }
    struct epoll_event event = {.data.ptr = conn,
                                .events = (want & WANT_IN ? (unsigned)EPOLLIN : 0) |
                                          (want & WANT_OUT ? (unsigned)EPOLLOUT : 0)};
    int rc =
        epoll_ctl(e->epoll_fd, now & ATTACHED ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, conn->fd, &event);
    if (rc != 0) {
        /* ENOMEM or ENOSPC (max_user_watches): this connection can't be served. */
        if (net_fail(conn, errno)) {
            net_report(&e->net, conn, REPORT_EOF);
        }
        return;
    }
    conn->backend_flags = (uint8_t)((now & READ_ENDED) | ATTACHED | want);
}

static void detach(struct epoll *e, struct conn *conn) {
    if (conn->backend_flags & ATTACHED) {
        epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
        conn->backend_flags &= READ_ENDED;
    }
}

static void fail(struct epoll *e, struct conn *conn, int error) {
    detach(e, conn);
    if (net_fail(conn, error)) {
        net_report(&e->net, conn, REPORT_EOF);
    }
}

static void epoll_add(struct net *net, struct conn *conn) {
    set_interest(of_net(net), conn, WANT_IN);
}

/* Lazily: most pauses end before more comes in, and cost no system call. See on_ready. */
static void epoll_pause_read(struct net *net, struct conn *conn) {
}

static void epoll_resume_read(struct net *net, struct conn *conn) {
    if (!(conn->backend_flags & READ_ENDED) && !conn->error) {
        set_interest(of_net(net), conn, (conn->backend_flags & WANT_OUT) | WANT_IN);
    }
}

static void epoll_close(struct net *net, struct conn *conn) {
    detach(of_net(net), conn); /* a forked child may still hold the socket: close is not enough */
    net_conn_closed(net, conn);
}

static void epoll_receive_into(struct net *net, struct conn *conn) {
}

/* ---- sending ---- */

static ssize_t send_once(struct conn *conn) {
    struct iovec iov[NET_IOV_MAX];
    int count = chain_iov(&conn->out, iov, NET_IOV_MAX);
    if (LIKELY(count == 1)) {
        conn->send_bytes = iov[0].iov_len;
        return send(conn->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    conn->send_bytes = 0;
    for (int i = 0; i < count; i++) {
        conn->send_bytes += iov[i].iov_len;
    }
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    return sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void stuck(struct epoll *e, struct conn *conn) {
    conn->send_state |= SEND_PARTIAL;
    conn->sending = true;
    set_interest(e, conn, (conn->backend_flags & WANT_IN) | WANT_OUT);
}

/* Sends until all is sent or the socket is full. False when the flush's share is used up. */
static bool send_out(struct epoll *e, struct conn *conn) {
    for (int i = 0; i < SENDS_MAX; i++) {
        ssize_t sent = send_once(conn);
        if (UNLIKELY(sent < 0)) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EAGAIN) {
                stuck(e, conn);
            } else {
                fail(e, conn, errno);
            }
            return true;
        }
        chain_consume(&conn->out, (size_t)sent);
        net_output_shrank(&e->net, conn);
        if (LIKELY(conn->out.len_bytes == 0)) {
            return true;
        }
        if ((size_t)sent < conn->send_bytes) {
            stuck(e, conn);
            return true;
        }
    }
    return false;
}

static bool epoll_send(struct net *net, struct conn *conn) {
    return send_out(of_net(net), conn);
}

static void epoll_submit(struct net *net) {
}

static void on_writable(struct epoll *e, struct conn *conn) {
    conn->sending = false;
    if (!send_out(e, conn)) {
        net_queue_send(&e->net, conn);
    }
    if (!conn->sending && !conn->error && (conn->backend_flags & WANT_OUT)) {
        set_interest(e, conn, conn->backend_flags & WANT_IN);
    }
}

/* ---- receiving ---- */

static void epoll_give_buffer(struct net *net, uint16_t buffer) {
    struct epoll *e = of_net(net);
    ASSERT(buffer < e->buffers_count && e->free_count < e->buffers_count);
    e->free[e->free_count++] = buffer;
}

static int on_readable(struct epoll *e, struct conn *conn, struct net_event *event) {
    struct slice into = conn->into;
    if (UNLIKELY(!into.len && e->free_count == 0)) {
        return 0;
    }
    uint16_t buffer = NET_NO_BUFFER;
    if (LIKELY(!into.len)) {
        buffer = e->free[e->free_count - 1];
        into = slice_of(e->buffers + (size_t)buffer * BUFFER_STRIDE, NET_BUFFER_BYTES);
    }
    char *at = (char *)into.ptr;
    ssize_t got = recv(conn->fd, at, into.len, MSG_DONTWAIT);
    if (LIKELY(got > 0)) {
        e->free_count -= buffer != NET_NO_BUFFER;
        conn->into = (struct slice){0};
        net_event_fill(event, NET_EVENT_DATA, conn)->data = slice_of(at, (size_t)got);
        event->buffer = buffer;
        return 1;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    int error = got < 0 ? errno : 0;
    conn->backend_flags |= READ_ENDED;
    if (error) { /* otherwise its interest goes when it is reported again: most are closed before */
        detach(e, conn);
        net_fail(conn, error);
    }
    net_event_fill(event, NET_EVENT_EOF, conn)->error = error;
    return 1;
}

/* At most one event; what a failed send reports comes by net_report. */
static int on_ready(struct epoll *e, struct conn *conn, unsigned events, struct net_event *event) {
    if (UNLIKELY((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) && (conn->backend_flags & WANT_OUT))) {
        on_writable(e, conn);
    }
    if (UNLIKELY(conn->error)) {
        return 0;
    }
    if (LIKELY(!conn->read_paused && !(conn->backend_flags & READ_ENDED))) {
        return events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? on_readable(e, conn, event) : 0;
    }
    if ((events & (EPOLLHUP | EPOLLERR)) && !(conn->backend_flags & WANT_OUT)) {
        detach(e, conn);
    } else if (conn->backend_flags & WANT_IN) {
        set_interest(e, conn, conn->backend_flags & WANT_OUT);
    }
    return 0;
}

/* ---- accepting ---- */

static void epoll_accept_start(struct net *net) {
    struct epoll *e = of_net(net);
    for (unsigned i = 0; i < net->listeners_count && !e->listening; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)i << 3 | TAG_LISTENER};
        int rc = epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, net->listen_fds[i], &event);
        ASSERT(rc == 0);
    }
    e->listening = true;
}

static void epoll_accept_stop(struct net *net) {
    struct epoll *e = of_net(net);
    for (unsigned i = 0; i < net->listeners_count && e->listening; i++) {
        epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, net->listen_fds[i], NULL);
    }
    e->listening = false;
}

static int on_acceptable(struct epoll *e, unsigned listener, struct net_event *events, int max) {
    int count = 0;
    while (count < max && count < ACCEPTS_MAX && net_accepting(&e->net)) {
        int fd = accept4(e->net.listen_fds[listener], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN) {
                net_accept_failed(&e->net, errno);
            }
            break;
        }
        net_event_fill(&events[count], NET_EVENT_ACCEPTED, NULL);
        events[count].fd = fd;
        events[count++].listener = (uint16_t)listener;
    }
    if (!net_accepting(&e->net)) {
        epoll_accept_stop(&e->net);
    }
    return count;
}

/* ---- the round ---- */

static int wait_ready(struct epoll *e, int64_t timeout_us) {
    /* No more than can be received into, so that none is passed over and the kernel's ready list
     * goes round; a few in any case, for what needs no buffer. */
    int max = (int)MAX(e->free_count, 16);
    max = MIN(max, READY_MAX);
    if (timeout_us > 0 && !e->no_pwait2) {
        struct timespec ts = {.tv_sec = timeout_us / 1000000,
                              .tv_nsec = timeout_us % 1000000 * 1000};
        int count = epoll_pwait2(e->epoll_fd, e->ready, max, &ts, NULL);
        if (count >= 0 || errno == EINTR) {
            return count;
        }
        e->no_pwait2 = true;
    }
    int64_t timeout_ms = timeout_us < 0 ? -1 : (timeout_us + 999) / 1000;
    return epoll_wait(e->epoll_fd, e->ready, max, (int)MIN(timeout_ms, INT32_MAX));
}

static int epoll_wait_events(struct net *net, struct net_event *events, int max,
                             int64_t timeout_us) {
    struct epoll *e = of_net(net);
    int count = 0, ready_count = wait_ready(e, timeout_us);
    for (int i = 0; i < ready_count && count < max; i++) {
        uint64_t data = e->ready[i].data.u64;
        switch ((enum tag)(data & TAG_MASK)) {
        case TAG_CONN:
            count += on_ready(e, e->ready[i].data.ptr, e->ready[i].events, &events[count]);
            break;
        case TAG_LISTENER:
            count += on_acceptable(e, (unsigned)(data >> 3), &events[count], max - count);
            break;
        case TAG_WAKE:
        case TAG_MASK:
            break;
        }
    }
    return count;
}

/* ---- setting up ---- */

static void epoll_destroy(struct net *net) {
    struct epoll *e = of_net(net);
    if (e->epoll_fd >= 0) {
        close(e->epoll_fd);
    }
    if (net->wake_fd >= 0) {
        close(net->wake_fd);
    }
    mem_free(e->buffers);
    mem_free(e);
}

static const struct net_ops epoll_ops = {
    .destroy = epoll_destroy,
    .add = epoll_add,
    .send = epoll_send,
    .submit = epoll_submit,
    .pause_read = epoll_pause_read,
    .resume_read = epoll_resume_read,
    .receive_into = epoll_receive_into,
    .close = epoll_close,
    .accept_start = epoll_accept_start,
    .accept_stop = epoll_accept_stop,
    .wait = epoll_wait_events,
    .give_buffer = epoll_give_buffer,
};

struct net *epoll_create_net(unsigned buffers_count, char *why, size_t why_len) {
    struct epoll *e = mem_zalloc(sizeof *e);
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    net_init(&e->net, &epoll_ops, NET_EPOLL, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.u64 = TAG_WAKE};
    if (e->epoll_fd < 0 || e->net.wake_fd < 0 ||
        epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->net.wake_fd, &wake) != 0) {
        snprintf(why, why_len, "epoll: %s", strerror(errno));
        epoll_destroy(&e->net);
        return NULL;
    }
    e->buffers = mem_alloc_aligned(4096, (size_t)buffers_count * BUFFER_STRIDE);
    e->buffers_count = buffers_count;
    for (unsigned i = 0; i < buffers_count; i++) {
        e->free[e->free_count++] = (uint16_t)(buffers_count - 1 - i);
    }
    return &e->net;
}
