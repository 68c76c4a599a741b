#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ds/list.h"

struct item {
    struct list link;
    char name;
};

static void init_items(struct item items[3]) {
    for (int i = 0; i < 3; i++) {
        list_init(&items[i].link);
        items[i].name = (char)('a' + i);
    }
}

static void assert_order(struct list *head, const char *expected) {
    size_t i = 0;
    LIST_FOR_EACH(it, head) {
        assert_int_equal(CONTAINER_OF(it, struct item, link)->name, expected[i++]);
        assert_ptr_equal(it->next->prev, it);
    }
    assert_int_equal(expected[i], '\0');
}

static void test_push_pop_remove(void **state) {
    struct list head;
    struct item items[3];
    list_init(&head);
    init_items(items);
    assert_null(list_pop_front(&head));
    list_push_back(&head, &items[1].link);
    list_push_back(&head, &items[2].link);
    list_push_front(&head, &items[0].link);
    assert_order(&head, "abc");
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    assert_order(&head, "ac");
    list_insert_before(&items[0].link, &items[1].link);
    assert_order(&head, "bac");
    assert_ptr_equal(list_pop_front(&head), &items[1].link);
    assert_true(list_empty(&items[1].link));
    assert_order(&head, "ac");
}

static void test_splice(void **state) {
    struct list to, from;
    struct item items[3];
    list_init(&to);
    list_init(&from);
    init_items(items);
    list_splice(&to, &from);
    assert_true(list_empty(&to));
    list_push_back(&to, &items[0].link);
    list_push_back(&from, &items[1].link);
    list_push_back(&from, &items[2].link);
    list_splice(&to, &from);
    assert_order(&to, "abc");
    assert_true(list_empty(&from));
}

static void test_body_may_unlink(void **state) {
    struct list head;
    struct item items[3];
    list_init(&head);
    init_items(items);
    for (int i = 0; i < 3; i++) {
        list_push_back(&head, &items[i].link);
    }
    LIST_FOR_EACH(it, &head) {
        list_remove(it);
    }
    assert_true(list_empty(&head));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push_pop_remove),
        cmocka_unit_test(test_splice),
        cmocka_unit_test(test_body_may_unlink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
