/* Over all partitions: SCAN, counts, random keys, SWAPDB, and eviction by each policy. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "ds/buf.h"
#include "engine/keyspace.h"

enum { KEYS = 8000 };

struct text {
    char bytes[16];
    struct key key;
};

static struct partition *lock_key(struct keyspace *ks, struct text *t, unsigned n) {
    int len = snprintf(t->bytes, sizeof t->bytes, "key:%u", n);
    t->key = keyspace_key(ks, slice_of(t->bytes, (size_t)len));
    struct partition *p = keyspace_partition(ks, t->key.hash);
    lock_take(&p->lock);
    return p;
}

static void set(struct keyspace *ks, unsigned db, unsigned n, int64_t expire_ms) {
    struct text t;
    struct partition *p = lock_key(ks, &t, n);
    part_set_string(p, db, &t.key, SLICE("value of a length that counts in memory"), expire_ms);
    lock_release(&p->lock);
}

static bool drop(struct keyspace *ks, unsigned db, unsigned n) {
    struct text t;
    struct partition *p = lock_key(ks, &t, n);
    bool done = part_delete(p, db, &t.key, 0);
    lock_release(&p->lock);
    return done;
}

static bool there(struct keyspace *ks, unsigned db, unsigned n, unsigned flags) {
    struct text t;
    struct partition *p = lock_key(ks, &t, n);
    bool found = part_find(p, db, &t.key, 0, flags) != NULL;
    lock_release(&p->lock);
    return found;
}

static void mark(void *arg, struct partition *p, struct entry *e) {
    uint8_t *seen = arg;
    struct slice key = entry_key(e);
    char bytes[16] = {0};
    memcpy(bytes, key.ptr, MIN(key.len, 15u));
    unsigned n = (unsigned)atoi(bytes + 4);
    ASSERT(p->lock.held && n < 2 * KEYS);
    seen[n] += seen[n] < UINT8_MAX;
}

static void test_create(void **state) {
    const struct {
        uint32_t shards, partitions;
    } cases[] = {{1, 8}, {2, 16}, {3, 32}, {16, 128}, {64, 512}, {100, 512}};
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        struct keyspace *ks = keyspace_create(cases[i].shards, 0, NULL);
        assert_int_equal(ks->partitions_count, cases[i].partitions);
        assert_int_equal(1u << ks->partition_bits, cases[i].partitions);
        assert_int_equal(ks->locking, cases[i].shards > 1);
        assert_true(ks->seed != 0);
        for (uint32_t p = 0; p < ks->partitions_count; p++) {
            assert_int_equal(ks->partitions[p]->owner, p % cases[i].shards);
            assert_int_equal(ks->partitions[p]->index, p);
        }
        keyspace_destroy(ks);
    }
    keyspace_destroy(NULL);
}

static void test_scan(void **state) {
    for (uint32_t shards = 1; shards <= 4; shards += 3) {
        struct keyspace *ks = keyspace_create(shards, 5, NULL);
        uint8_t seen[2 * KEYS] = {0};
        assert_int_equal(keyspace_scan(ks, NULL, 0, 0, 10, 1, mark, seen), 0);
        for (unsigned n = 0; n < KEYS; n++) {
            set(ks, 0, n, n % 5 ? EXPIRE_NEVER : 100);
        }
        uint64_t cursor = 0, calls = 0;
        do {
            cursor = keyspace_scan(ks, NULL, 0, cursor, 10, 50, mark, seen);
            calls++;
        } while (cursor);
        assert_in_range(calls, KEYS / 40, KEYS / 8);
        for (unsigned n = 0; n < KEYS; n++) {
            assert_int_equal(seen[n], 1);
        }
        memset(seen, 0, sizeof seen);
        unsigned next = KEYS;
        do { /* keys come, go and expire meanwhile */
            cursor = keyspace_scan(ks, NULL, 0, cursor, 10, 100, mark, seen);
            for (unsigned i = 0; i < 12 && next < 2 * KEYS; i++, next++) {
                set(ks, 0, next, EXPIRE_NEVER);
                drop(ks, 0, next - KEYS / 2);
            }
        } while (cursor);
        for (unsigned n = 0; n < KEYS / 2; n++) {
            assert_int_equal(seen[n] > 0, n % 5 != 0);
        }
        struct rng rng = {1};
        for (unsigned i = 0; i < 1000; i++) { /* made-up cursors */
            keyspace_scan(ks, NULL, 0, i ? rng_next(&rng) : UINT64_MAX, 10, 1, mark, seen);
        }
        keyspace_destroy(ks);
    }
}

