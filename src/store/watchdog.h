#ifndef FOREBAY_STORE_WATCHDOG_H
#define FOREBAY_STORE_WATCHDOG_H
/* The thread that keeps time: no request waits, and no call runs, longer than the timeout. */
#include "store/store_internal.h"

void watchdog_start(struct store *s);
/* Waits for its end: the store is stopping. */
void watchdog_join(struct store *s);
/* Something was queued or begun. Under the lock. */
void watchdog_wake(struct store *s);
#endif
