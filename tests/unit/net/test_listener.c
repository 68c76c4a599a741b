/* Listening sockets, names of ends. */
#include "harness.h"

#include <netinet/tcp.h>
#include <sys/stat.h>

static int port_of(int fd) {
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

static void tcp_listens_and_names_its_ends(void **state) {
    int pair[2];
    tcp_pair(pair);
    char name[64], expected[64];
    snprintf(expected, sizeof expected, "127.0.0.1:%d", port_of(pair[1]));
    socket_peer_name(pair[0], name, sizeof name);
    assert_string_equal(name, expected);
    socket_local_name(pair[1], name, sizeof name);
    assert_string_equal(name, expected);
    socket_peer_name(pair[0], name, 6);
    assert_string_equal(name, "127.0");
    assert_false(socket_is_unix(pair[0]));
    assert_true(socket_peer_is_loopback(pair[0]));
    close(pair[0]);
    close(pair[1]);
    socket_peer_name(-1, name, sizeof name);
    assert_string_equal(name, "?:0");
    assert_false(socket_peer_is_loopback(-1));
}

static void tcp_options(void **state) {
    int pair[2];
    tcp_pair(pair);
    socket_prepare(pair[1], 300);
    int value = 0;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(pair[1], IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
    assert_int_not_equal(value, 0);
    assert_int_equal(getsockopt(pair[1], SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
    assert_int_not_equal(value, 0);
    assert_int_equal(getsockopt(pair[1], IPPROTO_TCP, TCP_KEEPIDLE, &value, &len), 0);
    assert_int_equal(value, 300);
    assert_int_equal(getsockopt(pair[1], IPPROTO_TCP, TCP_KEEPINTVL, &value, &len), 0);
    assert_int_equal(value, 100);
    assert_true(fcntl(pair[1], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(pair[1], F_GETFD) & FD_CLOEXEC);
    socket_prepare(pair[0], 0);
    assert_int_equal(getsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
    assert_int_equal(value, 0);
    close(pair[0]);
    close(pair[1]);
}

static void wildcard_and_v6(void **state) {
    char why[200] = "";
    int fd = listener_open_tcp("*", 0, 1, false, why, sizeof why);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    int port = port_of(fd);
    int v6 = listener_open_tcp("::*", port, 1, false, why, sizeof why);
    if (v6 < 0) {
        print_message("no IPv6 here: %s\n", why);
    } else {
        char name[64], expected[64];
        socket_local_name(v6, name, sizeof name);
        snprintf(expected, sizeof expected, "[::]:%d", port);
        assert_string_equal(name, expected);
        close(v6);
    }
    close(fd);
}

static void tcp_failures_are_explained(void **state) {
    char why[200] = "";
    assert_int_equal(listener_open_tcp("localhost", 0, 1, false, why, sizeof why), -1);
    assert_string_equal(why, "'localhost' is not a numeric address");
    int fd = listener_open_tcp("127.0.0.1", 0, 1, false, why, sizeof why);
    assert_int_equal(listener_open_tcp("127.0.0.1", port_of(fd), 1, false, why, sizeof why), -1);
    assert_string_equal(why, "bind: Address already in use");
    close(fd);
}

static void reuse_port_shares(void **state) {
    char why[200] = "";
    int fd = listener_open_tcp("127.0.0.1", 0, 1, true, why, sizeof why);
    int second = listener_open_tcp("127.0.0.1", port_of(fd), 1, true, why, sizeof why);
    assert_true(second >= 0);
    close(fd);
    close(second);
}

static void unix_socket(void **state) {
    char dir[] = "/tmp/forebay-test-XXXXXX", path[100], why[200] = "", name[120], expected[120];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    int fd = listener_open_unix(path, 0700, 5, why, sizeof why);
    assert_true(fd >= 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    /* Somebody answers: the socket is not taken away. */
    assert_int_equal(listener_open_unix(path, 0, 5, why, sizeof why), -1);
    assert_string_equal(why, "bind: Address already in use");
    close(accept(fd, NULL, NULL));

    struct client c = {.peer = -1};
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&at, len), 0);
    c.peer = accept(fd, NULL, NULL);
    assert_true(c.peer >= 0);
    socket_prepare(c.peer, 300);
    snprintf(expected, sizeof expected, "%s:0", path);
    socket_peer_name(c.peer, name, sizeof name);
    assert_string_equal(name, expected);
    socket_local_name(c.peer, name, sizeof name);
    assert_string_equal(name, expected);
    assert_true(socket_is_unix(c.peer));
    assert_true(socket_peer_is_loopback(c.peer));
    close(c.peer);
    close(client);

    /* Nobody answers any more: the stale file goes. */
    close(fd);
    fd = listener_open_unix(path, 0, 5, why, sizeof why);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);

    /* What is no socket is never removed. */
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(listener_open_unix(path, 0, 5, why, sizeof why), -1);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    rmdir(dir);

    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(listener_open_unix(longer, 0, 5, why, sizeof why), -1);
    assert_string_equal(why, "a socket's path has 1 to 107 bytes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_listens_and_names_its_ends),
        cmocka_unit_test(tcp_options),
        cmocka_unit_test(wildcard_and_v6),
        cmocka_unit_test(tcp_failures_are_explained),
        cmocka_unit_test(reuse_port_shares),
        cmocka_unit_test(unix_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
