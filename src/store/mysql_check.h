#ifndef FOREBAY_STORE_MYSQL_CHECK_H
#define FOREBAY_STORE_MYSQL_CHECK_H
/* The MySQL driver's knowledge of tables and of error numbers. */
#include <mysql.h>
#include "store/driver.h"

/* What an error number (the server's, or the client library's from 2000) means to a load. */
enum driver_status mysql_check_errno(unsigned number, const char *text, struct driver_error *error);
/* store_driver.check, on an open connection. */
enum driver_status mysql_check_mapping(MYSQL *my, const struct mapping *m, struct schema **out,
                                       struct driver_error *error) MUST_USE;
#endif
