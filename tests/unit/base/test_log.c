#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static int setup(void **state) {
    static char folder[] = "/tmp/forebay-log-XXXXXX";
    *state = mkdtemp(folder);
    return *state ? 0 : -1;
}

static int teardown(void **state) {
    return rmdir(*state);
}

static void path_of(char out[64], void **state, const char *name) {
    snprintf(out, 64, "%s/%s", (const char *)*state, name);
}

static size_t read_file(const char *path, char *out, size_t room) {
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t len = fread(out, 1, room - 1, f);
    out[len] = '\0';
    fclose(f);
    return len;
}

static void test_lines_levels_and_reopening(void **state) {
    char first[64], second[64], text[4096];
    path_of(first, state, "first");
    path_of(second, state, "second");
    assert_true(log_open(first));
    log_debug("unseen");
    log_notice("seen %d", 1);
    log_set_level(LOG_DEBUG);
    log_debug("seen too");
    log_set_level(LOG_NOTHING);
    log_warning("unseen");
    log_set_level(LOG_NOTICE);
    assert_true(log_open(second));
    log_warning("elsewhere");
    assert_false(log_open("/nonexistent/folder/log"));
    assert_int_equal(errno, ENOENT);
    log_warning("still there");
    read_file(first, text, sizeof text);
    assert_non_null(strstr(text, " * seen 1\n"));
    assert_non_null(strstr(text, " . seen too\n"));
    assert_null(strstr(text, "unseen"));
    assert_null(strstr(text, "elsewhere"));
    read_file(second, text, sizeof text);
    assert_non_null(strstr(text, " # elsewhere\n"));
    assert_non_null(strstr(text, " # still there\n"));
    unlink(first);
    unlink(second);
}

/* The descriptor this process has open on `path`, -1 if none. */
static int descriptor_of(const char *path) {
    struct stat wanted, found;
    assert_int_equal(stat(path, &wanted), 0);
    for (int fd = 0; fd < 1024; fd++) {
        if (fstat(fd, &found) == 0 && found.st_ino == wanted.st_ino &&
            found.st_dev == wanted.st_dev) {
            return fd;
        }
    }
    return -1;
}

/* A thread may have read the sink's number just before it is reopened: the number must stay the
 * log's, or the line would go to whatever file or socket gets it next. */
static void test_reopening_keeps_the_descriptor(void **state) {
    char first[64], second[64];
    path_of(first, state, "first");
    path_of(second, state, "second");
    assert_true(log_open(first));
    int fd = descriptor_of(first);
    assert_true(fd > STDOUT_FILENO);
    assert_true(log_open(second));
    assert_int_equal(descriptor_of(second), fd);
    assert_int_equal(descriptor_of(first), -1);
    assert_true(log_open(""));
    assert_int_equal(descriptor_of(second), -1);
    assert_true(log_open(first));
    assert_int_equal(descriptor_of(first), fd);
    unlink(first);
    unlink(second);
}

static void test_long_lines_are_cut(void **state) {
    char path[64], text[4096], line[2000];
    path_of(path, state, "long");
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    assert_true(log_open(path));
    log_notice("%s", line);
    assert_int_equal(read_file(path, text, sizeof text), 1024);
    assert_int_equal(text[1023], '\n');
    assert_int_equal(text[1022], 'x');
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_levels_and_reopening),
        cmocka_unit_test(test_reopening_keeps_the_descriptor),
        cmocka_unit_test(test_long_lines_are_cut),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
