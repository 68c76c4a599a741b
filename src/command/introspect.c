/* COMMAND and its subcommands: the command table in the shape clients read. All of it is derived
 * from the rows; nothing is locked. */
#include "command/introspect.h"

#include "base/glob.h"
#include "base/mem.h"
#include "command/dispatch.h"
#include "command/errors.h"
#include "command/syntax.h"

/* --- COMMAND INFO --- */

struct name_of_bit {
    uint32_t bit;
    const char *name;
};

/* A set of the names of those bits that are set. */
static void reply_bits(struct cmd *c, uint32_t bits, const struct name_of_bit *names,
                       size_t count) {
    uint32_t known = 0;
    for (size_t i = 0; i < count; i++) {
        known += (bits & names[i].bit) != 0;
    }
    resp_set(c->w, known);
    for (size_t i = 0; i < count; i++) {
        if (bits & names[i].bit) {
            resp_simple(c->w, slice_str(names[i].name));
        }
    }
}

static const struct name_of_bit acl_names[] = {
    {ACL_KEYSPACE, "@keyspace"}, {ACL_READ, "@read"},
    {ACL_WRITE, "@write"},       {ACL_SET, "@set"},
    {ACL_SORTEDSET, "@sortedset"}, {ACL_LIST, "@list"},
    {ACL_HASH, "@hash"},         {ACL_STRING, "@string"},
    {ACL_BITMAP, "@bitmap"},     {ACL_HYPERLOGLOG, "@hyperloglog"},
    {ACL_GEO, "@geo"},           {ACL_STREAM, "@stream"},
    {ACL_PUBSUB, "@pubsub"},     {ACL_ADMIN, "@admin"},
    {ACL_FAST, "@fast"},         {ACL_SLOW, "@slow"},
    {ACL_BLOCKING, "@blocking"}, {ACL_DANGEROUS, "@dangerous"},
    {ACL_CONNECTION, "@connection"}, {ACL_TRANSACTION, "@transaction"},
    {ACL_SCRIPTING, "@scripting"},
};

/* The row's own categories and those that follow from its flags. */
static uint32_t categories(const struct command *row) {
    uint32_t acl = row->acl;
    acl |= row->flags & CMD_WRITE ? ACL_WRITE : 0;
    acl |= row->flags & CMD_READ && !(acl & ACL_SCRIPTING) ? ACL_READ : 0;
    acl |= row->flags & CMD_ADMIN ? ACL_ADMIN | ACL_DANGEROUS : 0;
    acl |= row->flags & CMD_BLOCKING ? ACL_BLOCKING : 0;
    acl |= row->flags & CMD_FAST ? ACL_FAST : ACL_SLOW;
    return acl;
}

static void reply_flags(struct cmd *c, const struct command *row) {
    static const struct name_of_bit names[] = {
        {CMD_WRITE, "write"},
        {CMD_READ, "readonly"},
        {CMD_GROWS, "denyoom"},
        {CMD_ADMIN, "admin"},
        {CMD_NOSCRIPT, "noscript"},
        {CMD_BLOCKING, "blocking"},
        {CMD_LOADING, "loading"},
        {CMD_STALE, "stale"},
        {CMD_SKIP_STATS, "skip_monitor"},
        {CMD_SKIP_SLOWLOG, "skip_slowlog"},
        {CMD_FAST, "fast"},
        {CMD_NO_AUTH, "no_auth"},
        {CMD_NO_MULTI, "no_multi"},
        {CMD_MOVABLE_KEYS, "movablekeys"},
        {CMD_ALLOW_BUSY, "allow_busy"},
    };
    reply_bits(c, row->flags, names, ARRAY_COUNT(names));
}

static bool has_keys(const struct command *row) {
    return row->keys_fn || row->keys.first > 0;
}

/* What commands do to their keys, where it is not what READ ("RO access") and WRITE ("RW access
 * update") say. A second text: the second key is used otherwise than the first. */
