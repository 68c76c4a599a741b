/* The MySQL and MariaDB driver, on libmariadb's blocking calls. One worker's thread, but
 * `interrupt`, which shuts the socket down so that the call in progress fails at once.
 *
 * 1. Reads are plain statements under autocommit and READ COMMITTED: no snapshot is ever left open.
 * 2. Statements are prepared by number of keys (powers of two) and kept; keys are bound, never
 *    written into the text.
 * 3. A cell is fetched as bytes into CELL_BYTES; a longer one is fetched again into a buffer of its
 *    own, and one longer than KEEP_BYTES_MAX where the value's builder wants it.
 * 4. libmariadb's buffer of packets grows to the largest row and stays so.
 *
 * libmariadb's timeouts are whole seconds and are only a net below the store's watchdog. */
#include <errmsg.h>
#include <mysql.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include "base/mem.h"
#include "store/driver.h"
#include "store/mysql_check.h"
#include "store/mysql_library.h"
#include "store/sql.h"

enum {
    CELL_BYTES = 256,
    CELLS_MAX = MAPPING_KEY_COLUMNS_MAX + MAPPING_COLUMNS_MAX,
    KEEP_BYTES_MAX = 64 * 1024,
    PARAMETERS_MAX = STORE_BATCH_KEYS_MAX * MAPPING_KEY_COLUMNS_MAX,
};

struct store_library {
    struct mysql_library mysql;
};

struct store_conn {
    const struct mysql_library *lib;
    MYSQL *my;
    int fd;
    atomic_bool interrupted;
    char server[64];
    struct sql_cache cache;
    MYSQL_STMT *statements[SQL_STATEMENTS_MAX];

    MYSQL_BIND parameters[PARAMETERS_MAX];
    unsigned long parameter_lengths[PARAMETERS_MAX];

    MYSQL_BIND results[CELLS_MAX];
    unsigned long lengths[CELLS_MAX];
    my_bool nulls[CELLS_MAX];
    struct buf large[CELLS_MAX]; /* of up to KEEP_BYTES_MAX */
    MYSQL_STMT *fetching;        /* whose row is being handed out */
    bool fetch_failed;
    enum schema_cell_kind kinds[CELLS_MAX];
    struct schema_cell cells[CELLS_MAX];
    char bytes[CELLS_MAX][CELL_BYTES];
};

static bool library_open(struct store_library **out, char *why, size_t why_len) {
    struct store_library *library = mem_zalloc(sizeof *library);
    if (!mysql_library_open(&library->mysql, MYSQL_LIBRARY_NAME, why, why_len)) {
        mem_free(library);
        return false;
    }
    *out = library;
    return true;
}

static void library_close(struct store_library *library) {
    mem_free(library);
}

static void thread_init(const struct store_library *library) {
    library->mysql.mysql_thread_init();
}

static void thread_deinit(const struct store_library *library) {
    library->mysql.mysql_thread_end();
}

static enum driver_status classify(const struct store_conn *c, unsigned number, const char *text,
                                   struct driver_error *error) {
    enum driver_status status = mysql_check_errno(number, text, error);
    return atomic_load(&c->interrupted) ? DRIVER_TIMEOUT : status;
}

static enum driver_status fail(const struct store_conn *c, struct driver_error *error) {
    return classify(c, c->lib->mysql_errno(c->my), c->lib->mysql_error(c->my), error);
}

static void close_conn(struct store_conn *c) {
    if (!c) {
        return;
    }
    c->lib->mysql_close(c->my); /* first: closing the statements then costs no round trips */
    for (uint32_t i = 0; i < SQL_STATEMENTS_MAX; i++) {
        if (c->statements[i]) {
            c->lib->mysql_stmt_close(c->statements[i]);
        }
    }
    for (uint32_t i = 0; i < CELLS_MAX; i++) {
        buf_free(&c->large[i]);
    }
    mem_free(c);
}

