/* Hashes that lie in their entry: every form, and the ways from one to the next, beside a model;
 * the partition's heap is compacted between the commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "keys.h"

static const struct entry_origin no_origin = {0, 0}, some_origin = {7, 9};
static const struct compact_from compact_any = {0};
/* Redis's; and some that keep packed what does not fit in place. */
static const struct hash_limits usual = {512, 64}, wide = {4000, 20000};

enum {
    PAIR_BYTES = 1 + 1 + 1, /* of a packed hash with a field of one byte: what is not the value */
    FIELDS = 400,
    VALUE_MAX = 9000,
};

static char bytes[VALUE_MAX + 1];

static struct slice value_of(size_t len) {
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(i * 31 + len);
    }
    return slice_of(bytes, len);
}

static size_t length_bytes(size_t len) {
    return len < 128 ? 1 : 4;
}

/* --- layouts --- */

static void check_one(const struct entry *e, struct slice key, size_t packed, size_t len,
                      int64_t expire_ms, struct entry_origin origin) {
    struct hash view;
    struct slice value;
    struct hash *h = entry_hash(e, &view);
    assert_int_equal(entry_type(e), VALUE_HASH);
    assert_int_not_equal(e->head, HEAP_HOLE_MARK);
    assert_true(slice_eq(entry_key(e), key));
    assert_true(entry_expire_ms(e) == expire_ms);
    assert_int_equal(entry_origin(e).mapping, origin.mapping);
    assert_int_equal(entry_origin(e).generation, origin.generation);
    assert_int_equal(entry_hash_apart(e) != NULL, packed > ENTRY_INLINE_BYTES_MAX);
    assert_true(hash_is_packed(h) && hash_count(h) == 1);
    assert_int_equal(hash_packed(h).len, packed);
    assert_true(hash_get(h, SLICE("f"), &value) && slice_eq(value, value_of(len)));
    assert_true(entry_memory_bytes(e, 0) >= entry_bytes(e));
    if (!entry_hash_apart(e)) {
        assert_null(entry_blob(e));
        assert_int_equal(entry_memory_bytes(e, 0), entry_bytes(e));
        assert_true(entry_bytes(e) <= MAX(key.len + packed + 22, HEAP_HOLE_BYTES_MIN));
    } else {
        assert_true(entry_memory_bytes(e, 0) > packed);
    }
}

static void run_layouts(struct slice key, size_t packed) {
    size_t len = packed - PAIR_BYTES - 1;
    len -= length_bytes(len) == 4 ? 3 : 0;
    packed = PAIR_BYTES + length_bytes(len) + len;
    for (unsigned form = 0; form < 4; form++) {
        int64_t expire_ms = form & 1 ? 1700000000123 : EXPIRE_NEVER;
        struct entry_origin origin = form & 2 ? some_origin : no_origin;
        struct hash h = {0};
        hash_set(&h, SLICE("f"), value_of(len), &wide);
        struct entry *e = entry_create_hash(NULL, key, &h, expire_ms, origin);
        assert_int_equal(hash_count(&h), 0);
        check_one(e, key, packed, len, expire_ms, origin);
        struct entry *copy = entry_copy(NULL, e, SLICE("other"), 5, some_origin);
        check_one(copy, SLICE("other"), packed, len, 5, some_origin);
        entry_destroy(NULL, copy);
        assert_int_equal(entry_set_expire(e, 99), form & 1);
        e = entry_move(NULL, NULL, e, SLICE("a key of another length"), 77);
        check_one(e, SLICE("a key of another length"), packed, len, 77, origin);
        entry_destroy(NULL, e);
    }
}

static void test_layouts(void **state) {
    static const size_t lengths[] = {5,   6,   15,  16,   100,  127,  131,  138,  139, 254,
                                     255, 256, 257, 1000, 8190, 8191, 8192, 8193, 8999};
    char long_key[300];
    memset(long_key, 'k', sizeof long_key);
    for (unsigned i = 0; i < ARRAY_COUNT(lengths); i++) {
        run_layouts(SLICE("k"), lengths[i]);
        run_layouts(slice_of(long_key, sizeof long_key), lengths[i]);
    }
}

