#ifndef FOREBAY_COMMAND_SYNTAX_H
#define FOREBAY_COMMAND_SYNTAX_H
/* A row's `syntax` line taken apart into COMMAND DOCS' tree of arguments.
 *
 *     key <NX | XX> [EX seconds | PX milliseconds] field value [field value ...]
 *
 * CAPITALS are tokens, a word behind a token is its value, other words are arguments; [] is
 * optional, <> groups, | separates alternatives; "..." says that what stands before may be
 * repeated. */
#include "resp/writer.h"

enum { SYNTAX_NODES_MAX = 128, SYNTAX_DEPTH_MAX = 8 };

/* Writes the array of arguments. A line that does not hold to the notation is a bug: asserted. */
void syntax_reply(struct resp_writer *w, const char *line);
#endif
