/* PING ECHO QUIT RESET AUTH HELLO SELECT: the connection and what it is allowed. No partition is
 * touched, but that RESET drops watches. */
#include "command/connection.h"

#include "base/num.h"
#include "command/command.h"
#include "command/errors.h"
#include "command/settings.h"
#include "command/transaction.h"
#include "command/version.h"

static void ping_command(struct cmd *c) {
    if (c->argc > 2) {
        resp_error(c->w, SLICE("ERR wrong number of arguments for 'ping' command"));
    } else if (c->argc == 2) {
        resp_bulk(c->w, c->argv[1]);
    } else {
        resp_raw(c->w, SLICE("+PONG\r\n"));
    }
}

static void echo_command(struct cmd *c) {
    resp_bulk(c->w, c->argv[1]);
}

static void quit_command(struct cmd *c) {
    resp_ok(c->w);
    client_set(c->client, CLIENT_CLOSE);
}

static void set_proto(struct cmd *c, unsigned proto) {
    atomic_store_explicit(&c->client->proto, (uint8_t)proto, memory_order_relaxed);
    c->w->proto = (uint8_t)proto;
}

static void set_db(struct cmd *c, unsigned db) {
    atomic_store_explicit(&c->client->db, (uint8_t)db, memory_order_relaxed);
}

static void reset_command(struct cmd *c) {
    struct client *client = c->client;
    transaction_discard(client, c->env);
    set_db(c, 0);
    set_proto(c, 2);
    c->env->host->client_set_text(c->env, client, CLIENT_TEXT_NAME, SLICE(""));
    client_unset(client, CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP_NEXT | CLIENT_NO_EVICT |
                             CLIENT_NO_TOUCH | CLIENT_AUTHENTICATED);
    if (!c->env->settings->requirepass[0]) {
        client_set(client, CLIENT_AUTHENTICATED);
    }
    resp_raw(c->w, SLICE("+RESET\r\n"));
}

/* Looks at all bytes of both, whatever they are: the time taken says nothing about the password. */
static bool is_password(const struct settings *settings, struct slice given) {
    char padded[sizeof settings->requirepass] = {0};
    size_t len = MIN(given.len, sizeof padded);
    if (len) {
        memcpy(padded, given.ptr, len);
    }
    unsigned char differs = given.len >= sizeof padded;
    for (size_t i = 0; i < sizeof padded; i++) {
        differs |= (unsigned char)(padded[i] ^ settings->requirepass[i]);
    }
    /* A zero byte in what was given must not stand for the end. */
    differs |= given.len != strnlen(settings->requirepass, sizeof settings->requirepass);
    return !differs;
}

/* True when the client is authenticated now, false after -WRONGPASS. */
static bool authenticate(struct cmd *c, struct slice user, struct slice password) {
    const struct settings *settings = c->env->settings;
    bool open = settings->requirepass[0] == 0;
    if (!slice_eq(user, SLICE("default")) || !(open || is_password(settings, password))) {
        stat_add(&c->env->stats->auth_failures, 1);
        resp_error(c->w, SLICE("WRONGPASS invalid username-password pair or user is disabled."));
        return false;
    }
    client_set(c->client, CLIENT_AUTHENTICATED);
    return true;
}

static void auth_command(struct cmd *c) {
    if (c->argc > 3) {
        resp_error(c->w, ERR_SYNTAX);
        return;
    }
    if (c->argc == 2 && !c->env->settings->requirepass[0]) {
        resp_error(c->w, SLICE("ERR AUTH <password> called without any password configured for the "
                               "default user. Are you sure your configuration is correct?"));
        return;
    }
    struct slice user = c->argc == 3 ? c->argv[1] : SLICE("default");
    if (authenticate(c, user, c->argv[c->argc - 1])) {
        resp_ok(c->w);
    }
}

bool connection_text_is_valid(struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '!' || text.ptr[i] > '~') {
            return false;
        }
    }
    return true;
}

static void hello_reply(struct cmd *c) {
    struct resp_writer *w = c->w;
    resp_map(w, 7);
    resp_bulk(w, SLICE("server"));
    resp_bulk(w, SLICE("redis"));
    resp_bulk(w, SLICE("version"));
    resp_bulk(w, SLICE(REDIS_VERSION));
    resp_bulk(w, SLICE("proto"));
    resp_int(w, client_proto(c->client));
    resp_bulk(w, SLICE("id"));
    resp_int(w, (int64_t)c->client->id);
    resp_bulk(w, SLICE("mode"));
    resp_bulk(w, SLICE("standalone"));
    resp_bulk(w, SLICE("role"));
    resp_bulk(w, SLICE("master"));
    resp_bulk(w, SLICE("modules"));
    resp_array(w, 0);
}

