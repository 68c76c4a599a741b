/* The hash commands. Each runs on the executing shard's thread, with its key's partition locked.
 *
 * 1. An empty hash is no key: what takes the last field deletes the key. (A row may be one.)
 * 2. A new hash is filled before it is put into the keyspace, so watchers hear of it once.
 * 3. Nothing is changed before all arguments were checked and the key was looked up.
 *
 * Limits: HRANDFIELD answers at most RANDOM_REPEATS_MAX fields with repetition; sampling without it
 * gives up guessing after RANDOM_GUESSES a field and walks the hash instead. */
#include "base/glob.h"
#include "base/mem.h"
#include "base/num.h"
#include "command/command.h"
#include "command/errors.h"
#include "command/scan.h"

#include <math.h>

enum {
    RANDOM_REPEATS_MAX = 1 << 20,
    RANDOM_GUESSES = 16,
    RANDOM_SPARSE = 4, /* the hash has so many times the fields wanted: guessing beats walking */
};

/* --- the hash behind a key: NULL when it is missing; `view` as in entry_hash --- */

static bool read_hash(struct cmd *c, struct hash *view, const struct hash **h) {
    struct entry *e;
    if (!cmd_read_typed(c, 0, VALUE_HASH, &e)) {
        return false;
    }
    *h = e ? entry_hash(e, view) : NULL;
    return true;
}

/* For changing it: what changes it calls part_put_hash or part_delete then. */
static bool peek_hash(struct cmd *c, struct hash *view, struct hash **h) {
    struct entry *e;
    if (!cmd_peek_typed(c, 0, VALUE_HASH, &e)) {
        return false;
    }
    *h = e ? entry_hash(e, view) : NULL;
    return true;
}

/* Sets fields and values, `count` slices in turn, in `h`. The key is made when `h` is NULL. Returns
 * how many fields are new. */
static int64_t set_pairs(struct cmd *c, struct hash *h, const struct slice *pairs, uint32_t count) {
    char room[ENTRY_INLINE_BYTES_MAX];
    struct hash fresh;
    if (!h) {
        hash_init(&fresh, room, sizeof room);
        h = &fresh;
    }
    int64_t added = 0;
    for (uint32_t i = 0; i + 1 < count; i += 2) {
        added += hash_set(h, pairs[i], pairs[i + 1], &c->env->settings->hash);
    }
    part_put_hash(cmd_partition(c, 0), client_db(c->client), &c->keys[0], h);
    return added;
}

/* --- writing --- */

static bool parse_pairs(struct cmd *c, struct hash *view, struct hash **h) {
    if (c->argc % 2 != 0) {
        resp_errorf(c->w, "ERR wrong number of arguments for '%s' command", c->spec->name);
        return false;
    }
    return peek_hash(c, view, h);
}

static void hset_command(struct cmd *c) {
    struct hash view, *h;
    if (parse_pairs(c, &view, &h)) {
        resp_int(c->w, set_pairs(c, h, &c->argv[2], c->argc - 2));
    }
}

static void hmset_command(struct cmd *c) {
    struct hash view, *h;
    if (parse_pairs(c, &view, &h)) {
        set_pairs(c, h, &c->argv[2], c->argc - 2);
        resp_ok(c->w);
    }
}

static void hsetnx_command(struct cmd *c) {
    struct hash view, *h;
    struct slice value;
    if (!peek_hash(c, &view, &h)) {
        return;
    }
    bool exists = h && hash_get(h, c->argv[2], &value);
    if (!exists) {
        set_pairs(c, h, &c->argv[2], 2);
    }
    resp_int(c->w, !exists);
}

static void hdel_command(struct cmd *c) {
    struct hash view, *h;
    if (!peek_hash(c, &view, &h)) {
        return;
    }
    int64_t deleted = 0;
    for (uint32_t i = 2; h && i < c->argc && hash_count(h) > 0; i++) {
        deleted += hash_delete(h, c->argv[i]);
    }
    if (deleted > 0 && hash_count(h) == 0) {
        part_delete(cmd_partition(c, 0), client_db(c->client), &c->keys[0], c->env->now_ms);
    } else if (deleted > 0) {
        part_put_hash(cmd_partition(c, 0), client_db(c->client), &c->keys[0], h);
    }
    resp_int(c->w, deleted);
}

static void set_number(struct cmd *c, struct hash *h, struct slice text) {
    const struct slice pair[] = {c->argv[2], text};
    set_pairs(c, h, pair, 2);
}

