#ifndef FOREBAY_BASE_ASSERT_H
#define FOREBAY_BASE_ASSERT_H
/* Assertions that stay on in release builds: a broken invariant ends the process with a backtrace
 * before it can damage data. Any thread. */

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ASSERT(cond)  (LIKELY(cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__, __func__))
#define UNREACHABLE() assert_failed("unreachable", __FILE__, __LINE__, __func__)

#define STATIC_ASSERT(cond, text)       _Static_assert(cond, text)
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - __builtin_offsetof(type, member)))
#define ARRAY_COUNT(a)                  (sizeof(a) / sizeof((a)[0]))
#define MUST_USE                        __attribute__((warn_unused_result))
#define MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define MAX(a, b)                       ((a) > (b) ? (a) : (b))

/* Logs the failed condition with a backtrace and aborts. */
_Noreturn void assert_failed(const char *cond, const char *file, int line, const char *func)
    __attribute__((cold));

/* Makes SIGSEGV, SIGBUS, SIGFPE and SIGILL print a backtrace before they end the process. */
void assert_install_handlers(void);
#endif
