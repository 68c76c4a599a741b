#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "resp/parser.h"

static struct harness *of_env(struct env *env) {
    return CONTAINER_OF(env, struct harness, env);
}

/* --- the fake host --- */

static void host_info(struct env *env, const struct slice *sections, uint32_t count,
                      struct buf *out) {
    uint64_t keys, with_expiry;
    keyspace_count(env->ks, env->held, 0, &keys, &with_expiry);
    buf_printf(out, "keys:%llu\r\n", (unsigned long long)keys);
    for (uint32_t i = 0; i < count; i++) {
        buf_printf(out, "# %.*s\r\n", SLICE_FMT(sections[i]));
    }
}

static void host_config_get(struct env *env, const struct slice *patterns, uint32_t count,
                            void (*fn)(void *arg, struct slice name, struct slice value),
                            void *arg) {
    for (uint32_t i = 0; i < count; i++) {
        fn(arg, patterns[i], SLICE("x"));
    }
}

static bool host_config_set(struct env *env, const struct slice *pairs, uint32_t count,
                            struct buf *error) {
    if (slice_eq(pairs[0], SLICE("bad"))) {
        buf_printf(error, "ERR Unknown option or number of arguments for CONFIG SET - 'bad'");
        return false;
    }
    return true;
}

static bool host_config_rewrite(struct env *env, struct buf *error) {
    buf_printf(error, "ERR The server is running without a config file");
    return false;
}

static void host_config_resetstat(struct env *env) {
    of_env(env)->stats.commands = 0;
}

static void host_client_describe(struct env *env, struct client *client, struct client_info *out) {
    *out = (struct client_info){.id = client->id,
                                .fd = 7,
                                .flags = client_flags(client),
                                .db = client_db(client),
                                .proto = client_proto(client),
                                .multi_count = client->multi_count,
                                .last_command = client->last_command};
    snprintf(out->address, sizeof out->address, "127.0.0.1:%d", 1000 + (int)client->id);
    snprintf(out->local_address, sizeof out->local_address, "127.0.0.1:6379");
    const char *name = client->text[CLIENT_TEXT_NAME];
    snprintf(out->name, sizeof out->name, "%s", name ? name : "");
    name = client->text[CLIENT_TEXT_LIB_NAME];
    snprintf(out->lib_name, sizeof out->lib_name, "%s", name ? name : "");
    name = client->text[CLIENT_TEXT_LIB_VERSION];
    snprintf(out->lib_version, sizeof out->lib_version, "%s", name ? name : "");
}

static void host_clients_visit(struct env *env,
                               void (*fn)(void *arg, const struct client_info *info), void *arg) {
    struct harness *h = of_env(env);
    /* Backwards: the order of a visit says nothing. */
    for (int i = HARNESS_CLIENTS_MAX - 1; i >= 0; i--) {
        struct client_info info;
        if (h->clients[i].id) {
            host_client_describe(env, &h->clients[i], &info);
            fn(arg, &info);
        }
    }
}

static void host_set_text(struct env *env, struct client *client, int which, struct slice text) {
    mem_free(client->text[which]);
    client->text[which] = text.len ? mem_dup(text.ptr, text.len) : NULL;
}

static void host_kill(struct env *env, uint32_t shard, uint64_t id) {
    of_env(env)->killed = id;
}

static void host_pause(struct env *env, int64_t until_ms, bool writes_only) {
    of_env(env)->paused_until_ms = until_ms;
    of_env(env)->pause_writes_only = writes_only;
}

static void host_unpause(struct env *env) {
    of_env(env)->paused_until_ms = 0;
}

static void host_shutdown(struct env *env, bool now) {
    of_env(env)->shut_down = true;
    of_env(env)->shut_down_now = now;
}

static void host_set_active_expire(struct env *env, bool on) {
    of_env(env)->sweeping = on;
}

static bool host_is_local(struct env *env, struct client *client) {
    return of_env(env)->is_local;
}

static const struct host_ops fake_host = {
    .info = host_info,
    .config_get = host_config_get,
    .config_set = host_config_set,
    .config_rewrite = host_config_rewrite,
    .config_resetstat = host_config_resetstat,
    .clients_visit = host_clients_visit,
    .client_describe = host_client_describe,
    .client_set_text = host_set_text,
    .client_kill = host_kill,
    .pause = host_pause,
    .unpause = host_unpause,
    .shutdown = host_shutdown,
    .set_active_expire = host_set_active_expire,
    .client_is_local = host_is_local,
};

