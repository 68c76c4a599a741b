/* Reads /proc/self/cgroup and walks from the group named there up to the root of its hierarchy.
 *
 *   0::/a/b            version 2:  root/a/b/memory.max, root/a/memory.max, root/memory.max
 *                      (where both versions are mounted, version 2 is at root/unified)
 *   4:memory:/a/b      version 1:  root/memory/a/b/memory.limit_in_bytes ...
 *
 * 1. A group's parents limit it too: the least counts.
 * 2. In a container the path may be the host's, which does not exist there: the walk then ends at
 *    the root, which is the container's own group. A path out of the namespace ("/../x") is the
 *    root. */
#include "server/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

enum { GROUP_PATH_MAX = 1024, LINE_MAX_BYTES = GROUP_PATH_MAX, FILE_PATH_MAX = 2048 };

/* The limit in `path`, UINT64_MAX when there is none. */
static uint64_t read_limit(const char *path) {
    unsigned long long bytes;
    FILE *f = fopen(path, "re");
    if (!f) {
        return UINT64_MAX;
    }
    int got = fscanf(f, "%llu", &bytes); /* "max" does not parse */
    fclose(f);
    return got == 1 ? bytes : UINT64_MAX;
}

static uint64_t least_upwards(const char *root, const char *mount, const char *group,
                              const char *file) {
    char at[GROUP_PATH_MAX], path[FILE_PATH_MAX];
    snprintf(at, sizeof at, "%s", strstr(group, "/..") ? "" : group);
    uint64_t least = UINT64_MAX;
    for (;;) {
        int len = snprintf(path, sizeof path, "%s%s%s/%s", root, mount, at, file);
        if (len > 0 && (size_t)len < sizeof path) {
            least = MIN(least, read_limit(path));
        }
        char *slash = strrchr(at, '/');
        if (!slash) {
            return least;
        }
        *slash = '\0';
    }
}

static bool names_memory(const char *controllers) {
    for (const char *at = controllers; at; at = strchr(at, ',')) {
        at += *at == ',';
        size_t len = strcspn(at, ",");
        if (len == strlen("memory") && memcmp(at, "memory", len) == 0) {
            return true;
        }
    }
    return false;
}

static void apply(struct cgroup_limit *limit, uint64_t bytes, enum cgroup_source source) {
    if (bytes < limit->bytes) {
        *limit = (struct cgroup_limit){bytes, source};
    }
}

/* "4:memory:/a/b\n", taken apart in place. */
static void take_line(struct cgroup_limit *limit, char *line, const char *root) {
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) {
        return;
    }
    *controllers++ = '\0';
    *group++ = '\0';
    if (strcmp(line, "0") == 0 && !*controllers) {
        apply(limit, least_upwards(root, "", group, "memory.max"), CGROUP_V2);
        apply(limit, least_upwards(root, "/unified", group, "memory.max"), CGROUP_V2);
    } else if (names_memory(controllers)) {
        apply(limit, least_upwards(root, "/memory", group, "memory.limit_in_bytes"), CGROUP_V1);
    }
}

struct cgroup_limit cgroup_memory_limit(const char *groups, const char *root) {
    struct cgroup_limit limit = {UINT64_MAX, CGROUP_NONE};
    char line[LINE_MAX_BYTES];
    FILE *f = fopen(groups, "re");
    while (f && fgets(line, sizeof line, f)) {
        take_line(&limit, line, root);
    }
    if (f) {
        fclose(f);
    }
    return limit;
}
