/* The io_uring backend: completions in, at most one io_uring_enter a round.
 *
 *   listeners   multishot accept
 *   eventfd     multishot poll (edge-triggered, never read)
 *   connection  multishot receive from a ring of provided buffers; one send at a time
 *               where the owner says into: one receive at a time, and one into a buffer after it
 *
 * A send that the kernel takes at once completes within the enter that submits it, which then does
 * not wait: a round may yield no event.
 *
 * One shard's thread; the ring is created by it (SINGLE_ISSUER).
 *
 * 1. conn->pending_ops counts the operations that will still complete with the connection's address
 *    in user_data. The connection is given up (net_conn_closed) only at zero.
 * 2. A multishot receive is armed at most once a connection (RECV_ARMED). It ends with a completion
 *    without IORING_CQE_F_MORE, whoever ended it; only then is it armed again, if it is to be, by
 *    the next wait: the owner has seen what came before and has said where the rest is to go.
 * 3. A cancellation holds no connection: it names a user_data, and is always submitted before the
 *    memory behind that address can belong to another connection.
 * 4. iovecs need to live until they are submitted only (IORING_FEAT_SUBMIT_STABLE).
 *
 * Limits: SQ_ENTRIES submissions between two enters (a full queue is submitted early), CQ_ENTRIES
 * completions before the kernel keeps them aside, the receive buffers of net_params. */
#include "net/net_backend.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    SQ_ENTRIES = 1024,
    CQ_ENTRIES = 8 * SQ_ENTRIES,
    SUBMIT_TRIES_MAX = 1000,
    IOV_ARENA = 2048, /* iovecs between two enters */
    MSG_ARENA = 256,  /* sends of several chunks between two enters */
    BUFFER_GROUP = 0,
    /* A stride off the power of two spreads the heads of the buffers, which is all that small
     * requests touch, over the sets of the processor's caches. */
    BUFFER_STRIDE = NET_BUFFER_BYTES + 192,
};

/* conn->backend_flags */
enum {
    RECV_ARMED = 1,
    RECV_CANCELLED = 2, /* its cancellation is on the way */
    RECV_ENDED = 4,     /* EOF or error: never to be armed again */
    RECV_SINGLE = 8,    /* the owner has had wishes: one at a time */
};

/* The low bits of user_data say what completed, the rest is a connection or a listener's index. */
enum op { OP_RECV, OP_SEND, OP_ACCEPT, OP_WAKE, OP_CANCEL, OP_MASK = 7 };

struct uring {
    struct net net;
    struct io_uring ring;
    struct io_uring_buf_ring *buf_ring;
    char *buffers;             /* BUFFER_STRIDE apart */
    unsigned buffers_count;
    unsigned buffers_out;      /* with the owner */
    unsigned buffers_returned; /* written to buf_ring, not yet published */
    struct list starved;       /* connections whose receive ended for want of a buffer */
    struct list ended;         /* for another reason */
    bool accept_armed[NET_LISTENERS_MAX];
    unsigned iov_used, msg_used;
    struct iovec iov[IOV_ARENA];
    struct msghdr msg[MSG_ARENA];
};

static struct uring *of_net(struct net *net) {
    return CONTAINER_OF(net, struct uring, net);
}

/* ---- submissions ---- */

static uint64_t pack(enum op op, const void *ptr) {
    return (uint64_t)(uintptr_t)ptr | op;
}
static uint64_t pack_index(enum op op, unsigned index) {
    return (uint64_t)index << 3 | op;
}
static enum op unpack_op(uint64_t user_data) {
    return (enum op)(user_data & OP_MASK);
}
static struct conn *unpack_conn(uint64_t user_data) {
    return (struct conn *)(uintptr_t)(user_data & ~(uint64_t)OP_MASK);
}
static unsigned unpack_index(uint64_t user_data) {
    return (unsigned)(user_data >> 3);
}
STATIC_ASSERT(_Alignof(struct conn) > OP_MASK, "user_data needs the low bits of a conn's address");

static void submit(struct uring *u) {
    if (io_uring_submit(&u->ring) >= 0 && io_uring_sq_ready(&u->ring) == 0) {
        u->iov_used = u->msg_used = 0;
    }
}

/* Never NULL. A full queue is submitted; the kernel refuses only for want of memory, or (before
 * Linux 5.19) while completions overflow, which fetching them helps against. */
