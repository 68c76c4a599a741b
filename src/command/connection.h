#ifndef FOREBAY_COMMAND_CONNECTION_H
#define FOREBAY_COMMAND_CONNECTION_H
/* What HELLO and CLIENT share. */
#include <stdbool.h>
#include "base/slice.h"

#define CONNECTION_ERR_NAME                                                                        \
    SLICE("ERR Client names cannot contain spaces, newlines or special characters.")

/* True when CLIENT LIST can print it: visible ASCII, no space. */
bool connection_text_is_valid(struct slice text);
#endif
