#ifndef FOREBAY_RESP_WRITER_H
#define FOREBAY_RESP_WRITER_H
/* Replies, appended to a chain in the client's protocol version. Small ones are formatted straight
 * into the chunk. */
#include <stdint.h>
#include "base/slice.h"
#include "ds/chain.h"

enum { RESP_ERROR_PREFIX_CHARS = 24 };

struct resp_writer {
    struct chain *out;
    uint8_t proto; /* 2 or 3 */
    /* Replies of error type written so far; the caller compares before and after a command. */
    uint32_t errors;
    /* The first word of the last error, for errorstat_*; cut. */
    char error_prefix[RESP_ERROR_PREFIX_CHARS];
};

/* Already encoded bytes: resp_raw(w, SLICE("+OK\r\n")). */
void resp_raw(struct resp_writer *w, struct slice encoded);
static inline void resp_ok(struct resp_writer *w) {
    resp_raw(w, SLICE("+OK\r\n"));
}
void resp_simple(struct resp_writer *w, struct slice text);
/* "-" text CRLF; text starts with its prefix ("ERR ..."). CR and LF inside become spaces. */
void resp_error(struct resp_writer *w, struct slice text);
void resp_errorf(struct resp_writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void resp_int(struct resp_writer *w, int64_t value);
void resp_bulk(struct resp_writer *w, struct slice value);
/* Header and trailer are copied, the bytes pinned: see chain_append_pinned. */
void resp_bulk_pinned(struct resp_writer *w, struct slice value, size_t keeps_bytes,
                      void (*release)(void *), void *arg);
void resp_bulk_int(struct resp_writer *w, int64_t value); /* "$2\r\n42\r\n" */
void resp_null(struct resp_writer *w);                    /* $-1 | _ */
void resp_null_array(struct resp_writer *w);              /* *-1 | _ */
void resp_bool(struct resp_writer *w, bool value);        /* :1 | #t */
void resp_double(struct resp_writer *w, double value);    /* bulk | , */
void resp_verbatim(struct resp_writer *w, const char format[3], struct slice text); /* bulk | = */
void resp_array(struct resp_writer *w, uint64_t count);
void resp_map(struct resp_writer *w, uint64_t pairs);  /* array of 2n | % */
void resp_set(struct resp_writer *w, uint64_t count);  /* array | ~ */
void resp_push(struct resp_writer *w, uint64_t count); /* array | > */
/* Lists whose length is known only afterwards: between begin and end `w` writes to a chain of its
 * own, which end_* puts behind the header. They nest; `d` lives on the caller's stack. Clients
 * refuse padded lengths, hence no header reserved in place. */
struct resp_deferred {
    struct chain members;
    struct chain *out;
};
void resp_defer_begin(struct resp_writer *w, struct resp_deferred *d);
void resp_defer_end_array(struct resp_writer *w, struct resp_deferred *d, uint64_t count);
void resp_defer_end_map(struct resp_writer *w, struct resp_deferred *d, uint64_t pairs);
void resp_defer_end_set(struct resp_writer *w, struct resp_deferred *d, uint64_t count);
/* Drops the members, writes nothing. */
void resp_defer_cancel(struct resp_writer *w, struct resp_deferred *d);
#endif
