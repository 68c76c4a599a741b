#ifndef FOREBAY_SERVER_CONFIG_H
#define FOREBAY_SERVER_CONFIG_H
/* The values of all options, each as its canonical text, and the mappings. Owned by one holder, who
 * serialises the calls; a published config is not changed any more (README rule 1). */
#include "ds/buf.h"
#include "server/options.h"
#include "store/mapping.h"

enum {
    CONFIG_INCLUDE_DEPTH_MAX = 8,
    CONFIG_FILE_BYTES_MAX = 16 * 1024 * 1024,
};

struct config_map {
    struct mapping *map;
    char *where; /* "file:line" of its definition, "" when it came from CONFIG SET */
};

struct config {
    char *values[OPTIONS_MAX]; /* by option index */
    bool given[OPTIONS_MAX];   /* was set by a file, the command line or CONFIG SET */
    struct config_map maps[MAPPINGS_MAX];
    uint32_t maps_count;
    char *store_where; /* "file:line" of the `store` line; NULL = none */
    char *path; /* absolute, of the file it was read from; NULL = none */
    uint64_t memory_limit_bytes; /* what percentages are of: the process's limit when it was made */
};

/* Defaults. */
struct config *config_create(void);
void config_destroy(struct config *c); /* takes NULL */
struct config *config_copy(const struct config *c);

/* Values by option name; the name must exist and have that type. */
const char *config_text(const struct config *c, const char *name);
bool config_bool(const struct config *c, const char *name);
int64_t config_int(const struct config *c, const char *name);     /* INT, OCTAL, SPAN (ms) */
uint64_t config_memory(const struct config *c, const char *name); /* bytes; a percentage resolved */
/* The percentage that stands for it, 0 when it is given in bytes. */
uint32_t config_percent(const struct config *c, const char *name);
bool config_given(const struct config *c, const char *name);

/* Sets one option from the words of a line. */
bool config_set_words(struct config *c, const struct option *o, const struct slice *words,
                      uint32_t count, char why[OPTION_WHY_CHARS_MAX]) MUST_USE;
/* "name template table=... ..." adds or, with `replace`, replaces by name; "-name" removes. A
 * definition equal to the present one changes nothing. */
bool config_set_map(struct config *c, struct slice line, const char *where, bool replace,
                    char why[OPTION_WHY_CHARS_MAX]) MUST_USE;
/* NULL when there is none of that name. */
const struct config_map *config_find_map(const struct config *c, struct slice name);

/* CONFIG SET: a changed copy, or NULL with the whole error text ("ERR ...") in `error`. `pairs` are
 * 2 x count slices. */
struct config *config_changed(const struct config *c, const struct slice *pairs, uint32_t count,
                              struct buf *error);
/* The error text for a pair that passed config_changed but cannot be applied. */
void config_set_error(struct buf *error, struct slice name, const char *why);

/* CONFIG GET: what is shown, appended to `out`. */
void config_show(const struct config *c, const struct option *o, struct buf *out);
typedef void (*config_visit_fn)(void *arg, struct slice name, struct slice value);
/* Options (by name and by alias) that match one of the patterns, each once. */
void config_visit(const struct config *c, const struct slice *patterns, uint32_t count,
                  config_visit_fn fn, void *arg);

/* --- config_load.c --- */
/* Reads `path` ("-" is stdin; NULL: no file), then `arguments`, lines like a file's. False with the
 * whole message in `error`. */
bool config_load(struct config *c, const char *path, struct slice arguments,
                 struct buf *error) MUST_USE;
/* argv's options ("--name value ...") as the lines of a file: `arguments` of config_load. */
void config_options_text(int argc, char **argv, struct buf *out);
/* Only the text of a file, `name` for messages; includes are followed. */
bool config_load_text(struct config *c, const char *name, struct slice text,
                      struct buf *error) MUST_USE;
/* The whole file at `path`, appended; false with errno set. */
bool config_read_file(const char *path, struct buf *out) MUST_USE;

/* --- config_rewrite.c --- */
/* Writes the config to its file: lines and comments stay in order, changed options are replaced,
 * new ones appended. Atomic: a temporary file, fsync, rename. */
bool config_rewrite(const struct config *c, struct buf *error) MUST_USE;
/* The file's new text, without writing it. */
bool config_rewrite_text(const struct config *c, struct slice old_text, struct buf *out,
                         struct buf *error) MUST_USE;
#endif
