/* Outcomes: figures, the breaker, what is said in the log. Any thread of the store, and
 * store_load's callers.
 *
 * 1. A request that was added is counted once, and completed by aftermath_tell only.
 * 2. Nobody waits for the log but the thread that writes to it. So two threads' lines may stand in
 *    the other order: the figures are what holds. */
#include "store/aftermath.h"

#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"

static void count_outcome(struct store *s, enum store_status status) {
    switch (status) {
    case STORE_ROW:
        s->stats.rows++;
        return;
    case STORE_ABSENT:
        s->stats.absent++;
        return;
    case STORE_TIMEOUT:
        s->stats.timeouts++;
        return;
    case STORE_DOWN:
    case STORE_BUSY:
    case STORE_REJECT:
    case STORE_SCHEMA:
        s->stats.errors++;
        return;
    }
    UNREACHABLE();
}

void aftermath_add(struct aftermath *a, struct store *s, struct store_request *r) {
    count_outcome(s, r->status);
    r->next = a->done;
    a->done = r;
}

void aftermath_fail(struct aftermath *a, struct store *s, struct store_request *list,
                    enum store_status status, const char *error) {
    for (struct store_request *r = list, *next; r; r = next) {
        next = r->next;
        r->status = status;
        snprintf(r->error, sizeof r->error, "%s", error);
        aftermath_add(a, s, r);
    }
}

void aftermath_note_error(struct store *s, const char *text) {
    snprintf(s->stats.last_error, sizeof s->stats.last_error, "%s", text);
}

void aftermath_call_failed(struct aftermath *a, struct store *s, const char *text) {
    aftermath_note_error(s, text);
    if (s->stats.health != STORE_HEALTH_DOWN) {
        s->stats.health = STORE_HEALTH_DOWN;
        snprintf(a->lost, sizeof a->lost, "%s", text);
    }
    if (breaker_failed(&s->breaker, clock_mono_us())) {
        s->stats.breaker_opened++;
        snprintf(a->opened, sizeof a->opened, "%s", text);
        aftermath_fail(a, s, queue_pop_older(&s->queue, INT64_MAX), STORE_DOWN, BREAKER_OPEN_TEXT);
    }
}

void aftermath_call_succeeded(struct aftermath *a, struct store *s) {
    a->answers = s->stats.health == STORE_HEALTH_DOWN;
    s->stats.health = STORE_HEALTH_UP;
    breaker_succeeded(&s->breaker);
}

bool aftermath_is_empty(const struct aftermath *a) {
    return !a->done && !a->lost[0] && !a->opened[0] && !a->answers;
}

void aftermath_tell(struct aftermath *a, struct store *s) {
    if (a->done) {
        s->complete(s->complete_ctx, a->done);
    }
    if (a->lost[0]) {
        log_warning("Store: %s", a->lost);
    }
    if (a->opened[0]) {
        log_warning("Store: breaker open for %lld ms after: %s",
                    (long long)s->params.breaker_open_ms, a->opened);
    }
    if (a->answers) {
        log_notice("Store: %s database answers", s->driver->name);
    }
}
