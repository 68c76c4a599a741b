#include "base/clock.h"

#include <time.h>

static int64_t read_ns(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_mono_ns(void) {
    return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_mono_us(void) {
    return read_ns(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_us(void) {
    return read_ns(CLOCK_REALTIME) / 1000;
}

int64_t clock_wall_ms(void) {
    return read_ns(CLOCK_REALTIME) / 1000000;
}

double clock_ticks_per_us(void) {
    int64_t start_ns = clock_mono_ns(), end_ns;
    uint64_t start = clock_ticks(), end;
    do {
        end_ns = clock_mono_ns();
        end = clock_ticks();
    } while (end_ns - start_ns < 1000000);
    double per_us = (double)(end - start) * 1000.0 / (double)(end_ns - start_ns);
    return per_us > 0 ? per_us : 1.0;
}
