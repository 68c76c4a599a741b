#ifndef FOREBAY_TESTS_COMMAND_HARNESS_H
#define FOREBAY_TESTS_COMMAND_HARNESS_H
/* Runs commands as a shard would, without one: a real keyspace (two shards' worth of partitions,
 * real locks), a fake host, a fake database of rows. One thread.
 *
 *     struct harness *h = harness_create(NULL);
 *     assert_reply(h, "SET a 1", "+OK\r\n");
 *     harness_destroy(h);
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/num.h"
#include "command/command.h"
#include "command/dispatch.h"
#include "command/rows.h"
#include "command/settings.h"
#include "command/stats.h"
#include "command/transaction.h"
#include "ds/buf.h"

enum { HARNESS_CLIENTS_MAX = 4, HARNESS_NOW_MS = 1700000000 };

struct harness {
    struct env env;
    struct keyspace *ks;
    bool is_beside;             /* the keyspace is another harness's */
    struct settings settings;
    struct stats stats;
    struct command_table *table;
    struct host_ops host;
    struct chunk_pool chunks;
    struct client clients[HARNESS_CLIENTS_MAX];
    struct buf reply;           /* of the last run, zero-terminated */
    enum cmd_outcome outcome;   /* the last run's first outcome */
    struct lockset locked;      /* the last run's locks */
    /* what the fake host was told */
    uint64_t killed;            /* the last client killed */
    int64_t paused_until_ms;
    bool pause_writes_only, shut_down, shut_down_now, sweeping, is_local;
    /* the fake database: what every load answers, NULL = no such row; `row_error` = it fails */
    const char *row_value, *row_error;
    bool rows_are_stored;       /* a loaded row is put into the table */
    uint32_t loads;             /* rows asked for so far */
    size_t room_bytes;          /* that commands have from the start */
    void (*waits)(struct harness *h); /* what others do while a command waits for room; may be
                                         NULL */
    size_t asked_bytes;         /* by commands that waited for room, the last one of them */
    uint32_t asked;             /* how often they did */
};

/* `map`: a line behind "map ", or NULL. Client 0 is there; the others are made on their first
 * use. */
struct harness *harness_create(const char *map);
/* Another shard on the same keyspace, for a thread of its own; destroyed before `h`. */
struct harness *harness_create_beside(struct harness *h);
void harness_destroy(struct harness *h);
/* Runs one command, written as in redis-cli ("SET 'a b' \"\\x00\""), and everything it waits for.
 * The reply's bytes are zero-terminated and valid until the next run. */
const char *run_as(struct harness *h, int client, const char *text);
static inline const char *run(struct harness *h, const char *text) {
    return run_as(h, 0, text);
}
#define assert_reply(h, text, expected)            assert_string_equal(run(h, text), expected)
#define assert_reply_as(h, client, text, expected) assert_string_equal(run_as(h, client, text), expected)
#endif
