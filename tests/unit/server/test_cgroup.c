/* Control groups in made directories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/assert.h"
#include "server/cgroup.h"

enum { PATH_BYTES = 512 };

struct fixture {
    char root[32];
};

/* Writes a file, with the folders above it. */
static void put(const struct fixture *f, const char *name, const char *text) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", f->root, name);
    for (char *at = path + strlen(f->root) + 1; (at = strchr(at, '/')); at++) {
        *at = '\0';
        mkdir(path, 0777);
        *at = '/';
    }
    FILE *file = fopen(path, "w");
    ASSERT(file);
    fputs(text, file);
    fclose(file);
}

static struct cgroup_limit limit_of(const struct fixture *f) {
    char groups[PATH_BYTES];
    snprintf(groups, sizeof groups, "%s/groups", f->root);
    return cgroup_memory_limit(groups, f->root);
}

static int setup(void **state) {
    struct fixture *f = malloc(sizeof *f);
    strcpy(f->root, "/tmp/forebay-cgroup-XXXXXX");
    ASSERT(mkdtemp(f->root));
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    char command[PATH_BYTES];
    snprintf(command, sizeof command, "rm -r %s", f->root);
    int status = system(command);
    free(f);
    return status;
}

static void expect(const struct fixture *f, uint64_t bytes, enum cgroup_source source) {
    struct cgroup_limit limit = limit_of(f);
    assert_int_equal(limit.bytes, bytes);
    assert_int_equal(limit.source, source);
}

static void test_none(void **state) {
    struct fixture *f = *state;
    expect(f, UINT64_MAX, CGROUP_NONE); /* no file of groups at all */
    put(f, "groups", "");
    expect(f, UINT64_MAX, CGROUP_NONE);
    put(f, "groups", "garbage\n:\n::\n0:\n");
    expect(f, UINT64_MAX, CGROUP_NONE);
    put(f, "groups", "0::/a\n");
    put(f, "a/memory.max", "max\n");
    put(f, "memory.max", "max\n");
    expect(f, UINT64_MAX, CGROUP_NONE);
}

static void test_parents(void **state) {
    struct fixture *f = *state;
    put(f, "groups", "0::/a/b/c\n");
    put(f, "a/b/c/memory.max", "3000\n");
    expect(f, 3000, CGROUP_V2);
    put(f, "a/memory.max", "1000\n"); /* b has no file */
    expect(f, 1000, CGROUP_V2);
    put(f, "memory.max", "2000\n");
    expect(f, 1000, CGROUP_V2);
    put(f, "a/memory.max", "max\n");
    expect(f, 2000, CGROUP_V2);
}

/* Inside a container: its own group is the root, whatever the path says. */
static void test_container(void **state) {
    struct fixture *f = *state;
    put(f, "memory.max", "500\n");
    put(f, "groups", "0::/\n");
    expect(f, 500, CGROUP_V2);
    put(f, "groups", "0::/docker/0123456789abcdef\n");
    expect(f, 500, CGROUP_V2);
    put(f, "memory.max", "max\n");
    put(f, "groups", "0::/../../a\n"); /* out of the namespace: not followed */
    put(f, "a/memory.max", "7\n");
    expect(f, UINT64_MAX, CGROUP_NONE);
}

static void test_version_1(void **state) {
    struct fixture *f = *state;
    put(f, "groups", "9:pids:/a\n4:cpu,memory:/a/b\n0::/\n");
    put(f, "memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"); /* its "none" */
    put(f, "memory/a/memory.limit_in_bytes", "4096\n");
    expect(f, 4096, CGROUP_V1);
    put(f, "unified/memory.max", "1024\n"); /* both: the least */
    expect(f, 1024, CGROUP_V2);
    put(f, "groups", "4:memoryless,xmemory:/a\n");
    expect(f, UINT64_MAX, CGROUP_NONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parents, setup, teardown),
        cmocka_unit_test_setup_teardown(test_container, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version_1, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
