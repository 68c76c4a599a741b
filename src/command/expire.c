/* Expiry commands. Each runs on the executing shard's thread, with its key's partition locked.
 *
 * 1. Inside, an expiry is an absolute time in ms; a time that has passed deletes the key at once.
 * 2. A cached row's deadline is a promise (STORE.md section 3, mode ttl): these commands may bring
 *    it forward, never put it off; PERSIST does nothing to it. */
#include "command/command.h"
#include "command/errors.h"

enum expire_flag {
    EXPIRE_NX = 1 << 0,
    EXPIRE_XX = 1 << 1,
    EXPIRE_GT = 1 << 2,
    EXPIRE_LT = 1 << 3,
};

static bool parse_flags(struct cmd *c, uint32_t *flags) {
    static const struct slice words[] = {{"nx", 2}, {"xx", 2}, {"gt", 2}, {"lt", 2}};
    *flags = 0;
    for (uint32_t i = 3; i < c->argc; i++) {
        uint32_t w = 0;
        while (w < ARRAY_COUNT(words) && !cmd_arg_is(c, i, words[w])) {
            w++;
        }
        if (w == ARRAY_COUNT(words)) {
            resp_errorf(c->w, "ERR Unsupported option %.*s", SLICE_FMT(c->argv[i]));
            return false;
        }
        *flags |= 1u << w;
    }
    if ((*flags & EXPIRE_NX) && (*flags & ~(uint32_t)EXPIRE_NX)) {
        resp_error(c->w, SLICE("ERR NX and XX, GT or LT options at the same time are not "
                               "compatible"));
        return false;
    }
    if ((*flags & EXPIRE_GT) && (*flags & EXPIRE_LT)) {
        resp_error(c->w, SLICE("ERR GT and LT options at the same time are not compatible"));
        return false;
    }
    return true;
}

/* A key without TTL counts as one that expires after every time there is. */
static bool flags_allow(uint32_t flags, int64_t current_ms, int64_t new_ms) {
    bool persistent = current_ms == EXPIRE_NEVER;
    return !((flags & EXPIRE_NX) && !persistent) && !((flags & EXPIRE_XX) && persistent) &&
           !((flags & EXPIRE_GT) && (persistent || new_ms <= current_ms)) &&
           !((flags & EXPIRE_LT) && !persistent && new_ms >= current_ms);
}

static void expire_generic(struct cmd *c, int64_t unit_ms, bool absolute) {
    uint32_t flags;
    int64_t expire_ms;
    if (!parse_flags(c, &flags) ||
        !cmd_arg_expire(c, 2, unit_ms, absolute, false, &expire_ms)) {
        return;
    }
    const struct entry *e = cmd_peek(c, 0);
    if (!e || !flags_allow(flags, entry_expire_ms(e), expire_ms)) {
        resp_int(c->w, 0);
        return;
    }
    struct partition *p = cmd_partition(c, 0);
    unsigned db = client_db(c->client);
    if (expire_ms <= c->env->now_ms) {
        part_delete(p, db, &c->keys[0], c->env->now_ms);
    } else {
        part_set_expire(p, db, &c->keys[0], cmd_clamp_expire(e, expire_ms), c->env->now_ms);
    }
    resp_int(c->w, 1);
}

static void expire_command(struct cmd *c) {
    expire_generic(c, 1000, false);
}

static void pexpire_command(struct cmd *c) {
    expire_generic(c, 1, false);
}

static void expireat_command(struct cmd *c) {
    expire_generic(c, 1000, true);
}

static void pexpireat_command(struct cmd *c) {
    expire_generic(c, 1, true);
}

static void ttl_generic(struct cmd *c, int64_t unit_ms, bool absolute) {
    const struct entry *e = cmd_look(c, 0);
    if (!e) {
        resp_int(c->w, -2);
        return;
    }
    int64_t expire_ms = entry_expire_ms(e);
    if (expire_ms == EXPIRE_NEVER) {
        resp_int(c->w, -1);
        return;
    }
    int64_t ms = absolute ? expire_ms : MAX(expire_ms - c->env->now_ms, 0);
    resp_int(c->w, (ms + unit_ms / 2) / unit_ms);
}

