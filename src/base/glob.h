#ifndef FOREBAY_BASE_GLOB_H
#define FOREBAY_BASE_GLOB_H
/* Redis's glob patterns: * ? [abc] [^a-z] and backslash, on any bytes. */
#include "base/slice.h"

/* Time is bounded by pattern length x text length, whatever the pattern. */
bool glob_match(struct slice pattern, struct slice text, bool ignore_case);
/* True when the pattern matches everything. */
static inline bool glob_is_all(struct slice pattern) {
    return pattern.len == 1 && pattern.ptr[0] == '*';
}
#endif