static void set_options(const struct store_conn *c, const struct store_url *url,
                        int64_t timeout_ms) {
    __typeof__(mysql_options) *set = c->lib->mysql_options;
    unsigned seconds = (unsigned)((timeout_ms + 999) / 1000), net_seconds = seconds + 1;
    my_bool on = 1, off = 0, enforce = url->tls != STORE_TLS_OFF,
            verify = url->tls == STORE_TLS_VERIFY;
    unsigned no_files = 0;
    unsigned protocol = url->socket[0] ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    set(c->my, MYSQL_OPT_CONNECT_TIMEOUT, &seconds);
    set(c->my, MYSQL_OPT_READ_TIMEOUT, &net_seconds);
    set(c->my, MYSQL_OPT_WRITE_TIMEOUT, &net_seconds);
    set(c->my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    set(c->my, MYSQL_OPT_PROTOCOL, &protocol);
    set(c->my, MYSQL_OPT_RECONNECT, &off);
    set(c->my, MYSQL_REPORT_DATA_TRUNCATION, &on);
    set(c->my, MYSQL_OPT_LOCAL_INFILE, &no_files); /* no server reads files here */
    set(c->my, MYSQL_OPT_SSL_ENFORCE, &enforce);
    set(c->my, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    if (url->ca[0]) {
        set(c->my, MYSQL_OPT_SSL_CA, url->ca);
    }
    if (!verify) {
        /* None that would hand the password itself to whoever answers. */
        set(c->my, MARIADB_OPT_RESTRICTED_AUTH,
            "mysql_native_password,caching_sha2_password,sha256_password,client_ed25519");
    }
}

/* libmariadb goes on in plain text where the server offers no TLS, MYSQL_OPT_SSL_ENFORCE or not. */
static bool is_as_secret_as_asked(const struct store_conn *c, const struct store_url *url,
                                  struct driver_error *error) {
    if (url->tls == STORE_TLS_OFF || c->lib->mysql_get_ssl_cipher(c->my)) {
        return true;
    }
    snprintf(error->text, sizeof error->text, "the server does not offer TLS, as tls= asks for");
    return false;
}

static bool set_session(const struct store_conn *c) {
    static const char isolation[] = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
    /* Said again in words: a server may be told to ignore what the handshake asks for. */
    return c->lib->mysql_set_character_set(c->my, "utf8mb4") == 0 &&
           c->lib->mysql_autocommit(c->my, 1) == 0 &&
           c->lib->mysql_real_query(c->my, isolation, sizeof isolation - 1) == 0;
}

static enum driver_status open_conn(const struct store_library *library,
                                    const struct store_url *url, int64_t timeout_ms,
                                    struct store_conn **out, struct driver_error *error) {
    struct store_conn *c = mem_zalloc(sizeof *c);
    c->lib = &library->mysql;
    c->my = c->lib->mysql_init(NULL);
    ASSERT(c->my);
    set_options(c, url, timeout_ms);
    bool open = c->lib->mysql_real_connect(c->my, url->host[0] ? url->host : NULL, url->user,
                                           url->password, url->database, url->port,
                                           url->socket[0] ? url->socket : NULL, 0) != NULL;
    if (!open || !set_session(c)) {
        enum driver_status status = fail(c, error);
        close_conn(c);
        return status == DRIVER_TIMEOUT ? status : DRIVER_DOWN;
    }
    if (!is_as_secret_as_asked(c, url, error)) {
        close_conn(c);
        return DRIVER_DOWN;
    }
    c->fd = (int)c->lib->mysql_get_socket(c->my);
    snprintf(c->server, sizeof c->server, "%s", c->lib->mysql_get_server_info(c->my));
    *out = c;
    return DRIVER_OK;
}

static void interrupt(struct store_conn *c) {
    atomic_store(&c->interrupted, true);
    shutdown(c->fd, SHUT_RDWR);
}

static const char *server(const struct store_conn *c) {
    return c->server;
}

static enum driver_status check(struct store_conn *c, const struct mapping *m, struct schema **out,
                                struct driver_error *error) {
    enum driver_status status = mysql_check_mapping(c->lib, c->my, m, out, error);
    return status != DRIVER_OK && atomic_load(&c->interrupted) ? DRIVER_TIMEOUT : status;
}

/* --- load --- */

static void close_statement(struct store_conn *c, uint32_t slot) {
    if (c->statements[slot]) {
        c->lib->mysql_stmt_close(c->statements[slot]);
        c->statements[slot] = NULL;
    }
}

static enum driver_status fail_statement(struct store_conn *c, uint32_t slot,
                                         struct driver_error *error) {
    MYSQL_STMT *stmt = c->statements[slot];
    enum driver_status status =
        classify(c, c->lib->mysql_stmt_errno(stmt), c->lib->mysql_stmt_error(stmt), error);
    if (status != DRIVER_DOWN && status != DRIVER_TIMEOUT) {
        close_statement(c, slot); /* else with the connection, which is of no more use */
        sql_cache_drop(&c->cache, slot);
    }
    return status;
}

static enum driver_status prepare(struct store_conn *c, const struct schema *schema, uint32_t keys,
                                  uint32_t *slot, struct driver_error *error) {
    bool hit;
    *slot = sql_cache_find(&c->cache, schema->id, keys, &hit);
    if (hit) {
        return DRIVER_OK;
    }
    close_statement(c, *slot);
    MYSQL_STMT *stmt = c->statements[*slot] = c->lib->mysql_stmt_init(c->my);
    ASSERT(stmt);
    struct buf sql = {0};
    sql_append_select(&sql, schema, keys, SQL_MYSQL);
    int rc = c->lib->mysql_stmt_prepare(stmt, sql.ptr, sql.len);
    buf_free(&sql);
    if (rc != 0) {
        return fail_statement(c, *slot, error);
    }
    ASSERT(c->lib->mysql_stmt_param_count(stmt) == (unsigned long)keys * schema->keys_count);
    return DRIVER_OK;
}

static void bind_value(struct store_conn *c, uint32_t at, const struct schema_key_column *column,
                       const struct schema_value *value) {
    MYSQL_BIND *b = &c->parameters[at];
    *b = (MYSQL_BIND){0};
    switch (column->kind) {
    case SCHEMA_KEY_INT:
    case SCHEMA_KEY_UINT:
        b->buffer_type = MYSQL_TYPE_LONGLONG;
        b->buffer = (void *)(uintptr_t)&value->number;
        b->is_unsigned = column->kind == SCHEMA_KEY_UINT;
        return;
    case SCHEMA_KEY_TEXT:
    case SCHEMA_KEY_UUID:
    case SCHEMA_KEY_BINARY:
        b->buffer_type = column->kind == SCHEMA_KEY_BINARY ? MYSQL_TYPE_BLOB : MYSQL_TYPE_STRING;
        b->buffer = (void *)(uintptr_t)value->text.ptr;
        b->buffer_length = c->parameter_lengths[at] = value->text.len;
        b->length = &c->parameter_lengths[at];
        return;
    }
    UNREACHABLE();
}

static void bind_results(struct store_conn *c, const struct schema *schema) {
    for (uint32_t i = 0; i < schema->cells_count; i++) {
        c->results[i] = (MYSQL_BIND){.buffer_type = MYSQL_TYPE_STRING,
                                     .buffer = c->bytes[i],
                                     .buffer_length = CELL_BYTES,
                                     .length = &c->lengths[i],
                                     .is_null = &c->nulls[i]};
        c->kinds[i] = SCHEMA_TEXT;
    }
    for (uint32_t i = 0; i < schema->columns_count; i++) {
        c->kinds[schema->columns[i].cell] = schema->columns[i].kind;
    }
}

/* A cell that did not fit in the bound bytes, fetched again as a whole: a schema_cell's `fetch`. */
static bool fetch_cell(void *from, uint32_t cell, struct slice to) {
    struct store_conn *c = from;
    unsigned long got = 0;
    my_bool null = 0;
    MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_STRING,
                       .buffer = (void *)(uintptr_t)to.ptr,
                       .buffer_length = to.len,
                       .length = &got,
                       .is_null = &null};
    bool fetched =
        c->lib->mysql_stmt_fetch_column(c->fetching, &bind, cell, 0) == 0 && got == to.len;
    c->fetch_failed |= !fetched;
    return fetched;
}

static struct schema_cell large_cell(struct store_conn *c, const struct schema *schema,
                                     uint32_t cell, size_t len) {
    if (len > KEEP_BYTES_MAX && cell >= schema->keys_count) {
        return (struct schema_cell){.text = slice_of(NULL, len), .fetch = fetch_cell, .from = c};
    }
    struct buf *b = &c->large[cell];
    b->len = 0;
    char *bytes = buf_reserve(b, len);
    fetch_cell(c, cell, slice_of(bytes, len));
    return (struct schema_cell){.text = slice_of(bytes, len)};
}

static uint64_t row_bytes(const struct store_conn *c, const struct schema *schema) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < schema->cells_count; i++) {
        bytes += c->nulls[i] ? 0 : c->lengths[i];
    }
    return bytes;
}

