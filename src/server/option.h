#ifndef FOREBAY_SERVER_OPTION_H
#define FOREBAY_SERVER_OPTION_H
/* One option of the configuration: what values it takes, and their canonical text, in which they
 * are kept, compared and written back. Pure functions, any thread. */
#include <stdint.h>
#include "base/assert.h"
#include "base/slice.h"
#include "ds/buf.h"

enum {
    OPTION_WHY_CHARS_MAX = 512,   /* a reason for a refusal */
    OPTION_TEXT_BYTES_MAX = 1023, /* of a text value, unless the row says less */
};

enum option_type {
    OPTION_BOOL,
    OPTION_INT,
    OPTION_OCTAL,
    OPTION_MEMORY,         /* canonical: bytes */
    OPTION_MEMORY_PERCENT, /* canonical: bytes, or "75%" of the memory the process may use */
    OPTION_SPAN,           /* time; canonical: "250ms" */
    OPTION_ENUM,
    OPTION_TEXT,
    OPTION_PASSWORD, /* text that no message repeats */
    OPTION_SPECIAL,  /* any number of words, through `normalise` */
    OPTION_MAPS,     /* `map`: kept by config.c, not as a value */
};

enum option_flag {
    OPTION_IMMUTABLE = 1 << 0,         /* not by CONFIG SET */
    OPTION_PROTECTED = 1 << 1,         /* the same, by Redis's other text */
    OPTION_COMPAT = 1 << 2,            /* accepted and remembered; has no effect here */
    OPTION_HIDE_URL_PASSWORD = 1 << 3, /* CONFIG GET shows user:***@ */
};

/* Words in, canonical text appended to `out`. `old` is the value so far. */
typedef bool (*option_normalise_fn)(const struct slice *words, uint32_t count, const char *old,
                                    struct buf *out, char why[OPTION_WHY_CHARS_MAX]);

struct option {
    const char *name;
    const char *alias; /* an older name; NULL = none */
    enum option_type type;
    uint32_t flags;           /* enum option_flag */
    const char *initial;      /* canonical */
    int64_t min, max;         /* of the number, bytes or ms; TEXT: max bytes when max > 0 */
    const char *const *words; /* ENUM: ends with NULL */
    /* Set: only `initial` is accepted, anything else is refused for this reason. */
    const char *refusal;
    option_normalise_fn normalise;
};

/* The canonical text of `words`, appended to `out`. False with Redis's reason in `why`; `out` may
 * then hold a part. */
bool option_normalise(const struct option *o, const struct slice *words, uint32_t count,
                      const char *old, struct buf *out, char why[OPTION_WHY_CHARS_MAX]) MUST_USE;

/* `text` as one word of a configuration file: quoted where it must be. */
void option_quote(struct buf *out, struct slice text);

/* "errors=20/1s open=2s", or "off" (errors 0). */
struct option_breaker {
    uint32_t errors;
    int64_t window_ms, open_ms;
};
bool option_parse_breaker(const struct slice *words, uint32_t count,
                          struct option_breaker *out) MUST_USE;
/* "5%" .. "100%". */
bool option_parse_percent(struct slice text, uint32_t *percent) MUST_USE;

/* Normalisers of the special rows. */
bool option_bind(const struct slice *words, uint32_t count, const char *old, struct buf *out,
                 char why[OPTION_WHY_CHARS_MAX]);
bool option_breaker(const struct slice *words, uint32_t count, const char *old, struct buf *out,
                    char why[OPTION_WHY_CHARS_MAX]);
bool option_output_limits(const struct slice *words, uint32_t count, const char *old,
                          struct buf *out, char why[OPTION_WHY_CHARS_MAX]);
bool option_notify_events(const struct slice *words, uint32_t count, const char *old,
                          struct buf *out, char why[OPTION_WHY_CHARS_MAX]);
/* mysql://... or sqlite://... that the store can parse; "" = no store. */
bool option_store_url(const struct slice *words, uint32_t count, const char *old, struct buf *out,
                      char why[OPTION_WHY_CHARS_MAX]);
/* Words joined by a space. */
bool option_words(const struct slice *words, uint32_t count, const char *old, struct buf *out,
                  char why[OPTION_WHY_CHARS_MAX]);

/* The three figures of a class ("normal", "slave", "pubsub") in canonical output limits. */
struct option_output_limit {
    uint64_t hard_bytes, soft_bytes, soft_s;
};
struct option_output_limit option_output_limit_of(const char *canonical, const char *class_name);
#endif