/* A row whose columns are all NULL. */
static void test_no_fields(void **state) {
    struct hash h = {0}, view;
    struct entry *e = entry_create_hash(NULL, SLICE("row"), &h, 5, some_origin);
    struct hash_iter it = {0};
    struct slice field, value;
    assert_null(entry_hash_apart(e));
    const struct hash *none = entry_hash(e, &view);
    assert_int_equal(hash_count(none), 0);
    assert_false(hash_next(none, &it, &field, &value));
    assert_false(hash_get(none, SLICE("f"), &value));
    e = entry_move(NULL, NULL, e, SLICE("another"), 8);
    assert_int_equal(hash_count(entry_hash(e, &view)), 0);
    entry_destroy(NULL, e);
}

/* More pairs than the count's byte can say. */
static void test_many_pairs(void **state) {
    char room[ENTRY_INLINE_BYTES_MAX];
    struct hash h, view;
    hash_init(&h, room, sizeof room);
    for (unsigned n = 0; n < 600; n++) {
        uint16_t field = (uint16_t)n;
        assert_true(hash_set(&h, slice_of(&field, sizeof field), SLICE("v"), &wide));
        struct hash copy = {0};
        hash_copy(&copy, &h);
        struct entry *e = entry_create_hash(NULL, SLICE("k"), &copy, 5, no_origin);
        assert_null(entry_hash_apart(e));
        assert_int_equal(hash_count(entry_hash(e, &view)), n + 1);
        entry_destroy(NULL, e);
    }
    struct entry *e = entry_create_hash(NULL, SLICE("k"), &h, 5, no_origin);
    for (unsigned n = 600; n > 200; n--) {
        uint16_t field = (uint16_t)(n - 1);
        struct hash *now = entry_hash(e, &view);
        assert_int_equal(hash_count(now), n);
        assert_true(hash_delete(now, slice_of(&field, sizeof field)));
        e = entry_keep_hash(NULL, e, now);
    }
    assert_int_equal(hash_count(entry_hash(e, &view)), 200);
    entry_destroy(NULL, e);
}

/* What is appended unchecked is as if it had been set, in one allocation. */
static void test_append(void **state) {
    char small[64];
    static const size_t lengths[] = {0, 1, 60, 127, 128, 5000};
    for (unsigned i = 0; i < ARRAY_COUNT(lengths); i++) {
        struct slice v = value_of(lengths[i]), value;
        struct slice pairs[] = {SLICE("a"), v, SLICE("bb"), v, SLICE(""), SLICE("x")};
        struct hash h;
        hash_init(&h, small, sizeof small);
        hash_append(&h, pairs, 3);
        assert_int_equal(hash_packed(&h).len, 1 + hash_pairs_bytes(pairs, 3));
        assert_int_equal(hash_borrows(&h), hash_packed(&h).len <= sizeof small);
        assert_int_equal(hash_memory_bytes(&h, 0),
                         hash_borrows(&h) ? 0 : mem_good_size(hash_packed(&h).len));
        assert_int_equal(hash_count(&h), 3);
        assert_true(hash_get(&h, SLICE("bb"), &value) && slice_eq(value, v));
        assert_true(hash_get(&h, SLICE(""), &value) && slice_eq(value, SLICE("x")));
        hash_deinit(&h);
    }
}

/* --- a partition --- */

struct model {
    bool there;
    int lengths[FIELDS]; /* of the fields' values, -1: not there */
    int64_t expire_ms;
    bool is_row;
};

struct fixture {
    struct keyspace *ks;
    struct partition *p; /* locked */
    struct rng rng;
};

static int setup(void **state) {
    struct fixture *f = mem_zalloc(sizeof *f);
    f->ks = keyspace_create(1, 99, NULL);
    f->p = f->ks->partitions[0];
    f->rng.state = 12;
    lock_take(&f->p->lock);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    table_check(f->p->db[0]);
    heap_check(&f->p->heap);
    lock_release(&f->p->lock);
    keyspace_destroy(f->ks);
    mem_free(f);
    return 0;
}

