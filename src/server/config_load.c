/* Configuration files and the command line's options, which are read as the lines of one more file.
 * Runs before any shard, and once more at CONFIG REWRITE (then only over the file's own text). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "resp/inline.h"
#include "server/config.h"

enum { READ_BYTES = 64 * 1024 };

struct loader {
    struct config *config;
    struct buf *error;
    const char *name; /* of the file, as it was named */
    uint32_t line;
    uint32_t depth;
    bool arguments; /* the lines come from the command line: they replace, and "map" too */
};

static bool load_lines(struct loader *l, struct slice text);

bool config_read_file(const char *path, struct buf *out) {
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t got;
    size_t total = 0;
    do {
        got = read(fd, buf_reserve(out, READ_BYTES), READ_BYTES);
        out->len += got > 0 ? (size_t)got : 0;
        total += got > 0 ? (size_t)got : 0;
        if (total > CONFIG_FILE_BYTES_MAX) {
            errno = EFBIG;
            got = -1;
        }
    } while (got > 0);
    int saved = errno;
    close(fd);
    errno = saved;
    return got == 0;
}

/* What the message may repeat of a line that holds a password. */
static bool is_secret(struct slice name) {
    int index = options_find(name);
    return index >= 0 && (options_at((uint32_t)index)->type == OPTION_PASSWORD ||
                          options_at((uint32_t)index)->flags & OPTION_HIDE_URL_PASSWORD);
}

static bool fail(struct loader *l, struct slice line, struct slice name, const struct slice *value,
                 const char *why) {
    bool secret = is_secret(name);
    buf_printf(l->error, "\n*** FATAL CONFIG FILE ERROR (Forebay %s) ***\n", FOREBAY_VERSION);
    if (l->arguments) {
        buf_printf(l->error, "Reading the command line's options\n");
    } else {
        buf_printf(l->error, "Reading the configuration file, at line %u\n", l->line);
    }
    if (secret) {
        buf_printf(l->error, ">>> '%.*s ...'\n", SLICE_FMT(name));
    } else {
        buf_printf(l->error, ">>> '%.*s'\n", SLICE_FMT(line));
    }
    if (!l->arguments) {
        buf_printf(l->error, "%s:%u: ", l->name, l->line);
    }
    buf_printf(l->error, "%.*s: %s", SLICE_FMT(name), why);
    if (value && !secret) {
        buf_printf(l->error, " (got '%.*s')", SLICE_FMT(*value));
    }
    buf_append_char(l->error, '\n');
    return false;
}

static bool include(struct loader *l, struct slice line, struct slice path) {
    char why[OPTION_WHY_CHARS_MAX];
    if (l->depth + 1 >= CONFIG_INCLUDE_DEPTH_MAX) {
        snprintf(why, sizeof why, "includes are nested more than %d deep",
                 CONFIG_INCLUDE_DEPTH_MAX);
        return fail(l, line, SLICE("include"), NULL, why);
    }
    char *name = mem_dup(path.ptr, path.len);
    struct buf text = {0};
    bool ok = config_read_file(name, &text);
    if (ok) {
        struct loader inner = {l->config, l->error, name, 0, l->depth + 1, false};
        ok = load_lines(&inner, buf_slice(&text));
    } else {
        snprintf(why, sizeof why, "can't open '%.300s': %s", name, strerror(errno));
        fail(l, line, SLICE("include"), NULL, why);
    }
    buf_free(&text);
    mem_free(name);
    return ok;
}

/* Where the present line stands, for messages about what only shows later. */
static void describe_where(const struct loader *l, char where[OPTION_TEXT_BYTES_MAX + 1]) {
    if (l->arguments) {
        snprintf(where, OPTION_TEXT_BYTES_MAX + 1, "command line");
    } else {
        snprintf(where, OPTION_TEXT_BYTES_MAX + 1, "%s:%u", l->name, l->line);
    }
}

static void note_store(struct loader *l) {
    char where[OPTION_TEXT_BYTES_MAX + 1];
    describe_where(l, where);
    mem_free(l->config->store_where);
    l->config->store_where = mem_strdup(where);
}

