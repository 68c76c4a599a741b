/* Room that others wait for: replies until they are sent, whoever reads or does not, by a clock that
 * stands still; and who is let in then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "shard/session.h"

enum {
    MB = 1024 * 1024,
    MAXMEMORY = 64 * MB,
    SESSIONS = 3,
    STILL_US = 250 * 1000, /* as room.c has them */
    WAIT_US = 1000 * 1000,
    STEP_US = 10 * 1000,
};

struct fixture {
    struct settings settings;
    struct shard_group group;
    struct shard *shard;
    struct session *sessions[SESSIONS];
    void *ballast; /* leaves no room that needs nothing to go for it */
};

static int set_up(void **state) {
    mem_thread_register();
    struct fixture *f = mem_zalloc(sizeof *f);
    struct shard *sh = f->shard = mem_zalloc(sizeof *sh);
    f->settings.keyspace =
        (struct keyspace_params){.policy = EVICT_ALL_LRU, .maxmemory_bytes = MAXMEMORY};
    pthread_mutex_init(&f->group.room_mutex, NULL);
    list_init(&f->group.room_queue);
    pthread_mutex_init(&f->group.share_mutex, NULL);
    list_init(&f->group.share_queue);
    sh->group = &f->group;
    sh->env.settings = &f->settings;
    sh->env.ks = keyspace_create(1, 5, NULL);
    sh->env.now_us = 1000 * 1000 * 1000;
    mailbox_init(&sh->mailbox);
    list_init(&sh->unsent);
    f->ballast = mem_alloc(MAXMEMORY / 8 * 7);
    keyspace_set_params(sh->env.ks, &f->settings.keyspace);
    for (int i = 0; i < SESSIONS; i++) {
        struct session *s = f->sessions[i] = mem_zalloc(sizeof *s);
        s->shard = sh;
        s->client.id = (uint64_t)i;
        s->conn.fd = -1; /* the kernel holds nothing for it */
        chain_init(&s->conn.out, &sh->chunks);
        list_init(&s->room_node);
        list_init(&s->unsent_node);
        list_init(&s->share_node);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    for (int i = 0; i < SESSIONS; i++) {
        room_forget(f->sessions[i]);
        room_let_go(f->sessions[i]);
        share_give_back(f->sessions[i]);
        chain_clear(&f->sessions[i]->conn.out);
        mem_free(f->sessions[i]);
    }
    assert_int_equal(f->shard->unsent_count, 0);
    assert_true(list_empty(&f->shard->unsent) && list_empty(&f->group.room_queue));
    assert_int_equal(f->group.room_waiting, 0);
    assert_int_equal(f->shard->env.ks->admitted_bytes, 0);
    assert_int_equal(f->shard->env.ks->expected_bytes, 0);
    struct message *m;
    while ((m = mailbox_take(&f->shard->mailbox))) {
        mem_free(m);
    }
    chunk_pool_free(&f->shard->chunks);
    mem_free(f->ballast);
    keyspace_destroy(f->shard->env.ks);
    mem_free(f->shard);
    mem_free(f);
    mem_thread_unregister();
    return 0;
}

static void writes(struct session *s, size_t bytes) {
    char text[1024] = {0};
    for (size_t left = bytes; left; left -= MIN(left, sizeof text)) {
        chain_append(&s->conn.out, text, MIN(left, sizeof text));
    }
    stat_add(&s->client.total_out, bytes);
}

/* The kernel takes so much of its output. */
static void reads(struct session *s, size_t bytes) {
    chain_consume(&s->conn.out, MIN(bytes, s->conn.out.len_bytes));
}

static void passes(struct fixture *f, int64_t us) {
    for (; us > 0; us -= STEP_US) {
        f->shard->env.now_us += MIN(us, (int64_t)STEP_US);
        room_look(f->shard);
    }
}

static void test_who_does_not_read_is_given_up(void **state) {
    struct fixture *f = *state;
    struct session *s = f->sessions[0];
    writes(s, MB);
    room_hold(s);
    assert_true(s->unsent_bytes >= MB);
    assert_true(f->shard->env.ks->admitted_bytes >= MB);
    passes(f, STILL_US - 2 * STEP_US);
    assert_true(s->unsent_bytes >= MB);
    passes(f, 3 * STEP_US);
    assert_int_equal(s->unsent_bytes, 0);
    assert_int_equal(f->shard->env.ks->admitted_bytes, 0);
    writes(s, 1000); /* nor is it waited for again while all that lies there unread */
    room_hold(s);
    assert_int_equal(s->unsent_bytes, 0);
    reads(s, MB); /* but once it has read that */
    writes(s, MB);
    room_hold(s);
    assert_true(s->unsent_bytes >= MB);
}

/* As long as it takes something, within a second and one for each 16 MB. */
static void test_who_reads_slowly_is_waited_for(void **state) {
    struct fixture *f = *state;
    struct session *s = f->sessions[0];
    int64_t begin_us = f->shard->env.now_us;
    writes(s, 8 * MB);
    room_hold(s);
    size_t before = s->unsent_bytes;
    while (s->unsent_bytes) {
        assert_true(s->unsent_bytes <= before);
        before = s->unsent_bytes;
        reads(s, 100 * 1024);
        passes(f, STILL_US - 2 * STEP_US);
    }
    assert_true(s->conn.out.len_bytes > 7 * MB);
    assert_in_range(f->shard->env.now_us - begin_us, WAIT_US + WAIT_US / 2,
                    WAIT_US + WAIT_US / 2 + STILL_US);
}

static void test_what_is_sent_or_little_holds_up_nobody(void **state) {
    struct fixture *f = *state;
    struct session *s = f->sessions[0];
    writes(s, 60 * 1000);
    room_hold(s);
    assert_int_equal(s->unsent_bytes, 0);
    writes(s, MB);
    room_hold(s);
    reads(s, MB / 2);
    room_look(f->shard);
    assert_in_range(s->unsent_bytes, MB / 4, MB / 4 * 3);
    assert_int_equal(s->unsent_bytes, f->shard->env.ks->admitted_bytes);
    writes(s, MB); /* for this nobody asked others to wait */
    room_look(f->shard);
    assert_in_range(s->unsent_bytes, MB / 4, MB / 4 * 3);
    reads(s, 2 * MB);
    room_look(f->shard);
    assert_int_equal(f->shard->unsent_count, 0);
    f->settings.keyspace.maxmemory_bytes = 0; /* nobody waits for anything then */
    writes(s, MB);
    room_hold(s);
    assert_int_equal(s->unsent_bytes, 0);
}

static void release(void *arg) {
    (void)arg;
}

/* The command's share of rows, that its reply is sent from: until these are sent, not what comes
 * behind them, or it is found not to read. */
static void test_rows_until_their_reply_is_sent(void **state) {
    static char row[MB];
    struct fixture *f = *state;
    for (int reads_on = 0; reads_on < 2; reads_on++) {
        struct session *s = f->sessions[reads_on];
        assert_false(room_hold_rows(s)); /* it has none */
        assert_true(share_take(s, MB, false));
        chain_append_pinned(&s->conn.out, slice_of(row, MB), MB, release, NULL);
        stat_add(&s->client.total_out, MB);
        assert_true(room_hold_rows(s));
        writes(s, 1000);
        passes(f, STILL_US - 2 * STEP_US);
        assert_true(share_has(s));
        if (reads_on) {
            reads(s, MB);
            room_look(f->shard);
        } else {
            passes(f, 3 * STEP_US);
        }
        assert_false(s->rows_unsent || share_has(s));
        assert_true(s->conn.out.len_bytes >= 1000);
    }
}

/* Who waits is told when the output before it has been sent, or is given up. */
static void test_next_is_let_in(void **state) {
    struct fixture *f = *state;
    struct session **s = f->sessions;
    struct cmd c = {0};
    room_ask(s[0], 10 * MB, 10 * MB);
    assert_true(room_take(s[0], &c)); /* the first one; there is nothing that could go */
    assert_int_equal(c.room_bytes, 10 * MB);
    writes(s[0], 10 * MB);
    room_taken(s[0]);
    room_ask(s[1], 20 * MB, 20 * MB);
    assert_false(room_take(s[1], &c));
    assert_false(room_is_let_in(s[1]));
    room_ask(s[2], MB, MB);
    assert_false(room_take(s[2], &c));
    assert_false(room_is_let_in(s[2])); /* it would fit, but came later */
    assert_int_equal(f->group.room_waiting, 2);
    reads(s[0], MB);
    room_look(f->shard);
    assert_null(mailbox_take(&f->shard->mailbox));
    reads(s[0], 9 * MB);
    for (uint64_t i = 1; i < 3; i++) {
        room_look(f->shard);
        struct message *m = mailbox_take(&f->shard->mailbox);
        assert_non_null(m);
        assert_int_equal(m->type, MESSAGE_ROOM);
        assert_int_equal(m->session_id, i);
        mem_free(m);
        assert_null(mailbox_take(&f->shard->mailbox)); /* together they are too much */
        assert_true(room_is_let_in(s[i]));
        assert_int_equal(f->group.room_uncounted, s[0]->room_uncounted + s[i]->room_replies);
        room_forget(s[i]); /* its client left */
    }
    assert_int_equal(f->group.room_uncounted, 10 * MB);
    room_counted(s[0]);
    assert_int_equal(f->group.room_uncounted, 0);
}

/* A command whose reply turns out longer asks again: what its run before was let in with is not
 * beside it any more. */
static void test_who_asks_again_counts_once(void **state) {
    struct fixture *f = *state;
    struct session *s = f->sessions[0];
    struct cmd c = {0};
    for (size_t bytes = 4 * MB; bytes <= 12 * MB; bytes += 4 * MB) {
        room_ask(s, bytes, bytes);
        assert_int_equal(f->group.room_uncounted, 0);
        assert_true(room_take(s, &c));
        assert_int_equal(f->group.room_uncounted, bytes);
        assert_int_equal(f->shard->env.ks->expected_bytes, 0);
        room_taken(s);
    }
    room_counted(s);
    assert_int_equal(f->group.room_uncounted, 0);
}

static void test_all_are_let_in_once_there_is_no_limit(void **state) {
    struct fixture *f = *state;
    struct session **s = f->sessions;
    struct cmd c = {0};
    room_ask(s[0], 20 * MB, 20 * MB);
    assert_true(room_take(s[0], &c));
    writes(s[0], 20 * MB);
    room_taken(s[0]);
    for (int i = 1; i < SESSIONS; i++) {
        room_ask(s[i], 20 * MB, 20 * MB);
        assert_false(room_take(s[i], &c));
    }
    room_look(f->shard);
    assert_int_equal(f->group.room_waiting, 2);
    f->settings.keyspace.maxmemory_bytes = 0;
    keyspace_set_params(f->shard->env.ks, &f->settings.keyspace);
    room_look(f->shard);
    assert_int_equal(f->group.room_waiting, 0);
    for (int i = 1; i < SESSIONS; i++) {
        assert_true(room_is_let_in(s[i]) && room_take(s[i], &c));
        writes(s[i], 20 * MB);
        room_taken(s[i]);
        assert_int_equal(s[i]->unsent_bytes, 0);
        room_counted(s[i]);
    }
    room_counted(s[0]);
    room_look(f->shard);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_who_does_not_read_is_given_up),
        CASE(test_who_reads_slowly_is_waited_for),
        CASE(test_what_is_sent_or_little_holds_up_nobody),
        CASE(test_rows_until_their_reply_is_sent),
        CASE(test_next_is_let_in),
        CASE(test_who_asks_again_counts_once),
        CASE(test_all_are_let_in_once_there_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
