#ifndef FOREBAY_BASE_CLOCK_H
#define FOREBAY_BASE_CLOCK_H
/* Time. A shard reads the clocks once a loop and hands `now` down; nothing below it asks. */
#include <stdint.h>

/* Microseconds / nanoseconds since an arbitrary point; never goes back. */
int64_t clock_mono_us(void);
int64_t clock_mono_ns(void);
/* Milliseconds / microseconds since 1970, as expiry times are stored. */
int64_t clock_wall_ms(void);
int64_t clock_wall_us(void);

/* A cheap tick counter for statistics only (the CPU's where it is constant). */
static inline uint64_t clock_ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return (uint64_t)clock_mono_ns();
#endif
}
/* Ticks a microsecond, measured for about a millisecond; call once and keep it. */
double clock_ticks_per_us(void);
#endif
