/* The breaker's three states: see breaker.h.
 *
 *     CLOSED --errors within window--> OPEN --open_us passed, one admitted--> PROBING
 *        ^------------------success---------------------------------------------|
 *                                    ^--failure (for open_us), or no call made---| */
#include "store/breaker.h"

#include "base/assert.h"
#include "base/mem.h"

void breaker_init(struct breaker *b, uint32_t errors, int64_t window_us, int64_t open_us) {
    ASSERT(errors <= BREAKER_ERRORS_MAX);
    *b = (struct breaker){.errors = errors, .window_us = window_us, .open_us = open_us};
    b->failures_us = mem_zalloc(errors * sizeof *b->failures_us);
}

void breaker_deinit(struct breaker *b) {
    mem_free(b->failures_us);
    *b = (struct breaker){0};
}

bool breaker_admit(struct breaker *b, int64_t now_us) {
    if (b->state == BREAKER_OPEN && now_us >= b->open_until_us) {
        b->state = BREAKER_PROBING;
        return true;
    }
    return b->state == BREAKER_CLOSED;
}

void breaker_succeeded(struct breaker *b) {
    /* A call that began before it opened says nothing about now: only the probe closes it. */
    if (b->state == BREAKER_PROBING) {
        b->state = BREAKER_CLOSED;
        b->count = 0;
    }
}

void breaker_untried(struct breaker *b) {
    if (b->state == BREAKER_PROBING) {
        b->state = BREAKER_OPEN; /* its time is up already */
    }
}

bool breaker_failed(struct breaker *b, int64_t now_us) {
    if (b->errors == 0 || b->state == BREAKER_OPEN) {
        return false;
    }
    if (b->state == BREAKER_CLOSED) {
        b->failures_us[b->next] = now_us;
        b->next = (b->next + 1) % b->errors;
        b->count += b->count < b->errors;
        /* The slot to be overwritten next is the oldest of the last `errors`. */
        if (b->count < b->errors || now_us - b->failures_us[b->next] > b->window_us) {
            return false;
        }
    }
    b->state = BREAKER_OPEN;
    b->open_until_us = now_us + b->open_us;
    b->count = 0;
    return true;
}
