/* The way of a request, top to bottom:
 *
 *   bytes -> pipeline_receive -> parse_batch -> prepare (find the command, hash, prefetch buckets)
 *         -> pipeline_run (prefetch entries, values) -> execute (check, lock, call, unlock)
 *         -> settle -> net_send
 *
 * A batch takes requests of many connections before it executes any, so that their cache misses
 * overlap. Requests borrow their bytes: from a receive buffer, or from the session's `in`.
 *
 * 1. While a session has requests in the batch, its source bytes neither move nor are given back;
 *    whoever would touch them runs the batch first.
 * 2. Requests of one session are executed in order, and none behind one that parked.
 * 3. settle() leaves in `in` exactly what was received and not executed. */
#include "shard/session.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

/* --- parse --- */

static void touch(struct batch *b, struct session *s) {
    if (!s->in_batch) {
        s->in_batch = true;
        b->touched[b->touched_count++] = s;
    }
}

static inline bool is_large(const struct request *r) {
    return r->args.cap > ARGS_KEEP_MAX;
}

/* A large request's keys take more than its bytes: room is made for one step after the other. */
static void reserve_keys(struct shard *sh, struct request *r, size_t bytes) {
    while (r->keys_heap.cap < bytes) {
        size_t cap = MIN(bytes, r->keys_heap.cap + BUF_STEP_MAX);
        if (UNLIKELY(cap - r->keys_heap.cap > ENV_GROWTH_BYTES_MAX)) {
            room_now(sh, cap - r->keys_heap.cap);
        }
        buf_reserve_exact(&r->keys_heap, cap);
    }
}

static void hash_keys(struct shard *sh, struct request *r) {
    struct cmd *c = &r->cmd;
    c->keys = r->keys_inline;
    c->keys_count = dispatch_keys(c, r->keys_inline, BATCH_KEYS_INLINE);
    if (UNLIKELY(is_large(r)) && !session_may_have(r->s, r->args.cap * sizeof *r->args.v +
                                                             c->keys_count * sizeof *c->keys)) {
        c->keys_count = 0; /* it will not run */
    }
    if (c->keys_count > BATCH_KEYS_INLINE) {
        reserve_keys(sh, r, c->keys_count * sizeof *c->keys);
        c->keys = (struct key *)r->keys_heap.ptr;
        dispatch_keys(c, c->keys, c->keys_count);
    }
}

/* Everything about a request that can be done before its turn. */
static void prepare(struct shard *sh, struct session *s, struct request *r, size_t bytes) {
    r->s = s;
    r->cmd = (struct cmd){.client = &s->client,
                          .env = &sh->env,
                          .argv = r->args.v,
                          .argc = r->args.count,
                          .args_bytes = bytes};
    dispatch_find(&r->cmd);
    if (!r->cmd.spec) {
        return;
    }
    hash_keys(sh, r);
    unsigned db = client_db(&s->client);
    for (uint32_t i = 0; i < r->cmd.keys_count && i < BATCH_KEYS_INLINE; i++) {
        keyspace_prefetch_bucket(sh->env.ks, db, r->cmd.keys[i].hash);
    }
}

static void release_large(struct request *r) {
    if (UNLIKELY(is_large(r))) {
        resp_args_free(&r->args);
    }
    if (UNLIKELY(r->keys_heap.cap > ARGS_KEEP_MAX * sizeof(struct key))) {
        buf_free(&r->keys_heap);
    }
}

/* Stands in the batch alone: others' large requests would be there at the same time, and what it
 * takes may close its client, which has the replies before it. NULL: it waits for one of them. */
static struct request *alone(struct shard *sh, struct session *s, struct request *r) {
    struct batch *b = &sh->batch;
    if (b->count) {
        pipeline_run(sh);
        touch(b, s);
        struct request *first = &b->requests[0];
        struct resp_args args = first->args;
        first->args = r->args;
        r->args = args;
        r = first;
    }
    if (s->state != SESSION_RUNNING) {
        release_large(r);
        return NULL;
    }
    return r;
}

static void protocol_error(struct shard *sh, struct session *s, const char *error) {
    struct resp_writer w = {.out = &s->conn.out, .proto = (uint8_t)client_proto(&s->client)};
    resp_errorf(&w, "ERR Protocol error: %s", error);
    stat_add(&sh->stats.protocol_errors, 1);
    stats_count_error(&sh->stats, "ERR");
    session_end(s);
}

