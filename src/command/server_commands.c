/* CONFIG INFO TIME DEBUG LOLWUT SHUTDOWN DBSIZE FLUSHALL FLUSHDB SWAPDB MEMORY, and the row of
 * COMMAND (introspect.c). What belongs to the layers above is asked of env->host.
 *
 * 1. FLUSHALL, FLUSHDB and SWAPDB run with all partitions locked; a flush is O(1) a partition, the
 *    memory is given back in slices by maintenance: SYNC and ASYNC do the same. */
#include <stdio.h>

#include "base/clock.h"
#include "base/glob.h"
#include "base/mem.h"
#include "base/num.h"
#include "command/command.h"
#include "command/errors.h"
#include "command/introspect.h"
#include "command/settings.h"
#include "command/transaction.h"
#include "command/version.h"

enum {
    INFO_SECTIONS_MAX = 64,       /* names in one INFO; more are ignored */
    INFO_SECTION_CHARS_MAX = 32,
    USAGE_SAMPLES = 5,            /* MEMORY USAGE without SAMPLES */
    SLEEP_S_MAX = 3600,           /* DEBUG SLEEP */
};

/* --- CONFIG --- */

struct config_reply {
    struct resp_writer *w;
    uint64_t count;
};

static void config_pair(void *arg, struct slice name, struct slice value) {
    struct config_reply *reply = arg;
    resp_bulk(reply->w, name);
    resp_bulk(reply->w, value);
    reply->count++;
}

static void config_get_command(struct cmd *c) {
    struct config_reply reply = {.w = c->w};
    struct resp_deferred deferred;
    resp_defer_begin(c->w, &deferred);
    c->env->host->config_get(c->env, c->argv + 2, c->argc - 2, config_pair, &reply);
    resp_defer_end_map(c->w, &deferred, reply.count);
}

/* +OK, or the error that the host wrote. */
static void reply_status(struct cmd *c, bool ok, struct buf *error) {
    if (ok) {
        resp_ok(c->w);
    } else {
        resp_error(c->w, buf_slice(error));
    }
    buf_free(error);
}

static void config_set_command(struct cmd *c) {
    struct buf error = {0};
    if (c->argc % 2) {
        resp_error(c->w, ERR_SYNTAX);
        return;
    }
    bool ok = c->env->host->config_set(c->env, c->argv + 2, (c->argc - 2) / 2, &error);
    reply_status(c, ok, &error);
}

static void config_rewrite_command(struct cmd *c) {
    struct buf error = {0};
    bool ok = c->env->host->config_rewrite(c->env, &error);
    reply_status(c, ok, &error);
}

static void config_resetstat_command(struct cmd *c) {
    c->env->host->config_resetstat(c->env);
    resp_ok(c->w);
}

static void config_help_command(struct cmd *c) {
    static const char *const lines[] = {
        "GET <pattern> [<pattern> ...]",
        "    Options whose names match, with their values.",
        "SET <option> <value> [<option> <value> ...]",
        "    Changes options: all of them or none.",
        "RESETSTAT",
        "    Sets the counters of INFO to zero.",
        "REWRITE",
        "    Writes the options as they are to the configuration file.",
        NULL,
    };
    cmd_help(c, lines);
}

/* --- INFO, TIME, LOLWUT --- */

static void info_command(struct cmd *c) {
    struct slice sections[INFO_SECTIONS_MAX];
    char names[INFO_SECTIONS_MAX][INFO_SECTION_CHARS_MAX];
    struct buf out = {0};
    uint32_t count = 0;
    for (uint32_t i = 1; i < c->argc && count < INFO_SECTIONS_MAX; i++) {
        if (c->argv[i].len > INFO_SECTION_CHARS_MAX) {
            continue;
        }
        for (size_t k = 0; k < c->argv[i].len; k++) {
            char ch = c->argv[i].ptr[k];
            names[count][k] = (char)(ch >= 'A' && ch <= 'Z' ? ch - 'A' + 'a' : ch);
        }
        sections[count] = slice_of(names[count], c->argv[i].len);
        count++;
    }
    /* Only names that can't be: an empty INFO, not the default one. */
    if (c->argc == 1 || count > 0) {
        c->env->host->info(c->env, sections, count, &out);
    }
    resp_verbatim(c->w, "txt", buf_slice(&out));
    buf_free(&out);
}

