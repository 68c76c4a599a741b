#ifndef FOREBAY_COMMAND_SCAN_H
#define FOREBAY_COMMAND_SCAN_H
/* What SCAN and the scans of collections (HSCAN) share: cursor, options, the two-part reply. */
#include "command/command.h"

enum {
    SCAN_COUNT_DEFAULT = 10,
    SCAN_COUNT_MAX = 64 * 1024, /* what is asked beyond counts as this */
};

struct scan_options {
    uint64_t count;      /* 1 .. SCAN_COUNT_MAX */
    struct slice match;  /* "*" when none was given */
    struct slice type;   /* SCAN's TYPE; ptr NULL when none was given */
};

/* The cursor argument, or the error reply. */
bool scan_parse_cursor(struct cmd *c, uint32_t arg, uint64_t *cursor) MUST_USE;
/* MATCH, COUNT and, `with_type`, TYPE from argument `first` on; false after the error reply. */
bool scan_parse_options(struct cmd *c, uint32_t first, bool with_type,
                        struct scan_options *o) MUST_USE;

/* Members found, written aside: they stand behind a cursor and a count known only at the end. */
struct scan_reply {
    struct chain members;
    struct resp_writer w; /* writes to `members` */
    uint64_t count;
    const struct scan_options *options;
};
void scan_reply_begin(struct scan_reply *r, const struct cmd *c, const struct scan_options *o);
/* Writes [cursor, [members]] to the client. */
void scan_reply_end(struct scan_reply *r, struct cmd *c, uint64_t cursor);
#endif
