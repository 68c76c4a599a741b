/* What command functions share: looking up keys (with rows read through) and reading arguments.
 *
 * A lookup in the way of a request:
 *
 *     cmd_read -> part_find -> found: a copy of a row must still hold (mapping, generation)
 *                           -> not found, key is a row: the client's loads know it, or it is
 *                              missed: env->misses, CMD_MISS, the command is run again later
 *
 * 1. Nothing is read through but for commands whose row says ON_ROW_READ, on database 0.
 * 2. A miss is recorded at most once a key and run. */
#include "command/command.h"

#include <limits.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/num.h"
#include "command/dispatch.h"
#include "command/errors.h"
#include "command/rows.h"

bool cmd_entry_is_fresh(const struct cmd *c, const struct entry *e) {
    struct entry_origin origin = entry_origin(e);
    if (LIKELY(origin.mapping == 0)) {
        return true;
    }
    const struct mapping_set *maps = c->env->settings->maps;
    const struct mapping *map = maps ? mapping_set_find(maps, origin.mapping) : NULL;
    return map && atomic_load_explicit(&map->generation, memory_order_acquire) == origin.generation;
}

bool cmd_has_room(struct cmd *c, size_t bytes) {
    size_t growth_bytes_max = c->env->settings->growth_bytes_max;
    if (LIKELY(bytes <= growth_bytes_max) || bytes <= c->room_bytes || growth_bytes_max == 0) {
        return true;
    }
    c->room_bytes = MAX(mem_good_size(bytes), bytes); /* 0 beyond all sizes */
    c->room_replies = 0;
    c->outcome = CMD_ROOM;
    return false;
}

bool cmd_expect_row(struct cmd *c, const struct key *key) {
    struct env *env = c->env;
    struct slice values[MAPPING_KEY_COLUMNS_MAX];
    struct mapping *map = mapping_set_match(env->settings->maps, key->bytes, values);
    if (!map) {
        return false;
    }
    if (UNLIKELY(c->client->rows && c->client->rows->refusal)) {
        c->row_error = c->client->rows->refusal;
        return false;
    }
    if (env->misses_count == ENV_MISSES_MAX) {
        return true; /* the others are for the next run */
    }
    for (uint32_t i = 0; i < env->misses_count; i++) {
        const struct key *known = &env->misses[i].key;
        if (known->hash == key->hash && slice_eq(known->bytes, key->bytes)) {
            return true;
        }
    }
    struct row_miss *miss = &env->misses[env->misses_count++];
    miss->key = *key;
    miss->map = map;
    memcpy(miss->values, values, map->key_columns_count * sizeof values[0]);
    if (!rows_find(c->client->rows, key)) {
        stat_add(&env->stats->row_misses, 1);
    }
    return true;
}

/* The key is not in the table: what the client's own loads say of it, else it is missed. */
static struct entry *read_row(struct cmd *c, const struct key *key) {
    const struct row *row = rows_find(c->client->rows, key);
    if (row && row->state == ROW_LOADED) {
        /* Read-only commands alone get here: they only take const things from it. */
        return (struct entry *)row->entry;
    }
    if (row && row->state == ROW_ABSENT) {
        return NULL;
    }
    if (row && row->state == ROW_FAILED) {
        c->row_error = row->error;
        return NULL;
    }
    if (cmd_expect_row(c, key)) {
        c->outcome = CMD_MISS;
    }
    return NULL;
}

/* What else it reads is to be there still when the rows that it misses have come. */
static bool waits_for_rows(const struct cmd *c) {
    return UNLIKELY(c->outcome == CMD_MISS || c->client->rows != NULL);
}

/* `how`: flags of part_find. */
static inline struct entry *read_key(struct cmd *c, uint32_t i, unsigned how) {
    struct env *env = c->env;
    const struct key *key = &c->keys[i];
    struct partition *p = keyspace_partition(env->ks, key->hash);
    unsigned db = client_db(c->client);
    how |= waits_for_rows(c) ? FIND_TOUCH : 0;
    struct entry *e = part_find(p, db, key, env->now_ms, how);
    if (e && UNLIKELY(entry_origin(e).mapping != 0)) {
        if (cmd_entry_is_fresh(c, e)) {
            c->row_hits++;
        } else {
            part_delete(p, db, key, env->now_ms);
            e = NULL;
        }
    }
    if (LIKELY(e != NULL)) {
        return entry_type(e) == VALUE_ABSENT ? NULL : e;
    }
    if (LIKELY(!env->settings->maps) || db != 0 || c->spec->on_row != ON_ROW_READ) {
        return NULL;
    }
    return read_row(c, key);
}

struct entry *cmd_read(struct cmd *c, uint32_t i) {
    bool touch = !client_has(c->client, CLIENT_NO_TOUCH);
    if (UNLIKELY(c->repeats)) {
        return read_key(c, i, 0);
    }
    return read_key(c, i, touch ? FIND_TOUCH | FIND_COUNT : FIND_COUNT);
}

