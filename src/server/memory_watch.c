/* See memory_watch.h. Memory near its limit is measured often: between two measurements it may grow
 * by what only the kernel knows of. */
#include "server/memory_watch.h"

#include "base/mem.h"

enum {
    MEASURE_US = 100 * 1000,
    MEASURE_NEAR_US = 5 * 1000,
    JUDGE_US = 1000 * 1000,
};

int64_t memory_watch_run(struct memory_watch *w, struct keyspace *ks, int64_t now_us) {
    if (now_us >= w->measure_us) {
        w->measure_us = now_us + (keyspace_measure(ks) ? MEASURE_NEAR_US : MEASURE_US);
    }
    if (now_us >= w->judge_us) {
        struct mem_stats stats;
        mem_stats_read(&stats);
        keyspace_defrag_judge(ks, now_us / 1000, &stats);
        block_pool_tidy(ks->blocks);
        w->judge_us = now_us + JUDGE_US;
    }
    return MIN(w->measure_us, w->judge_us);
}
