#ifndef FOREBAY_DS_LIST_H
#define FOREBAY_DS_LIST_H
/* Intrusive doubly linked ring: the head is a node of its own; an unlinked node points to
 * itself. */
#include <stdbool.h>
#include <stddef.h>
#include "base/assert.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l) {
    l->prev = l->next = l;
}
static inline bool list_empty(const struct list *l) {
    return l->next == l;
}
/* Puts `node` (unlinked) before `at`: at the end of the list when `at` is its head. */
static inline void list_insert_before(struct list *at, struct list *node) {
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}
static inline void list_push_back(struct list *head, struct list *node) {
    list_insert_before(head, node);
}
static inline void list_push_front(struct list *head, struct list *node) {
    list_insert_before(head->next, node);
}
/* Harmless on an unlinked node. */
static inline void list_remove(struct list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
/* Unlinks and returns the first node, NULL when empty. */
static inline struct list *list_pop_front(struct list *head) {
    struct list *node = head->next;
    if (node == head) {
        return NULL;
    }
    list_remove(node);
    return node;
}
/* Moves everything from `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from) {
    if (!list_empty(from)) {
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        list_init(from);
    }
}
/* `next_` is read before the body, so the body may unlink `it`. */
#define LIST_FOR_EACH(it, head)                                                                    \
    for (struct list *it = (head)->next, *it##_next_ = it->next; it != (head);                     \
         it = it##_next_, it##_next_ = it->next)
#endif
