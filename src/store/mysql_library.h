#ifndef FOREBAY_STORE_MYSQL_LIBRARY_H
#define FOREBAY_STORE_MYSQL_LIBRARY_H
/* libmariadb, loaded when a store needs it: who has none pays neither its memory nor its
 * relocations, and needs it not installed. Only its header is used at build time.
 *
 * 1. Its functions are called through struct mysql_library and in no other way: nothing links it.
 * 2. It stays in the process to its end: it and what it loads have destructors of threads and of
 * the process, which must not lose their code. */
#include <mysql.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/assert.h"

#define MYSQL_LIBRARY_NAME "libmariadb.so.3"

/* mysql_library_init is a macro of mysql_server_init. */
#define MYSQL_LIBRARY_FUNCTIONS(F)                                                                 \
    F(mariadb_field_attr)                                                                          \
    F(mysql_autocommit)                                                                            \
    F(mysql_close)                                                                                 \
    F(mysql_errno)                                                                                 \
    F(mysql_error)                                                                                 \
    F(mysql_fetch_fields)                                                                          \
    F(mysql_fetch_row)                                                                             \
    F(mysql_free_result)                                                                           \
    F(mysql_get_server_info)                                                                       \
    F(mysql_get_socket)                                                                            \
    F(mysql_get_ssl_cipher)                                                                        \
    F(mysql_init)                                                                                  \
    F(mysql_options)                                                                               \
    F(mysql_real_connect)                                                                          \
    F(mysql_real_escape_string)                                                                    \
    F(mysql_real_query)                                                                            \
    F(mysql_server_init)                                                                           \
    F(mysql_set_character_set)                                                                     \
    F(mysql_stmt_bind_param)                                                                       \
    F(mysql_stmt_bind_result)                                                                      \
    F(mysql_stmt_close)                                                                            \
    F(mysql_stmt_errno)                                                                            \
    F(mysql_stmt_error)                                                                            \
    F(mysql_stmt_execute)                                                                          \
    F(mysql_stmt_fetch)                                                                            \
    F(mysql_stmt_fetch_column)                                                                     \
    F(mysql_stmt_field_count)                                                                      \
    F(mysql_stmt_free_result)                                                                      \
    F(mysql_stmt_init)                                                                             \
    F(mysql_stmt_param_count)                                                                      \
    F(mysql_stmt_prepare)                                                                          \
    F(mysql_store_result)                                                                          \
    F(mysql_thread_end)                                                                            \
    F(mysql_thread_init)

struct mysql_library {
#define MYSQL_LIBRARY_MEMBER(name) __typeof__(name) *name;
    MYSQL_LIBRARY_FUNCTIONS(MYSQL_LIBRARY_MEMBER)
#undef MYSQL_LIBRARY_MEMBER
};

/* Loads the library of this name, MYSQL_LIBRARY_NAME but in tests, and initialises it; more than
 * once is fine. By one thread at a time. False with the reason in `why`. */
bool mysql_library_open(struct mysql_library *l, const char *name, char *why,
                        size_t why_len) MUST_USE;
#endif
