/* The share for rows that commands wait for: who is let in, in which order, and who is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "shard/session.h"

enum { SHARDS = 2, SESSIONS = 5, SHARE = 1000, MAXMEMORY = SHARE * SHARE_DIVISOR };

struct fixture {
    struct settings settings;
    struct shard_group group;
    struct shard *shards[SHARDS];
    struct session *sessions[SESSIONS]; /* of both shards by turns */
};

static int set_up(void **state) {
    struct fixture *f = mem_zalloc(sizeof *f);
    f->settings.keyspace.maxmemory_bytes = MAXMEMORY;
    pthread_mutex_init(&f->group.share_mutex, NULL);
    list_init(&f->group.share_queue);
    for (int i = 0; i < SHARDS; i++) {
        f->shards[i] = mem_zalloc(sizeof *f->shards[i]);
        f->shards[i]->group = &f->group;
        f->shards[i]->env.settings = &f->settings;
        mailbox_init(&f->shards[i]->mailbox);
    }
    for (int i = 0; i < SESSIONS; i++) {
        f->sessions[i] = mem_zalloc(sizeof *f->sessions[i]);
        f->sessions[i]->shard = f->shards[i % SHARDS];
        f->sessions[i]->client.id = (uint64_t)i;
        list_init(&f->sessions[i]->share_node);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < SESSIONS; i++) {
        share_give_back(f->sessions[i]);
        mem_free(f->sessions[i]);
    }
    assert_int_equal(f->group.share_bytes, 0);
    assert_int_equal(f->group.share_waiting, 0);
    assert_true(list_empty(&f->group.share_queue));
    for (int i = 0; i < SHARDS; i++) {
        struct message *m;
        while ((m = mailbox_take(&f->shards[i]->mailbox))) {
            mem_free(m);
        }
        mem_free(f->shards[i]);
    }
    pthread_mutex_destroy(&f->group.share_mutex);
    mem_free(f);
    return 0;
}

/* Session `i` was told that it is in, and nobody else of its shard. */
static void assert_told(struct fixture *f, int i) {
    struct message *m = mailbox_take(&f->shards[i % SHARDS]->mailbox);
    assert_non_null(m);
    assert_int_equal(m->type, MESSAGE_SHARE);
    assert_int_equal(m->session_id, i);
    mem_free(m);
    assert_null(mailbox_take(&f->shards[i % SHARDS]->mailbox));
    assert_true(share_has(f->sessions[i]));
}

static void assert_none_told(struct fixture *f) {
    for (int i = 0; i < SHARDS; i++) {
        assert_null(mailbox_take(&f->shards[i]->mailbox));
    }
}

static void test_as_many_as_fit(void **state) {
    struct fixture *f = *state;
    struct session **s = f->sessions;
    assert_true(share_take(s[0], SHARE / 2, false));
    assert_true(share_take(s[1], SHARE / 2, false));
    assert_false(share_take(s[2], SHARE, false));
    assert_false(share_take(s[3], 1, false)); /* fits no more, and came later */
    assert_int_equal(f->group.share_waiting, 2);
    share_give_back(s[0]);
    assert_none_told(f);
    share_give_back(s[1]);
    assert_told(f, 2);
    assert_none_told(f);
    share_give_back(s[2]);
    assert_told(f, 3);
}

static void test_one_whatever_it_takes(void **state) {
    struct fixture *f = *state;
    struct session **s = f->sessions;
    assert_true(share_take(s[0], UINT64_MAX / 2, false));
    assert_false(share_take(s[1], 0, false));
    assert_false(share_take(s[2], UINT64_MAX / 2, false));
    share_give_back(s[0]);
    assert_told(f, 1);
    assert_none_told(f);
    share_give_back(s[1]);
    assert_told(f, 2);
}

static void test_who_is_in_takes_more(void **state) {
    struct fixture *f = *state;
    struct session **s = f->sessions;
    assert_true(share_take(s[0], SHARE / 2, false));
    assert_true(share_take(s[1], SHARE / 4, false));
    assert_true(share_take(s[0], SHARE, false));
    assert_true(share_take(s[0], 1, false)); /* nothing is given back before the end */
    assert_false(share_is_alone(s[0])); /* the other was in before */
    assert_false(share_take(s[2], SHARE / 4, false));
    share_give_back(s[1]);
    assert_none_told(f);
    assert_true(share_is_alone(s[0]));
    share_give_back(s[0]);
    assert_told(f, 2);
    assert_false(share_is_alone(s[2])); /* others may come */
}

static void test_who_begins_again_comes_first(void **state) {
    struct fixture *f = *state;
    struct session **s = f->sessions;
    assert_true(share_take(s[0], 1, false));
    assert_true(share_take(s[1], 1, false));
    assert_false(share_take(s[2], SHARE, false));
    share_give_back(s[1]);
    assert_false(share_take(s[1], SHARE, true));
    share_give_back(s[0]);
    assert_told(f, 1);
    assert_none_told(f);
    share_give_back(s[1]);
    assert_told(f, 2);
}

static void test_who_leaves_the_queue(void **state) {
    struct fixture *f = *state;
    struct session **s = f->sessions;
    assert_true(share_take(s[0], SHARE / 2, false));
    assert_false(share_take(s[1], SHARE, false));
    assert_false(share_take(s[2], SHARE / 2, false));
    share_give_back(s[1]); /* the one behind it fits */
    assert_false(share_has(s[1]));
    assert_told(f, 2);
    share_give_back(s[4]); /* never asked */
    assert_none_told(f);
}

static void test_what_can_be_done_without(void **state) {
    struct fixture *f = *state;
    struct session **s = f->sessions;
    assert_false(share_add(s[0], SHARE + 1)); /* not even where nobody is in */
    assert_true(share_add(s[0], SHARE / 4));
    assert_true(share_has(s[0]));
    assert_true(share_take(s[1], SHARE / 4, false));
    assert_true(share_add(s[0], SHARE / 4));
    assert_false(share_add(s[1], SHARE / 2));
    assert_int_equal(f->group.share_waiting, 0);
    assert_false(share_take(s[2], SHARE / 2, false));
    assert_false(share_add(s[1], 1)); /* somebody waits */
    assert_int_equal(f->group.share_bytes, SHARE / 4 * 3);
    share_give_back(s[0]);
    assert_told(f, 2);
    assert_true(share_add(s[1], SHARE / 4));
    assert_false(share_add(s[3], 1));
    assert_false(share_has(s[3]));
}

static void test_no_limit(void **state) {
    struct fixture *f = *state;
    assert_true(share_take(f->sessions[0], SHARE, false));
    assert_false(share_take(f->sessions[1], SHARE, false));
    f->settings.keyspace.maxmemory_bytes = 0;
    share_give_back(f->sessions[4]); /* says nothing to anybody, as it did not ask */
    assert_false(share_has(f->sessions[1]));
    share_give_back(f->sessions[0]);
    assert_told(f, 1);
    for (int i = 2; i < SESSIONS; i++) {
        assert_true(share_take(f->sessions[i], UINT32_MAX, false));
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_as_many_as_fit),
        CASE(test_one_whatever_it_takes),
        CASE(test_who_is_in_takes_more),
        CASE(test_who_begins_again_comes_first),
        CASE(test_who_leaves_the_queue),
        CASE(test_what_can_be_done_without),
        CASE(test_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
