#ifndef FOREBAY_SHARD_SESSION_H
#define FOREBAY_SHARD_SESSION_H
/* The shard's own types: shard, session, batch, load. Private to src/shard. */
#include <pthread.h>
#include "command/rows.h"
#include "command/transaction.h"
#include "ds/hmap.h"
#include "ds/timers.h"
#include "shard/mailbox.h"
#include "shard/shard.h"

enum {
    BATCH_REQUESTS_MAX = 64,      /* parsed before any is executed */
    BATCH_KEYS_INLINE = 4,        /* hashed keys kept in the request itself */
    OUTPUT_PAUSE_BYTES = 1 << 20, /* past this unsent output a client's requests wait */
    OUTPUT_RESUME_BYTES = 256 << 10,
    HELD_BYTES_MIN = 4 * 1024,         /* clients that hold less are not counted, ... */
    HELD_OUTPUT_BYTES_MIN = 64 * 1024, /* ... of output up to this not at once */
    HELD_CLASSES = 26,                 /* by the power of two of what they hold */
    INPUT_PAUSE_BYTES = 1 << 20,       /* past this, a parked client is not read from */
    INPUT_AHEAD_FACTOR = 3, /* room taken for an announced value, times what came of it */
    INPUT_AHEAD_BYTES_MIN = 64 << 10,
    BULK_BYTES_MIN = 32 << 10,        /* of an argument that is received apart */
    BULK_RECEIVE_BYTES_MAX = 1 << 20, /* at a time: others wait meanwhile */
    ARGS_KEEP_MAX = 1024, /* requests of more are a batch of their own; larger arrays are freed */
    TIMERS_A_LOOP_MAX = 256,
    MESSAGES_A_LOOP_MAX = 1024,
    RESUMES_A_LOOP_MAX = 256,
    MAINTAIN_SLOTS = 448, /* table slots swept for expiry in one step */
    EVICT_A_ROUND_MAX = 64,
    LOOK_AHEAD_ROWS_MAX = 1024, /* rows known to a session past which it asks for no more ahead */
    LOAD_ATTEMPTS_MAX = 3,      /* after that a waiter keeps a copy of the row to itself */
    /* Rows' shares of maxmemory: */
    RECEIVE_DIVISOR = 32,     /* in buffers to receive into, of all shards, at start */
    RECEIVE_BUFFERS_MIN = 16, /* a shard; a power of two */
    LOADS_DIVISOR = 16,       /* on their way; at least LOADS_BYTES_MIN */
    LOADS_BYTES_MIN = 256 << 10,
    ASKED_DIVISOR = 8,          /* asked for at a time by a session, as far as is known */
    KEPT_DIVISOR = 8,           /* kept to themselves by all sessions that wait for more */
    KEPT_ALONE_DIVISOR = 4,     /* ... if the one that keeps more is let in alone */
    NEEDED_PERCENT = 75,        /* that one command may need */
    SHARE_DIVISOR = 8,          /* needed by all commands that wait for rows: share.c */
    SMALL_DIVISOR = 256,        /* ... that wait for no others, at their first try */
    LARGE_ROW_BYTES = 64 << 10, /* keys make room for it before it is copied */
    RELEASE_BYTES = 16 << 10,   /* of rows done with, that the store is told of at once */
};

#define CRON_PERIOD_US (100 * 1000)

enum session_state {
    SESSION_RUNNING,
    SESSION_WAITS_ROWS,   /* for the rows its command needs */
    SESSION_WAITS_SHARE,  /* for others to be done with theirs: in group->share_queue */
    SESSION_WAITS_TIMER,  /* CMD_SLEEP */
    SESSION_WAITS_TURN,   /* CMD_AGAIN, or resumed: on shard->runnable */
    SESSION_WAITS_ROOM,   /* for those that were let in before it: in group->room_queue */
    SESSION_WAITS_OUTPUT, /* its peer does not read */
    SESSION_WAITS_PAUSE,  /* CLIENT PAUSE: on shard->paused */
    SESSION_ENDING,       /* replies are being flushed, then it is closed */
    SESSION_CLOSED,       /* net_close was called; waits for NET_EVENT_CLOSED */
};

struct bulk {               /* bulk.c */
    struct buf buf;           /* as it comes, behind BLOB_HEAD_BYTES; empty: there is none */
    size_t at;                /* where in its request it would begin */
    size_t end;               /* of `buf`, when all of it has come, with its CRLF */
};

