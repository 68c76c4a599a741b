/* Defragmentation of values with everything moved at every step, whatever the allocator says: a
 * value left at its old address, or used there, shows under the address sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "engine/defrag.h"
#include "keys.h"

static const struct entry_origin no_origin = {0, 0};
static const struct hash_limits limits = {16, 64};

enum { FIELDS_LARGE = 700, FIELDS_PACKED_LONG = 3, BLOB_BYTES = 10000, STEPS_MAX = 100000 };

struct text {
    char bytes[KEY_TEXT_CHARS];
    struct slice slice;
};

static struct slice text_of(struct text *t, const char *prefix, unsigned n) {
    int len = snprintf(t->bytes, sizeof t->bytes, "%s%u", prefix, n);
    return slice_of(t->bytes, (size_t)len);
}

static struct hash hash_of(unsigned from, unsigned fields) {
    struct hash h = {0};
    struct text field, value;
    for (unsigned i = from; i < from + fields; i++) {
        hash_set(&h, text_of(&field, "f", i), text_of(&value, "value ", i), &limits);
    }
    return h;
}

static void check_fields(const struct hash *h, unsigned from, unsigned fields) {
    struct text field, expected;
    struct slice value;
    for (unsigned i = from; i < from + fields; i++) {
        assert_true(hash_get(h, text_of(&field, "f", i), &value));
        assert_true(slice_eq(value, text_of(&expected, "value ", i)));
    }
}

static void test_packed(void **state) {
    struct defrag d = {.always = true, .most = 1};
    uint64_t cursor = 0;
    struct hash h = hash_of(0, 10);
    const char *before = hash_packed(&h).ptr;
    hash_defrag(&h, &d, &cursor);
    assert_true(cursor == 0 && hash_packed(&h).ptr != before && hash_is_packed(&h));
    assert_int_equal(d.moved, 1);
    check_fields(&h, 0, 10);
    assert_true(
        hash_set(&h, SLICE("more"), SLICE("than the buffer has room for, as it is now"), &limits));
    check_fields(&h, 0, 10);
    char room[256];
    struct hash borrowing;
    hash_init(&borrowing, room, sizeof room);
    hash_set(&borrowing, SLICE("f"), SLICE("v"), &limits);
    hash_defrag(&borrowing, &d, &cursor); /* not its own */
    assert_true(hash_packed(&borrowing).ptr == room);
    hash_deinit(&h);
    hash_defrag(&h, &d, &cursor); /* no buffer at all */
    assert_int_equal(d.moved, 1);
    assert_int_equal(hash_count(&h), 0);
}

/* The hash changes between steps: fields come and go, it grows by half and shrinks. */
static void test_table_in_steps(void **state) {
    struct defrag d = {.always = true};
    struct hash large = hash_of(0, FIELDS_LARGE), *h = &large;
    struct text field, value;
    char long_value[BLOB_BYTES];
    memset(long_value, 'x', sizeof long_value);
    hash_set(h, SLICE("long"), slice_of(long_value, sizeof long_value), &limits);
    uint64_t cursor = 0;
    unsigned steps = 0, rounds = 0;
    for (unsigned i = FIELDS_LARGE; rounds < 4; steps++) {
        assert_true(steps < STEPS_MAX);
        d.most = d.looked + 20;
        hash_defrag(h, &d, &cursor);
        assert_true(d.looked < d.most + 40);
        rounds += cursor == 0;
        for (unsigned k = 0; k < 8 && rounds < 2; k++, i++) {
            hash_set(h, text_of(&field, "f", i), text_of(&value, "value ", i), &limits);
        }
        for (unsigned k = 0; k < 8 && rounds >= 2 && i > FIELDS_LARGE; k++) {
            assert_true(hash_delete(h, text_of(&field, "f", --i)));
        }
        check_fields(h, 0, FIELDS_LARGE);
    }
    assert_true(steps > 50 && d.moved == d.looked && d.moved > 4 * FIELDS_LARGE);
    struct slice got;
    assert_true(hash_get(h, SLICE("long"), &got));
    assert_true(slice_eq(got, slice_of(long_value, sizeof long_value)));
    hash_deinit(h);
}

