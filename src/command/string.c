/* The string commands. Each runs on the executing shard's thread, with its keys' partitions locked.
 *
 * 1. A value is the client's bytes, always: numbers are parsed when an INCR comes and stored as
 *    text.
 * 2. A value of its own allocation (struct blob) is pinned into the reply instead of copied; what
 *    changes the key afterwards leaves pinned bytes alone (engine/entry.h).
 * 3. Nothing is changed before all arguments were checked and all keys were looked up.
 *
 * Limit: APPEND and SETRANGE refuse results longer than proto-max-bulk-len. */
#include "base/num.h"
#include "command/command.h"
#include "command/errors.h"
#include "command/lcs.h"

#include <math.h>

/* --- replies --- */

/* `part` is all or a piece of a string entry's value. */
static void reply_bytes(struct cmd *c, const struct entry *e, struct slice part) {
    struct blob *blob = part.len >= ENTRY_INLINE_BYTES_MAX ? entry_blob(e) : NULL;
    if (UNLIKELY(blob != NULL)) {
        blob_pin(blob, client_has(c->client, CLIENT_NO_EVICT));
        resp_bulk_pinned(c->w, part, blob_memory_bytes(blob), blob_unpin, blob);
    } else {
        resp_bulk(c->w, part);
    }
}

static void reply_value(struct cmd *c, const struct entry *e) {
    if (e) {
        reply_bytes(c, e, entry_string(e));
    } else {
        resp_null(c->w);
    }
}

/* False: the argument does not lie apart. */
static __attribute__((noinline)) bool set_blob(struct cmd *c, uint32_t key, uint32_t arg,
                                               int64_t expire_ms) {
    struct blob *b = cmd_take_blob(c, arg);
    if (!b) {
        return false;
    }
    part_set_blob(cmd_partition(c, key), client_db(c->client), &c->keys[key], b, expire_ms);
    return true;
}

static inline void set_string(struct cmd *c, uint32_t key, uint32_t arg, int64_t expire_ms) {
    if (LIKELY(!c->apart) || !set_blob(c, key, arg, expire_ms)) {
        part_set_string(cmd_partition(c, key), client_db(c->client), &c->keys[key], c->argv[arg],
                        expire_ms);
    }
}

/* --- GET and its relatives --- */

static void get_command(struct cmd *c) {
    struct entry *e;
    if (cmd_read_typed(c, 0, VALUE_STRING, &e)) {
        reply_value(c, e);
    }
}

static void mget_command(struct cmd *c) {
    resp_array(c->w, c->keys_count);
    for (uint32_t i = 0; i < c->keys_count; i++) {
        const struct entry *e = cmd_read(c, i);
        reply_value(c, e && entry_type(e) == VALUE_STRING ? e : NULL);
    }
}

static void strlen_command(struct cmd *c) {
    struct entry *e;
    if (cmd_read_typed(c, 0, VALUE_STRING, &e)) {
        resp_int(c->w, e ? (int64_t)entry_string(e).len : 0);
    }
}

static void getrange_command(struct cmd *c) {
    int64_t first, last;
    struct entry *e;
    if (!cmd_arg_i64(c, 2, &first) || !cmd_arg_i64(c, 3, &last) ||
        !cmd_read_typed(c, 0, VALUE_STRING, &e)) {
        return;
    }
    struct slice value = e ? entry_string(e) : SLICE("");
    int64_t len = (int64_t)value.len;
    bool reversed = first < 0 && last < 0 && first > last;
    first = MAX(first < 0 ? first + len : first, 0);
    last = MIN(MAX(last < 0 ? last + len : last, 0), len - 1);
    if (reversed || first > last) {
        resp_bulk(c->w, SLICE(""));
    } else {
        reply_bytes(c, e, slice_of(value.ptr + first, (size_t)(last - first + 1)));
    }
}

static void getdel_command(struct cmd *c) {
    struct entry *e;
    if (!cmd_read_typed(c, 0, VALUE_STRING, &e)) {
        return;
    }
    reply_value(c, e);
    if (e) {
        part_delete(cmd_partition(c, 0), client_db(c->client), &c->keys[0], c->env->now_ms);
    }
}

static void getset_command(struct cmd *c) {
    struct entry *e;
    if (cmd_read_typed(c, 0, VALUE_STRING, &e)) {
        reply_value(c, e);
        set_string(c, 0, 2, EXPIRE_NEVER);
    }
}

