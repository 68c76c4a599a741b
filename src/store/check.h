#ifndef FOREBAY_STORE_CHECK_H
#define FOREBAY_STORE_CHECK_H
/* store_check_mapping, carried out by a worker. Both under the store's lock. */
#include "store/store_internal.h"

struct check {
    struct check *next;
    struct mapping *map; /* a reference */
    bool done, given_up; /* the later of the two frees it */
    enum store_check result;
    char why[STORE_ERROR_CHARS_MAX];
};

/* The one that has waited longest; NULL when none does. To be finished. */
struct check *check_take(struct store *s);
void check_finish(struct store *s, struct check *c, enum store_check result, const char *why);
#endif
