/* A thread of the load generator. Its loop: submit what is queued and sleep until a reply is there,
 * check what came, start the next batch of every connection that is free.
 *
 *  1. One batch is in flight a connection, sent by one send from where it lies in the arena.
 *  2. A receive stays armed on every connection; it fills buffers of a shared ring, each of which
 *     is given back before the next wait.
 *  3. Closed loop: latency counts from just before the submission that sends the batch. Open loop:
 *     from when the batch was due.
 *  4. Only this thread touches the ring; main speaks to it through struct control alone (the only
 *     atomics here). A tick of TICK_MS makes it look when nothing else does. */
#include "client.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cpu.h"
#include "dial.h"
#include "fill.h"
#include "schedule.h"

enum {
    TICK_MS = 100,
    STALL_TICKS_MAX = 100, /* without a reply while some are awaited: give up */
    DRAIN_TICKS_MAX = 100, /* for what was due in the window of an open loop */
    LOAD_BATCH_BYTES = 64 << 10,
    BUFFER_BYTES_MIN = 2 << 10,
    BUFFER_BYTES_MAX = 64 << 10,
    BUFFERS_MIN = 64,
    BUFFERS_MAX = 4096,
    BUFFER_SKEW = 192, /* keeps the buffers' starts out of one cache set */
    CQES_A_ROUND = 256,
    SPIN_BELOW_NS = 100000, /* open loop: nearer due times are awaited without sleeping */
    TIMER_SLACK_NS = 1000
};

enum tag { TAG_RECV, TAG_SEND, TAG_TICK, TAG_BITS = 2 };

struct connection {
    int64_t start_ns;
    struct replies replies;
    char *load; /* while keys are loaded: room for one batch */
};

struct worker {
    struct client *client;
    const struct options *options;
    struct client_result *result;
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    char *buffer_memory;
    uint32_t buffer_count, buffer_bytes, returned;
    struct connection *connections;
    uint32_t count;
    uint32_t *idle, idle_count;       /* open loop: a stack of free connections */
    uint32_t *started, started_count; /* closed loop: not yet stamped */
    struct requests requests;
    struct schedule schedule;
    uint64_t batches_sent; /* open loop: next of the schedule */
    bool loading;
    struct fill fill;
    uint32_t load_batch;
    enum client_phase phase;
    int64_t now_ns, window_start_ns, window_end_ns, cpu_start_ns;
    uint64_t goal; /* replies to measure; 0: until told */
    uint64_t in_flight;
    uint32_t quiet_ticks, drain_ticks;
    struct __kernel_timespec tick;
};

static void fail(struct worker *w, const char *what) {
    if (!w->result->failed) {
        fprintf(stderr, "loadgen: %s\n", what);
    }
    w->result->failed = true;
    atomic_store(&w->client->control->failed, true);
}

/* --- the ring --- */

static uint32_t power_of_two(uint32_t at_least) {
    uint32_t size = 1;
    while (size < at_least) {
        size *= 2;
    }
    return size;
}

static void arm_recv(struct worker *w, uint32_t index) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
    ASSERT(sqe);
    io_uring_prep_recv_multishot(sqe, (int)index, NULL, 0, 0);
    sqe->user_data = (uint64_t)index << TAG_BITS | TAG_RECV;
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
}

static void arm_tick(struct worker *w) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
    ASSERT(sqe);
    w->tick = (struct __kernel_timespec){.tv_nsec = TICK_MS * 1000000};
    io_uring_prep_timeout(sqe, &w->tick, 0, 0);
    sqe->user_data = TAG_TICK;
}

static void send_bytes(struct worker *w, uint32_t index, const char *bytes, uint32_t len) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
    ASSERT(sqe);
    io_uring_prep_send(sqe, (int)index, bytes, len, MSG_NOSIGNAL | MSG_WAITALL);
    sqe->user_data = (uint64_t)index << TAG_BITS | TAG_SEND;
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
}

