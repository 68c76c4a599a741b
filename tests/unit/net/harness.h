#ifndef FOREBAY_TEST_NET_HARNESS_H
#define FOREBAY_TEST_NET_HARNESS_H
/* A miniature shard for the tests of net: owns connections, keeps what came in, counts events, and
 * checks the promises of net.h on every event. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/listener.h"
#include "net/net.h"

enum { SOFT_LIMIT = 256 * 1024, CONNS_MAX = 1024, PATIENCE_US = 20 * 1000 * 1000 };
enum { INTO_PLACES = 3, INTO_BYTES = 50 * 1000 };

struct client {
    struct conn conn;
    int peer; /* our other end; -1 once closed */
    unsigned id;
    bool echo;
    uint64_t received; /* bytes */
    uint64_t peer_sent, peer_received;
    unsigned sents, eofs, errors, datas;
    bool close_called, closed;
    char *into;         /* INTO_PLACES places of INTO_BYTES, wanted in turn; NULL: none */
    struct slice place; /* the one that was asked for last */
    unsigned intos;     /* DATA that lay there */
};

struct env {
    enum net_backend backend;
    struct net *net;
    struct chunk_pool pool;
    bool hold_buffers;
    bool check_stream; /* DATA is the stream of the client's id */
    unsigned held_count, wokens, closeds;
    int accepted[CONNS_MAX];
    unsigned accepted_listener[CONNS_MAX];
    unsigned accepted_count;
    struct net_event held[NET_BUFFERS_MAX];
    struct net_event events[NET_EVENTS_MAX];
};

/* Byte `at` of the stream that client `id` sends. */
static inline char stream_byte(unsigned id, uint64_t at) {
    return (char)((at * 131 + (at >> 8) * 17 + (at >> 16) * 7 + id * 29) & 0xff);
}
static inline void stream_fill(unsigned id, uint64_t from, char *out, size_t len) {
    for (size_t i = 0; i < len; i++) {
        out[i] = stream_byte(id, from + i);
    }
}
static inline bool stream_matches(unsigned id, uint64_t from, const char *got, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (got[i] != stream_byte(id, from + i)) {
            return false;
        }
    }
    return true;
}

static inline struct env *env_create_with(enum net_backend backend, const int *fds, unsigned count,
                                          unsigned buffers) {
    struct env *env = mem_zalloc(sizeof *env);
    env->backend = backend;
    env->check_stream = true;
    struct net_params params = {.backend = backend,
                                .listen_fds = fds,
                                .listen_fds_count = count,
                                .buffers_count = buffers,
                                .soft_limit_bytes = SOFT_LIMIT};
    char why[200] = "";
    env->net = net_create(&params, why, sizeof why);
    if (!env->net && backend == NET_URING) {
        print_message("no io_uring here: %s\n", why);
        mem_free(env);
        skip();
    }
    assert_non_null(env->net);
    assert_int_equal(net_backend(env->net), backend);
    return env;
}

static inline struct env *env_create(enum net_backend backend, const int *fds, unsigned count) {
    return env_create_with(backend, fds, count, 0);
}

static inline void env_destroy(struct env *env) {
    net_destroy(env->net);
    chunk_pool_free(&env->pool);
    mem_free(env);
}

/* A wish after each DATA, but now and then none, or one that is taken back. */
static inline void wish_place(struct env *env, struct client *c) {
    c->place = (struct slice){0};
    if (c->into && c->datas % 7 != 0) {
        char *at = c->into + c->datas % INTO_PLACES * INTO_BYTES;
        memset(at, 0, INTO_BYTES);
        c->place = slice_of(at, INTO_BYTES - c->datas % 3);
        net_receive_into(env->net, &c->conn, at, c->place.len);
        if (c->datas % 7 == 3) {
            c->place = (struct slice){0};
            net_receive_into(env->net, &c->conn, NULL, 0);
        }
    }
}

static inline void on_data(struct env *env, struct client *c, struct net_event *event) {
    assert_false(c->closed);
    if (!c->close_called) {
        assert_int_equal(c->eofs + c->errors, 0);
        bool in_place = event->buffer == NET_NO_BUFFER;
        assert_int_equal(in_place, c->place.len && event->data.ptr == c->place.ptr);
        assert_true(event->data.len > 0 &&
                    event->data.len <= (in_place ? c->place.len : (size_t)NET_BUFFER_BYTES));
        c->intos += in_place;
        if (env->check_stream) {
            assert_true(stream_matches(c->id, c->received, event->data.ptr, event->data.len));
        }
        c->received += event->data.len;
        c->datas++;
        if (c->echo) {
            chain_append(&c->conn.out, event->data.ptr, event->data.len);
            net_send(env->net, &c->conn);
        }
        wish_place(env, c);
    }
    if (env->hold_buffers) {
        assert_true(env->held_count < NET_BUFFERS_MAX);
        env->held[env->held_count++] = *event;
    } else {
        net_event_done(env->net, event);
        net_event_done(env->net, event);
    }
}

static inline void env_release_held(struct env *env) {
    while (env->held_count) {
        net_event_done(env->net, &env->held[--env->held_count]);
    }
}

static inline void env_close(struct env *env, struct client *c) {
    c->close_called = true;
    net_close(env->net, &c->conn);
    net_close(env->net, &c->conn);
}

