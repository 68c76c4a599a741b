/* Requests: one block with the placeholders behind it. The owner's count ends with
 * store_request_destroy, a worker's with its batch. Atomics: the count. */
#include "store/request.h"

#include <stdatomic.h>
#include "base/mem.h"

struct store_request *store_request_create(struct mapping *map, const struct slice *values,
                                           void *owner) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < map->key_columns_count; i++) {
        bytes += values[i].len;
    }
    struct store_request *r = mem_alloc(sizeof *r + bytes);
    memset(r, 0, sizeof *r);
    atomic_init(&r->refs, 1);
    r->map = mapping_ref(map);
    r->owner = owner;
    char *to = (char *)(r + 1);
    for (uint32_t i = 0; i < map->key_columns_count; i++) {
        memcpy(to, values[i].ptr, values[i].len);
        r->values[i] = slice_of(to, values[i].len);
        to += values[i].len;
    }
    return r;
}

void request_ref(struct store_request *r) {
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
}

void request_unref(struct store_request *r) {
    if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(r);
    }
}

uint64_t store_request_drop(struct store_request *r) {
    uint64_t bytes = r->held_bytes;
    mem_free_handed(r->memory, r->held_bytes);
    r->memory = NULL;
    r->value = (struct store_value){0};
    r->held_bytes = 0;
    return bytes;
}

void store_request_destroy(struct store_request *r) {
    if (r) {
        mem_free(r->memory);
        mapping_unref(r->map);
        request_unref(r);
    }
}