static const struct {
    const char *name, *first, *second;
} key_uses[] = {
    {"append", "RW insert", NULL},
    {"copy", "RO access", "OW update"},
    {"del", "RM delete", NULL},
    {"exists", "RO", NULL},
    {"expire", "RW update", NULL},
    {"expireat", "RW update", NULL},
    {"getdel", "RW access delete", NULL},
    {"hdel", "RW delete", NULL},
    {"hexists", "RO", NULL},
    {"hlen", "RO", NULL},
    {"hmset", "RW update", NULL},
    {"hset", "RW update", NULL},
    {"hsetnx", "RW insert", NULL},
    {"hstrlen", "RO", NULL},
    {"memory|usage", "RO", NULL},
    {"mset", "OW update", NULL},
    {"msetnx", "OW insert", NULL},
    {"object|encoding", "RO", NULL},
    {"object|freq", "RO", NULL},
    {"object|idletime", "RO", NULL},
    {"object|refcount", "RO", NULL},
    {"persist", "RW update", NULL},
    {"pexpire", "RW update", NULL},
    {"pexpireat", "RW update", NULL},
    {"psetex", "OW update", NULL},
    {"rename", "RW access delete", "OW update"},
    {"renamenx", "RW access delete", "OW insert"},
    {"set", "RW access update variable_flags", NULL},
    {"setex", "OW update", NULL},
    {"setnx", "OW insert", NULL},
    {"setrange", "RW update", NULL},
    {"strlen", "RO", NULL},
    {"touch", "RO", NULL},
    {"type", "RO", NULL},
    {"unlink", "RM delete", NULL},
    {"watch", "RO", NULL},
};

struct key_use {
    const char *first, *second; /* NULL: as the first */
};

static struct key_use find_key_use(const struct cmd *c, uint32_t id) {
    const char *name = command_table_full_name(c->env->commands, id);
    for (size_t i = 0; i < ARRAY_COUNT(key_uses); i++) {
        if (strcmp(key_uses[i].name, name) == 0) {
            return (struct key_use){key_uses[i].first, key_uses[i].second};
        }
    }
    bool writes = command_table_row(c->env->commands, id)->flags & CMD_WRITE;
    return (struct key_use){writes ? "RW access update" : "RO access", NULL};
}

/* A set of the words of `text`. */
static void reply_words(struct cmd *c, const char *text) {
    uint64_t count = 1;
    for (const char *p = text; *p; p++) {
        count += *p == ' ';
    }
    resp_set(c->w, count);
    for (uint64_t i = 0; i < count; i++) {
        size_t len = strcspn(text, " ");
        resp_simple(c->w, slice_of(text, len));
        text += len + (i + 1 < count);
    }
}

/* `last` counts from `first`, or from the end when negative. */
static void reply_key_range(struct cmd *c, int first, int last, int step) {
    resp_bulk(c->w, SLICE("begin_search"));
    resp_map(c->w, 2);
    resp_bulk(c->w, SLICE("type"));
    resp_bulk(c->w, SLICE("index"));
    resp_bulk(c->w, SLICE("spec"));
    resp_map(c->w, 1);
    resp_bulk(c->w, SLICE("index"));
    resp_int(c->w, first);
    resp_bulk(c->w, SLICE("find_keys"));
    resp_map(c->w, 2);
    resp_bulk(c->w, SLICE("type"));
    resp_bulk(c->w, SLICE("range"));
    resp_bulk(c->w, SLICE("spec"));
    resp_map(c->w, 3);
    resp_bulk(c->w, SLICE("lastkey"));
    resp_int(c->w, last);
    resp_bulk(c->w, SLICE("keystep"));
    resp_int(c->w, step);
    resp_bulk(c->w, SLICE("limit"));
    resp_int(c->w, 0);
}

static void reply_key_unknown(struct cmd *c) {
    static const char *const steps[] = {"begin_search", "find_keys"};
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        resp_bulk(c->w, slice_str(steps[i]));
        resp_map(c->w, 2);
        resp_bulk(c->w, SLICE("type"));
        resp_bulk(c->w, SLICE("unknown"));
        resp_bulk(c->w, SLICE("spec"));
        resp_map(c->w, 0);
    }
}

