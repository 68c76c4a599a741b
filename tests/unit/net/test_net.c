/* Connections, on both backends: what comes in, goes out, ends. */
#include "harness.h"

#include <sys/resource.h>

static void echo_of_many_sizes(void **state) {
    enum { COUNT = 8, TOTAL = 1024 * 1024 };
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *clients[COUNT];
    struct rng rng = {.state = 1};
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = client_open(env, i % 2, i);
        clients[i]->echo = true;
    }
    bool done = false;
    for (int64_t until_us = clock_mono_us() + PATIENCE_US; !done;) {
        assert_true(clock_mono_us() < until_us);
        done = true;
        for (unsigned i = 0; i < COUNT; i++) {
            struct client *c = clients[i];
            size_t max = (size_t)1 << rng_below(&rng, 17);
            size_t len = 1 + rng_below(&rng, max);
            if (c->peer_sent < TOTAL) {
                peer_send(c, MIN(len, TOTAL - c->peer_sent));
            }
            if (rng_below(&rng, 3) != 0) {
                assert_true(peer_receive(c, 1 + rng_below(&rng, 64 * 1024)));
            }
            done = done && c->peer_received == TOTAL;
        }
        env_round(env, 0);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(clients[i]->received, TOTAL);
        assert_int_equal(clients[i]->errors + clients[i]->eofs, 0);
        client_free(env, clients[i]);
    }
    env_destroy(env);
}

static void half_close_still_gets_its_reply(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    for (int tcp = 0; tcp < 2; tcp++) {
        struct client *c = client_open(env, tcp, 3);
        for (int i = 0; i < 3; i++) {
            peer_send(c, 30 * 1000);
        }
        shutdown(c->peer, SHUT_WR);
        RUN_UNTIL(env, c->eofs);
        assert_int_equal(c->received, 90 * 1000);
        expect_rest(env);
        uint64_t at = 0;
        output_stream(c, &at, 100);
        c->conn.notify_drained = true;
        net_send(env->net, &c->conn);
        RUN_UNTIL(env, c->sents);
        RUN_UNTIL(env, (peer_receive(c, 1000), c->peer_received == 100));
        env_close(env, c);
        RUN_UNTIL(env, c->closed);
        assert_false(peer_receive(c, 1));
        assert_int_equal(c->errors, 0);
        client_free(env, c);
    }
    env_destroy(env);
}

/* Fills the connection until the kernel takes no more. */
static void get_stuck(struct env *env, struct client *c, uint64_t *at) {
    output_stream(c, at, 16 * 1024 * 1024);
    net_send(env->net, &c->conn);
    size_t before;
    do {
        before = c->conn.out.len_bytes;
        for (int i = 0; i < 10; i++) {
            env_round(env, 0);
        }
    } while (c->conn.out.len_bytes != before);
    assert_true(before > 1024 * 1024);
    assert_true(c->conn.sending);
    assert_int_equal(c->sents, 0);
}

static void reset_while_output_is_stuck(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    for (int paused = 0; paused < 2; paused++) {
        struct client *c = client_open(env, true, 1);
        uint64_t at = 0;
        get_stuck(env, c, &at);
        if (paused) {
            net_pause_read(env->net, &c->conn);
            env_round(env, 0);
        }
        peer_reset(c);
        RUN_UNTIL(env, c->errors);
        net_send(env->net, &c->conn);
        expect_rest(env);
        assert_int_equal(c->errors, 1);
        assert_int_equal(c->eofs, 0);
        client_free(env, c);
    }
    env_destroy(env);
}

static void send_after_the_peer_is_gone(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    for (int tcp = 0; tcp < 2; tcp++) {
        struct client *c = client_open(env, tcp, 1);
        peer_close(c);
        RUN_UNTIL(env, c->eofs);
        uint64_t at = 0;
        /* The first bytes to a closed TCP peer are taken, and answered by a reset. */
        RUN_UNTIL(env, (output_stream(c, &at, 10), net_send(env->net, &c->conn), c->errors));
        assert_int_equal(c->errors, 1);
        client_free(env, c);
    }
    env_destroy(env);
}

static void reset_when_idle(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *c = client_open(env, true, 1);
    env_round(env, 0);
    peer_reset(c);
    RUN_UNTIL(env, c->errors);
    expect_rest(env);
    client_free(env, c);
    env_destroy(env);
}

