/* Questions to the kernel. Descriptor limits are raised, never lowered. Any thread. */
#include "server/limits.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "base/assert.h"
#include "engine/keyspace.h"

STATIC_ASSERT((int)LIMITS_SHARDS_MAX *(int)PARTITIONS_PER_SHARD <= (int)PARTITIONS_MAX,
              "every shard has its partitions");

enum { CGROUP_PATH_MAX = 512 };

uint32_t limits_raise_files(uint32_t clients) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)clients + LIMITS_OWN_FDS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return clients;
    }
    if (limit.rlim_cur < wanted) {
        struct rlimit raised = {wanted, MAX(wanted, limit.rlim_max)};
        if (setrlimit(RLIMIT_NOFILE, &raised) != 0) {
            raised = (struct rlimit){MIN(wanted, limit.rlim_max), limit.rlim_max};
            setrlimit(RLIMIT_NOFILE, &raised);
        }
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= wanted) {
        return clients;
    }
    return limit.rlim_cur > LIMITS_OWN_FDS ? (uint32_t)(limit.rlim_cur - LIMITS_OWN_FDS) : 1;
}

uint64_t limits_machine_bytes(void) {
    struct sysinfo info;
    return sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
}

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

/* A group's parents limit it too. */
static uint64_t cgroup_limit(void) {
    char group[CGROUP_PATH_MAX / 2] = "", path[CGROUP_PATH_MAX];
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) {
        return UINT64_MAX;
    }
    int got = fscanf(f, "0::%255s", group);
    fclose(f);
    uint64_t least = UINT64_MAX;
    while (got == 1) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
        least = MIN(least, read_limit(path));
        char *slash = strrchr(group, '/');
        if (!slash) {
            break;
        }
        *slash = '\0';
    }
    return least;
}

uint64_t limits_memory_bytes(void) {
    return MIN(limits_machine_bytes(), cgroup_limit());
}

uint32_t limits_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    int count = CPU_COUNT(&set);
    return count > 0 ? (uint32_t)count : 1;
}

int limits_core(uint32_t i) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 0;
    }
    uint32_t wanted = i % (uint32_t)CPU_COUNT(&set);
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (CPU_ISSET(core, &set) && wanted-- == 0) {
            return core;
        }
    }
    return 0;
}