static void time_command(struct cmd *c) {
    /* The one place that asks the clock itself: clients make unique numbers of the microseconds. */
    int64_t us = clock_wall_us();
    resp_array(c->w, 2);
    resp_bulk_int(c->w, us / 1000000);
    resp_bulk_int(c->w, us % 1000000);
}

static void lolwut_command(struct cmd *c) {
    resp_verbatim(c->w, "txt",
                  SLICE("   ~~~~~~~~~~~~~~~~~~~~~~\n"
                        "    ~~~~  forebay  ~~~~~ \\\\\n"
                        "   ~~~~~~~~~~~~~~~~~~~~~~ ||\n"
                        "  still water takes the rush ||>>>\n"
                        "\nRedis ver. " REDIS_VERSION "\n"));
}

/* --- DEBUG, SHUTDOWN --- */

static void debug_sleep(struct cmd *c) {
    double seconds = 0;
    if (client_has(c->client, CLIENT_EXECUTING)) {
        resp_error(c->w, SLICE("ERR DEBUG SLEEP is not supported inside a transaction"));
        return;
    }
    if (client_has(c->client, CLIENT_RESUMED)) {
        resp_ok(c->w);
        return;
    }
    if (!num_parse_double(c->argv[2], &seconds) || seconds <= 0) {
        resp_ok(c->w);
        return;
    }
    /* This client alone sleeps. */
    c->wake_us = c->env->now_us + (int64_t)(MIN(seconds, (double)SLEEP_S_MAX) * 1e6);
    c->outcome = CMD_SLEEP;
}

static void debug_help(struct cmd *c) {
    static const char *const lines[] = {
        "SLEEP <seconds>",
        "    Answers that much later; fractions are allowed.",
        "SET-ACTIVE-EXPIRE (0|1)",
        "    Whether expired keys are looked for, or only found when they are asked for.",
        "STRINGMATCH-LEN <text> <pattern>",
        "    1 when the glob pattern matches.",
        NULL,
    };
    cmd_help(c, lines);
}

static void debug_command(struct cmd *c) {
    if (cmd_arg_is(c, 1, SLICE("help")) && c->argc == 2) {
        debug_help(c);
    } else if (cmd_arg_is(c, 1, SLICE("sleep")) && c->argc == 3) {
        debug_sleep(c);
    } else if (cmd_arg_is(c, 1, SLICE("set-active-expire")) && c->argc == 3 &&
               c->env->host->set_active_expire) {
        c->env->host->set_active_expire(c->env, !slice_eq(c->argv[2], SLICE("0")));
        resp_ok(c->w);
    } else if (cmd_arg_is(c, 1, SLICE("stringmatch-len")) && c->argc == 4) {
        resp_int(c->w, glob_match(c->argv[3], c->argv[2], false));
    } else {
        cmd_unknown_subcommand(c);
    }
}

static void shutdown_command(struct cmd *c) {
    bool save = false, nosave = false, now = false, force = false, abort = false;
    for (uint32_t i = 1; i < c->argc; i++) {
        if (cmd_arg_is(c, i, SLICE("nosave"))) {
            nosave = true;
        } else if (cmd_arg_is(c, i, SLICE("save"))) {
            save = true;
        } else if (cmd_arg_is(c, i, SLICE("now"))) {
            now = true;
        } else if (cmd_arg_is(c, i, SLICE("force"))) {
            force = true;
        } else if (cmd_arg_is(c, i, SLICE("abort"))) {
            abort = true;
        } else {
            resp_error(c->w, ERR_SYNTAX);
            return;
        }
    }
    if ((abort && (save || nosave || now || force)) || (save && nosave)) {
        resp_error(c->w, ERR_SYNTAX);
        return;
    }
    if (abort) {
        resp_error(c->w, SLICE("ERR No shutdown in progress."));
        return;
    }
    /* As on Redis the connection's end is the answer. */
    client_set(c->client, CLIENT_CLOSE);
    c->env->host->shutdown(c->env, now);
}

/* --- databases --- */

