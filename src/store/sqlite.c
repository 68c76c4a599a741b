/* The SQLite driver: a connection reads a file, opened read-only. One worker's thread, but
 * `interrupt`, which sqlite3_interrupt allows from any.
 *
 * 1. A key column's affinity decides what is bound: INTEGER takes integers, TEXT text, BLOB bytes.
 * 2. A value's text is SQLite's own of what is stored, whatever the column was declared as.
 * 3. PRAGMA functions tell the schema; a rowid alias (INTEGER PRIMARY KEY) has no index of its own.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "store/driver.h"
#include "store/sql.h"

enum {
    BUSY_STEP_US = 1000,
    BUSY_STEP_MAX_US = 10000,
    CACHE_BYTES_MAX = 2000 << 10, /* SQLite's default */
};

struct store_conn {
    sqlite3 *db;
    int64_t timeout_us, busy_since_us;
    dev_t device; /* of the file, */
    ino_t inode;  /* ... to notice that another has taken its place */
    char path[STORE_URL_BYTES_MAX];
    atomic_bool interrupted;
    struct sql_cache cache;
    sqlite3_stmt *statements[SQL_STATEMENTS_MAX];
    struct schema_cell cells[MAPPING_KEY_COLUMNS_MAX + MAPPING_COLUMNS_MAX];
};

/* Linked: there is nothing to load. */
static bool library_open(struct store_library **out, char *why, size_t why_len) {
    *out = NULL;
    return true;
}

static void library_close(struct store_library *library) {
}

static void thread_nothing(const struct store_library *library) {
}

static enum driver_status fail(struct store_conn *c, int rc, struct driver_error *error) {
    snprintf(error->text, sizeof error->text, "%d %s", rc & 0xff,
             c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc));
    if (atomic_load(&c->interrupted)) {
        return DRIVER_TIMEOUT;
    }
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_INTERRUPT:
        return DRIVER_TIMEOUT;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_PROTOCOL:
        return DRIVER_DOWN;
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
        return DRIVER_REJECT_DATA;
    default:
        return DRIVER_REJECT;
    }
}

static void close_conn(struct store_conn *c) {
    if (!c) {
        return;
    }
    for (uint32_t i = 0; i < SQL_STATEMENTS_MAX; i++) {
        sqlite3_finalize(c->statements[i]);
    }
    int rc = sqlite3_close(c->db);
    ASSERT(rc == SQLITE_OK);
    mem_free(c);
}

/* Another process has the file locked. Waits in steps, as SQLite's own handler cannot be
 * interrupted. */
static int on_busy(void *arg, int tries) {
    struct store_conn *c = arg;
    int64_t now_us = clock_mono_us();
    if (tries == 0) {
        c->busy_since_us = now_us;
    }
    if (atomic_load(&c->interrupted) || now_us - c->busy_since_us >= c->timeout_us) {
        return 0;
    }
    usleep((useconds_t)MIN((int64_t)BUSY_STEP_US * (tries + 1), (int64_t)BUSY_STEP_MAX_US));
    return 1;
}