static void test_count_swap_random(void **state) {
    struct keyspace *ks = keyspace_create(2, 5, NULL);
    struct rng rng = {1};
    struct buf out = {0};
    uint64_t keys, with_expiry;
    assert_false(keyspace_random_key(ks, NULL, 0, &rng, 1, &out));
    for (unsigned n = 0; n < 100; n++) {
        set(ks, 0, n, n < 40 ? 1000 : EXPIRE_NEVER);
    }
    set(ks, 1, 7, 50);
    keyspace_count(ks, NULL, 0, &keys, &with_expiry);
    assert_int_equal(keys, 100);
    assert_int_equal(with_expiry, 40);
    uint8_t seen[100] = {0};
    for (unsigned i = 0; i < 2000; i++) {
        out.len = 0;
        assert_true(keyspace_random_key(ks, NULL, 0, &rng, 1000, &out));
        buf_append_char(&out, '\0');
        unsigned n = (unsigned)atoi(out.ptr + 4);
        assert_in_range(n, 40, 99); /* the others have expired */
        seen[n] = 1;
    }
    for (unsigned n = 40; n < 100; n++) {
        assert_int_equal(seen[n], 1);
    }
    assert_false(keyspace_random_key(ks, NULL, 1, &rng, 50, &out));
    keyspace_count(ks, NULL, 1, &keys, &with_expiry);
    assert_int_equal(keys, 0); /* what is met and has expired goes */
    set(ks, 1, 7, 50);
    struct lockset all;
    lockset_clear(&all);
    lockset_add_all(&all, ks);
    lockset_lock(&all, ks);
    keyspace_swap(ks, 0, 1);
    keyspace_swap(ks, 2, 2);
    keyspace_count(ks, &all, 0, &keys, &with_expiry); /* with the locks held */
    assert_int_equal(keys, 1);
    assert_int_equal(with_expiry, 1);
    uint8_t marks[2 * KEYS] = {0};
    assert_int_equal(keyspace_scan(ks, &all, 0, 0, 100, 1, mark, marks), 0);
    assert_int_equal(marks[7], 1);
    lockset_unlock(&all, ks);
    keyspace_count(ks, NULL, 1, &keys, &with_expiry);
    assert_int_equal(keys, 60);
    for (unsigned n = 0; n < 200; n++) {
        struct key key = keyspace_key(ks, slice_of(&n, sizeof n));
        keyspace_prefetch_bucket(ks, 0, key.hash);
        keyspace_prefetch_entry(ks, n % DATABASES_MAX, key.hash);
        keyspace_prefetch_value(ks, n % DATABASES_MAX, key.hash);
    }
    buf_free(&out);
    keyspace_destroy(ks);
}

/* Fills with KEYS keys (those with odd numbers have a TTL, ascending), of which the first eighth is
 * used much and late; then evicts half of what may go. */
struct went {
    unsigned hot, cold, with_ttl, without, early, late;
};

static struct went run_policy(enum evict_policy policy) {
    struct keyspace *ks = keyspace_create(1, 5, NULL);
    keyspace_set_params(ks, &(struct keyspace_params){.policy = policy, .samples = 10});
    ks->now_s = 100000;
    for (unsigned n = 0; n < KEYS; n++) {
        ks->now_s = 100000 + n * 2000 / KEYS;
        set(ks, 0, n, n % 2 ? 1000000 + n : EXPIRE_NEVER);
    }
    ks->now_s = 102100;
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned n = 0; n < KEYS / 8; n++) {
            there(ks, 0, n, FIND_TOUCH);
        }
    }
    unsigned wanted = policy >= EVICT_VOLATILE_LRU ? KEYS / 4 : KEYS / 2;
    for (unsigned i = 0; i < wanted; i++) {
        assert_int_equal(keyspace_evict(ks, 0, 0, 1), policy != EVICT_NONE);
    }
    struct went sum = {0};
    for (unsigned n = 0; n < KEYS; n++) {
        if (!there(ks, 0, n, 0)) {
            n < KEYS / 8 ? sum.hot++ : sum.cold++;
            n % 2 ? sum.with_ttl++ : sum.without++;
            n < KEYS / 2 ? sum.early++ : sum.late++;
        }
    }
    uint64_t evicted = 0;
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        evicted += ks->partitions[i]->stats.evicted;
        table_check(ks->partitions[i]->db[0]);
    }
    assert_int_equal(evicted, policy == EVICT_NONE ? 0 : wanted);
    assert_int_equal(sum.hot + sum.cold, evicted);
    keyspace_destroy(ks);
    return sum;
}

