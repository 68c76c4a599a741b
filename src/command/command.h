#ifndef FOREBAY_COMMAND_COMMAND_H
#define FOREBAY_COMMAND_COMMAND_H
/* The command table's row and one invocation of a command. COMMAND, COMMAND DOCS, ACL categories,
 * locking and docs/commands.md all come from the rows. */
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"
#include "command/client.h"
#include "command/env.h"
#include "engine/keyspace.h"
#include "resp/writer.h"

enum command_flag {
    CMD_READ = 1 << 0,          /* readonly */
    CMD_WRITE = 1 << 1,         /* write */
    CMD_GROWS = 1 << 2,         /* denyoom: refused with -OOM past maxmemory */
    CMD_FAST = 1 << 3,          /* fast: O(1) or O(log n) */
    CMD_ADMIN = 1 << 4,         /* admin */
    CMD_NO_AUTH = 1 << 5,       /* no_auth: allowed before AUTH */
    CMD_NO_MULTI = 1 << 6,      /* no_multi: refused inside MULTI */
    CMD_NOT_QUEUED = 1 << 7,    /* runs at once inside MULTI: EXEC, DISCARD, WATCH, ... */
    CMD_ALL_KEYS = 1 << 8,      /* all partitions are locked for it */
    CMD_LOADING = 1 << 9,       /* loading, for COMMAND INFO */
    CMD_STALE = 1 << 10,        /* stale, for COMMAND INFO */
    CMD_NOSCRIPT = 1 << 11,     /* noscript */
    CMD_BLOCKING = 1 << 12,     /* blocking */
    CMD_MOVABLE_KEYS = 1 << 13, /* movablekeys: keys come from keys_fn */
    CMD_NO_PAUSE = 1 << 14,     /* runs although CLIENT PAUSE ALL is on */
    CMD_SKIP_STATS = 1 << 15,   /* does not show in MONITOR, for COMMAND INFO: skip_monitor */
    CMD_WALKS = 1 << 16,        /* visits keys that are not its arguments, partition by partition:
                                   an EXEC with it holds all locks, as it may take no further one */
    CMD_PROTECTED = 1 << 17,    /* refused unless enable-debug-command allows it: DEBUG */
    CMD_ALLOW_BUSY = 1 << 18,   /* allow_busy, for COMMAND INFO */
    CMD_SKIP_SLOWLOG = 1 << 19, /* skip_slowlog, for COMMAND INFO */
    CMD_TAKES = 1 << 20,        /* a value that lies apart is taken over: cmd_take_blob */
    CMD_SELECTS = 1 << 21,      /* SELECT: changes the database of those behind it */
    CMD_CARRIES = 1 << 22,      /* its last key gets what the first one has: COPY, RENAME */
};

/* ACL categories, as ACL CAT names them. */
enum command_acl {
    ACL_KEYSPACE = 1 << 0, ACL_READ = 1 << 1, ACL_WRITE = 1 << 2, ACL_STRING = 1 << 3,
    ACL_HASH = 1 << 4, ACL_FAST = 1 << 5, ACL_SLOW = 1 << 6, ACL_ADMIN = 1 << 7,
    ACL_DANGEROUS = 1 << 8, ACL_CONNECTION = 1 << 9, ACL_TRANSACTION = 1 << 10,
    ACL_BLOCKING = 1 << 11, ACL_SCRIPTING = 1 << 12, ACL_LIST = 1 << 13, ACL_SET = 1 << 14,
    ACL_SORTEDSET = 1 << 15, ACL_BITMAP = 1 << 16, ACL_HYPERLOGLOG = 1 << 17, ACL_GEO = 1 << 18,
    ACL_STREAM = 1 << 19, ACL_PUBSUB = 1 << 20,
};

/* What the command does when one of its keys is a mapped row (STORE.md section 2). */
enum store_class {
    ON_ROW_NOTHING,     /* no keys, or only looks at the cached copy */
    ON_ROW_READ,        /* read-through: cmd_read loads the row */
    ON_ROW_COPY,        /* changes or drops the cached copy only: DEL, EXPIRE */
    ON_ROW_WRITE,       /* would write the row: -STOREDENIED without write= */
    ON_ROW_UNSUPPORTED, /* -STOREUNSUPPORTED */
};

struct cmd;
typedef void (*command_fn)(struct cmd *c);
/* Writes the argument indexes of the keys to `at` (room for argc) and returns how many, or -1 when
 * the arguments are invalid. */
typedef int (*command_keys_fn)(const struct slice *argv, uint32_t argc, uint32_t *at);

struct command {
    const char *name;  /* lower case; a subcommand's own word only ("id" of "client id") */
    command_fn fn;     /* NULL for a container that has only subcommands */
    int16_t arity;     /* with the name; negative: at least that many */
    uint32_t flags;    /* enum command_flag */
    struct {
        int16_t first, last, step; /* argument indexes; last < 0 counts from the end; 0 = no keys */
    } keys;
    command_keys_fn keys_fn; /* instead of `keys`, where positions depend on the arguments */
    uint32_t acl;            /* enum command_acl; FAST/SLOW, READ/WRITE added from flags */
    enum store_class on_row;
    const char *group, *since, *complexity, *summary;
    const char *syntax;      /* arguments as in Redis's manual, "" when none */
    const struct command *subcommands; /* ends with a row without name */
};

/* Rows of one file; ends with a row without name. */
extern const struct command string_commands[], keys_commands[], expire_commands[], scan_commands[],
    hash_commands[], connection_commands[], client_commands[], server_commands[],
    transaction_commands[];

