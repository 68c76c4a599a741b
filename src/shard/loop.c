/* The shard's thread and the group.
 *
 *   loop:  send + wait -> events -> batch -> messages -> resumed sessions -> timers -> maintenance
 *
 * Each of these is bounded a round. `now` is read once a round. */
#include "shard/session.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define STOP_CLOSE_US (500 * 1000) /* after the grace period: for the kernel to give sockets back */

/* --- time --- */

static void read_clocks(struct shard *sh) {
    sh->env.now_us = clock_mono_us();
    sh->env.now_ms = (sh->env.now_us + sh->wall_offset_us) / 1000;
}

static void on_cron(struct timer *t, void *arg) {
    struct shard *sh = arg;
    sh->wall_offset_us = clock_wall_us() - clock_mono_us();
    read_clocks(sh);
    atomic_store_explicit(&sh->env.ks->now_s, sh->env.now_ms / 1000, memory_order_relaxed);
    double per_us = sh->group->ticks_per_us;
    stat_add(&sh->stats.busy_us, (uint64_t)((double)sh->busy_ticks / per_us));
    stat_add(&sh->stats.idle_us, (uint64_t)((double)sh->idle_ticks / per_us));
    sh->busy_ticks = sh->idle_ticks = 0;
    sh->evicting = keyspace_is_full(sh->env.ks);
    int64_t pause_ms = atomic_load_explicit(&sh->group->pause_until_ms, memory_order_relaxed);
    if (!list_empty(&sh->paused) && sh->env.now_ms >= pause_ms) {
        park_unpause(sh);
    }
    clients_check_limits(sh);
    timers_set(&sh->timers, t, sh->env.now_us + CRON_PERIOD_US);
}

/* --- settings --- */

static void apply_settings(struct shard *sh, const struct settings *settings) {
    if (sh->retired_count == sh->retired_cap) {
        sh->retired_cap = sh->retired_cap ? 2 * sh->retired_cap : 8;
        sh->retired = mem_realloc(sh->retired, sh->retired_cap * sizeof *sh->retired);
    }
    sh->retired[sh->retired_count++] = sh->env.settings;
    sh->env.settings = settings;
    sh->evicting = keyspace_is_full(sh->env.ks); /* maxmemory may have been lowered */
}

static void release_retired(struct shard *sh) {
    while (sh->retired_count) {
        settings_unref(sh->retired[--sh->retired_count]);
    }
}

void shards_publish(struct shard_group *g, struct env *env, struct settings *settings) {
    struct shard *self = env ? CONTAINER_OF(env, struct shard, env) : NULL;
    load_share_changed(g, settings);
    for (uint32_t i = 0; i < g->params.count; i++) {
        struct shard *sh = g->shards[i];
        if (sh == self) {
            apply_settings(sh, settings_ref(settings));
        } else {
            mailbox_send(&sh->mailbox, MESSAGE_SETTINGS, -1, 0, settings_ref(settings));
        }
    }
    settings_unref(settings);
}

/* --- messages --- */

