/* Runs a fuzz target without libFuzzer, so that every build and CI run it as an ordinary test:
 * first the kept corpus as it is, then pseudo-random mutations of it.
 *
 *     fuzz_<target> <corpus folder> <mutations> <seed>
 *
 * Memory in use may not differ at the end from what it was after the corpus, and resident memory
 * may not have grown much since the first tenth of the mutations.
 *
 * A failing mutation is left as "fuzz-failed-input.<pid>" in the working folder; put it into the
 * corpus with the fix. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/rng.h"
#include "fuzz.h"

enum {
    INPUTS_MAX = 4096,
    INPUT_BYTES_MAX = 1 << 16,
    MUTATED_BYTES_MAX = 4096,
    EDITS_MAX = 8,
    GROWTH_BYTES_MAX = 16 << 20, /* resident, allocator's leeway included */
    RANDOM_BYTES_MAX = 64, /* of an edit that inserts some */
};

struct input {
    uint8_t *bytes;
    size_t len;
};

struct corpus {
    struct input inputs[INPUTS_MAX];
    size_t count;
};

/* Pieces that matter to the protocol, so that mutations stay close to it. */
static const char *const WORDS[] = {
    "\r\n",
    "\r",
    "\n",
    "*1\r\n",
    "*3\r\n",
    "*0\r\n",
    "*-1\r\n",
    "$0\r\n\r\n",
    "$3\r\nabc\r\n",
    "$",
    "*",
    "\"",
    "'",
    "\\x4",
    "\\",
    " ",
    "\t",
    "-",
    "0",
    "999",
    "$-1\r\n",
    "2147483648",
    "18446744073709551616",
    "$1\r\nx\r\n",
};

static void corpus_load(struct corpus *corpus, const char *folder) {
    DIR *dir = opendir(folder);
    ASSERT(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
        ASSERT(fd >= 0 && corpus->count < INPUTS_MAX);
        struct input *input = &corpus->inputs[corpus->count++];
        input->bytes = mem_alloc(INPUT_BYTES_MAX);
        ssize_t len = read(fd, input->bytes, INPUT_BYTES_MAX);
        ASSERT(len >= 0);
        input->len = (size_t)len;
        close(fd);
    }
    closedir(dir);
}

static size_t insert(uint8_t *bytes, size_t len, size_t at, const void *piece, size_t piece_len) {
    if (len + piece_len > MUTATED_BYTES_MAX) {
        return len;
    }
    memmove(bytes + at + piece_len, bytes + at, len - at);
    memcpy(bytes + at, piece, piece_len);
    return len + piece_len;
}

static size_t insert_random(struct rng *rng, uint8_t *bytes, size_t len, size_t at) {
    uint8_t piece[RANDOM_BYTES_MAX];
    size_t piece_len = rng_below(rng, sizeof piece + 1);
    for (size_t i = 0; i < piece_len; i++) {
        piece[i] = (uint8_t)rng_next(rng);
    }
    return insert(bytes, len, at, piece, piece_len);
}

static size_t edit(struct rng *rng, const struct corpus *corpus, uint8_t *bytes, size_t len) {
    size_t at = rng_below(rng, len + 1);
    const char *word = WORDS[rng_below(rng, ARRAY_COUNT(WORDS))];
    const struct input *other = &corpus->inputs[rng_below(rng, corpus->count)];
    size_t cut = rng_below(rng, MIN(len - at, 16) + 1);
    switch (rng_below(rng, 6)) {
    case 5:
        return insert_random(rng, bytes, len, at);
    case 0:
        return insert(bytes, len, at, word, strlen(word));
    case 1:
        memmove(bytes + at, bytes + at + cut, len - at - cut);
        return len - cut;
    case 2:
        return insert(bytes, len, len, other->bytes, other->len);
    case 3:
        return rng_below(rng, 4) ? len : at;
    default:
        if (at < len) {
            bytes[at] = (uint8_t)rng_next(rng);
        }
        return len;
    }
}

static size_t mutate(struct rng *rng, const struct corpus *corpus, uint8_t *bytes) {
    const struct input *base = &corpus->inputs[rng_below(rng, corpus->count)];
    size_t len = MIN(base->len, (size_t)MUTATED_BYTES_MAX);
    memcpy(bytes, base->bytes, len);
    for (uint64_t edits = 1 + rng_below(rng, EDITS_MAX); edits; edits--) {
        len = edit(rng, corpus, bytes, len);
    }
    return len;
}

/* The input being run, in a file: a mapping, so that it is there when a failure aborts and costs no
 * system call. The file is MUTATED_BYTES_MAX long; a failure cuts it. */
struct left {
    char name[64];
    int fd;
    uint8_t *bytes;
    size_t len;
};

static struct left left_input;

static void left_open(struct left *left) {
    snprintf(left->name, sizeof left->name, "fuzz-failed-input.%d", (int)getpid());
    left->fd = open(left->name, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0644);
    ASSERT(left->fd >= 0 && ftruncate(left->fd, MUTATED_BYTES_MAX) == 0);
    left->bytes = mmap(NULL, MUTATED_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, left->fd, 0);
    ASSERT(left->bytes != MAP_FAILED);
}

static void left_close(struct left *left) {
    munmap(left->bytes, MUTATED_BYTES_MAX);
    close(left->fd);
    unlink(left->name);
}

static void cut_and_die(int signal_number) {
    ssize_t ignored = ftruncate(left_input.fd, (off_t)left_input.len);
    (void)ignored;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void run_mutations(const struct corpus *corpus, struct rng *rng, unsigned long count,
                          struct left *left) {
    int64_t used_bytes = mem_used_bytes();
    size_t resident_bytes = 0;
    for (unsigned long i = 0; i < count; i++) {
        if (i == count / 10) {
            resident_bytes = mem_resident_bytes();
        }
        left->len = mutate(rng, corpus, left->bytes);
        LLVMFuzzerTestOneInput(left->bytes, left->len);
    }
    ASSERT(mem_used_bytes() == used_bytes);
    ASSERT(count == 0 || mem_resident_bytes() <= resident_bytes + GROWTH_BYTES_MAX);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s <corpus folder> <mutations> <seed>\n", argv[0]);
        return 2;
    }
    mem_thread_register();
    struct corpus *corpus = mem_zalloc(sizeof *corpus);
    corpus_load(corpus, argv[1]);
    ASSERT(corpus->count > 0);
    for (size_t i = 0; i < corpus->count; i++) {
        LLVMFuzzerTestOneInput(corpus->inputs[i].bytes, corpus->inputs[i].len);
    }
    unsigned long mutations = strtoul(argv[2], NULL, 10);
    struct rng rng = {.state = strtoull(argv[3], NULL, 10)};
    struct left *left = &left_input;
    left_open(left);
    signal(SIGABRT, cut_and_die);
    run_mutations(corpus, &rng, mutations, left);
    left_close(left);
    printf("%zu inputs, %lu mutations from seed %s, %zu KiB resident\n", corpus->count, mutations,
           argv[3], mem_resident_bytes() / 1024);
    for (size_t i = 0; i < corpus->count; i++) {
        mem_free(corpus->inputs[i].bytes);
    }
    mem_free(corpus);
    return 0;
}
