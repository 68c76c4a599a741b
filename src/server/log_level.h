#ifndef FOREBAY_SERVER_LOG_LEVEL_H
#define FOREBAY_SERVER_LOG_LEVEL_H
/* `loglevel`'s words. */
#include <string.h>
#include "base/assert.h"
#include "base/log.h"

static inline enum log_level log_level_of(const char *word) {
    static const char *const words[] = {"debug", "verbose", "notice", "warning", "nothing"};
    for (unsigned i = 0; i < ARRAY_COUNT(words); i++) {
        if (strcmp(words[i], word) == 0) {
            return (enum log_level)i;
        }
    }
    UNREACHABLE();
}
#endif
