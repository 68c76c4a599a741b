/* Commands on keys whatever they hold. Each runs on the executing shard's thread, with the
 * partitions of all its keys locked; RANDOMKEY visits the others through the keyspace.
 *
 * 1. RENAME and MOVE carry the value over; COPY copies it. The TTL goes with it, always.
 * 2. A key name has one partition, whichever database it is in: MOVE and COPY DB need no further
 *    lock.
 * 3. Keys that are rows never come here but for reading and deleting their copy: dispatch_check
 *    refuses to move, rename or copy them, and to plant a key where a row would be. */
#include "base/num.h"
#include "command/command.h"
#include "command/errors.h"
#include "command/keys.h"
#include "ds/buf.h"

enum {
    EMBSTR_BYTES_MAX = 44, /* longest string that OBJECT ENCODING calls "embstr" */
    COPY_SAMPLES = 16,     /* members that a collection's size is told from */
};

struct slice keys_type_name(enum value_type type) {
    static const struct slice names[VALUE_TYPES_COUNT] = {
        [VALUE_STRING] = {"string", 6}, [VALUE_LIST] = {"list", 4}, [VALUE_SET] = {"set", 3},
        [VALUE_ZSET] = {"zset", 4},     [VALUE_HASH] = {"hash", 4}, [VALUE_STREAM] = {"stream", 6},
        [VALUE_ABSENT] = {"none", 4},
    };
    return names[type];
}

/* --- deleting, counting --- */

static void del_command(struct cmd *c) {
    int64_t deleted = 0;
    for (uint32_t i = 0; i < c->keys_count; i++) {
        cmd_invalidate_row(c, i);
        deleted += part_delete(cmd_partition(c, i), client_db(c->client), &c->keys[i],
                               c->env->now_ms);
    }
    resp_int(c->w, deleted);
}

static void exists_command(struct cmd *c) {
    int64_t found = 0;
    for (uint32_t i = 0; i < c->keys_count; i++) {
        found += cmd_look(c, i) != NULL;
    }
    resp_int(c->w, found);
}

static void touch_command(struct cmd *c) {
    int64_t found = 0;
    for (uint32_t i = 0; i < c->keys_count; i++) {
        found += cmd_touch(c, i) != NULL;
    }
    resp_int(c->w, found);
}

static void type_command(struct cmd *c) {
    const struct entry *e = cmd_look(c, 0);
    resp_simple(c->w, keys_type_name(e ? entry_type(e) : VALUE_ABSENT));
}

static void randomkey_command(struct cmd *c) {
    struct buf key = {0};
    if (keyspace_random_key(c->env->ks, c->held, client_db(c->client), &c->env->rng, c->env->now_ms,
                            &key)) {
        resp_bulk(c->w, buf_slice(&key));
    } else {
        resp_null(c->w);
    }
    buf_free(&key);
}

/* --- renaming, copying --- */

/* True when the source (which was *found) now is the target; without `replace`, only if no key had
 * that name. */
static bool rename_key(struct cmd *c, bool replace, bool *found) {
    unsigned db = client_db(c->client);
    const struct key *from = &c->keys[0], *to = &c->keys[1];
    *found = cmd_peek(c, 0) != NULL;
    bool same = slice_eq(from->bytes, to->bytes);
    if (!*found || (!replace && (same || cmd_peek(c, 1)))) {
        return false;
    }
    if (!same) {
        part_move_key((struct key_place){cmd_partition(c, 0), db, from},
                      (struct key_place){cmd_partition(c, 1), db, to}, c->env->now_ms);
    }
    return true;
}

static void rename_command(struct cmd *c) {
    bool found;
    if (rename_key(c, true, &found)) {
        resp_ok(c->w);
    } else {
        resp_error(c->w, ERR_NO_SUCH_KEY);
    }
}

static void renamenx_command(struct cmd *c) {
    bool found, renamed = rename_key(c, false, &found);
    if (found) {
        resp_int(c->w, renamed);
    } else {
        resp_error(c->w, ERR_NO_SUCH_KEY);
    }
}

static bool arg_database(struct cmd *c, uint32_t arg, unsigned *db) {
    int64_t number;
    if (!cmd_arg_i64(c, arg, &number)) {
        return false;
    }
    if (number < INT32_MIN || number > INT32_MAX) {
        resp_errorf(c->w, "ERR value is out of range, value must between %d and %d", INT32_MIN,
                    INT32_MAX);
        return false;
    }
    if (number < 0 || number >= c->env->settings->databases) {
        resp_error(c->w, ERR_DB_RANGE);
        return false;
    }
    *db = (unsigned)number;
    return true;
}

