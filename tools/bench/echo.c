/* The ceiling: a server that does nothing but count bytes. For every --request-bytes received it
 * sends --reply-bytes (a RESP status or bulk string of that size), one thread, on epoll or on
 * io_uring. What a real server costs above it is what parsing, lookup and encoding cost.
 *
 *  1. A connection's replies leave in one send a round, from one prepared block of replies.
 *  2. A connection that owes replies the peer does not take is not read from.
 *
 * Limits: CONNECTIONS_MAX connections (by descriptor), CHUNK_BYTES received a read. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/assert.h"
#include "base/mem.h"

enum {
    CONNECTIONS_MAX = 8192,
    CHUNK_BYTES = 16 << 10,
    BLOCK_BYTES_MIN = 256 << 10, /* of prepared replies */
    EVENTS_MAX = 256,
    BACKLOG = 1024,
    RING_ENTRIES = 2 * CONNECTIONS_MAX,
    BUFFERS = 512,
};

struct connection {
    uint64_t received; /* bytes of a request that is not whole yet */
    uint64_t owed;     /* reply bytes still to send */
    uint64_t position; /* within the reply that goes out next */
    bool sending;      /* io_uring: a send is in flight; epoll: waits for room */
    bool receiving;    /* io_uring: a receive is armed */
};

struct echo {
    uint64_t request_bytes, reply_bytes;
    char *block;
    uint64_t block_bytes; /* whole replies, and one more behind them */
    int listener;
    struct connection connections[CONNECTIONS_MAX];
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    char *buffer_memory;
    char chunk[CHUNK_BYTES]; /* epoll: received bytes, never read */
};

static void die(const char *what) {
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* "+OK\r\n" and other short ones as a status, else a bulk string that is `len` bytes in all. */
static void fill_reply(char *out, uint64_t len) {
    memset(out, 'x', len);
    char head[32];
    for (uint64_t body = len > 26 ? len - 26 : 0; body < len; body++) {
        int head_len = snprintf(head, sizeof(head), "$%llu\r\n", (unsigned long long)body);
        if ((uint64_t)head_len + body + 2 == len && body > 0) {
            memcpy(out, head, (size_t)head_len);
            memcpy(out + len - 2, "\r\n", 2);
            return;
        }
    }
    memcpy(out, "+OK", MIN(len, 3u));
    if (len >= 5) {
        memcpy(out + len - 2, "\r\n", 2);
    }
}

static void fill_block(struct echo *e) {
    uint64_t count = BLOCK_BYTES_MIN / e->reply_bytes + 1;
    e->block_bytes = count * e->reply_bytes;
    e->block = mem_alloc(e->block_bytes + e->reply_bytes);
    for (uint64_t i = 0; i <= count; i++) {
        fill_reply(e->block + i * e->reply_bytes, e->reply_bytes);
    }
}

static void count_received(const struct echo *e, struct connection *c, uint64_t len) {
    c->received += len;
    c->owed += c->received / e->request_bytes * e->reply_bytes;
    c->received %= e->request_bytes;
}

/* The part of what is owed that lies in one piece in the block. */
static uint64_t piece(const struct echo *e, const struct connection *c, const char **out) {
    *out = e->block + c->position;
    return MIN(c->owed, e->block_bytes);
}

static void count_sent(const struct echo *e, struct connection *c, uint64_t len) {
    c->owed -= len;
    c->position = (c->position + len) % e->reply_bytes;
}

static void listen_on(struct echo *e, uint16_t port) {
    e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(e->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(e->listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* inherited */
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    if (bind(e->listener, (struct sockaddr *)&address, len) < 0 ||
        listen(e->listener, BACKLOG) < 0 ||
        getsockname(e->listener, (struct sockaddr *)&address, &len) < 0) {
        die("listen");
    }
    printf("port %u\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* --- epoll --- */

static void epoll_set(int epoll_fd, int op, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll_fd, op, fd, &event) < 0) {
        die("epoll_ctl");
    }
}

static void epoll_accept(struct echo *e, int epoll_fd) {
    int fd = accept4(e->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (fd >= CONNECTIONS_MAX) {
        close(fd);
        return;
    }
    e->connections[fd] = (struct connection){0};
    epoll_set(epoll_fd, EPOLL_CTL_ADD, fd, EPOLLIN);
}

/* Sends what is owed; false when the connection broke. */
static bool epoll_send(struct echo *e, int epoll_fd, int fd) {
    struct connection *c = &e->connections[fd];
    while (c->owed > 0) {
        const char *bytes;
        uint64_t len = piece(e, c, &bytes);
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            return false;
        }
        if (sent < 0) {
            if (!c->sending) {
                epoll_set(epoll_fd, EPOLL_CTL_MOD, fd, EPOLLOUT);
            }
            c->sending = true;
            return true;
        }
        count_sent(e, c, (uint64_t)sent);
    }
    if (c->sending) {
        c->sending = false;
        epoll_set(epoll_fd, EPOLL_CTL_MOD, fd, EPOLLIN);
    }
    return true;
}

static void epoll_handle(struct echo *e, int epoll_fd, int fd, uint32_t events) {
    bool alive = true;
    if (events & EPOLLOUT) {
        alive = epoll_send(e, epoll_fd, fd);
    } else {
        ssize_t len = recv(fd, e->chunk, sizeof(e->chunk), 0);
        if (len > 0) {
            count_received(e, &e->connections[fd], (uint64_t)len);
            alive = epoll_send(e, epoll_fd, fd);
        } else {
            alive = len < 0 && errno == EAGAIN;
        }
    }
    if (!alive) {
        close(fd);
    }
}

static void serve_epoll(struct echo *e) {
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_set(epoll_fd, EPOLL_CTL_ADD, e->listener, EPOLLIN);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR) {
            die("epoll_wait");
        }
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == e->listener) {
                epoll_accept(e, epoll_fd);
            } else {
                epoll_handle(e, epoll_fd, events[i].data.fd, events[i].events);
            }
        }
    }
}