static void reply_key_flags(struct cmd *c, const char *use) {
    resp_map(c->w, 3);
    resp_bulk(c->w, SLICE("flags"));
    reply_words(c, use);
}

static void reply_key_specs(struct cmd *c, uint32_t id) {
    const struct command *row = command_table_row(c->env->commands, id);
    if (!has_keys(row)) {
        resp_set(c->w, 0);
        return;
    }
    struct key_use use = find_key_use(c, id);
    int first = row->keys.first, last = row->keys.last, step = row->keys.step;
    resp_set(c->w, use.second ? 2 : 1);
    reply_key_flags(c, use.first);
    if (row->keys_fn) {
        reply_key_unknown(c);
    } else if (use.second) {
        reply_key_range(c, first, 0, 1);
        reply_key_flags(c, use.second);
        reply_key_range(c, first + step, 0, 1);
    } else {
        reply_key_range(c, first, last < 0 ? last : last - first, step);
    }
}

static uint32_t count_subcommands(const struct command *row) {
    uint32_t count = 0;
    for (const struct command *sub = row->subcommands; sub && sub->name; sub++) {
        count++;
    }
    return count;
}

static void reply_info(struct cmd *c, uint32_t id) {
    const struct command_table *table = c->env->commands;
    const struct command *row = command_table_row(table, id);
    uint32_t subcommands = count_subcommands(row);
    resp_array(c->w, 10);
    resp_bulk(c->w, slice_str(command_table_full_name(table, id)));
    resp_int(c->w, row->arity);
    reply_flags(c, row);
    resp_int(c->w, row->keys.first);
    resp_int(c->w, row->keys.last);
    resp_int(c->w, row->keys.step);
    reply_bits(c, categories(row), acl_names, ARRAY_COUNT(acl_names));
    resp_set(c->w, 0); /* tips for cluster proxies */
    reply_key_specs(c, id);
    if (subcommands == 0) {
        resp_set(c->w, 0);
        return;
    }
    resp_array(c->w, subcommands);
    for (uint32_t i = 0; i < subcommands; i++) {
        reply_info(c, id + 1 + i); /* they follow their container */
    }
}

static bool is_top_level(const struct command_table *table, uint32_t id) {
    return command_table_parent(table, id) == COMMAND_NO_PARENT;
}

static uint32_t count_top_level(const struct command_table *table) {
    uint32_t count = 0;
    for (uint32_t id = 0; id < command_table_count(table); id++) {
        count += is_top_level(table, id);
    }
    return count;
}

/* "get" or "client|id". */
static bool find_full_name(const struct cmd *c, struct slice name, uint32_t *id) {
    const struct command_table *table = c->env->commands;
    const char *bar = name.len ? memchr(name.ptr, '|', name.len) : NULL;
    if (!bar) {
        return command_table_find(table, name, id) != NULL;
    }
    struct slice parent = slice_of(name.ptr, (size_t)(bar - name.ptr));
    struct slice sub = slice_of(bar + 1, name.len - parent.len - 1);
    uint32_t parent_id;
    return command_table_find(table, parent, &parent_id) &&
           command_table_find_sub(table, parent_id, sub, id);
}

void introspect_command(struct cmd *c) {
    const struct command_table *table = c->env->commands;
    resp_array(c->w, count_top_level(table));
    for (uint32_t id = 0; id < command_table_count(table); id++) {
        if (is_top_level(table, id)) {
            reply_info(c, id);
        }
    }
}

static void info_command(struct cmd *c) {
    if (c->argc == 2) {
        introspect_command(c);
        return;
    }
    resp_array(c->w, c->argc - 2);
    for (uint32_t i = 2; i < c->argc; i++) {
        uint32_t id;
        if (find_full_name(c, c->argv[i], &id)) {
            reply_info(c, id);
        } else {
            resp_null(c->w);
        }
    }
}

static void count_command(struct cmd *c) {
    resp_int(c->w, count_top_level(c->env->commands));
}

/* --- COMMAND LIST --- */