static void back_pressure(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *c = client_open(env, true, 5), *other = client_open(env, true, 6);
    other->echo = true;
    uint64_t at = 0;
    /* A small socket buffer: output shrinks in steps smaller than the soft limit. */
    int bytes = 32 * 1024;
    assert_int_equal(setsockopt(c->conn.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    get_stuck(env, c, &at);
    net_pause_read(env->net, &c->conn);
    env_round(env, 0);
    env_round(env, 0);
    unsigned datas = c->datas;
    peer_send(c, 5000);
    /* A round trip of another connection: by then the data would have come. */
    peer_send(other, 100);
    RUN_UNTIL(env, (peer_receive(other, 100), other->peer_received == 100));
    assert_int_equal(c->datas, datas);

    RUN_UNTIL(env, (peer_receive(c, 64 * 1024), c->sents));
    assert_in_range(c->conn.out.len_bytes, 1, SOFT_LIMIT - 1);
    net_resume_read(env->net, &c->conn);
    RUN_UNTIL(env, c->received == 5000);
    RUN_UNTIL(env, (peer_receive(c, 64 * 1024), c->sents == 2));
    assert_int_equal(c->conn.out.len_bytes, 0);
    RUN_UNTIL(env, (peer_receive(c, 64 * 1024), c->peer_received == at));
    expect_rest(env);
    client_free(env, c);
    client_free(env, other);
    env_destroy(env);
}

static void pause_and_resume_at_once(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *c = client_open(env, true, 5);
    for (unsigned i = 1; i <= 50; i++) {
        net_pause_read(env->net, &c->conn);
        if (i % 3 == 0) {
            env_round(env, 0);
        }
        if (i % 2) {
            peer_send(c, 100);
        }
        net_resume_read(env->net, &c->conn);
        if (i % 5 == 0) {
            net_pause_read(env->net, &c->conn);
            net_resume_read(env->net, &c->conn);
        }
        if (i % 2 == 0) {
            peer_send(c, 100);
        }
        RUN_UNTIL(env, c->received == i * 100);
    }
    client_free(env, c);
    env_destroy(env);
}

static void peer_ends_while_paused(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    for (int how = 0; how < 4; how++) {
        struct client *c = client_open(env, how % 2, 5);
        net_pause_read(env->net, &c->conn);
        RUN_UNTIL(env, env_round(env, 0) == 0);
        env_round(env, 0);
        if (how < 2) {
            peer_send(c, 100);
            peer_close(c);
        } else {
            peer_reset(c);
        }
        expect_rest(env);
        assert_int_equal(c->received, 0);
        net_resume_read(env->net, &c->conn);
        RUN_UNTIL(env, c->eofs + c->errors);
        assert_int_equal(c->received, how < 2 ? 100 : 0);
        expect_rest(env);
        client_free(env, c);
    }
    env_destroy(env);
}

static void many_large_replies_in_one_flush(void **state) {
    enum { COUNT = 300, BYTES = 40 * 1000 };
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *clients[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = client_open(env, false, i);
        uint64_t at = 0;
        output_stream(clients[i], &at, BYTES);
        net_send(env->net, &clients[i]->conn);
    }
    net_flush(env->net);
    for (unsigned i = 0; i < COUNT; i++) {
        struct client *c = clients[i];
        RUN_UNTIL(env, (peer_receive(c, 64 * 1024), c->peer_received == BYTES));
        client_free(env, c);
    }
    env_destroy(env);
}

static void sent_is_reported_only_when_due(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *c = client_open(env, true, 5);
    uint64_t at = 0;
    for (unsigned i = 0; i < 10; i++) {
        output_stream(c, &at, 1000);
        net_send(env->net, &c->conn);
        RUN_UNTIL(env, (peer_receive(c, 1000), c->peer_received == at));
    }
    RUN_UNTIL(env, c->conn.out.len_bytes == 0);
    assert_int_equal(c->sents, 0);

    output_stream(c, &at, 1000);
    c->conn.notify_drained = true;
    net_send(env->net, &c->conn);
    RUN_UNTIL(env, c->sents == 1);
    assert_false(c->conn.notify_drained);
    assert_int_equal(c->conn.out.len_bytes, 0);

    c->conn.notify_drained = true; /* nothing to send */
    net_send(env->net, &c->conn);
    RUN_UNTIL(env, c->sents == 2);
    expect_rest(env);
    client_free(env, c);
    env_destroy(env);
}

static void flush_sends_without_waiting(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *c = client_open(env, true, 5);
    uint64_t at = 0;
    output_stream(c, &at, 40 * 1000); /* several chunks */
    net_send(env->net, &c->conn);
    net_flush(env->net);
    output_stream(c, &at, 10); /* while it may be in flight */
    net_send(env->net, &c->conn);
    for (int64_t until_us = clock_mono_us() + PATIENCE_US; c->peer_received < 40 * 1000;) {
        assert_true(peer_receive(c, 64 * 1024));
        assert_true(clock_mono_us() < until_us);
    }
    RUN_UNTIL(env, (peer_receive(c, 100), c->peer_received == at));
    client_free(env, c);
    env_destroy(env);
}

static void many_connections(void **state) {
    enum { COUNT = 1500 }; /* more than a submission queue holds */
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2 * COUNT + 100) {
        print_message("the limit of descriptors is too low here\n");
        skip();
    }
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client **clients = mem_alloc(COUNT * sizeof *clients);
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = client_open(env, false, i);
        clients[i]->echo = true;
    }
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            assert_int_equal(peer_send(clients[i], 100), 100);
        }
        for (unsigned i = 0; i < COUNT; i++) {
            RUN_UNTIL(env,
                      (peer_receive(clients[i], 100), clients[i]->peer_received == round * 100));
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        peer_close(clients[i]);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        RUN_UNTIL(env, clients[i]->eofs || clients[i]->errors);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        env_close(env, clients[i]);
    }
    RUN_UNTIL(env, env->closeds == COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        client_free(env, clients[i]);
    }
    mem_free(clients);
    env_destroy(env);
}

