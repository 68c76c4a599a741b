/* Reads rows once each and says how long that took: through a cache that speaks RESP, in pipelines,
 * or from the database itself, one prepared SELECT a key, as an application without a cache does.
 *
 *     rowload resp PORT CONNECTIONS FIRST COUNT
 *     rowload sql  PORT DATABASE USER CONNECTIONS FIRST COUNT      (password in MYSQL_PWD)
 *
 * The rows are those with id FIRST to FIRST + COUNT - 1 of table bench_rows (id, v); their keys are
 * row:<id>. Every connection gets an equal share: a pipeline of all of it with resp, a thread with
 * sql. Prints {"rows":..,"seconds":..,"bytes":..}; fails unless every row came. The clock runs from
 * the moment all connections stand to the last row's last byte.
 *
 * Limits: CONNECTIONS_MAX, COUNT_MAX. */
#include <arpa/inet.h>
#include <errno.h>
#include <mysql.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ds/buf.h"

enum {
    CONNECTIONS_MAX = 1000,
    COUNT_MAX = 10 * 1000 * 1000,
    READ_BYTES = 256 * 1024,
    VALUE_BYTES_MAX = 64 * 1024,
};

struct share {
    uint64_t first, count;
    uint64_t rows, bytes; /* what came */
    const char *why;      /* it failed */
};

struct resp_connection {
    struct share share;
    int fd;
    struct buf out, in;
    size_t sent;
};

struct sql_connection {
    struct share share;
    pthread_t thread;
    pthread_barrier_t *start;
    MYSQL *mysql;
    MYSQL_STMT *stmt;
};

static void die(const char *what, const char *why) {
    fprintf(stderr, "rowload: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static uint64_t number(const char *text, uint64_t max) {
    char *end;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (*end || end == text || errno || n > max) {
        die(text, "not a number, or too large");
    }
    return n;
}

static void share_out(struct share *s, uint64_t first, uint64_t count, uint32_t i, uint32_t of) {
    uint64_t from = count * i / of, to = count * (i + 1) / of;
    *s = (struct share){.first = first + from, .count = to - from};
}

/* --- resp --- */

static void connect_resp(struct resp_connection *c, uint16_t port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&at, sizeof at) != 0) {
        die("connect", strerror(errno));
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (uint64_t id = c->share.first; id < c->share.first + c->share.count; id++) {
        char key[32];
        int len = snprintf(key, sizeof key, "row:%llu", (unsigned long long)id);
        buf_printf(&c->out, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len, key);
    }
}

/* Counts the whole replies in c->in. False when one is no value. */
static bool take_replies(struct resp_connection *c) {
    size_t at = 0;
    for (;;) {
        const char *line = c->in.ptr + at;
        const char *end = at < c->in.len ? memchr(line, '\n', c->in.len - at) : NULL;
        if (!end) {
            break;
        }
        long len = line[0] == '$' ? strtol(line + 1, NULL, 10) : -1;
        if (len < 0) {
            fprintf(stderr, "rowload: reply %.*s\n", (int)(end - line), line);
            return false;
        }
        size_t next = (size_t)(end + 1 - c->in.ptr) + (size_t)len + 2;
        if (next > c->in.len) {
            break;
        }
        c->share.rows++;
        c->share.bytes += (uint64_t)len;
        at = next;
    }
    buf_consume(&c->in, at);
    return true;
}