static enum driver_status open_conn(const struct store_library *library,
                                    const struct store_url *url, int64_t timeout_ms,
                                    struct store_conn **out, struct driver_error *error) {
    struct store_conn *c = mem_zalloc(sizeof *c);
    struct stat st;
    snprintf(c->path, sizeof c->path, "%s", url->path);
    int rc = sqlite3_open_v2(url->path, &c->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK && stat(c->path, &st) == 0) {
        c->device = st.st_dev;
        c->inode = st.st_ino;
    }
    if (rc == SQLITE_OK) {
        /* The file is opened, and seen to be a database, by the first read only. Where it is locked
         * that is left to the first load: nobody can interrupt what waits here. */
        rc = sqlite3_exec(c->db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
        rc = rc == SQLITE_BUSY ? SQLITE_OK : rc;
        c->timeout_us = timeout_ms * 1000;
        sqlite3_busy_handler(c->db, on_busy, c);
    }
    if (rc != SQLITE_OK) {
        enum driver_status status = fail(c, rc, error);
        close_conn(c);
        return status == DRIVER_TIMEOUT ? status : DRIVER_DOWN;
    }
    *out = c;
    return DRIVER_OK;
}

/* A page of 4 KB takes 5 of the allocator. What is above goes at once. */
static bool limit_cache(struct store_conn *c, uint64_t bytes) {
    char sql[64];
    uint64_t pages_bytes = MIN(bytes / 5 * 4, (uint64_t)CACHE_BYTES_MAX);
    snprintf(sql, sizeof sql, "PRAGMA cache_size = -%" PRIu64, MAX(pages_bytes >> 10, 1u));
    return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static void interrupt(struct store_conn *c) {
    atomic_store(&c->interrupted, true);
    sqlite3_interrupt(c->db);
}

static const char *server(const struct store_conn *c) {
    return sqlite3_libversion();
}

/* --- check --- */

struct checking {
    struct store_conn *c;
    const struct mapping *m;
    char database[STORE_ERROR_CHARS_MAX]; /* the part of table= before the dot, else "main" */
    const char *table;
    struct schema_table found;
    bool primary_index; /* the primary key has an index: it is no rowid alias */
    uint32_t primary_columns;
    char *primary_column;
};

static enum driver_status prepare(struct checking *k, const char *sql, const char *argument,
                                  sqlite3_stmt **stmt, struct driver_error *error) {
    int rc = sqlite3_prepare_v2(k->c->db, sql, -1, stmt, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text(*stmt, 1, argument, -1, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK && sqlite3_bind_parameter_count(*stmt) > 1) {
        rc = sqlite3_bind_text(*stmt, 2, k->database, -1, SQLITE_STATIC);
    }
    return rc == SQLITE_OK ? DRIVER_OK : fail(k->c, rc, error);
}

static const char *column_text(sqlite3_stmt *stmt, int column) {
    const unsigned char *text = sqlite3_column_text(stmt, column);
    return text ? (const char *)text : "";
}

/* Section 3.1 of SQLite's document on datatypes. */
static void set_affinity(struct schema_found *f, const char *type) {
    f->key_possible = true;
    if (strcasestr(type, "int")) {
        f->key.kind = SCHEMA_KEY_INT;
        f->key.min = INT64_MIN;
        f->key.max = INT64_MAX;
    } else if (strcasestr(type, "char") || strcasestr(type, "clob") || strcasestr(type, "text")) {
        f->key.kind = SCHEMA_KEY_TEXT;
        f->key.size_max = SIZE_MAX;
    } else if (strcasestr(type, "blob") || !*type) {
        f->key.kind = SCHEMA_KEY_BINARY;
        f->key.size_max = SIZE_MAX;
    } else {
        f->key_possible = false;
        f->key_reason = "its declared type gives it REAL or NUMERIC affinity";
    }
    f->kind = strcasecmp(type, "json") == 0 ? SCHEMA_JSON : SCHEMA_TEXT;
}

static enum driver_status read_columns(struct checking *k, struct driver_error *error) {
    sqlite3_stmt *stmt = NULL;
    enum driver_status status =
        prepare(k,
                "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1, ?2) "
                "WHERE hidden <> 1",
                k->table, &stmt, error);
    int rc = SQLITE_DONE;
    while (status == DRIVER_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct schema_found *f = schema_table_add(&k->found, slice_str(column_text(stmt, 0)));
        set_affinity(f, column_text(stmt, 1));
        f->not_null = sqlite3_column_int(stmt, 2) != 0;
        if (sqlite3_column_int(stmt, 3)) {
            k->primary_columns++;
            mem_free(k->primary_column);
            k->primary_column = mem_strdup(f->name);
        }
    }
    if (status == DRIVER_OK && rc != SQLITE_DONE) {
        status = fail(k->c, rc, error);
    }
    sqlite3_finalize(stmt);
    return status;
}

static enum driver_status read_index(struct checking *k, const char *name, bool partial,
                                     struct driver_error *error) {
    char *columns[MAPPING_COLUMNS_MAX] = {NULL};
    uint32_t count = 0;
    sqlite3_stmt *stmt = NULL;
    enum driver_status status =
        prepare(k, "SELECT name FROM pragma_index_info(?1, ?2) ORDER BY seqno", name, &stmt, error);
    int rc = SQLITE_DONE;
    while (status == DRIVER_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW &&
           count < MAPPING_COLUMNS_MAX) {
        bool expression = sqlite3_column_type(stmt, 0) == SQLITE_NULL;
        columns[count++] = expression ? NULL : mem_strdup(column_text(stmt, 0));
    }
    if (status == DRIVER_OK && rc == SQLITE_DONE) {
        schema_table_index(&k->found, k->m, name, (const char *const *)columns, count, !partial);
    } else if (status == DRIVER_OK && rc != SQLITE_ROW) {
        status = fail(k->c, rc, error);
    }
    for (uint32_t i = 0; i < count; i++) {
        mem_free(columns[i]);
    }
    sqlite3_finalize(stmt);
    return status;
}

static enum driver_status read_indexes(struct checking *k, struct driver_error *error) {
    sqlite3_stmt *stmt = NULL;
    enum driver_status status =
        prepare(k, "SELECT name, origin, partial FROM pragma_index_list(?1, ?2) WHERE \"unique\"",
                k->table, &stmt, error);
    int rc = SQLITE_DONE;
    while (status == DRIVER_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (strcmp(column_text(stmt, 1), "pk") == 0) {
            k->primary_index = true;
        }
        status = read_index(k, column_text(stmt, 0), sqlite3_column_int(stmt, 2) != 0, error);
    }
    if (status == DRIVER_OK && rc != SQLITE_DONE) {
        status = fail(k->c, rc, error);
    }
    sqlite3_finalize(stmt);
    if (status == DRIVER_OK && k->primary_columns == 1 && !k->primary_index) {
        schema_table_find(&k->found, k->primary_column)->not_null = true;
        const char *columns[] = {k->primary_column};
        schema_table_index(&k->found, k->m, "PRIMARY", columns, 1, true);
    }
    return status;
}

static enum driver_status read_type(struct checking *k, struct driver_error *error) {
    struct buf sql = {0};
    buf_append_slice(&sql, SLICE("SELECT type FROM "));
    schema_quote(&sql, slice_str(k->database));
    buf_printf(&sql, ".sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')");
    sqlite3_stmt *stmt = NULL;
    enum driver_status status = prepare(k, sql.ptr, k->table, &stmt, error);
    int rc = status == DRIVER_OK ? sqlite3_step(stmt) : SQLITE_DONE;
    if (status == DRIVER_OK && rc == SQLITE_ROW) {
        if (strcmp(column_text(stmt, 0), "table") != 0) {
            snprintf(error->text, sizeof error->text, "%s is a view: map the table behind it",
                     k->m->table);
            status = DRIVER_SCHEMA;
        }
    } else if (status == DRIVER_REJECT || (status == DRIVER_OK && rc == SQLITE_DONE)) {
        snprintf(error->text, sizeof error->text, "there is no table %s", k->m->table);
        status = DRIVER_SCHEMA;
    } else if (status == DRIVER_OK) {
        status = fail(k->c, rc, error);
    }
    sqlite3_finalize(stmt);
    buf_free(&sql);
    return status;
}

static enum driver_status check(struct store_conn *c, const struct mapping *m, struct schema **out,
                                struct driver_error *error) {
    struct checking k = {.c = c, .m = m, .database = "main", .table = m->table};
    const char *dot = strchr(m->table, '.');
    if (dot && (size_t)(dot - m->table) < sizeof k.database) {
        memcpy(k.database, m->table, (size_t)(dot - m->table));
        k.database[dot - m->table] = '\0';
        k.table = dot + 1;
    }
    enum driver_status status = read_type(&k, error);
    if (status == DRIVER_OK) {
        status = read_columns(&k, error);
    }
    if (status == DRIVER_OK) {
        status = read_indexes(&k, error);
    }
    if (status == DRIVER_OK) {
        *out = schema_build(m, &k.found, error->text, sizeof error->text);
        status = *out ? DRIVER_OK : DRIVER_SCHEMA;
    }
    mem_free(k.primary_column);
    schema_table_deinit(&k.found);
    return status;
}

/* --- load --- */

static int prepare_select(struct store_conn *c, const struct schema *schema, uint32_t keys,
                          uint32_t *slot) {
    bool hit;
    *slot = sql_cache_find(&c->cache, schema->id, keys, &hit);
    if (hit) {
        return SQLITE_OK;
    }
    struct buf sql = {0};
    sqlite3_finalize(c->statements[*slot]);
    c->statements[*slot] = NULL;
    sql_append_select(&sql, schema, keys, SQL_SQLITE);
    int rc = sqlite3_prepare_v3(c->db, sql.ptr, (int)sql.len, SQLITE_PREPARE_PERSISTENT,
                                &c->statements[*slot], NULL);
    buf_free(&sql);
    return rc;
}

static int bind_key(sqlite3_stmt *stmt, const struct schema *schema, const struct schema_key *key,
                    int at) {
    int rc = SQLITE_OK;
    for (uint32_t k = 0; k < schema->keys_count && rc == SQLITE_OK; k++, at++) {
        struct slice text = key->v[k].text;
        switch (schema->keys[k].kind) {
        case SCHEMA_KEY_INT:
        case SCHEMA_KEY_UINT:
            rc = sqlite3_bind_int64(stmt, at, (int64_t)key->v[k].number);
            break;
        case SCHEMA_KEY_TEXT:
        case SCHEMA_KEY_UUID:
            rc = sqlite3_bind_text64(stmt, at, text.ptr, text.len, SQLITE_STATIC, SQLITE_UTF8);
            break;
        case SCHEMA_KEY_BINARY:
            rc = sqlite3_bind_blob64(stmt, at, text.ptr, text.len, SQLITE_STATIC);
            break;
        }
    }
    return rc;
}

static enum schema_cell_kind cell_kind(const struct schema *schema, uint32_t cell, int type) {
    switch (type) {
    case SQLITE_NULL:
        return SCHEMA_NULL;
    case SQLITE_INTEGER:
    case SQLITE_FLOAT:
        return SCHEMA_NUMBER;
    case SQLITE_BLOB:
        return SCHEMA_BINARY;
    default:
        break;
    }
    for (uint32_t i = 0; i < schema->columns_count; i++) {
        if (schema->columns[i].cell == cell) {
            return schema->columns[i].kind;
        }
    }
    return SCHEMA_TEXT;
}

static int run(struct store_conn *c, const struct schema *schema, sqlite3_stmt *stmt,
               const struct driver_rows *rows) {
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < schema->cells_count; i++) {
            int type = sqlite3_column_type(stmt, (int)i);
            const void *ptr = type == SQLITE_BLOB ? sqlite3_column_blob(stmt, (int)i)
                                                  : sqlite3_column_text(stmt, (int)i);
            size_t len = (size_t)sqlite3_column_bytes(stmt, (int)i);
            if (!ptr && type != SQLITE_NULL && type != SQLITE_BLOB) {
                return SQLITE_NOMEM;
            }
            c->cells[i] = (struct schema_cell){.text = slice_of(ptr ? ptr : "", len),
                                               .kind = cell_kind(schema, i, type)};
            bytes += len;
        }
        if (!rows->announce(rows->ctx, bytes)) {
            return SQLITE_INTERRUPT;
        }
        rows->row(rows->ctx, c->cells);
    }
    return rc;
}

/* Someone moved another file here, or took ours away. */
static bool file_replaced(const struct store_conn *c) {
    struct stat st;
    return stat(c->path, &st) != 0 || st.st_ino != c->inode || st.st_dev != c->device;
}

static enum driver_status load(struct store_conn *c, const struct schema *schema,
                               const struct schema_key *keys, uint32_t count,
                               const struct driver_rows *rows, struct driver_error *error) {
    if (file_replaced(c)) {
        snprintf(error->text, sizeof error->text, "the database file was replaced or removed");
        return DRIVER_DOWN;
    }
    uint32_t padded = sql_padded(count), slot;
    int rc = prepare_select(c, schema, padded, &slot);
    sqlite3_stmt *stmt = c->statements[slot];
    for (uint32_t i = 0; i < padded && rc == SQLITE_OK; i++) {
        rc = bind_key(stmt, schema, &keys[MIN(i, count - 1)], (int)(i * schema->keys_count) + 1);
    }
    if (rc == SQLITE_OK) {
        rc = run(c, schema, stmt, rows);
    }
    if (rc == SQLITE_DONE) {
        sqlite3_reset(stmt);
        sqlite3_clear_bindings(stmt);
        return DRIVER_OK;
    }
    enum driver_status status = fail(c, rc, error);
    /* Names that are gone have no error number of their own. */
    if (status == DRIVER_REJECT && rc == SQLITE_ERROR && strstr(error->text, "no such")) {
        status = DRIVER_SCHEMA;
    }
    sqlite3_finalize(stmt);
    c->statements[slot] = NULL;
    sql_cache_drop(&c->cache, slot);
    return status;
}

const struct store_driver driver_sqlite = {
    .name = "sqlite",
    .row_copies = 1,
    .library_open = library_open,
    .library_close = library_close,
    .thread_init = thread_nothing,
    .thread_deinit = thread_nothing,
    .open = open_conn,
    .close = close_conn,
    .limit_cache = limit_cache,
    .interrupt = interrupt,
    .server = server,
    .check = check,
    .load = load,
};
