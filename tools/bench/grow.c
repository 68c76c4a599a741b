/* The slowest single SET while a keyspace grows, without a network: part_set_string of each key
 * once, every call timed by two clocks. The wall clock also counts what else ran on the core
 * meanwhile; the thread's CPU clock leaves that out, and what the hypervisor took only where the
 * kernel knows of it. For comparison the same calls are repeated, which finds every key and grows
 * nothing, and an empty operation is timed as often: what both show is the machine's.
 *
 * Usage: grow [keys] [value bytes] [TTL in seconds]. Prints one JSON object. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "engine/keyspace.h"
#include "histogram.h"

enum { KEY_BYTES = 16, TOP_COUNT = 5, VALUE_BYTES_MAX = 8192, KEYS_DEFAULT = 10000000 };

enum pass { PASS_GROW, PASS_REPEAT, PASS_EMPTY, PASSES };
static const char *const PASS_NAMES[] = {"grow", "repeat", "empty"};

struct times {
    struct histogram wall, cpu;
    uint64_t top_ns[TOP_COUNT]; /* of the CPU clock, descending */
    int64_t total_ns;
};

struct growth {
    struct keyspace *ks;
    uint64_t keys;
    int64_t expire_ms;
    struct slice value;
};

static int64_t cpu_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void note_top(struct times *t, uint64_t ns) {
    for (int i = 0; i < TOP_COUNT; i++) {
        if (ns > t->top_ns[i]) {
            uint64_t other = t->top_ns[i];
            t->top_ns[i] = ns;
            ns = other;
        }
    }
}

static void set(const struct growth *g, struct slice name) {
    struct key key = keyspace_key(g->ks, name);
    struct partition *p = keyspace_partition(g->ks, key.hash);
    lock_take(&p->lock);
    part_set_string(p, 0, &key, g->value, g->expire_ms);
    lock_release(&p->lock);
}

static void run(const struct growth *g, enum pass pass, struct times *t) {
    histogram_clear(&t->wall);
    histogram_clear(&t->cpu);
    memset(t->top_ns, 0, sizeof t->top_ns);
    t->total_ns = clock_mono_ns();
    for (uint64_t i = 0; i < g->keys; i++) {
        char name[KEY_BYTES + 1];
        snprintf(name, sizeof name, "k:%014u", (uint32_t)i);
        int64_t wall_ns = clock_mono_ns();
        int64_t used_ns = cpu_ns();
        if (pass != PASS_EMPTY) {
            set(g, slice_of(name, KEY_BYTES));
        }
        used_ns = cpu_ns() - used_ns;
        wall_ns = clock_mono_ns() - wall_ns;
        histogram_record(&t->wall, (uint64_t)MAX(wall_ns, 0), 1);
        histogram_record(&t->cpu, (uint64_t)MAX(used_ns, 0), 1);
        note_top(t, (uint64_t)MAX(used_ns, 0));
    }
    t->total_ns = clock_mono_ns() - t->total_ns;
}

static void print(enum pass pass, const struct times *t) {
    printf("\"%s\":{\"seconds\":%.2f,\"wall_max_us\":%.1f,\"cpu_max_us\":%.1f,"
           "\"cpu_p9999_us\":%.2f,\"cpu_p50_us\":%.2f,\"cpu_top_us\":[",
           PASS_NAMES[pass], (double)t->total_ns / 1e9, (double)t->wall.max / 1000,
           (double)t->cpu.max / 1000, (double)histogram_percentile(&t->cpu, 99.99) / 1000,
           (double)histogram_percentile(&t->cpu, 50) / 1000);
    for (int i = 0; i < TOP_COUNT; i++) {
        printf("%s%.1f", i ? "," : "", (double)t->top_ns[i] / 1000);
    }
    printf("]}");
}

int main(int argc, char **argv) {
    static char bytes[VALUE_BYTES_MAX];
    memset(bytes, 'v', sizeof bytes);
    unsigned long value_bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 32;
    unsigned long ttl_s = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    struct growth g = {.keys = argc > 1 ? strtoull(argv[1], NULL, 10) : KEYS_DEFAULT};
    if (g.keys == 0 || value_bytes > VALUE_BYTES_MAX) {
        fprintf(stderr, "grow [keys] [value bytes, at most %d] [TTL]\n", VALUE_BYTES_MAX);
        return 2;
    }
    mem_thread_register();
    g.ks = keyspace_create(1, 1, NULL);
    g.value = slice_of(bytes, value_bytes);
    g.expire_ms = ttl_s ? clock_wall_ms() + (int64_t)ttl_s * 1000 : EXPIRE_NEVER;
    struct times *times = mem_alloc(sizeof *times);
    printf("{\"keys\":%llu", (unsigned long long)g.keys);
    for (int pass = 0; pass < PASSES; pass++) {
        run(&g, (enum pass)pass, times);
        printf(",");
        print((enum pass)pass, times);
    }
    printf("}\n");
    mem_free(times);
    keyspace_destroy(g.ks);
    mem_thread_unregister();
    return 0;
}
