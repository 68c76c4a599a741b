#ifndef FOREBAY_FUZZ_MODEL_INTERNAL_H
#define FOREBAY_FUZZ_MODEL_INTERNAL_H
/* The model's state and the tools of its commands, for model*.c alone. */
#include "ds/buf.h"
#include "model.h"

enum { MODEL_QUEUE_MAX = 4096, MODEL_ARGS_MAX = 64, MODEL_NEVER = -1 };

enum value_kind { KIND_NONE, KIND_STRING, KIND_HASH };

struct name;
struct pair {
    struct name *field;
    struct buf value;
};

/* A key's value in one database; KIND_NONE: no key. What expired stays until overwritten. */
struct value {
    enum value_kind kind;
    int64_t expire_ms; /* MODEL_NEVER */
    struct buf string;
    bool raw;          /* made by APPEND or SETRANGE */
    struct pair *pairs;
    uint32_t count;
    bool packed;
    uint64_t id;       /* of this hash; a copy has another */
};

/* Any text that was a key or a field. */
struct name {
    struct buf bytes;
    struct value in[MODEL_DATABASES];
    /* SCAN's and HSCAN's promise: there since the walk began; answered. */
    struct {
        bool must, seen;
    } scan[MODEL_CLIENTS], hscan[MODEL_CLIENTS];
};

struct watching {
    struct name *name;
    unsigned db;
};

struct queued {
    struct slice *argv;
    uint32_t argc;
};

struct walk {
    bool active;
    struct buf cursor;
    unsigned db;
    struct name *key; /* HSCAN's */
    uint64_t id;
};

struct mclient {
    unsigned index, db, proto;
    bool multi, aborted /* an error while queueing */, dirty /* a watched key changed */;
    struct watching *watches;
    uint32_t watches_count;
    struct queued *queue;
    uint32_t queue_count;
    struct walk scan, hscan;
};

struct model {
    struct model_options options;
    int64_t now_ms;
    struct name **names;
    uint32_t names_count;
    uint64_t last_id;
    struct mclient clients[MODEL_CLIENTS];
    /* the command at hand */
    struct mclient *c;
    const struct slice *argv;
    uint32_t argc;
    struct slice reply; /* what of it is not yet compared */
    struct slice whole;
    const struct slice *sent_argv; /* EXEC, where argv is a queued command */
    uint32_t sent_argc;
};

struct model_command {
    const char *name;
    void (*fn)(struct model *m);
    int arity;
    bool at_once; /* not queued inside MULTI */
};
/* End with a row without name. */
extern const struct model_command model_string_commands[], model_key_commands[],
    model_hash_commands[], model_walk_commands[];

/* --- state --- */
struct name *model_name(struct model *m, struct slice bytes);
struct name *model_key(struct model *m, uint32_t arg);           /* the name of an argument */
bool value_is_live(const struct model *m, const struct value *v);
/* The live value in the client's database, or NULL. */
struct value *model_find(struct model *m, uint32_t arg);
/* Where the key stands or will stand. */
struct value *model_slot(struct model *m, uint32_t arg);
void value_clear(struct value *v);
void value_copy(struct model *m, struct value *to, const struct value *from);
/* A fresh string, without TTL. Watchers are not told. */
void value_set_string(struct value *v, struct slice bytes);
/* The key of an argument in the client's database changed. */
void model_touch(struct model *m, uint32_t arg);
void model_touch_name(struct model *m, unsigned db, const struct name *name);
struct pair *pair_find(const struct value *v, const struct name *field);

/* --- arguments: false after the error was compared --- */
bool model_is(const struct model *m, uint32_t arg, const char *word);
bool model_parse_int(struct slice text, int64_t *out);
bool model_parse_float(struct slice text, long double *out);
/* As INCRBYFLOAT answers it; `out` has room for 5120 bytes. */
struct slice model_format_float(char *out, long double value);
bool model_arg_int(struct model *m, uint32_t arg, int64_t *out);
/* An absolute time. */
bool model_arg_time(struct model *m, uint32_t arg, int64_t unit_ms, bool absolute, bool positive,
                    int64_t *out_ms);
bool model_arg_db(struct model *m, uint32_t arg, unsigned *out);
/* The value when it is of this kind; NULL without such a key. False: the error was compared. */
bool model_typed(struct model *m, uint32_t arg, enum value_kind kind, struct value **out);
bool model_glob(struct slice pattern, struct slice text);

/* --- the reply: each compares and takes what stands next --- */
_Noreturn void model_fail(struct model *m, const char *what, struct slice expected);
void expect_raw(struct model *m, struct slice bytes);
void expect_ok(struct model *m);
void expect_int(struct model *m, int64_t value);
void expect_bulk(struct model *m, struct slice bytes);
void expect_null(struct model *m);
void expect_value(struct model *m, const struct value *string); /* NULL = null */
void expect_header(struct model *m, char type, uint64_t count);
void expect_array(struct model *m, uint64_t count);
void expect_error(struct model *m, const char *text); /* behind "-" */
void expect_wrongtype(struct model *m);
void expect_any_error(struct model *m);
void skip_value(struct model *m);
uint64_t take_header(struct model *m, char type);
struct slice take_bulk(struct model *m);
int64_t take_int(struct model *m);
bool next_is(const struct model *m, const char *prefix);
#endif
