/* From parsed arguments to a reply: finding the row, the keys, the checks, the call.
 *
 *     dispatch_find    argv[0], argv[1] -> row
 *     dispatch_keys    row -> hashed keys, so that the shard can prefetch and lock
 *     dispatch_check   unknown? arity? authenticated? memory? a row not to be written? queue it?
 *     dispatch_call    the function, on locked partitions; statistics
 *
 * Runs on the shard's thread that owns the client.
 *
 * 1. dispatch_check's order is Redis's: clients see which of two errors they get.
 * 2. Unless the outcome is CMD_DONE nothing of a run stays in the output.
 * 3. Every reply that is an error is counted by its first word exactly once, wherever it is made.
 *    */
#include "command/dispatch.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "command/errors.h"
#include "command/reply.h"
#include "command/rows.h"
#include "command/transaction.h"

enum {
    KEYS_ON_STACK = 64,      /* arguments a keys_fn gets room for without allocating */
    ECHO_BYTES_MAX = 128,    /* of name and of arguments in "unknown command" */
    ARGUMENT_BYTES = 32,     /* of memory that an argument takes beside its own, about */
    EXEC_ROOM_TURNS_MAX = 64,
    EXEC_ROOMS_MAX = 8,      /* for one command: random replies differ */
};

void dispatch_find(struct cmd *c) {
    const struct command_table *table = c->env->commands;
    c->spec = command_table_find(table, c->argv[0], &c->id);
    if (c->spec && UNLIKELY(c->spec->subcommands != NULL) && c->argc > 1) {
        c->spec = command_table_find_sub(table, c->id, c->argv[1], &c->id);
    }
}

int dispatch_key_positions(const struct command *spec, const struct slice *argv, uint32_t argc,
                           uint32_t *at) {
    if (spec->keys_fn) {
        return spec->keys_fn(argv, argc, at);
    }
    if (spec->keys.first == 0) {
        return 0;
    }
    int64_t last = spec->keys.last < 0 ? (int64_t)argc + spec->keys.last : spec->keys.last;
    last = MIN(last, (int64_t)argc - 1);
    int count = 0;
    for (int64_t i = spec->keys.first; i <= last; i += spec->keys.step) {
        at[count++] = (uint32_t)i;
    }
    return count;
}

static uint32_t keys_by_function(struct cmd *c, struct key *keys, uint32_t cap) {
    uint32_t room[KEYS_ON_STACK];
    uint32_t *at = c->argc <= KEYS_ON_STACK ? room : mem_alloc(c->argc * sizeof *at);
    int count = c->spec->keys_fn(c->argv, c->argc, at);
    /* Invalid arguments: the function finds that out itself, and needs no keys to say so. */
    count = MAX(count, 0);
    for (int i = 0; i < count && (uint32_t)count <= cap; i++) {
        keys[i] = keyspace_key(c->env->ks, c->argv[at[i]]);
    }
    if (at != room) {
        mem_free(at);
    }
    return (uint32_t)count;
}

uint32_t dispatch_keys(struct cmd *c, struct key *keys, uint32_t cap) {
    const struct command *spec = c->spec;
    if (!spec || !dispatch_arity_fits(spec, c->argc)) {
        return 0;
    }
    if (UNLIKELY(spec->keys_fn != NULL)) {
        return keys_by_function(c, keys, cap);
    }
    uint32_t first = (uint32_t)spec->keys.first;
    if (first == 0) {
        return 0;
    }
    int64_t last = spec->keys.last < 0 ? (int64_t)c->argc + spec->keys.last : spec->keys.last;
    last = MIN(last, (int64_t)c->argc - 1);
    if (last < first) {
        return 0;
    }
    uint32_t step = (uint32_t)spec->keys.step;
    uint32_t count = ((uint32_t)last - first) / step + 1;
    if (count <= cap) {
        for (uint32_t i = 0; i < count; i++) {
            keys[i] = keyspace_key(c->env->ks, c->argv[first + i * step]);
        }
    }
    return count;
}

/* The command is over: CLIENT REPLY OFF and SKIP take effect. `mark` is where its reply began. */
static void finish(struct cmd *c, struct chain_mark mark) {
    uint32_t flags = client_flags(c->client);
    if (LIKELY(!(flags & (REPLY_SILENT_FLAGS | CLIENT_REPLY_SKIP_NEXT)))) {
        return;
    }
    if (flags & REPLY_SILENT_FLAGS) {
        chain_rewind(c->w->out, mark);
    }
    client_unset(c->client, CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT);
    if (flags & CLIENT_REPLY_SKIP_NEXT) {
        client_set(c->client, CLIENT_REPLY_SKIP);
    }
}

