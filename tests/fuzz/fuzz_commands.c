/* Fuzz target of the commands: an input is a stream of commands of three clients over few keys,
 * fields and values, decoded below; time steps and maintenance in between. Each runs as a shard
 * would run it, and on a model (model.h) that says what the reply must be.
 *
 *     [partitions and locking][limits of packed hashes][seed] then commands:
 *     [which][client, damage][bytes for its arguments ...]
 *
 * 1. Every reply is one that the model allows.
 * 2. At the end every key and field is what the model has, every table holds its invariants, and
 *    DBSIZE is exact once maintenance has swept.
 * 3. Afterwards as much memory is in use as before.
 *
 * With FUZZ_TRACE in the environment commands and replies go to stderr. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "command/client.h"
#include "command/dispatch.h"
#include "command/transaction.h"
#include "fuzz.h"
#include "model.h"

enum {
    CHOICE_BYTES = 3,
    COMMANDS_MAX = 1000,
    ARGS_MAX = 64,
    NOW_MS = 1700000000,
    STRING_BYTES_MAX = 20000,
    TABLE_CHECK_EVERY = 64,
    SWEEPS_MAX = 10000,
    SWEEP_BUCKETS = 64,
    IOV_MAX_HERE = 64,
};

struct world {
    struct env env;
    struct keyspace *ks;
    struct settings settings;
    struct stats stats;
    struct host_ops host;
    struct chunk_pool chunks;
    struct client clients[MODEL_CLIENTS];
    struct model *model;
    bool trace;
};

/* --- the input --- */

struct input {
    const uint8_t *at, *end;
};

static uint8_t take(struct input *in) {
    return in->at < in->end ? *in->at++ : 0;
}

/* What each argument may be: letters in `args` below. */
static const char *const INTEGERS[] = {
    "0", "1", "-1", "2", "-2", "5", "10", "-10", "100", "3", "9223372036854775807",
    "-9223372036854775808", "9223372036854775808", "-9223372036854775807", "abc", "", "1.5", "+3",
    "007", " 1", "4611686018427387904",
};
static const char *const FLOATS[] = {
    "0", "1", "-1", "0.1", "0.2", "-0.3", "1.5e3", "1e-5", "3.0000000001", "inf", "-inf", "nan",
    "1e5000", "0x1p3", "abc", "", " 1", "1e100", "-0", "123456789.125",
};
static const char *const SECONDS[] = {
    "1", "2", "10", "100", "0", "-1", "9223372036854775", "9223372036854776", "x", "3",
    "9223372036854775807", "100000000000",
};
static const char *const MILLISECONDS[] = {
    "1", "10", "500", "1000", "1499", "1500", "100000", "0", "-5", "9223372036854775807", "",
};
static const char *const PATTERNS[] = {
    "*", "a", "k*", "?", "k1?", "[a-d]", "[^a]*", "*1*", "\\*", "k[0-3]*", "", "f*", "**", "[b-",
    "\\",
};
static const char *const DATABASES[] = {"0", "1", "2", "3", "0",
                                        "1", "4", "-1", "x", "99999999999"};
static const char *const CURSORS[] = {"0", "1", "123456789", "18446744073709551615", "x", "-1",
                                      "18446744073709551616", ""};

#define PICK(list, byte) list[(byte) % ARRAY_COUNT(list)]

/* Lengths around every limit: listpack 64, embstr 44, key 255, in place 8192. */
static const uint16_t LENGTHS[] = {0, 1, 8, 15, 16, 43, 44, 45, 63, 64, 65, 254, 255, 256, 1000,
                                   8191, 8192, 8193, 9000, 19999};

struct args {
    struct slice v[ARGS_MAX];
    uint32_t count;
};

static void add(struct args *a, const void *ptr, size_t len) {
    if (a->count < ARGS_MAX) {
        char *copy = malloc(len ? len : 1); /* nothing behind it: AddressSanitizer sees */
        memcpy(copy, ptr, len);
        a->v[a->count++] = slice_of(copy, len);
    }
}

static void add_text(struct args *a, const char *text) {
    add(a, text, strlen(text));
}

