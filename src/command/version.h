#ifndef FOREBAY_COMMAND_VERSION_H
#define FOREBAY_COMMAND_VERSION_H
/* The Redis version whose behaviour this server has: clients read it from HELLO and INFO and switch
 * features by it. */
#define REDIS_VERSION     "7.2.6"
#define REDIS_VERSION_HEX 0x00070206
#endif