struct list_filter {
    enum { LIST_ALL, LIST_NONE, LIST_CATEGORY, LIST_PATTERN } kind;
    uint32_t category;
    struct slice pattern;
};

static uint32_t find_category(struct slice name) {
    for (size_t i = 0; i < ARRAY_COUNT(acl_names); i++) {
        if (slice_eq_nocase(slice_str(acl_names[i].name + 1), name)) {
            return acl_names[i].bit;
        }
    }
    return 0;
}

static bool parse_list_filter(struct cmd *c, struct list_filter *out) {
    *out = (struct list_filter){.kind = LIST_ALL};
    if (c->argc == 2) {
        return true;
    }
    if (c->argc == 5 && cmd_arg_is(c, 2, SLICE("filterby"))) {
        if (cmd_arg_is(c, 3, SLICE("module"))) {
            out->kind = LIST_NONE; /* there are no modules */
            return true;
        }
        if (cmd_arg_is(c, 3, SLICE("aclcat"))) {
            out->kind = LIST_CATEGORY;
            out->category = find_category(c->argv[4]);
            return true;
        }
        if (cmd_arg_is(c, 3, SLICE("pattern"))) {
            out->kind = LIST_PATTERN;
            out->pattern = c->argv[4];
            return true;
        }
    }
    resp_error(c->w, ERR_SYNTAX);
    return false;
}

static bool list_has(const struct cmd *c, const struct list_filter *filter, uint32_t id) {
    const struct command_table *table = c->env->commands;
    switch (filter->kind) {
    case LIST_ALL:
        return true;
    case LIST_NONE:
        return false;
    case LIST_CATEGORY:
        return (categories(command_table_row(table, id)) & filter->category) != 0;
    case LIST_PATTERN:
        return glob_match(filter->pattern, slice_str(command_table_full_name(table, id)), true);
    }
    UNREACHABLE();
}

static void list_command(struct cmd *c) {
    struct list_filter filter;
    if (!parse_list_filter(c, &filter)) {
        return;
    }
    struct resp_deferred deferred;
    uint64_t count = 0;
    resp_defer_begin(c->w, &deferred);
    for (uint32_t id = 0; id < command_table_count(c->env->commands); id++) {
        if (list_has(c, &filter, id)) {
            resp_bulk(c->w, slice_str(command_table_full_name(c->env->commands, id)));
            count++;
        }
    }
    resp_defer_end_array(c->w, &deferred, count);
}

/* --- COMMAND DOCS --- */

static void reply_docs(struct cmd *c, uint32_t id) {
    const struct command_table *table = c->env->commands;
    const struct command *row = command_table_row(table, id);
    uint32_t subcommands = count_subcommands(row);
    bool has_arguments = row->syntax && row->syntax[0];
    resp_bulk(c->w, slice_str(command_table_full_name(table, id)));
    resp_map(c->w, 3 + (row->complexity != NULL) + has_arguments + (subcommands > 0));
    resp_bulk(c->w, SLICE("summary"));
    resp_bulk(c->w, slice_str(row->summary));
    resp_bulk(c->w, SLICE("since"));
    resp_bulk(c->w, slice_str(row->since));
    resp_bulk(c->w, SLICE("group"));
    resp_bulk(c->w, slice_str(row->group));
    if (row->complexity) {
        resp_bulk(c->w, SLICE("complexity"));
        resp_bulk(c->w, slice_str(row->complexity));
    }
    if (has_arguments) {
        resp_bulk(c->w, SLICE("arguments"));
        syntax_reply(c->w, row->syntax);
    }
    if (subcommands) {
        resp_bulk(c->w, SLICE("subcommands"));
        resp_map(c->w, subcommands);
        for (uint32_t i = 0; i < subcommands; i++) {
            reply_docs(c, id + 1 + i);
        }
    }
}