struct session {
    struct conn conn;
    struct client client;
    struct shard *shard;
    struct hmap_node by_id;
    struct list all;          /* in shard->sessions; the registry's mutex guards the links */
    struct list queue;        /* in runnable or paused */
    struct resp_parser parser;
    struct buf in;            /* received and not executed; empty when idle */
    struct bulk bulk;         /* of the request at the start of `in` */
    struct slice src;         /* what is being fed: `in` or a receive buffer */
    size_t parsed, done;      /* bytes of src parsed, executed */
    enum session_state state;
    bool in_batch;            /* has requests in the batch, or is on its touched list */
    bool eof;                 /* the peer closed its side */
    uint32_t window;          /* requests its rows were asked for: from the present one on */
    bool looks_ahead;         /* those behind the present one may still join the window */
    bool asks_on;             /* the present one did not ask for all that it misses */
    uint32_t load_attempts;   /* runs of the present command that missed no less than before */
    uint32_t misses_before;   /* by its last run */
    uint32_t rows_needed;     /* pending rows the present command waits for */
    uint64_t asked_bytes;     /* expected of the rows that were asked for since it parked */
    uint64_t needed_bytes;    /* of the rows that the present command waited for */
    uint64_t kept_bytes;      /* of rows that are not in the table; in group->kept_bytes */
    struct list share_node;   /* in group->share_queue; it and share_in under its mutex */
    bool share_in;            /* its share_bytes are in group->share_bytes */
    uint64_t share_bytes;     /* that its command wants, or has; 0 = it did not ask */
    int64_t share_until_us;   /* when its command has waited long enough; 0 = it did not wait */
    struct rows rows;
    struct timer timer;       /* row timeout, CMD_SLEEP */
    int64_t output_stuck_us;  /* since when output is above the soft limit or stuck; 0 = not */
    size_t output_stuck_len;
    uint64_t out_written;     /* conn.out.len_bytes before its share of this batch */
    size_t room_bytes;        /* that its command asked for, expected of the keyspace, ... */
    size_t room_replies;      /* ... and of these, what it is going to hold as a client */
    struct list room_node;    /* in group->room_queue; it and room_expected under its mutex */
    bool room_expected;       /* it has been let in */
    bool room_waits;          /* it has not */
    uint32_t room_turns, room_asks; /* that it took so far */
    bool repeats;             /* its command ran in vain: it has counted what it found */
    size_t room_taken;        /* by its command, which runs */
    size_t room_uncounted;    /* by its replies, since its buffers were counted */
    struct list unsent_node;  /* in shard->unsent */
    size_t unsent_bytes;      /* of its output: others wait until they are sent */
    bool rows_unsent;         /* the same for its share of rows, ... */
    uint64_t rows_end;        /* ... until so much has been sent on the connection */
    size_t unread_bytes;      /* of its output: nobody waits for these, as it did not read them */
    uint64_t unsent_total;    /* sent on the connection so far, ... */
    int64_t unsent_moved_us;  /* ... and when that last changed, or: */
    uint64_t unsent_taken;    /* of these, by its peer as far as the kernel knows, ... */
    int64_t unsent_asked_us;  /* ... which was asked then */
    int64_t unsent_until_us;  /* others wait */
    size_t held_bytes;        /* of its buffers, as counted in group->clients_bytes */
    size_t leaving_orphans;   /* that it pins, once closed, in bytes; in the group's sum */
    _Atomic size_t weight_bytes; /* of its buffers and of what it pins, as far as it counts */
    struct list holding;         /* in one of shard->holding while that; the registry's mutex */
    size_t leaving_bytes;        /* of output, once closed, and orphans; in the keyspace's sum */
};

struct request {
    struct session *s;
    size_t end;               /* in s->src: past the request */
    struct cmd cmd;
    struct resp_args args;    /* the array is kept from batch to batch */
    struct key keys_inline[BATCH_KEYS_INLINE];
    struct buf keys_heap;     /* more keys than fit inline */
};

struct batch {
    uint32_t count;
    uint32_t touched_count;
    struct session *touched[BATCH_REQUESTS_MAX + NET_EVENTS_MAX];
    struct request requests[BATCH_REQUESTS_MAX];
};

