#include "harness.h"

#include "command/version.h"

#define WRONGPASS "-WRONGPASS invalid username-password pair or user is disabled.\r\n"

static void ping_and_echo(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "PING", "+PONG\r\n");
    assert_reply(h, "ping hello", "$5\r\nhello\r\n");
    assert_reply(h, "ECHO \"\\r\\n\"", "$2\r\n\r\n\r\n");
    harness_destroy(h);
}

#define HELLO_BODY(proto)                                                                          \
    "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n" REDIS_VERSION "\r\n$5\r\nproto\r\n:" proto \
    "\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"          \
    "$7\r\nmodules\r\n*0\r\n"

static void hello_chooses_the_protocol(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "HELLO", "*14\r\n" HELLO_BODY("2"));
    assert_reply(h, "HELLO 3", "%7\r\n" HELLO_BODY("3"));
    assert_int_equal(client_proto(&h->clients[0]), 3);
    assert_reply(h, "GET none", "_\r\n");
    assert_reply(h, "HELLO 2", "*14\r\n" HELLO_BODY("2"));
    assert_reply(h, "GET none", "$-1\r\n");
    assert_reply(h, "HELLO 4", "-NOPROTO unsupported protocol version\r\n");
    assert_reply(h, "HELLO x", "-ERR Protocol version is not an integer or out of range\r\n");
    assert_reply(h, "HELLO 3 NOPE", "-ERR Syntax error in HELLO option 'NOPE'\r\n");
    assert_int_equal(client_proto(&h->clients[0]), 2);
    harness_destroy(h);
}

static void hello_authenticates_and_names(void **state) {
    struct harness *h = harness_create(NULL);
    strcpy(h->settings.requirepass, "secret");
    assert_memory_equal(run(h, "HELLO 3"), "-NOAUTH HELLO must be called with", 33);
    assert_reply(h, "HELLO 3 AUTH default wrong SETNAME me", WRONGPASS);
    assert_int_equal(client_proto(&h->clients[0]), 2);
    assert_reply(h, "HELLO 3 SETNAME 'a b'",
                 "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    assert_reply(h, "HELLO 3 AUTH default secret SETNAME me", "%7\r\n" HELLO_BODY("3"));
    assert_reply(h, "CLIENT GETNAME", "$2\r\nme\r\n");
    assert_int_equal(stat_get(&h->stats.auth_failures), 1);
    harness_destroy(h);
}

static void passwords(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "AUTH x",
                 "-ERR AUTH <password> called without any password configured for the default user. "
                 "Are you sure your configuration is correct?\r\n");
    assert_reply(h, "AUTH default x", "+OK\r\n");
    strcpy(h->settings.requirepass, "secret");
    static const char *const wrong[] = {
        "AUTH Secret", "AUTH secre", "AUTH secrets", "AUTH ''", "AUTH \"secret\\x00\"",
        "AUTH other secret",
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_reply_as(h, 1, wrong[i], WRONGPASS);
        assert_reply_as(h, 1, "PING", "-NOAUTH Authentication required.\r\n");
    }
    assert_reply_as(h, 1, "AUTH a b c", "-ERR syntax error\r\n");
    assert_reply_as(h, 1, "AUTH default secret", "+OK\r\n");
    assert_reply_as(h, 1, "PING", "+PONG\r\n");
    assert_reply_as(h, 1, "RESET", "+RESET\r\n");
    assert_reply_as(h, 1, "PING", "-NOAUTH Authentication required.\r\n");
    harness_destroy(h);
}

static void databases(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "SELECT 15", "+OK\r\n");
    assert_reply(h, "SET a 1", "+OK\r\n");
    assert_reply(h, "DBSIZE", ":1\r\n");
    assert_reply(h, "SELECT 16", "-ERR DB index is out of range\r\n");
    assert_reply(h, "SELECT -1", "-ERR DB index is out of range\r\n");
    assert_reply(h, "SELECT x", "-ERR value is not an integer or out of range\r\n");
    assert_reply(h, "SELECT 99999999999", "-ERR value is out of range, value must between "
                                          "-2147483648 and 2147483647\r\n");
    assert_int_equal(client_db(&h->clients[0]), 15);
    harness_destroy(h);
}

