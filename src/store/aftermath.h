#ifndef FOREBAY_STORE_AFTERMATH_H
#define FOREBAY_STORE_AFTERMATH_H
/* What came of requests and of calls: decided and counted under the store's lock, told when it is
 * let go. One a stretch under the lock, on the stack of who holds it. */
#include "store/store_internal.h"

struct aftermath {
    struct store_request *done; /* to be completed */
    /* To be said in the log; "" and false when there is nothing. */
    char lost[STORE_ERROR_CHARS_MAX];   /* why the database is not well any more */
    char opened[STORE_ERROR_CHARS_MAX]; /* why the breaker opened */
    bool answers;                       /* it is well again */
};

/* Under the lock. */
/* `r` has its status and value. */
void aftermath_add(struct aftermath *a, struct store *s, struct store_request *r);
/* All of the list ends alike. */
void aftermath_fail(struct aftermath *a, struct store *s, struct store_request *list,
                    enum store_status status, const char *error);
/* A call of the database failed, or a sweep found requests that no worker came to. When that opens
 * the breaker, all that is queued fails too. */
void aftermath_call_failed(struct aftermath *a, struct store *s, const char *text);
/* The database answered. */
void aftermath_call_succeeded(struct aftermath *a, struct store *s);
void aftermath_note_error(struct store *s, const char *text);

/* Is there nothing to tell? */
bool aftermath_is_empty(const struct aftermath *a);

/* Without the lock: completes, then writes to the log, which may block. */
void aftermath_tell(struct aftermath *a, struct store *s);
#endif