/* --- io_uring --- */

enum tag { TAG_ACCEPT, TAG_RECV, TAG_SEND, TAG_BITS = 2 };

static struct io_uring_sqe *get_sqe(struct echo *e) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);
    ASSERT(sqe); /* sized for a send and a receive a connection */
    return sqe;
}

static void uring_arm_accept(struct echo *e) {
    struct io_uring_sqe *sqe = get_sqe(e);
    io_uring_prep_multishot_accept(sqe, e->listener, NULL, NULL, SOCK_CLOEXEC);
    sqe->user_data = TAG_ACCEPT;
}

static void uring_arm_recv(struct echo *e, int fd) {
    struct io_uring_sqe *sqe = get_sqe(e);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->user_data = (uint64_t)fd << TAG_BITS | TAG_RECV;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    e->connections[fd].receiving = true;
}

static void uring_send(struct echo *e, int fd) {
    struct connection *c = &e->connections[fd];
    if (c->sending || c->owed == 0) {
        return;
    }
    const char *bytes;
    uint64_t len = piece(e, c, &bytes);
    struct io_uring_sqe *sqe = get_sqe(e);
    io_uring_prep_send(sqe, fd, bytes, len, MSG_NOSIGNAL);
    sqe->user_data = (uint64_t)fd << TAG_BITS | TAG_SEND;
    c->sending = true;
}

/* Closed once nothing is in flight that names the descriptor. */
static void uring_close(struct echo *e, int fd) {
    struct connection *c = &e->connections[fd];
    c->owed = 0;
    if (c->sending || c->receiving) {
        shutdown(fd, SHUT_RDWR);
    } else {
        close(fd);
    }
}

