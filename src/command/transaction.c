/* MULTI EXEC DISCARD WATCH UNWATCH.
 *
 *     client->transaction:  queued commands, each one allocation of its own
 *     client->watches:      struct watch -> struct watch_key in its partition's `watched` map
 *
 * Runs on the shard's thread that owns the client, but for transaction_touched: that runs on the
 * thread that changes a key, under the key's partition's lock.
 *
 * 1. A watch_key and its list of watchers are read and changed under their partition's lock only;
 *    the client's own list of watches by its thread only.
 * 2. A client stands at most once among the watchers of a key, so a list has at most `maxclients`.
 * 3. EXEC checks watch_dirty, and runs, under the locks of all watched keys' partitions: a change
 *    either came before (and is seen) or comes after EXEC.
 * 4. A queue's bytes stay within client-query-buffer-limit, watches within WATCHES_MAX. */
#include "command/transaction.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "command/dispatch.h"
#include "command/errors.h"
#include "command/reply.h"
#include "engine/hash.h"

enum {
    WATCHES_MAX = 1 << 20,
    QUEUED_MAX = 1 << 24,
    WRITTEN_BITS = 12,             /* 16 KB */
    VALUE_SAMPLES = 16,            /* members that a collection's size is told from */
    ELEMENT_BYTES = 16,            /* of a reply, that an element takes beside its own, about */
    FIELD_BYTES = CHAIN_LIMIT_MIN, /* that a field of a hash is taken for: it has no limit */
};

#define READ_BYTES_ANY (SIZE_MAX >> 32) /* of a reply without a limit: QUEUED_MAX add up */

struct queued {
    const struct command *spec;
    uint32_t id, argc, keys_count;
    bool ran;     /* maybe in vain: it has counted what it found */
    size_t bytes; /* of all this, which is a little more than the request's */
    struct key *keys;
    struct dispatch_counts counts; /* of its last run, where all of them read */
    struct slice argv[]; /* then the keys, then the bytes */
};

struct transaction {
    struct queued **v;
    uint32_t count, cap;
    size_t bytes;
    uint8_t db;  /* after the queued SELECTs */
    size_t growth_bytes; /* dispatch_growth of those that have CMD_GROWS */
    size_t read_bytes;   /* that those with CMD_READ are taken to answer at most */
    size_t room_bytes;   /* that EXEC asked for before it wrote anything; 0 = it did not */
    bool writes; /* one has CMD_WRITE */
    bool acts;   /* one does more than read and select a database */
    bool all;    /* one has CMD_ALL_KEYS or CMD_WALKS */
};

struct watch_key {
    struct hmap_node node; /* of partition->watched, by the key's hash */
    struct list watchers;  /* struct watch.among */
    struct slice bytes;    /* behind the struct */
    uint8_t db;
};

struct watch {
    struct list of_client, among;
    struct watch_key *key;
    struct client *client;
    bool existed; /* when WATCH was said */
};

/* --- watches --- */

static struct watch_key *find_watch_key(struct partition *p, unsigned db, const struct key *key) {
    HMAP_FOR_EACH_HASH(node, &p->watched, key->hash) {
        struct watch_key *wk = CONTAINER_OF(node, struct watch_key, node);
        if (wk->db == db && slice_eq(wk->bytes, key->bytes)) {
            return wk;
        }
    }
    return NULL;
}

static struct watch_key *make_watch_key(struct partition *p, unsigned db, const struct key *key) {
    struct watch_key *wk = mem_alloc(sizeof *wk + key->bytes.len);
    char *bytes = (char *)(wk + 1);
    if (key->bytes.len) {
        memcpy(bytes, key->bytes.ptr, key->bytes.len);
    }
    wk->bytes = slice_of(bytes, key->bytes.len);
    wk->db = (uint8_t)db;
    list_init(&wk->watchers);
    hmap_insert(&p->watched, &wk->node, key->hash);
    return wk;
}

static bool is_watching(const struct watch_key *wk, const struct client *client) {
    LIST_FOR_EACH(it, &wk->watchers) {
        if (CONTAINER_OF(it, struct watch, among)->client == client) {
            return true;
        }
    }
    return false;
}