/* Before AUTH a stranger's requests must be small. */
static struct resp_limits limits_of(const struct shard *sh, const struct session *s) {
    struct resp_limits limits = sh->env.settings->resp;
    if (sh->env.settings->requirepass[0] && !client_has(&s->client, CLIENT_AUTHENTICATED)) {
        limits.args_max = 10;
        limits.unauthenticated_bulk_bytes_max = 16384;
    }
    return limits;
}

/* `r`, the last one of the batch, and all before it. */
static __attribute__((noinline)) void run_at_once(struct shard *sh, struct session *s,
                                                  struct request *r) {
    r->cmd.apart = &s->bulk.buf;
    r->cmd.args_bytes += s->bulk.buf.len;
    pipeline_run(sh);
    touch(&sh->batch, s);
    if (s->done) {
        bulk_drop(s);
    }
}

/* Parses s->src from s->parsed on into the batch, running it whenever it is full. */
static void parse_batch(struct shard *sh, struct session *s) {
    struct batch *b = &sh->batch;
    struct resp_limits limits = limits_of(sh, s);
    char error[RESP_ERROR_CHARS_MAX];
    while (s->state == SESSION_RUNNING && s->parsed < s->src.len) {
        if (b->count == BATCH_REQUESTS_MAX) {
            pipeline_run(sh);
            touch(b, s);
            continue;
        }
        struct request *r = &b->requests[b->count];
        const char *at = s->src.ptr + s->parsed;
        size_t consumed = 0;
        switch (resp_parse(&s->parser, at, s->src.len - s->parsed, &limits, &r->args, &consumed,
                           error)) {
        case RESP_MORE:
            release_large(r);
            return;
        case RESP_NOTHING:
            s->parsed += consumed;
            break;
        case RESP_ERROR:
            release_large(r);
            pipeline_run(sh);
            touch(b, s);
            if (s->state != SESSION_RUNNING) {
                return;
            }
            if (limits.unauthenticated_bulk_bytes_max &&
                client_has(&s->client, CLIENT_AUTHENTICATED)) {
                limits = limits_of(sh, s); /* it is known since: the request is looked at again */
                break;
            }
            protocol_error(sh, s, error);
            return;
        case RESP_REQUEST:
            if (UNLIKELY(is_large(r))) {
                r = alone(sh, s, r);
                if (!r) {
                    return;
                }
            }
            s->parsed += consumed;
            r->end = s->parsed;
            prepare(sh, s, r, consumed);
            b->count++;
            /* An inline request may borrow from the parser; a bulk is of this request alone. */
            if (UNLIKELY(*at != '*' || is_large(r) || s->bulk.buf.ptr)) {
                run_at_once(sh, s, r);
            }
            break;
        }
    }
}

/* --- execute --- */

/* True when CLIENT PAUSE holds this command back. */
static bool is_paused(struct shard *sh, const struct cmd *c) {
    int64_t until_ms = atomic_load_explicit(&sh->group->pause_until_ms, memory_order_relaxed);
    if (LIKELY(until_ms == 0) || sh->env.now_ms >= until_ms || !c->spec ||
        (c->spec->flags & CMD_NO_PAUSE)) {
        return false;
    }
    return !atomic_load_explicit(&sh->group->pause_writes_only, memory_order_relaxed) ||
           (c->spec->flags & CMD_WRITE) || dispatch_may_write(c);
}

static void call_locked(struct shard *sh, struct cmd *c) {
    if (LIKELY(dispatch_single_lock(c))) {
        struct partition *p = keyspace_partition(sh->env.ks, c->keys[0].hash);
        lock_take(&p->lock);
        dispatch_call(c);
        lock_release(&p->lock);
        return;
    }
    struct lockset set;
    lockset_clear(&set);
    dispatch_locks(c, &set);
    c->held = lockset_is_empty(&set) ? NULL : &set;
    lockset_lock(&set, sh->env.ks);
    dispatch_call(c);
    lockset_unlock(&set, sh->env.ks);
}

