/* SCAN and KEYS: walks over a whole database, and what HSCAN shares with them.
 *
 * Runs on the executing shard's thread. No lock is held before: keyspace_scan takes each
 * partition's in turn. Inside EXEC all are held already (CMD_WALKS).
 *
 * 1. Every key that is there from the first step to the last is reported once: a cursor is a hash
 *    prefix, and keys before it were reported, wherever growth has put them since.
 * 2. Keys are copied into the reply under their partition's lock: nothing points into it later.
 * 3. KEYS outside EXEC gives way after every slice (CMD_AGAIN); what it found so far belongs to the
 *    client and is freed with it.
 *
 * Limits: SCAN_COUNT_MAX keys a SCAN, KEYS_SLICE_KEYS a slice of KEYS, and a bucket beyond. */
#include "command/scan.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/glob.h"
#include "base/mem.h"
#include "base/num.h"
#include "command/errors.h"
#include "command/keys.h"

enum {
    KEYS_SLICE_KEYS = 4096,
    CURSOR_CHARS_MAX = 32,
};

/* --- shared with HSCAN --- */

bool scan_parse_cursor(struct cmd *c, uint32_t arg, uint64_t *cursor) {
    char text[CURSOR_CHARS_MAX];
    struct slice s = c->argv[arg];
    if (s.len < sizeof text && !(s.len > 0 && isspace((unsigned char)s.ptr[0]))) {
        /* Redis's rule is strtoul's: a sign is allowed, and the empty text is 0. */
        char *end;
        memcpy(text, s.ptr, s.len);
        text[s.len] = '\0';
        errno = 0;
        *cursor = strtoul(text, &end, 10);
        if (end == text + s.len && errno != ERANGE) {
            return true;
        }
    }
    resp_error(c->w, ERR_CURSOR);
    return false;
}

static bool parse_count(struct cmd *c, uint32_t arg, uint64_t *count) {
    int64_t value;
    if (!cmd_arg_i64(c, arg, &value)) {
        return false;
    }
    if (value < 1) {
        resp_error(c->w, ERR_SYNTAX);
        return false;
    }
    *count = MIN((uint64_t)value, SCAN_COUNT_MAX);
    return true;
}

