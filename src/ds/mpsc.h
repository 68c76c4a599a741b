#ifndef FOREBAY_DS_MPSC_H
#define FOREBAY_DS_MPSC_H
/* Intrusive queue, many producers and one consumer, no lock (D. Vyukov's non-intrusive-stub variant
 * published on 1024cores.net). A push is one exchange; a pop by the only consumer has no
 * read-modify-write but when the queue runs empty. Order is that of the pushes' exchanges. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct mpsc_node {
    _Atomic(struct mpsc_node *) next;
};

struct mpsc {
    _Alignas(64) _Atomic(struct mpsc_node *) head; /* last pushed */
    _Alignas(64) struct mpsc_node *tail;           /* next to pop; the consumer's */
    struct mpsc_node stub;
};

static inline void mpsc_init(struct mpsc *q) {
    atomic_init(&q->stub.next, NULL);
    atomic_init(&q->head, &q->stub);
    q->tail = &q->stub;
}

/* Any thread. The queue owns `node` until it is popped. The exchange is sequentially consistent so
 * that a producer which then finds the consumer's "asleep" flag unset is seen by the consumer's
 * mpsc_empty after it has set the flag. */
static inline void mpsc_push(struct mpsc *q, struct mpsc_node *node) {
    atomic_store_explicit(&node->next, NULL, memory_order_relaxed);
    struct mpsc_node *prev = atomic_exchange_explicit(&q->head, node, memory_order_seq_cst);
    atomic_store_explicit(&prev->next, node, memory_order_release);
}

/* The consumer. NULL when empty, or when a push is half done (it will be seen at the next pop). */
static inline struct mpsc_node *mpsc_pop(struct mpsc *q) {
    struct mpsc_node *tail = q->tail;
    struct mpsc_node *next = atomic_load_explicit(&tail->next, memory_order_acquire);
    if (tail == &q->stub) {
        if (!next) {
            return NULL;
        }
        q->tail = tail = next;
        next = atomic_load_explicit(&tail->next, memory_order_acquire);
    }
    if (next) {
        q->tail = next;
        return tail;
    }
    if (tail != atomic_load_explicit(&q->head, memory_order_acquire)) {
        return NULL;
    }
    mpsc_push(q, &q->stub);
    next = atomic_load_explicit(&tail->next, memory_order_acquire);
    if (next) {
        q->tail = next;
        return tail;
    }
    return NULL;
}

/* The consumer: true when nothing was pushed that is not popped, half-done pushes included. */
static inline bool mpsc_empty(struct mpsc *q) {
    return q->tail == &q->stub && atomic_load_explicit(&q->head, memory_order_seq_cst) == &q->stub;
}
#endif