static void finish(struct session *s, struct request *r) {
    s->done = r->end;
    if (UNLIKELY(s->window || s->load_attempts || s->share_until_us)) {
        park_command_done(s);
    }
    s->room_asks = 0;
    s->repeats = false;
    uint32_t flags = client_flags(&s->client);
    if (UNLIKELY(flags & (CLIENT_RESUMED | CLIENT_CLOSE))) {
        client_unset(&s->client, CLIENT_RESUMED);
        if (flags & CLIENT_CLOSE) {
            if (r->cmd.dropped_bytes) {
                session_count_dropped(s, r->cmd.dropped_bytes);
            }
            session_end(s);
            return;
        }
    }
    if (UNLIKELY(s->conn.out.len_bytes > OUTPUT_PAUSE_BYTES)) {
        if (s->unsent_bytes || !atomic_load(&s->shard->group->room_waiting)) {
            room_hold(s); /* who waits already does not wait for what nobody asked room for */
        }
        session_check_output(s);
    }
}

/* Until it needs no more room than was made for it, or waits for that: others have their turn. */
static void run(struct shard *sh, struct session *s, struct cmd *c) {
    bool over_limit = sh->env.over_limit; /* for the others; room_take says so of this one */
    for (;;) {
        if (UNLIKELY(s->room_bytes != 0) && !room_take(s, c)) {
            c->outcome = CMD_AGAIN;
            break;
        }
        sh->env.misses_count = 0;
        c->repeats = s->repeats;
        if (dispatch_check(c) == DISPATCH_RUN) {
            call_locked(sh, c);
            s->repeats = c->outcome != CMD_DONE;
        }
        if (UNLIKELY(s->room_taken != 0)) {
            room_taken(s);
        }
        if (LIKELY(c->outcome != CMD_ROOM)) {
            break;
        }
        room_ask(s, c->room_bytes, c->room_replies);
        c->outcome = CMD_DONE;
    }
    sh->env.over_limit = over_limit;
}

static void execute(struct shard *sh, struct request *r) {
    struct session *s = r->s;
    struct cmd *c = &r->cmd;
    if (UNLIKELY(s->state != SESSION_RUNNING)) {
        if (s->state == SESSION_WAITS_ROWS) {
            park_look_ahead(s, c);
        }
        return;
    }
    if (UNLIKELY(is_paused(sh, c))) {
        room_forget(s);
        park_for_pause(s);
        return;
    }
    struct resp_writer w = {.out = &s->conn.out, .proto = (uint8_t)client_proto(&s->client)};
    c->w = &w;
    run(sh, s, c);
    switch (c->outcome) {
    case CMD_DONE:
        finish(s, r);
        break;
    case CMD_ROOM:
        UNREACHABLE();
    case CMD_MISS:
        park_on_misses(s, c);
        break;
    case CMD_SLEEP:
        park_on_timer(s, c->wake_us);
        break;
    case CMD_AGAIN:
        if (UNLIKELY(s->room_waits)) {
            park_for_room(s);
        } else {
            park_for_turn(s);
        }
        break;
    }
}

/* --- settle --- */

void pipeline_reserve(struct session *s, struct buf *b, size_t cap) {
    if (UNLIKELY(cap > b->cap + ENV_GROWTH_BYTES_MAX)) {
        room_now(s->shard, cap - b->cap);
    }
    buf_reserve_exact(b, cap - b->len);
}

static void append_input(struct session *s, struct slice data) {
    pipeline_reserve(s, &s->in, buf_next_cap(&s->in, data.len));
    buf_append_slice(&s->in, data);
}

/* Room in s->in for `more` bytes and for those the request is known to need beyond them: a large
 * value is not moved at every doubling, and a client that only announces one gets little. */
static void reserve_input(struct session *s, size_t more) {
    size_t have = s->in.len + more;
    size_t wants = bulk_is_coming(s) ? 0 : resp_parser_wants(&s->parser);
    if (LIKELY(wants <= have) || s->in.cap >= MIN(wants, have + INPUT_AHEAD_BYTES_MIN)) {
        return; /* enough for the next read: a step lasts */
    }
    size_t least = INPUT_AHEAD_BYTES_MIN - MIN(have, (size_t)INPUT_AHEAD_BYTES_MIN);
    size_t ahead = MAX(have * INPUT_AHEAD_FACTOR, least); /* 64 KB in all: no larger size class */
    more += MIN(MIN(wants - have, ahead), (size_t)BUF_STEP_MAX);
    pipeline_reserve(s, &s->in, s->in.len + more);
}