static void give_buffer(struct echo *e, uint32_t id) {
    io_uring_buf_ring_add(e->buffers, e->buffer_memory + (size_t)id * CHUNK_BYTES, CHUNK_BYTES,
                          (unsigned short)id, io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(e->buffers, 1);
}

static void uring_on_recv(struct echo *e, int fd, const struct io_uring_cqe *cqe) {
    struct connection *c = &e->connections[fd];
    c->receiving = (cqe->flags & IORING_CQE_F_MORE) != 0;
    if (cqe->res > 0) {
        give_buffer(e, cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        count_received(e, c, (uint64_t)cqe->res);
        uring_send(e, fd);
    } else if (cqe->res != -ENOBUFS) {
        uring_close(e, fd);
        return;
    }
    if (!c->receiving) {
        uring_arm_recv(e, fd);
    }
}

static void uring_on_send(struct echo *e, int fd, int result) {
    struct connection *c = &e->connections[fd];
    c->sending = false;
    if (result < 0 || !c->receiving) {
        uring_close(e, fd);
        return;
    }
    count_sent(e, c, (uint64_t)result);
    uring_send(e, fd);
}

static void uring_on_accept(struct echo *e, const struct io_uring_cqe *cqe) {
    if (cqe->res >= CONNECTIONS_MAX) {
        close(cqe->res);
    } else if (cqe->res >= 0) {
        e->connections[cqe->res] = (struct connection){0};
        uring_arm_recv(e, cqe->res);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        uring_arm_accept(e);
    }
}

static void uring_setup(struct echo *e) {
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    int code = io_uring_queue_init_params(RING_ENTRIES, &e->ring, &params);
    size_t bytes = BUFFERS * sizeof(struct io_uring_buf);
    e->buffers = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)e->buffers, .ring_entries = BUFFERS};
    if (code == 0 && e->buffers != MAP_FAILED) {
        code = io_uring_register_buf_ring(&e->ring, &reg, 0);
    }
    if (code < 0 || e->buffers == MAP_FAILED) {
        errno = -code;
        die("io_uring");
    }
    io_uring_buf_ring_init(e->buffers);
    e->buffer_memory = mem_alloc((size_t)BUFFERS * CHUNK_BYTES);
    for (uint32_t id = 0; id < BUFFERS; id++) {
        give_buffer(e, id);
    }
}

static void serve_uring(struct echo *e) {
    uring_setup(e);
    uring_arm_accept(e);
    for (;;) {
        int code = io_uring_submit_and_wait(&e->ring, 1);
        if (code < 0 && code != -EINTR) {
            errno = -code;
            die("io_uring_enter");
        }
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;
        io_uring_for_each_cqe(&e->ring, head, cqe) {
            int fd = (int)(cqe->user_data >> TAG_BITS);
            switch ((enum tag)(cqe->user_data & ((1 << TAG_BITS) - 1))) {
            case TAG_ACCEPT:
                uring_on_accept(e, cqe);
                break;
            case TAG_RECV:
                uring_on_recv(e, fd, cqe);
                break;
            default:
                uring_on_send(e, fd, cqe->res);
            }
            count++;
        }
        io_uring_cq_advance(&e->ring, count);
    }
}

int main(int argc, char **argv) {
    struct echo *e = mem_zalloc(sizeof(*e));
    bool uring = false;
    uint16_t port = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--mode") == 0) {
            uring = strcmp(argv[i + 1], "uring") == 0;
        } else if (strcmp(argv[i], "--port") == 0) {
            port = (uint16_t)atoi(argv[i + 1]);
        } else if (strcmp(argv[i], "--request-bytes") == 0) {
            e->request_bytes = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--reply-bytes") == 0) {
            e->reply_bytes = strtoull(argv[i + 1], NULL, 10);
        }
    }
    if (e->request_bytes == 0 || e->reply_bytes == 0 || argc % 2 == 0) {
        fprintf(stderr, "echo --mode epoll|uring --port N --request-bytes N --reply-bytes N\n");
        return 2;
    }
    fill_block(e);
    listen_on(e, port);
    if (uring) {
        serve_uring(e);
    } else {
        serve_epoll(e);
    }
}
