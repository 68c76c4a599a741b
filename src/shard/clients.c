/* Sessions: making, ending, limits, and the registry that lets any thread list all clients.
 *
 * The registry is a list of sessions a shard behind a mutex. The owner changes the list and the
 * clients' texts under it; others read under it. Hot fields are relaxed atomics. */
#include "shard/session.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/listener.h"

enum {
    IDLE_SCAN_PERIOD_US = 1000 * 1000,
    OUTPUT_STUCK_S = 60,
};

struct session *session_create(struct shard *sh, int fd) {
    struct session *s = mem_zalloc(sizeof *s);
    s->shard = sh;
    s->parser.grows = room_for_args;
    s->state = SESSION_RUNNING;
    list_init(&s->queue);
    list_init(&s->room_node);
    list_init(&s->share_node);
    list_init(&s->unsent_node);
    chain_init(&s->conn.out, &sh->chunks);
    client_init(&s->client, atomic_fetch_add(&sh->group->next_client_id, 1), sh->env.now_ms);
    if (!sh->env.settings->requirepass[0]) {
        client_set(&s->client, CLIENT_AUTHENTICATED); /* and stays so if a password is set later */
    }
    if (socket_is_unix(fd)) {
        client_set(&s->client, CLIENT_UNIX);
    }
    hmap_insert(&sh->sessions_by_id, &s->by_id, s->client.id);
    net_add(sh->net, &s->conn, fd);
    pthread_mutex_lock(&sh->registry); /* others see it from here on, its fd too */
    list_push_back(&sh->sessions, &s->all);
    pthread_mutex_unlock(&sh->registry);
    sh->sessions_count++;
    stat_add(&sh->stats.connections_now, 1);
    return s;
}

void session_close(struct session *s) {
    struct shard *sh = s->shard;
    if (s->state == SESSION_CLOSED) {
        return;
    }
    park_forget(s);
    room_let_go(s);
    s->state = SESSION_CLOSED;
    room_counted(s);
    hmap_remove(&sh->sessions_by_id, &s->by_id);
    pthread_mutex_lock(&sh->registry);
    list_remove(&s->all);
    pthread_mutex_unlock(&sh->registry);
    stat_add(&sh->stats.connections_now, (uint64_t)-1);
    atomic_fetch_sub(&sh->group->connections[sh->index], 1);
    atomic_fetch_sub(&sh->group->connections_total, 1);
    client_deinit(&s->client, &sh->env);
    if (!s->in_batch && sh->feeding != s && !s->src.ptr) { /* else settle or session_free does it */
        buf_free(&s->in);
    }
    net_close(sh->net, &s->conn);
    held_recount(s);
    /* Until what is under way has ended. */
    s->leaving_bytes = chain_own_bytes(&s->conn.out) + s->leaving_orphans + s->bulk.buf.cap;
    atomic_fetch_add(&sh->env.ks->leaving_bytes, s->leaving_bytes);
}

void session_free(struct session *s) {
    ASSERT(s->state == SESSION_CLOSED && !s->in_batch);
    atomic_fetch_sub(&s->shard->env.ks->leaving_bytes, s->leaving_bytes);
    s->shard->sessions_count--;
    resp_parser_reset(&s->parser);
    buf_free(&s->in);
    bulk_drop(s);
    chain_clear(&s->conn.out);
    held_recount(s); /* what it pinned is no orphan any more */
    mem_free(s);
}

void session_end(struct session *s) {
    if (s->state >= SESSION_ENDING) {
        return;
    }
    park_forget(s);
    s->state = SESSION_ENDING;
    if (s->conn.out.len_bytes == 0) {
        session_close(s);
        return;
    }
    s->conn.notify_drained = true;
    net_send(s->shard->net, &s->conn);
}

struct session *session_find(struct shard *sh, uint64_t id) {
    HMAP_FOR_EACH_HASH(node, &sh->sessions_by_id, id) {
        return CONTAINER_OF(node, struct session, by_id);
    }
    return NULL;
}

/* --- limits --- */

