#ifndef FOREBAY_STORE_QUEUE_H
#define FOREBAY_STORE_QUEUE_H
/* Requests that wait for a worker: a line a mapping, oldest first. The store's lock guards it. */
#include <stdbool.h>
#include <stdint.h>
#include "store/store.h"

struct queue_line {
    uint32_t map_id;
    uint32_t count;
    struct store_request *head, *tail;
};

struct queue {
    struct queue_line *lines; /* only those that hold requests, in no order */
    uint32_t lines_count, lines_cap;
    uint64_t count; /* requests, all lines */
};

void queue_deinit(struct queue *q); /* must be empty */
void queue_push(struct queue *q, struct store_request *r);
/* How many requests of the mapping may be taken now, 0 = none. */
typedef uint32_t (*queue_take_fn)(void *ctx, const struct mapping *m);
/* Of those mappings that `take` lets be taken: requests of the one that has waited longest, in
 * order; NULL when there is none. */
struct store_request *queue_pop(struct queue *q, queue_take_fn take, void *ctx);
/* Is there one? */
bool queue_fits(const struct queue *q, queue_take_fn take, void *ctx);
/* All that were queued before `before_us`, in no order. */
struct store_request *queue_pop_older(struct queue *q, int64_t before_us);
/* When the oldest request was queued; INT64_MAX when empty. */
int64_t queue_oldest_us(const struct queue *q);
#endif