static void dbsize_command(struct cmd *c) {
    uint64_t keys, with_expiry;
    keyspace_count(c->env->ks, c->held, client_db(c->client), &keys, &with_expiry);
    resp_int(c->w, (int64_t)keys);
}

static bool flush_arguments(struct cmd *c) {
    if (c->argc == 1 || (c->argc == 2 && (cmd_arg_is(c, 1, SLICE("sync")) ||
                                          cmd_arg_is(c, 1, SLICE("async"))))) {
        return true;
    }
    resp_error(c->w, ERR_SYNTAX);
    return false;
}

/* Copies of rows go too, and with them what loads in flight would bring. */
static void flush(struct cmd *c, unsigned from, unsigned to) {
    struct keyspace *ks = c->env->ks;
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        for (uint32_t f = 0; f < FENCES_COUNT && from == 0; f++) {
            ks->partitions[i]->fences[f].seq++;
            ks->partitions[i]->fences[f].bumped_ms = c->env->now_ms;
        }
        for (unsigned db = from; db < to; db++) {
            part_flush(ks->partitions[i], db);
        }
    }
    resp_ok(c->w);
}

static void flushall_command(struct cmd *c) {
    if (flush_arguments(c)) {
        flush(c, 0, c->env->settings->databases);
    }
}

static void flushdb_command(struct cmd *c) {
    if (flush_arguments(c)) {
        flush(c, client_db(c->client), client_db(c->client) + 1);
    }
}

static void swapdb_command(struct cmd *c) {
    struct keyspace *ks = c->env->ks;
    int databases = (int)c->env->settings->databases, a, b;
    if (!cmd_arg_int(c, 1, "ERR invalid first DB index", &a) ||
        !cmd_arg_int(c, 2, "ERR invalid second DB index", &b)) {
        return;
    }
    if (a < 0 || b < 0 || a >= databases || b >= databases) {
        resp_error(c->w, ERR_DB_RANGE);
        return;
    }
    if (c->env->settings->maps && a != b && (a == 0 || b == 0)) {
        resp_error(c->w,
                   SLICE("STOREUNSUPPORTED database 0 holds mapped rows: it can't be swapped"));
        return;
    }
    if (a != b) {
        for (uint32_t i = 0; i < ks->partitions_count; i++) {
            transaction_swapping(ks->partitions[i], (unsigned)a, (unsigned)b,
                                 c->env->now_ms);
            transaction_swapping(ks->partitions[i], (unsigned)b, (unsigned)a,
                                 c->env->now_ms);
        }
        keyspace_swap(ks, (unsigned)a, (unsigned)b);
    }
    resp_ok(c->w);
}

/* --- MEMORY --- */

static void memory_usage_command(struct cmd *c) {
    int64_t samples = USAGE_SAMPLES;
    for (uint32_t i = 3; i < c->argc; i += 2) {
        if (!cmd_arg_is(c, i, SLICE("samples")) || i + 1 == c->argc) {
            resp_error(c->w, ERR_SYNTAX);
            return;
        }
        if (!cmd_arg_i64(c, i + 1, &samples)) {
            return;
        }
        if (samples < 0) {
            resp_error(c->w, ERR_SYNTAX);
            return;
        }
    }
    const struct entry *e = cmd_peek(c, 0);
    if (!e) {
        resp_null(c->w);
        return;
    }
    uint32_t limit = samples > UINT32_MAX ? 0 : (uint32_t)samples;
    resp_int(c->w, (int64_t)(entry_memory_bytes(e, limit) + sizeof(uint64_t))); /* and its slot */
}

static double ratio(uint64_t a, uint64_t b) {
    return b ? (double)a / (double)b : 0;
}

static void stat_int(struct cmd *c, const char *name, int64_t value) {
    resp_bulk(c->w, slice_str(name));
    resp_int(c->w, value);
}

static void stat_double(struct cmd *c, const char *name, double value) {
    resp_bulk(c->w, slice_str(name));
    resp_double(c->w, value);
}