struct text {
    char bytes[KEY_TEXT_CHARS];
};

static struct slice field_of(struct text *t, unsigned n) {
    int len = snprintf(t->bytes, sizeof t->bytes, "field %u", n);
    return slice_of(t->bytes, (size_t)len);
}

static void check(struct fixture *f, unsigned n, const struct model *m) {
    struct text t;
    struct key key = key_in(f->p, t.bytes, n);
    const struct entry *e = part_peek(f->p, 0, &key, 10);
    assert_int_equal(e != NULL, m->there);
    if (!e) {
        return;
    }
    assert_true(entry_expire_ms(e) == m->expire_ms);
    assert_int_equal(entry_origin(e).mapping, m->is_row ? some_origin.mapping : 0);
    struct hash view;
    const struct hash *h = entry_hash(e, &view);
    uint64_t count = 0;
    for (unsigned i = 0; i < FIELDS; i++) {
        struct slice value;
        bool found = hash_get(h, field_of(&t, i), &value);
        assert_int_equal(found, m->lengths[i] >= 0);
        assert_true(!found || slice_eq(value, value_of((size_t)m->lengths[i])));
        count += found;
    }
    assert_int_equal(hash_count(h), count);
    struct hash_iter it = {0};
    struct slice field, value;
    while (hash_next(h, &it, &field, &value)) {
        count--;
    }
    assert_int_equal(count, 0);
}

/* HSET of one field. */
static void set_field(struct fixture *f, unsigned n, struct model *m, unsigned field, size_t len,
                      const struct hash_limits *limits) {
    struct text t;
    struct key key = key_in(f->p, t.bytes, n);
    const struct entry *e = part_peek(f->p, 0, &key, 10);
    char room[200];
    struct hash view;
    struct hash *h = &view;
    if (e) {
        h = entry_hash(e, &view);
    } else {
        hash_init(&view, room, sizeof room);
        *m = (struct model){.there = true, .expire_ms = EXPIRE_NEVER};
        memset(m->lengths, -1, sizeof m->lengths);
    }
    struct text name;
    bool fresh = hash_set(h, field_of(&name, field), value_of(len), limits);
    assert_int_equal(fresh, m->lengths[field] < 0);
    m->lengths[field] = (int)len;
    part_put_hash(f->p, 0, &key, h);
}

static void delete_field(struct fixture *f, unsigned n, struct model *m, unsigned field) {
    struct text t, name;
    struct key key = key_in(f->p, t.bytes, n);
    const struct entry *e = part_peek(f->p, 0, &key, 10);
    struct hash view;
    if (!e) {
        return;
    }
    struct hash *h = entry_hash(e, &view);
    bool was_there = hash_delete(h, field_of(&name, field));
    assert_int_equal(was_there, m->lengths[field] >= 0);
    m->lengths[field] = -1;
    if (hash_count(h) == 0) {
        assert_true(part_delete(f->p, 0, &key, 10));
        m->there = false;
    } else if (was_there) {
        part_put_hash(f->p, 0, &key, h);
    }
}

static const struct entry *peek(struct fixture *f, unsigned n) {
    struct text t;
    struct key key = key_in(f->p, t.bytes, n);
    return part_peek(f->p, 0, &key, 10);
}

static unsigned form_of(struct fixture *f, unsigned n) {
    return peek(f, n)->head & ENTRY_FORM_MASK;
}

