#ifndef FOREBAY_TESTS_ENGINE_KEYS_H
#define FOREBAY_TESTS_ENGINE_KEYS_H
/* Keys for tests of one partition. */
#include <stdio.h>

#include "engine/keyspace.h"

enum { KEY_TEXT_CHARS = 32 };

/* The n-th of partition `p`; its bytes are in `text`. */
static inline struct key key_in(const struct partition *p, char text[KEY_TEXT_CHARS], unsigned n) {
    struct key key;
    unsigned i = 0;
    do {
        int len = snprintf(text, KEY_TEXT_CHARS, "key:%u.%u", n, i++);
        key = keyspace_key(p->ks, slice_of(text, (size_t)len));
    } while (keyspace_partition(p->ks, key.hash) != p);
    return key;
}
#endif
