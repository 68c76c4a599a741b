/* Mailboxes: every message of several posters arrives once and in its poster's order, and none is
 * left lying while the owner sleeps, on both backends. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "shard/mailbox.h"

enum { POSTERS = 3, MESSAGES = 20000, SLEEP_US = 10 * 1000 * 1000 };

struct poster {
    struct mailbox *mailbox;
    atomic_bool *answered; /* set: the poster waits for it after each message */
    int index;
    pthread_t thread;
};

static void *post(void *arg) {
    struct poster *p = arg;
    for (uint64_t i = 0; i < MESSAGES; i++) {
        mailbox_send(p->mailbox, MESSAGE_RESET, p->index, i, NULL);
        while (p->answered && !atomic_exchange(p->answered, false)) {
            sched_yield();
        }
    }
    return NULL;
}

/* The owner's loop, as the shard has it. A lost wake-up would cost SLEEP_US without an event. */
static void receive(enum net_backend backend, int posters_count, bool in_turn) {
    char why[256];
    struct net_params params = {.backend = backend};
    struct net *net = net_create(&params, why, sizeof why);
    if (!net) {
        skip(); /* io_uring is forbidden here */
    }
    struct mailbox mailbox;
    mailbox_init(&mailbox);
    atomic_store(&mailbox.net, net);
    atomic_bool answered = false;
    struct poster posters[POSTERS];
    uint64_t next[POSTERS] = {0}, total = 0;
    for (int i = 0; i < posters_count; i++) {
        posters[i] = (struct poster){
            .mailbox = &mailbox, .answered = in_turn ? &answered : NULL, .index = i};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post, &posters[i]), 0);
    }
    static struct net_event events[NET_EVENTS_MAX];
    while (total < (uint64_t)posters_count * MESSAGES) {
        bool sleeps = mailbox_may_sleep(&mailbox);
        int64_t began_us = clock_mono_us();
        net_wait(net, events, sleeps ? SLEEP_US : 0);
        assert_true(clock_mono_us() - began_us < SLEEP_US);
        mailbox_awake(&mailbox);
        struct message *m;
        while ((m = mailbox_take(&mailbox))) {
            assert_int_equal(m->session_id, next[m->fd]);
            next[m->fd]++;
            total++;
            mem_free(m);
            atomic_store(&answered, true);
        }
    }
    for (int i = 0; i < posters_count; i++) {
        pthread_join(posters[i].thread, NULL);
        assert_int_equal(next[i], MESSAGES);
    }
    assert_null(mailbox_take(&mailbox));
    net_destroy(net);
}

static void test_many_posters_epoll(void **state) {
    (void)state;
    receive(NET_EPOLL, POSTERS, false);
}

static void test_many_posters_uring(void **state) {
    (void)state;
    receive(NET_URING, POSTERS, false);
}

/* One message at a time: each meets an owner that is about to sleep. */
static void test_in_turn_epoll(void **state) {
    (void)state;
    receive(NET_EPOLL, 1, true);
}

static void test_in_turn_uring(void **state) {
    (void)state;
    receive(NET_URING, 1, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_posters_epoll),
        cmocka_unit_test(test_many_posters_uring),
        cmocka_unit_test(test_in_turn_epoll),
        cmocka_unit_test(test_in_turn_uring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
