/* The values of all options. See config.h; the parsers of single values are in option.c. */
#include "server/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/glob.h"
#include "base/mem.h"
#include "base/num.h"
#include "resp/inline.h"
#include "server/limits.h"

struct config *config_create(void) {
    struct config *c = mem_zalloc(sizeof *c);
    c->memory_limit_bytes = limits_memory().bytes;
    for (uint32_t i = 0; i < options_count(); i++) {
        c->values[i] = mem_strdup(options_at(i)->initial);
    }
    return c;
}

static void drop_map(struct config_map *m) {
    mapping_unref(m->map);
    mem_free(m->where);
}

void config_destroy(struct config *c) {
    if (!c) {
        return;
    }
    for (uint32_t i = 0; i < OPTIONS_MAX; i++) {
        mem_free(c->values[i]);
    }
    for (uint32_t i = 0; i < c->maps_count; i++) {
        drop_map(&c->maps[i]);
    }
    mem_free(c->store_where);
    mem_free(c->path);
    mem_free(c);
}

struct config *config_copy(const struct config *c) {
    struct config *copy = mem_alloc(sizeof *copy);
    *copy = *c;
    for (uint32_t i = 0; i < OPTIONS_MAX; i++) {
        copy->values[i] = c->values[i] ? mem_strdup(c->values[i]) : NULL;
    }
    for (uint32_t i = 0; i < c->maps_count; i++) {
        copy->maps[i].map = mapping_ref(c->maps[i].map);
        copy->maps[i].where = mem_strdup(c->maps[i].where);
    }
    copy->store_where = c->store_where ? mem_strdup(c->store_where) : NULL;
    copy->path = c->path ? mem_strdup(c->path) : NULL;
    return copy;
}

static uint32_t index_of(const char *name) {
    int i = options_find(slice_str(name));
    ASSERT(i >= 0);
    return (uint32_t)i;
}

const char *config_text(const struct config *c, const char *name) {
    return c->values[index_of(name)];
}

bool config_given(const struct config *c, const char *name) {
    return c->given[index_of(name)];
}

bool config_bool(const struct config *c, const char *name) {
    ASSERT(options_at(index_of(name))->type == OPTION_BOOL);
    return strcmp(config_text(c, name), "yes") == 0;
}

int64_t config_int(const struct config *c, const char *name) {
    enum option_type type = options_at(index_of(name))->type;
    ASSERT(type == OPTION_INT || type == OPTION_OCTAL || type == OPTION_SPAN);
    return strtoll(config_text(c, name), NULL, type == OPTION_OCTAL ? 8 : 10);
}

static uint64_t memory_of(const struct config *c, const char *text) {
    uint32_t percent;
    if (option_parse_percent(slice_str(text), &percent)) {
        return c->memory_limit_bytes / 100 * percent;
    }
    return strtoull(text, NULL, 10);
}

uint64_t config_memory(const struct config *c, const char *name) {
    enum option_type type = options_at(index_of(name))->type;
    ASSERT(type == OPTION_MEMORY || type == OPTION_MEMORY_PERCENT);
    return memory_of(c, config_text(c, name));
}

uint32_t config_percent(const struct config *c, const char *name) {
    uint32_t percent;
    return option_parse_percent(slice_str(config_text(c, name)), &percent) ? percent : 0;
}

const struct config_map *config_find_map(const struct config *c, struct slice name) {
    for (uint32_t i = 0; i < c->maps_count; i++) {
        if (slice_eq(slice_str(c->maps[i].map->name), name)) {
            return &c->maps[i];
        }
    }
    return NULL;
}

static bool remove_map(struct config *c, struct slice name, char why[OPTION_WHY_CHARS_MAX]) {
    const struct config_map *m = config_find_map(c, name);
    if (!m) {
        snprintf(why, OPTION_WHY_CHARS_MAX, "there is no mapping '%.*s'", SLICE_FMT(name));
        return false;
    }
    uint32_t at = (uint32_t)(m - c->maps);
    drop_map(&c->maps[at]);
    c->maps_count--;
    memmove(&c->maps[at], &c->maps[at + 1], (c->maps_count - at) * sizeof c->maps[0]);
    return true;
}

bool config_set_map(struct config *c, struct slice line, const char *where, bool replace,
                    char why[OPTION_WHY_CHARS_MAX]) {
    if (replace && line.len > 1 && line.ptr[0] == '-') {
        return remove_map(c, slice_of(line.ptr + 1, line.len - 1), why);
    }
    struct mapping *m = mapping_parse(line, why, OPTION_WHY_CHARS_MAX);
    if (!m) {
        return false;
    }
    struct config_map *old = (struct config_map *)config_find_map(c, slice_str(m->name));
    if (old && !replace) {
        snprintf(why, OPTION_WHY_CHARS_MAX, "mapping '%s' is defined twice, first at %s", m->name,
                 old->where);
    } else if (old) {
        if (strcmp(old->map->definition, m->definition) != 0) {
            drop_map(old);
            *old = (struct config_map){mapping_ref(m), mem_strdup(where)};
        }
    } else if (c->maps_count == MAPPINGS_MAX) {
        snprintf(why, OPTION_WHY_CHARS_MAX, "there are more than %d mappings", MAPPINGS_MAX);
        replace = false;
    } else {
        c->maps[c->maps_count++] = (struct config_map){mapping_ref(m), mem_strdup(where)};
        replace = true;
    }
    mapping_unref(m);
    return replace;
}

bool config_set_words(struct config *c, const struct option *o, const struct slice *words,
                      uint32_t count, char why[OPTION_WHY_CHARS_MAX]) {
    ASSERT(o->type != OPTION_MAPS);
    uint32_t index = index_of(o->name);
    struct buf value = {0};
    bool ok = option_normalise(o, words, count, c->values[index], &value, why);
    if (ok) {
        mem_free(c->values[index]);
        c->values[index] = mem_dup(value.ptr ? value.ptr : "", value.len);
        c->given[index] = true;
    }
    buf_free(&value);
    return ok;
}