static void give_buffer(struct worker *w, uint32_t id) {
    char *at = w->buffer_memory + (size_t)id * (w->buffer_bytes + BUFFER_SKEW);
    io_uring_buf_ring_add(w->buffers, at, w->buffer_bytes, (unsigned short)id,
                          io_uring_buf_ring_mask(w->buffer_count), (int)w->returned++);
}

static void publish_buffers(struct worker *w) {
    if (w->returned > 0) {
        io_uring_buf_ring_advance(w->buffers, (int)w->returned);
        w->returned = 0;
    }
}

static bool setup_buffers(struct worker *w) {
    const struct options *o = w->options;
    uint32_t reply = MAX(w->requests.shape[REQUEST_GET].len, 16u);
    uint64_t batch = (uint64_t)(o->op == OP_GET || o->op == OP_MIX ? reply : 16) * o->pipeline;
    w->buffer_bytes = power_of_two((uint32_t)MIN(MAX(batch, BUFFER_BYTES_MIN), BUFFER_BYTES_MAX));
    w->buffer_count = power_of_two(MIN(MAX(w->count * 2, BUFFERS_MIN), BUFFERS_MAX));
    size_t ring_bytes = w->buffer_count * sizeof(struct io_uring_buf);
    w->buffers = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (w->buffers == MAP_FAILED) {
        return false;
    }
    io_uring_buf_ring_init(w->buffers);
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)w->buffers,
                                   .ring_entries = w->buffer_count};
    if (io_uring_register_buf_ring(&w->ring, &reg, 0) < 0) {
        return false;
    }
    w->buffer_memory =
        mem_alloc_aligned(4096, (size_t)w->buffer_count * (w->buffer_bytes + BUFFER_SKEW));
    for (uint32_t id = 0; id < w->buffer_count; id++) {
        give_buffer(w, id);
    }
    publish_buffers(w);
    return true;
}

static bool setup_ring(struct worker *w) {
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                     .cq_entries = power_of_two(MAX(w->count * 8, 1024u))};
    int code = io_uring_queue_init_params(power_of_two(w->count * 2 + 8), &w->ring, &params);
    if (code < 0) {
        fprintf(stderr, "loadgen: io_uring: %s\n", strerror(-code));
        return false;
    }
    int *fds = mem_alloc(sizeof(int) * w->count);
    uint32_t open_count = 0;
    while (open_count < w->count && (fds[open_count] = dial(w->options)) >= 0) {
        open_count++;
    }
    bool ok = open_count == w->count && io_uring_register_files(&w->ring, fds, w->count) == 0 &&
              setup_buffers(w);
    for (uint32_t i = 0; i < open_count; i++) {
        close(fds[i]); /* the ring holds them */
    }
    mem_free(fds);
    return ok;
}

/* --- batches --- */

/* Loads the next keys over this connection; false when none are left. */
static bool load_more(struct worker *w, uint32_t index) {
    struct connection *c = &w->connections[index];
    uint32_t len = 0, count = 0;
    uint64_t number;
    while (count < w->load_batch && fill_next(&w->fill, &number)) {
        len += requests_format_fill(w->options, number, c->load + len);
        count++;
    }
    if (count == 0) {
        return false;
    }
    w->started[w->started_count++] = index;
    replies_expect(&c->replies, 0, count, true);
    send_bytes(w, index, c->load, len);
    w->in_flight++;
    return true;
}

static void start_batch(struct worker *w, uint32_t index) {
    struct connection *c = &w->connections[index];
    uint32_t batch_index;
    const struct batch *batch = requests_take(&w->requests, &batch_index);
    replies_expect(&c->replies, batch_index, w->options->pipeline, false);
    send_bytes(w, index, w->requests.arena + batch->offset, batch->len);
    w->in_flight++;
}

static void end_batch(struct worker *w, uint32_t index) {
    w->in_flight--;
    if (w->loading) {
        (void)load_more(w, index);
    } else if (w->options->rate > 0) {
        w->idle[w->idle_count++] = index;
    } else if (w->phase != PHASE_STOP) {
        start_batch(w, index);
        w->started[w->started_count++] = index;
    }
}