/* Fields one by one, up through all forms and down again; a TTL comes on the way and stays. */
static void test_transitions(void **state) {
    struct fixture *f = *state;
    struct model m = {0};
    struct text t;
    set_field(f, 1, &m, 0, 10, &wide);
    assert_int_equal(form_of(f, 1), ENTRY_VLEN_1);
    set_field(f, 1, &m, 0, 10, &wide);
    assert_int_equal(form_of(f, 1), ENTRY_VLEN_1); /* as long as it was */
    set_field(f, 1, &m, 1, 100, &wide);
    assert_int_equal(form_of(f, 1), ENTRY_RAW);
    struct key key = key_in(f->p, t.bytes, 1);
    assert_true(part_set_expire(f->p, 0, &key, 5000, 10)); /* moves the raw entry */
    m.expire_ms = 5000;
    assert_int_equal(form_of(f, 1), ENTRY_RAW);
    unsigned moves = 0, field;
    for (field = 2; field < 200; field++) {
        const struct entry *before = peek(f, 1);
        set_field(f, 1, &m, field, 50, &wide);
        moves += peek(f, 1) != before;
        check(f, 1, &m);
    }
    assert_int_equal(form_of(f, 1), ENTRY_POINTER);
    assert_true(hash_is_packed(entry_hash_apart(peek(f, 1))));
    assert_true(moves < 50); /* amortised: one in about eight */
    while (form_of(f, 1) == ENTRY_POINTER) {
        delete_field(f, 1, &m, --field);
        check(f, 1, &m);
    }
    assert_in_range(field, 50, 70); /* half of what may lie there */
    while (field > 100 - 98) {
        delete_field(f, 1, &m, --field);
        assert_int_equal(form_of(f, 1), ENTRY_RAW);
        check(f, 1, &m);
    }
    assert_true(entry_bytes(peek(f, 1)) < 400); /* its room was given back */
    set_field(f, 1, &m, 5, 65, &usual);
    assert_int_equal(form_of(f, 1), ENTRY_POINTER);
    assert_false(hash_is_packed(entry_hash_apart(peek(f, 1))));
    check(f, 1, &m);
    delete_field(f, 1, &m, 5);
    assert_int_equal(form_of(f, 1), ENTRY_POINTER); /* a table stays one */
    check(f, 1, &m);
    for (field = 0; m.there; field++) {
        delete_field(f, 1, &m, field);
    }
    assert_null(peek(f, 1));
    assert_int_equal(f->p->heap.live_bytes, 0);
}

/* An exact entry whose hash is changed by a byte or two, as HINCRBY does. */
static void test_exact_changes(void **state) {
    struct fixture *f = *state;
    for (unsigned first = 0; first < 300; first += 1 + first / 50) {
        for (int change = -4; change <= 4; change++) {
            struct model m = {0};
            set_field(f, 1, &m, 0, first, &wide);
            set_field(f, 2, &m, 0, first, &wide); /* what runs over is seen */
            set_field(f, 1, &m, 0, (size_t)MAX((int)first + change, 0), &wide);
            check(f, 1, &m);
            heap_check(&f->p->heap);
            m.lengths[0] = (int)first;
            check(f, 2, &m);
            struct text t;
            struct key key = key_in(f->p, t.bytes, 1);
            part_delete(f->p, 0, &key, 10);
            key = key_in(f->p, t.bytes, 2);
            part_delete(f->p, 0, &key, 10);
            assert_int_equal(f->p->heap.live_bytes, 0);
        }
    }
}

/* A hash made where a row is known to be absent, and where an expired one was. */
static void test_put_over(void **state) {
    struct fixture *f = *state;
    struct text t;
    struct key key = key_in(f->p, t.bytes, 1);
    struct model m = {0};
    part_put(f->p, 0, &key, entry_create_absent(&f->p->heap, key.bytes, 1000, some_origin));
    set_field(f, 1, &m, 3, 20, &usual);
    check(f, 1, &m);
    part_set_expire(f->p, 0, &key, 9, 1);
    m.there = false;
    check(f, 1, &m);
    set_field(f, 1, &m, 4, 20, &usual);
    check(f, 1, &m);
}

/* --- random changes --- */

