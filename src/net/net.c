/* The front of the network layer: what both backends have in common. One shard's thread, but
 * net_wake.
 *
 *   net_wait: flush queued sends -> reports -> sleep in the backend -> reports -> WOKEN
 *
 * 1. wake_state is ASLEEP only while the owner is in, or about to enter, the backend's wait, so a
 *    waker writes to the eventfd only then. The owner goes to sleep by an exchange that fails when
 *    WAKE_PENDING is set, so no wake is lost. Both sides use read-modify-write operations, which
 *    orders what the waker wrote before what the woken does. This is the layer's only atomic.
 * 2. Reports are taken before the wait (then it does not sleep) and after it.
 *
 * Limits: NET_EVENTS_MAX events a round, one slot of which is kept for WOKEN. */
#include "net/net_backend.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    AWAKE = 0,
    ASLEEP = 1,
    WAKE_PENDING = 2,
};

void net_init(struct net *net, const struct net_ops *ops, enum net_backend backend, int wake_fd) {
    net->ops = ops;
    net->backend = backend;
    net->wake_fd = wake_fd;
    list_init(&net->flush);
    list_init(&net->reports);
    atomic_init(&net->wake_state, AWAKE);
}

struct net *net_create(const struct net_params *params, char *why, size_t why_len) {
    ASSERT(params->listen_fds_count <= NET_LISTENERS_MAX);
    unsigned buffers = params->buffers_count ? params->buffers_count : NET_BUFFERS_MAX;
    ASSERT(buffers <= NET_BUFFERS_MAX && (buffers & (buffers - 1)) == 0);
    struct net *net = NULL;
    if (params->backend != NET_EPOLL) {
        net = uring_create(buffers, why, why_len);
        if (!net && params->backend == NET_AUTO) {
            log_notice("io_uring is not available, using epoll: %s", why);
        }
    }
    if (!net && params->backend != NET_URING) {
        net = epoll_create_net(buffers, why, why_len);
    }
    if (!net) {
        return NULL;
    }
    net->soft_limit_bytes = params->soft_limit_bytes ? params->soft_limit_bytes : SIZE_MAX;
    net->listeners_count = params->listen_fds_count;
    for (unsigned i = 0; i < net->listeners_count; i++) {
        net->listen_fds[i] = params->listen_fds[i];
    }
    net->ops->accept_start(net);
    return net;
}

void net_destroy(struct net *net) {
    if (net) {
        net->ops->destroy(net);
    }
}

enum net_backend net_backend(const struct net *net) {
    return net->backend;
}

void net_add(struct net *net, struct conn *conn, int fd) {
    *conn = (struct conn){.fd = fd, .out = conn->out};
    list_init(&conn->flush);
    list_init(&conn->report);
    list_init(&conn->waiting);
    net->ops->add(net, conn);
}

void net_send(struct net *net, struct conn *conn) {
    /* While a send is in flight its completion looks for more output. */
    if (!conn->sending && !conn->closing && !conn->error) {
        net_queue_send(net, conn);
    }
}

static void flush_sends(struct net *net) {
    struct list later;
    list_init(&later);
    struct list *node;
    while ((node = list_pop_front(&net->flush))) {
        struct conn *conn = CONTAINER_OF(node, struct conn, flush);
        if (conn->out.len_bytes > net->soft_limit_bytes) {
            conn->send_state |= SEND_OVER_LIMIT;
        }
        conn->send_queued = false;
        if (conn->sending || conn->error) {
            continue;
        }
        if (conn->out.len_bytes == 0) {
            net_output_shrank(net, conn);
        } else if (UNLIKELY(!net->ops->send(net, conn))) {
            conn->send_queued = true;
            list_push_back(&later, &conn->flush);
        }
    }
    list_splice(&net->flush, &later);
}

void net_flush(struct net *net) {
    flush_sends(net);
    net->ops->submit(net);
}

void net_report_sent(struct net *net, struct conn *conn) {
    size_t len = conn->out.len_bytes;
    bool due = false;
    if ((conn->send_state & SEND_OVER_LIMIT) && len < net->soft_limit_bytes) {
        conn->send_state &= (uint8_t)~SEND_OVER_LIMIT;
        due = true;
    }
    if (len == 0 && ((conn->send_state & SEND_PARTIAL) || conn->notify_drained)) {
        conn->send_state &= (uint8_t)~SEND_PARTIAL;
        conn->notify_drained = false;
        due = true;
    }
    if (due && !conn->closing && !conn->error) {
        net_report(net, conn, REPORT_SENT);
    }
}

void net_pause_read(struct net *net, struct conn *conn) {
    if (!conn->read_paused && !conn->closing) {
        conn->read_paused = true;
        net->ops->pause_read(net, conn);
    }
}

void net_resume_read(struct net *net, struct conn *conn) {
    if (conn->read_paused && !conn->closing) {
        conn->read_paused = false;
        net->ops->resume_read(net, conn);
    }
}

