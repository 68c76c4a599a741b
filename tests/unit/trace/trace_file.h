#ifndef TEST_TRACE_FILE_H
#define TEST_TRACE_FILE_H
/* Traces for tests, from their text by way of a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "trace.h"

/* A file of its own with that text; the caller frees the name and unlinks the file. */
static inline char *trace_file(const char *text, const char *suffix) {
    char name[64];
    snprintf(name, sizeof name, "/tmp/fb-trace-XXXXXX%s", suffix);
    int fd = mkstemps(name, (int)strlen(suffix));
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return strdup(name);
}

/* NULL with the message in `error`. */
static inline struct trace *trace_of(const char *text, const struct trace_how *how, char *error) {
    const struct trace_how plain = {false, false};
    struct trace *t = NULL;
    char *name = trace_file(text, ".txt");
    bool good = trace_read(&t, name, how ? how : &plain, error);
    unlink(name);
    free(name);
    return good ? t : NULL;
}
#endif