static struct io_uring_sqe *get_sqe(struct uring *u) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    for (int i = 0; UNLIKELY(!sqe); i++) {
        ASSERT(i < SUBMIT_TRIES_MAX);
        submit(u);
        sqe = io_uring_get_sqe(&u->ring);
        if (!sqe) {
            io_uring_get_events(&u->ring);
        }
    }
    return sqe;
}

/* Behind what is for the owner's memory comes one buffer: then the owner may want more there. */
static void arm_recv(struct uring *u, struct conn *conn) {
    struct io_uring_sqe *sqe = get_sqe(u);
    if (UNLIKELY(conn->into.len)) {
        io_uring_prep_recv(sqe, conn->fd, (char *)conn->into.ptr, conn->into.len, 0);
    } else {
        if (UNLIKELY(conn->backend_flags & RECV_SINGLE)) {
            io_uring_prep_recv(sqe, conn->fd, NULL, NET_BUFFER_BYTES, 0);
            conn->backend_flags &= (uint8_t)~RECV_SINGLE;
        } else {
            io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
        }
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = BUFFER_GROUP;
    }
    io_uring_sqe_set_data64(sqe, pack(OP_RECV, conn));
    conn->backend_flags |= RECV_ARMED;
    conn->pending_ops++;
}

static void cancel(struct uring *u, uint64_t user_data) {
    struct io_uring_sqe *sqe = get_sqe(u);
    io_uring_prep_cancel64(sqe, user_data, 0);
    io_uring_sqe_set_data64(sqe, pack(OP_CANCEL, NULL));
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void cancel_recv(struct uring *u, struct conn *conn) {
    if ((conn->backend_flags & (RECV_ARMED | RECV_CANCELLED)) == RECV_ARMED) {
        conn->backend_flags |= RECV_CANCELLED;
        cancel(u, pack(OP_RECV, conn));
    }
}

static void arm_wake(struct uring *u) {
    struct io_uring_sqe *sqe = get_sqe(u);
    io_uring_prep_poll_multishot(sqe, u->net.wake_fd, POLLIN);
    io_uring_sqe_set_data64(sqe, pack(OP_WAKE, NULL));
}

static void uring_accept_start(struct net *net) {
    struct uring *u = of_net(net);
    for (unsigned i = 0; i < net->listeners_count; i++) {
        if (!u->accept_armed[i]) {
            struct io_uring_sqe *sqe = get_sqe(u);
            io_uring_prep_multishot_accept(sqe, net->listen_fds[i], NULL, NULL,
                                           SOCK_NONBLOCK | SOCK_CLOEXEC);
            io_uring_sqe_set_data64(sqe, pack_index(OP_ACCEPT, i));
            u->accept_armed[i] = true;
        }
    }
}

static void uring_accept_stop(struct net *net) {
    struct uring *u = of_net(net);
    for (unsigned i = 0; i < net->listeners_count; i++) {
        if (u->accept_armed[i]) {
            cancel(u, pack_index(OP_ACCEPT, i));
        }
    }
}

static bool uring_send(struct net *net, struct conn *conn) {
    struct uring *u = of_net(net);
    if (UNLIKELY(u->iov_used + NET_IOV_MAX > IOV_ARENA || u->msg_used == MSG_ARENA)) {
        submit(u);
        if (u->iov_used != 0) {
            return false;
        }
    }
    struct iovec *iov = &u->iov[u->iov_used];
    struct io_uring_sqe *sqe = get_sqe(u);
    int count = chain_iov(&conn->out, iov, NET_IOV_MAX);
    conn->send_bytes = 0;
    for (int i = 0; i < count; i++) {
        conn->send_bytes += iov[i].iov_len;
    }
    if (count == 1) {
        io_uring_prep_send(sqe, conn->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
    } else {
        struct msghdr *msg = &u->msg[u->msg_used++];
        *msg = (struct msghdr){.msg_iov = iov, .msg_iovlen = (size_t)count};
        u->iov_used += (unsigned)count;
        io_uring_prep_sendmsg(sqe, conn->fd, msg, MSG_NOSIGNAL);
    }
    io_uring_sqe_set_data64(sqe, pack(OP_SEND, conn));
    conn->sending = true;
    conn->pending_ops++;
    return true;
}

static void uring_submit(struct net *net) {
    submit(of_net(net));
}

/* ---- connections ---- */

static void maybe_closed(struct uring *u, struct conn *conn) {
    if (conn->pending_ops == 0) {
        net_conn_closed(&u->net, conn);
    }
}

static void uring_add(struct net *net, struct conn *conn) {
    arm_recv(of_net(net), conn);
}

static void uring_pause_read(struct net *net, struct conn *conn) {
    list_remove(&conn->waiting);
    cancel_recv(of_net(net), conn);
}

/* Where the receive is still armed its cancellation is on the way, and its end arms it again. */
static void uring_resume_read(struct net *net, struct conn *conn) {
    if (!(conn->backend_flags & (RECV_ARMED | RECV_ENDED))) {
        list_push_back(&of_net(net)->ended, &conn->waiting);
    }
}

static void uring_receive_into(struct net *net, struct conn *conn) {
    conn->backend_flags |= RECV_SINGLE;
    cancel_recv(of_net(net), conn);
}

/* True when the kernel is done with what it was to send. Its completion is still to come, behind
 * those of others, of which it hands out some at a time. */
static bool cancel_send_now(struct uring *u, struct conn *conn) {
    if (io_uring_sq_ready(&u->ring)) {
        submit(u);
    }
    struct io_uring_sync_cancel_reg reg = {.addr = pack(OP_SEND, conn), .fd = -1};
    return io_uring_register_sync_cancel(&u->ring, &reg) == 0;
}

static void uring_close(struct net *net, struct conn *conn) {
    struct uring *u = of_net(net);
    cancel_recv(u, conn);
    if (!conn->sending || cancel_send_now(u, conn)) {
        chain_clear(&conn->out);
    } else {
        cancel(u, pack(OP_SEND, conn));
    }
    maybe_closed(u, conn);
}

/* ---- receive buffers ---- */

static void add_buffer(struct uring *u, uint16_t buffer) {
    io_uring_buf_ring_add(u->buf_ring, u->buffers + (size_t)buffer * BUFFER_STRIDE,
                          NET_BUFFER_BYTES, buffer, io_uring_buf_ring_mask(u->buffers_count),
                          (int)u->buffers_returned++);
}

static void publish_buffers(struct uring *u) {
    if (u->buffers_returned) {
        io_uring_buf_ring_advance(u->buf_ring, (int)u->buffers_returned);
        u->buffers_returned = 0;
    }
}

static void uring_give_buffer(struct net *net, uint16_t buffer) {
    struct uring *u = of_net(net);
    ASSERT(buffer < u->buffers_count && u->buffers_out > 0);
    u->buffers_out--;
    add_buffer(u, buffer);
}

/* Lets connections receive again; of the starved as many as there are buffers: more would only fail
 * again. */
static void arm_waiting(struct uring *u) {
    unsigned free_count = u->buffers_count - u->buffers_out;
    struct list *node;
    while ((node = list_pop_front(&u->ended))) {
        arm_recv(u, CONTAINER_OF(node, struct conn, waiting));
    }
    while (free_count > 0 && (node = list_pop_front(&u->starved))) {
        arm_recv(u, CONTAINER_OF(node, struct conn, waiting));
        free_count--;
    }
}

/* ---- completions: each yields at most one event ---- */

static int recv_ended(struct uring *u, struct conn *conn, int res, struct net_event *event) {
    if (res == -ECANCELED || res == -EINTR || res == -EAGAIN || res == -ENOBUFS || res > 0) {
        if (conn->read_paused || conn->error) {
            return 0;
        }
        list_push_back(res == -ENOBUFS ? &u->starved : &u->ended, &conn->waiting);
        return 0;
    }
    conn->backend_flags |= RECV_ENDED;
    if (conn->error || (res < 0 && !net_fail(conn, -res))) {
        return 0; /* a send failed before and reported it */
    }
    net_event_fill(event, NET_EVENT_EOF, conn)->error = -res;
    return 1;
}

static int on_recv_into(struct conn *conn, size_t len, struct net_event *event) {
    if (conn->closing || conn->error) {
        return 0;
    }
    net_event_fill(event, NET_EVENT_DATA, conn)->data = slice_of(conn->into.ptr, len);
    conn->into = (struct slice){0};
    return 1;
}

static int on_recv(struct uring *u, struct conn *conn, const struct io_uring_cqe *cqe,
                   struct net_event *event) {
    int res = cqe->res, count = 0;
    if (LIKELY(res > 0 && (cqe->flags & IORING_CQE_F_BUFFER))) {
        uint16_t buffer = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        if (UNLIKELY(conn->closing || conn->error)) {
            add_buffer(u, buffer);
        } else {
            u->buffers_out++;
            net_event_fill(event, NET_EVENT_DATA, conn)->data =
                slice_of(u->buffers + (size_t)buffer * BUFFER_STRIDE, (size_t)res);
            event->buffer = buffer;
            count = 1;
        }
    } else if (res > 0) {
        count = on_recv_into(conn, (size_t)res, event);
    } else if (UNLIKELY(cqe->flags & IORING_CQE_F_BUFFER)) {
        add_buffer(u, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
    }
    if (LIKELY(cqe->flags & IORING_CQE_F_MORE)) {
        return count;
    }
    conn->backend_flags &= (uint8_t)~(RECV_ARMED | RECV_CANCELLED);
    conn->pending_ops--;
    if (conn->closing) {
        maybe_closed(u, conn);
        return count;
    }
    return recv_ended(u, conn, res, event) + count;
}

static void on_send(struct uring *u, struct conn *conn, int res) {
    conn->sending = false;
    conn->pending_ops--;
    if (UNLIKELY(conn->closing)) {
        maybe_closed(u, conn);
        return;
    }
    if (UNLIKELY(res < 0 && res != -EINTR && res != -EAGAIN)) {
        if (net_fail(conn, -res)) {
            net_report(&u->net, conn, REPORT_EOF);
        }
        return;
    }
    size_t sent = res < 0 ? 0 : (size_t)res;
    if (UNLIKELY(sent < conn->send_bytes)) {
        conn->send_state |= SEND_PARTIAL;
    }
    chain_consume(&conn->out, sent);
    if (conn->out.len_bytes > 0) {
        net_queue_send(&u->net, conn);
    }
    net_output_shrank(&u->net, conn);
}

static int on_accept(struct uring *u, unsigned listener, const struct io_uring_cqe *cqe,
                     struct net_event *event) {
    struct net *net = &u->net;
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        u->accept_armed[listener] = false;
        if (cqe->res < 0) {
            net_accept_failed(net, -cqe->res);
        }
        if (net_accepting(net)) {
            uring_accept_start(net);
        }
    }
    if (cqe->res < 0) {
        return 0;
    }
    net_event_fill(event, NET_EVENT_ACCEPTED, NULL);
    event->fd = cqe->res;
    event->listener = (uint16_t)listener;
    return 1;
}

static int on_completion(struct uring *u, const struct io_uring_cqe *cqe, struct net_event *event) {
    uint64_t user_data = io_uring_cqe_get_data64(cqe);
    switch (unpack_op(user_data)) {
    case OP_RECV:
        return on_recv(u, unpack_conn(user_data), cqe, event);
    case OP_SEND:
        on_send(u, unpack_conn(user_data), cqe->res);
        return 0;
    case OP_ACCEPT:
        return on_accept(u, unpack_index(user_data), cqe, event);
    case OP_WAKE:
        if (!(cqe->flags & IORING_CQE_F_MORE)) {
            arm_wake(u);
        }
        return 0;
    case OP_CANCEL:
    case OP_MASK:
        break;
    }
    return 0;
}

/* Submits and, if nothing has completed, waits. */
static void enter(struct uring *u, int64_t timeout_us) {
    int rc;
    if (timeout_us == 0) {
        rc = io_uring_submit_and_get_events(&u->ring);
    } else {
        struct __kernel_timespec ts = {.tv_sec = timeout_us / 1000000,
                                       .tv_nsec = timeout_us % 1000000 * 1000};
        struct io_uring_cqe *cqe;
        rc = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, timeout_us < 0 ? NULL : &ts, NULL);
    }
    /* EEXIST: another thread than the ring's. EBADR: completions were lost, and with them the
     * knowledge of what the kernel still holds. */
    ASSERT(rc != -EEXIST && rc != -EBADR);
    if (LIKELY(io_uring_sq_ready(&u->ring) == 0)) {
        u->iov_used = u->msg_used = 0;
    }
}

static int uring_wait(struct net *net, struct net_event *events, int max, int64_t timeout_us) {
    struct uring *u = of_net(net);
    publish_buffers(u);
    if (UNLIKELY(!list_empty(&u->ended) || !list_empty(&u->starved))) {
        arm_waiting(u);
    }
    enter(u, timeout_us);
    int count = 0;
    unsigned head, seen = 0;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&u->ring, head, cqe) {
        if (count == max) {
            break;
        }
        count += on_completion(u, cqe, events + count);
        seen++;
    }
    io_uring_cq_advance(&u->ring, seen);
    return count;
}