static void mark_dirty(struct client *client) {
    atomic_store_explicit(&client->watch_dirty, true, memory_order_relaxed);
}

/* Of one client; the key counts for each of them. */
static size_t watch_bytes(const struct watch_key *wk) {
    return sizeof(struct watch) + sizeof *wk + wk->bytes.len;
}

static void watch(struct cmd *c, uint32_t i, bool exists) {
    struct client *client = c->client;
    struct partition *p = cmd_partition(c, i);
    unsigned db = client_db(client);
    struct watch_key *wk = find_watch_key(p, db, &c->keys[i]);
    if (wk && is_watching(wk, client)) {
        return;
    }
    wk = wk ? wk : make_watch_key(p, db, &c->keys[i]);
    struct watch *w = mem_alloc(sizeof *w);
    *w = (struct watch){.key = wk, .client = client, .existed = exists};
    list_push_back(&wk->watchers, &w->among);
    list_push_back(&client->watches, &w->of_client);
    client->kept_bytes += watch_bytes(wk);
    atomic_fetch_add_explicit(&client->watch_count, 1, memory_order_relaxed);
}

void transaction_unwatch(struct client *client, struct keyspace *ks, const struct lockset *held) {
    struct list *it;
    while ((it = list_pop_front(&client->watches))) {
        struct watch *w = CONTAINER_OF(it, struct watch, of_client);
        struct watch_key *wk = w->key;
        struct partition *p = keyspace_partition(ks, wk->node.hash);
        bool locked = held && lockset_has(held, p);
        struct lockset one = {{0}};
        if (!locked) {
            lockset_add(&one, p);
            lockset_lock(&one, ks);
        }
        list_remove(&w->among);
        client->kept_bytes -= watch_bytes(wk);
        if (list_empty(&wk->watchers)) {
            hmap_remove(&p->watched, &wk->node);
            mem_free(wk);
        }
        if (!locked) {
            lockset_unlock(&one, ks);
        }
        mem_free(w);
    }
    atomic_store_explicit(&client->watch_count, 0, memory_order_relaxed);
    atomic_store_explicit(&client->watch_dirty, false, memory_order_relaxed);
}

/* A flush changes those keys that were there. What was not there when it was watched is still not,
 * or its watchers are dirty already. */
static void flushed(struct hmap_node *node, void *arg) {
    struct watch_key *wk = CONTAINER_OF(node, struct watch_key, node);
    if (wk->db != *(const unsigned *)arg) {
        return;
    }
    LIST_FOR_EACH(it, &wk->watchers) {
        struct watch *w = CONTAINER_OF(it, struct watch, among);
        if (w->existed) {
            mark_dirty(w->client);
        }
    }
}

void transaction_touched(struct partition *p, unsigned db, const struct key *key) {
    if (LIKELY(p->watched.count == 0)) {
        return;
    }
    if (!key) {
        hmap_visit(&p->watched, flushed, &db);
        return;
    }
    struct watch_key *wk = find_watch_key(p, db, key);
    if (wk) {
        LIST_FOR_EACH(it, &wk->watchers) {
            mark_dirty(CONTAINER_OF(it, struct watch, among)->client);
        }
    }
}

struct swapping {
    struct partition *p;
    unsigned db, other;
    int64_t now_ms;
};

static void swapping(struct hmap_node *node, void *arg) {
    const struct swapping *s = arg;
    struct watch_key *wk = CONTAINER_OF(node, struct watch_key, node);
    struct key key = {wk->bytes, node->hash};
    /* One that has expired is removed, so that it is not found out later, as a change. */
    if (wk->db != s->db || !part_peek(s->p, s->other, &key, s->now_ms)) {
        return;
    }
    LIST_FOR_EACH(it, &wk->watchers) {
        mark_dirty(CONTAINER_OF(it, struct watch, among)->client);
    }
}

void transaction_swapping(struct partition *p, unsigned db, unsigned other, int64_t now_ms) {
    hmap_visit(&p->watched, swapping, &(struct swapping){p, db, other, now_ms});
}

