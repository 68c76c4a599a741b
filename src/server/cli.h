#ifndef FOREBAY_SERVER_CLI_H
#define FOREBAY_SERVER_CLI_H
/* forebay [/path/to.conf | -] [--name value ...] */
/* The whole program; returns its exit status. */
int cli_main(int argc, char **argv);
#endif
