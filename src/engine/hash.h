#ifndef FOREBAY_ENGINE_HASH_H
#define FOREBAY_ENGINE_HASH_H
/* The hash type: packed pairs while small ("listpack"), a table of entries beyond ("hashtable"). */
#include <stdbool.h>
#include <stdint.h>
#include "base/rng.h"
#include "base/slice.h"

struct hash_limits {
    uint32_t packed_fields_max; /* hash-max-listpack-entries, 512 */
    uint32_t packed_bytes_max;  /* hash-max-listpack-value, 64: of a field or value */
};

struct hash;
struct hash *hash_create(void);
void hash_destroy(struct hash *h); /* takes NULL */
struct hash *hash_copy(const struct hash *h);
uint64_t hash_count(const struct hash *h); /* fields */
bool hash_is_packed(const struct hash *h);
/* Borrowed until the hash changes. False when there is no such field. */
bool hash_get(const struct hash *h, struct slice field, struct slice *value);
/* True when the field is new. Neither slice may point into `h`. */
bool hash_set(struct hash *h, struct slice field, struct slice value, const struct hash_limits *l);
bool hash_delete(struct hash *h, struct slice field);

/* Visits all pairs in an order that stays while the hash does not change. All zero starts. */
struct hash_iter {
    uint64_t at, sub;
};
bool hash_next(const struct hash *h, struct hash_iter *it, struct slice *field,
               struct slice *value);
/* HSCAN: calls fn for at least `count` fields where there are that many, returns the next cursor, 0
 * at the end. A packed hash is returned whole. Every field there throughout is returned. */
uint64_t hash_scan(const struct hash *h, uint64_t cursor, uint64_t count,
                   void (*fn)(void *arg, struct slice field, struct slice value), void *arg);
/* A random pair, all equally likely to a good approximation; the hash must not be empty. */
void hash_random(const struct hash *h, struct rng *rng, struct slice *field, struct slice *value);
/* Memory in bytes; measures `samples` fields (0 = all) and extrapolates. */
size_t hash_memory_bytes(const struct hash *h, uint32_t samples);
/* Frees fields, `limit` or a few hundred more, and returns true when it is empty: for a large hash
 * that nobody will look into any more. Only hash_drain, hash_count and hash_destroy may follow. */
bool hash_drain(struct hash *h, uint64_t limit);

/* Moves what lies in sparse slabs, see defrag.h; returns where the hash is now. `cursor` 0 starts;
 * it is 0 again when all was looked at, else the next call goes on there, whatever was changed in
 * between. Goes beyond what `d` allows by a bucket of fields. */
struct defrag;
struct hash *hash_defrag(struct hash *h, struct defrag *d, uint64_t *cursor);
#endif