/* --- the queue --- */

unsigned transaction_db(const struct client *client) {
    return client->transaction ? client->transaction->db : client_db(client);
}

bool transaction_is_dirty(const struct client *client) {
    return client_has(client, CLIENT_DIRTY_EXEC) ||
           atomic_load_explicit(&client->watch_dirty, memory_order_relaxed);
}

bool transaction_reads(const struct client *client) {
    return client->transaction && !client->transaction->acts;
}

size_t transaction_growth(const struct client *client) {
    return client->transaction ? client->transaction->growth_bytes : 0;
}

bool transaction_writes(const struct client *client) {
    return client->transaction && client->transaction->writes;
}

size_t transaction_bytes(const struct client *client) {
    return client->transaction ? client->transaction->bytes : 0;
}

static struct queued *copy_command(struct cmd *c, size_t *bytes) {
    *bytes = sizeof(struct queued) + c->argc * sizeof(struct slice) +
             c->keys_count * sizeof(struct key);
    for (uint32_t i = 0; i < c->argc; i++) {
        *bytes += c->argv[i].len;
    }
    struct queued *q = mem_alloc(*bytes);
    *q = (struct queued){.spec = c->spec,
                         .id = c->id,
                         .argc = c->argc,
                         .keys_count = c->keys_count,
                         .bytes = *bytes};
    q->keys = (struct key *)(q->argv + c->argc);
    char *at = (char *)(q->keys + c->keys_count);
    for (uint32_t i = 0; i < c->argc; i++) {
        q->argv[i] = slice_of(at, c->argv[i].len);
        if (c->argv[i].len) {
            memcpy(at, c->argv[i].ptr, c->argv[i].len);
        }
        at += c->argv[i].len;
    }
    struct cmd copy = *c;
    copy.argv = q->argv;
    ASSERT(dispatch_keys(&copy, q->keys, c->keys_count) == c->keys_count);
    return q;
}

static void select_ahead(struct transaction *t, const struct cmd *c) {
    int64_t db;
    if ((c->spec->flags & CMD_SELECTS) && num_parse_i64(c->argv[1], &db) && db >= 0 &&
        db < c->env->settings->databases) {
        t->db = (uint8_t)db;
    }
}

/* A string beyond what lies in place is sent from where it lies. A few fields are not counted
 * before they are read: that is a tenth of the price of a small transaction. */
static size_t read_bytes(const struct cmd *c) {
    const struct command *spec = c->spec;
    if (!(spec->flags & CMD_READ)) {
        return 0;
    }
    if (!(spec->flags & CMD_FAST)) {
        return READ_BYTES_ANY;
    }
    return spec->acl & ACL_HASH ? (c->argc - 1 - c->keys_count) * (size_t)FIELD_BYTES
                                : (c->argc - 1) * (size_t)ENTRY_INLINE_BYTES_MAX;
}

void transaction_queue(struct cmd *c) {
    struct client *client = c->client;
    struct transaction *t = client->transaction;
    /* A transaction that is to be aborted need not be kept. */
    if (transaction_is_dirty(client)) {
        return;
    }
    size_t bytes;
    struct queued *q = copy_command(c, &bytes);
    t->bytes += bytes;
    if (t->bytes > c->env->settings->query_buffer_bytes_max || t->count == QUEUED_MAX) {
        log_warning("closed client id=%llu: its transaction reached client-query-buffer-limit",
                    (unsigned long long)client->id);
        stat_add(&c->env->stats->clients_closed_query, 1);
        client_set(client, CLIENT_CLOSE);
        t->bytes -= bytes;
        mem_free(q);
        return;
    }
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 8;
        t->v = mem_realloc(t->v, t->cap * sizeof *t->v);
    }
    t->v[t->count++] = q;
    t->growth_bytes += c->spec->flags & CMD_GROWS ? dispatch_growth(c) : 0;
    t->read_bytes += read_bytes(c);
    t->writes |= (c->spec->flags & CMD_WRITE) != 0;
    t->acts |= !(c->spec->flags & (CMD_READ | CMD_SELECTS));
    /* What walks would lock further partitions while EXEC holds some: against the order. */
    t->all |= (c->spec->flags & (CMD_ALL_KEYS | CMD_WALKS)) != 0;
    select_ahead(t, c);
    atomic_store_explicit(&client->multi_count, t->count, memory_order_relaxed);
}

