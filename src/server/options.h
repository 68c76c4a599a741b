#ifndef FOREBAY_SERVER_OPTIONS_H
#define FOREBAY_SERVER_OPTIONS_H
/* The table of all options. Immutable, any thread. */
#include "server/option.h"

enum { OPTIONS_MAX = 256 };

uint32_t options_count(void);
const struct option *options_at(uint32_t index);
/* By name or alias, ignoring case; -1 when there is no such option. */
int options_find(struct slice name);
/* Why a name that is no option is refused all the same by name (later versions', Redis's that
 * cannot be honoured); NULL when it is simply unknown. */
const char *options_refused(struct slice name);
#endif
