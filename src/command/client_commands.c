/* CLIENT: the connections, as their owner or an administrator sees them. Other clients are known by
 * copies (host->clients_visit) and changed by messages (host->client_kill) only. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/num.h"
#include "command/command.h"
#include "command/connection.h"
#include "command/dispatch.h"
#include "command/errors.h"
#include "command/transaction.h"

static void id_command(struct cmd *c) {
    resp_int(c->w, (int64_t)c->client->id);
}

static const char *flag_letters(const struct client_info *info, char out[16]) {
    static const struct {
        uint32_t flag;
        char letter;
    } letters[] = {
        {CLIENT_MULTI, 'x'}, {CLIENT_BLOCKED, 'b'},  {CLIENT_CLOSE, 'c'},
        {CLIENT_UNIX, 'U'},  {CLIENT_NO_EVICT, 'e'}, {CLIENT_NO_TOUCH, 'T'},
    };
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_COUNT(letters); i++) {
        if (info->flags & letters[i].flag) {
            out[len++] = letters[i].letter;
        }
    }
    if (len == 0) {
        out[len++] = 'N';
    }
    out[len] = 0;
    return out;
}

static void describe(const struct cmd *c, const struct client_info *i, struct buf *out) {
    char flags[16];
    bool multi = i->flags & CLIENT_MULTI;
    buf_printf(out,
               "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=%u sub=0 "
               "psub=0 ssub=0 multi=%lld ",
               (unsigned long long)i->id, i->address, i->local_address, i->fd, i->name,
               (long long)i->age_s, (long long)i->idle_s, flag_letters(i, flags), i->db,
               multi ? (long long)i->multi_count : -1);
    buf_printf(out,
               "qbuf=%llu qbuf-free=0 argv-mem=0 multi-mem=%llu rbs=0 rbp=0 obl=0 oll=0 omem=%llu "
               "tot-mem=%llu events=r cmd=%s user=default redir=-1 resp=%u lib-name=%s "
               "lib-ver=%s\n",
               (unsigned long long)i->query_bytes,
               (unsigned long long)(i->id == c->client->id ? transaction_bytes(c->client) : 0),
               (unsigned long long)i->output_bytes, (unsigned long long)i->total_bytes,
               i->last_command ? command_table_full_name(c->env->commands, i->last_command - 1)
                               : "NULL",
               i->proto, i->lib_name, i->lib_version);
}

static void info_command(struct cmd *c) {
    struct client_info info = {0};
    struct buf out = {0};
    c->env->host->client_describe(c->env, c->client, &info);
    describe(c, &info, &out);
    resp_verbatim(c->w, "txt", buf_slice(&out));
    buf_free(&out);
}

/* --- LIST and KILL: which clients --- */

enum client_type { TYPE_ANY, TYPE_NORMAL, TYPE_OTHER };

struct filter {
    struct slice address, local_address; /* ptr NULL = any */
    int64_t id;                          /* 0 = any */
    uint64_t skip;                       /* an id; 0 = none */
    enum client_type type;
};

static bool filter_fits(const struct filter *f, const struct client_info *i) {
    return (!f->address.ptr || slice_eq(f->address, slice_str(i->address))) &&
           (!f->local_address.ptr || slice_eq(f->local_address, slice_str(i->local_address))) &&
           (f->id == 0 || (uint64_t)f->id == i->id) && (f->skip == 0 || f->skip != i->id) &&
           f->type != TYPE_OTHER;
}

/* There are no replicas and no subscribers: those types are known, and nobody is of them. */
static bool parse_type(struct cmd *c, uint32_t arg, enum client_type *out) {
    static const char *const others[] = {"slave", "replica", "pubsub", "master"};
    *out = TYPE_OTHER;
    if (cmd_arg_is(c, arg, SLICE("normal"))) {
        *out = TYPE_NORMAL;
        return true;
    }
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        if (cmd_arg_is(c, arg, slice_str(others[i]))) {
            return true;
        }
    }
    resp_errorf(c->w, "ERR Unknown client type '%.*s'", (int)MIN(c->argv[arg].len, 128),
                c->argv[arg].ptr);
    return false;
}

struct found {
    const struct filter *filter;
    struct client_info *v;
    size_t count, cap;
};

static void collect(void *arg, const struct client_info *info) {
    struct found *found = arg;
    if (!filter_fits(found->filter, info)) {
        return;
    }
    if (found->count == found->cap) {
        found->cap = found->cap ? found->cap * 2 : 64;
        found->v = mem_realloc(found->v, found->cap * sizeof *found->v);
    }
    found->v[found->count++] = *info;
}

