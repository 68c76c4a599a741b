#ifndef FOREBAY_TESTS_ENGINE_LIMITED_H
#define FOREBAY_TESTS_ENGINE_LIMITED_H
/* A keyspace with a memory limit: filled through make_room, and how much of the limit it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/mem.h"
#include "engine/keyspace.h"

enum {
    MB = 1024 * 1024,
    BUDGET = 24 * MB,
    LARGE_BUDGET = 64 * MB, /* where the kernel's pages and the allocator's are looked at */
    VALUE_MAX = 64 * 1024,
    TIMES_MAX = 100 * 1000
};

static inline void set_bytes(struct keyspace *ks, unsigned db, unsigned n, size_t len) {
    static const char bytes[VALUE_MAX];
    char name[256];
    int name_len = snprintf(name, sizeof name, "key:%u", n);
    struct key key = keyspace_key(ks, slice_of(name, (size_t)name_len));
    struct partition *p = keyspace_partition(ks, key.hash);
    lock_take(&p->lock);
    part_set_string(p, db, &key, slice_of(bytes, len), EXPIRE_NEVER);
    lock_release(&p->lock);
}

/* `budget` beside what the process uses already. */
static inline struct keyspace *limited_shards(uint32_t shards, uint64_t budget,
                                              enum evict_policy policy) {
    struct keyspace *ks = keyspace_create(shards, 5, NULL);
    struct keyspace_params params = {.policy = policy,
                                     .maxmemory_bytes = budget + (uint64_t)mem_used_bytes()};
    keyspace_set_params(ks, &params);
    return ks;
}

static inline struct keyspace *limited_to(uint64_t budget, enum evict_policy policy) {
    return limited_shards(1, budget, policy);
}

/* As the engine counts it. */
static inline double resident_share(const struct keyspace *ks) {
    int64_t counted;
    uint64_t used = (uint64_t)mem_used_and_counted(&counted);
    uint64_t known = used - (uint64_t)counted + block_pool_used_bytes(ks->blocks);
    return (double)(known + ks->overhead_bytes) / (double)ks->maxmemory_bytes;
}

static inline double used_share(const struct keyspace *ks) {
    return (double)mem_used_bytes() / (double)ks->maxmemory_bytes;
}

/* As the kernel does. */
static inline double kernels_share(const struct keyspace *ks) {
    return (double)mem_resident_bytes() / (double)ks->maxmemory_bytes;
}

static inline void fill(struct keyspace *ks, unsigned from, unsigned count, size_t bytes) {
    for (unsigned n = from; n < from + count; n++) {
        assert_true(keyspace_make_room(ks, NULL, 0, 1, 1));
        set_bytes(ks, 0, n, bytes);
    }
}
#endif
