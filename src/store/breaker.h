#ifndef FOREBAY_STORE_BREAKER_H
#define FOREBAY_STORE_BREAKER_H
/* Circuit breaker: after `errors` failures within `window_us` nothing passes for `open_us`; then
 * one caller passes as a probe, and its outcome decides. No thread of its own: the store's lock
 * guards it. */
#include <stdbool.h>
#include <stdint.h>

enum { BREAKER_ERRORS_MAX = 65536 };
#define BREAKER_OPEN_TEXT "the store's breaker is open"
enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING };

struct breaker {
    enum breaker_state state;
    uint32_t errors; /* 0 = never opens */
    int64_t window_us, open_us, open_until_us;
    int64_t *failures_us; /* ring of the last `errors` failures' times */
    uint32_t next, count;
};

void breaker_init(struct breaker *b, uint32_t errors, int64_t window_us, int64_t open_us);
void breaker_deinit(struct breaker *b);
/* May a load go to the database now? True from an open breaker makes the caller the probe. */
bool breaker_admit(struct breaker *b, int64_t now_us);
void breaker_succeeded(struct breaker *b);
/* A load was answered without the database. If it was the probe, the next one is. */
void breaker_untried(struct breaker *b);
/* True when this failure opened it. */
bool breaker_failed(struct breaker *b, int64_t now_us);
#endif