struct entry *cmd_touch(struct cmd *c, uint32_t i) {
    return read_key(c, i, c->repeats ? FIND_TOUCH : FIND_TOUCH | FIND_COUNT);
}

struct entry *cmd_look(struct cmd *c, uint32_t i) {
    return read_key(c, i, c->repeats ? 0 : FIND_COUNT);
}

struct entry *cmd_peek(struct cmd *c, uint32_t i) {
    const struct key *key = &c->keys[i];
    struct partition *p = keyspace_partition(c->env->ks, key->hash);
    unsigned db = client_db(c->client);
    struct entry *e = part_peek(p, db, key, c->env->now_ms);
    if (e && UNLIKELY(!cmd_entry_is_fresh(c, e))) {
        part_delete(p, db, key, c->env->now_ms);
        return NULL;
    }
    return e;
}

void cmd_invalidate_row(struct cmd *c, uint32_t i) {
    struct slice values[MAPPING_KEY_COLUMNS_MAX];
    const struct key *key = &c->keys[i];
    if (UNLIKELY(c->env->settings->maps != NULL) && client_db(c->client) == 0 &&
        mapping_set_match(c->env->settings->maps, key->bytes, values)) {
        part_bump_fence(cmd_partition(c, i), key->hash, c->env->now_ms);
    }
}

static bool typed(struct cmd *c, struct entry *e, enum value_type type, struct entry **out) {
    if (e && UNLIKELY(entry_type(e) != type)) {
        resp_error(c->w, ERR_WRONGTYPE);
        return false;
    }
    *out = e;
    return true;
}

bool cmd_read_typed(struct cmd *c, uint32_t i, enum value_type type, struct entry **out) {
    return typed(c, cmd_read(c, i), type, out);
}

bool cmd_peek_typed(struct cmd *c, uint32_t i, enum value_type type, struct entry **out) {
    return typed(c, cmd_peek(c, i), type, out);
}

bool cmd_arg_i64(struct cmd *c, uint32_t arg, int64_t *out) {
    if (UNLIKELY(!num_parse_i64(c->argv[arg], out))) {
        resp_error(c->w, ERR_NOT_INTEGER);
        return false;
    }
    return true;
}

bool cmd_arg_int(struct cmd *c, uint32_t arg, const char *error, int *out) {
    int64_t value;
    bool is_number = num_parse_i64(c->argv[arg], &value);
    if (is_number && value >= INT_MIN && value <= INT_MAX) {
        *out = (int)value;
        return true;
    }
    if (error) {
        resp_error(c->w, slice_str(error));
    } else if (is_number) {
        resp_errorf(c->w, "ERR value is out of range, value must between %d and %d", INT_MIN,
                    INT_MAX);
    } else {
        resp_error(c->w, ERR_NOT_INTEGER);
    }
    return false;
}

/* The command's name in capitals, as it was sent; zero-terminated. */
static const char *upper_name(const struct cmd *c, char out[64]) {
    size_t len = MIN(c->argv[0].len, 63);
    for (size_t i = 0; i < len; i++) {
        char ch = c->argv[0].ptr[i];
        out[i] = (char)(ch >= 'a' && ch <= 'z' ? ch - 'a' + 'A' : ch);
    }
    out[len] = 0;
    return out;
}

void cmd_help(struct cmd *c, const char *const *lines) {
    char name[64], head[128];
    uint64_t count = 0;
    while (lines[count]) {
        count++;
    }
    int len = snprintf(head, sizeof head,
                       "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
                       upper_name(c, name));
    resp_array(c->w, count + 3);
    resp_simple(c->w, slice_of(head, (size_t)len));
    for (uint64_t i = 0; i < count; i++) {
        resp_simple(c->w, slice_str(lines[i]));
    }
    resp_simple(c->w, SLICE("HELP"));
    resp_simple(c->w, SLICE("    Show this list."));
}

void cmd_unknown_subcommand(struct cmd *c) {
    char name[64];
    resp_errorf(c->w,
                "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.",
                (int)strnlen(c->argv[1].ptr, MIN(c->argv[1].len, 128)), c->argv[1].ptr,
                upper_name(c, name));
}

bool cmd_arg_expire(struct cmd *c, uint32_t arg, int64_t unit_ms, bool absolute, bool positive,
                    int64_t *out_ms) {
    int64_t value, ms;
    if (!cmd_arg_i64(c, arg, &value)) {
        return false;
    }
    if ((positive && value <= 0) || __builtin_mul_overflow(value, unit_ms, &ms) ||
        (!absolute && __builtin_add_overflow(ms, c->env->now_ms, &ms))) {
        resp_errorf(c->w, "ERR invalid expire time in '%s' command",
                    command_table_full_name(c->env->commands, c->id));
        return false;
    }
    *out_ms = MIN(ms, ENTRY_EXPIRE_MS_MAX);
    return true;
}

int64_t cmd_clamp_expire(const struct entry *e, int64_t expire_ms) {
    if (entry_origin(e).mapping == 0) {
        return expire_ms;
    }
    int64_t limit = entry_expire_ms(e);
    return expire_ms < limit ? expire_ms : limit;
}
