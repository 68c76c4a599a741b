#include "base/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "base/assert.h"

void rng_system_bytes(void *out, uint64_t len) {
    char *p = out;
    while (len) {
        ssize_t got = getrandom(p, len, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        ASSERT(got > 0);
        p += got;
        len -= (uint64_t)got;
    }
}
