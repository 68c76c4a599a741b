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
    NET_EVENTS_MAX = 256,         /* events a net_wait */
    NET_BUFFER_BYTES = 16 * 1024, /* one receive buffer */
    NET_BUFFERS_MAX = 128,        /* receive buffers a shard; a power of two */
    NET_IOV_MAX = 64,             /* chunks a send */
    NET_LISTENERS_MAX = 20,
    NET_ACCEPT_PAUSE_MS = 100,    /* how long accepting rests when descriptors run out */
    NET_NO_BUFFER = UINT16_MAX,
};

enum net_backend { NET_AUTO, NET_URING, NET_EPOLL };

enum net_event_type {
    NET_EVENT_ACCEPTED, /* `fd`, non-blocking, is a new connection's, now the caller's */
    NET_EVENT_DATA,     /* `data` came in on `conn` */
    NET_EVENT_SENT,     /* output ran empty or is below the soft limit again; see below */
    NET_EVENT_EOF,      /* the peer will send no more; or the connection failed (`error` is set) */
    NET_EVENT_CLOSED,   /* last event of `conn`: after net_close only; it may be freed now */
    NET_EVENT_WOKEN,    /* net_wake was called */
};

/* SENT is not reported for output that the kernel took at once: nearly all of it. It is reported
 *
 *   - when out.len_bytes fell below soft_limit_bytes after it was above as a send began;
 *   - when out ran empty after the kernel had at some point not taken all that was offered;
 *   - once when out is empty and the owner set `notify_drained`, which is then cleared. net_send is
 *     to be called after setting it, even if there is nothing to send.
 *
 * Several of these at one time are one event.
 *
 * EOF with error 0 is reported at most once, and EOF with an error at most once and never before
 * one without. After an EOF no DATA follows. Output can still be sent after an EOF with error 0
 * (the peer may have closed one direction only); after one with an error net_send does nothing, and
 * net_close is all that is left. While reading is paused an EOF may be noticed only by a send, or
 * after net_resume_read. */

struct conn {
    int fd; /* -1 once closed */
    uint8_t backend_flags;
    uint8_t reports;      /* events to be reported, net's */
    bool closing;         /* net_close was called */
    bool read_paused;     /* net_pause_read was called */
    bool send_queued;     /* on net's flush list */
    bool sending;         /* a send is in flight */
    bool notify_drained;  /* set by the owner: report SENT when `out` is empty */
    uint8_t send_state;   /* what SENT is due for, net's */
    uint16_t pending_ops; /* io_uring operations the kernel still holds */
    int error;            /* errno the connection failed with; 0 while it did not */
    struct chain out;     /* unsent replies; appended to by the owner */
    struct list flush;    /* node in net's flush list */
    struct list report;   /* node in net's list of connections with `reports` */
    struct list waiting;  /* node in a list of the backend's: its receive is not armed */
    struct slice into;    /* where the owner wants what is received; empty: into a buffer */
    size_t send_bytes;    /* size of the send in flight */
};

struct net_event {
    enum net_event_type type;
    int error;         /* errno, with EOF; 0 = orderly */
    int fd;            /* ACCEPTED */
    uint16_t listener; /* ACCEPTED: index of the listener */
    uint16_t buffer;   /* DATA: backend's; NET_NO_BUFFER otherwise */
    struct conn *conn; /* DATA, SENT, EOF, CLOSED */
    struct slice data; /* DATA: valid until net_event_done, unless it is the owner's memory */
};

struct net_params {
    enum net_backend backend;
    const int *listen_fds; /* bound and listening, non-blocking; borrowed, not closed by net */
    unsigned listen_fds_count;
    unsigned buffers_count;  /* receive buffers: a power of two; 0 = NET_BUFFERS_MAX, the most */
    size_t soft_limit_bytes; /* SENT is reported when out.len_bytes falls below this; 0 = none */
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
 * initialised; everything else in `conn` is set here. */
void net_add(struct net *net, struct conn *conn, int fd);
/* Queues the connection's output for sending at the next net_wait or net_flush. Cheap,
 * idempotent. */
void net_send(struct net *net, struct conn *conn);
/* Starts all queued sends now. net_wait does it by itself. */
void net_flush(struct net *net);
/* Bytes that were sent and that the peer's side did not take yet: the kernel holds megabytes for a
 * TCP connection. A system call. 0 where it can't be known. */
size_t net_queued_bytes(const struct conn *conn);
/* Back-pressure: no DATA for `conn` until net_resume_read. Data the kernel already delivered to the
 * backend may still come. */
void net_pause_read(struct net *net, struct conn *conn);
void net_resume_read(struct net *net, struct conn *conn);
/* Between two DATA events, not while bytes wished for earlier may be on their way: what comes next
 * is received into these bytes if the backend can do so in time, and DATA's `data` are then the
 * first of them. They are the kernel's until the next DATA or CLOSED. `len` 0 takes the wish back.
 */
void net_receive_into(struct net *net, struct conn *conn, char *at, size_t len);
/* Cancels what is in flight, drops unsent output (at once, unless the kernel is just about to take
 * some of it), closes the fd and reports CLOSED from a later net_wait. Idempotent. No later
 * net_wait reports another event of `conn`; what already stands in the caller's array is to be
 * ignored, but for net_event_done. */
void net_close(struct net *net, struct conn *conn);

/* Stops taking connections from the listeners, for good. Those the kernel had accepted before are
 * still reported. The listeners may be closed after the next net_wait. */
void net_stop_accepting(struct net *net);

/* Flushes sends, then waits for events until `timeout_us` (0: only look, negative: no limit) and
 * returns how many were written to `events` (at most NET_EVENTS_MAX). It may return 0 before the
 * time is up. Events of one connection come in order. */
int net_wait(struct net *net, struct net_event events[NET_EVENTS_MAX], int64_t timeout_us);
/* Gives a DATA event's buffer back; the slice is invalid from here. Harmless on other events and
 * when repeated. The buffers are shared by all connections: one that is kept beyond the round is
 * taken from everybody, and without a free one nothing is received. */
void net_event_done(struct net *net, struct net_event *event);

/* Makes a concurrent or the next net_wait return with WOKEN; several calls may be reported as one.
 * What the caller wrote before is visible to the woken thread. Costs one atomic operation while the
 * shard is not asleep. Any thread, until net_destroy. */
void net_wake(struct net *net);
#endif