static void test_policies(void **state) {
    for (enum evict_policy policy = EVICT_NONE; policy < EVICT_POLICIES_COUNT; policy++) {
        struct went sum = run_policy(policy);
        unsigned all = sum.hot + sum.cold;
        switch (policy) {
        case EVICT_NONE:
            assert_int_equal(all, 0);
            break;
        case EVICT_ALL_LRU:
        case EVICT_VOLATILE_LRU:
            assert_true(sum.hot < all / 50);
            assert_true(sum.early - sum.hot > sum.late); /* older ones first, by and large */
            break;
        case EVICT_ALL_LFU:
        case EVICT_VOLATILE_LFU:
            assert_true(sum.hot < all / 50);
            break;
        case EVICT_ALL_RANDOM:
        case EVICT_VOLATILE_RANDOM:
            assert_in_range(sum.hot, all / 12, all / 6);
            break;
        case EVICT_VOLATILE_TTL:
            assert_true(sum.early > all * 8 / 10);
            break;
        default:
            fail();
        }
        if (policy >= EVICT_VOLATILE_LRU) {
            assert_int_equal(sum.without, 0);
        } else if (policy != EVICT_NONE) {
            assert_in_range(sum.with_ttl, all * 4 / 10, all * 6 / 10);
        }
    }
}

static void test_evict_expired_first(void **state) {
    struct keyspace *ks = keyspace_create(1, 5, NULL);
    keyspace_set_params(ks, &(struct keyspace_params){.policy = EVICT_ALL_LRU, .samples = 64});
    for (unsigned n = 0; n < 80; n++) {
        set(ks, 0, n, n < 8 ? 100 : EXPIRE_NEVER);
    }
    uint64_t keys, with_expiry, evicted = 0;
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        struct partition *p = ks->partitions[i];
        struct evictor pool = {.policy = EVICT_ALL_LRU};
        lock_take(&p->lock);
        while (p->db[0] && table_count_volatile(p->db[0])) {
            assert_true(part_sample(p, &pool, 100));
        }
        assert_false(part_sample(p, &pool, 100));
        lock_release(&p->lock);
    }
    keyspace_count(ks, NULL, 0, &keys, &with_expiry);
    assert_int_equal(keys, 72);
    assert_int_equal(with_expiry, 0);
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        evicted += ks->partitions[i]->stats.evicted;
    }
    assert_int_equal(evicted, 0);
    keyspace_destroy(ks);
}

static void test_evict_whatever_the_limit(void **state) {
    struct keyspace *ks = keyspace_create(2, 5, NULL);
    for (unsigned n = 0; n < KEYS; n++) {
        set(ks, 0, n, EXPIRE_NEVER);
    }
    assert_int_equal(keyspace_evict(ks, 0, 1, 7), 0); /* noeviction */
    keyspace_set_params(ks, &(struct keyspace_params){.policy = EVICT_ALL_LRU});
    assert_int_equal(keyspace_evict(ks, 0, 1, 7), 7);
    uint64_t evicted = 0, bytes = 0, left = 0;
    const size_t value = strlen("value of a length that counts in memory");
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        const struct partition *p = ks->partitions[i];
        evicted += p->stats.evicted;
        bytes += p->stats.evicted_bytes;
        left += table_count(p->db[0]);
    }
    assert_int_equal(evicted, 7);
    assert_in_range(bytes, 7 * (strlen("key:0") + value), 7 * (strlen("key:7999") + value));
    assert_int_equal(left, KEYS - 7);
    uint32_t rest = keyspace_evict(ks, 0, 1, UINT32_MAX) + keyspace_evict(ks, 1, 1, KEYS);
    assert_int_equal(rest, KEYS - 7);
    assert_int_equal(keyspace_evict(ks, 1, 1, 1), 0);
    keyspace_destroy(ks);
}

static uint64_t keys_of(struct keyspace *ks) {
    uint64_t keys, with_expiry;
    keyspace_count(ks, NULL, 0, &keys, &with_expiry);
    return keys;
}

/* A cache of `room` keys is asked for key n: true when it was there. */
static bool ask(struct keyspace *ks, unsigned n, unsigned room) {
    bool hit = there(ks, 0, n, FIND_TOUCH);
    if (!hit) {
        set(ks, 0, n, n % 2 ? 1000000 : EXPIRE_NEVER);
        while (keys_of(ks) > room) {
            assert_int_equal(keyspace_evict(ks, 0, 0, 1), 1);
        }
        assert_true(there(ks, 0, n, 0) || room < 16); /* what has just come is not what goes */
    }
    return hit;
}