static void set_cells(struct store_conn *c, const struct schema *schema) {
    for (uint32_t i = 0; i < schema->cells_count; i++) {
        size_t len = c->nulls[i] ? 0 : c->lengths[i];
        c->cells[i] = len > CELL_BYTES ? large_cell(c, schema, i, len)
                                       : (struct schema_cell){.text = slice_of(c->bytes[i], len)};
        c->cells[i].kind = c->nulls[i] ? SCHEMA_NULL : c->kinds[i];
    }
}

static enum driver_status read_rows(struct store_conn *c, uint32_t slot,
                                    const struct schema *schema, const struct driver_rows *rows,
                                    struct driver_error *error) {
    MYSQL_STMT *stmt = c->fetching = c->statements[slot];
    c->fetch_failed = false;
    for (;;) {
        int rc = c->lib->mysql_stmt_fetch(stmt);
        if (rc == MYSQL_NO_DATA) {
            return DRIVER_OK;
        }
        if (rc != 0 && rc != MYSQL_DATA_TRUNCATED) {
            return fail_statement(c, slot, error);
        }
        if (!rows->announce(rows->ctx, row_bytes(c, schema))) {
            snprintf(error->text, sizeof error->text, "the row is not wanted any more");
            return DRIVER_TIMEOUT;
        }
        set_cells(c, schema);
        if (!c->fetch_failed) {
            rows->row(rows->ctx, c->cells);
        }
        if (c->fetch_failed) {
            return fail_statement(c, slot, error);
        }
    }
}