static bool in_window(const struct worker *w, int64_t start_ns) {
    if (w->options->rate == 0) {
        return w->phase == PHASE_MEASURE;
    }
    return w->phase >= PHASE_MEASURE && start_ns >= w->window_start_ns &&
           (w->phase == PHASE_MEASURE || start_ns < w->window_end_ns);
}

static void on_bytes(struct worker *w, uint32_t index, const char *bytes, size_t len) {
    struct connection *c = &w->connections[index];
    uint64_t wrong = w->result->counts.wrong;
    uint32_t replies = replies_feed(&c->replies, bytes, len, &w->result->counts);
    if (replies > 0 && (!w->loading || w->options->fill)) {
        if (w->phase == PHASE_MEASURE) {
            w->result->replies += replies;
        }
        if (in_window(w, c->start_ns)) {
            histogram_record(&w->result->latency, (uint64_t)MAX(w->now_ns - c->start_ns, 0),
                             replies);
        }
    }
    if (w->result->counts.wrong != wrong && replies_done(&c->replies) && replies == 0) {
        fail(w, "more bytes than the replies that were asked for");
        return;
    }
    if (replies > 0 && replies_done(&c->replies)) {
        end_batch(w, index);
    }
}

/* Open loop: sends every batch that is due while a connection is free. */
static void send_due(struct worker *w) {
    uint64_t due = schedule_due_count(&w->schedule, w->now_ns);
    while (w->batches_sent < due && w->idle_count > 0) {
        int64_t due_ns = schedule_due_ns(&w->schedule, w->batches_sent);
        if (w->phase == PHASE_STOP && due_ns >= w->window_end_ns) {
            return;
        }
        uint32_t index = w->idle[--w->idle_count];
        w->connections[index].start_ns = due_ns;
        start_batch(w, index);
        w->batches_sent++;
        if (in_window(w, due_ns)) {
            histogram_record(&w->result->lag, (uint64_t)(w->now_ns - due_ns), 1);
        }
    }
}

/* --- the loop --- */

static void on_tick(struct worker *w) {
    w->quiet_ticks = w->in_flight > 0 ? w->quiet_ticks + 1 : 0;
    if (w->phase == PHASE_STOP) {
        w->drain_ticks++;
    } else if (w->quiet_ticks > STALL_TICKS_MAX) {
        fail(w, "no reply for ten seconds");
    }
    arm_tick(w);
}

static void on_recv(struct worker *w, uint32_t index, const struct io_uring_cqe *cqe) {
    if (cqe->res > 0) {
        uint32_t id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        w->quiet_ticks = 0;
        on_bytes(w, index, w->buffer_memory + (size_t)id * (w->buffer_bytes + BUFFER_SKEW),
                 (size_t)cqe->res);
        give_buffer(w, id);
    } else if (cqe->res != -ENOBUFS) {
        fail(w, cqe->res ? strerror(-cqe->res) : "the server closed a connection");
        return;
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        arm_recv(w, index);
    }
}

static void reap(struct worker *w) {
    struct io_uring_cqe *cqes[CQES_A_ROUND];
    unsigned count;
    do {
        count = io_uring_peek_batch_cqe(&w->ring, cqes, CQES_A_ROUND);
        for (unsigned i = 0; i < count; i++) {
            uint32_t index = (uint32_t)(cqes[i]->user_data >> TAG_BITS);
            switch ((enum tag)(cqes[i]->user_data & ((1 << TAG_BITS) - 1))) {
            case TAG_RECV:
                on_recv(w, index, cqes[i]);
                break;
            case TAG_SEND:
                fail(w, "a send failed");
                break;
            default:
                on_tick(w);
            }
        }
        io_uring_cq_advance(&w->ring, count);
        publish_buffers(w);
    } while (count == CQES_A_ROUND && io_uring_sq_space_left(&w->ring) > CQES_A_ROUND * 2);
}

