/* Loading libmariadb: when it comes, and what is said when it can't. This program is not linked to
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "store/driver.h"
#include "store/mysql_library.h"

static bool is_mapped(const char *name) {
    char line[1024];
    bool found = false;
    FILE *f = fopen("/proc/self/maps", "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        found = found || strstr(line, name);
    }
    fclose(f);
    return found;
}

static void test_a_library_that_is_not_there(void **state) {
    struct mysql_library l;
    char why[256] = "";
    assert_false(mysql_library_open(&l, "libmariadb-of-no-machine.so.3", why, sizeof why));
    assert_non_null(strstr(why, "libmariadb-of-no-machine.so.3: "));
    assert_non_null(strstr(why, "libmariadb3"));
    assert_false(is_mapped("libmariadb"));
}

static void test_a_library_that_is_another(void **state) {
    struct mysql_library l;
    char why[256] = "";
    assert_false(mysql_library_open(&l, "libm.so.6", why, sizeof why));
    assert_non_null(strstr(why, "libm.so.6 has no mariadb_field_attr: "));
    assert_non_null(strstr(why, "libmariadb3"));
}

static void test_the_sqlite_driver_needs_none(void **state) {
    struct store_library *library = NULL;
    char why[256] = "";
    assert_true(driver_sqlite.library_open(&library, why, sizeof why));
    driver_sqlite.library_close(library);
    assert_false(is_mapped("libmariadb"));
}

static void test_the_mysql_driver_loads_it(void **state) {
    struct store_library *library = NULL, *again = NULL;
    char why[256] = "";
    assert_false(is_mapped("libmariadb"));
    assert_true(driver_mysql.library_open(&library, why, sizeof why));
    assert_true(is_mapped("libmariadb"));
    assert_true(driver_mysql.library_open(&again, why, sizeof why));
    driver_mysql.library_close(library);
    driver_mysql.library_close(again);
    assert_true(is_mapped("libmariadb")); /* rule 2 */
}

static void test_every_function_is_there(void **state) {
    struct mysql_library l = {0};
    char why[256] = "";
    assert_true(mysql_library_open(&l, MYSQL_LIBRARY_NAME, why, sizeof why));
#define ASSERT_SET(name) assert_true(l.name != NULL);
    MYSQL_LIBRARY_FUNCTIONS(ASSERT_SET)
#undef ASSERT_SET
    MYSQL *my = l.mysql_init(NULL);
    assert_non_null(my);
    assert_int_equal(l.mysql_errno(my), 0);
    assert_string_equal(l.mysql_error(my), "");
    l.mysql_close(my);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_library_that_is_not_there),
        cmocka_unit_test(test_a_library_that_is_another),
        cmocka_unit_test(test_the_sqlite_driver_needs_none),
        cmocka_unit_test(test_the_mysql_driver_loads_it),
        cmocka_unit_test(test_every_function_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