static enum dispatch_verdict reject(struct cmd *c, struct slice error) {
    struct client *client = c->client;
    struct chain_mark mark = chain_mark(c->w->out);
    if (client_has(client, CLIENT_MULTI)) {
        client_set(client, CLIENT_DIRTY_EXEC);
    }
    if (c->spec) {
        stat_add(&c->env->stats->per_command[c->id].rejected, 1);
    }
    if (c->spec && c->spec->fn == transaction_exec) {
        struct slice general = SLICE("ERR ");
        if (slice_has_prefix(error, general)) {
            error = slice_of(error.ptr + general.len, error.len - general.len);
        }
        transaction_discard(client, c->env);
        resp_errorf(c->w, "EXECABORT Transaction discarded because of: %.*s", SLICE_FMT(error));
    } else {
        resp_error(c->w, error);
    }
    stats_count_error(c->env->stats, c->w->error_prefix);
    finish(c, mark);
    return DISPATCH_REPLIED;
}

/* Bytes up to the first zero, at most `max`: error texts are C strings to every client. */
static int echo_len(struct slice s, size_t max) {
    return (int)strnlen(s.ptr, MIN(s.len, max));
}

static enum dispatch_verdict reject_unknown(struct cmd *c) {
    struct slice name = c->argv[0];
    char text[2 * ECHO_BYTES_MAX + 128];
    uint32_t id;
    if (slice_eq_nocase(name, SLICE("post")) || slice_eq_nocase(name, SLICE("host:"))) {
        /* A browser made to talk to us: cross-protocol scripting. */
        log_warning("closed client id=%llu: it sent an HTTP request (POST or Host:)",
                    (unsigned long long)c->client->id);
        client_set(c->client, CLIENT_CLOSE);
        return DISPATCH_REPLIED;
    }
    if (command_table_find(c->env->commands, name, &id)) {
        char upper[32];
        int len = 0;
        for (; len < (int)sizeof upper && len < (int)name.len; len++) {
            char ch = name.ptr[len];
            upper[len] = (char)(ch >= 'a' && ch <= 'z' ? ch - 'a' + 'A' : ch);
        }
        snprintf(text, sizeof text, "ERR unknown subcommand '%.*s'. Try %.*s HELP.",
                 echo_len(c->argv[1], ECHO_BYTES_MAX), c->argv[1].ptr, len, upper);
        return reject(c, slice_str(text));
    }
    int len = snprintf(text, sizeof text, "ERR unknown command '%.*s', with args beginning with: ",
                       echo_len(name, ECHO_BYTES_MAX), name.ptr);
    int used = 0;
    for (uint32_t i = 1; i < c->argc && used < ECHO_BYTES_MAX; i++) {
        int n = echo_len(c->argv[i], (size_t)(ECHO_BYTES_MAX - used));
        used += snprintf(text + len + used, sizeof text - (size_t)(len + used), "'%.*s' ", n,
                         c->argv[i].ptr);
    }
    return reject(c, slice_of(text, (size_t)(len + used)));
}

static enum dispatch_verdict reject_arity(struct cmd *c) {
    char text[128];
    int len = snprintf(text, sizeof text, "ERR wrong number of arguments for '%s' command",
                       command_table_full_name(c->env->commands, c->id));
    return reject(c, slice_of(text, (size_t)len));
}

static bool debug_is_allowed(const struct cmd *c) {
    const struct settings *settings = c->env->settings;
    return settings->debug_enabled ||
           (settings->debug_local && c->env->host->client_is_local(c->env, c->client));
}

/* MOVE and COPY can carry a key into database 0 from elsewhere: their last key then is there. */
static bool moves_into_rows(const struct cmd *c) {
    if (strcmp(c->spec->name, "move") == 0) {
        return slice_eq(c->argv[2], SLICE("0"));
    }
    if (strcmp(c->spec->name, "copy") == 0) {
        for (uint32_t i = 3; i + 1 < c->argc; i++) {
            if (cmd_arg_is(c, i, SLICE("db"))) {
                return slice_eq(c->argv[i + 1], SLICE("0"));
            }
        }
    }
    return false;
}