void transaction_discard(struct client *client, struct env *env) {
    struct transaction *t = client->transaction;
    if (t) {
        for (uint32_t i = 0; i < t->count; i++) {
            mem_free(t->v[i]);
        }
        mem_free(t->v);
        mem_free(t);
        client->transaction = NULL;
    }
    atomic_store_explicit(&client->multi_count, 0, memory_order_relaxed);
    client_unset(client, CLIENT_MULTI | CLIENT_DIRTY_EXEC);
    transaction_unwatch(client, env->ks, NULL);
}

void transaction_locks(struct cmd *c, struct lockset *out) {
    const struct transaction *t = c->client->transaction;
    lockset_clear(out);
    LIST_FOR_EACH(it, &c->client->watches) {
        const struct watch *w = CONTAINER_OF(it, struct watch, of_client);
        lockset_add(out, keyspace_partition(c->env->ks, w->key->node.hash));
    }
    if (!t) {
        return;
    }
    if (t->all) {
        lockset_add_all(out, c->env->ks);
        return;
    }
    for (uint32_t i = 0; i < t->count; i++) {
        for (uint32_t k = 0; k < t->v[i]->keys_count; k++) {
            lockset_add(out, keyspace_partition(c->env->ks, t->v[i]->keys[k].hash));
        }
    }
}

/* --- the commands --- */

static struct cmd queued_cmd(const struct cmd *exec, struct queued *q) {
    return (struct cmd){.spec = q->spec,
                        .id = q->id,
                        .client = exec->client,
                        .env = exec->env,
                        .argv = q->argv,
                        .argc = q->argc,
                        .args_bytes = q->bytes,
                        .keys = q->keys,
                        .keys_count = q->keys_count,
                        .held = exec->held,
                        .w = exec->w};
}

void transaction_expect_rows(struct cmd *c) {
    const struct transaction *t = c->client->transaction;
    if (!t || !c->env->settings->maps) {
        return;
    }
    struct transaction ahead = {.db = (uint8_t)client_db(c->client)};
    for (uint32_t i = 0; i < t->count; i++) {
        struct cmd inner = queued_cmd(c, t->v[i]);
        if (ahead.db == 0) {
            dispatch_expect_keys(&inner);
            c->row_hits += inner.row_hits;
        }
        select_ahead(&ahead, &inner);
    }
}

/* A watched key that expired since is found out now: looking it up removes it and tells its
 * watchers. */
static void expire_watched(struct cmd *c) {
    LIST_FOR_EACH(it, &c->client->watches) {
        struct watch_key *wk = CONTAINER_OF(it, struct watch, of_client)->key;
        struct key key = {wk->bytes, wk->node.hash};
        part_find(keyspace_partition(c->env->ks, key.hash), wk->db, &key, c->env->now_ms, 0);
    }
}

/* As between the commands of a batch: what is queued may grow to any size. */
static void make_room(struct cmd *c, uint32_t commands) {
    struct env *env = c->env;
    env->over_limit = env->settings->keyspace.maxmemory_bytes &&
                      !keyspace_make_room(env->ks, c->held, env->shard, env->now_ms, commands);
}

/* Room for the reply that is left, where it was counted beforehand. */
static size_t room_left(const struct cmd *c, const struct transaction *t, size_t begin_bytes) {
    size_t used = chain_own_bytes(c->w->out) - begin_bytes + t->growth_bytes;
    return t->room_bytes && c->room_bytes > used ? c->room_bytes - used : 0;
}

