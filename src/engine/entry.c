/* Making, changing and destroying entries; the layout and who owns it: entry.h. */
#include "engine/entry.h"

#include "base/assert.h"
#include "base/mem.h"
#include "engine/defrag.h"
#include "engine/hash.h"

STATIC_ASSERT(ENTRY_INLINE_BYTES_MAX <= UINT16_MAX, "an in-place value's length has two bytes");
STATIC_ASSERT(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields are copied in memory order");
STATIC_ASSERT(sizeof(struct entry_origin) == ENTRY_ORIGIN_BYTES, "no padding");
STATIC_ASSERT((int)VALUE_TYPES_COUNT <= ENTRY_TYPE_MASK, "no head has all bits: HEAP_HOLE_MARK");

#define EXPIRE_FIELD_NEVER ((1ull << 48) - 1)

enum {
    LARGE_BYTES = 1 << 20, /* strings that get less room to grow */
    HASH_ROOM_DIVISOR = 8, /* a hash that changes has such a part of its pairs to spare ... */
    HASH_ROOM_BYTES = 8,   /* ... and so much */
    HASH_ROOM_KEPT = 64,   /* what is more is given back when half of it is not in use */
};

/* --- layout --- */

static void write_bytes(char *to, struct slice s) {
    if (s.len) {
        memcpy(to, s.ptr, s.len);
    }
}

static void write_expire(struct entry *e, int64_t expire_ms) {
    uint64_t field = EXPIRE_FIELD_NEVER;
    if (expire_ms != EXPIRE_NEVER) {
        field = expire_ms < 0 ? 0 : (uint64_t)MIN(expire_ms, ENTRY_EXPIRE_MS_MAX);
    }
    memcpy(e->rest, &field, ENTRY_EXPIRE_BYTES);
}

static char *value_at(const struct entry *e) {
    struct slice key = entry_key(e);
    return (char *)key.ptr + key.len;
}

static void write_pointer(struct entry *e, void *pointer) {
    memcpy(value_at(e), &pointer, sizeof pointer);
}

static void write_vlen(struct entry *e, size_t len) {
    char *key_at = (char *)e + entry_header_bytes(e->head);
    uint16_t vlen = (uint16_t)len;
    if (e->head & ENTRY_FORM_MASK) {
        memcpy(key_at - 2, &vlen, sizeof vlen);
    } else {
        key_at[-1] = (char)vlen;
    }
}

/* Of a raw value: bytes there is room for. */
static size_t raw_cap(const struct entry *e) {
    uint16_t cap;
    memcpy(&cap, (const char *)e + entry_header_bytes(e->head) - 4, sizeof cap);
    return cap;
}

static void write_raw_cap(struct entry *e, size_t cap) {
    uint16_t field = (uint16_t)cap;
    memcpy((char *)e + entry_header_bytes(e->head) - 4, &field, sizeof field);
}

static unsigned head_for(struct slice key, int64_t expire_ms, struct entry_origin origin) {
    return (expire_ms != EXPIRE_NEVER ? ENTRY_HAS_EXPIRE : 0) |
           (origin.mapping ? ENTRY_HAS_ORIGIN : 0) | (key.len > UINT8_MAX ? ENTRY_KLEN_4 : 0);
}

static size_t round_bytes(size_t bytes) {
    return heap_round(ENTRY_GRANULE_BYTES, bytes);
}

static void free_entry(struct heap *heap, struct entry *e) {
    if (heap) {
        heap_free(heap, e, entry_bytes(e));
    } else {
        mem_free(e);
    }
}

/* An entry with everything but its value, for which there are `value_bytes`, and their
 * length. */
static struct entry *create(struct heap *heap, enum value_type type, unsigned head,
                            struct slice key, size_t value_bytes, int64_t expire_ms,
                            struct entry_origin origin) {
    ASSERT(key.len <= ENTRY_KEY_BYTES_MAX);
    size_t header = entry_header_bytes(head);
    size_t bytes = round_bytes(header + key.len + value_bytes);
    struct entry *e = heap ? heap_alloc(heap, bytes) : mem_alloc(bytes);
    e->head = (uint8_t)(head | type);
    char *at = (char *)e->rest;
    if (head & ENTRY_HAS_EXPIRE) {
        write_expire(e, expire_ms);
        at += ENTRY_EXPIRE_BYTES;
    }
    if (head & ENTRY_HAS_ORIGIN) {
        memcpy(at, &origin, sizeof origin);
        at += sizeof origin;
    }
    uint32_t klen = (uint32_t)key.len;
    memcpy(at, &klen, head & ENTRY_KLEN_4 ? 4 : 1);
    write_bytes((char *)e + header, key);
    if ((head & ENTRY_FORM_MASK) == ENTRY_RAW) {
        write_raw_cap(e, value_bytes);
    }
    return e;
}

static size_t value_bytes(const struct entry *e) {
    switch (e->head & ENTRY_FORM_MASK) {
    case ENTRY_POINTER:
        return sizeof(void *);
    case ENTRY_RAW:
        return raw_cap(e);
    default:
        return entry_in_place(e).len; /* 0 when absent */
    }
}

size_t entry_bytes(const void *entry) {
    const struct entry *e = entry;
    return round_bytes(entry_header_bytes(e->head) + entry_key(e).len + value_bytes(e));
}

/* --- reading --- */

struct entry_origin entry_origin(const struct entry *e) {
    struct entry_origin origin = {0, 0};
    if (e->head & ENTRY_HAS_ORIGIN) {
        memcpy(&origin, e->rest + (e->head & ENTRY_HAS_EXPIRE ? ENTRY_EXPIRE_BYTES : 0),
               sizeof origin);
    }
    return origin;
}

/* Bytes there are for a value in place. */
static size_t room_bytes(const struct entry *e) {
    if ((e->head & ENTRY_FORM_MASK) == ENTRY_RAW) {
        return raw_cap(e);
    }
    size_t before = entry_header_bytes(e->head) + entry_key(e).len;
    size_t room = round_bytes(before + entry_in_place(e).len) - before;
    return MIN(room, (size_t)(e->head & ENTRY_VLEN_2 ? ENTRY_INLINE_BYTES_MAX : UINT8_MAX));
}

struct hash *entry_hash(const struct entry *e, struct hash *view) {
    ASSERT(entry_type(e) == VALUE_HASH);
    if (entry_has_pointer(e)) {
        return entry_pointer(e);
    }
    struct slice packed = entry_in_place(e);
    hash_init_view(view, (char *)packed.ptr, packed.len, room_bytes(e));
    return view;
}

size_t entry_memory_bytes(const struct entry *e, uint32_t samples) {
    size_t bytes = entry_bytes(e);
    if (entry_has_pointer(e)) {
        const struct blob *b = entry_blob(e);
        bytes += b ? blob_memory_bytes(b) : mem_size(entry_pointer(e));
    }
    if (entry_hash_apart(e)) {
        bytes += hash_memory_bytes(entry_hash_apart(e), samples);
    }
    return bytes;
}

/* --- making --- */

struct entry *entry_create_blob(struct heap *heap, struct slice key, struct blob *b,
                                int64_t expire_ms, struct entry_origin origin) {
    ASSERT(b->len > ENTRY_INLINE_BYTES_MAX);
    struct entry *e = create(heap, VALUE_STRING, head_for(key, expire_ms, origin) | ENTRY_POINTER,
                             key, sizeof(void *), expire_ms, origin);
    write_pointer(e, b);
    return e;
}

struct entry *entry_create_string(struct heap *heap, struct slice key, struct slice value,
                                  int64_t expire_ms, struct entry_origin origin) {
    unsigned head = head_for(key, expire_ms, origin);
    if (value.len > ENTRY_INLINE_BYTES_MAX) {
        struct blob *b = blob_create(value.len, value.len);
        write_bytes(b->bytes, value);
        return entry_create_blob(heap, key, b, expire_ms, origin);
    }
    head |= value.len > UINT8_MAX ? ENTRY_VLEN_2 : ENTRY_VLEN_1;
    struct entry *e = create(heap, VALUE_STRING, head, key, value.len, expire_ms, origin);
    write_vlen(e, value.len);
    write_bytes(value_at(e), value);
    return e;
}

/* The packed pairs in place, with `room` bytes for them. */
static struct entry *create_packed(struct heap *heap, struct slice key, struct slice packed,
                                   size_t room, int64_t expire_ms, struct entry_origin origin) {
    unsigned form = room > packed.len ? ENTRY_RAW : room > UINT8_MAX ? ENTRY_VLEN_2 : ENTRY_VLEN_1;
    struct entry *e = create(heap, VALUE_HASH, head_for(key, expire_ms, origin) | form, key, room,
                             expire_ms, origin);
    write_vlen(e, packed.len);
    write_bytes(value_at(e), packed);
    return e;
}

/* A pointer to what `h` has, which owns nothing then. */
static struct entry *create_apart(struct heap *heap, struct slice key, struct hash *h,
                                  int64_t expire_ms, struct entry_origin origin) {
    struct hash *apart = mem_zalloc(sizeof *apart);
    if (hash_borrows(h)) {
        hash_copy(apart, h);
    } else {
        *apart = *h;
        *h = (struct hash){0};
    }
    struct entry *e = create(heap, VALUE_HASH, head_for(key, expire_ms, origin) | ENTRY_POINTER,
                             key, sizeof(void *), expire_ms, origin);
    write_pointer(e, apart);
    return e;
}

/* `grows`: with room for more. */
static struct entry *create_hash(struct heap *heap, struct slice key, struct hash *h, bool grows,
                                 int64_t expire_ms, struct entry_origin origin) {
    struct slice packed = hash_is_packed(h) ? hash_packed(h) : SLICE("");
    if (!packed.len || packed.len > ENTRY_INLINE_BYTES_MAX) {
        return create_apart(heap, key, h, expire_ms, origin);
    }
    size_t room = MIN(packed.len + (grows ? packed.len / HASH_ROOM_DIVISOR + HASH_ROOM_BYTES : 0),
                      ENTRY_INLINE_BYTES_MAX);
    struct entry *e = create_packed(heap, key, packed, room, expire_ms, origin);
    hash_deinit(h);
    return e;
}

struct entry *entry_create_hash(struct heap *heap, struct slice key, struct hash *h,
                                int64_t expire_ms, struct entry_origin origin) {
    return create_hash(heap, key, h, false, expire_ms, origin);
}

struct entry *entry_create_absent(struct heap *heap, struct slice key, int64_t expire_ms,
                                  struct entry_origin origin) {
    unsigned head = head_for(key, expire_ms, origin) | ENTRY_VLEN_1;
    struct entry *e = create(heap, VALUE_ABSENT, head, key, 0, expire_ms, origin);
    write_vlen(e, 0);
    return e;
}

struct entry *entry_copy(struct heap *heap, const struct entry *e, struct slice key,
                         int64_t expire_ms, struct entry_origin origin) {
    struct hash view, apart = {0};
    switch (entry_type(e)) {
    case VALUE_ABSENT:
        return entry_create_absent(heap, key, expire_ms, origin);
    case VALUE_HASH:
        if (entry_has_pointer(e)) {
            hash_copy(&apart, entry_pointer(e));
            return entry_create_hash(heap, key, &apart, expire_ms, origin);
        }
        return entry_create_hash(heap, key, entry_hash(e, &view), expire_ms, origin);
    default:
        ASSERT(entry_type(e) == VALUE_STRING);
    }
    struct entry *copy = entry_create_string(heap, key, entry_string(e), expire_ms, origin);
    return entry_is_raw(e) ? entry_resize_string(heap, copy, entry_string(e).len) : copy;
}

static void destroy_apart(struct hash *h) {
    hash_deinit(h);
    mem_free(h);
}

void entry_destroy(struct heap *heap, struct entry *e) {
    if (!e) {
        return;
    }
    if (entry_hash_apart(e)) {
        destroy_apart(entry_hash_apart(e));
    } else if (entry_has_pointer(e)) {
        ASSERT(entry_type(e) == VALUE_STRING);
        blob_drop(entry_pointer(e));
    }
    free_entry(heap, e);
}

/* --- changing --- */

bool entry_set_expire(struct entry *e, int64_t expire_ms) {
    if (e->head & ENTRY_HAS_EXPIRE) {
        write_expire(e, expire_ms);
        return true;
    }
    return expire_ms == EXPIRE_NEVER;
}

static bool set_blob(struct entry *e, struct slice value) {
    struct blob *b = entry_blob(e);
    if (value.len <= ENTRY_INLINE_BYTES_MAX || value.len > b->cap || b->cap / 4 * 3 > value.len ||
        blob_is_pinned(b)) {
        return false;
    }
    write_bytes(b->bytes, value);
    b->len = value.len;
    return true;
}

bool entry_set_string(struct entry *e, struct slice value) {
    ASSERT(entry_type(e) == VALUE_STRING);
    if (entry_has_pointer(e)) {
        return set_blob(e, value);
    }
    if (entry_is_raw(e)) {
        return false; /* it has room to spare, which SET gives back */
    }
    struct slice old = entry_string(e);
    if (old.len != value.len) {
        size_t before = entry_header_bytes(e->head) + entry_key(e).len;
        if (value.len > (e->head & ENTRY_VLEN_2 ? ENTRY_INLINE_BYTES_MAX : UINT8_MAX) ||
            round_bytes(before + old.len) != round_bytes(before + value.len)) {
            return false;
        }
        write_vlen(e, value.len);
    }
    write_bytes((char *)old.ptr, value);
    return true;
}

/* Cold, or the compiler makes a call of entry_key in entry_set_string. */
__attribute__((cold)) bool entry_set_blob(struct entry *e, struct blob *b) {
    ASSERT(entry_type(e) == VALUE_STRING && b->len > ENTRY_INLINE_BYTES_MAX);
    if (!entry_has_pointer(e)) {
        return false;
    }
    blob_drop(entry_pointer(e));
    write_pointer(e, b);
    return true;
}

struct entry *entry_move(struct heap *from, struct heap *to, struct entry *e, struct slice key,
                         int64_t expire_ms) {
    struct entry_origin origin = entry_origin(e);
    unsigned form = e->head & ENTRY_FORM_MASK;
    size_t len = entry_has_pointer(e) ? sizeof(void *) : entry_in_place(e).len;
    struct entry *moved = create(to, entry_type(e), head_for(key, expire_ms, origin) | form, key,
                                 value_bytes(e), expire_ms, origin);
    if (form != ENTRY_POINTER) {
        write_vlen(moved, len);
    }
    write_bytes(value_at(moved), slice_of(value_at(e), len));
    free_entry(from, e);
    return moved;
}

/* Half as much again: appending byte by byte copies each byte three times at most. Of large ones an
 * eighth, as it is memory: then it is nine times. */
static size_t with_room(size_t len) {
    return len + len / (len < LARGE_BYTES ? 2 : 8);
}

/* `e` with its string in a blob that is its alone and has at least `len` bytes. */
static struct entry *own_blob(struct heap *heap, struct entry *e, size_t len) {
    struct slice old = entry_string(e);
    struct blob *b = entry_blob(e);
    if (b && b->cap >= len && !blob_is_pinned(b)) {
        return e;
    }
    struct blob *fresh = blob_create(old.len, MAX(with_room(len), ENTRY_INLINE_BYTES_MAX));
    write_bytes(fresh->bytes, slice_of(old.ptr, MIN(old.len, len)));
    if (b) {
        blob_drop(b);
        write_pointer(e, fresh);
        return e;
    }
    struct entry_origin origin = entry_origin(e);
    int64_t expire_ms = entry_expire_ms(e);
    unsigned head = head_for(entry_key(e), expire_ms, origin) | ENTRY_POINTER;
    struct entry *moved =
        create(heap, VALUE_STRING, head, entry_key(e), sizeof(void *), expire_ms, origin);
    write_pointer(moved, fresh);
    free_entry(heap, e);
    return moved;
}

/* `e` with its string in place and room for at least `len` bytes; its length is not set. */
static struct entry *own_room(struct heap *heap, struct entry *e, size_t len) {
    struct slice old = entry_string(e);
    if (entry_is_raw(e) && len <= raw_cap(e)) {
        return e;
    }
    struct entry_origin origin = entry_origin(e);
    int64_t expire_ms = entry_expire_ms(e);
    unsigned head = head_for(entry_key(e), expire_ms, origin) | ENTRY_RAW;
    size_t room = MIN(with_room(len), ENTRY_INLINE_BYTES_MAX);
    struct entry *moved = create(heap, VALUE_STRING, head, entry_key(e), room, expire_ms, origin);
    write_bytes(value_at(moved), slice_of(old.ptr, MIN(old.len, len)));
    free_entry(heap, e);
    return moved;
}

struct entry *entry_resize_string(struct heap *heap, struct entry *e, size_t len) {
    ASSERT(entry_type(e) == VALUE_STRING);
    size_t old_len = entry_string(e).len;
    char *bytes;
    /* What became a blob stays one: it would only grow again. */
    if (len > ENTRY_INLINE_BYTES_MAX || entry_has_pointer(e)) {
        e = own_blob(heap, e, len);
        entry_blob(e)->len = len;
        bytes = entry_blob(e)->bytes;
    } else {
        e = own_room(heap, e, len);
        write_vlen(e, len);
        bytes = value_at(e);
    }
    if (len > old_len) {
        memset(bytes + old_len, 0, len - old_len);
    }
    return e;
}

/* The pairs are where they were and their length can be changed there without wasting much. */
static bool fits_in_place(const struct entry *e, const struct hash *h, size_t len) {
    if (!hash_borrows(h)) {
        return false;
    }
    if (entry_is_raw(e)) {
        return raw_cap(e) <= HASH_ROOM_KEPT || len >= raw_cap(e) / 2;
    }
    size_t before = entry_header_bytes(e->head) + entry_key(e).len;
    return round_bytes(before + len) == entry_bytes(e);
}

struct entry *entry_keep_hash(struct heap *heap, struct entry *e, struct hash *h) {
    struct hash *apart = entry_hash_apart(e);
    ASSERT(!apart || apart == h);
    ASSERT(!hash_borrows(h) || h->packed == entry_in_place(e).ptr);
    size_t len = hash_is_packed(h) ? hash_packed(h).len : 0;
    /* Back into the entry with half of what may lie there only: it may grow again. */
    if (apart && (!len || len > ENTRY_INLINE_BYTES_MAX / 2)) {
        return e;
    }
    if (!apart && fits_in_place(e, h, len)) {
        write_vlen(e, len);
        return e;
    }
    struct entry *fresh =
        create_hash(heap, entry_key(e), h, true, entry_expire_ms(e), entry_origin(e));
    mem_free(apart);
    free_entry(heap, e);
    return fresh;
}

/* --- defragmentation --- */

enum { ENTRY_ALIGN_BYTES = 8, BLOB_DEFRAG_BYTES_MAX = 16 * 1024 };

void entry_defrag_blob(struct entry *e, struct defrag *d) {
    struct blob *b = entry_blob(e);
    if (b && b->cap <= BLOB_DEFRAG_BYTES_MAX && !blob_is_pinned(b)) {
        write_pointer(e, defrag_move(d, b, sizeof *b + b->cap, _Alignof(struct blob)));
    }
}

void entry_defrag_hash(struct entry *e, struct defrag *d, uint64_t *cursor) {
    struct hash *h = entry_hash_apart(e);
    if (*cursor == 0) {
        h = defrag_move(d, h, sizeof *h, _Alignof(struct hash));
        write_pointer(e, h);
    }
    hash_defrag(h, d, cursor);
}

struct entry *entry_defrag(struct entry *e, struct defrag *d) {
    struct entry *moved = defrag_move(d, e, entry_bytes(e), ENTRY_ALIGN_BYTES);
    entry_defrag_blob(moved, d);
    return moved;
}
