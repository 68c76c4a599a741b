/* Questions to the kernel. Descriptor limits are raised, never lowered. Any thread. */
#include "server/limits.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "base/assert.h"
#include "engine/keyspace.h"
#include "server/cgroup.h"

STATIC_ASSERT((int)LIMITS_SHARDS_MAX *(int)PARTITIONS_PER_SHARD <= (int)PARTITIONS_MAX,
              "every shard has its partitions");

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

struct limits_memory limits_memory(void) {
    static const char *const names[] = {
        [CGROUP_NONE] = "machine", [CGROUP_V2] = "cgroup-v2", [CGROUP_V1] = "cgroup-v1"};
    struct cgroup_limit group = cgroup_memory_limit("/proc/self/cgroup", "/sys/fs/cgroup");
    uint64_t machine = limits_machine_bytes();
    return group.bytes < machine ? (struct limits_memory){group.bytes, names[group.source]}
                                 : (struct limits_memory){machine, names[CGROUP_NONE]};
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
