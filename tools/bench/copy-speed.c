/* How fast this machine's memory copies: memcpy of blocks of the given size from one region to
 * another, both far larger than the caches, and of one block that stays in them. What a large reply
 * could cost at best. Usage: copy-speed [block bytes]. Prints one JSON object. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"

enum { REGION_BYTES = 256 << 20, ROUNDS = 5, BLOCK_DEFAULT = 1000000 };

/* Best of some rounds, in bytes a nanosecond = GB/s. */
static double copy_speed(char *to, const char *from, size_t block, size_t step) {
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start_ns = clock_mono_ns();
        size_t blocks = REGION_BYTES / block;
        for (size_t i = 0; i < blocks; i++) {
            memcpy(to + i * step, from + i * step, block);
            __asm__ volatile("" : : "r"(to) : "memory");
        }
        double speed = (double)(blocks * block) / (double)(clock_mono_ns() - start_ns);
        best = speed > best ? speed : best;
    }
    return best;
}

int main(int argc, char **argv) {
    size_t block = argc > 1 ? strtoul(argv[1], NULL, 10) : BLOCK_DEFAULT;
    if (block == 0 || block > REGION_BYTES) {
        fprintf(stderr, "copy-speed [block bytes]\n");
        return 2;
    }
    char *from = mem_alloc(REGION_BYTES), *to = mem_alloc(REGION_BYTES);
    memset(from, 1, REGION_BYTES);
    memset(to, 2, REGION_BYTES);
    printf("{\"block\":%zu,\"memory_gb_s\":%.2f,\"cached_gb_s\":%.2f}\n", block,
           copy_speed(to, from, block, block), copy_speed(to, from, block, 0));
    mem_free(from);
    mem_free(to);
    return 0;
}
