#ifndef FOREBAY_BENCH_CLIENT_H
#define FOREBAY_BENCH_CLIENT_H
/* One thread of the load generator: a ring, its connections, its share of the load. The phases are
 * set by main, the results read by it after the thread has ended. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "histogram.h"
#include "options.h"
#include "replies.h"

enum client_phase { PHASE_WARMUP, PHASE_MEASURE, PHASE_STOP };

/* Shared by main and all clients. */
struct control {
    _Atomic int phase;         /* main sets it */
    _Atomic uint32_t measured; /* clients that reached their number of requests */
    _Atomic bool failed;       /* somebody can't go on: all stop */
    pthread_barrier_t loaded;  /* all keys are there, the connections stand; main waits too */
};

struct client_result {
    struct histogram latency;
    struct histogram lag; /* open loop: how late batches were sent */
    struct reply_counts counts;
    uint64_t replies; /* in the window */
    int64_t window_ns, cpu_ns;
    uint64_t unanswered; /* open loop: due in the window, no reply to the end */
    bool failed;
};

struct client {
    const struct options *options;
    struct control *control;
    uint32_t index;
    pthread_t thread;
    struct client_result result;
};

/* False when the thread can't be started. */
bool client_start(struct client *c, const struct options *o, struct control *control,
                  uint32_t index) __attribute__((warn_unused_result));
void client_join(struct client *c);
#endif
