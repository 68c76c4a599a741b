#ifndef FOREBAY_STORE_WORKER_CALL_H
#define FOREBAY_STORE_WORKER_CALL_H
/* A worker's calls of the database, which may block for long: its own thread, without the lock. */
#include "store/worker.h"

/* Answers the worker's batch: every outcome is set, to the failure when there was one. */
enum driver_status worker_call_load(struct worker *w, struct driver_error *error) MUST_USE;
/* OK: *out is a reference to the schema of the worker's mapping, a refused one perhaps. */
enum driver_status worker_call_check(struct worker *w, struct schema **out,
                                     struct driver_error *error) MUST_USE;
/* Closes the connection if there is one. */
void worker_call_close(struct worker *w);
#endif