void net_receive_into(struct net *net, struct conn *conn, char *at, size_t len) {
    if (!conn->closing) {
        conn->into = slice_of(at, len);
        if (len) {
            net->ops->receive_into(net, conn);
        }
    }
}

size_t net_queued_bytes(const struct conn *conn) {
    int bytes = 0;
    return ioctl(conn->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}

void net_close(struct net *net, struct conn *conn) {
    if (conn->closing) {
        return;
    }
    conn->closing = true;
    conn->send_queued = false;
    conn->reports = 0;
    list_remove(&conn->flush);
    list_remove(&conn->report);
    list_remove(&conn->waiting);
    net->ops->close(net, conn);
}

void net_conn_closed(struct net *net, struct conn *conn) {
    ASSERT(conn->closing && conn->pending_ops == 0 && conn->fd >= 0);
    chain_clear(&conn->out);
    close(conn->fd);
    conn->fd = -1;
    net_report(net, conn, REPORT_CLOSED);
}

void net_stop_accepting(struct net *net) {
    if (!net->accept_stopped) {
        net->accept_stopped = true;
        net->accept_retry_us = 0;
        net->ops->accept_stop(net);
    }
}

void net_accept_failed(struct net *net, int error) {
    if (error == ECONNABORTED || error == EPROTO || error == EPERM || error == EINTR ||
        error == EAGAIN || error == ECANCELED) {
        return; /* this one connection's failure, or ours to end it */
    }
    int64_t now_us = clock_mono_us();
    net->accept_retry_us = now_us + NET_ACCEPT_PAUSE_MS * 1000;
    if (net->accept_logged_us == 0 || now_us - net->accept_logged_us >= 1000 * 1000) {
        net->accept_logged_us = now_us;
        log_warning("Accepting a client connection failed: %s", strerror(error));
    }
}

/* Starts accepting again when it has rested long enough; returns the timeout cut to the rest. */
static int64_t accept_rest(struct net *net, int64_t timeout_us) {
    int64_t left_us = net->accept_retry_us - clock_mono_us();
    if (left_us <= 0) {
        net->accept_retry_us = 0;
        net->ops->accept_start(net);
        return timeout_us;
    }
    return timeout_us < 0 || timeout_us > left_us ? left_us : timeout_us;
}

static int take_reports(struct net *net, struct net_event *events, int max) {
    int count = 0;
    while (count < max && !list_empty(&net->reports)) {
        struct conn *conn = CONTAINER_OF(net->reports.next, struct conn, report);
        enum net_event_type type = NET_EVENT_CLOSED;
        unsigned report = REPORT_CLOSED;
        if (conn->reports & REPORT_SENT) {
            type = NET_EVENT_SENT;
            report = REPORT_SENT;
        } else if (conn->reports & REPORT_EOF) {
            type = NET_EVENT_EOF;
            report = REPORT_EOF;
        }
        net_event_fill(&events[count], type, conn)->error = type == NET_EVENT_EOF ? conn->error : 0;
        count++;
        conn->reports &= (uint8_t)~report;
        if (conn->reports == 0) {
            list_remove(&conn->report);
        }
    }
    return count;
}

int net_wait(struct net *net, struct net_event events[NET_EVENTS_MAX], int64_t timeout_us) {
    enum { ROOM = NET_EVENTS_MAX - 1 };
    flush_sends(net);
    if (UNLIKELY(net->accept_retry_us)) {
        timeout_us = accept_rest(net, timeout_us);
    }
    int count = 0;
    if (UNLIKELY(!list_empty(&net->reports))) {
        count = take_reports(net, events, ROOM / 2);
        timeout_us = 0;
    }
    unsigned awake = AWAKE;
    if (!list_empty(&net->flush) ||
        (timeout_us != 0 && !atomic_compare_exchange_strong(&net->wake_state, &awake, ASLEEP))) {
        timeout_us = 0;
    }
    count += net->ops->wait(net, events + count, ROOM - count, timeout_us);
    if (UNLIKELY(!list_empty(&net->reports))) {
        count += take_reports(net, events + count, ROOM - count);
    }
    if (UNLIKELY(atomic_exchange(&net->wake_state, AWAKE) & WAKE_PENDING)) {
        net_event_fill(&events[count++], NET_EVENT_WOKEN, NULL);
    }
    return count;
}

void net_event_done(struct net *net, struct net_event *event) {
    if (event->buffer != NET_NO_BUFFER) {
        net->ops->give_buffer(net, event->buffer);
        event->buffer = NET_NO_BUFFER;
        event->data = (struct slice){0};
    }
}

void net_wake(struct net *net) {
    if (atomic_fetch_or(&net->wake_state, WAKE_PENDING) == ASLEEP) {
        uint64_t one = 1;
        ssize_t written = write(net->wake_fd, &one, sizeof one);
        ASSERT(written == sizeof one);
    }
}
