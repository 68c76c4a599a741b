#ifndef FOREBAY_SERVER_CGROUP_H
#define FOREBAY_SERVER_CGROUP_H
/* The memory limit of the control groups a process is in. Any thread. */
#include <stdint.h>

enum cgroup_source { CGROUP_NONE, CGROUP_V2, CGROUP_V1 };

struct cgroup_limit {
    uint64_t bytes; /* UINT64_MAX = none */
    enum cgroup_source source;
};

/* The smallest limit of the group and of those above it. `groups` is a file as /proc/self/cgroup,
 * `root` the folder where the hierarchies are mounted, /sys/fs/cgroup. What can't be read does not
 * limit. */
struct cgroup_limit cgroup_memory_limit(const char *groups, const char *root);
#endif
