/* The experiment behind docs/decisions/0002-partition-locks.md: two threads execute requests on the
 * partitions of one keyspace, either in place under the partition's lock, or only on partitions of
 * their own, with requests for the other's handed over on a two-thread queue.
 *
 * CPU a request leaves out rounds that found nothing to do, in which a server would sleep.
 *
 * Each thread serves CONNECTIONS logical connections. A connection has a batch of `pipeline`
 * requests, one in ten an update; when all are answered it has the next at once. With work, a batch
 * and each request also cost private time, as reading, parsing, encoding and sending do. Threads
 * never sleep for want of work: a hop's wake-ups cost nothing here, which favours the queue.
 *
 *  1. Locks: try, spin briefly, then sleep (futex), as src/engine's.
 *  2. Queue: the foreign part of a batch is one message; the owner executes it and sends the same
 *     message back. A ring holds every message there is, so it is never full.
 *  3. Every run ends with a count: the values' sum is the number of updates.
 *
 * Atomics and threads: this file. Usage: lock-vs-queue [rounds] [milliseconds a run] [keys]. */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cpu.h"
#include "zipf.h"

enum {
    PARTITIONS = 16,
    THREADS_MAX = 2,
    CONNECTIONS = 50, /* a thread */
    RING_SIZE = 64,
    PIPELINE_MAX = 16,
    DRAWS = 1 << 18, /* requests prepared a thread */
    UPDATE_ONE_IN = 10,
    SPINS_MAX = 100,
    ROUNDS_MAX = 99,
    IDLE_TICKS_MAX = 20000, /* a longer empty round was a preemption: no CPU of ours */
    WORK_BATCH_NS = 5000,   /* an echo's send and receive, as tools/bench/echo measures them */
    WORK_REQUEST_NS = 100
};
#define ZIPF_THETA 0.99

enum variant { NO_LOCK, ELIDED_LOCK, LOCK, PREFETCHED_LOCK, QUEUE, VARIANTS };
static const char *const VARIANT_NAMES[] = {"no lock", "lock elided by a branch", "lock",
                                            "lock, prefetched for writing", "queue"};

struct lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held and somebody sleeps */
    bool elided;
};

struct slot {
    uint64_t key; /* 0: empty */
    uint64_t value;
};

struct partition {
    _Alignas(64) struct lock lock;
    struct slot *slots;
    uint64_t mask;
};

struct message {
    uint32_t count;
    uint64_t keys[PIPELINE_MAX]; /* the lowest bit: update */
};

/* One producer, one consumer. */
struct ring {
    _Alignas(64) _Atomic uint32_t head; /* the producer's */
    _Alignas(64) _Atomic uint32_t tail; /* the consumer's */
    _Alignas(64) struct message *items[RING_SIZE];
};

struct setup {
    enum variant variant;
    uint32_t threads, pipeline;
    bool work;
    uint64_t work_batch, work_request; /* in turns of the calibrated loop */
    double ticks_per_ns;
};

struct shared {
    struct setup setup;
    struct partition partitions[PARTITIONS];
    struct ring requests[THREADS_MAX], replies[THREADS_MAX]; /* by receiving thread */
    pthread_barrier_t start;
    _Atomic bool stop;
    _Atomic uint32_t idle; /* threads that await no reply any more, after stop */
};

struct thread {
    struct shared *shared;
    uint32_t index;
    pthread_t id;
    uint64_t *draws; /* hashed keys with the update bit */
    uint32_t next_draw;
    struct message connections[CONNECTIONS]; /* the foreign part of each batch */
    uint64_t done, updates, spun, slept, sink;
    uint64_t idle_ticks; /* in rounds that found nothing to do */
    int64_t wall_ns, cpu_ns;
};

/* --- lock --- */

