/* One write(2) a line, so that lines of several threads do not mix.
 * Atomics: the level and the fd. */
#include "base/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

enum { LINE_BYTES_MAX = 1024 };

static atomic_int sink_fd = STDOUT_FILENO;
static atomic_int min_level = LOG_NOTICE;

void log_set_level(enum log_level level) {
    atomic_store(&min_level, (int)level);
}

bool log_open(const char *path) {
    int fd = STDOUT_FILENO;
    if (path[0]) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0) {
            return false;
        }
    }
    int old = STDOUT_FILENO;
    if (atomic_compare_exchange_strong(&sink_fd, &old, fd)) {
        return true;
    }
    /* Other threads may be about to write to `old`: the number stays, what it names changes. */
    bool replaced = dup3(fd, old, O_CLOEXEC) == old;
    if (fd != STDOUT_FILENO) {
        close(fd);
    }
    return replaced;
}

void log_write(enum log_level level, const char *format, ...) {
    ASSERT(level < LOG_NOTHING);
    if ((int)level < atomic_load_explicit(&min_level, memory_order_relaxed)) {
        return;
    }
    char line[LINE_BYTES_MAX + 1];
    struct timeval tv;
    struct tm tm;
    gettimeofday(&tv, NULL);
    localtime_r(&tv.tv_sec, &tm);
    size_t len = (size_t)snprintf(line, sizeof line, "%d:M ", (int)getpid());
    len += strftime(line + len, sizeof line - len, "%d %b %Y %H:%M:%S.", &tm);
    len += (size_t)snprintf(line + len, sizeof line - len, "%03d %c ", (int)(tv.tv_usec / 1000),
                            ".-*#"[level]);
    va_list args;
    va_start(args, format);
    int body = vsnprintf(line + len, sizeof line - len, format, args);
    va_end(args);
    len += body > 0 ? (size_t)body : 0;
    if (len > LINE_BYTES_MAX - 1) {
        len = LINE_BYTES_MAX - 1;
    }
    line[len++] = '\n';
    ssize_t ignored = write(atomic_load(&sink_fd), line, len);
    (void)ignored;
}
