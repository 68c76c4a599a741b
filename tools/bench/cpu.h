#ifndef FOREBAY_BENCH_CPU_H
#define FOREBAY_BENCH_CPU_H
/* Processor time and pinning. */
#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds all threads of `pid` ran so far, from schedstat (exact, where /proc/pid/stat counts
 * in ticks); threads that ended are not in it. -1 when it can't be read. */
int64_t cpu_of_process_ns(int pid);
int64_t cpu_of_thread_ns(void);
/* Binds the calling thread to `cpu`; false with errno set. */
bool cpu_pin(int cpu) __attribute__((warn_unused_result));
#endif
