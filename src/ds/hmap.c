#include "ds/hmap.h"

#include "base/assert.h"
#include "base/mem.h"

enum { HMAP_BUCKETS_MIN = 8 };

void hmap_free(struct hmap *m) {
    mem_free(m->buckets);
    *m = (struct hmap){0};
}

static void grow(struct hmap *m) {
    size_t old_count = m->buckets ? m->mask + 1 : 0;
    size_t new_count = old_count ? old_count * 2 : HMAP_BUCKETS_MIN;
    struct hmap_node **buckets = mem_zalloc(new_count * sizeof *buckets);
    for (size_t i = 0; i < old_count; i++) {
        for (struct hmap_node *node = m->buckets[i], *next; node; node = next) {
            next = node->next;
            node->next = buckets[node->hash & (new_count - 1)];
            buckets[node->hash & (new_count - 1)] = node;
        }
    }
    mem_free(m->buckets);
    m->buckets = buckets;
    m->mask = new_count - 1;
}

void hmap_insert(struct hmap *m, struct hmap_node *node, uint64_t hash) {
    if (!m->buckets || m->count > m->mask) {
        grow(m);
    }
    node->hash = hash;
    node->next = m->buckets[hash & m->mask];
    m->buckets[hash & m->mask] = node;
    m->count++;
}

void hmap_remove(struct hmap *m, struct hmap_node *node) {
    ASSERT(m->count > 0);
    struct hmap_node **link = &m->buckets[node->hash & m->mask];
    while (*link != node) {
        ASSERT(*link);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    m->count--;
}

void hmap_visit(struct hmap *m, void (*fn)(struct hmap_node *node, void *arg), void *arg) {
    for (size_t i = 0; m->buckets && i <= m->mask; i++) {
        for (struct hmap_node *node = m->buckets[i], *next; node; node = next) {
            next = node->next;
            fn(node, arg);
        }
    }
}
