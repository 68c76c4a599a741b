/* Processor time and pinning; see the header. */
#include "cpu.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

static int64_t read_thread_ns(int pid, const char *tid) {
    char path[320];
    snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, tid);
    FILE *f = fopen(path, "re");
    if (!f) {
        return 0; /* the thread ended since the folder was read */
    }
    unsigned long long ns;
    int fields = fscanf(f, "%llu", &ns);
    fclose(f);
    return fields == 1 ? (int64_t)ns : 0;
}

int64_t cpu_of_process_ns(int pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    if (!dir) {
        return -1;
    }
    int64_t sum = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] != '.') {
            sum += read_thread_ns(pid, entry->d_name);
        }
    }
    closedir(dir);
    return sum;
}

int64_t cpu_of_thread_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

bool cpu_pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}