struct hello {
    int64_t proto; /* 0 = stays */
    const struct slice *auth, *name; /* user and password; NULL = not given */
};

static bool parse_hello(struct cmd *c, struct hello *out) {
    *out = (struct hello){0};
    if (c->argc > 1 && !num_parse_i64(c->argv[1], &out->proto)) {
        resp_error(c->w, SLICE("ERR Protocol version is not an integer or out of range"));
        return false;
    }
    if (c->argc > 1 && (out->proto < 2 || out->proto > 3)) {
        resp_error(c->w, SLICE("NOPROTO unsupported protocol version"));
        return false;
    }
    for (uint32_t i = 2; i < c->argc; i++) {
        uint32_t more = c->argc - 1 - i;
        if (cmd_arg_is(c, i, SLICE("auth")) && more >= 2) {
            out->auth = &c->argv[i + 1];
            i += 2;
        } else if (cmd_arg_is(c, i, SLICE("setname")) && more) {
            out->name = &c->argv[++i];
            if (!connection_text_is_valid(*out->name)) {
                resp_error(c->w, CONNECTION_ERR_NAME);
                return false;
            }
        } else {
            resp_errorf(c->w, "ERR Syntax error in HELLO option '%.*s'",
                        (int)MIN(c->argv[i].len, 128), c->argv[i].ptr);
            return false;
        }
    }
    return true;
}

static void hello_command(struct cmd *c) {
    struct hello hello;
    if (!parse_hello(c, &hello) ||
        (hello.auth && !authenticate(c, hello.auth[0], hello.auth[1]))) {
        return;
    }
    if (c->env->settings->requirepass[0] && !client_has(c->client, CLIENT_AUTHENTICATED)) {
        resp_error(c->w, SLICE("NOAUTH HELLO must be called with the client already "
                               "authenticated, otherwise the HELLO <proto> AUTH <user> <pass> "
                               "option can be used to authenticate the client and select the RESP "
                               "protocol version at the same time"));
        return;
    }
    if (hello.name) {
        c->env->host->client_set_text(c->env, c->client, CLIENT_TEXT_NAME, *hello.name);
    }
    if (hello.proto) {
        set_proto(c, (unsigned)hello.proto);
    }
    hello_reply(c);
}

static void select_command(struct cmd *c) {
    int db;
    if (!cmd_arg_int(c, 1, NULL, &db)) {
        return;
    }
    if (db < 0 || (uint32_t)db >= c->env->settings->databases) {
        resp_error(c->w, ERR_DB_RANGE);
        return;
    }
    set_db(c, (unsigned)db);
    resp_ok(c->w);
}

#define LOADS (CMD_LOADING | CMD_STALE)
#define NO_AUTH (LOADS | CMD_FAST | CMD_NO_AUTH | CMD_NOSCRIPT | CMD_ALLOW_BUSY)

const struct command connection_commands[] = {
    {.name = "ping", .fn = ping_command, .arity = -1, .flags = CMD_FAST, .acl = ACL_CONNECTION,
     .group = "connection", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Answers PONG, or the message: shows that the server is there.",
     .syntax = "[message]"},
    {.name = "echo", .fn = echo_command, .arity = 2, .flags = LOADS | CMD_FAST,
     .acl = ACL_CONNECTION, .group = "connection", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Answers with its argument.", .syntax = "message"},
    {.name = "quit", .fn = quit_command, .arity = -1, .flags = NO_AUTH | CMD_NOT_QUEUED,
     .acl = ACL_CONNECTION, .group = "connection", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Closes the connection once everything was answered.", .syntax = ""},
    {.name = "reset", .fn = reset_command, .arity = 1, .flags = NO_AUTH | CMD_NOT_QUEUED,
     .acl = ACL_CONNECTION, .group = "connection", .since = "6.2.0", .complexity = "O(1)",
     .summary = "Makes the connection as it was when it was opened.", .syntax = ""},
    {.name = "auth", .fn = auth_command, .arity = -2, .flags = NO_AUTH, .acl = ACL_CONNECTION,
     .group = "connection", .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Authenticates the connection by password.", .syntax = "[username] password"},
    {.name = "hello", .fn = hello_command, .arity = -1, .flags = NO_AUTH, .acl = ACL_CONNECTION,
     .group = "connection", .since = "6.0.0", .complexity = "O(1)",
     .summary = "Chooses the protocol version and describes the server.",
     .syntax = "[protover [AUTH username password] [SETNAME clientname]]"},
    {.name = "select", .fn = select_command, .arity = 2,
     .flags = LOADS | CMD_FAST | CMD_SELECTS,
     .acl = ACL_CONNECTION, .group = "connection", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Makes the connection use another database.", .syntax = "index"},
    {.name = NULL},
};
