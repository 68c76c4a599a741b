#ifndef FOREBAY_BASE_LOG_H
#define FOREBAY_BASE_LOG_H
/* The process's one log: a line an event, in Redis's line format, to stdout or a file.
 * Any thread. */
#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };

#define log_debug(...)   log_write(LOG_DEBUG, __VA_ARGS__)
#define log_verbose(...) log_write(LOG_VERBOSE, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)

/* Lines longer than 1 KiB are cut. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_set_level(enum log_level level);
/* "" is stdout. False (errno set) when the file can't be opened; the old sink then stays. */
bool log_open(const char *path);
#endif