static void reset_makes_it_as_new(void **state) {
    struct harness *h = harness_create(NULL);
    run(h, "HELLO 3 SETNAME me");
    run(h, "SELECT 2");
    run(h, "CLIENT NO-TOUCH ON");
    run(h, "CLIENT NO-EVICT ON");
    run(h, "CLIENT REPLY OFF");
    assert_reply(h, "RESET", "+RESET\r\n");
    assert_int_equal(client_db(&h->clients[0]), 0);
    assert_int_equal(client_proto(&h->clients[0]), 2);
    assert_int_equal(client_flags(&h->clients[0]), CLIENT_AUTHENTICATED);
    assert_reply(h, "CLIENT GETNAME", "$-1\r\n");
    harness_destroy(h);
}

static void quit_answers_and_closes(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "QUIT", "+OK\r\n");
    assert_true(client_has(&h->clients[0], CLIENT_CLOSE));
    harness_destroy(h);
}

/* --- CLIENT --- */

#define LINE(id, port, name, flags, multi, cmd)                                                    \
    "id=" id " addr=127.0.0.1:" port " laddr=127.0.0.1:6379 fd=7 name=" name                        \
    " age=0 idle=0 flags=" flags " db=0 sub=0 psub=0 ssub=0 multi=" multi                           \
    " qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r"  \
    " cmd=" cmd " user=default redir=-1 resp=2 lib-name= lib-ver=\n"

static const char *body(const char *reply) {
    return strchr(reply, '\n') + 1;
}

static void client_list_and_info(void **state) {
    struct harness *h = harness_create(NULL);
    run_as(h, 1, "CLIENT SETNAME two");
    run_as(h, 1, "MULTI");
    assert_string_equal(body(run(h, "CLIENT INFO")),
                        LINE("1", "1001", "", "N", "-1", "client|info") "\r\n");
    assert_string_equal(body(run(h, "CLIENT LIST")),
                        LINE("1", "1001", "", "N", "-1", "client|list")
                            LINE("2", "1002", "two", "x", "0", "multi") "\r\n");
    assert_string_equal(body(run(h, "CLIENT LIST ID 2 9 2")),
                        LINE("2", "1002", "two", "x", "0", "multi")
                            LINE("2", "1002", "two", "x", "0", "multi") "\r\n");
    assert_reply(h, "CLIENT LIST TYPE pubsub", "$0\r\n\r\n");
    assert_int_not_equal(strlen(run(h, "CLIENT LIST TYPE normal")), 0);
    assert_reply(h, "CLIENT LIST TYPE nope", "-ERR Unknown client type 'nope'\r\n");
    assert_reply(h, "CLIENT LIST ID x", "-ERR Invalid client ID\r\n");
    assert_reply(h, "CLIENT LIST ID", "-ERR syntax error\r\n");
    run(h, "HELLO 3");
    assert_memory_equal(run(h, "CLIENT INFO"), "=2", 2);
    assert_memory_equal(body(h->reply.ptr), "txt:id=1 ", 9);
    harness_destroy(h);
}

static void client_kill(void **state) {
    struct harness *h = harness_create(NULL);
    run_as(h, 1, "PING");
    assert_reply(h, "CLIENT KILL 127.0.0.1:1002", "+OK\r\n");
    assert_int_equal(h->killed, 2);
    assert_reply(h, "CLIENT KILL 127.0.0.1:1", "-ERR No such client\r\n");
    assert_reply(h, "CLIENT KILL ID 2", ":1\r\n");
    assert_reply(h, "CLIENT KILL ID 1", ":0\r\n");
    assert_reply(h, "CLIENT KILL USER default SKIPME yes", ":1\r\n");
    assert_reply(h, "CLIENT KILL TYPE replica", ":0\r\n");
    assert_reply(h, "CLIENT KILL ADDR 127.0.0.1:1002 LADDR 127.0.0.1:1", ":0\r\n");
    assert_reply(h, "CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n");
    assert_reply(h, "CLIENT KILL ID x", "-ERR client-id should be greater than 0\r\n");
    assert_reply(h, "CLIENT KILL USER nobody", "-ERR No such user 'nobody'\r\n");
    assert_reply(h, "CLIENT KILL TYPE nope", "-ERR Unknown client type 'nope'\r\n");
    assert_reply(h, "CLIENT KILL ID 2 ADDR", "-ERR syntax error\r\n");
    assert_reply(h, "CLIENT KILL SKIPME maybe", "-ERR syntax error\r\n");
    assert_false(client_has(&h->clients[0], CLIENT_CLOSE));
    assert_reply(h, "CLIENT KILL ID 1 SKIPME no", ":1\r\n");
    assert_true(client_has(&h->clients[0], CLIENT_CLOSE));
    harness_destroy(h);
}

