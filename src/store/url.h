#ifndef FOREBAY_STORE_URL_H
#define FOREBAY_STORE_URL_H
/* Where the database is: the `store` line, taken apart. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_URL_BYTES_MAX = 1024, STORE_URL_PORT_MYSQL = 3306 };

enum store_url_kind { STORE_URL_MYSQL, STORE_URL_SQLITE };
enum store_url_tls { STORE_TLS_OFF, STORE_TLS_ON, STORE_TLS_VERIFY };

struct store_url {
    enum store_url_kind kind;
    char user[STORE_URL_BYTES_MAX], password[STORE_URL_BYTES_MAX], host[STORE_URL_BYTES_MAX];
    char database[STORE_URL_BYTES_MAX];
    char socket[STORE_URL_BYTES_MAX]; /* "" = TCP to host:port */
    char ca[STORE_URL_BYTES_MAX];     /* file of trusted certificates, "" = the system's */
    char path[STORE_URL_BYTES_MAX];   /* sqlite */
    uint16_t port;
    enum store_url_tls tls;
};

/* Percent escapes are decoded. False with the reason, which never holds the password, in `why`. */
bool store_url_parse(struct store_url *u, const char *text, char *why, size_t why_len);
/* The password becomes the file's first line; "" leaves it alone. */
bool store_url_read_password(struct store_url *u, const char *file, char *why, size_t why_len);
#endif
