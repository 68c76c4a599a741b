/* Reads a table's columns and unique indexes from information_schema, and puts the schema together.
 *
 * 1. Prepared statements bring numbers and times in binary, and the client library's text of them
 * is not the server's. What has no text form on the wire is selected as CONCAT(column): the
 * server's own text, as its text protocol would give it.
 * 2. Names in these queries are the config's, never a client's; they are escaped all the same. */
#include "store/mysql_check.h"

#include <errmsg.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/mem.h"

enum driver_status mysql_check_errno(unsigned number, const char *text,
                                     struct driver_error *error) {
    snprintf(error->text, sizeof error->text, "%u %s", number, text);
    switch (number) {
    case 1205: /* lock wait timeout */
    case 1317: /* query interrupted */
    case 1969: /* max_statement_time, MariaDB */
    case 3024: /* max_execution_time, MySQL */
        return DRIVER_TIMEOUT;
    case 1040: /* too many connections */
    case 1053: /* shutdown in progress */
    case 1158: /* network errors as the server saw them, to 1161 */
    case 1159:
    case 1160:
    case 1161:
    case 1203: /* too many connections of this user */
    case 1927: /* connection was killed */
    case 4031: /* disconnected for inactivity */
        return DRIVER_DOWN;
    case 1049: /* no such database */
    case 1054: /* no such column */
    case 1146: /* no such table */
    case 1412: /* definition has changed */
    case 1615: /* statement needs to be prepared again */
    case CR_NEW_STMT_METADATA:
        return DRIVER_SCHEMA;
    case 1264: /* out of range */
    case 1267: /* illegal mix of collations, three forms */
    case 1270:
    case 1271:
    case 1292: /* incorrect value */
    case 1300: /* invalid character string */
    case 1366: /* incorrect string value */
    case 1406: /* too long */
    case 1977: /* cannot convert character, MariaDB */
    case 3854: /* cannot convert string, MySQL */
        return DRIVER_REJECT_DATA;
    default:
        return number >= CR_MIN_ERROR && number <= CR_MAX_ERROR ? DRIVER_DOWN : DRIVER_REJECT;
    }
}

struct reader {
    const struct mysql_library *lib;
    MYSQL *my;
};

static enum driver_status query(const struct reader *r, struct buf *sql, MYSQL_RES **result,
                                struct driver_error *error) {
    *result = NULL;
    if (r->lib->mysql_real_query(r->my, sql->ptr, sql->len) == 0) {
        *result = r->lib->mysql_store_result(r->my);
    }
    buf_free(sql);
    return *result
               ? DRIVER_OK
               : mysql_check_errno(r->lib->mysql_errno(r->my), r->lib->mysql_error(r->my), error);
}

static void append_escaped(struct buf *b, const struct reader *r, struct slice text) {
    buf_append_char(b, '\'');
    b->len += r->lib->mysql_real_escape_string(r->my, buf_reserve(b, text.len * 2 + 1), text.ptr,
                                               text.len);
    buf_append_char(b, '\'');
}

/* "FROM information_schema.<view> WHERE" this table. */
static void append_from(struct buf *b, const struct reader *r, const char *view,
                        const struct mapping *m) {
    const char *dot = strchr(m->table, '.');
    buf_printf(b, " FROM information_schema.%s WHERE TABLE_SCHEMA=", view);
    if (dot) {
        append_escaped(b, r, slice_of(m->table, (size_t)(dot - m->table)));
    } else {
        buf_append_slice(b, SLICE("DATABASE()"));
    }
    buf_append_slice(b, SLICE(" AND TABLE_NAME="));
    append_escaped(b, r, slice_str(dot ? dot + 1 : m->table));
}

static enum driver_status check_type(const struct reader *r, const struct mapping *m,
                                     struct driver_error *error) {
    struct buf sql = {0};
    MYSQL_RES *result;
    buf_append_slice(&sql, SLICE("SELECT TABLE_TYPE"));
    append_from(&sql, r, "TABLES", m);
    enum driver_status status = query(r, &sql, &result, error);
    if (status != DRIVER_OK) {
        return status;
    }
    MYSQL_ROW row = r->lib->mysql_fetch_row(result);
    if (!row) {
        snprintf(error->text, sizeof error->text,
                 "there is no table %s, or this user may not see it", m->table);
        status = DRIVER_SCHEMA;
    } else if (row[0] && strstr(row[0], "VIEW")) {
        snprintf(error->text, sizeof error->text, "%s is a view: map the table behind it",
                 m->table);
        status = DRIVER_SCHEMA;
    }
    r->lib->mysql_free_result(result);
    return status;
}

static bool is_one_of(const char *type, const char *const *list) {
    for (; *list; list++) {
        if (strcmp(type, *list) == 0) {
            return true;
        }
    }
    return false;
}

