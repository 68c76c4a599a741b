#ifndef FOREBAY_ENGINE_ENTRY_H
#define FOREBAY_ENGINE_ENTRY_H
/* One key and its value: a single allocation of variable layout. The same entries hold the fields
 * of hashes that are tables (key = field).
 *
 *     head  [expire:6] [origin:8]  klen:1|4  [vlen:1|2|cap:2 len:2]  key...  value...
 *     u8    ms         store       by head   by head                         in place, or a pointer
 *
 *     head: | form of the value:2 | klen 4:1 | origin:1 | expire:1 | type:3 |
 *
 * 1. A string value lies in place up to ENTRY_INLINE_BYTES_MAX, else in a `struct blob` of its own,
 *    which has a reference count so that a reply can pin it. So do the packed pairs of a hash;
 *    longer ones, and those that are a table, are behind a `struct hash` of mem_alloc's memory.
 *    VALUE_ABSENT has no value at all.
 * 2. Nothing is padded, so every field is read and written through memcpy.
 * 3. An expiry field may hold "never": PERSIST need not move the entry.
 * 4. How much memory an entry takes can be read from it. A value in place may be overwritten by
 *    any other that takes as much. Raw ones have room to spare, `cap` bytes in all: strings that
 *    APPEND or SETRANGE made, hashes that were changed.
 * 5. The keys of a partition lie in its heap (heap.h), which moves them between commands; fields
 *    and detached entries have no heap (NULL) and lie in mem_alloc's memory. Whoever makes,
 *    changes or destroys an entry says where it lies.
 *
 * An entry belongs to one table (under its partition's lock) or to whoever made or took it. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "base/slice.h"
#include "engine/blob.h"
#include "engine/heap.h"

enum {
    ENTRY_INLINE_BYTES_MAX = 8 * 1024,
    ENTRY_KEY_BYTES_MAX = 512 * 1024 * 1024,
    ENTRY_GRANULE_BYTES = 2, /* what sizes are rounded up to */
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
    VALUE_ABSENT, /* remembered: the store has no such row; a key to the store path alone */
    VALUE_TYPES_COUNT
};

/* Where a cached row came from; 0 in `mapping` = an ordinary key. */
struct entry_origin {
    uint32_t mapping;    /* id, never reused within a process */
    uint32_t generation; /* of the mapping, at the fill */
};

/* Bits of the head. */
enum {
    ENTRY_TYPE_MASK = 7,
    ENTRY_HAS_EXPIRE = 1 << 3,
    ENTRY_HAS_ORIGIN = 1 << 4,
    ENTRY_KLEN_4 = 1 << 5, /* else 1 */
    ENTRY_FORM_MASK = 3 << 6,
    ENTRY_VLEN_1 = 0 << 6,  /* in place, one byte of length */
    ENTRY_VLEN_2 = 1 << 6,  /* in place, two bytes of length */
    ENTRY_RAW = 2 << 6,     /* the same behind two of room */
    ENTRY_POINTER = 3 << 6, /* 8 bytes of pointer and no length */
};

/* A view of the bytes above, never allocated by its size. */
struct entry {
    uint8_t head;
    uint8_t rest[];
};