static int by_id(const void *a, const void *b) {
    uint64_t x = ((const struct client_info *)a)->id, y = ((const struct client_info *)b)->id;
    return (x > y) - (x < y);
}

/* Matching clients by ascending id; free with mem_free(found->v). */
static void find_clients(struct cmd *c, const struct filter *filter, struct found *found) {
    *found = (struct found){.filter = filter};
    c->env->host->clients_visit(c->env, collect, found);
    if (found->count) {
        qsort(found->v, found->count, sizeof *found->v, by_id);
    }
}

static bool list_ids(struct cmd *c, struct found *all, struct buf *out) {
    for (uint32_t i = 3; i < c->argc; i++) {
        int64_t id;
        if (!num_parse_i64(c->argv[i], &id)) {
            resp_error(c->w, SLICE("ERR Invalid client ID"));
            return false;
        }
        struct client_info key = {.id = (uint64_t)id};
        const struct client_info *info =
            all->count ? bsearch(&key, all->v, all->count, sizeof key, by_id) : NULL;
        if (info) {
            describe(c, info, out);
        }
    }
    return true;
}

static void list_command(struct cmd *c) {
    struct filter filter = {0};
    struct found found;
    struct buf out = {0};
    bool ids = c->argc > 3 && cmd_arg_is(c, 2, SLICE("id"));
    if (c->argc == 4 && cmd_arg_is(c, 2, SLICE("type"))) {
        if (!parse_type(c, 3, &filter.type)) {
            return;
        }
    } else if (!ids && c->argc != 2) {
        resp_error(c->w, ERR_SYNTAX);
        return;
    }
    find_clients(c, &filter, &found);
    bool done = true;
    if (ids) {
        done = list_ids(c, &found, &out);
    } else {
        for (size_t i = 0; i < found.count; i++) {
            describe(c, &found.v[i], &out);
        }
    }
    if (done) {
        resp_verbatim(c->w, "txt", buf_slice(&out));
    }
    mem_free(found.v);
    buf_free(&out);
}

static bool parse_kill_option(struct cmd *c, uint32_t i, struct filter *f, bool *skip_me) {
    struct slice value = c->argv[i + 1];
    if (cmd_arg_is(c, i, SLICE("id"))) {
        if (!num_parse_i64(value, &f->id) || f->id < 1) {
            resp_error(c->w, SLICE("ERR client-id should be greater than 0"));
            return false;
        }
        return true;
    }
    if (cmd_arg_is(c, i, SLICE("type"))) {
        return parse_type(c, i + 1, &f->type);
    }
    if (cmd_arg_is(c, i, SLICE("addr"))) {
        f->address = value;
        return true;
    }
    if (cmd_arg_is(c, i, SLICE("laddr"))) {
        f->local_address = value;
        return true;
    }
    if (cmd_arg_is(c, i, SLICE("user"))) {
        if (!slice_eq(value, SLICE("default"))) {
            resp_errorf(c->w, "ERR No such user '%.*s'", (int)MIN(value.len, 128), value.ptr);
            return false;
        }
        return true;
    }
    bool yes = slice_eq_nocase(value, SLICE("yes")), no = slice_eq_nocase(value, SLICE("no"));
    if (cmd_arg_is(c, i, SLICE("skipme")) && (yes || no)) {
        *skip_me = yes;
        return true;
    }
    resp_error(c->w, ERR_SYNTAX);
    return false;
}

static bool parse_kill(struct cmd *c, struct filter *f) {
    *f = (struct filter){0};
    if (c->argc == 3) {
        f->address = c->argv[2];
        return true;
    }
    bool skip_me = true;
    for (uint32_t i = 2; i < c->argc; i += 2) {
        if (i + 1 == c->argc) {
            resp_error(c->w, ERR_SYNTAX);
            return false;
        }
        if (!parse_kill_option(c, i, f, &skip_me)) {
            return false;
        }
    }
    f->skip = skip_me ? c->client->id : 0;
    return true;
}

static void kill_command(struct cmd *c) {
    struct filter filter;
    struct found found;
    if (!parse_kill(c, &filter)) {
        return;
    }
    find_clients(c, &filter, &found);
    for (size_t i = 0; i < found.count; i++) {
        if (found.v[i].id == c->client->id) {
            client_set(c->client, CLIENT_CLOSE);
        } else {
            c->env->host->client_kill(c->env, found.v[i].shard, found.v[i].id);
        }
    }
    if (c->argc > 3) {
        resp_int(c->w, (int64_t)found.count);
    } else if (found.count) {
        resp_ok(c->w);
    } else {
        resp_error(c->w, SLICE("ERR No such client"));
    }
    mem_free(found.v);
}