struct load_waiter {
    struct load_waiter *next;
    uint32_t shard;
    uint64_t session_id;
};

/* One row being read, for all who ask for it meanwhile. In its partition's `loads` until complete;
 * `waiters` and membership are guarded by that partition's lock, the result is immutable once
 * complete. Freed with the last reference: the partition's map, a waiter's row, a message. */
struct load {
    struct hmap_node node;
    struct message message;    /* MESSAGE_LOADED to the starting shard */
    struct key key;            /* bytes owned */
    struct mapping *map;       /* a reference */
    uint64_t fence_seq;        /* the token: fence and generation when asked */
    uint32_t generation;
    uint32_t shard;            /* where it completes */
    _Atomic uint32_t refs;
    bool detached;             /* no longer in the map: a newer load took its place */
    bool keep_copy;            /* some waiter wants the row itself */
    struct load_waiter *waiters;
    struct store_request *request;
    enum row_state state;      /* ROW_PENDING until complete */
    uint64_t row_bytes;        /* of the row's value */
    struct entry *entry;       /* ROW_LOADED and not (only) in the table */
    char *error;               /* ROW_FAILED */
};

struct maintenance {          /* maintain.c */
    struct timer timer;       /* the next turn */
    uint32_t next, left;      /* partition of the next step; partitions to come in this turn */
    uint32_t resume;          /* where the next turn begins when this one was `capped` */
    bool begun;               /* the turn of partition `next` */
    bool fast, capped;        /* in this turn: some partition wants the next soon; time ran out */
    uint64_t turn_ticks, span_ticks, spent_ticks; /* began; since the one before; by the sweep */
    uint64_t compact_ticks;   /* spent by compaction and defragmentation in this turn */
    int64_t received_us;      /* when a client last sent something */
};

struct shard {
    uint32_t index;
    struct shard_group *group;
    pthread_t thread;
    struct net *net;
    struct mailbox mailbox;
    struct env env;
    struct stats stats;
    struct chunk_pool chunks;
    struct timers timers;
    struct timer cron;
    struct hmap sessions_by_id;
    pthread_mutex_t registry;  /* guards `sessions` and the clients' texts */
    struct list sessions;
    /* those with weight_bytes, by their power of two (held.c); the registry guards them too */
    struct list holding[HELD_CLASSES];
    uint32_t sessions_count; /* not freed yet: closed ones that the kernel still holds too */
    struct list runnable, paused;
    struct list unsent;        /* sessions with output that others wait for */
    uint32_t unsent_count;
    struct store_request *loads_head, **loads_tail; /* to be handed to the store after the batch */
    uint64_t released_bytes;   /* of rows done with, that the store is to be told of */
    const struct settings **retired; /* replaced during this batch, released after it */
    uint32_t retired_count, retired_cap;
    struct maintenance maintenance;
    int64_t room_bytes;        /* mem_thread_bytes when maxmemory was last looked at */
    bool sheds;                /* closes more clients in the next round (held.c) */
    bool evicting;             /* memory is over the limit, and it is of use to go on */
    int64_t wall_offset_us;    /* wall clock - monotonic clock */
    uint64_t loop_ticks, busy_ticks, idle_ticks;
    int64_t idle_scan_us;
    bool stopping;
    int64_t stop_deadline_us;
    struct net_event events[NET_EVENTS_MAX];
    int events_count; /* of this loop */
    struct batch batch;
    struct session *feeding;   /* whose bytes are being parsed: not settled by pipeline_run */
};

