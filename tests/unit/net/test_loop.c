/* What concerns the whole of a struct net, on both backends: accepting, waking, waiting, falling
 * back. */
#include "harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int open_listener(int *port) {
    char why[100];
    int fd = listener_open_tcp("127.0.0.1", 0, 511, false, why, sizeof why);
    assert_true(fd >= 0);
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static int connect_to(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0 ? fd : -1;
}

static void accepts_from_two_listeners(void **state) {
    enum { EACH = 100 };
    int ports[2], listeners[2] = {open_listener(&ports[0]), open_listener(&ports[1])};
    struct env *env = env_create(*(enum net_backend *)*state, listeners, 2);
    int fds[2 * EACH];
    for (unsigned i = 0; i < 2 * EACH; i++) {
        fds[i] = connect_to(ports[i % 2]);
        assert_true(fds[i] >= 0);
    }
    RUN_UNTIL(env, env->accepted_count == 2 * EACH);
    unsigned second_count = 0;
    for (unsigned i = 0; i < 2 * EACH; i++) {
        struct sockaddr_in at;
        socklen_t len = sizeof at;
        assert_int_equal(getsockname(env->accepted[i], (struct sockaddr *)&at, &len), 0);
        assert_int_equal(ntohs(at.sin_port), ports[env->accepted_listener[i]]);
        second_count += env->accepted_listener[i];
        close(env->accepted[i]);
        close(fds[i]);
    }
    assert_int_equal(second_count, EACH);
    env_destroy(env);
    close(listeners[0]);
    close(listeners[1]);
}

static void stops_accepting(void **state) {
    int port, listener = open_listener(&port);
    struct env *env = env_create(*(enum net_backend *)*state, &listener, 1);
    int before = connect_to(port);
    RUN_UNTIL(env, env->accepted_count == 1);
    net_stop_accepting(env->net);
    net_stop_accepting(env->net);
    env_round(env, 0);
    int after = connect_to(port); /* into the backlog */
    assert_true(after >= 0);
    struct client *c = client_open(env, true, 0);
    peer_send(c, 10);
    RUN_UNTIL(env, c->received == 10);
    assert_int_equal(env->accepted_count, 1);
    client_free(env, c);
    close(env->accepted[0]);
    close(before);
    close(after);
    env_destroy(env);
    close(listener);
}

static void accepted_fd_is_served(void **state) {
    int port, listener = open_listener(&port);
    struct env *env = env_create(*(enum net_backend *)*state, &listener, 1);
    struct client *c = mem_zalloc(sizeof *c);
    c->peer = connect_to(port);
    c->echo = true;
    peer_send(c, 1000); /* before it is accepted */
    RUN_UNTIL(env, env->accepted_count == 1);
    chain_init(&c->conn.out, &env->pool);
    net_add(env->net, &c->conn, env->accepted[0]);
    RUN_UNTIL(env, (peer_receive(c, 1000), c->peer_received == 1000));
    client_free(env, c);
    env_destroy(env);
    close(listener);
}

/* In a child, as it lowers its own limit. Exits with the line that failed. */
#define CHILD_CHECK(cond)                                                                          \
    if (!(cond)) {                                                                                 \
        _exit(__LINE__ & 0x7f ? __LINE__ & 0x7f : 1);                                              \
    }

static _Noreturn void without_descriptors(enum net_backend backend) {
    int port, listener = open_listener(&port);
    struct env *env = env_create(backend, &listener, 1);
    int fds[3];
    struct rlimit limit, old;
    getrlimit(RLIMIT_NOFILE, &old);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    limit = old;
    limit.rlim_cur = (rlim_t)fds[0] + 1;
    /* Before the first round: io_uring notes the limit when an accept is submitted. */
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHILD_CHECK(connect(fds[0], (struct sockaddr *)&at, sizeof at) == 0);
    /* Two rests: a loop that spins would make thousands of rounds. */
    unsigned rounds = 0;
    int64_t until_us = clock_mono_us() + 2 * NET_ACCEPT_PAUSE_MS * 1000;
    while (clock_mono_us() < until_us) {
        env_round(env, until_us - clock_mono_us() + 1000);
        rounds++;
    }
    CHILD_CHECK(rounds < 20);
    CHILD_CHECK(env->accepted_count == 0);
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    int64_t give_up_us = clock_mono_us() + PATIENCE_US;
    while (env->accepted_count < 1) {
        env_round(env, PATIENCE_US);
        CHILD_CHECK(clock_mono_us() < give_up_us);
    }
    fds[1] = connect_to(port);
    fds[2] = connect_to(port);
    while (env->accepted_count < 3) {
        env_round(env, PATIENCE_US);
        CHILD_CHECK(clock_mono_us() < give_up_us);
    }
    _exit(0);
}

