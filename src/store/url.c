/* Parsing of store URLs. Config thread only; no state.
 *
 * 1. No message holds any part of a URL that may be the password. */
#include "store/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/assert.h"
#include "base/num.h"
#include "base/slice.h"

struct parse {
    char *why;
    size_t why_len;
};

#define REFUSE(p, ...) (snprintf((p)->why, (p)->why_len, __VA_ARGS__), false)

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `out` has STORE_URL_BYTES_MAX bytes. */
static bool decode(struct parse *p, const char *what, struct slice in, char *out) {
    size_t len = 0;
    for (size_t i = 0; i < in.len; i++) {
        int c = (unsigned char)in.ptr[i];
        if (c == '%') {
            int high = in.len - i > 2 ? hex_digit(in.ptr[i + 1]) : -1;
            int low = in.len - i > 2 ? hex_digit(in.ptr[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return REFUSE(p, "store URL: %s: '%%' must be followed by two hex digits", what);
            }
            c = high << 4 | low;
            i += 2;
        }
        if (c == 0) {
            return REFUSE(p, "store URL: %s holds a zero byte", what);
        }
        if (len + 1 == STORE_URL_BYTES_MAX) {
            return REFUSE(p, "store URL: %s is too long", what);
        }
        out[len++] = (char)c;
    }
    out[len] = '\0';
    return true;
}

static struct slice cut(struct slice *rest, char at) {
    const char *found = rest->len ? memchr(rest->ptr, at, rest->len) : NULL;
    struct slice head = *rest;
    if (found) {
        head.len = (size_t)(found - rest->ptr);
        *rest = slice_of(found + 1, rest->len - head.len - 1);
    } else {
        *rest = slice_of(rest->ptr + rest->len, 0);
    }
    return head;
}

static bool parse_query(struct store_url *u, struct parse *p, struct slice query) {
    while (query.len) {
        struct slice v = cut(&query, '&');
        struct slice name = cut(&v, '=');
        if (slice_eq(name, SLICE("socket"))) {
            if (!decode(p, "socket", v, u->socket)) {
                return false;
            }
            if (u->socket[0] != '/') {
                return REFUSE(p, "store URL: socket= needs an absolute path");
            }
        } else if (slice_eq(name, SLICE("ca"))) {
            if (!decode(p, "ca", v, u->ca)) {
                return false;
            }
        } else if (slice_eq(name, SLICE("tls"))) {
            if (slice_eq(v, SLICE("off"))) {
                u->tls = STORE_TLS_OFF;
            } else if (slice_eq(v, SLICE("on"))) {
                u->tls = STORE_TLS_ON;
            } else if (slice_eq(v, SLICE("verify"))) {
                u->tls = STORE_TLS_VERIFY;
            } else {
                return REFUSE(p, "store URL: tls=%.*s is none of off, on and verify", SLICE_FMT(v));
            }
        } else {
            return REFUSE(p, "store URL: unknown option '%.*s': tls=, socket= and ca= are known",
                          SLICE_FMT(name));
        }
    }
    return true;
}

static bool parse_host(struct store_url *u, struct parse *p, struct slice text) {
    struct slice host = text, port = SLICE("");
    if (text.len && text.ptr[0] == '[') {
        const char *close = memchr(text.ptr, ']', text.len);
        if (!close) {
            return REFUSE(p, "store URL: '[' without ']' in the host");
        }
        host = slice_of(text.ptr + 1, (size_t)(close - text.ptr) - 1);
        port = slice_of(close + 1, text.len - host.len - 2);
        if (port.len && port.ptr[0] != ':') {
            return REFUSE(p, "store URL: only :port may follow ']'");
        }
    } else {
        const char *colon = text.len ? memchr(text.ptr, ':', text.len) : NULL;
        if (colon) {
            host.len = (size_t)(colon - text.ptr);
            port = slice_of(colon, text.len - host.len);
        }
    }
    u->port = STORE_URL_PORT_MYSQL;
    if (port.len) {
        uint64_t number;
        if (!num_parse_u64(slice_of(port.ptr + 1, port.len - 1), &number) || number == 0 ||
            number > UINT16_MAX) {
            return REFUSE(p, "store URL: the port is no number from 1 to 65535");
        }
        u->port = (uint16_t)number;
    }
    return decode(p, "host", host, u->host);
}

static bool parse_mysql(struct store_url *u, struct parse *p, struct slice rest) {
    struct slice query = rest;
    struct slice front = cut(&query, '?');
    struct slice path = front;
    struct slice authority = cut(&path, '/');
    const char *at = authority.len ? memrchr(authority.ptr, '@', authority.len) : NULL;
    if (at) {
        struct slice password = slice_of(authority.ptr, (size_t)(at - authority.ptr));
        struct slice user = cut(&password, ':');
        if (!decode(p, "user", user, u->user) || !decode(p, "password", password, u->password)) {
            return false;
        }
        authority = slice_of(at + 1, authority.len - (size_t)(at - authority.ptr) - 1);
    }
    if (!u->user[0]) {
        return REFUSE(p, "store URL: the user is missing: mysql://user@host:port/database");
    }
    if (!parse_host(u, p, authority) || !parse_query(u, p, query)) {
        return false;
    }
    if (!u->host[0] && !u->socket[0]) {
        return REFUSE(p, "store URL: the host is missing: mysql://user@host:port/database");
    }
    if (path.len == 0 || memchr(path.ptr, '/', path.len)) {
        return REFUSE(p, "store URL: one database must follow the host: "
                         "mysql://user@host:port/database");
    }
    return decode(p, "database", path, u->database);
}

bool store_url_parse(struct store_url *u, const char *text, char *why, size_t why_len) {
    struct parse p = {why, why_len};
    struct slice rest = slice_str(text);
    *u = (struct store_url){0};
    if (slice_has_prefix(rest, SLICE("mysql://"))) {
        u->kind = STORE_URL_MYSQL;
        return parse_mysql(u, &p, slice_of(rest.ptr + 8, rest.len - 8));
    }
    if (slice_has_prefix(rest, SLICE("sqlite://"))) {
        u->kind = STORE_URL_SQLITE;
        rest = slice_of(rest.ptr + 9, rest.len - 9);
        if (memchr(rest.ptr, '?', rest.len)) {
            return REFUSE(&p, "store URL: sqlite takes no options ('?' is written %%3f)");
        }
        if (rest.len < 2 || rest.ptr[0] != '/') {
            return REFUSE(&p, "store URL: sqlite needs an absolute path: sqlite:///path/file.db");
        }
        return decode(&p, "path", rest, u->path);
    }
    return REFUSE(&p, "store URL: mysql://... or sqlite:///... is needed");
}

bool store_url_read_password(struct store_url *u, const char *file, char *why, size_t why_len) {
    struct parse p = {why, why_len};
    if (!file[0]) {
        return true;
    }
    FILE *f = fopen(file, "re");
    if (!f) {
        return REFUSE(&p, "store password file %s: %s", file, strerror(errno));
    }
    char line[STORE_URL_BYTES_MAX + 1] = "";
    bool read = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    size_t len = strcspn(line, "\r\n");
    if (!read || len == 0) {
        return REFUSE(&p, "store password file %s: its first line is empty", file);
    }
    if (len >= STORE_URL_BYTES_MAX) {
        return REFUSE(&p, "store password file %s: its first line is too long", file);
    }
    line[len] = '\0';
    memcpy(u->password, line, len + 1);
    return true;
}