/* --- texts and switches of the connection itself --- */

static void setname_command(struct cmd *c) {
    if (!connection_text_is_valid(c->argv[2])) {
        resp_error(c->w, CONNECTION_ERR_NAME);
        return;
    }
    c->env->host->client_set_text(c->env, c->client, CLIENT_TEXT_NAME, c->argv[2]);
    resp_ok(c->w);
}

static void getname_command(struct cmd *c) {
    const char *name = c->client->text[CLIENT_TEXT_NAME];
    if (name) {
        resp_bulk(c->w, slice_str(name));
    } else {
        resp_null(c->w);
    }
}

static void setinfo_command(struct cmd *c) {
    struct slice option = c->argv[2];
    int option_len = (int)MIN(option.len, 128), which;
    if (cmd_arg_is(c, 2, SLICE("lib-name"))) {
        which = CLIENT_TEXT_LIB_NAME;
    } else if (cmd_arg_is(c, 2, SLICE("lib-ver"))) {
        which = CLIENT_TEXT_LIB_VERSION;
    } else {
        resp_errorf(c->w, "ERR Unrecognized option '%.*s'", option_len, option.ptr);
        return;
    }
    if (!connection_text_is_valid(c->argv[3])) {
        resp_errorf(c->w, "ERR %.*s cannot contain spaces, newlines or special characters.",
                    option_len, option.ptr);
        return;
    }
    c->env->host->client_set_text(c->env, c->client, which, c->argv[3]);
    resp_ok(c->w);
}

static void switch_flag(struct cmd *c, uint32_t flag) {
    if (cmd_arg_is(c, 2, SLICE("on"))) {
        client_set(c->client, flag);
    } else if (cmd_arg_is(c, 2, SLICE("off"))) {
        client_unset(c->client, flag);
    } else {
        resp_error(c->w, ERR_SYNTAX);
        return;
    }
    resp_ok(c->w);
}

static void no_evict_command(struct cmd *c) {
    switch_flag(c, CLIENT_NO_EVICT);
}

static void no_touch_command(struct cmd *c) {
    switch_flag(c, CLIENT_NO_TOUCH);
}

/* What is silenced is decided after the command, by dispatch: ON is heard, OFF and SKIP write
 * nothing. */
static void reply_command(struct cmd *c) {
    if (cmd_arg_is(c, 2, SLICE("on"))) {
        client_unset(c->client, CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP);
        resp_ok(c->w);
    } else if (cmd_arg_is(c, 2, SLICE("off"))) {
        client_set(c->client, CLIENT_REPLY_OFF);
    } else if (cmd_arg_is(c, 2, SLICE("skip"))) {
        if (!client_has(c->client, CLIENT_REPLY_OFF)) {
            client_set(c->client, CLIENT_REPLY_SKIP_NEXT);
        }
    } else {
        resp_error(c->w, ERR_SYNTAX);
    }
}

static void pause_command(struct cmd *c) {
    bool writes_only = c->argc == 4 && cmd_arg_is(c, 3, SLICE("write"));
    int64_t ms, until_ms;
    if (c->argc > 4) {
        cmd_unknown_subcommand(c);
        return;
    }
    if (c->argc == 4 && !writes_only && !cmd_arg_is(c, 3, SLICE("all"))) {
        resp_error(c->w, SLICE("ERR CLIENT PAUSE mode must be WRITE or ALL"));
        return;
    }
    if (!num_parse_i64(c->argv[2], &ms)) {
        resp_error(c->w, SLICE("ERR timeout is not an integer or out of range"));
        return;
    }
    if (ms < 0) {
        resp_error(c->w, SLICE("ERR timeout is negative"));
        return;
    }
    if (__builtin_add_overflow(ms, c->env->now_ms, &until_ms)) {
        resp_error(c->w, SLICE("ERR timeout is out of range"));
        return;
    }
    c->env->host->pause(c->env, until_ms, writes_only);
    resp_ok(c->w);
}

static void unpause_command(struct cmd *c) {
    c->env->host->unpause(c->env);
    resp_ok(c->w);
}