static void test_blob(void **state) {
    struct defrag d = {.always = true, .most = 100};
    char bytes[BLOB_BYTES];
    memset(bytes, 'y', sizeof bytes);
    struct slice value = slice_of(bytes, sizeof bytes);
    struct entry *e = entry_create_string(NULL, SLICE("k"), value, 77, no_origin);
    struct blob *b = entry_blob(e);
    blob_pin(b, false); /* as a reply does */
    entry_defrag_blob(e, &d);
    assert_true(entry_blob(e) == b && d.looked == 0);
    blob_unpin(b);
    entry_defrag_blob(e, &d);
    assert_int_equal(d.moved, 1);
    assert_true(slice_eq(entry_string(e), value) && entry_expire_ms(e) == 77);
    e = entry_defrag(e, &d);
    assert_int_equal(d.moved, 3);
    assert_true(slice_eq(entry_string(e), value) && slice_eq(entry_key(e), SLICE("k")));
    entry_destroy(NULL, e);
}

/* --- a partition --- */

struct fixture {
    struct keyspace *ks;
    struct partition *p; /* locked */
};

static int setup(void **state) {
    struct fixture *f = mem_zalloc(sizeof *f);
    f->ks = keyspace_create(1, 99, NULL);
    f->ks->defrag.always = true;
    f->p = f->ks->partitions[0];
    lock_take(&f->p->lock);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        if (f->p->db[db]) {
            table_check(f->p->db[db]);
        }
    }
    lock_release(&f->p->lock);
    keyspace_destroy(f->ks);
    mem_free(f);
    return 0;
}

static void put_hash(struct fixture *f, unsigned db, unsigned n, unsigned fields) {
    struct text t;
    struct key key = key_in(f->p, t.bytes, n);
    struct hash h = hash_of(n, fields);
    if (fields == FIELDS_PACKED_LONG) {
        static const char filler[BLOB_BYTES];
        hash_append(&h, (struct slice[]){SLICE("filler"), slice_of(filler, sizeof filler)}, 1);
    }
    part_put(f->p, db, &key,
             entry_create_hash(&f->p->heap, key.bytes, &h, EXPIRE_NEVER, no_origin));
}

static void check_hash(struct fixture *f, unsigned db, unsigned n, unsigned fields) {
    struct text t;
    struct key key = key_in(f->p, t.bytes, n);
    const struct entry *e = part_peek(f->p, db, &key, 10);
    assert_non_null(e);
    struct hash view;
    const struct hash *h = entry_hash(e, &view);
    assert_int_equal(hash_count(h), fields + (fields == FIELDS_PACKED_LONG));
    assert_int_equal(hash_is_packed(h), fields <= limits.packed_fields_max);
    check_fields(h, n, fields);
}

static void begin(struct fixture *f) {
    for (uint32_t i = 1; i < f->ks->partitions_count; i++) { /* the others have nothing to do */
        struct partition *p = f->ks->partitions[i];
        lock_take(&p->lock);
        part_defrag(p, 1000);
        lock_release(&p->lock);
    }
    assert_true(keyspace_defrag_judge(f->ks, 10, &(struct mem_stats){0}));
    assert_true(part_wants_defrag(f->p));
}

static unsigned fields_of(unsigned n) {
    /* large, small table, packed and too long to lie in place, in place */
    return n % 50 == 7 ? FIELDS_LARGE : n % 5 == 0 ? 25 : n % 5 == 1 ? FIELDS_PACKED_LONG : 5;
}

/* Each allocation once in a round, beside strings and hashes in place that have none. */
static void test_round(void **state) {
    enum { HASHES = 200 };
    struct fixture *f = *state;
    struct text t;
    for (unsigned n = 0; n < HASHES; n++) {
        put_hash(f, n % 2 ? 0 : 3, n, fields_of(n));
        struct key key = key_in(f->p, t.bytes, 1000 + n);
        part_set_string(f->p, 0, &key, SLICE("in place"), EXPIRE_NEVER);
    }
    begin(f);
    assert_true(
        keyspace_defrag_judge(f->ks, 11, &(struct mem_stats){0})); /* goes on, the same one */
    uint64_t moved = 0;
    unsigned steps = 0;
    while (part_wants_defrag(f->p)) {
        moved += part_defrag(f->p, 10);
        assert_true(++steps < STEPS_MAX);
    }
    assert_int_equal(part_defrag(f->p, 10), 0);
    assert_true(steps > 4 * FIELDS_LARGE / 30);
    assert_true(moved > 4 * FIELDS_LARGE + 40 * 27 && moved < 4 * FIELDS_LARGE + 40 * 42 + 400);
    assert_int_equal(f->p->stats.defrag_hits, moved);
    assert_int_equal(f->p->stats.defrag_misses, 0);
    assert_int_equal(f->p->stats.defrag_key_hits, HASHES / 50 + 2 * HASHES / 5);
    for (unsigned n = 0; n < HASHES; n++) {
        check_hash(f, n % 2 ? 0 : 3, n, fields_of(n));
    }
}