static void futex(_Atomic uint32_t *word, int op, uint32_t value) {
    syscall(SYS_futex, (uint32_t *)word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void lock_wait(struct lock *l, struct thread *t) {
    t->spun++;
    for (int i = 0; i < SPINS_MAX; i++) {
        __builtin_ia32_pause();
        uint32_t expected = 0;
        if (atomic_load_explicit(&l->state, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&l->state, &expected, 1)) {
            return;
        }
    }
    t->slept++;
    while (atomic_exchange(&l->state, 2) != 0) {
        futex(&l->state, FUTEX_WAIT, 2);
    }
}

static inline void lock_take(struct lock *l, struct thread *t) {
    uint32_t expected = 0;
    if (l->elided) {
        return;
    }
    if (!atomic_compare_exchange_strong_explicit(&l->state, &expected, 1, memory_order_acquire,
                                                 memory_order_relaxed)) {
        lock_wait(l, t);
    }
}

static inline void lock_release(struct lock *l) {
    if (l->elided) {
        return;
    }
    if (atomic_exchange_explicit(&l->state, 0, memory_order_release) == 2) {
        futex(&l->state, FUTEX_WAKE, 1);
    }
}

/* --- table --- */

static inline struct partition *partition_of(struct shared *s, uint64_t key) {
    return &s->partitions[key >> 60];
}

static inline uint32_t owner_of(uint64_t key) {
    return (uint32_t)(key >> 60) & 1;
}

static inline struct slot *first_slot(struct partition *p, uint64_t key) {
    return &p->slots[key >> 1 & p->mask];
}

static struct slot *find_slot(struct partition *p, uint64_t key) {
    struct slot *slot = first_slot(p, key);
    while (slot->key != key && slot->key != 0) {
        slot = slot == &p->slots[p->mask] ? p->slots : slot + 1;
    }
    return slot;
}

static inline void execute(struct thread *t, uint64_t draw) {
    struct slot *slot = find_slot(partition_of(t->shared, draw), draw | 1);
    ASSERT(slot->key);
    if (draw & 1) {
        t->sink += slot->value;
    } else {
        slot->value++;
        t->updates++;
    }
}

static inline void execute_locked(struct thread *t, uint64_t draw) {
    struct lock *lock = &partition_of(t->shared, draw)->lock;
    lock_take(lock, t);
    execute(t, draw);
    lock_release(lock);
}

/* --- work --- */

static uint64_t turn(uint64_t turns, uint64_t x) {
    for (uint64_t i = 0; i < turns; i++) {
        x = x * UINT64_C(6364136223846793005) + 1;
        __asm__ volatile("" : "+r"(x));
    }
    return x;
}

/* Turns of the loop a microsecond, the best of some tries. */
static uint64_t calibrate(void) {
    uint64_t best_ns = UINT64_MAX;
    for (int i = 0; i < 20; i++) {
        int64_t start_ns = clock_mono_ns();
        (void)turn(1000000, (uint64_t)start_ns);
        best_ns = MIN(best_ns, (uint64_t)(clock_mono_ns() - start_ns));
    }
    return UINT64_C(1000000000) / best_ns;
}

/* --- queue --- */

static void ring_push(struct ring *r, struct message *m) {
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    r->items[head % RING_SIZE] = m;
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
}

static struct message *ring_pop(struct ring *r) {
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (tail == atomic_load_explicit(&r->head, memory_order_acquire)) {
        return NULL;
    }
    struct message *m = r->items[tail % RING_SIZE];
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return m;
}

/* Executes what the other thread asked for. */
static bool serve_others(struct thread *t) {
    struct shared *s = t->shared;
    struct message *m = ring_pop(&s->requests[t->index]);
    bool any = m != NULL;
    for (; m; m = ring_pop(&s->requests[t->index])) {
        for (uint32_t i = 0; i < m->count; i++) {
            __builtin_prefetch(first_slot(partition_of(s, m->keys[i]), m->keys[i]));
        }
        for (uint32_t i = 0; i < m->count; i++) {
            execute(t, m->keys[i]);
        }
        ring_push(&s->replies[t->index ^ 1], m);
    }
    return any;
}

/* --- batches --- */

/* Starts a connection's next batch; true when it is answered already. */
static bool run_batch(struct thread *t, struct message *foreign) {
    const struct setup *o = &t->shared->setup;
    const uint64_t *draws = &t->draws[t->next_draw];
    t->next_draw = (t->next_draw + o->pipeline) % DRAWS;
    if (o->work) {
        t->sink += turn(o->work_batch + o->pipeline * o->work_request, t->sink);
    }
    for (uint32_t i = 0; i < o->pipeline; i++) {
        __builtin_prefetch(first_slot(partition_of(t->shared, draws[i]), draws[i]));
        if (o->variant == PREFETCHED_LOCK) {
            __builtin_prefetch(&partition_of(t->shared, draws[i])->lock, 1);
        }
    }
    foreign->count = 0;
    for (uint32_t i = 0; i < o->pipeline; i++) {
        if (o->variant == QUEUE && owner_of(draws[i]) != t->index) {
            foreign->keys[foreign->count++] = draws[i];
        } else if (o->variant == QUEUE || o->variant == NO_LOCK) {
            execute(t, draws[i]);
        } else {
            execute_locked(t, draws[i]);
        }
    }
    if (foreign->count > 0) {
        ring_push(&t->shared->requests[t->index ^ 1], foreign);
        return false;
    }
    t->done += o->pipeline;
    return true;
}

/* The same event loop for both: a round looks at every connection that is ready. */
static void serve(struct thread *t) {
    struct shared *s = t->shared;
    struct message *ready[CONNECTIONS];
    uint32_t ready_count = CONNECTIONS;
    bool counted = false;
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        ready[i] = &t->connections[i];
    }
    uint64_t round_start = clock_ticks();
    for (;;) {
        bool stop = atomic_load_explicit(&s->stop, memory_order_relaxed);
        if (stop && ready_count == CONNECTIONS) {
            if (!counted) {
                atomic_fetch_add(&s->idle, 1);
                counted = true;
            }
            if (atomic_load(&s->idle) == s->setup.threads) {
                return;
            }
        }
        uint32_t waiting = 0;
        for (uint32_t i = 0; i < ready_count && !stop; i++) {
            if (run_batch(t, ready[i])) {
                ready[waiting++] = ready[i];
            }
        }
        ready_count = stop ? ready_count : waiting;
        bool any = ready_count > 0;
        if (s->setup.variant == QUEUE) {
            any = serve_others(t) || any;
            for (struct message *m; (m = ring_pop(&s->replies[t->index])) != NULL; any = true) {
                ready[ready_count++] = m;
                t->done += s->setup.pipeline;
            }
        }
        if (!any) {
            __builtin_ia32_pause();
        }
        uint64_t now = clock_ticks();
        if (!any && now - round_start < IDLE_TICKS_MAX) {
            t->idle_ticks += now - round_start;
        }
        round_start = now;
    }
}

static void *thread_main(void *argument) {
    struct thread *t = argument;
    (void)!cpu_pin((int)t->index);
    pthread_barrier_wait(&t->shared->start);
    int64_t start_ns = clock_mono_ns(), cpu_ns = cpu_of_thread_ns();
    serve(t);
    t->wall_ns = clock_mono_ns() - start_ns;
    t->cpu_ns = cpu_of_thread_ns() - cpu_ns;
    return NULL;
}

/* --- a run --- */

static uint64_t hashed(uint64_t number) {
    struct rng rng = {.state = number};
    return rng_next(&rng) | 1;
}

static void fill_tables(struct shared *s, uint64_t keys) {
    uint64_t size = 1;
    while (size < keys * 2 / PARTITIONS) {
        size *= 2;
    }
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        s->partitions[i].mask = size - 1;
        s->partitions[i].slots = mem_zalloc(size * sizeof(struct slot));
    }
    for (uint64_t n = 0; n < keys; n++) {
        uint64_t key = hashed(n);
        find_slot(partition_of(s, key), key)->key = key;
    }
}

