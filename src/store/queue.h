#ifndef FOREBAY_STORE_QUEUE_H
#define FOREBAY_STORE_QUEUE_H
/* Requests that wait for a worker: a line a mapping, oldest first. The store's lock guards it. */
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
/* Up to `max` requests of the mapping that has waited longest, in order; NULL when empty. */
struct store_request *queue_pop(struct queue *q, uint32_t max);
/* All that were queued before `before_us`, in no order. */
struct store_request *queue_pop_older(struct queue *q, int64_t before_us);
/* When the oldest request was queued; INT64_MAX when empty. */
int64_t queue_oldest_us(const struct queue *q);
#endif
