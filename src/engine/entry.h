#ifndef FOREBAY_ENGINE_ENTRY_H
#define FOREBAY_ENGINE_ENTRY_H
/* One key and its value: a single allocation of variable layout. The same entries hold the fields of
 * large hashes (key = field).
 *
 *     kind  flags  [expire:6] [origin:8] klen:1|4  [vlen:1|2|4]  key...  value...
 *     u8    u8      ms         store      by flags   by flags            in place, or 8 bytes: pointer
 *
 * A string value lies in place up to ENTRY_INLINE_BYTES_MAX, else in a `struct blob` of its own,
 * which has a reference count so that a reply can pin it. Other types: a pointer to the value. */
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"

enum {
    ENTRY_INLINE_BYTES_MAX = 8 * 1024,
    ENTRY_KEY_BYTES_MAX = 512 * 1024 * 1024,
};

#define EXPIRE_NEVER INT64_MAX /* "has no TTL" in every expire_ms of the engine */

enum value_type {
    VALUE_STRING,
    VALUE_LIST,
    VALUE_SET,
    VALUE_ZSET,
    VALUE_HASH,
    VALUE_STREAM,
    VALUE_ABSENT, /* remembered: the store has no such row. Not a key to anybody but the store path */
    VALUE_TYPES_COUNT
};

/* Where a cached row came from; 0 in `mapping` = an ordinary key. */
struct entry_origin {
    uint32_t mapping;    /* id, never reused within a process */
    uint32_t generation; /* of the mapping, at the fill */
};

struct entry;

/* A large string value, shared between the entry and replies being sent. */
struct blob {
    _Atomic uint32_t refs;
    size_t len, cap; /* bytes */
    char bytes[];
};
void blob_ref(struct blob *b);
/* Frees with the last reference. Any thread; fits chain_append_pinned. */
void blob_unref(void *blob);

/* --- reading --- */
enum value_type entry_type(const struct entry *e);
struct slice entry_key(const struct entry *e);
int64_t entry_expire_ms(const struct entry *e); /* EXPIRE_NEVER when none */
static inline bool entry_is_expired(const struct entry *e, int64_t now_ms);
struct entry_origin entry_origin(const struct entry *e);
/* VALUE_STRING only: the bytes; valid until the entry changes. */
struct slice entry_string(const struct entry *e);
/* The blob behind a string, to pin it; NULL when the value lies in place. */
struct blob *entry_blob(const struct entry *e);
/* True once APPEND or SETRANGE made it: OBJECT ENCODING says "raw". */
bool entry_is_raw(const struct entry *e);
/* Other types: the value (struct hash * for VALUE_HASH). */
void *entry_value(const struct entry *e);
/* Bytes of memory the entry and its value take, allocator slack included. O(1) but for collections,
 * where `samples` members are measured (0 = all). */
size_t entry_memory_bytes(const struct entry *e, uint32_t samples);

/* --- making (owned by the caller until it is put into a table) --- */
struct entry *entry_create_string(struct slice key, struct slice value, int64_t expire_ms,
                                  struct entry_origin origin);
/* Takes over `value`. For VALUE_ABSENT pass NULL. */
struct entry *entry_create_value(struct slice key, enum value_type type, void *value,
                                 int64_t expire_ms, struct entry_origin origin);
/* A deep copy under another key. */
struct entry *entry_copy(const struct entry *e, struct slice key, int64_t expire_ms,
                         struct entry_origin origin);
/* Takes NULL. Frees the value with it, all in one go: for large collections see partition.h. */
void entry_destroy(struct entry *e);

static inline bool entry_is_expired(const struct entry *e, int64_t now_ms) {
    return entry_expire_ms(e) <= now_ms;
}
#endif
