#ifndef FOREBAY_TESTS_STORE_MARIADB_H
#define FOREBAY_TESTS_STORE_MARIADB_H
/* A MariaDB server of the test's own: a data directory and a socket in a new temporary directory,
 * no network unless asked for. Ended by pid. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <mysql.h>

struct mariadb {
    char dir[64];
    char socket[96];
    char url[192]; /* of database "test" */
    pid_t pid;     /* 0 = not running */
    MYSQL *admin;
};

/* False when MariaDB is not installed. */
bool mariadb_available(void);
void mariadb_create(struct mariadb *m);
void mariadb_destroy(struct mariadb *m);
void mariadb_start(struct mariadb *m);
void mariadb_stop(struct mariadb *m, int signo); /* and waits */
/* SIGSTOP, and waits until all its threads stand; SIGCONT lets it go on. */
void mariadb_pause(struct mariadb *m);
/* Runs a statement as root, drops its result; fails the test on an error. */
void mariadb_exec(struct mariadb *m, const char *sql);
/* One value of a statement's first row; static buffer. */
const char *mariadb_value(struct mariadb *m, const char *sql);
#endif