/* False when the connection is done or broken. */
static bool advance(struct resp_connection *c, short events) {
    if ((events & POLLOUT) && c->sent < c->out.len) {
        ssize_t sent =
            send(c->fd, c->out.ptr + c->sent, c->out.len - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        c->sent += sent > 0 ? (size_t)sent : 0;
    }
    if (events & (POLLIN | POLLHUP | POLLERR)) {
        ssize_t got = recv(c->fd, buf_reserve(&c->in, READ_BYTES), READ_BYTES, MSG_DONTWAIT);
        if (got <= 0) {
            c->share.why = "the connection ended";
            return false;
        }
        c->in.len += (size_t)got;
        if (!take_replies(c)) {
            c->share.why = "an error or a missing row";
            return false;
        }
    }
    return c->share.rows < c->share.count;
}

static int64_t run_resp(struct resp_connection *v, uint32_t count) {
    struct pollfd *fds = mem_zalloc(count * sizeof *fds);
    uint32_t left = count;
    int64_t began = clock_mono_ns();
    while (left) {
        for (uint32_t i = 0; i < count; i++) {
            bool done = v[i].share.why || v[i].share.rows == v[i].share.count;
            fds[i].fd = done ? -1 : v[i].fd;
            fds[i].events = (short)(v[i].sent < v[i].out.len ? POLLIN | POLLOUT : POLLIN);
        }
        if (poll(fds, count, -1) < 0) {
            die("poll", strerror(errno));
        }
        for (uint32_t i = 0; i < count; i++) {
            if (fds[i].fd >= 0 && fds[i].revents && !advance(&v[i], fds[i].revents)) {
                left--;
            }
        }
    }
    mem_free(fds);
    return clock_mono_ns() - began;
}

/* --- sql --- */

static void connect_sql(struct sql_connection *c, char **where) {
    static const char text[] = "SELECT v FROM bench_rows WHERE id = ?";
    c->mysql = mysql_init(NULL);
    if (!mysql_real_connect(c->mysql, "127.0.0.1", where[2], getenv("MYSQL_PWD"), where[1],
                            (unsigned)number(where[0], UINT16_MAX), NULL, 0)) {
        die("connect", mysql_error(c->mysql));
    }
    c->stmt = mysql_stmt_init(c->mysql);
    if (mysql_stmt_prepare(c->stmt, text, sizeof text - 1) != 0) {
        die("prepare", mysql_stmt_error(c->stmt));
    }
}

static void *sql_main(void *arg) {
    struct sql_connection *c = arg;
    struct share *s = &c->share;
    uint64_t id = 0;
    static _Thread_local char value[VALUE_BYTES_MAX];
    unsigned long len = 0;
    MYSQL_BIND key = {.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &id, .is_unsigned = 1};
    MYSQL_BIND cell = {.buffer_type = MYSQL_TYPE_STRING,
                       .buffer = value,
                       .buffer_length = sizeof value,
                       .length = &len};
    mysql_thread_init();
    pthread_barrier_wait(c->start);
    for (id = s->first; id < s->first + s->count && !s->why; id++) {
        if (mysql_stmt_bind_param(c->stmt, &key) || mysql_stmt_execute(c->stmt) ||
            mysql_stmt_bind_result(c->stmt, &cell) || mysql_stmt_fetch(c->stmt) != 0) {
            s->why = "a query failed, or a row is missing";
        } else {
            s->rows++;
            s->bytes += len;
        }
        mysql_stmt_free_result(c->stmt);
    }
    mysql_thread_end();
    return NULL;
}

static int64_t run_sql(struct sql_connection *v, uint32_t count) {
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        v[i].start = &start;
        if (pthread_create(&v[i].thread, NULL, sql_main, &v[i]) != 0) {
            die("thread", "can't be started");
        }
    }
    pthread_barrier_wait(&start);
    int64_t began = clock_mono_ns();
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(v[i].thread, NULL);
    }
    int64_t took = clock_mono_ns() - began;
    pthread_barrier_destroy(&start);
    for (uint32_t i = 0; i < count; i++) {
        mysql_stmt_close(v[i].stmt);
        mysql_close(v[i].mysql);
    }
    return took;
}

static void add(struct share *sum, const struct share *s) {
    sum->rows += s->rows;
    sum->bytes += s->bytes;
    sum->why = s->why ? s->why : sum->why;
}

int main(int argc, char **argv) {
    bool sql = argc == 8 && strcmp(argv[1], "sql") == 0;
    if (!sql && !(argc == 6 && strcmp(argv[1], "resp") == 0)) {
        die("usage", "rowload resp PORT CONNECTIONS FIRST COUNT | "
                     "rowload sql PORT DATABASE USER CONNECTIONS FIRST COUNT");
    }
    char **last = argv + argc - 3;
    uint32_t connections = (uint32_t)number(last[0], CONNECTIONS_MAX);
    uint64_t first = number(last[1], UINT32_MAX), count = number(last[2], COUNT_MAX);
    struct share sum = {0};
    int64_t took;
    if (sql) {
        struct sql_connection *v = mem_zalloc(connections * sizeof *v);
        for (uint32_t i = 0; i < connections; i++) {
            share_out(&v[i].share, first, count, i, connections);
            connect_sql(&v[i], argv + 2);
        }
        took = run_sql(v, connections);
        for (uint32_t i = 0; i < connections; i++) {
            add(&sum, &v[i].share);
        }
        mem_free(v);
    } else {
        struct resp_connection *v = mem_zalloc(connections * sizeof *v);
        for (uint32_t i = 0; i < connections; i++) {
            share_out(&v[i].share, first, count, i, connections);
            connect_resp(&v[i], (uint16_t)number(argv[2], UINT16_MAX));
        }
        took = run_resp(v, connections);
        for (uint32_t i = 0; i < connections; i++) {
            add(&sum, &v[i].share);
            buf_free(&v[i].out);
            buf_free(&v[i].in);
            close(v[i].fd);
        }
        mem_free(v);
    }
    if (sum.why || sum.rows != count) {
        die("failed", sum.why ? sum.why : "rows are missing");
    }
    printf("{\"rows\": %llu, \"seconds\": %.6f, \"bytes\": %llu}\n", (unsigned long long)sum.rows,
           (double)took / 1e9, (unsigned long long)sum.bytes);
    return EXIT_SUCCESS;
}
