#ifndef FOREBAY_ENGINE_MRC_H
#define FOREBAY_ENGINE_MRC_H
/* What the hit ratio would be with more or less memory: a miss-ratio curve of LRU, estimated from a
 * small sample of the keys while they are served (SHARDS: Waldspurger, Park, Garthwaite, Ahmad,
 * FAST '15; the fixed-size variant with the adjustment for the expected number of samples). One a
 * partition; under its lock. See mrc.c. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/assert.h"

enum {
    MRC_KEYS_MAX = 8192,     /* sampled, in all partitions together ... */
    MRC_KEYS_MIN = 64,       /* ... but at least so many in each */
    MRC_RATE_MAX_BITS = 5,   /* at most one of 32 keys is sampled ... */
    MRC_RATE_MID_BITS = 6,   /* ... one of 64 where that is a 16th of MRC_KEYS_MAX ... */
    MRC_RATE_BITS = 8,       /* ... and one of 256 where that is a quarter */
    MRC_REACH = 16,          /* times what the keys take: the largest memory it is good for */
    MRC_OCTAVE = 8,          /* buckets of distances in each doubling of bytes */
    MRC_BYTES_BITS_MIN = 10, /* the first bucket: up to 1 KiB */
    MRC_BYTES_BITS_MAX = 46,
    MRC_BUCKETS = (MRC_BYTES_BITS_MAX - MRC_BYTES_BITS_MIN) * MRC_OCTAVE + 1,
};

struct mrc_sample; /* made with the first sampled key */

struct mrc {
    uint32_t threshold; /* keys whose hash has its low 32 bits below it are sampled; 0 = off */
    uint32_t keys_max;
    uint32_t partitions;
    struct mrc_sample *sample;
};

/* Reads of the partition so far. */
struct mrc_counts {
    uint64_t hits, misses;
};

void mrc_init(struct mrc *m, uint32_t partitions);
/* Off: forgets everything. On again: begins anew. */
void mrc_set_enabled(struct mrc *m, bool enabled);

/* The one question on the way of every request. */
static inline bool mrc_samples(const struct mrc *m, uint64_t hash) {
    return UNLIKELY((uint32_t)hash < m->threshold);
}

/* For keys that are sampled. A read: `bytes` is what the key takes in memory, 0 = it was a miss;
 * `counts` have it already. */
void mrc_read(struct mrc *m, unsigned db, uint64_t hash, size_t bytes, struct mrc_counts counts);
/* A write: the key is now the most recent one, and of that size. */
void mrc_write(struct mrc *m, unsigned db, uint64_t hash, size_t bytes, struct mrc_counts counts);
/* It was deleted or has expired: no memory would have kept it. */
void mrc_remove(struct mrc *m, unsigned db, uint64_t hash);
/* It was evicted, and stays on the stack: with more memory it would be there. */
void mrc_evict(struct mrc *m, unsigned db, uint64_t hash);
/* All keys of a database are gone. Any state. */
void mrc_flush(struct mrc *m, unsigned db);

/* The estimates of several partitions together. All zero starts. */
struct mrc_sum {
    uint64_t keys, bytes;       /* sampled now; what these keys take together */
    double rate;                /* mean share of keys sampled, times `parts` */
    uint32_t parts;
    double reads, hits;         /* of all keys, lately, as counted */
    double sampled, distances[MRC_BUCKETS]; /* reads of sampled keys over their rate; by distance */
};
void mrc_add(const struct mrc *m, struct mrc_sum *sum);
/* The share of reads that LRU would answer with so many bytes of keys; 0 without any reads. */
double mrc_hit_ratio(const struct mrc_sum *sum, double bytes);

#endif