static enum driver_status load(struct store_conn *c, const struct schema *schema,
                               const struct schema_key *keys, uint32_t count,
                               const struct driver_rows *rows, struct driver_error *error) {
    uint32_t padded = sql_padded(count), slot;
    enum driver_status status = prepare(c, schema, padded, &slot, error);
    if (status != DRIVER_OK) {
        return status;
    }
    for (uint32_t i = 0; i < padded; i++) {
        for (uint32_t k = 0; k < schema->keys_count; k++) {
            bind_value(c, i * schema->keys_count + k, &schema->keys[k],
                       &keys[MIN(i, count - 1)].v[k]);
        }
    }
    bind_results(c, schema);
    MYSQL_STMT *stmt = c->statements[slot];
    if (c->lib->mysql_stmt_bind_param(stmt, c->parameters) != 0 ||
        c->lib->mysql_stmt_execute(stmt) != 0) {
        return fail_statement(c, slot, error);
    }
    /* The table has changed and the server prepared the statement again by itself. */
    if (c->lib->mysql_stmt_field_count(stmt) != schema->cells_count) {
        snprintf(error->text, sizeof error->text, "the table's columns have changed");
        c->lib->mysql_stmt_free_result(stmt);
        return DRIVER_SCHEMA;
    }
    if (c->lib->mysql_stmt_bind_result(stmt, c->results) != 0) {
        return fail_statement(c, slot, error);
    }
    status = read_rows(c, slot, schema, rows, error);
    if (status == DRIVER_OK && c->lib->mysql_stmt_free_result(stmt) != 0) {
        status = fail_statement(c, slot, error);
    }
    return status;
}

const struct store_driver driver_mysql = {
    .name = "mysql",
    .row_copies = 0, /* packets have a buffer that the connection keeps */
    .library_open = library_open,
    .library_close = library_close,
    .thread_init = thread_init,
    .thread_deinit = thread_deinit,
    .open = open_conn,
    .close = close_conn,
    .interrupt = interrupt,
    .server = server,
    .check = check,
    .load = load,
};