static char *wrap(const char *before, const char *name, const char *behind) {
    struct buf b = {0};
    buf_append_slice(&b, slice_str(before));
    schema_quote(&b, slice_str(name));
    buf_append_slice(&b, slice_str(behind));
    char *text = mem_dup(b.ptr, b.len);
    buf_free(&b);
    return text;
}

static bool set_integer(struct schema_found *f, const char *type, const char *full_type) {
    static const struct {
        const char *type;
        unsigned bits;
    } integers[] = {
        {"tinyint", 8}, {"smallint", 16}, {"mediumint", 24}, {"int", 32}, {"bigint", 64}};
    for (size_t i = 0; i < ARRAY_COUNT(integers); i++) {
        if (strcmp(type, integers[i].type) != 0) {
            continue;
        }
        uint64_t max = UINT64_MAX >> (64 - integers[i].bits);
        bool is_unsigned = strstr(full_type, "unsigned") != NULL;
        f->kind = SCHEMA_NUMBER;
        f->key_possible = true;
        f->key.kind = is_unsigned ? SCHEMA_KEY_UINT : SCHEMA_KEY_INT;
        f->key.max = is_unsigned ? max : max >> 1;
        f->key.min = is_unsigned ? 0 : -(int64_t)(max >> 1) - 1;
        if (strstr(full_type, "zerofill")) {
            f->expression = wrap("CONCAT(", f->name, ")");
            f->key_expression = wrap("", f->name, "+0"); /* the same number without its zeros */
        }
        return true;
    }
    return false;
}

static uint32_t highest_code_point(const char *charset) {
    static const char *const basic_plane[] = {"utf8", "utf8mb3", "ucs2", NULL};
    if (strcmp(charset, "ascii") == 0) {
        return 0x7f;
    }
    if (strcmp(charset, "latin1") == 0) {
        return 0x2122; /* the highest that Windows-1252, which MySQL means by it, can write */
    }
    return is_one_of(charset, basic_plane) ? 0xffff : 0x10ffff;
}

/* A row of information_schema.COLUMNS: type, full type, length in characters, in bytes, charset. */
static void set_type(struct schema_found *f, MYSQL_ROW row) {
    static const char *const text[] = {"char",       "varchar",  "tinytext", "text",
                                       "mediumtext", "longtext", NULL};
    static const char *const binary[] = {"binary",     "varbinary", "tinyblob", "blob",
                                         "mediumblob", "longblob",  NULL};
    static const char *const numbers[] = {"float", "double", "year", NULL};
    static const char *const times[] = {"date", "time", "datetime", "timestamp", NULL};
    static const char *const bytes[] = {"bit",
                                        "geometry",
                                        "point",
                                        "linestring",
                                        "polygon",
                                        "multipoint",
                                        "multilinestring",
                                        "multipolygon",
                                        "geometrycollection",
                                        "geomcollection",
                                        "vector",
                                        NULL};
    const char *type = row[1];
    f->key_reason = "it is of a type whose values have several spellings";
    if (set_integer(f, type, row[2])) {
        return;
    }
    if (is_one_of(type, text)) {
        f->key_possible = true;
        f->key.kind = SCHEMA_KEY_TEXT;
        f->key.size_max = row[4] ? strtoull(row[4], NULL, 10) : 0;
        f->key.code_point_max = highest_code_point(row[6] ? row[6] : "");
    } else if (is_one_of(type, binary)) {
        f->kind = SCHEMA_BINARY;
        f->key_possible = true;
        f->key.kind = SCHEMA_KEY_BINARY;
        f->key.size_max = row[5] ? strtoull(row[5], NULL, 10) : 0;
    } else if (is_one_of(type, numbers)) {
        f->kind = SCHEMA_NUMBER;
        f->expression = wrap("CONCAT(", f->name, ")");
    } else if (is_one_of(type, times)) {
        f->expression = wrap("CONCAT(", f->name, ")");
    } else if (is_one_of(type, bytes)) {
        f->kind = SCHEMA_BINARY;
    } else if (strcmp(type, "decimal") == 0) {
        f->kind = SCHEMA_NUMBER;
    } else if (strcmp(type, "json") == 0) {
        f->kind = SCHEMA_JSON;
    } else if (strcmp(type, "uuid") == 0) {
        f->key_possible = true;
        f->key.kind = SCHEMA_KEY_UUID;
    }
}

