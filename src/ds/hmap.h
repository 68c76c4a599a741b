#ifndef FOREBAY_DS_HMAP_H
#define FOREBAY_DS_HMAP_H
/* Intrusive chained hash map: the object embeds a node and the caller brings hash and comparison.
 * For small auxiliary sets (watched keys, loads in flight, clients by id), not for the keyspace: it
 * doubles in one go. All zero is an empty map. */
#include <stddef.h>
#include <stdint.h>

struct hmap_node {
    struct hmap_node *next;
    uint64_t hash;
};

struct hmap {
    struct hmap_node **buckets;
    size_t count, mask; /* mask + 1 buckets; both 0 before the first insert */
};

void hmap_free(struct hmap *m); /* the table only, not the nodes */
void hmap_insert(struct hmap *m, struct hmap_node *node, uint64_t hash);
/* `node` must be in the map. */
void hmap_remove(struct hmap *m, struct hmap_node *node);
/* The first node with this hash, then the next one with the same hash; NULL at the end. */
static inline struct hmap_node *hmap_next_same(struct hmap_node *node, uint64_t hash) {
    while (node && node->hash != hash) {
        node = node->next;
    }
    return node;
}
static inline struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash) {
    return m->count ? hmap_next_same(m->buckets[hash & m->mask], hash) : NULL;
}
static inline struct hmap_node *hmap_next(struct hmap_node *node) {
    return hmap_next_same(node->next, node->hash);
}
#define HMAP_FOR_EACH_HASH(it, map, h)                                                             \
    for (struct hmap_node *it = hmap_first(map, h); it; it = hmap_next(it))
/* Visits all nodes; `fn` may remove and free the node it is given, nothing else. */
void hmap_visit(struct hmap *m, void (*fn)(struct hmap_node *node, void *arg), void *arg);
#endif
