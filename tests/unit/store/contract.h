#ifndef FOREBAY_TESTS_STORE_CONTRACT_H
#define FOREBAY_TESTS_STORE_CONTRACT_H
/* What every driver must do alike. */
#include "fixture.h"

struct contract {
    const char *url;
    void (*exec)(
        const char *sql); /* on the database, by its own client; fails the test on an error */
    const char *binary;   /* a column type that takes any bytes as a key */
};
void contract_run(const struct contract *c);
#endif
