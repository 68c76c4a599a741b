#ifndef FOREBAY_ENGINE_HASH_H
#define FOREBAY_ENGINE_HASH_H
/* The hash type: packed pairs while small ("listpack"), a table of entries beyond ("hashtable").
 *
 *     empty -> packed, in borrowed memory -> packed, in its own -> table
 *
 * 1. Packed pairs of up to ENTRY_INLINE_BYTES_MAX lie in their key's entry. A command looks at them
 *    through a `struct hash` on its stack that borrows their bytes and the room behind them
 *    (entry_hash). What changes it may move the pairs to memory of the hash's own, or to a table.
 * 2. So whoever changed such a view hands it back (part_put_hash) before the key is looked at
 *    again. Nothing that only deletes makes a view own memory.
 * 3. What a hash owns goes with hash_deinit, or is taken over by an entry. */
#include <stdbool.h>
#include <stdint.h>
#include "base/rng.h"
#include "base/slice.h"

struct hash_limits {
    uint32_t packed_fields_max; /* hash-max-listpack-entries, 512 */
    uint32_t packed_bytes_max;  /* hash-max-listpack-value, 64: of a field or value */
};

struct table;
/* All zero is an empty one. The fields are hash.c's. */
struct hash {
    struct table *table;
    char *packed;
    uint32_t len, cap; /* bytes of `packed` */
    uint32_t count;    /* pairs in `packed`; HASH_COUNT_UNKNOWN: as many as a walk finds */
    bool borrows;      /* `packed` is somebody else's memory */
};
enum { HASH_COUNT_MANY = 255 }; /* packed pairs are counted by walking from here on */
#define HASH_COUNT_UNKNOWN UINT32_MAX

/* Empty, with room for packed pairs that stays the caller's and outlives the hash. */
static inline void hash_init(struct hash *h, char *room, size_t room_bytes) {
    *h = (struct hash){.packed = room, .cap = (uint32_t)room_bytes, .borrows = true};
}
/* The packed pairs that lie in the first `len` of `room_bytes`, as hash_packed has given them. */
static inline void hash_init_view(struct hash *h, char *bytes, size_t len, size_t room_bytes) {
    uint32_t count = (uint8_t)bytes[0];
    *h = (struct hash){.packed = bytes,
                       .len = (uint32_t)len,
                       .cap = (uint32_t)room_bytes,
                       .count = count < HASH_COUNT_MANY ? count : HASH_COUNT_UNKNOWN,
                       .borrows = true};
}
/* Frees what it owns; it is empty then. */
void hash_deinit(struct hash *h);
/* A deep copy; `to` is empty before. */
void hash_copy(struct hash *to, const struct hash *from);
uint64_t hash_count(const struct hash *h); /* fields */
static inline bool hash_is_packed(const struct hash *h) {
    return !h->table;
}
/* Of a packed hash, its bytes: never none. */
struct slice hash_packed(struct hash *h);
/* `packed` lies in borrowed memory, not in its own. */
static inline bool hash_borrows(const struct hash *h) {
    return h->borrows;
}
/* Borrowed until the hash changes. False when there is no such field. */
bool hash_get(const struct hash *h, struct slice field, struct slice *value);
/* True when the field is new. Neither slice may point into `h`. A view is to be handed back. */
bool hash_set(struct hash *h, struct slice field, struct slice value, const struct hash_limits *l);
bool hash_delete(struct hash *h, struct slice field);
/* Adds `count` pairs to a packed hash whatever their lengths, in one allocation at most: all fields
 * differ from one another and from those that are there, which nobody checks. They take
 * hash_pairs_bytes. */
void hash_append(struct hash *h, const struct slice *pairs, uint32_t count);
size_t hash_pairs_bytes(const struct slice *pairs, uint32_t count);

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
/* Memory of its own in bytes; measures `samples` fields (0 = all) and extrapolates. */
size_t hash_memory_bytes(const struct hash *h, uint32_t samples);
/* Frees fields, `limit` or a few hundred more, and returns true when it is empty: for a large hash
 * that nobody will look into any more. Only hash_drain, hash_count and hash_deinit may follow. */
bool hash_drain(struct hash *h, uint64_t limit);

/* Moves what it owns out of sparse slabs, see defrag.h. `cursor` 0 starts; it is 0 again when all
 * was looked at, else the next call goes on there, whatever was changed in between. Goes beyond
 * what `d` allows by a bucket of fields. */
struct defrag;
void hash_defrag(struct hash *h, struct defrag *d, uint64_t *cursor);
#endif