/* Commands that would change a mapped row, or make one: the error, or an empty slice. */
static struct slice row_refusal(const struct cmd *c, unsigned db) {
    enum store_class class = c->spec->on_row;
    uint32_t from = 0;
    if (class != ON_ROW_WRITE && class != ON_ROW_UNSUPPORTED) {
        return SLICE("");
    }
    if (db != 0) {
        if (!moves_into_rows(c) || c->keys_count == 0) {
            return SLICE("");
        }
        from = c->keys_count - 1;
    }
    struct slice values[MAPPING_KEY_COLUMNS_MAX];
    for (uint32_t i = from; i < c->keys_count; i++) {
        if (mapping_set_match(c->env->settings->maps, c->keys[i].bytes, values)) {
            return class == ON_ROW_WRITE ? ERR_STORE_DENIED : ERR_STORE_UNSUPPORTED;
        }
    }
    return SLICE("");
}

bool dispatch_may_write(const struct cmd *c) {
    return c->spec->fn == transaction_exec && transaction_writes(c->client);
}

/* Past maxmemory nothing may grow: no queue either, and no EXEC of what grows. */
static bool is_out_of_memory(const struct cmd *c) {
    if (c->spec->flags & CMD_GROWS) {
        return true;
    }
    if (c->spec->fn == transaction_exec) {
        return transaction_growth(c->client) > 0;
    }
    return client_has(c->client, CLIENT_MULTI) && !(c->spec->flags & CMD_NOT_QUEUED);
}

size_t dispatch_growth(const struct cmd *c) {
    return c->args_bytes + c->argc * (size_t)ARGUMENT_BYTES;
}

/* A value that lies apart is there already, and is only taken over. */
static bool takes_value(const struct cmd *c) {
    if (LIKELY(!c->apart) || !c->apart->ptr || !(c->spec->flags & CMD_TAKES)) {
        return false;
    }
    const char *value = c->apart->ptr + BLOB_HEAD_BYTES;
    for (uint32_t i = 0; i < c->keys_count; i++) {
        if (c->keys[i].bytes.ptr == value) {
            return false; /* a large key */
        }
    }
    return true;
}

/* dispatch_growth for one that runs at once. */
static size_t growth_now(const struct cmd *c) {
    return dispatch_growth(c) - (takes_value(c) ? c->apart->len : 0);
}

/* EXEC waits for what its commands need together, as they can't. What never fits is theirs. */
static bool has_room_for_queued(struct cmd *c) {
    size_t bytes = transaction_is_dirty(c->client) ? 0 : transaction_growth(c->client);
    return !keyspace_can_hold(c->env->ks, bytes) || cmd_has_room(c, bytes);
}

/* What a large request says is kept once more where it grows something, or is queued. */
static inline bool has_room_for_arguments(struct cmd *c, bool queues) {
    if (queues || (c->spec->flags & CMD_GROWS)) {
        return cmd_has_room(c, queues ? dispatch_growth(c) : growth_now(c));
    }
    return LIKELY(c->spec->fn != transaction_exec) || has_room_for_queued(c);
}

static enum dispatch_verdict queue(struct cmd *c) {
    struct chain_mark mark = chain_mark(c->w->out);
    transaction_queue(c);
    if (client_has(c->client, CLIENT_CLOSE)) {
        return DISPATCH_REPLIED;
    }
    resp_raw(c->w, SLICE("+QUEUED\r\n"));
    finish(c, mark);
    return DISPATCH_REPLIED;
}

enum dispatch_verdict dispatch_check(struct cmd *c) {
    const struct command *spec = c->spec;
    const struct settings *settings = c->env->settings;
    if (UNLIKELY(!spec)) {
        return reject_unknown(c);
    }
    atomic_store_explicit(&c->client->last_command, c->id + 1, memory_order_relaxed);
    if (UNLIKELY(!dispatch_arity_fits(spec, c->argc) || !spec->fn)) {
        return reject_arity(c);
    }
    if (UNLIKELY(spec->flags & CMD_PROTECTED) && !debug_is_allowed(c)) {
        return reject(c, SLICE("ERR DEBUG command not allowed. If the enable-debug-command option "
                               "is set to \"local\", you can run it from a local connection, "
                               "otherwise you need to set this option in the configuration file, "
                               "and then restart the server."));
    }
    uint32_t flags = client_flags(c->client);
    if (UNLIKELY(settings->requirepass[0] != 0) && !(flags & CLIENT_AUTHENTICATED) &&
        !(spec->flags & CMD_NO_AUTH)) {
        return reject(c, ERR_NOAUTH);
    }
    if (UNLIKELY(flags & CLIENT_MULTI) && (spec->flags & CMD_NO_MULTI)) {
        return reject(c, SLICE("ERR Command not allowed inside a transaction"));
    }
    if (UNLIKELY(c->room_bytes != 0) && spec->fn == transaction_exec) {
        c->env->over_limit = false; /* its commands are refused, each for itself */
    }
    if (UNLIKELY(c->env->over_limit) && is_out_of_memory(c)) {
        if (c->room_bytes || !keyspace_is_freeing(c->env->ks, c->env->shard)) {
            return reject(c, ERR_OOM);
        }
        c->room_bytes =
            mem_good_size(growth_now(c)); /* eviction has not kept up: it waits for it */
        c->room_replies = 0;
        c->outcome = CMD_ROOM;
        return DISPATCH_REPLIED;
    }
    if (UNLIKELY(settings->maps != NULL)) {
        struct slice refusal = row_refusal(c, transaction_db(c->client));
        if (refusal.len) {
            return reject(c, refusal);
        }
    }
    bool queues = UNLIKELY(flags & CLIENT_MULTI) && !(spec->flags & CMD_NOT_QUEUED);
    if (UNLIKELY(!has_room_for_arguments(c, queues))) {
        return DISPATCH_REPLIED;
    }
    return queues ? queue(c) : DISPATCH_RUN;
}