static void reset_stats(struct shard *sh) {
    struct stats *s = &sh->stats;
    _Atomic uint64_t *const counters[] = {
        &s->commands,        &s->requests_batched,      &s->batches,
        &s->net_in_bytes,    &s->net_out_bytes,         &s->connections_accepted,
        &s->connections_rejected, &s->clients_closed_output, &s->clients_closed_query,
        &s->clients_closed_idle, &s->clients_evicted,   &s->protocol_errors,   &s->error_replies,
        &s->auth_failures,   &s->row_hits,              &s->row_misses,
        &s->row_waited,      &s->row_joins,       &s->row_fills,             &s->row_fills_refused,
        &s->row_errors,      &s->row_timeouts,          &s->expire_ticks,
        &s->expire_capped};
    for (size_t i = 0; i < ARRAY_COUNT(counters); i++) {
        atomic_store_explicit(counters[i], 0, memory_order_relaxed);
    }
    for (size_t i = 0; i < STATS_ERROR_KINDS_MAX; i++) {
        atomic_store_explicit(&s->errors[i].count, 0, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < command_table_count(sh->env.commands); i++) {
        struct command_stats *c = &s->per_command[i];
        atomic_store_explicit(&c->calls, 0, memory_order_relaxed);
        atomic_store_explicit(&c->ticks, 0, memory_order_relaxed);
        atomic_store_explicit(&c->rejected, 0, memory_order_relaxed);
        atomic_store_explicit(&c->failed, 0, memory_order_relaxed);
    }
}

static void handle_message(struct shard *sh, struct message *m) {
    struct session *s;
    switch (m->type) {
    case MESSAGE_ADOPT:
        accept_adopt(sh, m->fd);
        break;
    case MESSAGE_LOADED:
        load_complete(sh, m->ptr); /* frees the message with the load */
        return;
    case MESSAGE_RESUME:
        s = session_find(sh, m->session_id);
        if (s) {
            park_load_done(s, m->ptr);
        }
        load_unref(m->ptr);
        break;
    case MESSAGE_ROOM:
        s = session_find(sh, m->session_id);
        if (s) {
            park_room_made(s);
        }
        break;
    case MESSAGE_SHARE:
        s = session_find(sh, m->session_id);
        if (s) {
            park_share_taken(s);
        }
        break;
    case MESSAGE_SETTINGS:
        apply_settings(sh, m->ptr);
        break;
    case MESSAGE_KILL:
        s = session_find(sh, m->session_id);
        if (s) {
            session_close(s); /* its output too: it may be what nobody reads */
        }
        break;
    case MESSAGE_SHED:
        atomic_store(&sh->group->shedding, false);
        held_shed(sh);
        break;
    case MESSAGE_UNPAUSE:
        park_unpause(sh);
        break;
    case MESSAGE_RESET:
        reset_stats(sh);
        break;
    case MESSAGE_STOP:
        sh->stopping = true;
        sh->stop_deadline_us = sh->env.now_us + (int64_t)m->session_id * 1000;
        net_stop_accepting(sh->net);
        break;
    }
    if (m->heap) {
        mem_free(m);
    }
}

/* After the wait, before what it brought: who asks because another shard has answered (CONFIG SET)
 * finds what that shard had posted before. */
static void handle_messages(struct shard *sh) {
    for (uint32_t i = 0; i < MESSAGES_A_LOOP_MAX; i++) {
        struct message *m = mailbox_take(&sh->mailbox);
        if (!m) {
            return;
        }
        stat_add(&sh->stats.messages, 1);
        handle_message(sh, m);
    }
}

/* --- events --- */

static void on_sent(struct session *s) {
    if (s->state == SESSION_ENDING && s->conn.out.len_bytes == 0) {
        session_close(s);
    } else if (s->state == SESSION_WAITS_OUTPUT && s->conn.out.len_bytes <= OUTPUT_RESUME_BYTES) {
        park_wake(s);
    }
    if (session_weight(s)) {
        held_recount(s);
    }
    atomic_store_explicit(&s->client.output_bytes, s->conn.out.len_bytes, memory_order_relaxed);
}

static void on_eof(struct shard *sh, struct session *s, int error) {
    if (s->in_batch) {
        pipeline_run(sh);
    }
    if (error) {
        session_close(s);
    } else if (s->state == SESSION_RUNNING) {
        session_end(s);
    } else {
        s->eof = true;
    }
}

static void handle_events(struct shard *sh) {
    for (int i = 0; i < sh->events_count; i++) {
        struct net_event *e = &sh->events[i];
        struct session *s = e->conn ? CONTAINER_OF(e->conn, struct session, conn) : NULL;
        switch (e->type) {
        case NET_EVENT_ACCEPTED:
            accept_fd(sh, e->fd);
            break;
        case NET_EVENT_DATA:
            maintain_received(sh);
            pipeline_receive(sh, s, e->data);
            break;
        case NET_EVENT_SENT:
            on_sent(s);
            break;
        case NET_EVENT_EOF:
            on_eof(sh, s, e->error);
            break;
        case NET_EVENT_CLOSED:
            session_free(s);
            break;
        case NET_EVENT_WOKEN:
            break;
        }
    }
    pipeline_run(sh);
    for (int i = 0; i < sh->events_count; i++) {
        net_event_done(sh->net, &sh->events[i]);
    }
    sh->events_count = 0;
}

/* Sessions that may go on. What becomes runnable meanwhile waits for the next round. */
static void run_resumed(struct shard *sh) {
    struct list now;
    list_init(&now);
    list_splice(&now, &sh->runnable);
    for (uint32_t i = 0; i < RESUMES_A_LOOP_MAX && !list_empty(&now); i++) {
        struct session *s = CONTAINER_OF(now.next, struct session, queue);
        park_resumed(s);
        pipeline_resume(sh, s);
    }
    pipeline_run(sh);
    list_splice(&now, &sh->runnable);
    list_splice(&sh->runnable, &now);
}

/* --- stopping --- */

/* Ends the sessions that have nothing under way; true when none is left (or time is up). */
static bool wind_down(struct shard *sh) {
    bool over = sh->env.now_us >= sh->stop_deadline_us;
    LIST_FOR_EACH(node, &sh->sessions) {
        struct session *s = CONTAINER_OF(node, struct session, all);
        if (over) {
            session_close(s);
        } else if (s->state == SESSION_RUNNING) {
            session_end(s);
        }
    }
    return sh->sessions_count == 0 || sh->env.now_us >= sh->stop_deadline_us + STOP_CLOSE_US;
}

/* --- the loop --- */

static int64_t wait_time_us(struct shard *sh) {
    if (!list_empty(&sh->runnable) || sh->maintenance.left || sh->evicting || sh->sheds ||
        sh->stopping || !mailbox_may_sleep(&sh->mailbox)) {
        return sh->stopping && list_empty(&sh->runnable) ? 1000 : 0;
    }
    int64_t left = timers_next_us(&sh->timers) - sh->env.now_us;
    return left > 0 ? left : 0;
}

static void run_loop(struct shard *sh) {
    uint64_t ticks = clock_ticks();
    for (;;) {
        int64_t timeout_us = wait_time_us(sh);
        uint64_t before = clock_ticks();
        sh->busy_ticks += before - ticks;
        sh->events_count = net_wait(sh->net, sh->events, timeout_us);
        mailbox_awake(&sh->mailbox);
        ticks = clock_ticks();
        sh->idle_ticks += timeout_us ? ticks - before : 0;
        sh->busy_ticks += timeout_us ? 0 : ticks - before;
        read_clocks(sh);
        handle_messages(sh);
        handle_events(sh);
        if (!list_empty(&sh->runnable)) {
            run_resumed(sh);
        }
        timers_run(&sh->timers, sh->env.now_us, TIMERS_A_LOOP_MAX, sh);
        if (sh->maintenance.left) {
            maintain_run(sh);
        }
        if (sh->evicting) {
            maintain_evict(sh);
        }
        held_look(sh);
        room_look(sh);
        load_submit(sh);
        release_retired(sh);
        stat_add(&sh->stats.loops, 1);
        if (sh->stopping && wind_down(sh)) {
            return;
        }
    }
}

/* --- thread --- */

static void pin_to_cpu(uint32_t index) {
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return;
    }
    uint32_t skip = index % (uint32_t)CPU_COUNT(&allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && skip-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

/* Tells shards_start how it went. */
static void report_started(struct shard *sh, const char *failure) {
    struct shard_group *g = sh->group;
    pthread_mutex_lock(&g->start_mutex);
    g->started++;
    if (failure) {
        g->start_failed = true;
        snprintf(g->start_why, sizeof g->start_why, "%s", failure);
    } else {
        g->backend = net_backend(sh->net);
    }
    pthread_cond_signal(&g->start_cond);
    pthread_mutex_unlock(&g->start_mutex);
}

/* Where there is little memory the receive buffers take little of it: each is soon in use, however
 * few connections there are. */
static unsigned receive_buffers(const struct shards_params *params) {
    uint64_t max = params->settings->keyspace.maxmemory_bytes;
    uint64_t share = max / RECEIVE_DIVISOR / params->count / NET_BUFFER_BYTES;
    unsigned count = NET_BUFFERS_MAX;
    while (max && count > RECEIVE_BUFFERS_MIN && count > share) {
        count /= 2;
    }
    return count;
}

static bool open_net(struct shard *sh) {
    const struct shards_params *params = &sh->group->params;
    struct net_params net = {
        .backend = params->backend,
        .listen_fds = params->listen_fds[sh->index],
        .listen_fds_count = params->listen_fds_count[sh->index],
        .buffers_count = receive_buffers(params),
        .soft_limit_bytes = OUTPUT_RESUME_BYTES,
    };
    char why[256] = "";
    if (net.backend == NET_AUTO) {
        net.backend = NET_URING;
        sh->net = net_create(&net, why, sizeof why);
        if (!sh->net && sh->index == 0) {
            snprintf(sh->group->backend_why, sizeof sh->group->backend_why, "%s", why);
        }
        net.backend = NET_EPOLL;
    }
    if (!sh->net) {
        sh->net = net_create(&net, why, sizeof why);
    }
    if (!sh->net) {
        report_started(sh, why);
        return false;
    }
    atomic_store(&sh->mailbox.net, sh->net);
    return true;
}

static void free_batch(struct batch *b) {
    for (uint32_t i = 0; i < BATCH_REQUESTS_MAX; i++) {
        resp_args_free(&b->requests[i].args);
        buf_free(&b->requests[i].keys_heap);
    }
}

static void *shard_main(void *arg) {
    struct shard *sh = arg;
    char name[16];
    snprintf(name, sizeof name, "shard-%u", sh->index);
    pthread_setname_np(pthread_self(), name);
    mem_thread_register();
    if (sh->group->params.pin) {
        pin_to_cpu(sh->index);
    }
    if (open_net(sh)) {
        sh->cron.fire = on_cron;
        on_cron(&sh->cron, sh);
        maintain_start(sh);
        report_started(sh, NULL);
        run_loop(sh);
    }
    release_retired(sh);
    mem_free(sh->retired);
    free_batch(&sh->batch);
    timers_free(&sh->timers);
    mem_thread_unregister();
    return NULL;
}

/* --- the group --- */

static struct shard *shard_create(struct shard_group *g, uint32_t index) {
    struct shard *sh = mem_alloc_aligned(64, sizeof *sh);
    memset(sh, 0, sizeof *sh);
    sh->index = index;
    sh->group = g;
    mailbox_init(&sh->mailbox);
    pthread_mutex_init(&sh->registry, NULL);
    list_init(&sh->sessions);
    for (uint32_t i = 0; i < HELD_CLASSES; i++) {
        list_init(&sh->holding[i]);
    }
    list_init(&sh->runnable);
    list_init(&sh->paused);
    list_init(&sh->unsent);
    sh->loads_tail = &sh->loads_head;
    sh->stats.per_command =
        mem_zalloc(command_table_count(g->params.commands) * sizeof *sh->stats.per_command);
    sh->env.ks = g->params.ks;
    sh->env.settings = settings_ref(g->params.settings);
    sh->env.commands = g->params.commands;
    sh->env.stats = &sh->stats;
    sh->env.host = &g->host;
    sh->env.host_ctx = g->params.host_ctx;
    sh->env.chunks = &sh->chunks;
    rng_system_bytes(&sh->env.rng, sizeof sh->env.rng);
    sh->env.shard = index;
    sh->env.shards = g->params.count;
    return sh;
}

struct shard_group *shards_create(const struct shards_params *params) {
    ASSERT(params->count >= 1 && params->count <= SHARDS_MAX);
    struct shard_group *g = mem_zalloc(sizeof *g);
    g->params = *params;
    g->host = params->host;
    clients_fill_host(&g->host);
    atomic_init(&g->next_client_id, 1);
    g->ticks_per_us = clock_ticks_per_us();
    pthread_mutex_init(&g->start_mutex, NULL);
    pthread_cond_init(&g->start_cond, NULL);
    pthread_mutex_init(&g->room_mutex, NULL);
    list_init(&g->room_queue);
    pthread_mutex_init(&g->share_mutex, NULL);
    list_init(&g->share_queue);
    for (uint32_t i = 0; i < params->count; i++) {
        g->shards[i] = shard_create(g, i);
    }
    return g;
}

void shards_set_store(struct shard_group *g, struct store *store) {
    g->store = store;
    load_share_changed(g, g->params.settings);
}

bool shards_start(struct shard_group *g, char *why, size_t why_len) {
    for (uint32_t i = 0; i < g->params.count; i++) {
        int error = pthread_create(&g->shards[i]->thread, NULL, shard_main, g->shards[i]);
        if (error) {
            snprintf(g->start_why, sizeof g->start_why, "cannot start a thread: %s",
                     strerror(error));
            g->start_failed = true;
            break;
        }
        g->shards_running++;
    }
    pthread_mutex_lock(&g->start_mutex);
    while (g->started < g->shards_running) {
        pthread_cond_wait(&g->start_cond, &g->start_mutex);
    }
    bool failed = g->start_failed;
    pthread_mutex_unlock(&g->start_mutex);
    if (failed) {
        snprintf(why, why_len, "%s", g->start_why);
        shards_stop(g, 0);
    }
    return !failed;
}

void shards_stop(struct shard_group *g, int64_t grace_ms) {
    for (uint32_t i = 0; i < g->shards_running; i++) {
        mailbox_send(&g->shards[i]->mailbox, MESSAGE_STOP, -1, (uint64_t)grace_ms, NULL);
    }
    for (uint32_t i = 0; i < g->shards_running; i++) {
        pthread_join(g->shards[i]->thread, NULL);
    }
    g->shards_running = 0;
    g->store = NULL; /* may be destroyed now */
}

/* Messages nobody will take any more: loads that came back, settings, connections. */
static void drop_messages(struct shard *sh) {
    struct message *m;
    while ((m = mailbox_take(&sh->mailbox))) {
        if (m->type == MESSAGE_LOADED) {
            load_complete(sh, m->ptr);
            continue;
        }
        if (m->type == MESSAGE_ADOPT) {
            close(m->fd);
        } else if (m->type == MESSAGE_SETTINGS) {
            settings_unref(m->ptr);
        } else if (m->type == MESSAGE_RESUME) {
            load_unref(m->ptr);
        }
        if (m->heap) {
            mem_free(m);
        }
    }
}

void shards_destroy(struct shard_group *g) {
    if (!g) {
        return;
    }
    for (uint32_t i = 0; i < g->params.count; i++) {
        drop_messages(g->shards[i]);
    }
    ASSERT(atomic_load(&g->params.ks->admitted_bytes) == 0); /* who was let in has left */
    ASSERT(atomic_load(&g->params.ks->expected_bytes) == 0);
    ASSERT(g->share_bytes == 0 && list_empty(&g->share_queue));
    for (uint32_t i = 0; i < g->params.count; i++) {
        struct shard *sh = g->shards[i];
        drop_messages(sh); /* what completing the others' loads sent here */
        net_destroy(sh->net);
        chunk_pool_free(&sh->chunks);
        hmap_free(&sh->sessions_by_id);
        settings_unref(sh->env.settings);
        mem_free(sh->stats.per_command);
        pthread_mutex_destroy(&sh->registry);
        mem_free(sh);
    }
    pthread_mutex_destroy(&g->start_mutex);
    pthread_cond_destroy(&g->start_cond);
    pthread_mutex_destroy(&g->room_mutex);
    pthread_mutex_destroy(&g->share_mutex);
    mem_free(g);
}

/* --- for statistics --- */

uint32_t shards_count(const struct shard_group *g) {
    return g->params.count;
}

const struct stats *shards_stats(const struct shard_group *g, uint32_t shard) {
    return &g->shards[shard]->stats;
}

void shards_reset_stats(struct shard_group *g) {
    for (uint32_t i = 0; i < g->params.count; i++) {
        mailbox_send(&g->shards[i]->mailbox, MESSAGE_RESET, -1, 0, NULL);
    }
}

enum net_backend shards_backend(const struct shard_group *g) {
    return g->backend;
}

const char *shards_backend_why(const struct shard_group *g) {
    return g->backend_why;
}

double shards_ticks_per_us(const struct shard_group *g) {
    return g->ticks_per_us;
}

uint64_t shards_kept_bytes(const struct shard_group *g) {
    return atomic_load_explicit(&g->kept_bytes, memory_order_relaxed);
}

uint64_t shards_share_waiting(const struct shard_group *g) {
    return atomic_load_explicit(&g->share_waiting, memory_order_relaxed);
}

uint64_t shards_in_progress(const struct shard_group *g) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->params.count; i++) {
        sum += stat_get(&g->shards[i]->stats.parked_now);
    }
    return sum;
}