/* Among dead entries a few live ones are found by bounded work, which the dead ones met make less. */
static void test_random_among_the_dead(void **state) {
    struct keyspace *ks = keyspace_create(2, 5, NULL);
    struct rng rng = {1};
    struct buf out = {0};
    for (unsigned n = 0; n < KEYS; n++) {
        set(ks, 0, n, 10);
    }
    assert_false(keyspace_random_key(ks, NULL, 0, &rng, 10, &out));
    assert_in_range(keys_of(ks), KEYS - 64, KEYS - 32);
    for (unsigned n = KEYS; n < KEYS + 100; n++) {
        set(ks, 0, n, EXPIRE_NEVER);
    }
    unsigned found = 0;
    for (unsigned i = 0; i < 200; i++) {
        found += keyspace_random_key(ks, NULL, 0, &rng, 10, &out);
    }
    assert_int_equal(found, 200);
    assert_in_range(keys_of(ks), 100, KEYS / 2);
    buf_free(&out);
    keyspace_destroy(ks);
}

/* Every policy takes over from every other with entries of any age, down to a single key. */
static void test_switch_policies(void **state) {
    struct rng rng = {3};
    for (enum evict_policy from = EVICT_ALL_LRU; from < EVICT_VOLATILE_LRU; from++) {
        for (enum evict_policy to = EVICT_ALL_LRU; to < EVICT_POLICIES_COUNT; to++) {
            struct keyspace *ks = keyspace_create(1, 5, NULL);
            keyspace_set_params(ks, &(struct keyspace_params){.policy = from});
            for (unsigned i = 0; i < 600; i++) {
                unsigned room = i < 400 ? 100 : 1;
                if (from == EVICT_ALL_RANDOM) {
                    set(ks, 0, (unsigned)rng_below(&rng, 300), EXPIRE_NEVER);
                    keyspace_evict(ks, 0, 0, (uint32_t)keys_of(ks) - MIN(keys_of(ks), room));
                } else {
                    ask(ks, (unsigned)rng_below(&rng, 300), MAX(room, 15u));
                }
            }
            for (unsigned n = 1000; n < 1200; n++) {
                set(ks, 0, n, n % 2 ? 1000000 : EXPIRE_NEVER);
            }
            keyspace_set_params(ks, &(struct keyspace_params){.policy = to});
            uint64_t before = keys_of(ks);
            assert_int_equal(keyspace_evict(ks, 0, 0, 50), 50);
            assert_int_equal(keys_of(ks), before - 50);
            for (uint32_t i = 0; i < ks->partitions_count; i++) {
                if (ks->partitions[i]->db[0]) {
                    table_check(ks->partitions[i]->db[0]);
                }
            }
            if (to < EVICT_VOLATILE_LRU) {
                while (keyspace_evict(ks, 0, 0, 100) > 0) {
                }
                assert_int_equal(keys_of(ks), 0);
            }
            keyspace_destroy(ks);
        }
    }
}

/* Exact LRU of ROOM keys would keep exactly these: the order is right to within a few. */
static void test_lru_is_nearly_exact(void **state) {
    enum { ROOM = 1000 };
    struct keyspace *ks = keyspace_create(1, 5, NULL);
    keyspace_set_params(ks, &(struct keyspace_params){.policy = EVICT_ALL_LRU});
    for (unsigned n = 0; n < 5 * ROOM; n++) {
        ask(ks, n, ROOM);
        if (n >= ROOM / 2) {
            ask(ks, n - ROOM / 2, ROOM); /* used again in the middle of its life */
        }
    }
    unsigned wrong = 0;
    for (unsigned n = 0; n < 5 * ROOM; n++) {
        /* the last 750 inserted, and of those used again the last 250 more */
        wrong += there(ks, 0, n, 0) != (n >= 4 * ROOM);
    }
    assert_true(wrong < ROOM / 20);
    keyspace_destroy(ks);
}

/* What is used again and again outlives a scan ten times as large as the cache. */
/* Asked for equally often, but in room for a third of the bytes: the small ones are there more
 * often, and large ones still get their turn. */
