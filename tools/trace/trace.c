/* Reads traces; see trace.h. A pass over the file, in chunks; keys are interned as they come, in an
 * open-addressing table of ids that is dropped at the end. */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"

enum {
    READ_BYTES = 1024 * 1024,
    SLOTS_START = 1 << 16, /* a power of two */
    NO_ID = UINT32_MAX,
};

/* What the columns of a trace are. */
enum { IDS, SIZES, KEY_SIZES, NEXT, KEY_OFFSETS, KEY_BYTES };

struct slot {
    uint32_t id, tag; /* of the hash: most keys that differ are told without their text */
};

struct reader {
    struct trace *t;
    const struct trace_how *how;
    const char *path;
    char *error;
    uint64_t line; /* the current one, from 1 */
    bool any_size;
    struct slot *slots;
    size_t slots_count; /* a power of two */
    struct column slot_pages;
};

static bool refuse(struct reader *r, const char *what) {
    snprintf(r->error, TRACE_ERROR_BYTES, "%s:%llu: %s", r->path, (unsigned long long)r->line,
             what);
    return false;
}

/* --- keys --- */

static void slots_make(struct reader *r, size_t count) {
    r->slot_pages = (struct column){NULL};
    r->slots = column_reserve(&r->slot_pages, count * sizeof *r->slots);
    r->slots_count = count;
    memset(r->slots, 0xff, count * sizeof *r->slots);
}

static struct slice key_text(const struct trace *t, uint32_t id) {
    const uint64_t *offsets = t->columns[KEY_OFFSETS].ptr;
    return slice_of((const char *)t->columns[KEY_BYTES].ptr + offsets[id],
                    offsets[id + 1] - offsets[id]);
}

static void slots_grow(struct reader *r) {
    struct column old = r->slot_pages;
    slots_make(r, r->slots_count * 2);
    for (uint32_t id = 0; id < r->t->keys_count; id++) {
        struct slice key = key_text(r->t, id);
        uint64_t hash = hash_bytes(0, key.ptr, key.len);
        size_t at = hash & (r->slots_count - 1);
        while (r->slots[at].id != NO_ID) {
            at = (at + 1) & (r->slots_count - 1);
        }
        r->slots[at] = (struct slot){id, (uint32_t)(hash >> 32)};
    }
    column_free(&old);
}

static void add_key(struct trace *t, struct slice key, uint32_t size) {
    struct column *bytes = &t->columns[KEY_BYTES], *offsets = &t->columns[KEY_OFFSETS];
    memcpy(column_reserve(bytes, key.len), key.ptr, key.len);
    bytes->len += key.len;
    *(uint64_t *)column_reserve(offsets, sizeof(uint64_t)) = bytes->len;
    offsets->len += sizeof(uint64_t);
    column_append_u32(&t->columns[KEY_SIZES], size);
    t->keys_count++;
    t->key_bytes_max = MAX(t->key_bytes_max, (uint32_t)key.len);
}

static uint32_t intern(struct reader *r, struct slice key, uint32_t size) {
    uint64_t hash = hash_bytes(0, key.ptr, key.len);
    uint32_t tag = (uint32_t)(hash >> 32);
    size_t at = hash & (r->slots_count - 1);
    for (; r->slots[at].id != NO_ID; at = (at + 1) & (r->slots_count - 1)) {
        if (r->slots[at].tag == tag && slice_eq(key_text(r->t, r->slots[at].id), key)) {
            return r->slots[at].id;
        }
    }
    uint32_t id = r->t->keys_count;
    r->slots[at] = (struct slot){id, tag};
    add_key(r->t, key, size);
    if (r->t->keys_count > r->slots_count / 2) {
        slots_grow(r);
    }
    return id;
}

/* --- lines --- */