/* Submits, and sleeps where there is nothing better to do. */
static void submit_and_wait(struct worker *w) {
    int64_t start_ns = clock_mono_ns();
    for (uint32_t i = 0; i < w->started_count; i++) {
        w->connections[w->started[i]].start_ns = start_ns;
    }
    w->started_count = 0;
    bool open_loop = w->options->rate > 0 && !w->loading && w->idle_count > 0;
    int64_t wait_ns =
        open_loop ? schedule_due_ns(&w->schedule, w->batches_sent) - start_ns : INT64_MAX;
    int code;
    if (w->options->spin || wait_ns < SPIN_BELOW_NS) {
        code = io_uring_submit_and_get_events(&w->ring);
    } else if (open_loop) {
        wait_ns -= SPIN_BELOW_NS / 2;
        struct io_uring_cqe *cqe;
        struct __kernel_timespec ts = {wait_ns / 1000000000, wait_ns % 1000000000};
        code = io_uring_submit_and_wait_timeout(&w->ring, &cqe, 1, &ts, NULL);
    } else {
        code = io_uring_submit_and_wait(&w->ring, 1);
    }
    if (code < 0 && code != -EINTR && code != -ETIME && code != -EBUSY && code != -EAGAIN) {
        fail(w, strerror(-code));
    }
    w->now_ns = clock_mono_ns();
}

static void enter_phase(struct worker *w, enum client_phase phase) {
    if (phase == PHASE_MEASURE) {
        w->window_start_ns = w->now_ns;
        w->cpu_start_ns = cpu_of_thread_ns();
    } else if (phase == PHASE_STOP) {
        w->window_end_ns = w->now_ns;
        w->result->window_ns = w->now_ns - w->window_start_ns;
        w->result->cpu_ns = cpu_of_thread_ns() - w->cpu_start_ns;
    }
    w->phase = phase;
}

static void follow_phase(struct worker *w) {
    int phase = atomic_load_explicit(&w->client->control->phase, memory_order_relaxed);
    if (w->phase == PHASE_MEASURE && w->goal > 0 && w->result->replies >= w->goal) {
        atomic_fetch_add(&w->client->control->measured, 1);
        phase = PHASE_STOP;
    }
    if (phase > (int)w->phase) {
        if (w->phase == PHASE_WARMUP && phase == PHASE_STOP) {
            enter_phase(w, PHASE_MEASURE);
        }
        enter_phase(w, (enum client_phase)phase);
    }
}

/* Closed loops end at once; open loops when all that was due in the window is answered. */
static bool over(const struct worker *w) {
    if (w->result->failed ||
        atomic_load_explicit(&w->client->control->failed, memory_order_relaxed)) {
        return true;
    }
    if (w->phase != PHASE_STOP || w->options->rate == 0) {
        return w->phase == PHASE_STOP;
    }
    bool all_sent = schedule_due_ns(&w->schedule, w->batches_sent) >= w->window_end_ns;
    return (all_sent && w->in_flight == 0) || w->drain_ticks > DRAIN_TICKS_MAX;
}

/* What was due in the window and got no reply counts with the time it has waited. */
static void count_unanswered(struct worker *w) {
    for (uint32_t i = 0; i < w->count; i++) {
        struct replies *r = &w->connections[i].replies;
        if (!replies_done(r) && in_window(w, w->connections[i].start_ns)) {
            uint64_t waited = (uint64_t)(w->now_ns - w->connections[i].start_ns);
            histogram_record(&w->result->latency, waited, r->expected - r->next);
            w->result->unanswered += r->expected - r->next;
        }
    }
    for (;; w->batches_sent++) {
        int64_t due_ns = schedule_due_ns(&w->schedule, w->batches_sent);
        if (due_ns >= w->window_end_ns) {
            break;
        }
        if (in_window(w, due_ns)) {
            histogram_record(&w->result->latency, (uint64_t)(w->now_ns - due_ns),
                             w->options->pipeline);
            w->result->unanswered += w->options->pipeline;
        }
    }
}

