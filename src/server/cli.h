#ifndef FOREBAY_SERVER_CLI_H
#define FOREBAY_SERVER_CLI_H
/* forebay [/path/to.conf | -] [--name value ...] */
#include "ds/buf.h"

/* The whole program; returns its exit status. */
int cli_main(int argc, char **argv);
/* argv's options as the lines of a configuration file. */
void cli_options_text(int argc, char **argv, struct buf *out);
#endif
