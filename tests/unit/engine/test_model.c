/* The engine against a simple map of strings and hashes: random operations under every policy with
 * a tiny budget, policies switched on the way, heaps compacted, databases flushed; the structure
 * checkers after each step. What eviction took is told by its counter: no key may be missing beyond
 * that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "engine/keyspace.h"

enum { KEYS = 900, BUDGET = 300, STEPS = 4000, VALUE_MAX = 12000, NAME_BYTES = 300 };
enum { HASH_FIELDS_MAX = 50, HASH_VALUE_MAX = 250 };

/* Packed hashes do not fit in place from 40 fields on, some values make tables. */
static const struct hash_limits limits = {60, 235};

struct shadow {
    bool present;
    unsigned fields; /* of a hash, named 0, 1, ... with the same value each; 0: a string */
    size_t len;
    char fill;
    int64_t expire_ms;
};

struct world {
    struct keyspace *ks;
    struct rng rng;
    int64_t now_ms;
    struct shadow keys[KEYS];
};

static struct world world;

/* Short names and, one in ten, long ones. */
static struct key name_of(const struct world *w, unsigned n, char *text) {
    int len = snprintf(text, NAME_BYTES, "k%u%s%0*u", n, n % 10 ? "" : ":", n % 10 ? 1 : 260, n);
    return keyspace_key(w->ks, slice_of(text, (size_t)len));
}

static struct partition *enter(const struct world *w, const struct key *key) {
    struct partition *p = keyspace_partition(w->ks, key->hash);
    lock_take(&p->lock);
    return p;
}

static void check_structure(const struct world *w) {
    for (uint32_t i = 0; i < w->ks->partitions_count; i++) {
        struct partition *p = w->ks->partitions[i];
        if (p->db[0]) {
            table_check(p->db[0]);
        }
        heap_check(&p->heap);
        heap_check(&p->index_heap);
    }
}

static void check_value(const struct shadow *s, struct slice value) {
    assert_int_equal(value.len, s->len);
    assert_true(value.len == 0 || (value.ptr[0] == s->fill && value.ptr[s->len - 1] == s->fill));
}

static void check_entry(const struct shadow *s, const struct entry *e) {
    if (!s->fields) {
        assert_int_equal(entry_type(e), VALUE_STRING);
        check_value(s, entry_string(e));
        return;
    }
    struct hash view;
    const struct hash *h = entry_hash(e, &view);
    assert_int_equal(hash_count(h), s->fields);
    for (uint8_t i = 0; i < s->fields; i++) {
        struct slice value;
        assert_true(hash_get(h, slice_of(&i, 1), &value));
        check_value(s, value);
    }
}

static bool is_there(struct world *w, unsigned n) {
    char text[NAME_BYTES];
    struct key key = name_of(w, n, text);
    const struct shadow *s = &w->keys[n];
    struct partition *p = enter(w, &key);
    const struct entry *e = part_find(p, 0, &key, w->now_ms, FIND_TOUCH | FIND_COUNT);
    if (e) {
        assert_true(s->present && s->expire_ms > w->now_ms);
        check_entry(s, e);
        assert_true(entry_expire_ms(e) == s->expire_ms);
    }
    lock_release(&p->lock);
    return e != NULL;
}

static uint64_t evicted(const struct world *w) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < w->ks->partitions_count; i++) {
        sum += w->ks->partitions[i]->stats.evicted;
    }
    return sum;
}

/* Finds out who went: as many as the counter says, not counting what has expired. */
static uint32_t reconcile(struct world *w, uint64_t gone) {
    uint32_t present = 0;
    for (unsigned n = 0; n < KEYS; n++) {
        struct shadow *s = &w->keys[n];
        s->present = s->present && s->expire_ms > w->now_ms;
        bool there = is_there(w, n);
        gone -= s->present && !there;
        s->present = there;
        present += there;
    }
    assert_int_equal(gone, 0);
    return present;
}

static void set(struct world *w, unsigned n) {
    static char bytes[VALUE_MAX];
    char text[NAME_BYTES];
    struct key key = name_of(w, n, text);
    struct shadow *s = &w->keys[n];
    *s = (struct shadow){.present = true,
                         .len = rng_below(&w->rng, rng_below(&w->rng, 20) ? 300 : VALUE_MAX),
                         .fill = (char)('a' + rng_below(&w->rng, 26)),
                         .expire_ms = EXPIRE_NEVER};
    if (rng_below(&w->rng, 2)) {
        s->expire_ms = w->now_ms + 1 + (int64_t)rng_below(&w->rng, 3000);
    }
    memset(bytes, s->fill, s->len);
    struct partition *p = enter(w, &key);
    part_set_string(p, 0, &key, slice_of(bytes, s->len), s->expire_ms);
    lock_release(&p->lock);
}

static void fill_field(const struct shadow *s, struct hash *h, uint8_t field) {
    char bytes[HASH_VALUE_MAX];
    memset(bytes, s->fill, sizeof bytes);
    assert_true(hash_set(h, slice_of(&field, 1), slice_of(bytes, s->len), &limits));
}

