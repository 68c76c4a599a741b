/* Loading libmariadb. See mysql_library.h. */
#include "store/mysql_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include "base/slice.h"

#define INSTALL_TEXT "a mysql:// store needs libmariadb (Debian: apt install libmariadb3)"

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define FUNCTION(name) {#name, offsetof(struct mysql_library, name)},
    MYSQL_LIBRARY_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

_Static_assert(sizeof(struct mysql_library) == ARRAY_COUNT(functions) * sizeof(void *),
               "dlsym's pointers are the functions'");

bool mysql_library_open(struct mysql_library *l, const char *name, char *why, size_t why_len) {
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        snprintf(why, why_len, "%s: " INSTALL_TEXT, dlerror());
        return false;
    }
    for (size_t i = 0; i < ARRAY_COUNT(functions); i++) {
        void *function = dlsym(handle, functions[i].name);
        if (!function) {
            snprintf(why, why_len, "%s has no %s: " INSTALL_TEXT, name, functions[i].name);
            return false;
        }
        memcpy((char *)l + functions[i].offset, &function, sizeof function);
    }
    if (l->mysql_server_init(0, NULL, NULL) != 0) {
        snprintf(why, why_len, "%s can't be initialised", name);
        return false;
    }
    return true;
}