static void close_over_limit(struct session *s, const char *why) {
    log_warning("Closing client id=%llu: %s (%zu bytes of unsent output)",
                (unsigned long long)s->client.id, why, s->conn.out.len_bytes);
    stat_add(&s->shard->stats.clients_closed_output, 1);
    session_close(s);
}

bool session_check_output(struct session *s) {
    const struct settings *settings = s->shard->env.settings;
    size_t len = s->conn.out.len_bytes;
    if (s->state == SESSION_CLOSED || s->state == SESSION_ENDING) {
        return false;
    }
    if (settings->output_hard_bytes && len > settings->output_hard_bytes) {
        close_over_limit(s, "output is over the hard limit");
        return false;
    }
    /* Under a hard limit a client is served up to it, as on Redis: paused, it would stay below it
     * for ever. */
    if (settings->output_hard_bytes || len <= OUTPUT_PAUSE_BYTES || s->state != SESSION_RUNNING) {
        return true;
    }
    net_send(s->shard->net, &s->conn);
    s->conn.notify_drained = true;
    park_for_output(s);
    return false;
}

/* A client that leaves its output lying: over the soft limit for its seconds, or waiting for output
 * of which not a byte was taken for OUTPUT_STUCK_S. */
static void check_stuck(struct shard *sh, struct session *s) {
    const struct settings *settings = sh->env.settings;
    size_t len = s->conn.out.len_bytes;
    bool over = settings->output_soft_bytes && len > settings->output_soft_bytes;
    bool still = len > 0 && len == s->output_stuck_len && s->state >= SESSION_WAITS_OUTPUT;
    int64_t limit_us = (int64_t)(over ? settings->output_soft_s : OUTPUT_STUCK_S) * 1000000;
    s->output_stuck_len = len;
    if (!over && !still) {
        s->output_stuck_us = 0;
    } else if (s->output_stuck_us == 0) {
        s->output_stuck_us = sh->env.now_us;
    } else if (sh->env.now_us - s->output_stuck_us >= limit_us) {
        close_over_limit(s, "it does not read its replies");
    }
}

void clients_check_limits(struct shard *sh) {
    if (sh->env.now_us < sh->idle_scan_us) {
        return;
    }
    sh->idle_scan_us = sh->env.now_us + IDLE_SCAN_PERIOD_US;
    int64_t timeout_ms = (int64_t)sh->env.settings->timeout_s * 1000;
    LIST_FOR_EACH(node, &sh->sessions) {
        struct session *s = CONTAINER_OF(node, struct session, all);
        /* What left without an event is not waiting any more. */
        atomic_store_explicit(&s->client.output_bytes, s->conn.out.len_bytes,
                              memory_order_relaxed);
        held_recount(s);
        int64_t idle_ms = sh->env.now_ms -
                          atomic_load_explicit(&s->client.active_ms, memory_order_relaxed);
        if (timeout_ms && s->state == SESSION_RUNNING && idle_ms > timeout_ms) {
            log_verbose("Closing idle client id=%llu", (unsigned long long)s->client.id);
            stat_add(&sh->stats.clients_closed_idle, 1);
            session_close(s);
        } else if (s->conn.out.len_bytes || s->output_stuck_us) {
            check_stuck(sh, s);
        }
    }
    held_shed(sh);
}

/* --- host services about clients --- */

static void copy_text(char *out, size_t out_len, const char *text) {
    snprintf(out, out_len, "%s", text ? text : "");
}