struct shard_group {
    struct shards_params params;
    struct host_ops host;
    struct store *store;
    _Atomic uint64_t next_client_id;
    _Atomic uint32_t round_robin;
    _Atomic uint32_t connections[SHARDS_MAX]; /* counted from the decision where one goes */
    _Atomic uint32_t connections_total;
    _Atomic uint64_t clients_bytes;   /* of buffers, by the clients that hold much */
    _Atomic uint64_t leaving_orphans; /* in bytes: of clients that are being closed */
    _Atomic bool shedding;            /* a shard was told to close who holds most */
    _Atomic uint64_t kept_bytes;      /* of rows that sessions keep to themselves */
    pthread_mutex_t room_mutex;       /* guards: */
    struct list room_queue;           /* of sessions of all shards, in the order they came */
    _Atomic uint32_t room_waiting;    /* sessions there */
    _Atomic uint64_t room_uncounted;  /* of replies let in, and not counted as clients' yet */
    pthread_mutex_t share_mutex;      /* guards: */
    struct list share_queue;          /* of sessions of all shards, in the order they came */
    uint64_t share_bytes;             /* of rows, by those that are in */
    _Atomic uint32_t share_waiting;   /* sessions in the queue; written under the mutex */
    _Atomic int64_t pause_until_ms;   /* 0 = no pause */
    _Atomic bool pause_writes_only;
    _Atomic bool no_active_expire;    /* DEBUG SET-ACTIVE-EXPIRE 0 */
    double ticks_per_us;
    char backend_why[256];
    _Atomic enum net_backend backend; /* of all shards; written by each as it starts */
    /* start-up: the shards report here */
    pthread_mutex_t start_mutex;
    pthread_cond_t start_cond;
    uint32_t started;
    bool start_failed;
    char start_why[256];
    uint32_t shards_running;
    struct shard *shards[SHARDS_MAX];
};

/* --- clients.c --- */
struct session *session_create(struct shard *sh, int fd);
void session_free(struct session *s); /* after NET_EVENT_CLOSED */
struct session *session_find(struct shard *sh, uint64_t id);
/* Replies are dropped; safe at any time, also while it has requests in the batch. */
void session_close(struct session *s);
/* Closed once its replies are sent; executes nothing more. */
void session_end(struct session *s);
void clients_fill_host(struct host_ops *host);
/* Idle, stuck and over-limit clients; called from the cron. */
void clients_check_limits(struct shard *sh);
/* After output was written: limits, back-pressure. False when it was closed or has to wait. */
bool session_check_output(struct session *s);

/* --- held.c --- */
/* As last counted; its own thread, others under the registry's mutex. */
static inline size_t session_weight(const struct session *s) {
    return atomic_load_explicit(&s->weight_bytes, memory_order_relaxed);
}
/* Counts its buffers, and asks to hear when its output is sent while that is part of them. */
void held_recount(struct session *s);
/* Its buffers have changed: counts them, and closes the clients that hold most while all of the
 * process hold more than maxmemory-clients. It may be one of them. */
void session_count_held(struct session *s);
/* MESSAGE_SHED: one of this shard's clients holds most, or did. Closes who holds most, some at a
 * time, or tells their shard, while all hold more than maxmemory-clients. */
void held_shed(struct shard *sh);
/* Does so where it is time: orphans come without a client's doing. Once a round. */
void held_look(struct shard *sh);
/* What the arguments and keys of its large request take until it has run. False: that is more than
 * clients may hold, and it is closed. */
bool session_may_have(struct session *s, size_t bytes) MUST_USE;
/* A request or reply of so many bytes was larger than clients may hold: says and counts that it is
 * closed. */
void session_count_dropped(struct session *s, size_t bytes);

/* --- accept.c --- */
void accept_fd(struct shard *sh, int fd);
void accept_adopt(struct shard *sh, int fd);

/* --- pipeline.c --- */
/* Takes bytes that just came in. */
void pipeline_receive(struct shard *sh, struct session *s, struct slice data);
/* Runs what stands in s->in: it was resumed. */
void pipeline_resume(struct shard *sh, struct session *s);
/* What is received of a large request has room made for it before, by the megabyte. */
void pipeline_reserve(struct session *s, struct buf *b, size_t cap);
/* Executes the batch and settles its sessions. */
void pipeline_run(struct shard *sh);

/* --- bulk.c --- */
/* `rest` begins with an incomplete request. Where its end belongs to a bulk that is to be received
 * apart, takes that. Returns how much does not. */
size_t bulk_begin(struct session *s, struct slice rest);
/* Takes what belongs to the bulk from the front of *data. True: it is complete. */
bool bulk_receive(struct session *s, struct slice *data);
static inline bool bulk_is_coming(const struct session *s) {
    return UNLIKELY(s->bulk.buf.ptr != NULL) && s->bulk.buf.len < s->bulk.end;
}
/* Its request did not run yet: it will be parsed from its start again. */
void bulk_again(struct session *s);
void bulk_drop(struct session *s);

/* --- room.c --- */
/* The command that `s` executes needs so many bytes at once, `replies` of them for its output. */
void room_ask(struct session *s, size_t bytes, size_t replies);
/* A round of making room: true when the command may run; c->room_bytes is set, and env.over_limit
 * as it is for this command. */