static void count_release(void *arg) {
    ++*(unsigned *)arg;
}

static void close_during_a_send(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    for (int drop = 0; drop < 3; drop++) {
        struct client *c = client_open(env, true, 5);
        uint64_t at = 0;
        unsigned released = 0;
        char *big = mem_zalloc(8 * 1024 * 1024);
        if (drop == 0) {
            get_stuck(env, c, &at);
        }
        chain_append_pinned(&c->conn.out, slice_of(big, 8 * 1024 * 1024), 0, count_release,
                            &released);
        net_send(env->net, &c->conn);
        if (drop == 1) {
            net_flush(env->net);
        }
        env_close(env, c);
        RUN_UNTIL(env, c->closed);
        assert_int_equal(released, 1);
        expect_rest(env);
        mem_free(big);
        client_free(env, c);
    }
    env_destroy(env);
}

/* Many may be closed in one round for what they hold: it is free at once, not when the kernel has
 * told of all that others have sent before. */
static void output_of_the_closed_is_free_at_once(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    for (int tcp = 0; tcp < 2; tcp++) {
        struct client *c = client_open(env, tcp, 1);
        uint64_t at = 0;
        get_stuck(env, c, &at);
        env_close(env, c);
        assert_int_equal(c->conn.out.len_bytes, 0);
        RUN_UNTIL(env, c->closed);
        client_free(env, c);
        c = client_open(env, tcp, 2); /* the send was not even submitted */
        at = 0;
        output_stream(c, &at, 16 * 1024 * 1024);
        net_send(env->net, &c->conn);
        env_close(env, c);
        assert_int_equal(c->conn.out.len_bytes, 0);
        RUN_UNTIL(env, c->closed);
        client_free(env, c);
    }
    env_destroy(env);
}

static void many_chunks_leave_in_order(void **state) {
    enum { CHUNKS = NET_IOV_MAX * 6 + 5 };
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *c = client_open(env, true, 9);
    char *bytes = mem_alloc(CHUNKS * 100);
    stream_fill(9, 0, bytes, CHUNKS * 100);
    unsigned released = 0;
    for (unsigned i = 0; i < CHUNKS; i++) {
        chain_append_pinned(&c->conn.out, slice_of(bytes + (size_t)i * 100, 100), 0, count_release,
                            &released);
    }
    net_send(env->net, &c->conn);
    RUN_UNTIL(env, (peer_receive(c, 64 * 1024), c->peer_received == CHUNKS * 100));
    RUN_UNTIL(env, released == CHUNKS);
    mem_free(bytes);
    client_free(env, c);
    env_destroy(env);
}

