/* Checks of mappings that wait for a worker. The caller waits for the result and may give up first.
 *
 * 1. A check is freed by the later of its caller and who finishes it.
 *
 * Limit: CHECKS_MAX. */
#include "store/check.h"

#include <stdio.h>
#include "base/clock.h"
#include "base/mem.h"

enum { CHECKS_MAX = 1024 };

static void destroy(struct check *c) {
    mapping_unref(c->map);
    mem_free(c);
}

struct check *check_take(struct store *s) {
    struct check *c = s->checks;
    if (c) {
        s->checks = c->next;
        s->checks_count--;
    }
    return c;
}

void check_finish(struct store *s, struct check *c, enum store_check result, const char *why) {
    if (c->given_up) {
        destroy(c);
        return;
    }
    c->result = result;
    snprintf(c->why, sizeof c->why, "%s", why);
    c->done = true;
    pthread_cond_broadcast(&s->checked);
}

static void append(struct store *s, struct check *c) {
    struct check **end = &s->checks;
    while (*end) {
        end = &(*end)->next;
    }
    *end = c;
    s->checks_count++;
}

enum store_check store_check_mapping(struct store *s, struct mapping *m, char *why,
                                     size_t why_len) {
    int64_t end_us = clock_mono_us() + s->timeout_us;
    store_lock(s);
    if (s->checks_count == CHECKS_MAX) {
        store_unlock(s);
        snprintf(why, why_len, "too many checks wait");
        return STORE_CHECK_UNREACHABLE;
    }
    struct check *c = mem_zalloc(sizeof *c);
    c->map = mapping_ref(m);
    append(s, c);
    pthread_cond_signal(&s->work);
    bool in_time = true;
    while (!c->done && in_time) {
        in_time = store_wait_until(s, &s->checked, end_us);
    }
    c->given_up = !c->done;
    bool done = c->done;
    store_unlock(s);
    if (!done) {
        snprintf(why, why_len, "%s", STORE_TIMEOUT_TEXT);
        return STORE_CHECK_UNREACHABLE;
    }
    enum store_check result = c->result;
    snprintf(why, why_len, "%s", c->why);
    destroy(c);
    return result;
}
