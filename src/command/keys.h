#ifndef FOREBAY_COMMAND_KEYS_H
#define FOREBAY_COMMAND_KEYS_H
/* What other families need of the key commands. */
#include "base/slice.h"
#include "engine/entry.h"

/* "string", "hash", ...: TYPE's answer and SCAN TYPE's word; "none" for VALUE_ABSENT. */
struct slice keys_type_name(enum value_type type);
#endif