static void memory_stats_command(struct cmd *c) {
    struct mem_stats m;
    keyspace_memory_stats(c->env->ks, &m);
    uint64_t keys = 0, rss = mem_resident_bytes(), used = (uint64_t)MAX(mem_used_bytes(), 0);
    for (unsigned db = 0; db < c->env->settings->databases; db++) {
        uint64_t count, with_expiry;
        keyspace_count(c->env->ks, c->held, db, &count, &with_expiry);
        keys += count;
    }
    resp_map(c->w, 15);
    stat_int(c, "total.allocated", (int64_t)used);
    stat_int(c, "keys.count", (int64_t)keys);
    stat_int(c, "keys.bytes-per-key", (int64_t)(keys ? used / keys : 0));
    stat_int(c, "dataset.bytes", (int64_t)used);
    stat_int(c, "allocator.allocated", (int64_t)m.allocated);
    stat_int(c, "allocator.active", (int64_t)m.active);
    stat_int(c, "allocator.resident", (int64_t)m.resident);
    stat_double(c, "allocator-fragmentation.ratio", ratio(m.active, m.allocated));
    stat_int(c, "allocator-fragmentation.bytes", (int64_t)m.active - (int64_t)m.allocated);
    stat_double(c, "allocator-rss.ratio", ratio(m.resident, m.active));
    stat_int(c, "allocator-rss.bytes", (int64_t)m.resident - (int64_t)m.active);
    stat_double(c, "rss-overhead.ratio", ratio(rss, m.resident));
    stat_int(c, "rss-overhead.bytes", (int64_t)rss - (int64_t)m.resident);
    stat_double(c, "fragmentation", ratio(rss, used));
    stat_int(c, "fragmentation.bytes", (int64_t)rss - (int64_t)used);
}

static void memory_doctor_command(struct cmd *c) {
    char text[512];
    struct mem_stats m;
    keyspace_memory_stats(c->env->ks, &m);
    uint64_t rss = mem_resident_bytes(), used = (uint64_t)MAX(mem_used_bytes(), 0);
    enum { SMALL_BYTES = 64 << 20 };
    const char *verdict = "Nothing stands out: resident memory is close to what is allocated.";
    if (rss < SMALL_BYTES) {
        verdict = "This instance holds too little data to tell anything from its memory.";
    } else if (ratio(rss, used) > 1.5) {
        verdict = "Much memory is resident that holds nothing. If this stays, MEMORY PURGE gives "
                  "free pages back; values of very mixed sizes can be the cause.";
    }
    int len = snprintf(text, sizeof text, "%s\nallocated %llu bytes, resident %llu bytes\n",
                       verdict, (unsigned long long)used, (unsigned long long)rss);
    resp_verbatim(c->w, "txt", slice_of(text, (size_t)len));
}

static void memory_purge_command(struct cmd *c) {
    bool purged = mem_purge(); /* else somebody else is at it: the pages go all the same */
    (void)purged;
    resp_ok(c->w);
}

static void memory_help_command(struct cmd *c) {
    static const char *const lines[] = {
        "DOCTOR",
        "    A verdict on how memory is used.",
        "PURGE",
        "    Gives free pages back to the system.",
        "STATS",
        "    Figures of memory use.",
        "USAGE <key> [SAMPLES <count>]",
        "    Bytes of memory that a key takes. Of collections <count> members are measured:",
        "    5 when not said, all with 0.",
        NULL,
    };
    cmd_help(c, lines);
}

/* --- rows --- */

#define OPEN  (CMD_LOADING | CMD_STALE)
#define ADMIN (OPEN | CMD_ADMIN | CMD_NOSCRIPT)
#define SERVER_ROW(word, function, args, what, categories, version, cost, does, arguments)         \
    .name = word, .fn = function, .arity = args, .flags = what, .acl = categories,                 \
    .group = "server", .since = version, .complexity = cost, .summary = does, .syntax = arguments

static const struct command config_subcommands[] = {
    {SERVER_ROW("get", config_get_command, -3, ADMIN, 0, "2.0.0",
                "O(N), N being the number of patterns", "Answers options and their values.",
                "parameter [parameter ...]")},
    {SERVER_ROW("set", config_set_command, -4, ADMIN, 0, "2.0.0",
                "O(N), N being the number of options", "Changes options while running.",
                "parameter value [parameter value ...]")},
    {SERVER_ROW("rewrite", config_rewrite_command, 2, ADMIN, 0, "2.8.0", "O(1)",
                "Writes the options to the configuration file.", "")},
    {SERVER_ROW("resetstat", config_resetstat_command, 2, ADMIN, 0, "2.0.0", "O(1)",
                "Sets the counters of INFO to zero.", "")},
    {SERVER_ROW("help", config_help_command, 2, OPEN, 0, "5.0.0", "O(1)",
                "Lists the subcommands.", "")},
    {.name = NULL},
};