static void few_buffers(void **state) {
    enum { COUNT = 60, BUFFERS = 8, ROUNDS = 20 };
    struct env *env = env_create_with(*(enum net_backend *)*state, NULL, 0, BUFFERS);
    struct client *clients[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = client_open(env, false, i);
        peer_send(clients[i], 10);
    }
    env->hold_buffers = true;
    RUN_UNTIL(env, env->held_count == BUFFERS);
    for (unsigned i = 0; i < ROUNDS; i++) {
        env_round(env, 0);
        assert_int_equal(env->held_count, BUFFERS);
    }
    env_release_held(env);
    env->hold_buffers = false;
    for (unsigned i = 0; i < COUNT; i++) {
        RUN_UNTIL(env, clients[i]->received == 10);
        client_free(env, clients[i]);
    }
    env_destroy(env);
}

static void buffers_run_out_and_come_back(void **state) {
    enum { COUNT = 300 };
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *clients[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = client_open(env, false, i);
        clients[i]->echo = true;
        peer_send(clients[i], 10);
    }
    env->hold_buffers = true;
    RUN_UNTIL(env, env->held_count == NET_BUFFERS_MAX);
    unsigned datas = 0;
    for (int i = 0; i < 5; i++) {
        env_round(env, 0);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        datas += clients[i]->datas;
    }
    assert_int_equal(datas, NET_BUFFERS_MAX);
    /* Those that wait for a buffer may be closed, paused, resumed. */
    for (unsigned i = 0; i < COUNT; i++) {
        if (i % 7 == 0) {
            env_close(env, clients[i]);
        } else if (i % 5 == 0) {
            net_pause_read(env->net, &clients[i]->conn);
        }
    }
    for (unsigned round = 2; round <= 10; round++) {
        env_release_held(env);
        env_round(env, 0);
    }
    env_release_held(env);
    env->hold_buffers = false;
    for (unsigned i = 0; i < COUNT; i++) {
        net_resume_read(env->net, &clients[i]->conn);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        struct client *c = clients[i];
        RUN_UNTIL(env, c->close_called || (peer_receive(c, 100), c->peer_received == 10));
        client_free(env, c);
        clients[i] = client_open(env, false, i);
        peer_send(clients[i], 10);
    }
    /* None was lost on the way. */
    env_round(env, 0);
    env->hold_buffers = true;
    for (unsigned i = 0; i < COUNT; i++) {
        peer_send(clients[i], 10);
    }
    RUN_UNTIL(env, env->held_count == NET_BUFFERS_MAX);
    env_release_held(env);
    env->hold_buffers = false;
    for (unsigned i = 0; i < COUNT; i++) {
        RUN_UNTIL(env, clients[i]->received == 20);
        client_free(env, clients[i]);
    }
    env_destroy(env);
}

/* What is received lies where it was wanted last, in order; a buffer's worth may come before. */
static void received_into_the_owners_memory(void **state) {
    enum { TOTAL = 8 * 1024 * 1024 };
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    for (int tcp = 0; tcp < 2; tcp++) {
        struct client *c = client_open(env, tcp, 5);
        c->into = mem_alloc(INTO_PLACES * INTO_BYTES);
        for (unsigned i = 0; c->received < TOTAL; i++) {
            if (c->peer_sent < TOTAL) {
                peer_send(c, 64 * 1024);
            }
            if (i % 50 == 10) {
                net_pause_read(env->net, &c->conn);
            } else if (i % 50 == 12) {
                net_resume_read(env->net, &c->conn);
            }
            env_round(env, 0);
        }
        assert_true(c->intos > 20);
        net_resume_read(env->net, &c->conn);
        for (unsigned i = 0; i < 30; i++) { /* idle between: each is waited for */
            uint64_t sent = c->peer_sent;
            peer_send(c, 100);
            RUN_UNTIL(env, c->received == sent + 100);
        }
        expect_rest(env);
        shutdown(c->peer, SHUT_WR);
        RUN_UNTIL(env, c->eofs);
        assert_int_equal(c->errors, 0);
        client_free(env, c);
    }
    env_destroy(env);
}