/* --- the fake database --- */

static void row_destroy(struct hmap_node *node, void *arg) {
    struct row *row = CONTAINER_OF(node, struct row, node);
    (void)arg;
    entry_destroy(NULL, (struct entry *)row->entry);
    mem_free((char *)row->key.ptr);
    mem_free(row);
}

static void rows_destroy(struct rows *rows) {
    if (rows) {
        hmap_visit(&rows->map, row_destroy, NULL);
        hmap_free(&rows->map);
        mem_free(rows);
    }
}

static void store_row(struct harness *h, const struct row_miss *miss, struct entry_origin origin) {
    struct lockset one = {{0}};
    struct partition *p = keyspace_partition(h->ks, miss->key.hash);
    lockset_add(&one, p);
    lockset_lock(&one, h->ks);
    struct slice key = miss->key.bytes;
    int64_t deadline = h->env.now_ms + miss->map->ttl_ms;
    struct entry *e =
        h->row_value
            ? entry_create_string(&p->heap, key, slice_str(h->row_value), deadline, origin)
            : entry_create_absent(&p->heap, key, deadline, origin);
    part_put(p, 0, &miss->key, e);
    lockset_unlock(&one, h->ks);
}

static void load_misses(struct harness *h, struct client *client) {
    client->rows = client->rows ? client->rows : mem_zalloc(sizeof *client->rows);
    for (uint32_t i = 0; i < h->env.misses_count; i++) {
        const struct row_miss *miss = &h->env.misses[i];
        struct entry_origin origin = {miss->map->id, miss->map->generation};
        struct slice key = miss->key.bytes;
        struct row *row = mem_alloc(sizeof *row);
        *row = (struct row){.key = slice_of(mem_dup(key.ptr, key.len), key.len),
                            .state = ROW_ABSENT};
        hmap_insert(&client->rows->map, &row->node, miss->key.hash);
        h->loads++;
        if (h->row_error) {
            row->state = ROW_FAILED;
            row->error = h->row_error;
            continue;
        }
        if (h->rows_are_stored) {
            store_row(h, miss, origin);
        }
        if (h->row_value) {
            row->state = ROW_LOADED;
            row->entry = entry_create_string(NULL, key, slice_str(h->row_value), EXPIRE_NEVER, origin);
        }
    }
}

/* --- running --- */

static void wait_for_room(struct harness *h, struct cmd *c) {
    struct buf reply = h->reply;
    enum cmd_outcome outcome = h->outcome;
    struct lockset locked = h->locked;
    h->reply = (struct buf){0};
    h->asked_bytes = c->room_bytes;
    h->asked++;
    if (h->waits) {
        h->waits(h);
    }
    buf_free(&h->reply);
    h->reply = reply;
    h->outcome = outcome;
    h->locked = locked;
}

static void call(struct harness *h, struct cmd *c) {
    struct client *client = c->client;
    bool first = true;
    do {
        dispatch_locks(c, &h->locked);
        c->held = &h->locked;
        lockset_lock(&h->locked, h->ks);
        dispatch_call(c);
        lockset_unlock(&h->locked, h->ks);
        c->repeats = true;
        if (first) {
            h->outcome = c->outcome;
            first = false;
        }
        if (c->outcome == CMD_MISS) {
            load_misses(h, client);
        } else if (c->outcome == CMD_SLEEP) {
            h->env.now_us = c->wake_us;
            client_set(client, CLIENT_RESUMED);
        } else if (c->outcome == CMD_ROOM) {
            wait_for_room(h, c);
        }
    } while (c->outcome != CMD_DONE);
    client_unset(client, CLIENT_RESUMED);
    rows_destroy(client->rows);
    client->rows = NULL;
}

static void parse(const char *text, struct resp_parser *parser, struct resp_args *args,
                  struct buf *line) {
    struct resp_limits limits = {.bulk_bytes_max = 1 << 30, .inline_bytes_max = 1 << 30,
                                 .args_max = 1 << 30};
    char error[RESP_ERROR_CHARS_MAX];
    size_t consumed;
    buf_printf(line, "%s\r\n", text);
    enum resp_status status =
        resp_parse(parser, line->ptr, line->len, &limits, args, &consumed, error);
    assert_int_equal(status, RESP_REQUEST);
}