static bool load_map(struct loader *l, struct slice line, const struct resp_args *words) {
    char why[OPTION_WHY_CHARS_MAX] = "", where[OPTION_TEXT_BYTES_MAX + 1];
    describe_where(l, where);
    struct buf joined = {0};
    option_words(words->v + 1, words->count - 1, "", &joined, why);
    bool ok = config_set_map(l->config, buf_slice(&joined), where, l->arguments, why);
    buf_free(&joined);
    return ok || fail(l, line, SLICE("map"), NULL, why);
}

static bool load_words(struct loader *l, struct slice line, const struct resp_args *words) {
    struct slice name = words->v[0];
    int index = options_find(name);
    if (slice_eq_nocase(name, SLICE("include")) && words->count == 2) {
        return include(l, line, words->v[1]);
    }
    if (index < 0) {
        const char *refused = options_refused(name);
        return fail(l, line, name, NULL, refused ? refused : "there is no such option");
    }
    const struct option *o = options_at((uint32_t)index);
    if (o->type == OPTION_MAPS) {
        return load_map(l, line, words);
    }
    char why[OPTION_WHY_CHARS_MAX] = "";
    if (config_set_words(l->config, o, words->v + 1, words->count - 1, why)) {
        if (strcmp(o->name, "store") == 0) {
            note_store(l);
        }
        return true;
    }
    return fail(l, line, name, words->count == 2 ? &words->v[1] : NULL, why);
}

static struct slice trimmed(struct slice s) {
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[s.len - 1])) {
        s.len--;
    }
    while (s.len > 0 && strchr(" \t\r\n", s.ptr[0])) {
        s = slice_of(s.ptr + 1, s.len - 1);
    }
    return s;
}

static bool load_line(struct loader *l, struct slice line) {
    line = trimmed(line);
    if (line.len == 0 || line.ptr[0] == '#') {
        return true;
    }
    struct resp_args words = {0};
    char *unescaped = NULL;
    bool ok;
    if (!inline_split(line, &words, &unescaped)) {
        ok = fail(l, line, SLICE("line"), NULL, "unbalanced quotes in configuration line");
    } else {
        ok = words.count == 0 || load_words(l, line, &words);
    }
    mem_free(unescaped);
    resp_args_free(&words);
    return ok;
}

static bool load_lines(struct loader *l, struct slice text) {
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end ? (size_t)(end - text.ptr) : text.len;
        l->line++;
        if (!load_line(l, slice_of(text.ptr, len))) {
            return false;
        }
        len += end ? 1 : 0;
        text = slice_of(text.ptr + len, text.len - len);
    }
    return true;
}

bool config_load_text(struct config *c, const char *name, struct slice text, struct buf *error) {
    struct loader l = {c, error, name, 0, 0, false};
    return load_lines(&l, text);
}

void config_options_text(int argc, char **argv, struct buf *out) {
    for (int i = 0; i < argc; i++) {
        bool name = strncmp(argv[i], "--", 2) == 0 && argv[i][2];
        if (i > 0) {
            buf_append_char(out, name ? '\n' : ' ');
        }
        option_quote(out, slice_str(name ? argv[i] + 2 : argv[i]));
    }
    if (argc > 0) {
        buf_append_char(out, '\n');
    }
}

bool config_load(struct config *c, const char *path, struct slice arguments, struct buf *error) {
    if (path) {
        struct buf text = {0};
        bool ok = config_read_file(path, &text);
        if (ok) {
            ok = config_load_text(c, strcmp(path, "-") == 0 ? "stdin" : path, buf_slice(&text),
                                  error);
        } else {
            buf_printf(error, "Fatal error, can't open config file '%s': %s\n", path,
                       strerror(errno));
        }
        buf_free(&text);
        if (!ok) {
            return false;
        }
        char *real = strcmp(path, "-") == 0 ? NULL : realpath(path, NULL);
        mem_free(c->path);
        c->path = real ? mem_strdup(real) : NULL;
        free(real);
    }
    struct loader l = {c, error, "command line", 0, 0, true};
    return load_lines(&l, arguments);
}
