#ifndef FOREBAY_SERVER_MEMORY_WATCH_H
#define FOREBAY_SERVER_MEMORY_WATCH_H
/* Keeps the keyspace informed of what can't be counted: resident memory, and how much of it the
 * allocator's slabs waste. The main thread's: asking the kernel and giving memory back to it may
 * take milliseconds, which no shard should spend. */
#include <stdint.h>
#include "engine/keyspace.h"

struct memory_watch {
    int64_t measure_us, judge_us; /* when it is time again; 0 at the start */
};

/* What is due at `now_us` of the monotonic clock. Returns when to be called again. */
int64_t memory_watch_run(struct memory_watch *w, struct keyspace *ks, int64_t now_us);
#endif
