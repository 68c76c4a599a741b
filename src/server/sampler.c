/* See sampler.h. Relaxed atomics: readers want a figure, not an order. */
#include "server/sampler.h"

static uint64_t average(const uint64_t kept[SAMPLER_KEPT]) {
    uint64_t sum = 0;
    for (int i = 0; i < SAMPLER_KEPT; i++) {
        sum += kept[i];
    }
    return sum / SAMPLER_KEPT;
}

void sampler_add(struct sampler *s, int64_t now_us, const uint64_t totals[SAMPLER_METRICS]) {
    int64_t span_us = now_us - s->last_us;
    if (s->last_us != 0 && span_us > 0) {
        for (int m = 0; m < SAMPLER_METRICS; m++) {
            uint64_t grown = totals[m] > s->last[m] ? totals[m] - s->last[m] : 0;
            s->kept[m][s->next] = grown * 1000000 / (uint64_t)span_us;
            atomic_store_explicit(&s->rate[m], average(s->kept[m]), memory_order_relaxed);
        }
        s->next = (s->next + 1) % SAMPLER_KEPT;
    }
    s->last_us = now_us;
    for (int m = 0; m < SAMPLER_METRICS; m++) {
        s->last[m] = totals[m];
    }
}

uint64_t sampler_rate(const struct sampler *s, enum sampler_metric metric) {
    return atomic_load_explicit((_Atomic uint64_t *)&s->rate[metric], memory_order_relaxed);
}

uint64_t sampler_peak(struct sampler *s, uint64_t used_bytes) {
    uint64_t peak = atomic_load_explicit(&s->peak_bytes, memory_order_relaxed);
    while (used_bytes > peak &&
           !atomic_compare_exchange_weak_explicit(&s->peak_bytes, &peak, used_bytes,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    return used_bytes > peak ? used_bytes : peak;
}