/* Keys, also the one the walk is at, are deleted, replaced and made between steps, and databases
 * swapped and flushed. */
static void test_changes_between_steps(void **state) {
    enum { HASHES = 300 };
    struct fixture *f = *state;
    struct rng rng = {5};
    struct text t;
    for (unsigned n = 0; n < HASHES; n++) {
        put_hash(f, 0, n, fields_of(n));
    }
    bool there[HASHES];
    memset(there, 1, sizeof there);
    for (unsigned i = 0; i < 4000; i++) {
        if (!part_wants_defrag(f->p)) {
            begin(f);
        }
        part_defrag(f->p, 1 + (uint32_t)rng_below(&rng, 30));
        unsigned n = (unsigned)rng_below(&rng, HASHES);
        struct key key = key_in(f->p, t.bytes, n);
        if (rng_below(&rng, 2)) {
            assert_int_equal(part_delete(f->p, 0, &key, 10), there[n]);
            there[n] = false;
        } else {
            put_hash(f, 0, n, fields_of(n));
            there[n] = true;
        }
        if (i % 500 == 250) {
            struct table *other = f->p->db[1];
            f->p->db[1] = f->p->db[0];
            f->p->db[0] = other;
            part_defrag(f->p, 100);
            part_flush(f->p, 0);
            f->p->db[0] = f->p->db[1];
            f->p->db[1] = NULL;
        }
        part_drain_step(f->p);
    }
    for (unsigned n = 0; n < HASHES; n++) {
        if (there[n]) {
            check_hash(f, 0, n, fields_of(n));
        }
    }
}

/* --- when it is worth it --- */

static void run_round(struct keyspace *ks) {
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        struct partition *p = ks->partitions[i];
        lock_take(&p->lock);
        assert_true(part_wants_defrag(p));
        part_defrag(p, 1000);
        assert_false(part_wants_defrag(p));
        lock_release(&p->lock);
    }
}

static void test_judge(void **state) {
    enum { MB = 1024 * 1024 };
    struct keyspace *ks = keyspace_create(1, 7, NULL);
    struct mem_stats sparse = {.allocated = 100 * MB, .active = 120 * MB};
    assert_false(keyspace_defrag_judge(ks, 0, &sparse)); /* activedefrag no */
    keyspace_set_params(ks, &(struct keyspace_params){.compact_percent = 10});
    assert_false(keyspace_defrag_judge(ks, 0, &(struct mem_stats){100 * MB, 104 * MB, 0, 0}));
    assert_false(keyspace_defrag_judge(ks, 0, &(struct mem_stats){1 * MB, 2 * MB - 1, 0, 0}));
    assert_true(keyspace_defrag_judge(ks, 0, &sparse));
    run_round(ks);
    assert_false(keyspace_defrag_judge(ks, 999, &sparse)); /* it won nothing: a rest */
    assert_true(keyspace_defrag_judge(ks, 1000, &sparse));
    run_round(ks);
    assert_false(keyspace_defrag_judge(ks, 2999, &sparse)); /* twice as long */
    assert_true(keyspace_defrag_judge(ks, 3000, &sparse));
    assert_true(keyspace_defrag_judge(ks, 3001, &sparse)); /* is on */
    run_round(ks);
    sparse.active = 112 * MB; /* it won something */
    assert_true(keyspace_defrag_judge(ks, 3002, &sparse));
    run_round(ks);
    sparse.active = 102 * MB;
    assert_false(keyspace_defrag_judge(ks, 60000, &sparse));
    keyspace_destroy(ks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_table_in_steps),
        cmocka_unit_test(test_blob),
        cmocka_unit_test_setup_teardown(test_round, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_between_steps, setup, teardown),
        cmocka_unit_test(test_judge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
