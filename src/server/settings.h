#ifndef FOREBAY_SERVER_SETTINGS_H
#define FOREBAY_SERVER_SETTINGS_H
/* Makes the snapshot that the shards run on (command/settings.h) from a config. */
#include "command/settings.h"
#include "server/config.h"

/* One reference, the caller's. `maxclients` is what the descriptors allow. */
struct settings *settings_make(const struct config *c, uint32_t maxclients);
#endif