static void take_reply(struct harness *h, struct chain *out) {
    struct iovec iov[64];
    h->reply.len = 0;
    while (out->len_bytes) {
        int count = chain_iov(out, iov, 64);
        for (int i = 0; i < count; i++) {
            buf_append(&h->reply, iov[i].iov_base, iov[i].iov_len);
            chain_consume(out, iov[i].iov_len);
        }
    }
    buf_append_char(&h->reply, 0);
    chain_clear(out);
}

const char *run_as(struct harness *h, int index, const char *text) {
    struct client *client = &h->clients[index];
    struct resp_parser parser = {0};
    struct resp_args args = {0};
    struct buf line = {0};
    struct chain out;
    parse(text, &parser, &args, &line);
    if (!client->id) {
        client_init(client, (uint64_t)index + 1, h->env.now_ms);
    }
    chain_init(&out, &h->chunks);
    struct resp_writer w = {.out = &out, .proto = (uint8_t)client_proto(client)};
    struct cmd c = {.client = client,
                    .env = &h->env,
                    .argv = args.v,
                    .argc = args.count,
                    .w = &w,
                    .room_bytes = h->room_bytes};
    dispatch_find(&c);
    c.keys_count = dispatch_keys(&c, NULL, 0);
    c.keys = mem_alloc(c.keys_count * sizeof *c.keys);
    dispatch_keys(&c, c.keys, c.keys_count);
    h->outcome = CMD_DONE;
    if (dispatch_check(&c) == DISPATCH_RUN) {
        call(h, &c);
    }
    take_reply(h, &out);
    mem_free(c.keys);
    resp_args_free(&args);
    resp_parser_reset(&parser);
    buf_free(&line);
    return h->reply.ptr;
}

static struct mapping_set *make_maps(const char *line) {
    char why[256];
    struct mapping *m = mapping_parse(slice_str(line), why, sizeof why);
    if (!m) {
        fail_msg("mapping refused: %s", why);
    }
    struct mapping_set *set = mapping_set_create(&m, 1);
    mapping_unref(m);
    return set;
}

static struct harness *create(struct keyspace *ks, const char *map) {
    struct harness *h = mem_zalloc(sizeof *h);
    h->ks = ks;
    h->table = command_table_create();
    h->stats.per_command = mem_zalloc(command_table_count(h->table) * sizeof(struct command_stats));
    h->settings = (struct settings){
        .databases = DATABASES_MAX,
        .resp = {.bulk_bytes_max = 512 << 20},
        .hash = {.packed_fields_max = 128, .packed_bytes_max = 64},
        .query_buffer_bytes_max = 1 << 20,
        .maps = map ? make_maps(map) : NULL,
    };
    h->rows_are_stored = true;
    h->host = fake_host;
    h->env = (struct env){.ks = h->ks,
                          .settings = &h->settings,
                          .commands = h->table,
                          .stats = &h->stats,
                          .host = &h->host,
                          .chunks = &h->chunks,
                          .rng = {7},
                          .now_ms = HARNESS_NOW_MS,
                          .now_us = 1000,
                          .shards = 2};
    client_init(&h->clients[0], 1, h->env.now_ms);
    return h;
}

struct harness *harness_create(const char *map) {
    return create(keyspace_create(2, 42, transaction_touched), map);
}

struct harness *harness_create_beside(struct harness *h) {
    struct harness *beside = create(h->ks, NULL);
    beside->is_beside = true;
    return beside;
}

void harness_destroy(struct harness *h) {
    for (int i = 0; i < HARNESS_CLIENTS_MAX; i++) {
        if (h->clients[i].id) {
            client_deinit(&h->clients[i], &h->env);
        }
    }
    for (uint32_t i = 0; i < h->ks->partitions_count && !h->is_beside; i++) {
        assert_int_equal(h->ks->partitions[i]->watched.count, 0);
    }
    if (!h->is_beside) {
        keyspace_destroy(h->ks);
    }
    command_table_destroy(h->table);
    mapping_set_unref(h->settings.maps);
    mem_free(h->stats.per_command);
    buf_free(&h->reply);
    chunk_pool_free(&h->chunks);
    mem_free(h);
}