bool room_take(struct session *s, struct cmd *c);
/* Room for a buffer of so many bytes, as far as a few turns make it; nobody waits. */
void room_now(struct shard *sh, size_t bytes);
/* resp_parser.grows of a session's parser. */
void room_for_args(struct resp_parser *p, size_t bytes);
/* The command that took room has run: the others wait for what it left in the output only. */
void room_taken(struct session *s);
/* Its buffers have been counted, with what it left there. */
void room_counted(struct session *s);
/* Others wait until the output has been sent, as far as it takes memory of its own. */
void room_hold(struct session *s);
/* The same for the rows that its command had a share for, where replies are sent from them: that is
 * given back then. False: it is not theirs any more. */
bool room_hold_rows(struct session *s) MUST_USE;
/* Others don't wait for these, or for nothing of it: it is being closed. */
void room_let_go_rows(struct session *s);
void room_let_go(struct session *s);
/* Looks at what was sent meanwhile, and lets in who waited for it. */
void room_look(struct shard *sh);
/* It has been let in. */
bool room_is_let_in(struct session *s);
/* It does not run after all. */
void room_forget(struct session *s);

/* --- share.c --- */
/* The command that `s` executes needs rows of so many bytes, or more than it said: true when it may
 * ask for them. Else it stands in the queue, until MESSAGE_SHARE; `again`: before those that came
 * later, as it was let in once. */
bool share_take(struct session *s, uint64_t bytes, bool again);
/* The same for rows that it can do without for now: true when nobody has to wait for that. It
 * does not stand in the queue. */
bool share_add(struct session *s, uint64_t bytes);
/* It has been let in. */
bool share_has(struct session *s);
/* It is in with as much as there is, and nobody else is, nor will be until it has run. */
bool share_is_alone(struct session *s);
/* What all may take together. */
uint64_t share_bytes_max(const struct shard *sh);
/* It has run, or does not run after all: others are let in. */
void share_give_back(struct session *s);

/* --- park.c --- */
void park_on_misses(struct session *s, struct cmd *c);
/* Requests that stand behind a parked one: their rows are asked for with it. */
void park_look_ahead(struct session *s, struct cmd *c);
void park_on_timer(struct session *s, int64_t wake_us);
void park_for_turn(struct session *s);
void park_for_room(struct session *s);
void park_for_pause(struct session *s);
void park_for_output(struct session *s);
/* Taken off the runnable list to be fed again. */
void park_resumed(struct session *s);
/* A load that `s` may wait for is complete. */
void park_load_done(struct session *s, struct load *l);
/* A command has completed: its rows are forgotten when the window is used up. */
void park_command_done(struct session *s);
/* Forgets rows and timer: the session goes away. */
void park_forget(struct session *s);
/* Puts it on the runnable list. */
void park_wake(struct session *s);
/* MESSAGE_ROOM: it may have been let in. */
void park_room_made(struct session *s);
/* MESSAGE_SHARE: it may have been let in. */
void park_share_taken(struct session *s);
/* Wakes paused clients whose pause is over. */
void park_unpause(struct shard *sh);

/* --- maintain.c --- */
void maintain_start(struct shard *sh);
/* Something came in: the shard is not idle. */
void maintain_received(struct shard *sh);
/* Steps of this turn's expiry and freeing, while maintenance.left. */
void maintain_run(struct shard *sh);
/* A step of eviction, while `evicting`: memory is over its limit though nothing comes in. */
void maintain_evict(struct shard *sh);

/* --- load.c --- */
enum load_outcome { LOAD_CACHED, LOAD_WAITING };
/* Joins the load of that row or starts one. LOAD_WAITING: *out holds a reference for the caller. */
enum load_outcome load_join(struct shard *sh, struct session *s, const struct row_miss *miss,
                            bool keep_copy, struct load **out);
void load_unref(struct load *l); /* takes NULL; any thread */
/* The store's share of maxmemory has changed. Any thread. */
void load_share_changed(struct shard_group *g, const struct settings *settings);
/* Hands the loads started in this batch to the store, and tells it of rows that came and went. */
void load_submit(struct shard *sh);
/* MESSAGE_LOADED. */
void load_complete(struct shard *sh, struct load *l);
#endif