static enum driver_status read_columns(const struct reader *r, const struct mapping *m,
                                       struct schema_table *t, struct driver_error *error) {
    struct buf sql = {0};
    MYSQL_RES *result;
    buf_append_slice(&sql, SLICE("SELECT COLUMN_NAME, LOWER(DATA_TYPE), LOWER(COLUMN_TYPE), "
                                 "IS_NULLABLE, CHARACTER_MAXIMUM_LENGTH, CHARACTER_OCTET_LENGTH, "
                                 "LOWER(CHARACTER_SET_NAME)"));
    append_from(&sql, r, "COLUMNS", m);
    buf_append_slice(&sql, SLICE(" ORDER BY ORDINAL_POSITION"));
    enum driver_status status = query(r, &sql, &result, error);
    if (status != DRIVER_OK) {
        return status;
    }
    for (MYSQL_ROW row = r->lib->mysql_fetch_row(result); row;
         row = r->lib->mysql_fetch_row(result)) {
        struct schema_found *f = schema_table_add(t, slice_str(row[0]));
        f->not_null = row[3] && strcmp(row[3], "NO") == 0;
        set_type(f, row);
    }
    r->lib->mysql_free_result(result);
    return DRIVER_OK;
}

static enum driver_status read_indexes(const struct reader *r, const struct mapping *m,
                                       struct schema_table *t, struct driver_error *error) {
    struct buf sql = {0};
    MYSQL_RES *result;
    buf_append_slice(&sql, SLICE("SELECT INDEX_NAME, COLUMN_NAME, SUB_PART"));
    append_from(&sql, r, "STATISTICS", m);
    buf_append_slice(&sql, SLICE(" AND NON_UNIQUE=0 ORDER BY INDEX_NAME, SEQ_IN_INDEX"));
    enum driver_status status = query(r, &sql, &result, error);
    if (status != DRIVER_OK) {
        return status;
    }
    const char *columns[MAPPING_COLUMNS_MAX], *index = NULL;
    uint32_t count = 0;
    bool usable = true;
    /* The rows stay where they are until the result is freed. */
    for (;;) {
        MYSQL_ROW row = r->lib->mysql_fetch_row(result);
        if (index && (!row || strcmp(row[0], index) != 0)) {
            schema_table_index(t, m, index, columns, count, usable);
            count = 0;
            usable = true;
        }
        if (!row) {
            break;
        }
        index = row[0];
        usable = usable && row[1] && !row[2];
        if (count < MAPPING_COLUMNS_MAX) {
            columns[count++] = row[1];
        }
    }
    r->lib->mysql_free_result(result);
    return DRIVER_OK;
}

/* Runs the select on no rows: whether this user may, and which columns MariaDB knows for JSON
 * (there the type is an alias of LONGTEXT). Sets *marked when it found such. */
static enum driver_status probe(const struct reader *r, const struct schema *s,
                                struct schema_table *t, bool *marked, struct driver_error *error) {
    struct buf sql = {0};
    MYSQL_RES *result;
    buf_printf(&sql, "%s LIMIT 0", s->select);
    enum driver_status status = query(r, &sql, &result, error);
    *marked = false;
    if (status != DRIVER_OK) {
        return status;
    }
    const MYSQL_FIELD *fields = r->lib->mysql_fetch_fields(result);
    for (uint32_t i = 0; i < s->columns_count; i++) {
        MARIADB_CONST_STRING format = {0};
        if (s->columns[i].kind == SCHEMA_TEXT &&
            r->lib->mariadb_field_attr(&format, &fields[s->columns[i].cell],
                                       MARIADB_FIELD_ATTR_FORMAT_NAME) == 0 &&
            slice_eq(slice_of(format.str, format.length), SLICE("json"))) {
            schema_table_find(t, s->columns[i].name)->kind = SCHEMA_JSON;
            *marked = true;
        }
    }
    r->lib->mysql_free_result(result);
    return DRIVER_OK;
}

static enum driver_status build(const struct reader *r, const struct mapping *m,
                                struct schema_table *t, struct schema **out,
                                struct driver_error *error) {
    bool marked;
    struct schema *s = schema_build(m, t, error->text, sizeof error->text);
    if (!s) {
        return DRIVER_SCHEMA;
    }
    enum driver_status status = probe(r, s, t, &marked, error);
    if (status == DRIVER_OK && marked) {
        schema_unref(s);
        s = schema_build(m, t, error->text, sizeof error->text);
        ASSERT(s);
    }
    if (status != DRIVER_OK) {
        schema_unref(s);
        return status;
    }
    *out = s;
    return DRIVER_OK;
}

enum driver_status mysql_check_mapping(const struct mysql_library *lib, MYSQL *my,
                                       const struct mapping *m, struct schema **out,
                                       struct driver_error *error) {
    const struct reader r = {lib, my};
    struct schema_table t = {0};
    enum driver_status status = check_type(&r, m, error);
    if (status == DRIVER_OK) {
        status = read_columns(&r, m, &t, error);
    }
    if (status == DRIVER_OK) {
        status = read_indexes(&r, m, &t, error);
    }
    if (status == DRIVER_OK) {
        status = build(&r, m, &t, out, error);
    }
    schema_table_deinit(&t);
    return status;
}