static void add_run(struct args *a, char c, size_t len) {
    char bytes[STRING_BYTES_MAX];
    memset(bytes, c, len);
    add(a, bytes, len);
}

static void add_key(struct args *a, uint8_t byte, char letter) {
    char text[16];
    if (byte < 0xa0) {
        text[0] = (char)(letter == 'k' ? 'a' + byte % 8 : 'A' + byte % 16);
        add(a, text, 1);
    } else if (byte < 0xf8) {
        add(a, text, (size_t)snprintf(text, sizeof text, "%c%u", letter, byte - 0xa0u));
    } else if (byte < 0xfc) {
        add_run(a, letter, PICK(LENGTHS, byte + 11u));
    } else {
        add(a, "\0\r\n\xff", byte & 3);
    }
}

static void add_value(struct args *a, struct input *in) {
    uint8_t byte = take(in);
    if (byte < 0x40) {
        char text[8];
        add(a, text, (size_t)snprintf(text, sizeof text, "%d", byte - 0x10));
    } else if (byte < 0x60) {
        add_text(a, PICK(INTEGERS, byte));
    } else if (byte < 0x80) {
        add_text(a, PICK(FLOATS, byte));
    } else if (byte < 0xc0) {
        add_run(a, (char)('a' + byte % 3), PICK(LENGTHS, byte));
    } else {
        char bytes[16];
        size_t len = byte & 15;
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (char)take(in);
        }
        add(a, bytes, len);
    }
}

static void add_moment(struct args *a, uint8_t byte, int64_t now_ms, int64_t unit_ms) {
    static const int32_t deltas_ms[] = {1, 10, 500, 1000, 1501, 10000, 100000, 0, -1, -100000};
    char text[32];
    if (byte >= 0xf0) {
        add_text(a, PICK(SECONDS, byte));
        return;
    }
    int64_t at = (now_ms + PICK(deltas_ms, byte)) / unit_ms;
    add(a, text, (size_t)snprintf(text, sizeof text, "%" PRId64, at));
}

static void add_one(struct args *a, char what, struct input *in, const struct world *w,
                    unsigned client);

/* Any of some words, one after the other: a letter behind a word is its argument. */
static void add_words(struct args *a, const char *const *words, size_t count, struct input *in,
                      const struct world *w, unsigned client) {
    for (uint8_t byte = take(in), n = 0; n < 3 && byte < 0xc0; byte = take(in), n++) {
        const char *word = words[byte % count];
        const char *colon = strchr(word, ':');
        add(a, word, colon ? (size_t)(colon - word) : strlen(word));
        if (colon) {
            add_one(a, colon[1], in, w, client);
        }
    }
}

static const char *const SET_WORDS[] = {"nx", "xx", "get", "keepttl", "ex:t", "px:m", "exat:T",
                                        "PXAT:M", "GET", "PX:m"};
static const char *const GETEX_WORDS[] = {"persist", "ex:t", "px:m", "exat:T", "pxat:M", "PERSIST"};
static const char *const EXPIRE_WORDS[] = {"nx", "xx", "gt", "lt", "GT", "LT"};
static const char *const SCAN_WORDS[] = {"count:i", "match:p", "type:y", "COUNT:i"};
static const char *const HSCAN_WORDS[] = {"count:i", "match:p", "COUNT:i"};
static const char *const COPY_WORDS[] = {"replace", "db:d", "REPLACE"};
static const char *const FLUSH_WORDS[] = {"async", "sync"};
static const char *const RANDOM_WORDS[] = {"withvalues"};
static const char *const LCS_WORDS[] = {"len"};
static const char *const TYPES[] = {"string", "hash", "list", "STRING", "none"};

#define WORDS(list) add_words(a, list, ARRAY_COUNT(list), in, w, client)