static void draw_requests(struct thread *t, uint64_t keys, bool skewed) {
    struct rng rng = {.state = 77 + t->index};
    struct zipf zipf;
    zipf_init(&zipf, keys, ZIPF_THETA);
    for (uint32_t i = 0; i < DRAWS; i++) {
        uint64_t number =
            skewed ? zipf_scatter(&zipf, zipf_next(&zipf, &rng)) : rng_below(&rng, keys);
        bool update = rng_below(&rng, UPDATE_ONE_IN) == 0;
        t->draws[i] = update ? hashed(number) & ~UINT64_C(1) : hashed(number);
    }
}

static void check_updates(const struct shared *s, const struct thread *threads) {
    uint64_t sum = 0, updates = 0;
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        for (uint64_t j = 0; j <= s->partitions[i].mask; j++) {
            sum += s->partitions[i].slots[j].value;
            s->partitions[i].slots[j].value = 0;
        }
    }
    for (uint32_t i = 0; i < s->setup.threads; i++) {
        updates += threads[i].updates;
    }
    ASSERT(sum == updates);
}

struct figures {
    double per_s, cpu_ns, spun_share, slept_share; /* cpu_ns without idle rounds */
};

static struct figures run_once(struct shared *s, struct thread *threads, int64_t run_ms) {
    const struct setup *o = &s->setup;
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        s->partitions[i].lock = (struct lock){.elided = o->variant == ELIDED_LOCK};
    }
    atomic_store(&s->stop, false);
    atomic_store(&s->idle, 0);
    pthread_barrier_init(&s->start, NULL, o->threads + 1);
    for (uint32_t i = 0; i < o->threads; i++) {
        struct thread *t = &threads[i];
        t->done = t->updates = t->spun = t->slept = t->idle_ticks = 0;
        t->next_draw = 0;
        ASSERT(pthread_create(&t->id, NULL, thread_main, t) == 0);
    }
    pthread_barrier_wait(&s->start);
    usleep((useconds_t)run_ms * 1000);
    atomic_store(&s->stop, true);
    struct figures f = {0};
    uint64_t done = 0;
    for (uint32_t i = 0; i < o->threads; i++) {
        struct thread *t = &threads[i];
        pthread_join(t->id, NULL);
        done += t->done;
        f.per_s += (double)t->done * 1e9 / (double)t->wall_ns;
        f.cpu_ns += (double)t->cpu_ns - (double)t->idle_ticks / o->ticks_per_ns;
        f.spun_share += (double)t->spun;
        f.slept_share += (double)t->slept;
    }
    pthread_barrier_destroy(&s->start);
    check_updates(s, threads);
    f.cpu_ns /= (double)done;
    f.spun_share /= (double)done;
    f.slept_share /= (double)done;
    return f;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value `percent` of the rounds are at or below. */
