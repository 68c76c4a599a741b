#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/rng.h"
#include "ds/hmap.h"

enum { COUNT = 1000 };

struct item {
    struct hmap_node node;
    unsigned key;
    bool in, seen;
};

static struct item *find(const struct hmap *m, unsigned key, uint64_t hash) {
    HMAP_FOR_EACH_HASH(it, m, hash) {
        struct item *item = CONTAINER_OF(it, struct item, node);
        if (item->key == key) {
            return item;
        }
    }
    return NULL;
}

static void test_empty(void **state) {
    struct hmap m = {0};
    assert_null(hmap_first(&m, 0));
    hmap_visit(&m, NULL, NULL);
    hmap_free(&m);
}

static void test_same_hash(void **state) {
    struct hmap m = {0};
    struct item items[40] = {0};
    for (unsigned i = 0; i < ARRAY_COUNT(items); i++) {
        items[i].key = i;
        hmap_insert(&m, &items[i].node, i % 2 ? 77 : 77 + 1024); /* one bucket, two hashes */
    }
    unsigned found = 0;
    HMAP_FOR_EACH_HASH(it, &m, 77) {
        found++;
        assert_true(CONTAINER_OF(it, struct item, node)->key % 2 == 1);
    }
    assert_int_equal(found, 20);
    for (unsigned i = 0; i < ARRAY_COUNT(items); i++) {
        hmap_remove(&m, &items[i].node);
        assert_null(find(&m, i, items[i].node.hash));
    }
    assert_int_equal(m.count, 0);
    hmap_free(&m);
}

/* By chance against flags in the items; hashes collide often. */
static void test_against_model(void **state) {
    struct hmap m = {0};
    struct rng rng = {.state = 9};
    struct item *items = mem_zalloc(COUNT * sizeof *items);
    size_t in = 0;
    for (int i = 0; i < 50000; i++) {
        unsigned key = (unsigned)rng_below(&rng, COUNT);
        uint64_t hash = key / 3 * 0x9e3779b97f4a7c15ull;
        struct item *item = &items[key];
        item->key = key;
        assert_ptr_equal(find(&m, key, hash), item->in ? item : NULL);
        if (item->in) {
            hmap_remove(&m, &item->node);
            in--;
        } else {
            hmap_insert(&m, &item->node, hash);
            in++;
        }
        item->in = !item->in;
        assert_int_equal(m.count, in);
    }
    hmap_free(&m);
    mem_free(items);
}

struct visit {
    struct hmap *m;
    unsigned count;
};

static void remove_odd(struct hmap_node *node, void *arg) {
    struct visit *v = arg;
    struct item *item = CONTAINER_OF(node, struct item, node);
    assert_false(item->seen);
    item->seen = true;
    v->count++;
    if (item->key % 2) {
        hmap_remove(v->m, node);
        mem_free(item);
    }
}

static void free_item(struct hmap_node *node, void *arg) {
    mem_free(CONTAINER_OF(node, struct item, node));
}

static void test_visit_may_remove(void **state) {
    struct hmap m = {0};
    for (unsigned i = 0; i < COUNT; i++) {
        struct item *item = mem_zalloc(sizeof *item);
        item->key = i;
        hmap_insert(&m, &item->node, i * 31);
    }
    struct visit v = {.m = &m};
    hmap_visit(&m, remove_odd, &v);
    assert_int_equal(v.count, COUNT);
    assert_int_equal(m.count, COUNT / 2);
    hmap_visit(&m, free_item, NULL);
    hmap_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_same_hash),
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_visit_may_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