/* CMD_MISS only where all of them read. */
static void run_queue(struct cmd *c, struct transaction *t) {
    size_t begin_bytes = chain_own_bytes(c->w->out);
    int64_t room_bytes = mem_thread_bytes();
    client_set(c->client, CLIENT_EXECUTING);
    resp_array(c->w, t->count);
    for (uint32_t i = 0; i < t->count && c->outcome == CMD_DONE; i++) {
        bool grown = mem_thread_bytes() - room_bytes > ENV_GROWTH_BYTES_MAX;
        if (UNLIKELY(grown) && t->acts && !room_left(c, t, begin_bytes)) {
            make_room(c, t->count - i);
            room_bytes = mem_thread_bytes();
        }
        struct cmd inner = queued_cmd(c, t->v[i]);
        inner.repeats = t->v[i]->ran;
        if (UNLIKELY(t->room_bytes != 0) && (inner.spec->flags & CMD_READ)) {
            inner.room_bytes = room_left(c, t, begin_bytes);
        }
        dispatch_call_queued(&inner, t->acts ? NULL : &t->v[i]->counts);
        t->v[i]->ran = true;
        c->dropped_bytes += inner.dropped_bytes;
        c->outcome = inner.outcome;
    }
    if (UNLIKELY(c->dropped_bytes != 0)) {
        c->dropped_bytes += chain_own_bytes(c->w->out) - begin_bytes;
    }
    client_unset(c->client, CLIENT_EXECUTING);
}

static void set_db(struct client *client, unsigned db) {
    atomic_store_explicit(&client->db, (uint8_t)db, memory_order_relaxed);
}

void transaction_count_reads(struct cmd *c) {
    struct transaction *t = c->client->transaction;
    for (uint32_t i = 0; t && !t->acts && i < t->count; i++) {
        struct cmd inner = queued_cmd(c, t->v[i]);
        dispatch_count(&inner, &t->v[i]->counts);
    }
}

/* Nothing has changed by it: it can be run again, and what it reads may not go for its reply.
 * False: it is to be. */
static bool run_reads(struct cmd *c, struct transaction *t) {
    unsigned db = client_db(c->client);
    reply_limit_reads(c);
    run_queue(c, t);
    if (UNLIKELY(c->outcome != CMD_DONE || reply_is_beyond(c))) {
        set_db(c->client, db);
        return false;
    }
    transaction_count_reads(c);
    return true;
}

/* Of keys that queued commands write, and of a few that they do not: how many bytes they may add to
 * what is there, about, by the first bits of the hash. 0: not written. */
struct written {
    bool any, all;
    uint32_t bytes[1 << WRITTEN_BITS];
};

static uint32_t *written_at(struct written *w, const struct key *key) {
    return &w->bytes[key->hash >> (64 - WRITTEN_BITS)];
}

/* What is answered of a whole value, about. */
static size_t value_bytes(const struct entry *e) {
    if (entry_type(e) == VALUE_STRING) {
        return entry_string(e).len;
    }
    struct hash view;
    return entry_memory_bytes(e, VALUE_SAMPLES) +
           hash_count(entry_hash(e, &view)) * 2 * ELEMENT_BYTES;
}

/* Returns what it takes beside its arguments: a copy. */
static size_t note_written(struct written *w, struct cmd *c) {
    uint32_t flags = c->spec->flags;
    size_t bytes = flags & CMD_GROWS ? dispatch_growth(c) / MAX(c->keys_count, 1u) : 0, carried = 0;
    if (flags & CMD_CARRIES) {
        const struct entry *e = cmd_peek(c, 0);
        carried = *written_at(w, &c->keys[0]) + (e ? value_bytes(e) : 0);
    }
    for (uint32_t i = 0; i < c->keys_count; i++) {
        uint32_t *at = written_at(w, &c->keys[i]);
        size_t most = *at + bytes + 1;
        most = i == c->keys_count - 1 ? MAX(most, carried) : most;
        *at = (uint32_t)MIN(most, (size_t)UINT32_MAX);
    }
    w->any = true;
    w->all |= c->keys_count == 0;
    return flags & CMD_GROWS ? carried : 0;
}

