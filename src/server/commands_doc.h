#ifndef FOREBAY_SERVER_COMMANDS_DOC_H
#define FOREBAY_SERVER_COMMANDS_DOC_H
/* docs/commands.md, out of the command table. */
#include "ds/buf.h"

void commands_doc(struct buf *out);
#endif