/* ---- setting up ---- */

static int init_ring(struct uring *u) {
    static const unsigned flag_sets[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
        0,
    };
    int rc = 0;
    for (unsigned i = 0; i < ARRAY_COUNT(flag_sets); i++) {
        struct io_uring_params params = {.flags = flag_sets[i] | IORING_SETUP_CLAMP |
                                                  IORING_SETUP_CQSIZE,
                                         .cq_entries = CQ_ENTRIES};
        rc = io_uring_queue_init_params(SQ_ENTRIES, &u->ring, &params);
        if (rc != -EINVAL) {
            break;
        }
    }
    return rc;
}

static int init_buffers(struct uring *u) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t ring_bytes = u->buffers_count * sizeof(struct io_uring_buf);
    u->buffers = mem_alloc_aligned(page, (size_t)u->buffers_count * BUFFER_STRIDE);
    u->buf_ring = mem_alloc_aligned(page, ring_bytes);
    memset(u->buf_ring, 0, ring_bytes);
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)u->buf_ring,
                                   .ring_entries = u->buffers_count,
                                   .bgid = BUFFER_GROUP};
    int rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
    if (rc == 0) {
        for (unsigned i = 0; i < u->buffers_count; i++) {
            add_buffer(u, (uint16_t)i);
        }
        publish_buffers(u);
    }
    return rc;
}