/* The value of CONFIG SET map: a mapping a line. */
static bool set_maps(struct config *c, struct slice value, char why[OPTION_WHY_CHARS_MAX]) {
    while (value.len > 0) {
        const char *end = memchr(value.ptr, '\n', value.len);
        size_t len = end ? (size_t)(end - value.ptr) : value.len;
        if (len > 0 && !config_set_map(c, slice_of(value.ptr, len), "", true, why)) {
            return false;
        }
        len += end ? 1 : 0;
        value = slice_of(value.ptr + len, value.len - len);
    }
    return true;
}

static bool set_value(struct config *c, const struct option *o, struct slice value,
                      char why[OPTION_WHY_CHARS_MAX]) {
    if (o->type == OPTION_MAPS) {
        return set_maps(c, value, why);
    }
    if (o->type != OPTION_SPECIAL) {
        return config_set_words(c, o, &value, 1, why);
    }
    struct resp_args words = {0};
    char *unescaped = NULL;
    bool ok = inline_split(value, &words, &unescaped);
    if (ok) {
        ok = config_set_words(c, o, words.v, words.count, why);
    } else {
        snprintf(why, OPTION_WHY_CHARS_MAX, "unbalanced quotes in argument");
    }
    mem_free(unescaped);
    resp_args_free(&words);
    return ok;
}

void config_set_error(struct buf *error, struct slice name, const char *why) {
    buf_printf(error, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
               SLICE_FMT(name), why);
}

/* What Redis checks before it looks at any value. */
static bool names_hold(const struct slice *pairs, uint32_t count, struct buf *error) {
    for (uint32_t i = 0; i < count; i++) {
        if (options_find(pairs[2 * i]) < 0) {
            buf_printf(error, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                       SLICE_FMT(pairs[2 * i]));
            return false;
        }
    }
    bool seen[OPTIONS_MAX] = {false};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = (uint32_t)options_find(pairs[2 * i]);
        uint32_t flags = options_at(index)->flags;
        const char *why = flags & OPTION_IMMUTABLE   ? "can't set immutable config"
                          : flags & OPTION_PROTECTED ? "can't set protected config"
                          : seen[index]              ? "duplicate parameter"
                                                     : NULL;
        if (why) {
            config_set_error(error, pairs[2 * i], why);
            return false;
        }
        seen[index] = true;
    }
    return true;
}

struct config *config_changed(const struct config *c, const struct slice *pairs, uint32_t count,
                              struct buf *error) {
    if (!names_hold(pairs, count, error)) {
        return NULL;
    }
    struct config *changed = config_copy(c);
    for (uint32_t i = 0; i < count; i++) {
        char why[OPTION_WHY_CHARS_MAX] = "";
        const struct option *o = options_at((uint32_t)options_find(pairs[2 * i]));
        if (!set_value(changed, o, pairs[2 * i + 1], why)) {
            config_set_error(error, pairs[2 * i], why);
            config_destroy(changed);
            return NULL;
        }
    }
    return changed;
}

/* "mysql://user:secret@host/db" without the secret. */
static void show_url(struct slice url, struct buf *out) {
    const char *scheme = memmem(url.ptr, url.len, "://", 3);
    const char *at = scheme ? memrchr(scheme, '@', url.len - (size_t)(scheme - url.ptr)) : NULL;
    const char *colon = at ? memchr(scheme + 3, ':', (size_t)(at - scheme - 3)) : NULL;
    if (!colon) {
        buf_append_slice(out, url);
        return;
    }
    buf_append(out, url.ptr, (size_t)(colon - url.ptr) + 1);
    buf_append_slice(out, SLICE("***"));
    buf_append(out, at, url.len - (size_t)(at - url.ptr));
}

void config_show(const struct config *c, const struct option *o, struct buf *out) {
    const char *value = c->values[index_of(o->name)];
    if (o->type == OPTION_MAPS) {
        for (uint32_t i = 0; i < c->maps_count; i++) {
            buf_printf(out, "%s%s", i ? "\n" : "", c->maps[i].map->definition);
        }
    } else if (o->type == OPTION_MEMORY_PERCENT && !(o->flags & OPTION_COMPAT)) {
        buf_printf(out, "%llu", (unsigned long long)memory_of(c, value));
    } else if (o->flags & OPTION_HIDE_URL_PASSWORD) {
        show_url(slice_str(value), out);
    } else if (strcmp(o->name, "dir") == 0) {
        char cwd[OPTION_TEXT_BYTES_MAX + 1];
        buf_append_slice(out, slice_str(getcwd(cwd, sizeof cwd) ? cwd : value));
    } else {
        buf_append_slice(out, slice_str(value));
    }
}

static bool any_matches(const struct slice *patterns, uint32_t count, const char *name) {
    for (uint32_t i = 0; i < count; i++) {
        if (glob_match(patterns[i], slice_str(name), true)) {
            return true;
        }
    }
    return false;
}

void config_visit(const struct config *c, const struct slice *patterns, uint32_t count,
                  config_visit_fn fn, void *arg) {
    for (uint32_t i = 0; i < options_count(); i++) {
        const struct option *o = options_at(i);
        const char *names[] = {o->name, o->alias};
        for (size_t n = 0; n < ARRAY_COUNT(names); n++) {
            if (names[n] && any_matches(patterns, count, names[n])) {
                struct buf value = {0};
                config_show(c, o, &value);
                fn(arg, slice_str(names[n]), buf_slice(&value));
                buf_free(&value);
            }
        }
    }
}