/* The failed load's error instead of the reply. */
static void reply_row_error(struct cmd *c, struct chain_mark mark, uint32_t errors) {
    chain_rewind(c->w->out, mark);
    c->w->errors = errors;
    resp_error(c->w, slice_str(c->row_error));
}

/* `error_prefix`: of the error that it answered, or NULL. */
static inline void add_run(struct cmd *c, uint32_t row_hits, const char *error_prefix) {
    struct stats *stats = c->env->stats;
    struct command_stats *own = &stats->per_command[c->id];
    if (UNLIKELY(row_hits != 0)) {
        stat_add(&stats->row_hits, row_hits);
    }
    stat_add(&own->calls, 1);
    stat_add(&stats->commands, 1);
    if (UNLIKELY(error_prefix != NULL)) {
        stat_add(&own->failed, 1);
        stats_count_error(stats, error_prefix);
    }
}

/* After a run that is complete. */
static inline void account(struct cmd *c, uint32_t errors) {
    add_run(c, c->row_hits, UNLIKELY(c->w->errors != errors) ? c->w->error_prefix : NULL);
}

void dispatch_count(struct cmd *c, const struct dispatch_counts *counts) {
    add_run(c, counts->row_hits, counts->failed ? counts->error_prefix : NULL);
}

/* --- running --- */

void dispatch_call(struct cmd *c) {
    c->outcome = CMD_DONE;
    c->row_error = NULL;
    c->row_hits = 0;
    c->env->misses_count = 0;
    struct reply r = reply_begin(c);
    c->env->held = c->held;
    c->spec->fn(c);
    c->env->held = NULL;
    reply_end(c, &r);
    if (UNLIKELY(c->outcome != CMD_DONE)) {
        return;
    }
    if (UNLIKELY(c->row_error != NULL)) {
        reply_row_error(c, r.mark, r.errors);
    }
    account(c, r.errors);
    stat_add(&c->client->total_commands, 1);
    finish(c, r.mark);
}

/* EXEC goes on holding its locks: room comes from the partitions that it has and from those that
 * nobody does. Sets over_limit. */
static void make_room_within_exec(struct cmd *c) {
    struct env *env = c->env;
    struct keyspace *ks = env->ks;
    if (!keyspace_can_hold(ks, c->room_bytes)) {
        env->over_limit = true;
        return;
    }
    keyspace_expect_now(ks, c->room_bytes);
    uint32_t turns = 0;
    enum keyspace_room room;
    do {
        room = keyspace_room_turn(ks, c->held, env->shard, env->now_ms);
    } while (room == KEYSPACE_ROOM_COMING && ++turns < EXEC_ROOM_TURNS_MAX);
    env->over_limit = room == KEYSPACE_ROOM_NONE;
    keyspace_expect_no_more(ks, c->room_bytes);
}

/* Runs until it is done: there are no others' turns within EXEC. */
static void run_queued(struct cmd *c, bool reads) {
    struct chain *out = c->w->out;
    size_t end_bytes = out->limit_bytes;
    uint32_t rooms = 0;
    bool over_limit = c->env->over_limit; /* for the others */
    do {
        c->outcome = CMD_DONE;
        if (UNLIKELY(c->env->over_limit) && (c->spec->flags & CMD_GROWS)) {
            resp_error(c->w, ERR_OOM);
            break;
        }
        if (has_room_for_arguments(c, false)) {
            struct reply r = reply_begin(c);
            r.end_bytes = end_bytes;
            r.is_part = reads;
            if (reads || (end_bytes && (out->limit_bytes > end_bytes || !out->limit_bytes))) {
                chain_limit(out, end_bytes);
            }
            c->row_hits = 0;
            c->spec->fn(c);
            reply_end(c, &r);
            chain_limit(out, end_bytes);
            c->repeats = true;
        }
        if (c->outcome == CMD_ROOM) {
            make_room_within_exec(c);
            c->room_bytes = ++rooms < EXEC_ROOMS_MAX ? c->room_bytes : CMD_ROOM_ANY;
        }
    } while (c->outcome == CMD_AGAIN || c->outcome == CMD_ROOM);
    c->env->over_limit = over_limit;
}

