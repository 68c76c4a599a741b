/* The RESP client; see wire.h. */
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"

static bool fail(struct wire *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct wire *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(w->error, sizeof w->error, format, args);
    va_end(args);
    return false;
}

bool wire_open(struct wire *w, const char *host, const char *port) {
    *w = (struct wire){.fd = -1};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int code = getaddrinfo(host, port, &hints, &list);
    if (code) {
        return fail(w, "%s: %s", host, gai_strerror(code));
    }
    for (struct addrinfo *ai = list; ai && w->fd < 0; ai = ai->ai_next) {
        w->fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
        if (w->fd >= 0 && connect(w->fd, ai->ai_addr, ai->ai_addrlen) < 0) {
            int kept = errno;
            close(w->fd);
            errno = kept;
            w->fd = -1;
        }
    }
    freeaddrinfo(list);
    if (w->fd < 0) {
        return fail(w, "can't connect to %s:%s: %s", host, port, strerror(errno));
    }
    int on = 1;
    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(w->fd, F_SETFL, O_NONBLOCK);
    w->in = mem_alloc(WIRE_READ_BYTES);
    return true;
}

void wire_close(struct wire *w) {
    if (w->fd >= 0) {
        close(w->fd);
    }
    w->fd = -1;
    buf_free(&w->out);
    mem_free(w->in);
    w->in = NULL;
}

void wire_request(struct wire *w, const struct slice *words, uint32_t count) {
    buf_printf(&w->out, "*%u\r\n", count);
    for (uint32_t i = 0; i < count; i++) {
        buf_printf(&w->out, "$%zu\r\n", words[i].len);
        buf_append_slice(&w->out, words[i]);
        buf_append(&w->out, "\r\n", 2);
    }
}

/* --- bytes --- */

static bool send_some(struct wire *w) {
    ssize_t n = send(w->fd, w->out.ptr + w->sent, w->out.len - w->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        return fail(w, "the connection failed: %s", strerror(errno));
    }
    w->sent += n > 0 ? (size_t)n : 0;
    if (w->sent == w->out.len) {
        w->out.len = w->sent = 0;
    }
    return true;
}

/* Reads at least a byte, sending what is queued meanwhile. Unread bytes stay. */
static bool read_some(struct wire *w) {
    memmove(w->in, w->in + w->in_at, w->in_len - w->in_at);
    w->in_len -= w->in_at;
    w->in_at = 0;
    for (;;) {
        bool sends = w->out.len > w->sent;
        if (sends && !send_some(w)) {
            return false;
        }
        ssize_t n = recv(w->fd, w->in + w->in_len, WIRE_READ_BYTES - w->in_len, 0);
        if (n > 0) {
            w->in_len += (size_t)n;
            return true;
        }
        if (n == 0) {
            return fail(w, "the server closed the connection");
        }
        if (errno != EAGAIN && errno != EINTR) {
            return fail(w, "the connection failed: %s", strerror(errno));
        }
        struct pollfd pfd = {w->fd, POLLIN | (w->out.len > w->sent ? POLLOUT : 0), 0};
        if (poll(&pfd, 1, WIRE_TIMEOUT_MS) == 0) {
            return fail(w, "no answer for %d s", WIRE_TIMEOUT_MS / 1000);
        }
    }
}

/* A line without its end; valid until the next read. */
static bool read_line(struct wire *w, struct slice *line) {
    size_t looked = 0;
    for (;;) {
        const char *start = w->in + w->in_at;
        size_t len = w->in_len - w->in_at;
        const char *feed = memchr(start + looked, '\n', len - looked);
        if (feed) {
            *line = slice_of(start, (size_t)(feed - start));
            line->len -= line->len && feed[-1] == '\r';
            w->in_at += (size_t)(feed - start) + 1;
            return true;
        }
        if (len > WIRE_LINE_BYTES_MAX) {
            return fail(w, "the server answers in no RESP");
        }
        looked = len;
        if (!read_some(w)) {
            return false;
        }
    }
}

/* A bulk's bytes and its line end. */
static bool read_bulk(struct wire *w, uint64_t len, struct buf *keep) {
    if (keep && len > WIRE_KEEP_BYTES_MAX) {
        return fail(w, "a reply of %llu bytes", (unsigned long long)len);
    }
    for (uint64_t left = len + 2; left > 0;) {
        if (w->in_at == w->in_len && !read_some(w)) {
            return false;
        }
        size_t here = MIN(left, w->in_len - w->in_at);
        if (keep) {
            buf_append(keep, w->in + w->in_at, here);
        }
        w->in_at += here;
        left -= here;
    }
    if (keep) {
        keep->len -= 2;
    }
    return true;
}

bool wire_reply(struct wire *w, struct wire_reply *out, struct buf *keep) {
    struct slice line = {0};
    if (!read_line(w, &line)) {
        return false;
    }
    char kind = line.len ? line.ptr[0] : 0;
    struct slice rest = slice_of(line.ptr + (line.len ? 1 : 0), line.len ? line.len - 1 : 0);
    *out = (struct wire_reply){.type = WIRE_STATUS};
    if (kind == '-') {
        return fail(w, "%.*s", SLICE_FMT(rest));
    }
    if (kind == '+') {
        return true;
    }
    if ((kind != ':' && kind != '$') || !num_parse_i64(rest, &out->number)) {
        return fail(w, "an unexpected reply: %.*s", SLICE_FMT(line));
    }
    if (kind == ':') {
        out->type = WIRE_INTEGER;
        return true;
    }
    out->type = out->number < 0 ? WIRE_NIL : WIRE_BULK;
    out->len = out->number < 0 ? 0 : (uint64_t)out->number;
    return out->number < 0 || read_bulk(w, out->len, keep);
}

bool wire_call(struct wire *w, const char *const *words, struct wire_reply *out,
               struct buf *keep) {
    struct slice list[8];
    uint32_t count = 0;
    for (; words[count]; count++) {
        ASSERT(count < ARRAY_COUNT(list));
        list[count] = slice_str(words[count]);
    }
    wire_request(w, list, count);
    return wire_reply(w, out, keep);
}