static void client_texts(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "CLIENT GETNAME", "$-1\r\n");
    assert_reply(h, "CLIENT SETNAME one", "+OK\r\n");
    assert_reply(h, "CLIENT SETNAME 'a b'",
                 "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    assert_reply(h, "CLIENT GETNAME", "$3\r\none\r\n");
    assert_reply(h, "CLIENT SETNAME ''", "+OK\r\n");
    assert_reply(h, "CLIENT GETNAME", "$-1\r\n");
    assert_reply(h, "CLIENT SETINFO LIB-NAME lib", "+OK\r\n");
    assert_reply(h, "CLIENT SETINFO lib-ver 1.2", "+OK\r\n");
    assert_non_null(strstr(run(h, "CLIENT INFO"), "lib-name=lib lib-ver=1.2\n"));
    assert_reply(h, "CLIENT SETINFO lib-ver '1 2'",
                 "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n");
    assert_reply(h, "CLIENT SETINFO nope x", "-ERR Unrecognized option 'nope'\r\n");
    harness_destroy(h);
}

static void client_switches(void **state) {
    struct harness *h = harness_create(NULL);
    assert_reply(h, "CLIENT ID", ":1\r\n");
    assert_reply(h, "CLIENT NO-EVICT on", "+OK\r\n");
    assert_reply(h, "CLIENT NO-TOUCH ON", "+OK\r\n");
    assert_true(client_has(&h->clients[0], CLIENT_NO_EVICT));
    assert_true(client_has(&h->clients[0], CLIENT_NO_TOUCH));
    assert_reply(h, "CLIENT NO-EVICT off", "+OK\r\n");
    assert_false(client_has(&h->clients[0], CLIENT_NO_EVICT));
    assert_reply(h, "CLIENT NO-TOUCH x", "-ERR syntax error\r\n");
    assert_reply(h, "CLIENT PAUSE 100", "+OK\r\n");
    assert_int_equal(h->paused_until_ms, h->env.now_ms + 100);
    assert_false(h->pause_writes_only);
    assert_reply(h, "CLIENT PAUSE 100 WRITE", "+OK\r\n");
    assert_true(h->pause_writes_only);
    assert_reply(h, "CLIENT UNPAUSE", "+OK\r\n");
    assert_int_equal(h->paused_until_ms, 0);
    assert_reply(h, "CLIENT PAUSE x", "-ERR timeout is not an integer or out of range\r\n");
    assert_reply(h, "CLIENT PAUSE -1", "-ERR timeout is negative\r\n");
    assert_reply(h, "CLIENT PAUSE 9223372036854775807", "-ERR timeout is out of range\r\n");
    assert_reply(h, "CLIENT PAUSE 1 x", "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n");
    assert_reply(h, "CLIENT UNBLOCK 1", ":0\r\n");
    assert_reply(h, "CLIENT UNBLOCK 1 x",
                 "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n");
    assert_reply(h, "CLIENT MAINT_NOTIFICATIONS ON",
                 "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n");
    assert_int_equal(run(h, "CLIENT HELP")[0], '*');
    harness_destroy(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ping_and_echo),
        cmocka_unit_test(hello_chooses_the_protocol),
        cmocka_unit_test(hello_authenticates_and_names),
        cmocka_unit_test(passwords),
        cmocka_unit_test(databases),
        cmocka_unit_test(reset_makes_it_as_new),
        cmocka_unit_test(quit_answers_and_closes),
        cmocka_unit_test(client_list_and_info),
        cmocka_unit_test(client_kill),
        cmocka_unit_test(client_texts),
        cmocka_unit_test(client_switches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