enum cmd_outcome {
    CMD_DONE,  /* the reply is complete */
    CMD_MISS,  /* mapped keys are missing: c->misses; load them and run it again */
    CMD_SLEEP, /* run it again at c->wake_us with client flag CLIENT_RESUMED */
    CMD_AGAIN, /* a slice is done; run it again soon. State in client->sliced */
    CMD_ROOM,  /* needs c->room_bytes at once: make room for them and run it again */
};

/* One invocation. Lives on the executing shard's stack or in its batch. */
struct cmd {
    const struct command *spec; /* the subcommand's row where there is one */
    uint32_t id;                /* of the row, for statistics */
    struct client *client;
    struct env *env;
    struct slice *argv;         /* argv[0] is the name; borrowed until the function returns */
    uint32_t argc;
    size_t args_bytes;          /* of the request */
    struct buf *apart;          /* of an argument that lies apart, see cmd_take_blob; may be NULL */
    struct key *keys;           /* in argument order, hashed */
    uint32_t keys_count;
    const struct lockset *held; /* locks held besides the keys' own; NULL outside EXEC/ALL_KEYS */
    struct resp_writer *w;
    enum cmd_outcome outcome;
    bool repeats;               /* an earlier run counted what it found, and what it did not */
    int64_t wake_us;            /* CMD_SLEEP: monotonic */
    size_t dropped_bytes;       /* of a reply that its client can't have: it is to be closed */
    size_t room_bytes;          /* that room was made for, beyond what batches have; CMD_ROOM */
    size_t room_replies;        /* of these, what its client is going to hold; CMD_ROOM */
    const char *row_error;      /* a load failed: replaces the reply */
    uint32_t row_hits;          /* mapped keys this run found in the table */
};

/* --- for command functions; `i` is an index into c->keys --- */
static inline struct partition *cmd_partition(const struct cmd *c, uint32_t i) {
    return keyspace_partition(c->env->ks, c->keys[i].hash);
}
/* The live entry for reading: counted as hit or miss, recency updated, a mapped row read through.
 * NULL: not there (or its row is being fetched: the reply will be taken back). Never
 * VALUE_ABSENT. */
struct entry *cmd_read(struct cmd *c, uint32_t i);
/* cmd_read that updates recency whatever CLIENT NO-TOUCH says. */
struct entry *cmd_touch(struct cmd *c, uint32_t i);
/* cmd_read for commands that look at a key without using it (EXISTS, TTL, TYPE): recency stays. */
struct entry *cmd_look(struct cmd *c, uint32_t i);
/* The same for a command that is about to change the key: no statistics, no read-through. */
struct entry *cmd_peek(struct cmd *c, uint32_t i);
/* The client says that its copy of a mapped row is no good (DEL): a load in flight, which may have
 * read what the client knows to be old, must not be stored. Nothing on other keys. */
void cmd_invalidate_row(struct cmd *c, uint32_t i);
/* cmd_read and type check: true with *out set (NULL when missing), false after -WRONGTYPE. */
bool cmd_read_typed(struct cmd *c, uint32_t i, enum value_type type, struct entry **out) MUST_USE;
bool cmd_peek_typed(struct cmd *c, uint32_t i, enum value_type type, struct entry **out) MUST_USE;
/* An argument as a number, or the error reply ("ERR value is not an integer or out of range"). */
bool cmd_arg_i64(struct cmd *c, uint32_t arg, int64_t *out) MUST_USE;
/* True when argv[arg] is this word, ignoring case. */
static inline bool cmd_arg_is(const struct cmd *c, uint32_t arg, struct slice word) {
    return slice_eq_nocase(c->argv[arg], word);
}
/* An expiry argument turned into an absolute time: unit_ms 1 or 1000, absolute or from now. On
 * overflow or, with `positive`, values <= 0 replies "invalid expire time in '<command>'
 * command". */
bool cmd_arg_expire(struct cmd *c, uint32_t arg, int64_t unit_ms, bool absolute, bool positive,
                    int64_t *out_ms) MUST_USE;
/* An argument as a number in the range of int; `error` (NULL = Redis's usual texts) is the
 * reply. */
bool cmd_arg_int(struct cmd *c, uint32_t arg, const char *error, int *out) MUST_USE;
/* The reply of a container's HELP: `lines` ends with NULL. */
void cmd_help(struct cmd *c, const char *const *lines);
/* "unknown subcommand or wrong number of arguments", for commands whose words are no rows:
 * DEBUG. */
void cmd_unknown_subcommand(struct cmd *c);
/* The memory of a large argument that lies apart, as a blob that is the caller's now; NULL: it does
 * not lie apart. The argument is gone, but for its length. */
static inline struct blob *cmd_take_blob(struct cmd *c, uint32_t arg) {
    if (LIKELY(!c->apart) || !c->apart->ptr ||
        c->argv[arg].ptr != c->apart->ptr + BLOB_HEAD_BYTES) {
        return NULL;
    }
    return blob_of_buf(c->apart, c->argv[arg].len);
}
#define CMD_ROOM_ANY (SIZE_MAX / 4) /* cmd.room_bytes: whatever it needs */
/* Before a function takes `bytes` of memory at once. False: CMD_ROOM, return without having changed
 * anything. */
bool cmd_has_room(struct cmd *c, size_t bytes) MUST_USE;
/* Adds the row behind a key to env->misses unless it stands there or there is no room. False for a
 * key that is no row. Statistics are counted. */
bool cmd_expect_row(struct cmd *c, const struct key *key);
/* True when the entry is an ordinary key or a copy whose mapping and generation still hold. */
bool cmd_entry_is_fresh(const struct cmd *c, const struct entry *e);
/* Makes a cached row's deadline no later than its fill's TTL allows: see STORE.md, mode ttl. */
int64_t cmd_clamp_expire(const struct entry *e, int64_t expire_ms);
#endif