static void hincrby_command(struct cmd *c) {
    int64_t by, value = 0;
    struct hash view, *h;
    struct slice old;
    if (!cmd_arg_i64(c, 3, &by) || !peek_hash(c, &view, &h)) {
        return;
    }
    if (h && hash_get(h, c->argv[2], &old) && !num_parse_i64(old, &value)) {
        resp_error(c->w, SLICE("ERR hash value is not an integer"));
        return;
    }
    if (__builtin_add_overflow(value, by, &value)) {
        resp_error(c->w, ERR_OVERFLOW);
        return;
    }
    char text[NUM_I64_CHARS_MAX];
    set_number(c, h, slice_of(text, num_format_i64(text, value)));
    resp_int(c->w, value);
}

static void hincrbyfloat_command(struct cmd *c) {
    long double by, value = 0;
    struct hash view, *h;
    struct slice old;
    if (!num_parse_long_double(c->argv[3], &by)) {
        resp_error(c->w, ERR_NOT_FLOAT);
        return;
    }
    if (!isfinite(by)) {
        resp_error(c->w, SLICE("ERR value is NaN or Infinity"));
        return;
    }
    if (!peek_hash(c, &view, &h)) {
        return;
    }
    if (h && hash_get(h, c->argv[2], &old) && !num_parse_long_double(old, &value)) {
        resp_error(c->w, SLICE("ERR hash value is not a float"));
        return;
    }
    value += by;
    if (!isfinite(value)) {
        resp_error(c->w, SLICE("ERR increment would produce NaN or Infinity"));
        return;
    }
    char text[NUM_LONG_DOUBLE_CHARS_MAX];
    struct slice result = slice_of(text, num_format_long_double(text, value));
    set_number(c, h, result);
    resp_bulk(c->w, result);
}

/* --- reading --- */

static void reply_field(struct cmd *c, const struct hash *h, struct slice field) {
    struct slice value;
    if (h && hash_get(h, field, &value)) {
        resp_bulk(c->w, value);
    } else {
        resp_null(c->w);
    }
}

static void hget_command(struct cmd *c) {
    struct hash view;
    const struct hash *h;
    if (read_hash(c, &view, &h)) {
        reply_field(c, h, c->argv[2]);
    }
}

static void hmget_command(struct cmd *c) {
    struct hash view;
    const struct hash *h;
    if (!read_hash(c, &view, &h)) {
        return;
    }
    resp_array(c->w, c->argc - 2);
    for (uint32_t i = 2; i < c->argc; i++) {
        reply_field(c, h, c->argv[i]);
    }
}

static void reply_all(struct cmd *c, bool fields, bool values) {
    struct hash view;
    const struct hash *h;
    if (!read_hash(c, &view, &h)) {
        return;
    }
    uint64_t count = h ? hash_count(h) : 0;
    if (fields && values) {
        resp_map(c->w, count);
    } else {
        resp_array(c->w, count);
    }
    struct hash_iter it = {0};
    struct slice field, value;
    while (h && hash_next(h, &it, &field, &value)) {
        if (fields) {
            resp_bulk(c->w, field);
        }
        if (values) {
            resp_bulk(c->w, value);
        }
    }
}

static void hgetall_command(struct cmd *c) {
    reply_all(c, true, true);
}

static void hkeys_command(struct cmd *c) {
    reply_all(c, true, false);
}

static void hvals_command(struct cmd *c) {
    reply_all(c, false, true);
}

static void hlen_command(struct cmd *c) {
    struct hash view;
    const struct hash *h;
    if (read_hash(c, &view, &h)) {
        resp_int(c->w, h ? (int64_t)hash_count(h) : 0);
    }
}

static void hexists_command(struct cmd *c) {
    struct hash view;
    const struct hash *h;
    struct slice value;
    if (read_hash(c, &view, &h)) {
        resp_int(c->w, h && hash_get(h, c->argv[2], &value));
    }
}

static void hstrlen_command(struct cmd *c) {
    struct hash view;
    const struct hash *h;
    struct slice value;
    if (read_hash(c, &view, &h)) {
        resp_int(c->w, h && hash_get(h, c->argv[2], &value) ? (int64_t)value.len : 0);
    }
}

static void scan_pair(void *arg, struct slice field, struct slice value) {
    struct scan_reply *r = arg;
    if (glob_is_all(r->options->match) || glob_match(r->options->match, field, false)) {
        resp_bulk(&r->w, field);
        resp_bulk(&r->w, value);
        r->count += 2;
    }
}