static void docs_command(struct cmd *c) {
    const struct command_table *table = c->env->commands;
    if (c->argc == 2) {
        resp_map(c->w, count_top_level(table));
        for (uint32_t id = 0; id < command_table_count(table); id++) {
            if (is_top_level(table, id)) {
                reply_docs(c, id);
            }
        }
        return;
    }
    struct resp_deferred deferred;
    uint64_t count = 0;
    resp_defer_begin(c->w, &deferred);
    for (uint32_t i = 2; i < c->argc; i++) {
        uint32_t id;
        if (find_full_name(c, c->argv[i], &id)) {
            reply_docs(c, id);
            count++;
        }
    }
    resp_defer_end_map(c->w, &deferred, count);
}

/* --- COMMAND GETKEYS --- */

static void reply_keys(struct cmd *c, bool with_flags) {
    struct slice *argv = c->argv + 2;
    uint32_t argc = c->argc - 2;
    struct cmd asked = {.argv = argv, .argc = argc, .env = c->env, .client = c->client};
    dispatch_find(&asked);
    if (!asked.spec) {
        resp_error(c->w, SLICE("ERR Invalid command specified"));
        return;
    }
    if (!has_keys(asked.spec)) {
        resp_error(c->w, SLICE("ERR The command has no key arguments"));
        return;
    }
    if (!dispatch_arity_fits(asked.spec, argc)) {
        resp_error(c->w, SLICE("ERR Invalid number of arguments specified for command"));
        return;
    }
    struct key_use use = find_key_use(c, asked.id);
    uint32_t *at = mem_alloc(argc * sizeof *at);
    int count = dispatch_key_positions(asked.spec, argv, argc, at);
    if (count <= 0) {
        resp_error(c->w, SLICE("ERR Invalid arguments specified for command"));
    } else {
        resp_array(c->w, (uint64_t)count);
    }
    for (int i = 0; i < count; i++) {
        if (with_flags) {
            resp_array(c->w, 2);
        }
        resp_bulk(c->w, argv[at[i]]);
        if (with_flags) {
            reply_words(c, i > 0 && use.second ? use.second : use.first);
        }
    }
    mem_free(at);
}

static void getkeys_command(struct cmd *c) {
    reply_keys(c, false);
}

static void getkeysandflags_command(struct cmd *c) {
    reply_keys(c, true);
}

static void help_command(struct cmd *c) {
    static const char *const lines[] = {
        "(no subcommand)",
        "    Describes all commands.",
        "COUNT",
        "    How many commands there are.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    Their names.",
        "INFO [<command> ...]",
        "    Arity, flags, keys and categories of these commands, or of all.",
        "DOCS [<command> ...]",
        "    What these commands do, or all.",
        "GETKEYS <command> [<arg> ...]",
        "    Which of a command's arguments are keys.",
        "GETKEYSANDFLAGS <command> [<arg> ...]",
        "    The same, with what is done to them.",
        NULL,
    };
    cmd_help(c, lines);
}

#define INTROSPECT_ROW(word, function, args, version, does, arguments)                             \
    {.name = word, .fn = function, .arity = args, .flags = CMD_LOADING | CMD_STALE,                \
     .acl = ACL_CONNECTION, .group = "server", .since = version,                                   \
     .complexity = "O(N), N being the number of commands told", .summary = does,                   \
     .syntax = arguments}

const struct command introspect_subcommands[] = {
    INTROSPECT_ROW("count", count_command, 2, "2.8.13", "How many commands there are.", ""),
    INTROSPECT_ROW("docs", docs_command, -2, "7.0.0", "What commands do, for people.",
                   "[command-name [command-name ...]]"),
    INTROSPECT_ROW("info", info_command, -2, "2.8.13", "What commands are like, for programs.",
                   "[command-name [command-name ...]]"),
    INTROSPECT_ROW("list", list_command, -2, "7.0.0", "The names of commands.",
                   "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]"),
    INTROSPECT_ROW("getkeys", getkeys_command, -3, "2.8.13", "Which arguments are keys.",
                   "command [arg [arg ...]]"),
    INTROSPECT_ROW("getkeysandflags", getkeysandflags_command, -3, "7.0.0",
                   "Which arguments are keys, and what is done to them.",
                   "command [arg [arg ...]]"),
    INTROSPECT_ROW("help", help_command, 2, "5.0.0", "Lists the subcommands.", ""),
    {.name = NULL},
};
