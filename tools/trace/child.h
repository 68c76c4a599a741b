#ifndef FOREBAY_TRACE_CHILD_H
#define FOREBAY_TRACE_CHILD_H
/* A server that replay starts and ends itself, on a free port of the loopback. It dies with its
 * parent. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/assert.h"

enum {
    CHILD_WORDS_MAX = 32,
    CHILD_START_MS_MAX = 20 * 1000,
    CHILD_STOP_MS_MAX = 10 * 1000, /* then it is killed */
    CHILD_ERROR_BYTES = 256,
};

struct child {
    pid_t pid; /* 0 = not running */
    char port[8];
};

/* A port that nobody listens on at this moment, in decimals; false when there is none. */
bool child_free_port(char port[8]) MUST_USE;
/* Starts `words` (up to NULL, the program first), with its output to /dev/null. False: error. */
bool child_start(struct child *c, const char *const *words, char *error) MUST_USE;
/* Waits until it answers INFO on its port as the process that was started. */
bool child_wait_ready(struct child *c, char *error) MUST_USE;
/* Takes one that is not running. */
void child_stop(struct child *c);
#endif
