#ifndef FOREBAY_ENGINE_ENTRY_H
#define FOREBAY_ENGINE_ENTRY_H
/* One key and its value: a single allocation of variable layout. The same entries hold the fields of
 * large hashes (key = field).
 *
 *     kind  flags  [expire:6] [origin:8] klen:1|4  [vlen:1|2]  key...  value...
 *     u8    u8      ms         store      by flags   by flags          in place, or 8 bytes: pointer
 *
 * 1. A string value lies in place up to ENTRY_INLINE_BYTES_MAX, else in a `struct blob` of its own,
 *    which has a reference count so that a reply can pin it. Other types: a pointer to the value.
 *    VALUE_ABSENT has no value at all.
 * 2. Nothing is padded, so every field is read and written through memcpy.
 * 3. An expiry field may hold "never": PERSIST need not move the entry.
 * 4. Memory is asked for in the allocator's own sizes, so a string may be overwritten in place by any
 *    other that falls into the same size. Raw strings have room to spare.
 *
 * An entry belongs to one table (under its partition's lock) or to whoever made or took it. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "base/slice.h"

enum {
    ENTRY_INLINE_BYTES_MAX = 8 * 1024,
    ENTRY_KEY_BYTES_MAX = 512 * 1024 * 1024,
};

#define EXPIRE_NEVER INT64_MAX /* "has no TTL" in every expire_ms of the engine */
/* The latest expiry kept (the year 10889); later ones are stored as this. */
#define ENTRY_EXPIRE_MS_MAX ((1ll << 48) - 2)

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

enum entry_flags { /* which fields of the layout there are */
    ENTRY_HAS_EXPIRE = 1,
    ENTRY_HAS_ORIGIN = 2,
    ENTRY_KLEN_4 = 4,
    ENTRY_VLEN_2 = 8,   /* of an in-place value: two bytes of length, else one */
    ENTRY_POINTER = 16, /* instead of a length and a value in place */
    ENTRY_RAW = 32,
};

struct entry { /* a view of the bytes above, never allocated by its size */
    uint8_t kind, flags;
    uint8_t rest[];
};

/* A large string value, shared between the entry and replies being sent. Its bytes are changed only
 * while `refs` is 1 and the partition's lock is held. */
struct blob {
    _Atomic uint32_t refs;
    size_t len, cap; /* bytes */
    char bytes[];
};
/* Room for `cap` bytes, `len` of them in use and not set; one reference, the caller's. */
struct blob *blob_create(size_t len, size_t cap);
void blob_ref(struct blob *b);
/* Frees with the last reference. Any thread; fits chain_append_pinned. */
void blob_unref(void *blob);

/* --- reading --- */
static inline enum value_type entry_type(const struct entry *e) {
    return (enum value_type)e->kind;
}
static inline struct slice entry_key(const struct entry *e);
/* EXPIRE_NEVER when there is none. */
static inline int64_t entry_expire_ms(const struct entry *e);
static inline bool entry_is_expired(const struct entry *e, int64_t now_ms);
struct entry_origin entry_origin(const struct entry *e);
/* VALUE_STRING only: the bytes; valid until the entry changes. */
static inline struct slice entry_string(const struct entry *e);
/* The blob behind a string, to pin it; NULL when the value lies in place. */
static inline struct blob *entry_blob(const struct entry *e);
/* True once APPEND or SETRANGE made it: OBJECT ENCODING says "raw". */
static inline bool entry_is_raw(const struct entry *e) {
    return e->flags & ENTRY_RAW;
}
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

/* --- changing: for the engine, which tells the table where the entry stands --- */
/* Sets the expiry in place. False: the entry has no room for it, entry_move makes it. */
bool entry_set_expire(struct entry *e, int64_t expire_ms);
/* Overwrites a string in place and clears "raw". False: it does not fit, or would waste memory. */
bool entry_set_string(struct entry *e, struct slice value);
/* The entry under another key and TTL, with the same value and origin. `e` is used up. */
struct entry *entry_move(struct entry *e, struct slice key, int64_t expire_ms);
/* A string made `len` bytes long and raw: zeros where it grew, room to grow again. Returns `e`, or
 * the entry that takes its place; `e` is used up then. */
struct entry *entry_resize_string(struct entry *e, size_t len);

/* --- layout --- */
enum { ENTRY_EXPIRE_BYTES = 6 };

static inline size_t entry_header_bytes(unsigned flags) {
    return 2 + (flags & ENTRY_HAS_EXPIRE ? ENTRY_EXPIRE_BYTES : 0) +
           (flags & ENTRY_HAS_ORIGIN ? sizeof(struct entry_origin) : 0) +
           (flags & ENTRY_KLEN_4 ? 4 : 1) +
           (flags & ENTRY_POINTER ? 0 : flags & ENTRY_VLEN_2 ? 2 : 1);
}

static inline int64_t entry_expire_ms(const struct entry *e) {
    if (!(e->flags & ENTRY_HAS_EXPIRE)) {
        return EXPIRE_NEVER;
    }
    uint64_t ms = 0;
    memcpy(&ms, e->rest, ENTRY_EXPIRE_BYTES);
    return ms > (uint64_t)ENTRY_EXPIRE_MS_MAX ? EXPIRE_NEVER : (int64_t)ms;
}

static inline bool entry_is_expired(const struct entry *e, int64_t now_ms) {
    return entry_expire_ms(e) <= now_ms;
}

static inline struct slice entry_key(const struct entry *e) {
    const char *end = (const char *)e + entry_header_bytes(e->flags);
    const char *klen_at =
        end - (e->flags & ENTRY_POINTER ? 0 : e->flags & ENTRY_VLEN_2 ? 2 : 1) -
        (e->flags & ENTRY_KLEN_4 ? 4 : 1);
    uint32_t klen = (uint8_t)*klen_at;
    if (e->flags & ENTRY_KLEN_4) {
        memcpy(&klen, klen_at, 4);
    }
    return slice_of(end, klen);
}

static inline void *entry_pointer(const struct entry *e) {
    struct slice key = entry_key(e);
    void *pointer;
    memcpy(&pointer, key.ptr + key.len, sizeof pointer);
    return pointer;
}

static inline struct blob *entry_blob(const struct entry *e) {
    return e->kind == VALUE_STRING && e->flags & ENTRY_POINTER ? entry_pointer(e) : NULL;
}

static inline struct slice entry_string(const struct entry *e) {
    if (e->flags & ENTRY_POINTER) {
        const struct blob *b = entry_pointer(e);
        return slice_of(b->bytes, b->len);
    }
    struct slice key = entry_key(e);
    uint16_t vlen = (uint8_t)key.ptr[-1];
    if (e->flags & ENTRY_VLEN_2) {
        memcpy(&vlen, key.ptr - 2, 2);
    }
    return slice_of(key.ptr + key.len, vlen);
}
#endif