/* The first request that changes its key's size: from here on sizes are kept by request. */
static void keep_sizes(struct trace *t) {
    const uint32_t *ids = t->columns[IDS].ptr, *key_sizes = t->columns[KEY_SIZES].ptr;
    for (uint32_t i = 0; i < t->requests_count; i++) {
        column_append_u32(&t->columns[SIZES], key_sizes[ids[i]]);
    }
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static bool add_line(struct reader *r, const char *line, size_t len) {
    struct trace *t = r->t;
    while (len > 0 && is_blank(line[len - 1])) {
        len--;
    }
    size_t key_len = 0, at;
    while (key_len < len && !is_blank(line[key_len])) {
        key_len++;
    }
    for (at = key_len; at < len && is_blank(line[at]);) {
        at++;
    }
    if (key_len == 0) {
        return refuse(r, len == 0 ? "an empty line (a line is \"key size\")"
                                  : "a line begins with its key, not with blanks");
    }
    uint64_t size = 0;
    if (at < len && !num_parse_u64(slice_of(line + at, len - at), &size)) {
        return refuse(r, "the size is not a decimal number of bytes");
    }
    if (size > TRACE_SIZE_MAX) {
        return refuse(r, "the size is 4 GiB or more");
    }
    if (t->requests_count == TRACE_REQUESTS_MAX || t->keys_count == TRACE_KEYS_MAX) {
        return refuse(r, "a trace has at most 4294967294 requests and 1073741824 keys");
    }
    size = r->how->unit ? 0 : size;
    r->any_size |= size > 0;
    uint32_t id = intern(r, slice_of(line, key_len), (uint32_t)size);
    bool kept = t->columns[SIZES].len > 0;
    if (!kept && !r->how->fixed_sizes &&
        ((const uint32_t *)t->columns[KEY_SIZES].ptr)[id] != size) {
        keep_sizes(t);
        kept = true;
    }
    if (kept) {
        column_append_u32(&t->columns[SIZES], (uint32_t)size);
    }
    column_append_u32(&t->columns[IDS], id);
    t->requests_count++;
    return true;
}

/* Whole lines of `bytes`; what is left of the last one is moved to the front. */
static bool add_lines(struct reader *r, char *bytes, size_t *len) {
    char *line = bytes, *end = bytes + *len, *feed;
    while ((feed = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        r->line++;
        if (!add_line(r, line, (size_t)(feed - line))) {
            return false;
        }
        line = feed + 1;
    }
    *len = (size_t)(end - line);
    memmove(bytes, line, *len);
    if (*len > TRACE_LINE_BYTES_MAX) {
        r->line++;
        return refuse(r, "a line of more than 64 KiB");
    }
    return true;
}

static bool read_lines(struct reader *r, int fd) {
    char *bytes = mem_alloc(READ_BYTES + TRACE_LINE_BYTES_MAX);
    size_t len = 0;
    ssize_t got = 0;
    bool good = true;
    while (good && (got = read(fd, bytes + len, READ_BYTES)) != 0) {
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            snprintf(r->error, TRACE_ERROR_BYTES, "%s: %s", r->path, strerror(errno));
            good = false;
            break;
        }
        len += (size_t)got;
        good = add_lines(r, bytes, &len);
    }
    if (good && len > 0) { /* a last line without its line feed */
        r->line++;
        good = add_line(r, bytes, len);
    }
    mem_free(bytes);
    return good;
}

/* --- files --- */

extern char **environ;

static bool spawn_xz(const char *path, int *fd, pid_t *pid) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return false;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    char *words[] = {"xz", "-dc", "--", (char *)path, NULL};
    int code = posix_spawnp(pid, "xz", &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (code) {
        close(ends[0]);
        errno = code;
        return false;
    }
    *fd = ends[0];
    return true;
}

static bool read_xz(struct reader *r) {
    if (access(r->path, R_OK) < 0) {
        snprintf(r->error, TRACE_ERROR_BYTES, "%s: %s", r->path, strerror(errno));
        return false;
    }
    int fd, status = 0;
    pid_t pid;
    if (!spawn_xz(r->path, &fd, &pid)) {
        snprintf(r->error, TRACE_ERROR_BYTES, "%s: can't run xz (package xz-utils): %s", r->path,
                 strerror(errno));
        return false;
    }
    bool good = read_lines(r, fd);
    close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (good && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        snprintf(r->error, TRACE_ERROR_BYTES, "%s: xz could not unpack it", r->path);
        return false;
    }
    return good;
}

static bool read_plain(struct reader *r) {
    bool standard = strcmp(r->path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(r->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        snprintf(r->error, TRACE_ERROR_BYTES, "%s: %s", r->path, strerror(errno));
        return false;
    }
    bool good = read_lines(r, fd);
    if (!standard) {
        close(fd);
    }
    return good;
}

/* --- the whole --- */

/* Effective sizes (invariant 2) and the sums. */
static void settle(struct reader *r) {
    struct trace *t = r->t;
    uint32_t *key_sizes = t->columns[KEY_SIZES].ptr, *sizes = t->columns[SIZES].ptr;
    t->unit = !r->any_size;
    t->ids = t->columns[IDS].ptr;
    t->key_bytes = t->columns[KEY_BYTES].ptr;
    t->key_offsets = t->columns[KEY_OFFSETS].ptr;
    t->key_sizes = key_sizes;
    for (uint32_t id = 0; id < t->keys_count; id++) {
        uint32_t least = (uint32_t)trace_key(t, id).len;
        key_sizes[id] = t->unit ? 1 : MAX(key_sizes[id], least);
        t->footprint += key_sizes[id];
        t->size_max = MAX(t->size_max, key_sizes[id]);
    }
    for (uint32_t i = 0; sizes && i < t->requests_count; i++) {
        sizes[i] = MAX(sizes[i], (uint32_t)trace_key(t, t->ids[i]).len);
        t->size_max = MAX(t->size_max, sizes[i]);
    }
    t->sizes = sizes;
    for (uint32_t i = 0; i < t->requests_count; i++) {
        t->requested_bytes += trace_size(t, i);
    }
}

bool trace_read(struct trace **out, const char *path, const struct trace_how *how, char *error) {
    struct trace *t = mem_zalloc(sizeof *t);
    const char *slash = strrchr(path, '/');
    bool standard = strcmp(path, "-") == 0;
    t->name = mem_strdup(standard ? "(standard input)" : slash ? slash + 1 : path);
    *(uint64_t *)column_reserve(&t->columns[KEY_OFFSETS], sizeof(uint64_t)) = 0;
    t->columns[KEY_OFFSETS].len = sizeof(uint64_t);
    struct reader r = {.t = t, .how = how, .path = path, .error = error};
    slots_make(&r, SLOTS_START);
    size_t len = strlen(path);
    bool packed = len > 3 && strcmp(path + len - 3, ".xz") == 0;
    bool good = packed ? read_xz(&r) : read_plain(&r);
    column_free(&r.slot_pages);
    if (good && t->requests_count == 0) {
        snprintf(error, TRACE_ERROR_BYTES, "%s: no requests", path);
        good = false;
    }
    if (!good) {
        trace_destroy(t);
        return false;
    }
    settle(&r);
    *out = t;
    return true;
}

void trace_link(struct trace *t) {
    if (t->next) {
        return;
    }
    struct column last = {NULL};
    uint32_t *seen = column_reserve(&last, (size_t)t->keys_count * sizeof *seen);
    memset(seen, 0xff, (size_t)t->keys_count * sizeof *seen);
    uint32_t *next =
        column_reserve(&t->columns[NEXT], (size_t)t->requests_count * sizeof *next);
    for (uint32_t i = t->requests_count; i-- > 0;) {
        next[i] = seen[t->ids[i]];
        seen[t->ids[i]] = i;
    }
    column_free(&last);
    t->next = next;
}

void trace_destroy(struct trace *t) {
    if (!t) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_COUNT(t->columns); i++) {
        column_free(&t->columns[i]);
    }
    mem_free(t->name);
    mem_free(t);
}

uint64_t trace_footprint_bytes(const struct trace *t, uint32_t unit_bytes) {
    return t->unit ? t->footprint * MAX(unit_bytes, t->key_bytes_max) : t->footprint;
}