static const struct command memory_subcommands[] = {
    {SERVER_ROW("usage", memory_usage_command, -3, CMD_READ, 0, "4.0.0",
                "O(N), N being the number of samples", "Bytes of memory that a key takes.",
                "key [SAMPLES count]"),
     .keys = {2, 2, 1}},
    {SERVER_ROW("stats", memory_stats_command, 2, CMD_WALKS, 0, "4.0.0", "O(1)",
                "Figures of memory use.", "")},
    {SERVER_ROW("doctor", memory_doctor_command, 2, 0, 0, "4.0.0", "O(1)",
                "A verdict on how memory is used.", "")},
    {SERVER_ROW("purge", memory_purge_command, 2, 0, 0, "4.0.0",
                "Depends on how much memory is free", "Gives free memory back to the system.", "")},
    {SERVER_ROW("help", memory_help_command, 2, OPEN, 0, "4.0.0", "O(1)",
                "Lists the subcommands.", "")},
    {.name = NULL},
};

const struct command server_commands[] = {
    {SERVER_ROW("command", introspect_command, -1, OPEN, ACL_CONNECTION, "2.8.13",
                "O(N), N being the number of commands", "Describes all commands.", ""),
     .subcommands = introspect_subcommands},
    {SERVER_ROW("config", NULL, -2, 0, 0, "2.0.0", "Depends on the subcommand",
                "Commands about the configuration.", ""),
     .subcommands = config_subcommands},
    {SERVER_ROW("memory", NULL, -2, 0, 0, "4.0.0", "Depends on the subcommand",
                "Commands about memory.", ""),
     .subcommands = memory_subcommands},
    {SERVER_ROW("info", info_command, -1, OPEN | CMD_WALKS, ACL_DANGEROUS, "1.0.0", "O(1)",
                "Figures of the server, by section.", "[section [section ...]]")},
    {SERVER_ROW("time", time_command, 1, OPEN | CMD_FAST, 0, "2.6.0", "O(1)",
                "The server's clock: seconds and microseconds.", "")},
    {SERVER_ROW("debug", debug_command, -2, ADMIN | CMD_PROTECTED, 0, "1.0.0",
                "Depends on the subcommand", "Switches for testing the server.", "")},
    {SERVER_ROW("lolwut", lolwut_command, -1, CMD_READ | CMD_FAST, 0, "5.0.0", "O(1)",
                "A picture, and the version.", "[VERSION version]")},
    {SERVER_ROW("shutdown", shutdown_command, -1, ADMIN | CMD_NO_MULTI | CMD_ALLOW_BUSY, 0, "1.0.0",
                "O(1)", "Stops the server.", "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]")},
    {SERVER_ROW("dbsize", dbsize_command, 1, CMD_READ | CMD_FAST | CMD_WALKS, ACL_KEYSPACE,
                "1.0.0", "O(1)", "The number of keys in the database.", "")},
    {SERVER_ROW("flushall", flushall_command, -1, CMD_WRITE | CMD_ALL_KEYS,
                ACL_KEYSPACE | ACL_DANGEROUS, "1.0.0", "O(1), memory is freed by and by",
                "Removes all keys from all databases.", "[ASYNC | SYNC]")},
    {SERVER_ROW("flushdb", flushdb_command, -1, CMD_WRITE | CMD_ALL_KEYS,
                ACL_KEYSPACE | ACL_DANGEROUS, "1.0.0", "O(1), memory is freed by and by",
                "Removes all keys from the database.", "[ASYNC | SYNC]")},
    {SERVER_ROW("swapdb", swapdb_command, 3, CMD_WRITE | CMD_FAST | CMD_ALL_KEYS,
                ACL_KEYSPACE | ACL_DANGEROUS, "4.0.0", "O(N), N being the number of watched keys",
                "Exchanges two databases.", "index1 index2")},
    {.name = NULL},
};