static void ttl_command(struct cmd *c) {
    ttl_generic(c, 1000, false);
}

static void pttl_command(struct cmd *c) {
    ttl_generic(c, 1, false);
}

static void expiretime_command(struct cmd *c) {
    ttl_generic(c, 1000, true);
}

static void pexpiretime_command(struct cmd *c) {
    ttl_generic(c, 1, true);
}

static void persist_command(struct cmd *c) {
    const struct entry *e = cmd_peek(c, 0);
    bool changes = e && entry_expire_ms(e) != EXPIRE_NEVER && entry_origin(e).mapping == 0;
    if (changes) {
        part_set_expire(cmd_partition(c, 0), client_db(c->client), &c->keys[0], EXPIRE_NEVER,
                        c->env->now_ms);
    }
    resp_int(c->w, changes);
}

/* --- the table --- */

#define WRITE_FAST (CMD_WRITE | CMD_FAST)
#define READ_FAST  (CMD_READ | CMD_FAST)

const struct command expire_commands[] = {
    {"expire", expire_command, -3, WRITE_FAST, {1, 1, 1}, NULL, ACL_KEYSPACE, ON_ROW_COPY,
     "generic", "1.0.0", "O(1)", "Lets a key expire after a number of seconds.",
     "key seconds [NX | XX | GT | LT]", NULL},
    {"expireat", expireat_command, -3, WRITE_FAST, {1, 1, 1}, NULL, ACL_KEYSPACE, ON_ROW_COPY,
     "generic", "1.2.0", "O(1)", "Lets a key expire at a Unix time in seconds.",
     "key unix-time-seconds [NX | XX | GT | LT]", NULL},
    {"expiretime", expiretime_command, 2, READ_FAST, {1, 1, 1}, NULL, ACL_KEYSPACE, ON_ROW_READ,
     "generic", "7.0.0", "O(1)", "Answers when a key expires, as a Unix time in seconds.", "key",
     NULL},
    {"persist", persist_command, 2, WRITE_FAST, {1, 1, 1}, NULL, ACL_KEYSPACE, ON_ROW_COPY,
     "generic", "2.2.0", "O(1)", "Takes the expiry from a key.", "key", NULL},
    {"pexpire", pexpire_command, -3, WRITE_FAST, {1, 1, 1}, NULL, ACL_KEYSPACE, ON_ROW_COPY,
     "generic", "2.6.0", "O(1)", "Lets a key expire after a number of milliseconds.",
     "key milliseconds [NX | XX | GT | LT]", NULL},
    {"pexpireat", pexpireat_command, -3, WRITE_FAST, {1, 1, 1}, NULL, ACL_KEYSPACE, ON_ROW_COPY,
     "generic", "2.6.0", "O(1)", "Lets a key expire at a Unix time in milliseconds.",
     "key unix-time-milliseconds [NX | XX | GT | LT]", NULL},
    {"pexpiretime", pexpiretime_command, 2, READ_FAST, {1, 1, 1}, NULL, ACL_KEYSPACE, ON_ROW_READ,
     "generic", "7.0.0", "O(1)", "Answers when a key expires, as a Unix time in milliseconds.",
     "key", NULL},
    {"pttl", pttl_command, 2, READ_FAST, {1, 1, 1}, NULL, ACL_KEYSPACE, ON_ROW_READ, "generic",
     "2.6.0", "O(1)", "Answers the milliseconds a key has left.", "key", NULL},
    {"ttl", ttl_command, 2, READ_FAST, {1, 1, 1}, NULL, ACL_KEYSPACE, ON_ROW_READ, "generic",
     "1.0.0", "O(1)", "Answers the seconds a key has left.", "key", NULL},
    {NULL},
};