static void add_options(struct args *a, char what, struct input *in, const struct world *w,
                        unsigned client) {
    switch (what) {
    case 'O':
        WORDS(SET_WORDS);
        break;
    case 'G':
        WORDS(GETEX_WORDS);
        break;
    case 'E':
        WORDS(EXPIRE_WORDS);
        break;
    case 'S':
        WORDS(SCAN_WORDS);
        break;
    case 'H':
        WORDS(HSCAN_WORDS);
        break;
    case 'C':
        WORDS(COPY_WORDS);
        break;
    case 'F':
        WORDS(FLUSH_WORDS);
        break;
    case 'W':
        WORDS(RANDOM_WORDS);
        break;
    case 'L':
        WORDS(LCS_WORDS);
        break;
    default:
        UNREACHABLE();
    }
}

static void add_cursor(struct args *a, uint8_t byte, const struct world *w, unsigned client,
                       bool of_hash) {
    if (byte < 0xe0) {
        struct slice cursor = model_cursor(w->model, client, of_hash);
        add(a, cursor.ptr, cursor.len);
    } else {
        add_text(a, PICK(CURSORS, byte));
    }
}

static void add_one(struct args *a, char what, struct input *in, const struct world *w,
                    unsigned client) {
    int64_t now_ms = model_now(w->model);
    switch (what) {
    case 'k':
    case 'f':
        add_key(a, take(in), what);
        break;
    case 'v':
        add_value(a, in);
        break;
    case 'i':
        add_text(a, PICK(INTEGERS, take(in)));
        break;
    case 'x':
        add_text(a, PICK(FLOATS, take(in)));
        break;
    case 't':
        add_text(a, PICK(SECONDS, take(in)));
        break;
    case 'm':
        add_text(a, PICK(MILLISECONDS, take(in)));
        break;
    case 'T':
    case 'M':
        add_moment(a, take(in), now_ms, what == 'T' ? 1000 : 1);
        break;
    case 'd':
        add_text(a, PICK(DATABASES, take(in)));
        break;
    case 'c':
    case 'h':
        add_cursor(a, take(in), w, client, what == 'h');
        break;
    case 'p':
        add_text(a, PICK(PATTERNS, take(in)));
        break;
    case 'y':
        add_text(a, PICK(TYPES, take(in)));
        break;
    case '2':
        add_text(a, take(in) & 1 ? "3" : "2");
        break;
    default:
        add_options(a, what, in, w, client);
    }
}

/* "*N" at the end: the last N letters may come several times. What matters stands more often. */
static const struct {
    const char *name, *args;
} COMMANDS[] = {
    {"set", "kvO"}, {"set", "kv"}, {"set", "kvO"}, {"get", "k"}, {"get", "k"}, {"mget", "k*1"},
    {"mset", "kv*2"}, {"msetnx", "kv*2"}, {"setnx", "kv"}, {"setex", "ktv"}, {"psetex", "kmv"},
    {"getset", "kv"}, {"getdel", "k"}, {"getex", "kG"}, {"incr", "k"}, {"decr", "k"},
    {"incrby", "ki"}, {"decrby", "ki"}, {"incrbyfloat", "kx"}, {"append", "kv"}, {"append", "kv"},
    {"setrange", "kiv"}, {"getrange", "kii"}, {"substr", "kii"}, {"strlen", "k"}, {"lcs", "kkL"},
    {"del", "k*1"}, {"unlink", "k*1"}, {"exists", "k*1"}, {"touch", "k*1"}, {"type", "k"},
    {"rename", "kk"}, {"rename", "kk"}, {"renamenx", "kk"}, {"move", "kd"}, {"copy", "kkC"},
    {"copy", "kkC"}, {"randomkey", ""}, {"dbsize", ""}, {"object", "=encoding k"},
    {"flushall", "F"}, {"flushdb", "F"}, {"swapdb", "dd"}, {"select", "d"}, {"select", "d"},
    {"expire", "ktE"}, {"pexpire", "kmE"}, {"expireat", "kTE"}, {"pexpireat", "kME"}, {"ttl", "k"},
    {"pttl", "k"}, {"expiretime", "k"}, {"pexpiretime", "k"}, {"persist", "k"}, {"keys", "p"},
    {"scan", "cS"}, {"scan", "c"}, {"scan", "c"}, {"hset", "kfv*2"}, {"hset", "kfv*2"},
    {"hset", "kfv*2"}, {"hmset", "kfv*2"}, {"hsetnx", "kfv"}, {"hdel", "kf*1"}, {"hdel", "kf*1"},
    {"hincrby", "kfi"}, {"hincrbyfloat", "kfx"}, {"hget", "kf"}, {"hmget", "kf*1"}, {"hlen", "k"},
    {"hexists", "kf"}, {"hstrlen", "kf"}, {"hgetall", "k"}, {"hkeys", "k"}, {"hvals", "k"},
    {"hrandfield", "k"}, {"hrandfield", "kiW"}, {"hscan", "khH"}, {"hscan", "kh"}, {"hscan", "kh"},
    {"multi", ""}, {"exec", ""}, {"exec", ""}, {"discard", ""}, {"watch", "k*1"}, {"watch", "k*1"},
    {"unwatch", ""}, {"ping", ""}, {"echo", "v"}, {"hello", "2"}, {"reset", ""}, {"nosuch", "v"},
};

