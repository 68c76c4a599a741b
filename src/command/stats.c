#include "command/stats.h"

#include <string.h>

void stats_count_error(struct stats *s, const char *prefix) {
    stat_add(&s->error_replies, 1);
    for (int i = 0; i < STATS_ERROR_KINDS_MAX; i++) {
        struct error_stats *e = &s->errors[i];
        if (e->name[0] == 0) {
            strncpy(e->name, prefix, sizeof e->name - 1);
            /* Readers take the name once they see a count; it then stays, counters reset or not. */
            atomic_store_explicit(&e->count, 1, memory_order_release);
            return;
        }
        if (strncmp(e->name, prefix, sizeof e->name - 1) == 0) {
            stat_add(&e->count, 1);
            return;
        }
    }
    /* More kinds than we know of prefixes: counted in the total only. */
}
