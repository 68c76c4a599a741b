#ifndef FOREBAY_RESP_INLINE_H
#define FOREBAY_RESP_INLINE_H
/* Splits one line of words, as typed into telnet or written in a configuration file. */
#include "base/assert.h"
#include "base/slice.h"
#include "resp/parser.h"

/* Appends the words of `line` (without its end) to `args`. Words are set apart by white space; a
 * word or the rest of it may stand in "double quotes" (escapes \n \r \t \b \a \xHH, any other
 * escaped byte is itself) or 'single quotes' (escape \' only), the closing one at the end of the
 * word. Words without quotes borrow from `line`, the others from *unescaped: memory of at most
 * line.len + 1 bytes, or NULL, that the caller frees with mem_free. False when a quote is not
 * closed or something follows the closing one; *unescaped is then NULL. */
bool inline_split(struct slice line, struct resp_args *args, char **unescaped) MUST_USE;
#endif