static double percentile(const struct figures *rounds, uint32_t count, size_t offset,
                         uint32_t percent) {
    double values[ROUNDS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&values[i], (const char *)&rounds[i] + offset, sizeof(double));
    }
    qsort(values, count, sizeof(double), compare_doubles);
    return values[(count - 1) * percent / 100];
}

/* Variants `first` to `last` in turns, then a line each. */
static void compare(struct shared *s, struct thread *threads, enum variant first, enum variant last,
                    uint32_t rounds, int64_t run_ms, bool skewed) {
    struct figures results[VARIANTS][ROUNDS_MAX];
    for (uint32_t round = 0; round < rounds; round++) {
        for (enum variant v = first; v <= last; v++) {
            s->setup.variant = v;
            results[v][round] = run_once(s, threads, run_ms);
        }
    }
    for (enum variant v = first; v <= last; v++) {
        const struct figures *r = results[v];
        size_t per_s = offsetof(struct figures, per_s);
        size_t cpu_ns = offsetof(struct figures, cpu_ns);
        printf("| %u | %s | %s | %u | %s | %.2f | %.2f | %.1f | %.1f | %.3f | %.4f |\n", s->setup.threads,
               s->setup.work ? "yes" : "no", skewed ? "zipf 0.99" : "random", s->setup.pipeline,
               VARIANT_NAMES[v], percentile(r, rounds, per_s, 50) / 1e6,
               percentile(r, rounds, per_s, 100) / 1e6,
               percentile(r, rounds, cpu_ns, 50), percentile(r, rounds, cpu_ns, 0),
               100 * percentile(r, rounds, offsetof(struct figures, spun_share), 50),
               100 * percentile(r, rounds, offsetof(struct figures, slept_share), 50));
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 5;
    int64_t run_ms = argc > 2 ? atoi(argv[2]) : 300;
    uint64_t keys = argc > 3 ? strtoull(argv[3], NULL, 10) : 500000;
    if (rounds == 0 || rounds > ROUNDS_MAX || run_ms <= 0 || keys < PARTITIONS) {
        fprintf(stderr, "lock-vs-queue [rounds] [milliseconds a run] [keys]\n");
        return 2;
    }
    struct shared *s = mem_alloc_aligned(64, sizeof(*s));
    memset(s, 0, sizeof(*s));
    fill_tables(s, keys);
    s->setup.ticks_per_ns = clock_ticks_per_us() / 1000;
    uint64_t turns_per_us = calibrate();
    s->setup.work_batch = turns_per_us * WORK_BATCH_NS / 1000;
    s->setup.work_request = turns_per_us * WORK_REQUEST_NS / 1000;
    struct thread *threads = mem_zalloc(sizeof(*threads) * THREADS_MAX);
    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        threads[i].shared = s;
        threads[i].index = i;
        threads[i].draws = mem_alloc(sizeof(uint64_t) * DRAWS);
    }
    printf("| threads | work | keys | pipeline | variant | M requests/s | best round "
           "| CPU ns a request | lowest | %% spun | %% slept |\n"
           "|--:|---|---|--:|---|--:|--:|--:|--:|--:|--:|\n");
    for (uint32_t skewed = 0; skewed < 2; skewed++) {
        for (uint32_t i = 0; i < THREADS_MAX; i++) {
            draw_requests(&threads[i], keys, skewed);
        }
        for (uint32_t pipeline = 1; pipeline <= PIPELINE_MAX; pipeline += PIPELINE_MAX - 1) {
            s->setup.pipeline = pipeline;
            s->setup.work = false;
            s->setup.threads = 1;
            compare(s, threads, NO_LOCK, LOCK, rounds, run_ms, skewed);
            s->setup.threads = 2;
            compare(s, threads, LOCK, QUEUE, rounds, run_ms, skewed);
            s->setup.work = true;
            compare(s, threads, LOCK, QUEUE, rounds, run_ms, skewed);
        }
    }
    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        mem_free(threads[i].draws);
    }
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        mem_free(s->partitions[i].slots);
    }
    mem_free(threads);
    mem_free(s);
    return 0;
}