static void test_lfu_prefers_small(void **state) {
    enum { NAMES = 900, LARGE = 1000, SMALL = 40, ROOM = NAMES / 2 * (LARGE + SMALL) / 3 };
    static const char zeros[LARGE];
    struct keyspace *ks = keyspace_create(1, 5, NULL);
    keyspace_set_params(ks, &(struct keyspace_params){.policy = EVICT_ALL_LFU});
    struct rng rng = {3};
    unsigned hits[2] = {0};
    uint64_t held = 0, gone = 0;
    for (unsigned i = 0; i < 30000; i++) {
        struct text t;
        unsigned n = (unsigned)rng_below(&rng, NAMES);
        bool large = n % 2;
        struct partition *p = lock_key(ks, &t, n);
        bool hit = part_find(p, 0, &t.key, 0, FIND_TOUCH) != NULL;
        hits[large] += hit;
        if (!hit) {
            part_set_string(p, 0, &t.key, slice_of(zeros, large ? LARGE : SMALL), EXPIRE_NEVER);
            held += t.key.bytes.len + (large ? LARGE : SMALL);
        }
        lock_release(&p->lock);
        while (held - gone > ROOM) {
            assert_int_equal(keyspace_evict(ks, 0, 0, 1), 1);
            gone = 0;
            for (uint32_t k = 0; k < ks->partitions_count; k++) {
                gone += atomic_load(&ks->partitions[k]->stats.evicted_bytes);
            }
        }
    }
    assert_true(hits[0] > hits[1] * 3 / 2);
    assert_true(hits[1] > 30000 / 2 / 8);
    keyspace_destroy(ks);
}

/* Each key is asked for some five times while a window passes over it. */
static void test_lfu_follows_drift(void **state) {
    enum { WINDOW = 1000, ROOM = 1400, STEP = 5, ASKED = 120000 };
    unsigned misses[EVICT_POLICIES_COUNT] = {0};
    for (enum evict_policy policy = EVICT_ALL_LRU; policy <= EVICT_ALL_LFU; policy++) {
        struct keyspace *ks = keyspace_create(1, 5, NULL);
        keyspace_set_params(ks, &(struct keyspace_params){.policy = policy});
        struct rng rng = {3};
        for (unsigned i = 0; i < ASKED; i++) {
            misses[policy] += !ask(ks, i / STEP + (unsigned)rng_below(&rng, WINDOW), ROOM);
        }
        keyspace_destroy(ks);
    }
    assert_true(misses[EVICT_ALL_LFU] < misses[EVICT_ALL_LRU] * 11 / 10);
}

static void test_lfu_resists_scans(void **state) {
    enum { ROOM = 1000, HOT = 600 };
    unsigned left[EVICT_POLICIES_COUNT];
    for (enum evict_policy policy = EVICT_ALL_LRU; policy <= EVICT_ALL_LFU; policy++) {
        struct keyspace *ks = keyspace_create(1, 5, NULL);
        keyspace_set_params(ks, &(struct keyspace_params){.policy = policy});
        for (unsigned i = 0; i < 10 * HOT; i++) {
            ask(ks, i % HOT, ROOM);
        }
        for (unsigned n = 0; n < 6 * ROOM; n++) {
            ask(ks, HOT + n, ROOM);
        }
        left[policy] = 0;
        for (unsigned n = 0; n < HOT; n++) {
            left[policy] += there(ks, 0, n, 0);
        }
        keyspace_destroy(ks);
    }
    assert_int_equal(left[EVICT_ALL_LRU], 0);
    assert_true(left[EVICT_ALL_LFU] > HOT * 9 / 10);
}

/* Threads over the whole keyspace at once: the thread sanitizer's test. Each worker owns
 * its keys. */
enum { WORKERS = 3, WORKER_KEYS = 600, WORKER_STEPS = 12000 };

struct worker {
    struct keyspace *ks;
    unsigned index;
};