static void decode(struct args *a, uint8_t which, unsigned client, struct input *in,
                   const struct world *w) {
    const char *letters = COMMANDS[which].args, *star = strchr(letters, '*');
    a->count = 0;
    add_text(a, COMMANDS[which].name);
    if (letters[0] == '=') { /* a subcommand */
        add(a, letters + 1, strlen(letters) - 3);
        letters += strlen(letters) - 1;
    }
    size_t count = star ? (size_t)(star - letters) : strlen(letters);
    for (size_t i = 0; i < count; i++) {
        add_one(a, letters[i], in, w, client);
    }
    if (star) {
        uint8_t more = take(in);
        size_t group = (size_t)(star[1] - '0');
        for (unsigned n = more < 0xe0 ? more % 4u : more % 32u; n > 0; n--) {
            for (size_t i = count - group; i < count; i++) {
                add_one(a, letters[i], in, w, client);
            }
        }
    }
}

/* An argument more, less or another one. */
static void damage(struct args *a, struct input *in) {
    uint8_t how = take(in);
    if (how % 3 == 0) {
        add_value(a, in);
    } else if (a->count > 1) {
        free((char *)a->v[--a->count].ptr);
        if (how % 3 == 1) {
            add_value(a, in);
        }
    }
}

static void args_free(struct args *a) {
    for (uint32_t i = 0; i < a->count; i++) {
        free((char *)a->v[i].ptr);
    }
    a->count = 0;
}

/* --- running: what shard/pipeline.c does --- */

static void call(struct world *w, struct cmd *c) {
    if (dispatch_single_lock(c)) {
        struct partition *p = keyspace_partition(w->ks, c->keys[0].hash);
        lock_take(&p->lock);
        dispatch_call(c);
        lock_release(&p->lock);
        return;
    }
    struct lockset set;
    lockset_clear(&set);
    dispatch_locks(c, &set);
    c->held = lockset_is_empty(&set) ? NULL : &set;
    lockset_lock(&set, w->ks);
    dispatch_call(c);
    lockset_unlock(&set, w->ks);
}

static void take_output(struct chain *out, struct buf *reply) {
    struct iovec iov[IOV_MAX_HERE];
    while (out->len_bytes) {
        int count = chain_iov(out, iov, IOV_MAX_HERE);
        for (int i = 0; i < count; i++) {
            buf_append(reply, iov[i].iov_base, iov[i].iov_len);
            chain_consume(out, iov[i].iov_len);
        }
    }
    chain_clear(out);
}

static void trace(const struct world *w, unsigned client, const struct args *a,
                  const struct buf *reply) {
    fprintf(stderr, "%u:", client);
    for (uint32_t i = 0; i < a->count; i++) {
        fprintf(stderr, " \"%.*s\"", (int)MIN(a->v[i].len, 40), a->v[i].ptr);
    }
    fprintf(stderr, " -> %.*s\n", (int)MIN(reply->len, 200), reply->ptr);
}

