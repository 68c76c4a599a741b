#include "fixture.h"
#include <sqlite3.h>
#include <unistd.h>

void fixture_file_create(struct fixture_file *file, const char *sql) {
    sqlite3 *db;
    char *why = NULL;
    snprintf(file->path, sizeof file->path, "/tmp/forebay-test-XXXXXX");
    int fd = mkstemp(file->path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(file->url, sizeof file->url, "sqlite://%s", file->path);
    assert_int_equal(sqlite3_open(file->path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK) {
        fail_msg("%.200s: %s", sql, why);
    }
    sqlite3_close(db);
}

void fixture_file_remove(struct fixture_file *file) {
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        char path[sizeof file->path + 8];
        snprintf(path, sizeof path, "%s%s", file->path, suffixes[i]);
        unlink(path);
    }
}

struct store_params fixture_params(const char *url) {
    struct store_params p = {.pool = 4, .timeout_ms = 5000};
    snprintf(p.url, sizeof p.url, "%s", url);
    return p;
}

static void on_complete(void *ctx, struct store_request *list) {
    struct fixture *f = ctx;
    pthread_mutex_lock(&f->mutex);
    while (list) {
        struct store_request *next = list->next;
        *(struct store_request **)list->owner = list;
        f->completed++;
        list = next;
    }
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->mutex);
}

void fixture_open(struct fixture *f, const struct store_params *params) {
    char why[256] = "";
    *f = (struct fixture){0};
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->cond, NULL);
    f->store = store_create(params, on_complete, f, why, sizeof why);
    if (!f->store) {
        fail_msg("store_create: %s", why);
    }
}

void fixture_close(struct fixture *f) {
    store_destroy(f->store);
    pthread_mutex_destroy(&f->mutex);
    pthread_cond_destroy(&f->cond);
}

struct mapping *fixture_map(const char *line) {
    char why[256] = "";
    struct mapping *m = mapping_parse(slice_str(line), why, sizeof why);
    if (!m) {
        fail_msg("mapping_parse %s: %s", line, why);
    }
    return m;
}

void fixture_wait(struct fixture *f, uint64_t completed) {
    pthread_mutex_lock(&f->mutex);
    while (f->completed < completed) {
        pthread_cond_wait(&f->cond, &f->mutex);
    }
    pthread_mutex_unlock(&f->mutex);
}

struct store_request **fixture_submit(struct fixture *f, struct mapping *m,
                                      const struct slice *values, uint32_t count) {
    struct store_request **v = mem_zalloc((count + 1) * sizeof *v);
    struct store_request *list = NULL;
    for (uint32_t i = count; i > 0; i--) {
        struct store_request *r =
            store_request_create(m, values + (size_t)(i - 1) * m->key_columns_count, &v[i - 1]);
        r->next = list;
        list = r;
    }
    store_load(f->store, list);
    return v;
}

struct store_request **fixture_load(struct fixture *f, struct mapping *m,
                                    const struct slice *values, uint32_t count) {
    pthread_mutex_lock(&f->mutex);
    uint64_t before = f->completed;
    pthread_mutex_unlock(&f->mutex);
    struct store_request **v = fixture_submit(f, m, values, count);
    fixture_wait(f, before + count);
    return v;
}

void fixture_free(struct store_request **v, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        store_request_destroy(v[i]);
    }
    mem_free(v);
}

struct store_request *fixture_get(struct fixture *f, struct mapping *m, const char *key) {
    struct slice values[MAPPING_KEY_COLUMNS_MAX];
    if (!mapping_match(m, slice_str(key), values)) {
        fail_msg("key %s is not of mapping %s", key, m->definition);
    }
    struct store_request **v = fixture_load(f, m, values, 1);
    struct store_request *r = v[0];
    mem_free(v);
    return r;
}

const char *fixture_status(enum store_status s) {
    static const char *const names[] = {"ROW",  "ABSENT", "DOWN",  "TIMEOUT",
                                        "BUSY", "REJECT", "SCHEMA"};
    return names[s];
}

const char *fixture_text(const struct store_request *r) {
    static char text[8192];
    size_t len = 0;
    if (r->status != STORE_ROW) {
        snprintf(text, sizeof text, "%s%s%s", fixture_status(r->status), r->error[0] ? ": " : "",
                 r->error);
        return text;
    }
    if (!r->value.is_hash) {
        snprintf(text, sizeof text, "%.*s", SLICE_FMT(r->value.string));
        return text;
    }
    text[0] = '\0';
    for (uint32_t i = 0; i < r->value.pairs_count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s=%.*s", i ? " " : "",
                                SLICE_FMT(r->value.pairs[2 * i]),
                                SLICE_FMT(r->value.pairs[2 * i + 1]));
        assert_true(len < sizeof text);
    }
    return text;
}

void fixture_expect(struct fixture *f, struct mapping *m, const char *key, const char *text) {
    struct store_request *r = fixture_get(f, m, key);
    const char *got = fixture_text(r);
    if (strcmp(got, text) != 0) {
        fail_msg("%s: got  %s\n   wanted %s", key, got, text);
    }
    store_request_destroy(r);
}