/* Multishot receive can only be tried: one byte through a socket pair. 0 or an errno, negative. */
static int probe_multishot(struct uring *u) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return -errno;
    }
    struct conn conn = {.fd = pair[0]};
    int rc = write(pair[1], "x", 1) == 1 ? 0 : -errno;
    close(pair[1]);
    arm_recv(u, &conn);
    bool received = false, more = rc == 0;
    while (more) {
        struct io_uring_cqe *cqe;
        rc = io_uring_submit_and_wait(&u->ring, 1);
        if (rc < 0 || (rc = io_uring_peek_cqe(&u->ring, &cqe)) < 0) {
            break;
        }
        more = cqe->flags & IORING_CQE_F_MORE;
        if (cqe->res > 0) {
            received = true;
            add_buffer(u, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT));
        }
        rc = cqe->res < 0 ? cqe->res : 0;
        io_uring_cqe_seen(&u->ring, cqe);
    }
    publish_buffers(u);
    close(pair[0]);
    return rc < 0 ? rc : received ? 0 : -ENOSYS;
}

static void uring_destroy(struct net *net) {
    struct uring *u = of_net(net);
    io_uring_queue_exit(&u->ring);
    if (net->wake_fd >= 0) {
        close(net->wake_fd);
    }
    mem_free(u->buffers);
    mem_free(u->buf_ring);
    mem_free(u);
}

