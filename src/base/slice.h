#ifndef FOREBAY_BASE_SLICE_H
#define FOREBAY_BASE_SLICE_H
/* A borrowed run of bytes: never owned, never zero-terminated, may hold any byte. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *ptr;
    size_t len; /* bytes */
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})
/* For printf's "%.*s". */
#define SLICE_FMT(s) (int)(s).len, (s).ptr

static inline struct slice slice_of(const void *ptr, size_t len) {
    return (struct slice){ptr, len};
}

/* `text` is zero-terminated and outlives the slice. */
static inline struct slice slice_str(const char *text) {
    return (struct slice){text, strlen(text)};
}

static inline bool slice_eq(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case is ignored. Not for bytes that may hold zeros at different places: lengths decide. */
static inline bool slice_eq_nocase(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_has_prefix(struct slice s, struct slice prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* Bytewise order, shorter first among equal prefixes: <0, 0, >0. */
static inline int slice_cmp(struct slice a, struct slice b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}
#endif