/* May what it answers be another thing by then? Adds to *more by how much it may be longer. */
static bool may_be_written(struct written *w, const struct cmd *c, size_t *more) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < c->keys_count; i++) {
        bytes += *written_at(w, &c->keys[i]);
    }
    *more += MIN(bytes, read_bytes(c));
    return bytes || w->all || (w->any && c->keys_count == 0);
}

/* Those behind a write may answer anything by then: it is what there is to go by. */
static struct reply_expected count_reads(struct cmd *c, struct transaction *t) {
    struct written written = {0};
    struct reply_expected expected = {0};
    struct chain *out = c->w->out;
    struct chain_mark mark = chain_mark(out);
    size_t limit_bytes = out->limit_bytes, begin_bytes = chain_own_bytes(out);
    unsigned db = client_db(c->client);
    chain_limit(out, MAX(begin_bytes, (size_t)1));
    for (uint32_t i = 0; i < t->count; i++) {
        struct cmd inner = queued_cmd(c, t->v[i]);
        size_t before = chain_own_bytes(out) + out->dropped_bytes;
        if (inner.spec->flags & (CMD_READ | CMD_SELECTS)) {
            dispatch_count_queued(&inner);
        }
        if (!may_be_written(&written, &inner, &expected.more)) {
            expected.certain += chain_own_bytes(out) + out->dropped_bytes - before;
        }
        if (inner.spec->flags & CMD_WRITE) {
            expected.growth += note_written(&written, &inner);
        }
    }
    expected.bytes = chain_own_bytes(out) + out->dropped_bytes - begin_bytes;
    chain_rewind(out, mark);
    chain_limit(out, limit_bytes);
    set_db(c->client, db);
    return expected;
}

/* Before anything is written: its reads may answer much. False: it is run again when there is
 * room. */
static bool ask_room_for_replies(struct cmd *c, struct transaction *t) {
    size_t read_bytes_max = c->env->settings->read_bytes_max;
    bool asked = t->room_bytes && c->room_bytes >= t->room_bytes;
    if (LIKELY(read_bytes_max == 0 || t->read_bytes <= read_bytes_max) || asked) {
        return true;
    }
    t->room_bytes = 0;
    struct reply_expected expected = count_reads(c, t);
    expected.growth += t->growth_bytes;
    if (reply_ask_room(c, &expected)) {
        return true;
    }
    t->room_bytes = c->room_bytes;
    return false;
}

/* True when it is over: what it answers is in the output. */
static bool run_transaction(struct cmd *c, struct transaction *t) {
    if (!t->acts) {
        if (!run_reads(c, t)) {
            return false;
        }
        transaction_unwatch(c->client, c->env->ks, c->held);
        return true;
    }
    if (!ask_room_for_replies(c, t)) {
        return false;
    }
    transaction_unwatch(c->client, c->env->ks, c->held);
    run_queue(c, t);
    return true;
}

void transaction_exec(struct cmd *c) {
    struct client *client = c->client;
    struct transaction *t = client->transaction;
    if (!t) {
        resp_error(c->w, SLICE("ERR EXEC without MULTI"));
        return;
    }
    expire_watched(c);
    bool aborted = client_has(client, CLIENT_DIRTY_EXEC);
    if (aborted || atomic_load_explicit(&client->watch_dirty, memory_order_relaxed)) {
        if (aborted) {
            resp_error(c->w,
                       SLICE("EXECABORT Transaction discarded because of previous errors."));
        } else {
            resp_null_array(c->w);
        }
        transaction_unwatch(client, c->env->ks, c->held);
        transaction_discard(client, c->env);
        return;
    }
    if (UNLIKELY(c->room_bytes != 0) && t->acts) {
        make_room(c, t->count); /* it has waited, maybe in vain: dispatch_check left that to us */
    }
    transaction_expect_rows(c);
    if (c->env->misses_count) {
        c->outcome = CMD_MISS;
        return;
    }
    uint32_t row_hits = c->row_hits;
    c->row_hits = 0; /* each command counts its own */
    if (run_transaction(c, t)) {
        transaction_discard(client, c->env);
    }
    if (c->outcome == CMD_MISS) {
        c->row_hits = row_hits; /* beside the row that went meanwhile */
    }
}