/* --- reading --- */
static inline enum value_type entry_type(const struct entry *e) {
    return (enum value_type)(e->head & ENTRY_TYPE_MASK);
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
/* Of a string: true once APPEND or SETRANGE made it, and for all that is not in place: OBJECT
 * ENCODING says "raw". */
static inline bool entry_is_raw(const struct entry *e) {
    return e->head >= ENTRY_RAW;
}
/* VALUE_HASH only. Where the pairs lie in place, `view` borrows them and is returned, else the hash
 * itself is. Valid until the entry changes or moves; what changes it is in hash.h, 2. */
struct hash;
struct hash *entry_hash(const struct entry *e, struct hash *view);
/* The hash that is not in place, else NULL. */
static inline struct hash *entry_hash_apart(const struct entry *e);
/* Bytes of memory of the entry itself, rounded as it was asked for (a heap_size_fn). */
size_t entry_bytes(const void *entry);
/* Bytes of memory the entry and its value take, allocator slack included. O(1) but for collections,
 * where `samples` members are measured (0 = all). */
size_t entry_memory_bytes(const struct entry *e, uint32_t samples);

/* --- making (owned by the caller until it is put into a table) --- */
struct entry *entry_create_string(struct heap *heap, struct slice key, struct slice value,
                                  int64_t expire_ms, struct entry_origin origin);
/* The blob is taken over. */
struct entry *entry_create_blob(struct heap *heap, struct slice key, struct blob *b,
                                int64_t expire_ms, struct entry_origin origin);
/* Takes over what `h` owns, which is empty then; of what it borrows there is a copy. Without room
 * to spare where it fits in place. */
struct entry *entry_create_hash(struct heap *heap, struct slice key, struct hash *h,
                                int64_t expire_ms, struct entry_origin origin);
/* VALUE_ABSENT. */
struct entry *entry_create_absent(struct heap *heap, struct slice key, int64_t expire_ms,
                                  struct entry_origin origin);
/* A deep copy under another key. */
struct entry *entry_copy(struct heap *heap, const struct entry *e, struct slice key,
                         int64_t expire_ms, struct entry_origin origin);
/* Takes NULL. Frees the value with it, all in one go: for large collections see partition.h. */
void entry_destroy(struct heap *heap, struct entry *e);

/* --- changing: for the engine, which tells the table where the entry stands --- */
/* Sets the expiry in place. False: the entry has no room for it, entry_move makes it. */
bool entry_set_expire(struct entry *e, int64_t expire_ms);
/* Overwrites a string in place and clears "raw". False: it does not fit, or would waste memory. */
bool entry_set_string(struct entry *e, struct slice value);
/* Puts a blob, which is taken over, in the place of a string's, of which a reference is dropped;
 * TTL stays. False: the value lies in place, nothing was changed, the blob is still the caller's.
 */
bool entry_set_blob(struct entry *e, struct blob *b);
/* The entry under another key and TTL, with the same value and origin, from one heap to another or
 * the same. `e` is used up. */
struct entry *entry_move(struct heap *from, struct heap *to, struct entry *e, struct slice key,
                         int64_t expire_ms);
/* A string made `len` bytes long and raw: zeros where it grew, room to grow again. Returns `e`, or
 * the entry that takes its place; `e` is used up then. */
struct entry *entry_resize_string(struct heap *heap, struct entry *e, size_t len);
/* `h`, which entry_hash gave for `e`, was changed. It is taken over and may not be used any more;
 * TTL and origin stay, and it gets room to grow again. Returns `e`, or the entry that takes its
 * place; `e` is used up then. */
struct entry *entry_keep_hash(struct heap *heap, struct entry *e, struct hash *h);

/* --- defragmentation: as the partition's lock allows, see defrag.h --- */
struct defrag;
/* Moves the string's blob, unless a reply pins it. */
void entry_defrag_blob(struct entry *e, struct defrag *d);
/* Moves a hash that is not in place. `cursor` 0 starts; it is 0 again when all was looked at, else
 * the next call goes on there. */
void entry_defrag_hash(struct entry *e, struct defrag *d, uint64_t *cursor);
/* Moves an entry of mem_alloc's memory and its blob: returns where it is now. */
struct entry *entry_defrag(struct entry *e, struct defrag *d);

/* --- layout --- */
enum { ENTRY_EXPIRE_BYTES = 6, ENTRY_ORIGIN_BYTES = 8 };

static inline size_t entry_klen_bytes(unsigned head) {
    return head & ENTRY_KLEN_4 ? 4 : 1;
}
static inline size_t entry_vlen_bytes(unsigned head) {
    return (size_t)(0x0421 >> (head >> 6) * 4 & 7); /* a digit a form, the first one last */
}
/* What stands before the length of the key. */
static inline size_t entry_prefix_bytes(unsigned head) {
    return 1 + (head & ENTRY_HAS_EXPIRE ? ENTRY_EXPIRE_BYTES : 0) +
           (head & ENTRY_HAS_ORIGIN ? ENTRY_ORIGIN_BYTES : 0);
}
/* What stands before the key. */
static inline size_t entry_header_bytes(unsigned head) {
    return entry_prefix_bytes(head) + entry_klen_bytes(head) + entry_vlen_bytes(head);
}
static inline bool entry_has_pointer(const struct entry *e) {
    return (e->head & ENTRY_FORM_MASK) == ENTRY_POINTER;
}

static inline int64_t entry_expire_ms(const struct entry *e) {
    if (!(e->head & ENTRY_HAS_EXPIRE)) {
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
    const char *at = (const char *)e + entry_prefix_bytes(e->head);
    uint32_t klen = (uint8_t)*at;
    if (e->head & ENTRY_KLEN_4) {
        memcpy(&klen, at, sizeof klen);
    }
    return slice_of(at + entry_klen_bytes(e->head) + entry_vlen_bytes(e->head), klen);
}

static inline void *entry_pointer(const struct entry *e) {
    struct slice key = entry_key(e);
    void *pointer;
    memcpy(&pointer, key.ptr + key.len, sizeof pointer);
    return pointer;
}

static inline struct blob *entry_blob(const struct entry *e) {
    return entry_type(e) == VALUE_STRING && entry_has_pointer(e) ? entry_pointer(e) : NULL;
}

static inline struct hash *entry_hash_apart(const struct entry *e) {
    return entry_type(e) == VALUE_HASH && entry_has_pointer(e) ? entry_pointer(e) : NULL;
}

/* The value of any type, which lies in place. */
static inline struct slice entry_in_place(const struct entry *e) {
    struct slice key = entry_key(e);
    uint16_t vlen = (uint8_t)key.ptr[-1];
    if (e->head & ENTRY_FORM_MASK) {
        memcpy(&vlen, key.ptr - 2, sizeof vlen);
    }
    return slice_of(key.ptr + key.len, vlen);
}

static inline struct slice entry_string(const struct entry *e) {
    if (entry_has_pointer(e)) {
        const struct blob *b = entry_pointer(e);
        return slice_of(b->bytes, b->len);
    }
    return entry_in_place(e);
}
#endif