static const struct net_ops uring_ops = {
    .destroy = uring_destroy,
    .add = uring_add,
    .send = uring_send,
    .submit = uring_submit,
    .pause_read = uring_pause_read,
    .resume_read = uring_resume_read,
    .receive_into = uring_receive_into,
    .close = uring_close,
    .accept_start = uring_accept_start,
    .accept_stop = uring_accept_stop,
    .wait = uring_wait,
    .give_buffer = uring_give_buffer,
};

struct net *uring_create(unsigned buffers_count, char *why, size_t why_len) {
    struct uring *u = mem_zalloc(sizeof *u);
    u->buffers_count = buffers_count;
    list_init(&u->starved);
    list_init(&u->ended);
    int rc = init_ring(u);
    if (rc < 0) {
        snprintf(why, why_len, "io_uring_setup: %s", strerror(-rc));
        mem_free(u);
        return NULL;
    }
    const char *step = "registering a buffer ring";
    rc = init_buffers(u);
    if (rc == 0) {
        step = "multishot receive";
        rc = probe_multishot(u);
    }
    int wake_fd = -1;
    if (rc == 0) {
        step = "eventfd";
        wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        rc = wake_fd < 0 ? -errno : 0;
    }
    net_init(&u->net, &uring_ops, NET_URING, wake_fd);
    if (rc < 0) {
        snprintf(why, why_len, "%s: %s", step, strerror(-rc));
        uring_destroy(&u->net);
        return NULL;
    }
    arm_wake(u);
    return &u->net;
}