static void look(void *arg, struct partition *p, struct entry *e) {
    *(uint64_t *)arg += entry_string(e).len;
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct rng rng = {w->index};
    bool model[WORKER_KEYS] = {false};
    uint64_t cursor = 0, sum = 0, keys, with_expiry;
    mem_thread_register();
    for (unsigned i = 0; i < WORKER_STEPS; i++) {
        unsigned at = (unsigned)rng_below(&rng, WORKER_KEYS), n = w->index * WORKER_KEYS + at;
        ASSERT(there(w->ks, 0, n, FIND_TOUCH | FIND_COUNT) == model[at]);
        if (rng_below(&rng, 3)) {
            set(w->ks, 0, n, rng_below(&rng, 2) ? EXPIRE_NEVER : 1000);
            model[at] = true;
        } else {
            ASSERT(drop(w->ks, 0, n) == model[at]);
            model[at] = false;
        }
        keyspace_prefetch_bucket(w->ks, 0, rng_next(&rng));
        keyspace_prefetch_entry(w->ks, 0, rng_next(&rng));
        keyspace_prefetch_value(w->ks, 0, rng_next(&rng));
        if (i % 16 == 0) {
            cursor = keyspace_scan(w->ks, NULL, 0, cursor, 10, 1, look, &sum);
            set(w->ks, 1, n, 1000);
            keyspace_make_room(w->ks, NULL, w->index, 1, 2);
        }
        if (i % 512 == 0) {
            keyspace_count(w->ks, NULL, 0, &keys, &with_expiry);
            struct lockset all = {{0}};
            lockset_add_all(&all, w->ks);
            lockset_lock(&all, w->ks);
            keyspace_swap(w->ks, 2, 3);
            lockset_unlock(&all, w->ks);
        }
    }
    mem_thread_unregister();
    return NULL;
}

static void test_threads(void **state) {
    struct keyspace *ks = keyspace_create(WORKERS, 5, NULL);
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){ks, i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        table_check(ks->partitions[i]->db[0]);
    }
    keyspace_destroy(ks);
}

/* A large hash that was evicted is freed in steps, before the next key goes. */
static void test_evicted_is_drained_first(void **state) {
    enum { FIELDS = 5 * DRAIN_STEP_FIELDS, FEW = 100 };
    static const struct hash_limits limits = {.packed_fields_max = 1, .packed_bytes_max = 1};
    struct keyspace *ks = keyspace_create(1, 5, NULL);
    struct keyspace_params params = {.policy = EVICT_ALL_LRU};
    keyspace_set_params(ks, &params);
    struct hash h = {0};
    for (unsigned i = 0; i < FIELDS; i++) {
        hash_set(&h, slice_of((const char *)&i, sizeof i), SLICE("v"), &limits);
    }
    struct text t;
    struct partition *p = lock_key(ks, &t, KEYS);
    struct entry_origin none = {0, 0};
    part_put(p, 0, &t.key, entry_create_hash(&p->heap, t.key.bytes, &h, EXPIRE_NEVER, none));
    lock_release(&p->lock);
    assert_int_equal(keyspace_evict(ks, 0, 1, 1), 1);
    assert_int_equal(p->drain_count, 1);
    for (unsigned n = 0; n < FEW; n++) {
        set(ks, 0, n, EXPIRE_NEVER);
    }
    assert_int_equal(keyspace_evict(ks, 0, 1, 1), 0); /* two steps of five */
    assert_int_equal(p->drain_count, 1);
    uint32_t evicted = 0;
    for (int steps = 2; p->drain_count; steps++) {
        assert_in_range(steps, 2, 4);
        evicted += keyspace_evict(ks, 0, 1, 1);
    }
    uint64_t keys, expires;
    keyspace_count(ks, NULL, 0, &keys, &expires);
    assert_int_equal(keys, FEW - evicted);
    assert_in_range(evicted, 0, 1); /* beside the last step */
    keyspace_destroy(ks);
}

/* Blocks are not the allocator's, but count in its figures. */
static void test_memory_stats(void **state) {
    mem_thread_register();
    struct keyspace *ks = keyspace_create(1, 5, NULL);
    struct mem_stats before, after;
    keyspace_memory_stats(ks, &before);
    for (unsigned n = 0; n < KEYS; n++) {
        set(ks, 0, n, EXPIRE_NEVER);
    }
    keyspace_memory_stats(ks, &after);
    uint64_t blocks = block_pool_used_bytes(ks->blocks);
    assert_true(blocks > KEYS * 40);
    assert_true(after.allocated >= before.allocated + KEYS * 40);
    assert_true(after.active >= blocks && after.resident >= blocks);
    keyspace_destroy(ks);
    mem_thread_unregister();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_count_swap_random),
        cmocka_unit_test(test_random_among_the_dead),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_evict_expired_first),
        cmocka_unit_test(test_evict_whatever_the_limit),
        cmocka_unit_test(test_switch_policies),
        cmocka_unit_test(test_lru_is_nearly_exact),
        cmocka_unit_test(test_lfu_resists_scans),
        cmocka_unit_test(test_lfu_prefers_small),
        cmocka_unit_test(test_lfu_follows_drift),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_evicted_is_drained_first),
        cmocka_unit_test(test_memory_stats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