static void set_hash(struct world *w, unsigned n) {
    char text[NAME_BYTES];
    struct key key = name_of(w, n, text);
    struct shadow *s = &w->keys[n];
    *s = (struct shadow){.present = true,
                         .fields = 1 + (unsigned)rng_below(&w->rng, HASH_FIELDS_MAX),
                         .len = rng_below(&w->rng, HASH_VALUE_MAX),
                         .fill = (char)('a' + rng_below(&w->rng, 26)),
                         .expire_ms = w->now_ms + 1 + (int64_t)rng_below(&w->rng, 3000)};
    struct hash h = {0};
    for (unsigned i = 0; i < s->fields; i++) {
        fill_field(s, &h, (uint8_t)i);
    }
    struct partition *p = enter(w, &key);
    part_put(p, 0, &key,
             entry_create_hash(&p->heap, key.bytes, &h, s->expire_ms, (struct entry_origin){0}));
    lock_release(&p->lock);
}

/* HSET or HDEL of a field or some. */
static void change_hash(struct world *w, unsigned n) {
    char text[NAME_BYTES];
    struct key key = name_of(w, n, text);
    struct shadow *s = &w->keys[n];
    struct partition *p = enter(w, &key);
    const struct entry *e = part_peek(p, 0, &key, w->now_ms);
    if (e && entry_type(e) == VALUE_HASH) {
        struct hash view, *h = entry_hash(e, &view);
        for (uint64_t i = rng_below(&w->rng, 4); i > 0 && s->fields < HASH_FIELDS_MAX; i--) {
            fill_field(s, h, (uint8_t)s->fields++);
        }
        for (uint64_t i = rng_below(&w->rng, 4); i > 0 && s->fields > 1; i--) {
            uint8_t field = (uint8_t)--s->fields;
            assert_true(hash_delete(h, slice_of(&field, 1)));
        }
        part_put_hash(p, 0, &key, h);
    }
    lock_release(&p->lock);
}

static void change(struct world *w, unsigned n) {
    char text[NAME_BYTES];
    struct key key = name_of(w, n, text);
    struct shadow *s = &w->keys[n];
    bool live = s->present && s->expire_ms > w->now_ms;
    struct partition *p = enter(w, &key);
    if (rng_below(&w->rng, 2)) {
        assert_int_equal(part_delete(p, 0, &key, w->now_ms), live);
        s->present = false;
    } else {
        s->expire_ms = rng_below(&w->rng, 2) ? EXPIRE_NEVER : w->now_ms + 500;
        assert_int_equal(part_set_expire(p, 0, &key, s->expire_ms, w->now_ms), live);
        s->present = live;
    }
    lock_release(&p->lock);
}

static void upkeep(struct world *w) {
    struct partition *p = w->ks->partitions[rng_below(&w->rng, w->ks->partitions_count)];
    lock_take(&p->lock);
    part_expire_turn(p, w->now_ms);
    part_maintain(p, w->now_ms, 1000);
    part_compact(p, (struct compact_from){0}, (uint32_t)rng_below(&w->rng, 200));
    lock_release(&p->lock);
}

static void flush(struct world *w) {
    for (uint32_t i = 0; i < w->ks->partitions_count; i++) {
        lock_take(&w->ks->partitions[i]->lock);
        part_flush(w->ks->partitions[i], 0);
        lock_release(&w->ks->partitions[i]->lock);
    }
    memset(w->keys, 0, sizeof w->keys);
}

static void run(enum evict_policy policy, bool switches) {
    struct world *w = &world;
    *w = (struct world){.rng = {policy + 1}, .now_ms = 1000};
    w->ks = keyspace_create(1, 77 + policy, NULL);
    struct keyspace_params params = {.policy = policy};
    keyspace_set_params(w->ks, &params);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned n = (unsigned)rng_below(&w->rng, KEYS);
        switch (rng_below(&w->rng, 10)) {
        case 0:
            change(w, n);
            break;
        case 1:
            upkeep(w);
            break;
        case 2:
        case 3:
            w->keys[n].present = is_there(w, n);
            break;
        case 4:
            set_hash(w, n);
            break;
        case 5:
        case 6:
            change_hash(w, n);
            break;
        default:
            set(w, n);
        }
        w->now_ms += (int64_t)rng_below(&w->rng, 8);
        if (step % 50 == 49) {
            uint32_t present = reconcile(w, 0);
            uint64_t before = evicted(w);
            keyspace_evict(w->ks, 0, w->now_ms, present > BUDGET ? present - BUDGET : 1);
            const struct policy *rules = policy_of(params.policy);
            assert_true(rules->evicts || evicted(w) == before);
            uint32_t left = reconcile(w, evicted(w) - before);
            assert_true(!rules->evicts || rules->volatile_only || left <= BUDGET);
        }
        if (switches && step % 400 == 399) {
            params.policy = (enum evict_policy)rng_below(&w->rng, EVICT_POLICIES_COUNT);
            keyspace_set_params(w->ks, &params);
        }
        if (step % 1500 == 1499) {
            flush(w);
        }
        check_structure(w);
    }
    keyspace_destroy(w->ks);
}

static void test_every_policy(void **state) {
    for (unsigned policy = 0; policy < EVICT_POLICIES_COUNT; policy++) {
        run((enum evict_policy)policy, false);
    }
}

static void test_switched(void **state) {
    run(EVICT_ALL_LFU, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_policy),
        cmocka_unit_test(test_switched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