/* No command blocks on a key yet, so nobody is there to be unblocked. */
static void unblock_command(struct cmd *c) {
    int64_t id;
    if (c->argc > 4) {
        cmd_unknown_subcommand(c);
        return;
    }
    if (c->argc == 4 && !cmd_arg_is(c, 3, SLICE("timeout")) && !cmd_arg_is(c, 3, SLICE("error"))) {
        resp_error(c->w, SLICE("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        return;
    }
    if (cmd_arg_i64(c, 2, &id)) {
        resp_int(c->w, 0);
    }
}

static void help_command(struct cmd *c) {
    static const char *const lines[] = {
        "ID",
        "    The connection's number.",
        "INFO",
        "    This connection, as LIST shows it.",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)|ID <id> [<id> ...]]",
        "    All connections, a line each.",
        "KILL <ip:port>",
        "    Closes the connection from this address.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Closes all connections that all options fit: ID, TYPE, ADDR, LADDR, USER;",
        "    SKIPME NO includes one's own.",
        "SETNAME <name>, GETNAME",
        "    A name for LIST.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    The client library's name and version.",
        "REPLY (ON|OFF|SKIP)",
        "    Whether replies are sent; SKIP leaves out the next one.",
        "PAUSE <milliseconds> [WRITE|ALL], UNPAUSE",
        "    Holds back commands, or only those that write.",
        "NO-EVICT (ON|OFF)",
        "    Keeps the connection when clients are closed for memory.",
        "NO-TOUCH (ON|OFF)",
        "    Reads do not count as use for the eviction policy.",
        "UNBLOCK <id> [TIMEOUT|ERROR]",
        "    Ends the waiting of a blocked connection.",
        NULL,
    };
    cmd_help(c, lines);
}

#define OPEN  (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define ADMIN (OPEN | CMD_ADMIN)
#define CLIENT_ROW(word, function, args, what, version, does, arguments)                           \
    {.name = word, .fn = function, .arity = args, .flags = what, .acl = ACL_CONNECTION,            \
     .group = "connection", .since = version, .complexity = "O(1)", .summary = does,               \
     .syntax = arguments}
#define KILL_SYNTAX                                                                                \
    "<ip:port | <ID client-id | TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB> | "              \
    "USER username | ADDR addr | LADDR laddr | SKIPME <YES | NO>> [...]>"

static const struct command client_subcommands[] = {
    CLIENT_ROW("id", id_command, 2, OPEN, "5.0.0", "Answers the connection's number.", ""),
    CLIENT_ROW("info", info_command, 2, OPEN, "6.2.0", "Describes this connection.", ""),
    CLIENT_ROW("list", list_command, -2, ADMIN, "2.4.0", "Describes all connections, a line each.",
               "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]"),
    CLIENT_ROW("kill", kill_command, -3, ADMIN, "2.4.0", "Closes connections.", KILL_SYNTAX),
    CLIENT_ROW("setname", setname_command, 3, OPEN, "2.6.9", "Names the connection.",
               "connection-name"),
    CLIENT_ROW("getname", getname_command, 2, OPEN, "2.6.9", "Answers the connection's name.", ""),
    CLIENT_ROW("setinfo", setinfo_command, 4, OPEN, "7.2.0",
               "Notes the name or version of the client library.",
               "<LIB-NAME libname | LIB-VER libver>"),
    CLIENT_ROW("no-evict", no_evict_command, 3, ADMIN, "7.0.0",
               "Exempts the connection from being closed for memory.", "<ON | OFF>"),
    CLIENT_ROW("no-touch", no_touch_command, 3, OPEN, "7.2.0",
               "Makes all but TOUCH leave recency and frequency of keys alone.", "<ON | OFF>"),
    CLIENT_ROW("reply", reply_command, 3, OPEN, "3.2.0", "Switches replies off and on.",
               "<ON | OFF | SKIP>"),
    CLIENT_ROW("pause", pause_command, -3, ADMIN, "3.0.0", "Holds commands back for a time.",
               "timeout [WRITE | ALL]"),
    CLIENT_ROW("unpause", unpause_command, 2, ADMIN | CMD_NO_PAUSE, "6.2.0", "Ends a pause.", ""),
    CLIENT_ROW("unblock", unblock_command, -3, ADMIN, "5.0.0",
               "Ends the waiting of a blocked connection.", "client-id [TIMEOUT | ERROR]"),
    CLIENT_ROW("help", help_command, 2, CMD_LOADING | CMD_STALE, "5.0.0",
               "Lists the subcommands.", ""),
    {.name = NULL},
};

const struct command client_commands[] = {
    {.name = "client", .arity = -2, .group = "connection", .since = "2.4.0",
     .complexity = "Depends on the subcommand",
     .summary = "Commands about connections.", .syntax = "", .subcommands = client_subcommands},
    {.name = NULL},
};