static void execute(struct world *w, unsigned client, struct args *a) {
    struct chain out;
    struct buf reply = {0};
    chain_init(&out, &w->chunks);
    struct resp_writer writer = {.out = &out, .proto = (uint8_t)client_proto(&w->clients[client])};
    struct cmd c = {.client = &w->clients[client], .env = &w->env, .argv = a->v, .argc = a->count,
                    .w = &writer};
    struct key keys[ARGS_MAX];
    for (uint32_t i = 0; i < a->count; i++) {
        c.args_bytes += a->v[i].len;
    }
    dispatch_find(&c);
    c.keys = keys;
    c.keys_count = dispatch_keys(&c, keys, ARGS_MAX);
    for (uint32_t i = 0; i < c.keys_count; i++) {
        keyspace_prefetch_bucket(w->ks, client_db(c.client), keys[i].hash);
        keyspace_prefetch_entry(w->ks, client_db(c.client), keys[i].hash);
        keyspace_prefetch_value(w->ks, client_db(c.client), keys[i].hash);
    }
    do {
        c.outcome = CMD_DONE;
        if (dispatch_check(&c) == DISPATCH_RUN) {
            call(w, &c);
        }
    } while (c.outcome == CMD_AGAIN || c.outcome == CMD_ROOM); /* what asks for room did nothing */
    ASSERT(c.outcome == CMD_DONE);
    take_output(&out, &reply);
    if (w->trace) {
        trace(w, client, a, &reply);
    }
    model_run(w->model, client, a->v, a->count, buf_slice(&reply));
    ASSERT(client_has(c.client, CLIENT_MULTI) == model_in_multi(w->model, client));
    buf_free(&reply);
}

static void execute_words(struct world *w, unsigned client, const struct slice *words,
                          uint32_t count) {
    struct args a = {.count = 0};
    for (uint32_t i = 0; i < count; i++) {
        add(&a, words[i].ptr, words[i].len);
    }
    execute(w, client, &a);
    args_free(&a);
}

static void maintain(struct world *w, uint32_t index, uint32_t buckets) {
    struct partition *p = w->ks->partitions[index % w->ks->partitions_count];
    lock_take(&p->lock);
    part_maintain(p, w->env.now_ms, buckets);
    part_compact(p, (struct compact_from){0}, buckets * 8);
    keyspace_defrag_judge(w->ks, w->env.now_ms, &(struct mem_stats){0});
    part_defrag(p, buckets);
    lock_release(&p->lock);
}

static void check_tables(struct world *w) {
    for (uint32_t i = 0; i < w->ks->partitions_count; i++) {
        for (unsigned db = 0; db < DATABASES_MAX; db++) {
            if (w->ks->partitions[i]->db[db]) {
                table_check(w->ks->partitions[i]->db[db]);
            }
        }
        heap_check(&w->ks->partitions[i]->heap);
        heap_check(&w->ks->partitions[i]->index_heap);
    }
}

/* --- the end --- */

static void audit_key(void *arg, struct slice key, bool is_hash) {
    struct world *w = arg;
    const struct slice value[] = {is_hash ? SLICE("hgetall") : SLICE("get"), key};
    const struct slice ttl[] = {SLICE("pttl"), key};
    const struct slice encoding[] = {SLICE("object"), SLICE("encoding"), key};
    execute_words(w, 0, value, 2);
    execute_words(w, 0, ttl, 2);
    execute_words(w, 0, encoding, 3);
}

static void audit(struct world *w) {
    for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
        execute_words(w, i, &SLICE("reset"), 1);
    }
    for (unsigned db = 0; db < MODEL_DATABASES; db++) {
        const struct slice choose[] = {SLICE("select"), slice_str(DATABASES[db])};
        const struct slice keys[] = {SLICE("keys"), SLICE("*")};
        execute_words(w, 0, choose, 2);
        execute_words(w, 0, keys, 2);
        model_visit(w->model, db, audit_key, w);
        uint64_t count = 0, with_expiry;
        for (uint32_t i = 0; i < SWEEPS_MAX; i++) {
            keyspace_count(w->ks, NULL, db, &count, &with_expiry);
            if (count == model_count(w->model, db)) {
                break;
            }
            maintain(w, i, SWEEP_BUCKETS);
        }
        ASSERT(count == model_count(w->model, db));
    }
    check_tables(w);
}