/* Mappings may be new since it was queued. */
static struct slice queued_refusal(const struct cmd *c) {
    return c->env->settings->maps ? row_refusal(c, client_db(c->client)) : SLICE("");
}

void dispatch_call_queued(struct cmd *c, struct dispatch_counts *counts) {
    chain_drop_at_limit(c->w->out); /* before the mark: it can't be gone back to */
    struct chain_mark mark = chain_mark(c->w->out);
    uint32_t errors = c->w->errors;
    c->row_error = NULL;
    struct slice refusal = queued_refusal(c);
    if (refusal.len) {
        resp_error(c->w, refusal);
    } else {
        run_queued(c, counts);
    }
    if (counts && c->outcome == CMD_MISS) {
        return;
    }
    if (c->outcome == CMD_MISS && !c->row_error) {
        /* All rows were there when EXEC began: an earlier command of it dropped this one. */
        c->row_error = "STOREUNSUPPORTED a row that the transaction dropped can't be read in it";
    }
    ASSERT(c->outcome != CMD_SLEEP);
    c->outcome = CMD_DONE;
    if (UNLIKELY(c->row_error != NULL)) {
        reply_row_error(c, mark, errors);
    }
    if (counts) {
        counts->row_hits = c->row_hits;
        counts->failed = c->w->errors != errors;
        memcpy(counts->error_prefix, c->w->error_prefix, sizeof counts->error_prefix);
    } else {
        account(c, errors);
    }
    c->w->errors = errors; /* EXEC itself did not fail */
}

void dispatch_count_queued(struct cmd *c) {
    uint32_t errors = c->w->errors;
    c->row_error = NULL;
    c->repeats = true;
    if (queued_refusal(c).len) {
        return;
    }
    do {
        c->outcome = CMD_DONE;
        c->spec->fn(c);
    } while (c->outcome == CMD_AGAIN);
    c->w->errors = errors;
}

void dispatch_locks(struct cmd *c, struct lockset *out) {
    lockset_clear(out);
    if (c->spec->flags & CMD_ALL_KEYS) {
        lockset_add_all(out, c->env->ks);
        return;
    }
    if (c->spec->fn == transaction_exec) {
        transaction_locks(c, out);
        return;
    }
    for (uint32_t i = 0; i < c->keys_count; i++) {
        lockset_add(out, keyspace_partition(c->env->ks, c->keys[i].hash));
    }
}

static void expect_row(struct cmd *c, const struct key *key) {
    struct partition *p = keyspace_partition(c->env->ks, key->hash);
    bool locked = c->held && lockset_has(c->held, p);
    struct lockset one = {{0}};
    if (!locked) {
        lockset_add(&one, p);
        lockset_lock(&one, c->env->ks);
    }
    bool waits = c->client->rows || c->env->misses_count;
    const struct entry *e = part_find(p, 0, key, c->env->now_ms, waits ? FIND_TOUCH : 0);
    bool known = e && cmd_entry_is_fresh(c, e);
    c->row_hits += known && entry_origin(e).mapping != 0;
    if (!locked) {
        lockset_unlock(&one, c->env->ks);
    }
    const struct row *row = known ? NULL : rows_find(c->client->rows, key);
    if (!known && (!row || row->state == ROW_PENDING)) {
        cmd_expect_row(c, key);
    }
}

void dispatch_expect_keys(struct cmd *c) {
    if (c->spec->on_row != ON_ROW_READ) {
        return;
    }
    for (uint32_t i = 0; i < c->keys_count; i++) {
        expect_row(c, &c->keys[i]);
    }
}

void dispatch_expect_rows(struct cmd *c) {
    if (!c->env->settings->maps || !c->spec) {
        return;
    }
    if (c->spec->fn == transaction_exec) {
        transaction_expect_rows(c);
        return;
    }
    if (transaction_db(c->client) == 0) {
        dispatch_expect_keys(c);
    }
}