static void descriptors_run_out(void **state) {
    enum net_backend backend = *(enum net_backend *)*state;
    env_destroy(env_create(backend, NULL, 0)); /* skips here where there is no io_uring */
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        without_descriptors(backend);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

struct waker {
    struct net *net;
    sem_t go;
    unsigned rounds;
    unsigned value; /* plain on purpose: net_wake must order it */
};

static void *wake_on_demand(void *arg) {
    struct waker *w = arg;
    for (unsigned i = 0; i < w->rounds; i++) {
        sem_wait(&w->go);
        w->value++;
        net_wake(w->net);
    }
    return NULL;
}

static void wakes_from_another_thread(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct waker w = {.net = env->net, .rounds = 3000};
    sem_init(&w.go, 0, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_on_demand, &w), 0);
    for (unsigned i = 1; i <= w.rounds; i++) {
        unsigned before = env->wokens;
        sem_post(&w.go);
        int64_t until_us = clock_mono_us() + PATIENCE_US;
        while (env->wokens == before) { /* without a limit: a lost wake must not be papered over */
            env_round(env, i % 3 ? PATIENCE_US : 0);
            assert_true(clock_mono_us() < until_us);
        }
        assert_int_equal(w.value, i);
    }
    pthread_join(thread, NULL);
    net_wake(env->net);
    net_wake(env->net);
    unsigned before = env->wokens;
    env_round(env, PATIENCE_US);
    env_round(env, 0);
    assert_int_equal(env->wokens, before + 1);
    sem_destroy(&w.go);
    env_destroy(env);
}

static void *wake_often(void *arg) {
    for (unsigned i = 0; i < 20000; i++) {
        net_wake(arg);
    }
    return NULL;
}

static void wakes_from_many_threads(void **state) {
    enum { THREADS = 3 };
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    struct client *c = client_open(env, true, 1);
    c->echo = true;
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wake_often, env->net), 0);
    }
    for (unsigned i = 1; i <= 200; i++) {
        peer_send(c, 10);
        RUN_UNTIL(env, (peer_receive(c, 10), c->peer_received == i * 10));
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    env_round(env, 0);
    assert_true(env->wokens > 0);
    client_free(env, c);
    env_destroy(env);
}

static void waits_no_longer_than_asked(void **state) {
    struct env *env = env_create(*(enum net_backend *)*state, NULL, 0);
    int64_t start_us = clock_mono_us();
    expect_rest(env);
    assert_true(clock_mono_us() - start_us < PATIENCE_US);
    assert_int_equal(env_round(env, 0), 0);
    env_destroy(env);
}

static _Noreturn void create_without_io_uring(unsigned error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_COUNT(code), .filter = code};
    CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHILD_CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    char why[200] = "";
    struct net_params params = {.backend = NET_URING};
    CHILD_CHECK(net_create(&params, why, sizeof why) == NULL);
    CHILD_CHECK(strstr(why, strerror((int)error)) != NULL);
    params.backend = NET_AUTO;
    struct net *net = net_create(&params, why, sizeof why);
    CHILD_CHECK(net != NULL && net_backend(net) == NET_EPOLL);
    net_destroy(net);
    _exit(0);
}

static void falls_back_where_io_uring_is_forbidden(void **state) {
    static const unsigned errors[] = {EPERM, ENOSYS};
    for (unsigned i = 0; i < ARRAY_COUNT(errors); i++) {
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            create_without_io_uring(errors[i]);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static enum net_backend uring = NET_URING, epoll = NET_EPOLL;

#define BOTH(test)                                                                                 \
    {#test " (io_uring)", test, NULL, NULL, &uring}, {                                             \
#test " (epoll)", test, NULL, NULL, &epoll                                                 \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(accepts_from_two_listeners), BOTH(stops_accepting),
        BOTH(accepted_fd_is_served),      BOTH(descriptors_run_out),
        BOTH(wakes_from_another_thread),  BOTH(wakes_from_many_threads),
        BOTH(waits_no_longer_than_asked), cmocka_unit_test(falls_back_where_io_uring_is_forbidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