/* Puts what was not executed into s->in and forgets the source. */
static void keep_rest(struct session *s) {
    bool parked = s->state != SESSION_RUNNING;
    size_t from = parked ? s->done : s->parsed;
    if (parked) {
        resp_parser_reset(&s->parser); /* the next parse begins with another request */
    }
    if (UNLIKELY(s->bulk.buf.ptr != NULL) && from) {
        bulk_drop(s);
    } else if (UNLIKELY(s->bulk.buf.ptr != NULL) && parked) {
        bulk_again(s);
    }
    struct slice rest = {0};
    if (from < s->src.len) {
        rest = slice_of(s->src.ptr + from, s->src.len - from);
        rest.len = parked ? rest.len : bulk_begin(s, rest);
    }
    if (s->src.ptr == s->in.ptr) {
        buf_consume(&s->in, from);
        s->in.len = rest.len;
        reserve_input(s, 0);
    } else if (rest.len) {
        reserve_input(s, rest.len);
        append_input(s, rest);
    }
    if (s->in.len == 0 && s->in.cap) {
        buf_free(&s->in);
    }
    s->src = (struct slice){0};
    s->parsed = s->done = 0;
}

static void count_input(struct session *s) {
    atomic_store_explicit(&s->client.query_bytes, s->in.len + s->bulk.buf.len,
                          memory_order_relaxed);
}

static void count_output(struct shard *sh, struct session *s) {
    size_t now = s->conn.out.len_bytes;
    uint64_t more = now - s->out_written;
    stat_add(&sh->stats.net_out_bytes, more);
    stat_add(&s->client.total_out, more);
    atomic_store_explicit(&s->client.output_bytes, now, memory_order_relaxed);
}

/* False: it was closed. */
static bool check_input(struct shard *sh, struct session *s) {
    size_t len = s->in.len + s->bulk.buf.len;
    if (LIKELY(len <= sh->env.settings->query_buffer_bytes_max)) {
        return true;
    }
    log_warning("Closing client id=%llu: its query buffer is over the limit (%zu bytes)",
                (unsigned long long)s->client.id, len);
    stat_add(&sh->stats.clients_closed_query, 1);
    session_close(s);
    return false;
}

static size_t received_cap(const struct session *s) {
    return s->in.cap + s->bulk.buf.cap + resp_parser_bytes(&s->parser);
}

/* The session's share of the batch is over: keep, send, check. */
static void settle(struct shard *sh, struct session *s) {
    s->in_batch = false;
    if (s->state == SESSION_CLOSED) {
        s->src = (struct slice){0};
        return;
    }
    if (s->state == SESSION_ENDING) {
        s->done = s->parsed = s->src.len;
    }
    keep_rest(s);
    count_input(s);
    count_output(sh, s);
    size_t hard = sh->env.settings->output_hard_bytes;
    if (UNLIKELY(hard && s->conn.out.len_bytes > hard) && !session_check_output(s) &&
        s->state == SESSION_CLOSED) {
        return;
    }
    if (s->conn.out.len_bytes) {
        net_send(sh->net, &s->conn);
    }
    if (!check_input(sh, s)) {
        return;
    }
    if (s->state == SESSION_RUNNING) {
        if (s->eof) {
            session_end(s);
        } else if (s->conn.read_paused) {
            net_resume_read(sh->net, &s->conn);
        }
    } else if (s->in.len > INPUT_PAUSE_BYTES && s->state < SESSION_ENDING) {
        net_pause_read(sh->net, &s->conn);
    }
    size_t own = received_cap(s) + s->client.kept_bytes;
    if (UNLIKELY(session_weight(s) || own >= HELD_BYTES_MIN ||
                 s->conn.out.len_bytes > HELD_OUTPUT_BYTES_MIN ||
                 client_has(&s->client, CLIENT_MULTI))) {
        session_count_held(s);
    }
    if (UNLIKELY(s->room_uncounted)) {
        room_counted(s);
    }
}

static void attribute_ticks(struct shard *sh, const struct cmd *c, uint64_t *since) {
    uint64_t now = clock_ticks();
    if (c->spec) {
        stat_add(&sh->stats.per_command[c->id].ticks, now - *since);
    }
    *since = now;
}

/* One stage for the whole batch: the lines it asks for are on their way together, and the next
 * stage finds them there. */