bool scan_parse_options(struct cmd *c, uint32_t first, bool with_type, struct scan_options *o) {
    *o = (struct scan_options){.count = SCAN_COUNT_DEFAULT, .match = SLICE("*")};
    for (uint32_t i = first; i < c->argc; i += 2) {
        bool has_value = i + 1 < c->argc;
        if (has_value && cmd_arg_is(c, i, SLICE("count"))) {
            if (!parse_count(c, i + 1, &o->count)) {
                return false;
            }
        } else if (has_value && cmd_arg_is(c, i, SLICE("match"))) {
            o->match = c->argv[i + 1];
        } else if (has_value && with_type && cmd_arg_is(c, i, SLICE("type"))) {
            o->type = c->argv[i + 1];
        } else {
            resp_error(c->w, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

void scan_reply_begin(struct scan_reply *r, const struct cmd *c, const struct scan_options *o) {
    *r = (struct scan_reply){.options = o};
    chain_init_for(&r->members, c->w->out);
    r->w = (struct resp_writer){.out = &r->members, .proto = c->w->proto};
}

void scan_reply_end(struct scan_reply *r, struct cmd *c, uint64_t cursor) {
    char text[NUM_I64_CHARS_MAX];
    resp_array(c->w, 2);
    resp_bulk(c->w, slice_of(text, num_format_u64(text, cursor)));
    resp_array(c->w, r->count);
    chain_move(c->w->out, &r->members);
}

/* --- SCAN --- */

/* True when the step from `cursor` is to report this key: no earlier one did. */
static bool is_ahead(const struct keyspace *ks, uint64_t cursor, struct slice key) {
    return cursor == 0 || keyspace_key(ks, key).hash >> (64 - TABLE_CURSOR_BITS) >= cursor;
}

struct scan {
    struct scan_reply reply;
    uint64_t cursor; /* where the step began */
};

static void scan_entry(void *arg, struct partition *p, struct entry *e) {
    struct scan *scan = arg;
    const struct scan_options *o = scan->reply.options;
    struct slice key = entry_key(e);
    if ((!o->type.ptr || slice_eq_nocase(o->type, keys_type_name(entry_type(e)))) &&
        (glob_is_all(o->match) || glob_match(o->match, key, false)) &&
        is_ahead(p->ks, scan->cursor, key)) {
        resp_bulk(&scan->reply.w, key);
        scan->reply.count++;
    }
}

static void scan_command(struct cmd *c) {
    uint64_t cursor;
    struct scan_options o;
    if (!scan_parse_cursor(c, 1, &cursor) || !scan_parse_options(c, 2, true, &o)) {
        return;
    }
    /* Cursors are of TABLE_CURSOR_BITS bits; what else a client may send has the rest cut off. */
    struct scan scan = {.cursor = cursor & ((1ull << TABLE_CURSOR_BITS) - 1)};
    scan_reply_begin(&scan.reply, c, &o);
    cursor = keyspace_scan(c->env->ks, c->held, client_db(c->client), scan.cursor, o.count,
                           c->env->now_ms, scan_entry, &scan);
    scan_reply_end(&scan.reply, c, cursor);
}

/* --- KEYS --- */

struct keys_walk {
    struct sliced sliced;
    struct chain members;
    struct resp_writer w; /* writes to `members` */
    uint64_t cursor, count;
    struct slice pattern; /* this run's argument */
};

static void keys_walk_destroy(struct sliced *s) {
    struct keys_walk *walk = CONTAINER_OF(s, struct keys_walk, sliced);
    chain_clear(&walk->members);
    mem_free(walk);
}

static struct keys_walk *keys_walk_create(const struct cmd *c) {
    struct keys_walk *walk = mem_zalloc(sizeof *walk);
    walk->sliced.destroy = keys_walk_destroy;
    chain_init_for(&walk->members, c->w->out);
    walk->w = (struct resp_writer){.out = &walk->members, .proto = c->w->proto};
    return walk;
}

static void keys_entry(void *arg, struct partition *p, struct entry *e) {
    struct keys_walk *walk = arg;
    struct slice key = entry_key(e);
    if ((glob_is_all(walk->pattern) || glob_match(walk->pattern, key, false)) &&
        is_ahead(p->ks, walk->cursor, key)) {
        resp_bulk(&walk->w, key);
        walk->count++;
    }
}

static void keys_command(struct cmd *c) {
    struct client *client = c->client;
    if (!client->sliced) {
        client->sliced = &keys_walk_create(c)->sliced;
    }
    struct keys_walk *walk = CONTAINER_OF(client->sliced, struct keys_walk, sliced);
    ASSERT(walk->sliced.destroy == keys_walk_destroy);
    walk->pattern = c->argv[1];
    do {
        walk->cursor = keyspace_scan(c->env->ks, c->held, client_db(client), walk->cursor,
                                     KEYS_SLICE_KEYS, c->env->now_ms, keys_entry, walk);
    } while (walk->cursor != 0 && c->held);
    if (walk->cursor != 0) {
        c->outcome = CMD_AGAIN;
        return;
    }
    resp_array(c->w, walk->count);
    chain_move(c->w->out, &walk->members);
    client->sliced = NULL;
    keys_walk_destroy(&walk->sliced);
}

/* --- the table --- */

const struct command scan_commands[] = {
    {"keys", keys_command, 2, CMD_READ | CMD_WALKS, {0}, NULL, ACL_KEYSPACE | ACL_DANGEROUS,
     ON_ROW_NOTHING, "generic", "1.0.0", "O(N) in the number of keys",
     "Lists the keys that match a pattern.", "pattern", NULL},
    {"scan", scan_command, -2, CMD_READ | CMD_WALKS, {0}, NULL, ACL_KEYSPACE, ON_ROW_NOTHING,
     "generic", "2.8.0", "O(1) a call, O(N) for the whole walk", "Lists the keys step by step.",
     "cursor [MATCH pattern] [COUNT count] [TYPE type]", NULL},
    {NULL},
};
