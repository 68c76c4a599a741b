#ifndef FOREBAY_STORE_MYSQL_CHECK_H
#define FOREBAY_STORE_MYSQL_CHECK_H
/* The MySQL driver's knowledge of tables and of error numbers. */
#include "store/driver.h"
#include "store/mysql_library.h"

/* What an error number (the server's, or the client library's from 2000) means to a load. */
enum driver_status mysql_check_errno(unsigned number, const char *text, struct driver_error *error);
/* store_driver.check, on an open connection. */
enum driver_status mysql_check_mapping(const struct mysql_library *lib, MYSQL *my,
                                       const struct mapping *m, struct schema **out,
                                       struct driver_error *error) MUST_USE;
#endif
