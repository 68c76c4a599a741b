#ifndef FOREBAY_COMMAND_ERRORS_H
#define FOREBAY_COMMAND_ERRORS_H
/* Error replies that several commands share: Redis 7.2's texts. For resp_error. */
#include "base/slice.h"

#define ERR_SYNTAX      SLICE("ERR syntax error")
#define ERR_WRONGTYPE   SLICE("WRONGTYPE Operation against a key holding the wrong kind of value")
#define ERR_NOT_INTEGER SLICE("ERR value is not an integer or out of range")
#define ERR_NOT_FLOAT   SLICE("ERR value is not a valid float")
#define ERR_OVERFLOW    SLICE("ERR increment or decrement would overflow")
#define ERR_NO_SUCH_KEY SLICE("ERR no such key")
#define ERR_TOO_BIG     SLICE("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
#define ERR_OOM         SLICE("OOM command not allowed when used memory > 'maxmemory'.")
#define ERR_NOAUTH      SLICE("NOAUTH Authentication required.")
#define ERR_DB_RANGE    SLICE("ERR DB index is out of range")
#define ERR_SAME_OBJECT SLICE("ERR source and destination objects are the same")
#define ERR_CURSOR      SLICE("ERR invalid cursor")
#define ERR_STORE_DENIED                                                                           \
    SLICE("STOREDENIED the key is a row of a mapping without write=: it can only be read")
#define ERR_STORE_UNSUPPORTED                                                                      \
    SLICE("STOREUNSUPPORTED this command is not supported on a key that is a mapped row")
#endif
