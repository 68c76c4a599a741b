/* Iterative matcher: on a mismatch only the last '*' is retried, as whatever an earlier one could
 * take in addition the last one can take too. Hence no exponential patterns. */
#include "base/glob.h"

#include <ctype.h>

#include "base/assert.h"

static unsigned char fold(char c, bool ignore_case) {
    return (unsigned char)(ignore_case ? tolower((unsigned char)c) : (unsigned char)c);
}

/* Matches one class "[...]" at pattern[*pos] (past the '['); moves *pos past the ']'. An unclosed
 * class runs to the end of the pattern, as in Redis. */
static bool match_class(struct slice pattern, size_t *pos, char c, bool ignore_case) {
    size_t i = *pos;
    bool negated = i < pattern.len && pattern.ptr[i] == '^', matched = false;
    unsigned char byte = fold(c, ignore_case);
    i += negated;
    while (i < pattern.len && pattern.ptr[i] != ']') {
        if (pattern.ptr[i] == '\\' && i + 1 < pattern.len) {
            matched |= pattern.ptr[i + 1] == c; /* case counts here, as in Redis */
            i += 2;
        } else if (i + 2 < pattern.len && pattern.ptr[i + 1] == '-') {
            unsigned char a = (unsigned char)pattern.ptr[i];
            unsigned char b = (unsigned char)pattern.ptr[i + 2];
            unsigned char low = fold((char)MIN(a, b), ignore_case);
            unsigned char high = fold((char)MAX(a, b), ignore_case);
            matched |= byte >= low && byte <= high;
            i += 3;
        } else {
            matched |= fold(pattern.ptr[i], ignore_case) == byte;
            i++;
        }
    }
    *pos = i < pattern.len ? i + 1 : i;
    return matched != negated;
}

/* Matches what stands at pattern[*pos] (not a '*') against one byte and moves *pos past it. */
static bool match_one(struct slice pattern, size_t *pos, char c, bool ignore_case) {
    char p = pattern.ptr[*pos];
    if (p == '?') {
        (*pos)++;
        return true;
    }
    if (p == '[') {
        (*pos)++;
        return match_class(pattern, pos, c, ignore_case);
    }
    if (p == '\\' && *pos + 1 < pattern.len) {
        (*pos)++;
    }
    return fold(pattern.ptr[(*pos)++], ignore_case) == fold(c, ignore_case);
}

bool glob_match(struct slice pattern, struct slice text, bool ignore_case) {
    size_t p = 0, t = 0, star_p = 0, star_t = 0;
    bool starred = false;
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            starred = true;
            star_p = ++p;
            star_t = t;
            continue;
        }
        if (p < pattern.len && match_one(pattern, &p, text.ptr[t], ignore_case)) {
            t++;
            continue;
        }
        if (!starred) {
            return false;
        }
        p = star_p;
        t = ++star_t;
    }
    while (p < pattern.len && pattern.ptr[p] == '*') {
        p++;
    }
    return p == pattern.len;
}
