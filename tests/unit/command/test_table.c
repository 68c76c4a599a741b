#include "harness.h"

#include <ctype.h>
#include <stdio.h>

static void every_row_is_found_by_its_name(void **state) {
    struct command_table *t = command_table_create();
    assert_true(command_table_count(t) > 100);
    for (uint32_t id = 0; id < command_table_count(t); id++) {
        const struct command *row = command_table_row(t, id);
        uint32_t found = UINT32_MAX, parent = command_table_parent(t, id);
        char upper[64];
        size_t len = strlen(row->name);
        for (size_t i = 0; i < len; i++) {
            upper[i] = (char)toupper(row->name[i]);
        }
        struct slice names[] = {slice_str(row->name), slice_of(upper, len)};
        for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
            const struct command *by_name =
                parent == COMMAND_NO_PARENT ? command_table_find(t, names[i], &found)
                                            : command_table_find_sub(t, parent, names[i], &found);
            assert_ptr_equal(by_name, row);
            assert_int_equal(found, id);
        }
    }
    command_table_destroy(t);
}

static void what_is_no_name_is_not_found(void **state) {
    struct command_table *t = command_table_create();
    static const struct slice names[] = {
        {"", 0}, {"ge", 2}, {"gett", 4}, {"get\0", 4}, {"pexpireaT!", 10}, {"flushalk", 8},
        {"transactio", 10}, {"id", 2}, {"\x07" "et", 3}, {"ge\x94", 3}, {"[et", 3}, {"incrbyfloax", 11},
        {"client|id", 9},
    };
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        uint32_t id;
        assert_null(command_table_find(t, names[i], &id));
    }
    uint32_t client, config, id;
    assert_non_null(command_table_find(t, SLICE("client"), &client));
    assert_non_null(command_table_find(t, SLICE("config"), &config));
    assert_non_null(command_table_find_sub(t, client, SLICE("Id"), &id));
    assert_string_equal(command_table_full_name(t, id), "client|id");
    assert_null(command_table_find_sub(t, config, SLICE("id"), &id));
    assert_null(command_table_find_sub(t, client, SLICE("ping"), &id));
    command_table_destroy(t);
}

static void subcommands_follow_their_container(void **state) {
    struct command_table *t = command_table_create();
    for (uint32_t id = 0; id < command_table_count(t); id++) {
        const struct command *row = command_table_row(t, id);
        for (uint32_t i = 0; row->subcommands && row->subcommands[i].name; i++) {
            assert_ptr_equal(command_table_row(t, id + 1 + i), &row->subcommands[i]);
            assert_int_equal(command_table_parent(t, id + 1 + i), id);
        }
    }
    command_table_destroy(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_found_by_its_name),
        cmocka_unit_test(what_is_no_name_is_not_found),
        cmocka_unit_test(subcommands_follow_their_container),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