static inline void on_event(struct env *env, struct net_event *event) {
    struct client *c = event->conn ? CONTAINER_OF(event->conn, struct client, conn) : NULL;
    switch (event->type) {
    case NET_EVENT_ACCEPTED:
        assert_true(event->fd >= 0 && (fcntl(event->fd, F_GETFL) & O_NONBLOCK));
        env->accepted_listener[env->accepted_count] = event->listener;
        env->accepted[env->accepted_count++] = event->fd;
        break;
    case NET_EVENT_DATA:
        on_data(env, c, event);
        break;
    case NET_EVENT_SENT:
        assert_false(c->close_called);
        assert_true(c->conn.out.len_bytes < SOFT_LIMIT);
        c->sents++;
        break;
    case NET_EVENT_EOF:
        assert_false(c->close_called);
        *(event->error ? &c->errors : &c->eofs) += 1;
        assert_true(c->eofs <= 1 && c->errors <= 1);
        break;
    case NET_EVENT_CLOSED:
        assert_true(c->close_called && !c->closed);
        assert_int_equal(c->conn.fd, -1);
        assert_int_equal(c->conn.out.len_bytes, 0);
        c->closed = true;
        env->closeds++;
        break;
    case NET_EVENT_WOKEN:
        env->wokens++;
        break;
    }
    net_event_done(env->net, event->type == NET_EVENT_DATA
                                 ? &(struct net_event){.buffer = NET_NO_BUFFER}
                                 : event);
}

static inline int env_round(struct env *env, int64_t timeout_us) {
    int count = net_wait(env->net, env->events, timeout_us);
    assert_true(count >= 0 && count <= NET_EVENTS_MAX);
    for (int i = 0; i < count; i++) {
        on_event(env, &env->events[i]);
    }
    return count;
}

#define RUN_UNTIL(env, cond)                                                                       \
    for (int64_t until_ = clock_mono_us() + PATIENCE_US; !(cond);) {                               \
        env_round(env, 10 * 1000);                                                                 \
        assert_true(clock_mono_us() < until_);                                                     \
    }

/* Nothing more comes, and the wait sleeps: no readiness is reported over and over. */
static inline void expect_rest(struct env *env) {
    enum { WAIT_US = 5000 };
    int64_t waited_us = 0;
    for (int i = 0; i < 10 && waited_us < WAIT_US; i++) {
        int64_t start_us = clock_mono_us();
        assert_int_equal(env_round(env, WAIT_US), 0);
        waited_us = clock_mono_us() - start_us;
    }
    assert_true(waited_us >= WAIT_US);
}

static inline void tcp_pair(int pair[2]) {
    char why[100];
    int listener = listener_open_tcp("127.0.0.1", 0, 1, false, why, sizeof why);
    assert_true(listener >= 0);
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    pair[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(pair[1], (struct sockaddr *)&at, len), 0);
    pair[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(pair[0] >= 0);
    close(listener);
}

/* A connection whose other end, non-blocking, is ours. */
static inline struct client *client_open(struct env *env, bool tcp, unsigned id) {
    struct client *c = mem_zalloc(sizeof *c);
    int pair[2];
    if (tcp) {
        tcp_pair(pair);
    } else {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    }
    socket_prepare(pair[0], 0);
    socket_prepare(pair[1], 0);
    c->peer = pair[1];
    c->id = id;
    chain_init(&c->conn.out, &env->pool);
    net_add(env->net, &c->conn, pair[0]);
    return c;
}

static inline void client_free(struct env *env, struct client *c) {
    if (!c->close_called) {
        env_close(env, c);
    }
    RUN_UNTIL(env, c->closed);
    if (c->peer >= 0) {
        close(c->peer);
    }
    mem_free(c->into);
    mem_free(c);
}

/* The peer sends up to `len` more bytes of its stream; returns how many went. */
static inline size_t peer_send(struct client *c, size_t len) {
    char buf[64 * 1024];
    len = len < sizeof buf ? len : sizeof buf;
    stream_fill(c->id, c->peer_sent, buf, len);
    ssize_t sent = send(c->peer, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    assert_true(sent > 0 || errno == EAGAIN);
    sent = sent > 0 ? sent : 0;
    c->peer_sent += (uint64_t)sent;
    return (size_t)sent;
}

/* The peer takes up to `len` bytes and checks that they are the stream; false at the end. */
static inline bool peer_receive(struct client *c, size_t len) {
    char buf[64 * 1024];
    ssize_t got = recv(c->peer, buf, len < sizeof buf ? len : sizeof buf, MSG_DONTWAIT);
    if (got < 0) {
        assert_int_equal(errno, EAGAIN);
        return true;
    }
    assert_true(stream_matches(c->id, c->peer_received, buf, (size_t)got));
    c->peer_received += (uint64_t)got;
    return got > 0;
}

/* Appends `len` bytes of the stream, continued at `*from`, to the connection's output. */
static inline void output_stream(struct client *c, uint64_t *from, size_t len) {
    char buf[8192];
    while (len) {
        size_t step = len < sizeof buf ? len : sizeof buf;
        stream_fill(c->id, *from, buf, step);
        chain_append(&c->conn.out, buf, step);
        *from += step;
        len -= step;
    }
}

static inline void peer_reset(struct client *c) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(c->peer, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(c->peer);
    c->peer = -1;
}

static inline void peer_close(struct client *c) {
    close(c->peer);
    c->peer = -1;
}
#endif
