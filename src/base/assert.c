/* Assertions and the crash report. Writes to stderr with write(2) only, as a crashed process may
 * hold any lock. */
#include "base/assert.h"

#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKTRACE_FRAMES_MAX = 64 };

static void print_backtrace(void) {
    void *frames[BACKTRACE_FRAMES_MAX];
    int count = backtrace(frames, BACKTRACE_FRAMES_MAX);
    backtrace_symbols_fd(frames, count, STDERR_FILENO);
}

static void write_text(const char *text) {
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

void assert_failed(const char *cond, const char *file, int line, const char *func) {
    char text[512];
    snprintf(text, sizeof text, "\n=== FOREBAY BUG: assertion '%s' failed at %s:%d in %s ===\n",
             cond, file, line, func);
    write_text(text);
    print_backtrace();
    abort();
}

static void on_crash(int signo) {
    char text[128];
    snprintf(text, sizeof text, "\n=== FOREBAY CRASHED by signal %d (version %s) ===\n", signo,
             FOREBAY_VERSION);
    write_text(text);
    print_backtrace();
    raise(signo); /* SA_RESETHAND: the default action ends the process with the right status */
}

void assert_install_handlers(void) {
    void *warm[1];
    backtrace(warm, 1); /* loads libgcc now, not inside a signal handler */
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER};
    const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < ARRAY_COUNT(signals); i++) {
        sigaction(signals[i], &action, NULL);
    }
}