static void multi_command(struct cmd *c) {
    struct client *client = c->client;
    if (client_has(client, CLIENT_MULTI)) {
        resp_error(c->w, SLICE("ERR MULTI calls can not be nested"));
        return;
    }
    client->transaction = mem_zalloc(sizeof *client->transaction);
    client->transaction->db = (uint8_t)client_db(client);
    client_set(client, CLIENT_MULTI);
    resp_ok(c->w);
}

static void discard_command(struct cmd *c) {
    if (!client_has(c->client, CLIENT_MULTI)) {
        resp_error(c->w, SLICE("ERR DISCARD without MULTI"));
        return;
    }
    transaction_discard(c->client, c->env);
    resp_ok(c->w);
}

static void watch_command(struct cmd *c) {
    struct client *client = c->client;
    if (client_has(client, CLIENT_MULTI)) {
        resp_error(c->w, SLICE("ERR WATCH inside MULTI is not allowed"));
        return;
    }
    uint32_t count = atomic_load_explicit(&client->watch_count, memory_order_relaxed);
    if (c->keys_count > WATCHES_MAX - count) {
        resp_error(c->w, SLICE("ERR too many watched keys"));
        return;
    }
    if (c->env->settings->maps && client_db(client) == 0) {
        /* A row is loaded first: its fill would else count as a change. */
        for (uint32_t i = 0; i < c->keys_count; i++) {
            cmd_read(c, i);
        }
        if (c->outcome != CMD_DONE || c->row_error) {
            return;
        }
    }
    for (uint32_t i = 0; i < c->keys_count; i++) {
        watch(c, i, cmd_peek(c, i) != NULL);
    }
    resp_ok(c->w);
}

static void unwatch_command(struct cmd *c) {
    /* Inside EXEC nothing is watched any more. */
    transaction_unwatch(c->client, c->env->ks, c->held);
    resp_ok(c->w);
}

#define ROW_FLAGS (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)

const struct command transaction_commands[] = {
    {.name = "multi", .fn = multi_command, .arity = 1,
     .flags = ROW_FLAGS | CMD_ALLOW_BUSY | CMD_FAST | CMD_NOT_QUEUED, .acl = ACL_TRANSACTION,
     .group = "transactions", .since = "1.2.0", .complexity = "O(1)",
     .summary = "Begins a transaction: commands that follow are queued.", .syntax = ""},
    {.name = "exec", .fn = transaction_exec, .arity = 1,
     .flags = ROW_FLAGS | CMD_SKIP_SLOWLOG | CMD_NOT_QUEUED, .acl = ACL_TRANSACTION,
     .group = "transactions", .since = "1.2.0", .complexity = "That of the queued commands",
     .summary = "Runs the queued commands as one.", .syntax = ""},
    {.name = "discard", .fn = discard_command, .arity = 1,
     .flags = ROW_FLAGS | CMD_ALLOW_BUSY | CMD_FAST | CMD_NOT_QUEUED, .acl = ACL_TRANSACTION,
     .group = "transactions", .since = "2.0.0",
     .complexity = "O(N), N being the number of queued commands",
     .summary = "Drops the queued commands and ends the transaction.", .syntax = ""},
    {.name = "watch", .fn = watch_command, .arity = -2,
     .flags = ROW_FLAGS | CMD_ALLOW_BUSY | CMD_FAST | CMD_NOT_QUEUED, .keys = {1, -1, 1},
     .acl = ACL_TRANSACTION, .on_row = ON_ROW_READ, .group = "transactions", .since = "2.2.0",
     .complexity = "O(1) a key",
     .summary = "Makes the next EXEC depend on the keys staying as they are.",
     .syntax = "key [key ...]"},
    {.name = "unwatch", .fn = unwatch_command, .arity = 1,
     .flags = ROW_FLAGS | CMD_ALLOW_BUSY | CMD_FAST, .acl = ACL_TRANSACTION,
     .group = "transactions", .since = "2.2.0", .complexity = "O(1)",
     .summary = "Forgets all watched keys.", .syntax = ""},
    {.name = NULL},
};
