#ifndef FOREBAY_SERVER_LIMITS_H
#define FOREBAY_SERVER_LIMITS_H
/* What the kernel grants the process: descriptors, memory, cores. Any thread. */
#include <stdint.h>

enum {
    LIMITS_CLIENTS_MAX = 1000000,
    LIMITS_SHARDS_MAX = 64, /* x PARTITIONS_PER_SHARD = PARTITIONS_MAX */
    LIMITS_OWN_FDS = 512,   /* listeners, rings, wake-ups, the store's connections, log, files */
};

/* Raises RLIMIT_NOFILE for `clients` clients as far as it may and returns how many fit. */
uint32_t limits_raise_files(uint32_t clients);
/* Memory the process may use: the smaller of the machine's and its control groups' limit. */
struct limits_memory {
    uint64_t bytes;
    const char *source; /* "machine", "cgroup-v2", "cgroup-v1" */
};
struct limits_memory limits_memory(void);
/* The machine's memory, in bytes. */
uint64_t limits_machine_bytes(void);
/* Cores the process may run on, at least 1. */
uint32_t limits_cores(void);
/* The i-th of those cores (modulo their number), for pin-shards. */
int limits_core(uint32_t i);
#endif
