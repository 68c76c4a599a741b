/* The real engine under a trace; see engine_play.h. One thread plays all shards: they take turns,
 * as connections that are spread over them would; each evicts from all partitions. */
#include "engine_play.h"

#include <inttypes.h>

#include "base/mem.h"
#include "engine/keyspace.h"

enum {
    MAINTAIN_EVERY = 64, /* requests between two steps of a partition's maintenance */
    MAINTAIN_SLOTS = 64,
    SCAN_COUNT = 1024,
    EVICT_LIMIT = 64,    /* as a batch of the server has it */
    EVICT_VAIN_MAX = 64, /* calls in a row that found nothing, a shard */
};
#define START_MS 1700000000000ll

struct play {
    const struct trace *t;
    const struct engine_setup *setup;
    struct keyspace *ks;
    const char *value; /* zeros, as long as any value */
    uint64_t held, inserted;
    int64_t now_ms;
    uint32_t turn; /* of the shards */
    uint32_t maintained;
    uint32_t unit_bytes;
};

const char *engine_policy_name(unsigned policy) {
    return policy < EVICT_POLICIES_COUNT ? policy_of((enum evict_policy)policy)->name : NULL;
}

static uint64_t evicted_bytes(const struct keyspace *ks) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        sum += atomic_load_explicit(&ks->partitions[i]->stats.evicted_bytes,
                                    memory_order_relaxed);
    }
    return sum;
}

/* One object goes, chosen by the shard whose turn it is; the others are asked when it finds none. */
static bool evict_one(struct play *p) {
    uint32_t shards = p->setup->shards;
    for (uint32_t vain = 0; vain < EVICT_VAIN_MAX * shards; vain++) {
        uint32_t gone = keyspace_evict(p->ks, p->turn++ % shards, p->now_ms, 1);
        if (gone) {
            p->held = p->t->unit ? p->held - gone : p->inserted - evicted_bytes(p->ks);
            return true;
        }
    }
    return false;
}

static bool make_room(struct play *p, uint32_t size) {
    if (p->setup->maxmemory_bytes) {
        return keyspace_make_room(p->ks, NULL, p->turn++ % p->setup->shards, p->now_ms, EVICT_LIMIT);
    }
    if (size > p->setup->capacity) {
        return false;
    }
    while (p->held + size > p->setup->capacity) {
        if (!evict_one(p)) {
            return false;
        }
    }
    return true;
}

static int64_t expiry(const struct play *p) {
    bool wanted = policy_of(p->setup->policy)->volatile_only;
    int64_t ttl_ms = p->setup->ttl_ms ? p->setup->ttl_ms : wanted ? ENGINE_TTL_FAR_MS : 0;
    return ttl_ms ? p->now_ms + ttl_ms : EXPIRE_NEVER;
}

static void maintain(struct play *p) {
    struct partition *part = p->ks->partitions[p->maintained++ % p->ks->partitions_count];
    lock_take(&part->lock);
    part_maintain(part, p->now_ms, p->setup->ttl_ms ? MAINTAIN_SLOTS : 0);
    lock_release(&part->lock);
}

static void request(struct play *p, uint32_t i, struct counts *c) {
    struct slice bytes = trace_key(p->t, p->t->ids[i]);
    struct key key = keyspace_key(p->ks, bytes);
    struct partition *part = keyspace_partition(p->ks, key.hash);
    uint32_t size = trace_size(p->t, i);
    lock_take(&part->lock);
    bool hit = part_find(part, 0, &key, p->now_ms, FIND_TOUCH | FIND_COUNT) != NULL;
    lock_release(&part->lock);
    counts_add(c, size, hit);
    if (hit) {
        return;
    }
    if (!make_room(p, size)) {
        c->not_stored++;
        return;
    }
    size_t entry_bytes = p->t->unit ? p->unit_bytes : size;
    lock_take(&part->lock);
    part_set_string(part, 0, &key, slice_of(p->value, entry_bytes - bytes.len), expiry(p));
    lock_release(&part->lock);
    p->held += size;
    p->inserted += size;
}

static void run(struct play *p, struct counts *c) {
    for (uint32_t i = 0; i < p->t->requests_count; i++) {
        p->now_ms = START_MS + (int64_t)((uint64_t)i * 1000 / p->setup->rate);
        atomic_store_explicit(&p->ks->now_s, p->now_ms / 1000, memory_order_relaxed);
        request(p, i, c);
        if (i % MAINTAIN_EVERY == 0) {
            maintain(p);
        }
    }
}

struct census {
    bool unit;
    uint64_t keys, held;
};

static void count_entry(void *arg, struct partition *p, struct entry *e) {
    struct census *census = arg;
    census->keys++;
    census->held += census->unit ? 1 : entry_key(e).len + entry_string(e).len;
}

/* What is there, counted one by one. */
static struct census take_census(const struct play *p) {
    struct census census = {.unit = p->t->unit};
    uint64_t cursor = 0;
    do {
        cursor =
            keyspace_scan(p->ks, NULL, 0, cursor, SCAN_COUNT, p->now_ms, count_entry, &census);
    } while (cursor);
    return census;
}

static uint64_t expired(const struct keyspace *ks) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        sum += atomic_load_explicit(&ks->partitions[i]->stats.expired, memory_order_relaxed);
    }
    return sum;
}

bool engine_play(const struct trace *t, const struct engine_setup *setup,
                 struct engine_result *out, char *error) {
    ASSERT(setup->shards > 0 && setup->shards <= ENGINE_SHARDS_MAX && setup->rate > 0);
    struct play p = {.t = t, .setup = setup, .now_ms = START_MS};
    p.unit_bytes = MAX(setup->unit_bytes, t->key_bytes_max);
    struct column zeros = {NULL};
    p.value = column_reserve(&zeros, MAX(t->size_max, p.unit_bytes));
    int64_t before = mem_used_bytes();
    p.ks = keyspace_create(setup->shards, setup->seed, NULL);
    struct keyspace_params params = {.policy = setup->policy, .samples = setup->samples};
    if (setup->maxmemory_bytes) {
        params.maxmemory_bytes = (uint64_t)MAX(before, 0) + setup->maxmemory_bytes;
    }
    keyspace_set_params(p.ks, &params);
    *out = (struct engine_result){.held = 0};
    run(&p, &out->counts);
    uint64_t gone = expired(p.ks);
    struct census census = take_census(&p);
    ASSERT(census.held == p.held || gone || setup->maxmemory_bytes);
    out->keys = census.keys;
    out->held = census.held;
    out->used_bytes = (uint64_t)MAX(mem_used_bytes() - before, 0);
    keyspace_destroy(p.ks);
    column_free(&zeros);
    if (gone && !setup->maxmemory_bytes) {
        snprintf(error, TRACE_ERROR_BYTES,
                 "%s: %" PRIu64 " keys expired under way: give a longer --ttl or a higher --rate",
                 t->name, gone);
        return false;
    }
    return true;
}