static void replace_with_row(struct fixture *f, unsigned n, struct model *m) {
    struct text t, name;
    struct key key = key_in(f->p, t.bytes, n);
    char room[ENTRY_INLINE_BYTES_MAX];
    struct hash h;
    hash_init(&h, room, sizeof room);
    *m = (struct model){.there = true, .expire_ms = 1000, .is_row = true};
    memset(m->lengths, -1, sizeof m->lengths);
    for (unsigned i = 0; i < 1 + rng_below(&f->rng, 12); i++) {
        m->lengths[i] = (int)rng_below(&f->rng, rng_below(&f->rng, 4) ? 30 : 3000);
        struct slice pair[] = {field_of(&name, i), value_of((size_t)m->lengths[i])};
        hash_append(&h, pair, 1);
    }
    struct entry *row = entry_create_hash(NULL, key.bytes, &h, 1000, some_origin);
    part_put(f->p, 0, &key, entry_move(NULL, &f->p->heap, row, key.bytes, 1000));
}

static void change_whole(struct fixture *f, unsigned n, struct model *models, unsigned keys) {
    struct text t, other;
    struct model *m = &models[n];
    struct key key = key_in(f->p, t.bytes, n);
    unsigned to = (unsigned)rng_below(&f->rng, keys);
    struct key to_key = key_in(f->p, other.bytes, to);
    const struct entry *e = part_peek(f->p, 0, &key, 10);
    switch (rng_below(&f->rng, 6)) {
    case 0:
        assert_int_equal(part_delete(f->p, 0, &key, 10), m->there);
        m->there = false;
        break;
    case 1:
        m->expire_ms = rng_below(&f->rng, 2) ? EXPIRE_NEVER : 77;
        part_set_expire(f->p, 0, &key, m->expire_ms, 10);
        break;
    case 2:
        if (e && to != n) {
            part_move_key((struct key_place){f->p, 0, &key}, (struct key_place){f->p, 0, &to_key},
                          10);
            models[to] = *m;
            m->there = false;
        }
        break;
    case 3:
        if (e && to != n) {
            part_put(f->p, 0, &to_key, entry_copy(&f->p->heap, e, to_key.bytes, 50, no_origin));
            models[to] = *m;
            models[to].expire_ms = 50;
            models[to].is_row = false;
        }
        break;
    default:
        replace_with_row(f, n, m);
    }
}

static void test_random_changes(void **state) {
    enum { KEYS = 60, STEPS = 20000 };
    struct fixture *f = *state;
    struct model *models = mem_zalloc(KEYS * sizeof *models);
    uint64_t moved = 0, forms[4] = {0}, tables = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned n = (unsigned)rng_below(&f->rng, KEYS);
        unsigned field = (unsigned)rng_below(&f->rng, 4 + n * (FIELDS - 4) / KEYS);
        size_t most = n % 3 == 0 ? 20 : n % 3 == 1 ? 66 : n % 9 == 2 ? VALUE_MAX : 300;
        const struct hash_limits *limits = n % 2 ? &usual : &wide;
        switch (rng_below(&f->rng, 40)) {
        case 0:
            change_whole(f, n, models, KEYS);
            break;
        case 1:
        case 2:
            moved += part_compact(f->p, compact_any, 1 + (uint32_t)rng_below(&f->rng, 100));
            break;
        default:
            if (rng_below(&f->rng, 5) < (step / 3000 % 2 ? 2 : 4)) {
                set_field(f, n, &models[n], field, rng_below(&f->rng, most), limits);
            } else {
                delete_field(f, n, &models[n], field);
            }
        }
        const struct entry *e = peek(f, n);
        forms[e ? e->head >> 6 : 0]++;
        tables += e && entry_hash_apart(e) && !hash_is_packed(entry_hash_apart(e));
        check(f, n, &models[n]);
        if (step % 256 == 255) {
            for (n = 0; n < KEYS; n++) {
                check(f, n, &models[n]);
            }
            heap_check(&f->p->heap);
            table_check(f->p->db[0]);
        }
        part_drain_step(f->p);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_true(forms[i] > STEPS / 500);
    }
    assert_true(tables > STEPS / 50 && forms[ENTRY_POINTER >> 6] > tables + STEPS / 50);
    assert_true(moved > 1000);
    mem_free(models);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_no_fields),
        cmocka_unit_test(test_many_pairs),
        cmocka_unit_test(test_append),
        cmocka_unit_test_setup_teardown(test_transitions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exact_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_changes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
