#ifndef FOREBAY_NET_NET_BACKEND_H
#define FOREBAY_NET_NET_BACKEND_H
/* What net.c and the two backends share; nobody else includes it.
 *
 * net.c keeps the flush list and the list of reports (events that no completion carries), decides
 * when SENT is due, and sleeps and wakes. A backend receives, sends, accepts and closes.
 *
 * 1. A connection with `closing` set is on neither list, but for its CLOSED report.
 * 2. A backend calls net_conn_closed when the kernel holds nothing of the connection any more. */
#include <stdatomic.h>
#include "net/net.h"

enum {
    REPORT_SENT = 1,
    REPORT_EOF = 2,
    REPORT_CLOSED = 4,
};

enum {
    SEND_OVER_LIMIT = 1, /* out.len_bytes was above the soft limit when a send began */
    SEND_PARTIAL = 2,    /* the kernel did not take all at once */
};

struct net_ops {
    void (*destroy)(struct net *net);
    void (*add)(struct net *net, struct conn *conn);
    /* Sends conn->out, which is not empty; no send is in flight. False when there is no room for
     * more sends now: the connection is then offered again. */
    bool (*send)(struct net *net, struct conn *conn);
    /* Gives the sends since the last call to the kernel, where `send` did not. */
    void (*submit)(struct net *net);
    void (*pause_read)(struct net *net, struct conn *conn);
    void (*resume_read)(struct net *net, struct conn *conn);
    /* conn->into was set. */
    void (*receive_into)(struct net *net, struct conn *conn);
    /* Leads to net_conn_closed, now or from a later `wait`. */
    void (*close)(struct net *net, struct conn *conn);
    void (*accept_start)(struct net *net);
    void (*accept_stop)(struct net *net);
    /* Waits and fills up to `max` events, at least one of room. */
    int (*wait)(struct net *net, struct net_event *events, int max, int64_t timeout_us);
    void (*give_buffer)(struct net *net, uint16_t buffer);
};

/* The first member of a backend's own struct. */
struct net {
    const struct net_ops *ops;
    enum net_backend backend;
    int wake_fd; /* eventfd, watched edge-triggered by the backend and never read */
    size_t soft_limit_bytes;
    struct list flush, reports;
    atomic_uint wake_state;
    bool accept_stopped;     /* net_stop_accepting was called */
    int64_t accept_retry_us; /* accepting rests until then (monotonic); 0: it does not */
    int64_t accept_logged_us;
    unsigned listeners_count;
    int listen_fds[NET_LISTENERS_MAX];
};

struct net *uring_create(unsigned buffers_count, char *why, size_t why_len);
struct net *epoll_create_net(unsigned buffers_count, char *why, size_t why_len);

/* For a backend's `create`: what both have in common. */
void net_init(struct net *net, const struct net_ops *ops, enum net_backend backend, int wake_fd);

static inline void net_report(struct net *net, struct conn *conn, unsigned report) {
    conn->reports |= report;
    if (list_empty(&conn->report)) {
        list_push_back(&net->reports, &conn->report);
    }
}

static inline void net_queue_send(struct net *net, struct conn *conn) {
    if (!conn->send_queued) {
        conn->send_queued = true;
        list_push_back(&net->flush, &conn->flush);
    }
}

/* Some of `out` was consumed, or there is none: reports SENT if it is due. */
void net_report_sent(struct net *net, struct conn *conn);
static inline void net_output_shrank(struct net *net, struct conn *conn) {
    if (UNLIKELY(conn->send_state || conn->notify_drained)) {
        net_report_sent(net, conn);
    }
}

/* The connection failed with `error`. True the first time: EOF is then due. */
static inline bool net_fail(struct conn *conn, int error) {
    bool first = conn->error == 0;
    conn->error = first ? error : conn->error;
    return first;
}

/* Clears the output, closes the fd and reports CLOSED. */
void net_conn_closed(struct net *net, struct conn *conn);

/* Accepting failed with `error`: rests for a while if trying again at once can't help. */
void net_accept_failed(struct net *net, int error);
static inline bool net_accepting(const struct net *net) {
    return !net->accept_stopped && net->accept_retry_us == 0;
}

static inline struct net_event *net_event_fill(struct net_event *event, enum net_event_type type,
                                               struct conn *conn) {
    *event = (struct net_event){.type = type, .buffer = NET_NO_BUFFER, .conn = conn};
    return event;
}
#endif
