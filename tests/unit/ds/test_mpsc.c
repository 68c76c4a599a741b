#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/mem.h"
#include "ds/mpsc.h"

enum { PRODUCERS = 4, MESSAGES = 20000 };

struct message {
    struct mpsc_node node;
    unsigned producer, number;
};

static void test_order_of_one_producer(void **state) {
    struct mpsc q;
    struct message m[5] = {{.number = 0}};
    mpsc_init(&q);
    for (int round = 0; round < 3; round++) {
        assert_true(mpsc_empty(&q));
        assert_null(mpsc_pop(&q));
        for (int i = 0; i < 5; i++) {
            mpsc_push(&q, &m[i].node);
            assert_false(mpsc_empty(&q));
        }
        for (int i = 0; i < 5; i++) {
            assert_false(mpsc_empty(&q));
            assert_ptr_equal(mpsc_pop(&q), &m[i].node);
        }
    }
    assert_null(mpsc_pop(&q));
    assert_true(mpsc_empty(&q));
}

static void test_pushes_between_pops(void **state) {
    struct mpsc q;
    struct message m[100] = {{.number = 0}};
    size_t pushed = 0, popped = 0;
    mpsc_init(&q);
    while (popped < ARRAY_COUNT(m)) {
        for (size_t i = 0; i <= popped % 3 && pushed < ARRAY_COUNT(m); i++) {
            mpsc_push(&q, &m[pushed++].node);
        }
        assert_ptr_equal(mpsc_pop(&q), &m[popped++].node);
    }
    assert_true(mpsc_empty(&q));
}

/* A producer stopped between its exchange and its link: what is behind is not seen yet, the queue
 * is not empty, and nothing is lost once the link is there. */
static void test_half_done_push(void **state) {
    struct mpsc q;
    struct message m[3] = {{.number = 0}};
    mpsc_init(&q);
    mpsc_push(&q, &m[0].node);
    struct mpsc_node *prev = atomic_exchange(&q.head, &m[1].node);
    mpsc_push(&q, &m[2].node);
    for (int i = 0; i < 3; i++) {
        assert_null(mpsc_pop(&q)); /* m[0] cannot leave: its successor is not known */
    }
    assert_false(mpsc_empty(&q));
    atomic_store(&prev->next, &m[1].node);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(mpsc_pop(&q), &m[i].node);
    }
    assert_null(mpsc_pop(&q));
    assert_true(mpsc_empty(&q));
}

struct producer {
    struct mpsc *q;
    pthread_t thread;
    unsigned id;
};

static void *produce(void *arg) {
    struct producer *p = arg;
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct message *m = mem_zalloc(sizeof *m);
        m->producer = p->id;
        m->number = i;
        mpsc_push(p->q, &m->node);
    }
    return NULL;
}

static void test_threads(void **state) {
    struct mpsc q;
    struct producer producers[PRODUCERS];
    unsigned next[PRODUCERS] = {0};
    mpsc_init(&q);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.q = &q, .id = i};
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    for (unsigned count = 0; count < PRODUCERS * MESSAGES;) {
        struct mpsc_node *node = mpsc_pop(&q);
        if (!node) {
            sched_yield();
            continue;
        }
        struct message *m = CONTAINER_OF(node, struct message, node);
        assert_int_equal(m->number, next[m->producer]++); /* in order, none lost, none twice */
        mem_free(m);
        count++;
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i].thread, NULL);
    }
    assert_null(mpsc_pop(&q));
    assert_true(mpsc_empty(&q));
}

struct sleeper {
    struct mpsc q;
    struct message message;
    atomic_bool asleep, woken;
};

static void *push_and_wake(void *arg) {
    struct sleeper *s = arg;
    mpsc_push(&s->q, &s->message.node);
    if (atomic_exchange(&s->asleep, false)) {
        atomic_store(&s->woken, true);
    }
    return NULL;
}

/* The way a shard goes to sleep: flag, then look once more. Either it sees the message or it is
 * woken. */
static void test_no_wakeup_is_lost(void **state) {
    for (int i = 0; i < 300; i++) {
        struct sleeper s = {.asleep = false};
        pthread_t thread;
        mpsc_init(&s.q);
        assert_int_equal(pthread_create(&thread, NULL, push_and_wake, &s), 0);
        atomic_store(&s.asleep, true);
        bool saw = !mpsc_empty(&s.q);
        pthread_join(thread, NULL);
        assert_true(saw || atomic_load(&s.woken));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_one_producer), cmocka_unit_test(test_pushes_between_pops),
        cmocka_unit_test(test_half_done_push),        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_wakeup_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