static void load_keys(struct worker *w) {
    const struct options *o = w->options;
    uint32_t size_max = requests_size_max(o);
    w->fill = fill_make(o, w->client->index);
    w->load_batch = o->fill ? o->pipeline : MIN(MAX(LOAD_BATCH_BYTES / size_max, 1u), 64u);
    w->loading = true;
    for (uint32_t i = 0; i < w->count; i++) {
        w->connections[i].load = mem_alloc((size_t)w->load_batch * size_max);
    }
    for (uint32_t i = 0; i < w->count && load_more(w, i); i++) {
    }
    while (w->in_flight > 0 && !over(w)) {
        submit_and_wait(w);
        reap(w);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        mem_free(w->connections[i].load);
        w->connections[i].load = NULL;
    }
    w->loading = false;
}

static void run_load(struct worker *w) {
    const struct options *o = w->options;
    w->now_ns = clock_mono_ns();
    if (o->rate > 0) {
        w->schedule = schedule_make(w->now_ns, o->rate / o->threads / o->pipeline);
    }
    for (uint32_t i = 0; i < w->count; i++) {
        if (o->rate > 0) {
            w->idle[w->idle_count++] = i;
        } else {
            start_batch(w, i);
            w->started[w->started_count++] = i;
        }
    }
    while (!over(w)) {
        submit_and_wait(w);
        follow_phase(w);
        reap(w);
        if (o->rate > 0) {
            send_due(w);
        }
    }
    if (o->rate > 0 && !w->result->failed && w->phase == PHASE_STOP) {
        count_unanswered(w);
    }
}

static bool setup(struct worker *w) {
    const struct options *o = w->options;
    uint32_t thread = w->client->index;
    w->result = &w->client->result;
    histogram_clear(&w->result->latency);
    histogram_clear(&w->result->lag);
    if (o->cpu >= 0 && !cpu_pin(o->cpu + (int)thread)) {
        fprintf(stderr, "loadgen: can't pin to core %d: %s\n", o->cpu + (int)thread,
                strerror(errno));
        return false;
    }
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
    w->count = o->connections / o->threads + (thread < o->connections % o->threads);
    w->goal = o->requests / o->threads + (thread < o->requests % o->threads);
    w->connections = mem_zalloc(sizeof(*w->connections) * w->count);
    w->idle = mem_alloc(sizeof(*w->idle) * w->count);
    w->started = mem_alloc(sizeof(*w->started) * w->count);
    requests_init(&w->requests, o, thread);
    for (uint32_t i = 0; i < w->count; i++) {
        replies_init(&w->connections[i].replies, &w->requests);
    }
    return setup_ring(w);
}

static void *client_main(void *argument) {
    struct worker w = {.client = argument};
    w.options = w.client->options;
    bool ready = setup(&w);
    if (!ready) {
        fail(&w, "a client could not start");
    } else {
        for (uint32_t i = 0; i < w.count; i++) {
            arm_recv(&w, i);
        }
        arm_tick(&w);
        if (w.options->fill) {
            w.now_ns = clock_mono_ns();
            enter_phase(&w, PHASE_MEASURE);
            load_keys(&w);
            enter_phase(&w, PHASE_STOP);
        } else if (w.options->populate) {
            load_keys(&w);
        }
    }
    pthread_barrier_wait(&w.client->control->loaded);
    if (ready && !w.result->failed && !w.options->fill) {
        run_load(&w);
    }
    if (w.ring.ring_fd > 0) {
        io_uring_queue_exit(&w.ring);
    }
    if (w.buffers && w.buffers != MAP_FAILED) {
        munmap(w.buffers, w.buffer_count * sizeof(struct io_uring_buf));
    }
    mem_free(w.buffer_memory);
    mem_free(w.connections);
    mem_free(w.idle);
    mem_free(w.started);
    requests_deinit(&w.requests);
    return NULL;
}

bool client_start(struct client *c, const struct options *o, struct control *control,
                  uint32_t index) {
    *c = (struct client){.options = o, .control = control, .index = index};
    return pthread_create(&c->thread, NULL, client_main, c) == 0;
}

void client_join(struct client *c) {
    pthread_join(c->thread, NULL);
}