static void hscan_command(struct cmd *c) {
    uint64_t cursor;
    struct hash view;
    const struct hash *h;
    struct scan_options o = {0};
    if (!scan_parse_cursor(c, 2, &cursor) || !read_hash(c, &view, &h) ||
        (h && !scan_parse_options(c, 3, false, &o))) {
        return;
    }
    struct scan_reply r;
    scan_reply_begin(&r, c, &o);
    cursor = h ? hash_scan(h, cursor, o.count, scan_pair, &r) : 0;
    scan_reply_end(&r, c, cursor);
}

/* --- HRANDFIELD --- */

struct pair {
    struct slice field, value;
};

static void reply_count(struct cmd *c, uint64_t count, bool values) {
    resp_array(c->w, values && c->w->proto == 2 ? count * 2 : count);
}

/* RESP3 nests a field with its value. */
static void reply_pair(struct cmd *c, const struct pair *pair, bool values) {
    if (values && c->w->proto > 2) {
        resp_array(c->w, 2);
    }
    resp_bulk(c->w, pair->field);
    if (values) {
        resp_bulk(c->w, pair->value);
    }
}

static void random_repeating(struct cmd *c, const struct hash *h, uint64_t count, bool values) {
    if (count > RANDOM_REPEATS_MAX) {
        resp_error(c->w, SLICE("ERR value is out of range"));
        return;
    }
    reply_count(c, count, values);
    for (uint64_t i = 0; i < count; i++) {
        struct pair pair;
        hash_random(h, &c->env->rng, &pair.field, &pair.value);
        reply_pair(c, &pair, values);
    }
}

/* Every field gets the same chance in one walk (selection sampling: Knuth, TAOCP 2, 3.4.2 S). */
static void random_by_walk(struct cmd *c, const struct hash *h, uint64_t count, bool values) {
    struct hash_iter it = {0};
    struct pair pair;
    uint64_t left = hash_count(h);
    while (count > 0 && hash_next(h, &it, &pair.field, &pair.value)) {
        if (rng_below(&c->env->rng, left--) < count) {
            reply_pair(c, &pair, values);
            count--;
        }
    }
}

/* Guesses fields until `count` different ones are found: pairs[] in their order. `set` is an open
 * table of pair numbers + 1, of `mask` + 1 places. False when guessing takes too long. */
static bool guess_pairs(struct cmd *c, const struct hash *h, uint64_t count, struct pair *pairs,
                        uint32_t *set, uint64_t mask) {
    uint64_t found = 0;
    for (uint64_t guess = 0; found < count && guess < count * RANDOM_GUESSES; guess++) {
        struct pair *pair = &pairs[found];
        hash_random(h, &c->env->rng, &pair->field, &pair->value);
        uint64_t at = keyspace_key(c->env->ks, pair->field).hash & mask;
        while (set[at] != 0 && !slice_eq(pairs[set[at] - 1].field, pair->field)) {
            at = (at + 1) & mask;
        }
        if (set[at] == 0) {
            set[at] = (uint32_t)++found;
        }
    }
    return found == count;
}

static bool random_by_guessing(struct cmd *c, const struct hash *h, uint64_t count, bool values) {
    uint64_t places = 4;
    while (places < count * 2) {
        places *= 2;
    }
    struct pair *pairs = mem_alloc(count * sizeof *pairs);
    uint32_t *set = mem_zalloc(places * sizeof *set);
    bool done = guess_pairs(c, h, count, pairs, set, places - 1);
    for (uint64_t i = 0; done && i < count; i++) {
        reply_pair(c, &pairs[i], values);
    }
    mem_free(set);
    mem_free(pairs);
    return done;
}

static void random_distinct(struct cmd *c, const struct hash *h, uint64_t count, bool values) {
    uint64_t size = hash_count(h);
    count = MIN(count, size);
    reply_count(c, count, values);
    bool sparse = !hash_is_packed(h) && count < UINT32_MAX && count <= size / RANDOM_SPARSE;
    if (!sparse || !random_by_guessing(c, h, count, values)) {
        random_by_walk(c, h, count, values);
    }
}

static void random_one(struct cmd *c) {
    struct hash view;
    const struct hash *h;
    struct slice field, value;
    if (!read_hash(c, &view, &h)) {
        return;
    }
    if (h && hash_count(h) > 0) {
        hash_random(h, &c->env->rng, &field, &value);
        resp_bulk(c->w, field);
    } else {
        resp_null(c->w);
    }
}

