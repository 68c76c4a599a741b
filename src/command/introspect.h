#ifndef FOREBAY_COMMAND_INTROSPECT_H
#define FOREBAY_COMMAND_INTROSPECT_H
/* COMMAND: the table, told to clients. */
#include "command/command.h"

void introspect_command(struct cmd *c); /* COMMAND alone */
extern const struct command introspect_subcommands[];
#endif
