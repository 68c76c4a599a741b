#ifndef FOREBAY_NET_NET_H
#define FOREBAY_NET_NET_H
/* The network side of one shard. All calls are the owning shard's thread's, but net_wake.
 *
 *   net_wait -> events { ACCEPTED fd | DATA conn bytes | SENT conn | CLOSED conn | WOKEN }
 *   replies appended to conn->out; net_send(conn) -> one send in flight -> SENT when drained
 *
 * Addresses and socket options live in listener.h. */
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"
#include "ds/chain.h"
#include "ds/list.h"

enum {
    NET_EVENTS_MAX = 256,           /* events a net_wait */
    NET_BUFFER_BYTES = 16 * 1024,   /* one receive buffer */
    NET_BUFFERS_COUNT = 128,        /* receive buffers a shard; a power of two */
    NET_IOV_MAX = 64,               /* chunks a send */
    NET_LISTENERS_MAX = 20,
};

enum net_backend { NET_AUTO, NET_URING, NET_EPOLL };

enum net_event_type {
    NET_EVENT_ACCEPTED, /* `fd` is a new connection's, now the caller's */
    NET_EVENT_DATA,     /* `data` came in on `conn` */
    NET_EVENT_SENT,     /* conn->out has run empty, or fell below net_params.soft_limit again */
    NET_EVENT_EOF,      /* the peer will send no more; or the connection failed (`error` is set) */
    NET_EVENT_CLOSED,   /* last event of `conn`: after net_close only; it may be freed now */
    NET_EVENT_WOKEN,    /* net_wake was called */
};

struct conn {
    int fd; /* -1 once closed */
    uint8_t backend_flags;
    bool closing;         /* net_close was called */
    bool read_paused;     /* net_pause_read was called */
    bool send_queued;     /* on net's flush list */
    bool sending;         /* a send is in flight */
    uint16_t pending_ops; /* io_uring operations the kernel still holds */
    struct chain out;     /* unsent replies; appended to by the owner */
    struct list flush;    /* node in net's flush list */
    void *backend_data;   /* a send's iovecs while it is in flight, backend's */
};

struct net_event {
    enum net_event_type type;
    int error;            /* errno, with EOF; 0 = orderly */
    int fd;               /* ACCEPTED */
    uint16_t listener;    /* ACCEPTED: index of the listener */
    uint16_t buffer;      /* DATA: backend's */
    struct conn *conn;    /* DATA, SENT, EOF, CLOSED */
    struct slice data;    /* DATA: valid until net_event_done */
};

struct net_params {
    enum net_backend backend;
    const int *listen_fds; /* bound and listening, non-blocking; borrowed, not closed by net */
    unsigned listen_fds_count;
    size_t soft_limit_bytes; /* SENT is reported when out.len_bytes falls below this */
};

struct net;

/* Sets up the backend; NET_AUTO tries io_uring and falls back to epoll. NULL on failure, with the
 * reason in `why` (`why_len` bytes). Must be called on the thread that will use it. */
struct net *net_create(const struct net_params *params, char *why, size_t why_len);
/* Connections must have been closed or are abandoned: the process is about to end. Takes NULL. */
void net_destroy(struct net *net);
/* NET_URING or NET_EPOLL: what runs. */
enum net_backend net_backend(const struct net *net);

/* Starts receiving on a non-blocking `fd`, owned by `conn` from here on. `conn->out` must be
 * initialised. */
void net_add(struct net *net, struct conn *conn, int fd);
/* Queues the connection's output for sending at the next net_wait or net_flush. Cheap, idempotent. */
void net_send(struct net *net, struct conn *conn);
/* Starts all queued sends now. net_wait does it by itself. */
void net_flush(struct net *net);
/* Back-pressure: no DATA for `conn` until net_resume_read. Data the kernel already delivered to the
 * backend may still come. */
void net_pause_read(struct net *net, struct conn *conn);
void net_resume_read(struct net *net, struct conn *conn);
/* Cancels what is in flight, drops unsent output, closes the fd and reports CLOSED from a later
 * net_wait. Idempotent. No other event of `conn` follows the call. */
void net_close(struct net *net, struct conn *conn);

/* Stops taking connections from the listeners, for a graceful stop, or for good. */
void net_stop_accepting(struct net *net);

/* Flushes sends, then waits for events until `timeout_us` (0: only look, negative: no limit) and
 * returns how many were written to `events` (at most NET_EVENTS_MAX). Events of one connection come
 * in order. A SENT or EOF for a connection on which net_close was called is not reported. */
int net_wait(struct net *net, struct net_event events[NET_EVENTS_MAX], int64_t timeout_us);
/* Gives a DATA event's buffer back; the slice is invalid from here. Harmless on other events. */
void net_event_done(struct net *net, struct net_event *event);

/* Makes a concurrent or the next net_wait return with WOKEN. Any thread. */
void net_wake(struct net *net);
#endif