/* --- SET and its relatives --- */

enum set_flag {
    SET_NX = 1 << 0,
    SET_XX = 1 << 1,
    SET_GET = 1 << 2,
    SET_KEEPTTL = 1 << 3,
    SET_PERSIST = 1 << 4,
};

struct expiry_word {
    struct slice word;
    int64_t unit_ms;
    bool absolute;
};

struct set_options {
    uint32_t flags;                   /* enum set_flag */
    const struct expiry_word *expiry; /* NULL = none given */
    uint32_t expiry_arg;
};

static const struct expiry_word expiry_words[] = {
    {{"ex", 2}, 1000, false},
    {{"px", 2}, 1, false},
    {{"exat", 4}, 1000, true},
    {{"pxat", 4}, 1, true},
};

/* A word that takes no argument; 0 when it is none, or one that excludes what came before. */
static uint32_t parse_flag(const struct cmd *c, uint32_t arg, const struct set_options *o) {
    static const struct {
        struct slice word;
        uint32_t flag, excludes;
        bool excludes_expiry;
    } words[] = {
        {{"nx", 2}, SET_NX, SET_XX, false},
        {{"xx", 2}, SET_XX, SET_NX, false},
        {{"get", 3}, SET_GET, 0, false},
        {{"keepttl", 7}, SET_KEEPTTL, SET_PERSIST, true},
        {{"persist", 7}, SET_PERSIST, SET_KEEPTTL, true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (cmd_arg_is(c, arg, words[i].word)) {
            bool excluded =
                (o->flags & words[i].excludes) || (words[i].excludes_expiry && o->expiry);
            return excluded ? 0 : words[i].flag;
        }
    }
    return 0;
}

static const struct expiry_word *find_expiry_word(const struct cmd *c, uint32_t arg) {
    for (size_t i = 0; i < ARRAY_COUNT(expiry_words); i++) {
        if (cmd_arg_is(c, arg, expiry_words[i].word)) {
            return &expiry_words[i];
        }
    }
    return NULL;
}

/* Options of SET and GETEX from argument `first` on; `allowed` are the flags the command knows. A
 * word may come again, two that contradict each other may not. False after the error reply. */
static bool parse_options(struct cmd *c, uint32_t first, uint32_t allowed, struct set_options *o) {
    *o = (struct set_options){0};
    for (uint32_t i = first; i < c->argc; i++) {
        uint32_t flag = parse_flag(c, i, o);
        const struct expiry_word *expiry = flag ? NULL : find_expiry_word(c, i);
        if (flag & allowed) {
            o->flags |= flag;
        } else if (expiry && i + 1 < c->argc && (!o->expiry || o->expiry == expiry) &&
                   !(o->flags & (SET_KEEPTTL | SET_PERSIST))) {
            o->expiry = expiry;
            o->expiry_arg = ++i;
        } else {
            resp_error(c->w, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static void set_with_options(struct cmd *c) {
    struct set_options o;
    int64_t expire_ms = EXPIRE_NEVER;
    if (!parse_options(c, 3, SET_NX | SET_XX | SET_GET | SET_KEEPTTL, &o) ||
        (o.expiry && !cmd_arg_expire(c, o.expiry_arg, o.expiry->unit_ms, o.expiry->absolute, true,
                                     &expire_ms))) {
        return;
    }
    struct entry *old = NULL;
    if (o.flags & SET_GET) {
        if (!cmd_read_typed(c, 0, VALUE_STRING, &old)) {
            return;
        }
        reply_value(c, old);
    } else if (o.flags) {
        old = cmd_peek(c, 0);
    }
    bool refused = ((o.flags & SET_NX) && old) || ((o.flags & SET_XX) && !old);
    if (!refused) {
        if ((o.flags & SET_KEEPTTL) && old) {
            expire_ms = entry_expire_ms(old);
        }
        set_string(c, 0, 2, expire_ms);
    }
    if (!(o.flags & SET_GET)) {
        if (refused) {
            resp_null(c->w);
        } else {
            resp_ok(c->w);
        }
    }
}

static void set_command(struct cmd *c) {
    if (LIKELY(c->argc == 3)) {
        set_string(c, 0, 2, EXPIRE_NEVER);
        resp_ok(c->w);
    } else {
        set_with_options(c);
    }
}

static void setnx_command(struct cmd *c) {
    bool exists = cmd_peek(c, 0) != NULL;
    if (!exists) {
        set_string(c, 0, 2, EXPIRE_NEVER);
    }
    resp_int(c->w, !exists);
}

static void set_expiring(struct cmd *c, int64_t unit_ms) {
    int64_t expire_ms;
    if (cmd_arg_expire(c, 2, unit_ms, false, true, &expire_ms)) {
        set_string(c, 0, 3, expire_ms);
        resp_ok(c->w);
    }
}

static void setex_command(struct cmd *c) {
    set_expiring(c, 1000);
}

static void psetex_command(struct cmd *c) {
    set_expiring(c, 1);
}

/* Changes the TTL of the entry just read. A cached row keeps its promised deadline (STORE.md
 * section 3, mode ttl), and a row that was loaded for this reply alone is not in the table. */
static void getex_apply(struct cmd *c, const struct set_options *o, int64_t expire_ms) {
    struct partition *p = cmd_partition(c, 0);
    unsigned db = client_db(c->client);
    const struct entry *e = cmd_peek(c, 0);
    if (!e) {
        return;
    }
    if (o->expiry && o->expiry->absolute && expire_ms <= c->env->now_ms) {
        part_delete(p, db, &c->keys[0], c->env->now_ms);
    } else if (o->expiry) {
        part_set_expire(p, db, &c->keys[0], cmd_clamp_expire(e, expire_ms), c->env->now_ms);
    } else if ((o->flags & SET_PERSIST) && entry_expire_ms(e) != EXPIRE_NEVER &&
               entry_origin(e).mapping == 0) {
        part_set_expire(p, db, &c->keys[0], EXPIRE_NEVER, c->env->now_ms);
    }
}

static void getex_command(struct cmd *c) {
    struct set_options o;
    struct entry *e;
    if (!parse_options(c, 2, SET_PERSIST, &o) || !cmd_read_typed(c, 0, VALUE_STRING, &e)) {
        return;
    }
    int64_t expire_ms = EXPIRE_NEVER;
    if (!e) {
        resp_null(c->w);
    } else if (!o.expiry || cmd_arg_expire(c, o.expiry_arg, o.expiry->unit_ms, o.expiry->absolute,
                                           true, &expire_ms)) {
        reply_value(c, e);
        getex_apply(c, &o, expire_ms);
    }
}

/* --- MSET, MSETNX --- */

/* True when every key has its value; else the error is written. */
static bool check_pairs(struct cmd *c) {
    if (c->argc % 2 == 0) {
        resp_errorf(c->w, "ERR wrong number of arguments for '%s' command", c->spec->name);
        return false;
    }
    return true;
}

static void set_pairs(struct cmd *c) {
    for (uint32_t i = 0; i < c->keys_count; i++) {
        set_string(c, i, 2 + 2 * i, EXPIRE_NEVER);
    }
}

static void mset_command(struct cmd *c) {
    if (check_pairs(c)) {
        set_pairs(c);
        resp_ok(c->w);
    }
}

static void msetnx_command(struct cmd *c) {
    if (!check_pairs(c)) {
        return;
    }
    for (uint32_t i = 0; i < c->keys_count; i++) {
        if (cmd_peek(c, i)) {
            resp_int(c->w, 0);
            return;
        }
    }
    set_pairs(c);
    resp_int(c->w, 1);
}

/* --- numbers --- */

/* Stores what a calculation gave: the TTL of an existing key stays. */
static void store_number(struct cmd *c, const struct entry *old, struct slice text) {
    if (old) {
        part_update_string(cmd_partition(c, 0), client_db(c->client), &c->keys[0], text);
    } else {
        part_set_string(cmd_partition(c, 0), client_db(c->client), &c->keys[0], text,
                        EXPIRE_NEVER);
    }
}

static void increment(struct cmd *c, int64_t by) {
    struct entry *e;
    if (!cmd_peek_typed(c, 0, VALUE_STRING, &e)) {
        return;
    }
    int64_t value = 0;
    if (e && !num_parse_i64(entry_string(e), &value)) {
        resp_error(c->w, ERR_NOT_INTEGER);
        return;
    }
    if (__builtin_add_overflow(value, by, &value)) {
        resp_error(c->w, ERR_OVERFLOW);
        return;
    }
    char text[NUM_I64_CHARS_MAX];
    store_number(c, e, slice_of(text, num_format_i64(text, value)));
    resp_int(c->w, value);
}

static void incr_command(struct cmd *c) {
    increment(c, 1);
}

static void decr_command(struct cmd *c) {
    increment(c, -1);
}

static void incrby_command(struct cmd *c) {
    int64_t by;
    if (cmd_arg_i64(c, 2, &by)) {
        increment(c, by);
    }
}

static void decrby_command(struct cmd *c) {
    int64_t by;
    if (!cmd_arg_i64(c, 2, &by)) {
        return;
    }
    if (by == INT64_MIN) {
        resp_error(c->w, SLICE("ERR decrement would overflow"));
        return;
    }
    increment(c, -by);
}

static void incrbyfloat_command(struct cmd *c) {
    struct entry *e;
    if (!cmd_peek_typed(c, 0, VALUE_STRING, &e)) {
        return;
    }
    long double value = 0, by;
    if ((e && !num_parse_long_double(entry_string(e), &value)) ||
        !num_parse_long_double(c->argv[2], &by)) {
        resp_error(c->w, ERR_NOT_FLOAT);
        return;
    }
    value += by;
    if (!isfinite(value)) {
        resp_error(c->w, SLICE("ERR increment would produce NaN or Infinity"));
        return;
    }
    char text[NUM_LONG_DOUBLE_CHARS_MAX];
    struct slice result = slice_of(text, num_format_long_double(text, value));
    store_number(c, e, result);
    resp_bulk(c->w, result);
}

/* --- changing a part --- */

/* Writes `piece` at `offset` of the value of `e` (NULL: of none); answers the new length. */
static void write_piece(struct cmd *c, const struct entry *e, size_t offset, struct slice piece) {
    size_t len, old_len = e ? entry_string(e).len : 0;
    const struct blob *blob = e ? entry_blob(e) : NULL;
    if (__builtin_add_overflow(offset, piece.len, &len) ||
        len > c->env->settings->resp.bulk_bytes_max) {
        resp_error(c->w, ERR_TOO_BIG);
        return;
    }
    len = MAX(len, old_len);
    if ((!blob || len > blob->cap) && !cmd_has_room(c, len + len / 8)) {
        return;
    }
    char *bytes = part_resize_string(cmd_partition(c, 0), client_db(c->client), &c->keys[0], len,
                                     c->env->now_ms);
    if (piece.len > 0) {
        memcpy(bytes + offset, piece.ptr, piece.len);
    }
    resp_int(c->w, (int64_t)len);
}

static void append_command(struct cmd *c) {
    struct entry *e;
    if (!cmd_peek_typed(c, 0, VALUE_STRING, &e)) {
        return;
    }
    if (e) {
        write_piece(c, e, entry_string(e).len, c->argv[2]);
    } else {
        set_string(c, 0, 2, EXPIRE_NEVER);
        resp_int(c->w, (int64_t)c->argv[2].len);
    }
}

static void setrange_command(struct cmd *c) {
    int64_t offset;
    struct entry *e;
    if (!cmd_arg_i64(c, 2, &offset)) {
        return;
    }
    if (offset < 0) {
        resp_error(c->w, SLICE("ERR offset is out of range"));
        return;
    }
    if (!cmd_peek_typed(c, 0, VALUE_STRING, &e)) {
        return;
    }
    if (c->argv[3].len == 0) {
        resp_int(c->w, e ? (int64_t)entry_string(e).len : 0);
    } else {
        write_piece(c, e, (size_t)offset, c->argv[3]);
    }
}

/* --- the table --- */

#define GROWS (CMD_WRITE | CMD_GROWS)
#define TAKES (GROWS | CMD_TAKES)

const struct command string_commands[] = {
    {"append", append_command, 3, GROWS | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING,
     ON_ROW_UNSUPPORTED, "string", "2.0.0", "O(N) in the bytes appended, amortised",
     "Adds bytes behind a value, creating the key when it is missing.", "key value", NULL},
    {"decr", decr_command, 2, GROWS | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_WRITE,
     "string", "1.0.0", "O(1)", "Subtracts one from an integer value; a missing key counts as 0.",
     "key", NULL},
    {"decrby", decrby_command, 3, GROWS | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_WRITE,
     "string", "1.0.0", "O(1)", "Subtracts a number from an integer value.", "key decrement", NULL},
    {"get", get_command, 2, CMD_READ | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_READ,
     "string", "1.0.0", "O(1)", "Answers the value of a key.", "key", NULL},
    {"getdel", getdel_command, 2, CMD_WRITE | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING,
     ON_ROW_UNSUPPORTED, "string", "6.2.0", "O(1)", "Answers the value of a key and deletes it.",
     "key", NULL},
    {"getex", getex_command, -2, CMD_WRITE | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_READ,
     "string", "6.2.0", "O(1)", "Answers the value of a key and changes its expiry.",
     "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | "
     "PERSIST]",
     NULL},
    {"getrange", getrange_command, 4, CMD_READ, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_READ,
     "string", "2.4.0", "O(N) in the bytes answered", "Answers a piece of a value.",
     "key start end", NULL},
    {"getset", getset_command, 3, TAKES | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_WRITE,
     "string", "1.0.0", "O(1)", "Sets a key and answers the value it had.", "key value", NULL},
    {"incr", incr_command, 2, GROWS | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_WRITE,
     "string", "1.0.0", "O(1)", "Adds one to an integer value; a missing key counts as 0.", "key",
     NULL},
    {"incrby", incrby_command, 3, GROWS | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_WRITE,
     "string", "1.0.0", "O(1)", "Adds a number to an integer value.", "key increment", NULL},
    {"incrbyfloat", incrbyfloat_command, 3, GROWS | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING,
     ON_ROW_WRITE, "string", "2.6.0", "O(1)", "Adds a number with a fraction to a value.",
     "key increment", NULL},
    {"lcs", lcs_command, -3, CMD_READ, {1, 2, 1}, NULL, ACL_STRING, ON_ROW_READ, "string", "7.0.0",
     "O(N*M) in the two lengths", "Finds the longest common subsequence of two values.",
     "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]", NULL},
    {"mget", mget_command, -2, CMD_READ | CMD_FAST, {1, -1, 1}, NULL, ACL_STRING, ON_ROW_READ,
     "string", "1.0.0", "O(N) in the number of keys", "Answers the values of several keys.",
     "key [key ...]", NULL},
    {"mset", mset_command, -3, TAKES, {1, -1, 2}, NULL, ACL_STRING, ON_ROW_WRITE, "string",
     "1.0.1", "O(N) in the number of keys", "Sets several keys at once.",
     "key value [key value ...]", NULL},
    {"msetnx", msetnx_command, -3, TAKES, {1, -1, 2}, NULL, ACL_STRING, ON_ROW_WRITE, "string",
     "1.0.1", "O(N) in the number of keys", "Sets several keys at once when none of them exists.",
     "key value [key value ...]", NULL},
    {"psetex", psetex_command, 4, TAKES, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_WRITE, "string",
     "2.6.0", "O(1)", "Sets a key together with its expiry in milliseconds.",
     "key milliseconds value", NULL},
    {"set", set_command, -3, TAKES, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_WRITE, "string", "1.0.0",
     "O(1)", "Sets a key, whatever it held before.",
     "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | "
     "PXAT unix-time-milliseconds | KEEPTTL]",
     NULL},
    {"setex", setex_command, 4, TAKES, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_WRITE, "string",
     "2.0.0", "O(1)", "Sets a key together with its expiry in seconds.", "key seconds value", NULL},
    {"setnx", setnx_command, 3, TAKES | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_WRITE,
     "string", "1.0.0", "O(1)", "Sets a key when it does not exist.", "key value", NULL},
    {"setrange", setrange_command, 4, GROWS, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_UNSUPPORTED,
     "string", "2.2.0", "O(N) in the bytes written",
     "Overwrites a piece of a value, filling a gap before it with zero bytes.", "key offset value",
     NULL},
    {"strlen", strlen_command, 2, CMD_READ | CMD_FAST, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_READ,
     "string", "2.2.0", "O(1)", "Answers how many bytes a value has.", "key", NULL},
    {"substr", getrange_command, 4, CMD_READ, {1, 1, 1}, NULL, ACL_STRING, ON_ROW_READ, "string",
     "1.0.0", "O(N) in the bytes answered", "The old name of GETRANGE.", "key start end", NULL},
    {NULL},
};