/* Under the registry's mutex. */
static void describe(struct shard *sh, struct session *s, int64_t now_ms, struct client_info *out) {
    struct client *c = &s->client;
    *out = (struct client_info){
        .id = c->id,
        .shard = sh->index,
        .fd = s->conn.fd,
        .age_s = (now_ms - c->created_ms) / 1000,
        .idle_s = (now_ms - atomic_load_explicit(&c->active_ms, memory_order_relaxed)) / 1000,
        .flags = client_flags(c),
        .db = client_db(c),
        .proto = client_proto(c),
        .multi_count = atomic_load_explicit(&c->multi_count, memory_order_relaxed),
        .watch_count = atomic_load_explicit(&c->watch_count, memory_order_relaxed),
        .query_bytes = stat_get(&c->query_bytes),
        .output_bytes = stat_get(&c->output_bytes),
        .total_in = stat_get(&c->total_in),
        .total_out = stat_get(&c->total_out),
        .total_commands = stat_get(&c->total_commands),
        .last_command = atomic_load_explicit(&c->last_command, memory_order_relaxed),
    };
    out->total_bytes = sizeof *s + out->query_bytes + out->output_bytes;
    socket_peer_name(out->fd, out->address, sizeof out->address);
    socket_local_name(out->fd, out->local_address, sizeof out->local_address);
    copy_text(out->name, sizeof out->name, c->text[CLIENT_TEXT_NAME]);
    copy_text(out->lib_name, sizeof out->lib_name, c->text[CLIENT_TEXT_LIB_NAME]);
    copy_text(out->lib_version, sizeof out->lib_version, c->text[CLIENT_TEXT_LIB_VERSION]);
}

static struct shard *shard_of(struct env *env) {
    return CONTAINER_OF(env, struct shard, env);
}

static void host_clients_visit(struct env *env,
                               void (*fn)(void *arg, const struct client_info *info), void *arg) {
    struct shard_group *g = shard_of(env)->group;
    struct client_info info;
    for (uint32_t i = 0; i < g->params.count; i++) {
        struct shard *sh = g->shards[i];
        pthread_mutex_lock(&sh->registry);
        LIST_FOR_EACH(node, &sh->sessions) {
            describe(sh, CONTAINER_OF(node, struct session, all), env->now_ms, &info);
            fn(arg, &info);
        }
        pthread_mutex_unlock(&sh->registry);
    }
}

static void host_client_describe(struct env *env, struct client *client, struct client_info *out) {
    struct shard *sh = shard_of(env);
    pthread_mutex_lock(&sh->registry);
    describe(sh, CONTAINER_OF(client, struct session, client), env->now_ms, out);
    pthread_mutex_unlock(&sh->registry);
}

static void host_client_set_text(struct env *env, struct client *client, int which,
                                 struct slice text) {
    struct shard *sh = shard_of(env);
    char *copy = text.len ? mem_dup(text.ptr, text.len) : NULL;
    pthread_mutex_lock(&sh->registry);
    char *old = client->text[which];
    client->text[which] = copy;
    pthread_mutex_unlock(&sh->registry);
    client->kept_bytes += text.len;
    client->kept_bytes -= old ? strlen(old) : 0;
    mem_free(old);
}

static void host_client_kill(struct env *env, uint32_t shard, uint64_t id) {
    struct shard_group *g = shard_of(env)->group;
    ASSERT(shard < g->params.count);
    mailbox_send(&g->shards[shard]->mailbox, MESSAGE_KILL, -1, id, NULL);
}

static void host_pause(struct env *env, int64_t until_ms, bool writes_only) {
    struct shard_group *g = shard_of(env)->group;
    int64_t old_ms = atomic_load(&g->pause_until_ms);
    atomic_store(&g->pause_writes_only, writes_only);
    atomic_store(&g->pause_until_ms, MAX(old_ms, until_ms)); /* a pause is never cut short */
}

static void host_unpause(struct env *env) {
    struct shard_group *g = shard_of(env)->group;
    atomic_store(&g->pause_until_ms, 0);
    for (uint32_t i = 0; i < g->params.count; i++) {
        mailbox_send(&g->shards[i]->mailbox, MESSAGE_UNPAUSE, -1, 0, NULL);
    }
}

static bool host_client_is_local(struct env *env, struct client *client) {
    (void)env;
    return socket_peer_is_loopback(CONTAINER_OF(client, struct session, client)->conn.fd);
}

static void host_set_active_expire(struct env *env, bool on) {
    atomic_store(&shard_of(env)->group->no_active_expire, !on);
}

void clients_fill_host(struct host_ops *host) {
    host->set_active_expire = host_set_active_expire;
    host->clients_visit = host_clients_visit;
    host->client_describe = host_client_describe;
    host->client_set_text = host_client_set_text;
    host->client_kill = host_client_kill;
    host->pause = host_pause;
    host->unpause = host_unpause;
    host->client_is_local = host_client_is_local;
}