static bool parse_random(struct cmd *c, int64_t *count, bool *values) {
    if (!cmd_arg_i64(c, 2, count)) {
        return false;
    }
    if (*count == INT64_MIN) {
        resp_errorf(c->w, "ERR value is out of range, value must between %lld and %lld",
                    -(long long)INT64_MAX, (long long)INT64_MAX);
        return false;
    }
    *values = c->argc == 4;
    if (c->argc > 4 || (*values && !cmd_arg_is(c, 3, SLICE("withvalues")))) {
        resp_error(c->w, ERR_SYNTAX);
        return false;
    }
    if (*values && (*count < -(INT64_MAX / 2) || *count > INT64_MAX / 2)) {
        resp_error(c->w, SLICE("ERR value is out of range"));
        return false;
    }
    return true;
}

static void hrandfield_command(struct cmd *c) {
    if (c->argc == 2) {
        random_one(c);
        return;
    }
    int64_t count;
    bool values;
    struct hash view;
    const struct hash *h;
    if (!parse_random(c, &count, &values) || !read_hash(c, &view, &h)) {
        return;
    }
    if (!h || hash_count(h) == 0 || count == 0) {
        resp_array(c->w, 0);
    } else if (count < 0) {
        random_repeating(c, h, (uint64_t)-count, values);
    } else {
        random_distinct(c, h, (uint64_t)count, values);
    }
}

/* --- the table --- */

#define READ_FAST  (CMD_READ | CMD_FAST)
#define GROWS_FAST (CMD_WRITE | CMD_GROWS | CMD_FAST)

const struct command hash_commands[] = {
    {"hdel", hdel_command, -3, CMD_WRITE | CMD_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_WRITE,
     "hash", "2.0.0", "O(N) in the number of fields named",
     "Deletes fields of a hash, and the key with the last one.", "key field [field ...]", NULL},
    {"hexists", hexists_command, 3, READ_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_READ, "hash",
     "2.0.0", "O(1)", "Answers whether a hash has a field.", "key field", NULL},
    {"hget", hget_command, 3, READ_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_READ, "hash", "2.0.0",
     "O(1)", "Answers the value of a field.", "key field", NULL},
    {"hgetall", hgetall_command, 2, CMD_READ, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_READ, "hash",
     "2.0.0", "O(N) in the number of fields", "Answers all fields with their values.", "key", NULL},
    {"hincrby", hincrby_command, 4, GROWS_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_WRITE, "hash",
     "2.0.0", "O(1)", "Adds a number to the integer in a field; a missing field counts as 0.",
     "key field increment", NULL},
    {"hincrbyfloat", hincrbyfloat_command, 4, GROWS_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_WRITE,
     "hash", "2.6.0", "O(1)", "Adds a number with a fraction to the one in a field.",
     "key field increment", NULL},
    {"hkeys", hkeys_command, 2, CMD_READ, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_READ, "hash", "2.0.0",
     "O(N) in the number of fields", "Answers all fields.", "key", NULL},
    {"hlen", hlen_command, 2, READ_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_READ, "hash", "2.0.0",
     "O(1)", "Answers how many fields a hash has.", "key", NULL},
    {"hmget", hmget_command, -3, READ_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_READ, "hash",
     "2.0.0", "O(N) in the number of fields named", "Answers the values of several fields.",
     "key field [field ...]", NULL},
    {"hmset", hmset_command, -4, GROWS_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_WRITE, "hash",
     "2.0.0", "O(N) in the number of fields named",
     "Sets fields of a hash: HSET with an older reply.",
     "key field value [field value ...]", NULL},
    {"hrandfield", hrandfield_command, -2, CMD_READ, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_READ,
     "hash", "6.2.0", "O(N) in the number of fields answered", "Answers fields drawn at random.",
     "key [count [WITHVALUES]]", NULL},
    {"hscan", hscan_command, -3, CMD_READ, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_READ, "hash",
     "2.8.0", "O(1) a call, O(N) for the whole walk", "Lists the fields of a hash step by step.",
     "key cursor [MATCH pattern] [COUNT count]", NULL},
    {"hset", hset_command, -4, GROWS_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_WRITE, "hash",
     "2.0.0", "O(N) in the number of fields named",
     "Sets fields of a hash, creating it when missing.",
     "key field value [field value ...]", NULL},
    {"hsetnx", hsetnx_command, 4, GROWS_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_WRITE, "hash",
     "2.0.0", "O(1)", "Sets a field when the hash does not have it.", "key field value", NULL},
    {"hstrlen", hstrlen_command, 3, READ_FAST, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_READ, "hash",
     "3.2.0", "O(1)", "Answers how many bytes the value of a field has.", "key field", NULL},
    {"hvals", hvals_command, 2, CMD_READ, {1, 1, 1}, NULL, ACL_HASH, ON_ROW_READ, "hash", "2.0.0",
     "O(N) in the number of fields", "Answers all values.", "key", NULL},
    {NULL},
};