static void move_command(struct cmd *c) {
    unsigned from = client_db(c->client), to;
    if (!arg_database(c, 2, &to)) {
        return;
    }
    const struct key *key = &c->keys[0];
    struct partition *p = cmd_partition(c, 0);
    if (from == to) {
        resp_error(c->w, ERR_SAME_OBJECT);
    } else if (!cmd_peek(c, 0) || part_peek(p, to, key, c->env->now_ms)) {
        resp_int(c->w, 0);
    } else {
        part_move_key((struct key_place){p, from, key}, (struct key_place){p, to, key},
                      c->env->now_ms);
        resp_int(c->w, 1);
    }
}

static bool parse_copy_options(struct cmd *c, unsigned *db, bool *replace) {
    *db = client_db(c->client);
    *replace = false;
    for (uint32_t i = 3; i < c->argc; i++) {
        if (cmd_arg_is(c, i, SLICE("replace"))) {
            *replace = true;
        } else if (cmd_arg_is(c, i, SLICE("db")) && i + 1 < c->argc) {
            if (!arg_database(c, ++i, db)) {
                return false;
            }
        } else {
            resp_error(c->w, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static void copy_command(struct cmd *c) {
    unsigned db;
    bool replace;
    if (!parse_copy_options(c, &db, &replace)) {
        return;
    }
    const struct key *to = &c->keys[1];
    if (db == client_db(c->client) && slice_eq(c->keys[0].bytes, to->bytes)) {
        resp_error(c->w, ERR_SAME_OBJECT);
        return;
    }
    const struct entry *e = cmd_read(c, 0);
    struct partition *p = cmd_partition(c, 1);
    if (!e || (!replace && part_peek(p, db, to, c->env->now_ms))) {
        resp_int(c->w, 0);
        return;
    }
    bool is_string = entry_type(e) == VALUE_STRING;
    if (!cmd_has_room(c, is_string ? entry_string(e).len : entry_memory_bytes(e, COPY_SAMPLES))) {
        return;
    }
    part_put(p, db, to,
             entry_copy(&p->heap, e, to->bytes, entry_expire_ms(e), (struct entry_origin){0}));
    resp_int(c->w, 1);
}

/* --- OBJECT: of a mapped row it looks at the cached copy, and never at the table behind --- */

static struct slice string_encoding(const struct entry *e) {
    struct slice value = entry_string(e);
    int64_t number;
    if (entry_is_raw(e)) {
        return SLICE("raw");
    }
    if (num_parse_i64(value, &number)) {
        return SLICE("int");
    }
    return value.len <= EMBSTR_BYTES_MAX ? SLICE("embstr") : SLICE("raw");
}

static void object_encoding_command(struct cmd *c) {
    const struct entry *e = cmd_peek(c, 0);
    if (!e) {
        resp_null(c->w);
    } else if (entry_type(e) == VALUE_STRING) {
        resp_bulk(c->w, string_encoding(e));
    } else {
        struct hash view;
        resp_bulk(c->w,
                  hash_is_packed(entry_hash(e, &view)) ? SLICE("listpack") : SLICE("hashtable"));
    }
}

static void object_refcount_command(struct cmd *c) {
    if (cmd_peek(c, 0)) {
        resp_int(c->w, 1);
    } else {
        resp_null(c->w);
    }
}

static bool policy_counts_frequency(const struct cmd *c) {
    enum evict_policy policy = c->env->settings->keyspace.policy;
    return policy == EVICT_ALL_LFU || policy == EVICT_VOLATILE_LFU;
}

static void object_idletime_command(struct cmd *c) {
    if (!cmd_peek(c, 0)) {
        resp_null(c->w);
    } else if (policy_counts_frequency(c)) {
        resp_error(c->w, SLICE("ERR An LFU maxmemory policy is selected, idle time not tracked. "
                               "Please note that when switching between policies at runtime LRU "
                               "and LFU data will take some time to adjust."));
    } else {
        resp_int(c->w, part_idle_s(cmd_partition(c, 0), client_db(c->client), &c->keys[0],
                                   c->env->now_ms));
    }
}

static void object_freq_command(struct cmd *c) {
    if (!cmd_peek(c, 0)) {
        resp_null(c->w);
    } else if (!policy_counts_frequency(c)) {
        resp_error(c->w, SLICE("ERR An LFU maxmemory policy is not selected, access frequency not "
                               "tracked. Please note that when switching between policies at "
                               "runtime LRU and LFU data will take some time to adjust."));
    } else {
        resp_int(c->w, part_frequency(cmd_partition(c, 0), client_db(c->client), &c->keys[0],
                                      c->env->now_ms));
    }
}

static void object_help_command(struct cmd *c) {
    static const char *const lines[] = {
        "OBJECT <subcommand> <key>: how the server keeps a key. Subcommands:",
        "ENCODING <key>",
        "    How the value is stored: int, embstr, raw, listpack, hashtable.",
        "FREQ <key>",
        "    How much the key was used, 0 to 5. Needs an LFU policy.",
        "IDLETIME <key>",
        "    Seconds since the key was last used. Needs a policy that is not LFU.",
        "REFCOUNT <key>",
        "    References to the value: always 1.",
        "HELP",
        "    This text.",
    };
    resp_array(c->w, ARRAY_COUNT(lines));
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        resp_simple(c->w, slice_str(lines[i]));
    }
}

/* --- the table --- */

#define OBJECT_ROW CMD_READ, {2, 2, 1}, NULL, ACL_KEYSPACE, ON_ROW_NOTHING, "generic"

static const struct command object_commands[] = {
    {"encoding", object_encoding_command, 3, OBJECT_ROW, "2.2.3", "O(1)",
     "Answers how the value of a key is stored.", "key", NULL},
    {"freq", object_freq_command, 3, OBJECT_ROW, "4.0.0", "O(1)",
     "Answers how often a key was used, on the scale of the LFU policies.", "key", NULL},
    {"help", object_help_command, 2, CMD_LOADING | CMD_STALE, {0}, NULL, ACL_KEYSPACE,
     ON_ROW_NOTHING, "generic", "6.2.0", "O(1)", "Lists the subcommands.", "", NULL},
    {"idletime", object_idletime_command, 3, OBJECT_ROW, "2.2.3", "O(1)",
     "Answers the seconds since a key was last used.", "key", NULL},
    {"refcount", object_refcount_command, 3, OBJECT_ROW, "2.2.3", "O(1)",
     "Answers how many references the value of a key has: 1.", "key", NULL},
    {NULL},
};

const struct command keys_commands[] = {
    {"copy", copy_command, -3, CMD_WRITE | CMD_GROWS | CMD_CARRIES, {1, 2, 1}, NULL,
     ACL_KEYSPACE, ON_ROW_UNSUPPORTED, "generic", "6.2.0", "O(N) in the size of the value",
     "Copies the value of a key to another key.",
     "source destination [DB destination-db] [REPLACE]", NULL},
    {"del", del_command, -2, CMD_WRITE, {1, -1, 1}, NULL, ACL_KEYSPACE, ON_ROW_COPY, "generic",
     "1.0.0", "O(N) in the number of keys; large values are freed in steps afterwards",
     "Deletes keys.", "key [key ...]", NULL},
    {"exists", exists_command, -2, CMD_READ | CMD_FAST, {1, -1, 1}, NULL, ACL_KEYSPACE,
     ON_ROW_READ, "generic", "1.0.0", "O(N) in the number of keys",
     "Counts how many of the keys named exist.", "key [key ...]", NULL},
    {"move", move_command, 3, CMD_WRITE | CMD_FAST | CMD_CARRIES, {1, 1, 1}, NULL,
     ACL_KEYSPACE, ON_ROW_UNSUPPORTED, "generic", "1.0.0", "O(1)",
     "Moves a key to another database.", "key db", NULL},
    {"object", NULL, -2, 0, {0}, NULL, 0, ON_ROW_NOTHING, "generic", "2.2.3",
     "That of the subcommand", "Answers how the server keeps a key.", "", object_commands},
    {"randomkey", randomkey_command, 1, CMD_READ | CMD_WALKS, {0}, NULL, ACL_KEYSPACE,
     ON_ROW_NOTHING, "generic", "1.0.0", "O(1)", "Answers the name of some key.", "", NULL},
    {"rename", rename_command, 3, CMD_WRITE | CMD_CARRIES, {1, 2, 1}, NULL, ACL_KEYSPACE,
     ON_ROW_UNSUPPORTED, "generic", "1.0.0", "O(1)",
     "Gives a key another name, replacing the key of that name.", "key newkey", NULL},
    {"renamenx", renamenx_command, 3, CMD_WRITE | CMD_FAST | CMD_CARRIES, {1, 2, 1}, NULL,
     ACL_KEYSPACE, ON_ROW_UNSUPPORTED, "generic", "1.0.0", "O(1)",
     "Gives a key another name unless a key of that name exists.", "key newkey", NULL},
    {"touch", touch_command, -2, CMD_READ | CMD_FAST, {1, -1, 1}, NULL, ACL_KEYSPACE, ON_ROW_READ,
     "generic", "3.2.1", "O(N) in the number of keys",
     "Counts the keys named that exist, and notes that they were used.", "key [key ...]", NULL},
    {"type", type_command, 2, CMD_READ | CMD_FAST, {1, 1, 1}, NULL, ACL_KEYSPACE, ON_ROW_READ,
     "generic", "1.0.0", "O(1)", "Answers what type of value a key holds.", "key", NULL},
    {"unlink", del_command, -2, CMD_WRITE | CMD_FAST, {1, -1, 1}, NULL, ACL_KEYSPACE, ON_ROW_COPY,
     "generic", "4.0.0", "O(N) in the number of keys; large values are freed in steps afterwards",
     "Deletes keys, as DEL does.", "key [key ...]", NULL},
    {NULL},
};