/* --- life --- */

static void host_set_text(struct env *env, struct client *client, int which, struct slice text) {
    ASSERT(!client->text[which] && text.len == 0); /* RESET clears a name that nobody set */
}

static struct world *world_create(const struct command_table *table, const uint8_t *choices) {
    static const uint32_t fields_max[] = {128, 4, 16, 0};
    struct world *w = mem_zalloc(sizeof *w);
    uint32_t shards = 1 + choices[0] % 3;
    w->ks = keyspace_create(shards, 1 + choices[2], transaction_touched);
    w->ks->defrag.always = true;
    w->stats.per_command = mem_zalloc(command_table_count(table) * sizeof(struct command_stats));
    w->settings = (struct settings){
        .databases = MODEL_DATABASES,
        .resp = {.bulk_bytes_max = STRING_BYTES_MAX},
        .hash = {.packed_fields_max = PICK(fields_max, choices[1]), .packed_bytes_max = 64},
        .query_buffer_bytes_max = 1 << 30,
        .growth_bytes_max = choices[1] & 128 ? 64 : 0,
    };
    w->host = (struct host_ops){.client_set_text = host_set_text};
    w->env = (struct env){.ks = w->ks,
                          .settings = &w->settings,
                          .commands = table,
                          .stats = &w->stats,
                          .host = &w->host,
                          .chunks = &w->chunks,
                          .rng = {choices[2]},
                          .now_ms = NOW_MS,
                          .now_us = 1000,
                          .shards = shards};
    w->model = model_create(&(struct model_options){
        .now_ms = NOW_MS,
        .packed_fields_max = w->settings.hash.packed_fields_max,
        .packed_bytes_max = w->settings.hash.packed_bytes_max,
        .string_bytes_max = STRING_BYTES_MAX,
    });
    for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
        client_init(&w->clients[i], i + 1, NOW_MS);
    }
    w->trace = getenv("FUZZ_TRACE") != NULL;
    return w;
}

static void world_destroy(struct world *w) {
    for (unsigned i = 0; i < MODEL_CLIENTS; i++) {
        client_deinit(&w->clients[i], &w->env);
    }
    for (uint32_t i = 0; i < w->ks->partitions_count; i++) {
        ASSERT(w->ks->partitions[i]->watched.count == 0);
    }
    keyspace_destroy(w->ks);
    chunk_pool_free(&w->chunks);
    mem_free(w->stats.per_command);
    model_destroy(w->model);
    mem_free(w);
}

/* One command, or something that happens between commands. */
static void step(struct world *w, struct input *in) {
    static const int32_t steps_ms[] = {0, 1, 10, 499, 500, 1000, 1500, 10000};
    struct args a = {.count = 0};
    uint8_t which = take(in), how = take(in);
    if (which >= 0xf0) {
        w->env.now_ms += PICK(steps_ms, how);
        model_set_now(w->model, w->env.now_ms);
    } else if (which >= 0xe8) {
        maintain(w, how, 1 + how % 8u);
    } else {
        unsigned client = (how & 15) % MODEL_CLIENTS;
        decode(&a, which % ARRAY_COUNT(COMMANDS), client, in, w);
        if (how >= 0xf0) {
            damage(&a, in);
        }
        execute(w, client, &a);
        args_free(&a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct command_table *table; /* immutable; made once, as making it takes longest */
    if (size < CHOICE_BYTES) {
        return 0;
    }
    if (!table) {
        mem_thread_register();
        table = command_table_create();
    }
    int64_t before_bytes = mem_used_bytes();
    struct world *w = world_create(table, data);
    struct input in = {data + CHOICE_BYTES, data + size};
    for (uint32_t i = 0; in.at < in.end && i < COMMANDS_MAX; i++) {
        step(w, &in);
        if (i % TABLE_CHECK_EVERY == TABLE_CHECK_EVERY - 1) {
            check_tables(w);
        }
    }
    audit(w);
    world_destroy(w);
    ASSERT(mem_used_bytes() == before_bytes);
    return 0;
}