/* Closed, or the peer gone, while the kernel has the owner's memory. */
static void ends_while_receiving_into_the_owners_memory(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    for (int how = 0; how < 3; how++) {
        struct client *c = client_open(env, true, 6);
        c->into = mem_alloc(INTO_PLACES * INTO_BYTES);
        uint64_t sent = 0;
        do { /* until the last wish stands */
            sent += peer_send(c, 100);
            RUN_UNTIL(env, c->received == sent);
        } while (!c->place.len || !c->intos);
        env_round(env, 0);
        if (how == 0) {
            env_close(env, c);
            RUN_UNTIL(env, c->closed);
        } else if (how == 1) {
            peer_reset(c);
            RUN_UNTIL(env, c->errors);
        } else {
            peer_close(c);
            RUN_UNTIL(env, c->eofs);
        }
        client_free(env, c);
    }
    env_destroy(env);
}

/* Random operations on connections that come and go; the harness and ASan watch. */
static void churn(void **state) {
    enum { SLOTS = 40, STEPS = 20000 };
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *slots[SLOTS] = {NULL};
    struct rng rng = {.state = 7};
    for (unsigned step = 0; step < STEPS; step++) {
        struct client **slot = &slots[rng_below(&rng, SLOTS)], *c = *slot;
        unsigned what = rng_below(&rng, 100);
        if (!c) {
            if (what < 20) {
                *slot = client_open(env, what < 10, step);
                (*slot)->echo = true;
                (*slot)->into = what % 3 == 0 ? mem_alloc(INTO_PLACES * INTO_BYTES) : NULL;
            }
        } else if (c->closed) {
            client_free(env, c);
            *slot = NULL;
        } else if (what < 3) {
            env_close(env, c);
        } else if (what < 5 && c->peer >= 0) {
            peer_reset(c);
        } else if (what < 7 && c->peer >= 0) {
            peer_close(c);
        } else if (what < 15 && !c->close_called) {
            (what % 2 ? net_pause_read : net_resume_read)(env->net, &c->conn);
        } else if (what < 18 && !c->close_called) {
            char zero[1000] = {0};
            c->peer_received = 0;
            chain_append(&c->conn.out, zero, sizeof zero);
            c->echo = false;
            net_send(env->net, &c->conn);
        } else if (what < 60 && c->peer >= 0 && !c->close_called) {
            char buf[20000];
            size_t len = 1 + rng_below(&rng, what < 20 ? sizeof buf : 50);
            stream_fill(c->id, c->peer_sent, buf, len);
            ssize_t sent = send(c->peer, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
            c->peer_sent += sent > 0 ? (uint64_t)sent : 0;
        } else if (what < 70 && c->peer >= 0) {
            char buf[20000];
            (void)!recv(c->peer, buf, sizeof buf, MSG_DONTWAIT);
        } else {
            env_round(env, 0);
        }
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i]) {
            client_free(env, slots[i]);
        }
    }
    env_destroy(env);
}

static enum net_backend uring = NET_URING, epoll = NET_EPOLL;

#define BOTH(test)                                                                                 \
    {#test " (io_uring)", test, NULL, NULL, &uring}, {                                             \
#test " (epoll)", test, NULL, NULL, &epoll                                                 \
    }

int main(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    const struct CMUnitTest tests[] = {
        BOTH(echo_of_many_sizes),
        BOTH(half_close_still_gets_its_reply),
        BOTH(reset_while_output_is_stuck),
        BOTH(send_after_the_peer_is_gone),
        BOTH(reset_when_idle),
        BOTH(back_pressure),
        BOTH(pause_and_resume_at_once),
        BOTH(peer_ends_while_paused),
        BOTH(many_large_replies_in_one_flush),
        BOTH(sent_is_reported_only_when_due),
        BOTH(flush_sends_without_waiting),
        BOTH(many_connections),
        BOTH(close_during_a_send),
        BOTH(output_of_the_closed_is_free_at_once),
        BOTH(many_chunks_leave_in_order),
        BOTH(few_buffers),
        BOTH(buffers_run_out_and_come_back),
        BOTH(received_into_the_owners_memory),
        BOTH(ends_while_receiving_into_the_owners_memory),
        BOTH(churn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