static void prefetch_stage(struct shard *sh,
                           void (*stage)(struct keyspace *ks, unsigned db, uint64_t hash)) {
    const struct batch *b = &sh->batch;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct cmd *c = &b->requests[i].cmd;
        for (uint32_t k = 0; c->spec && k < c->keys_count && k < BATCH_KEYS_INLINE; k++) {
            stage(sh->env.ks, client_db(c->client), c->keys[k].hash);
        }
    }
}

/* Before a batch, and within it once its commands have grown what is kept: a few bytes of request
 * (SETRANGE, COPY) may ask for a large value. */
static void make_room(struct shard *sh, uint32_t commands) {
    sh->env.over_limit = sh->env.settings->keyspace.maxmemory_bytes &&
                         !keyspace_make_room(sh->env.ks, NULL, sh->index, sh->env.now_ms, commands);
    sh->room_bytes = mem_thread_bytes();
}

void pipeline_run(struct shard *sh) {
    struct batch *b = &sh->batch;
    uint32_t count = b->count;
    if (count > 1) {
        prefetch_stage(sh, keyspace_prefetch_entry);
        prefetch_stage(sh, keyspace_prefetch_value);
    }
    if (count) {
        make_room(sh, count);
    }
    uint64_t since = clock_ticks();
    for (uint32_t i = 0; i < count; i++) {
        struct request *r = &b->requests[i];
        if (UNLIKELY(mem_thread_bytes() - sh->room_bytes > ENV_GROWTH_BYTES_MAX)) {
            make_room(sh, count - i);
        }
        execute(sh, r);
        /* Runs of one command are timed together. */
        if (i + 1 == count || b->requests[i + 1].cmd.spec != r->cmd.spec) {
            attribute_ticks(sh, &r->cmd, &since);
        }
        release_large(r);
    }
    b->count = 0;
    if (count) {
        stat_add(&sh->stats.batches, 1);
        stat_add(&sh->stats.requests_batched, count);
    }
    uint32_t touched_count = b->touched_count;
    b->touched_count = 0;
    for (uint32_t i = 0; i < touched_count; i++) {
        if (b->touched[i] == sh->feeding) {
            b->touched[i]->in_batch = false; /* parse_batch goes on with it */
        } else {
            settle(sh, b->touched[i]);
        }
    }
    load_submit(sh);
}

/* --- feed --- */

static void feed(struct shard *sh, struct session *s, struct slice src) {
    s->src = src;
    s->out_written = s->conn.out.len_bytes; /* nothing is sent until settle counts the rest */
    s->parsed = s->done = 0;
    atomic_store_explicit(&s->client.query_bytes, src.len, memory_order_relaxed);
    atomic_store_explicit(&s->client.output_bytes, s->conn.out.len_bytes, memory_order_relaxed);
    touch(&sh->batch, s);
    sh->feeding = s;
    parse_batch(sh, s);
    sh->feeding = NULL;
    if (sh->batch.count == 0 || sh->batch.touched_count == ARRAY_COUNT(sh->batch.touched)) {
        pipeline_run(sh); /* settles it */
    }
}

void pipeline_receive(struct shard *sh, struct session *s, struct slice data) {
    if (s->state >= SESSION_ENDING) {
        return;
    }
    stat_add(&sh->stats.net_in_bytes, data.len);
    stat_add(&s->client.total_in, data.len);
    atomic_store_explicit(&s->client.active_ms, sh->env.now_ms, memory_order_relaxed);
    if (s->in_batch) {
        pipeline_run(sh);
        if (s->state >= SESSION_ENDING) {
            return;
        }
    }
    if (s->state != SESSION_RUNNING) {
        append_input(s, data);
        if (s->in.len > INPUT_PAUSE_BYTES) {
            net_pause_read(sh->net, &s->conn);
        }
        session_count_held(s);
        return;
    }
    if (bulk_is_coming(s) && !bulk_receive(s, &data)) {
        count_input(s);
        if (check_input(sh, s)) {
            session_count_held(s);
        }
        return;
    }
    if (s->in.len) {
        append_input(s, data);
        data = buf_slice(&s->in);
    }
    feed(sh, s, data);
}

void pipeline_resume(struct shard *sh, struct session *s) {
    ASSERT(!s->in_batch && s->state == SESSION_RUNNING);
    feed(sh, s, buf_slice(&s->in));
}
