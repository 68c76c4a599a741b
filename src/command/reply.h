#ifndef FOREBAY_COMMAND_REPLY_H
#define FOREBAY_COMMAND_REPLY_H
/* How long a reply may get. What is read is kept once there is room for
 * it: the command asks, and runs again. Beyond what its client may have at all nothing is, and the
 * client goes. The same for what EXEC answers as a whole.
 *
 *     reply_begin -> the function -> reply_end: CMD_DONE, CMD_ROOM, or c->dropped_bytes
 */
#include "command/command.h"
#include "command/settings.h"

/* Nothing of a reply stays. Not so where SKIP has just been said: that is for the command behind,
 * and behind EXEC if it was said there. */
enum { REPLY_SILENT_FLAGS = CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP };

struct reply {
    struct chain_mark mark; /* where it begins */
    size_t own_bytes;       /* of the output, before it */
    uint32_t errors;
    size_t end_bytes; /* of the output, where a transaction's client is closed; 0 = none */
    bool is_part;     /* of a transaction's, whose limit it is under */
};

/* The most that any reply to the client may add; 0 = any number. */
static inline size_t reply_bytes_max(const struct cmd *c) {
    const struct settings *settings = c->env->settings;
    return UNLIKELY(client_has(c->client, CLIENT_NO_EVICT)) ? settings->exempt_reply_bytes_max
                                                            : settings->reply_bytes_max;
}

/* Bytes that one may add that only reads, with the room that was made for it; 0 = any number. */
static inline size_t reply_read_allowance(const struct cmd *c) {
    size_t bytes = c->env->settings->read_bytes_max;
    if (LIKELY(c->room_bytes == 0) || bytes == 0) {
        return bytes;
    }
    return MIN(MAX(c->room_bytes, bytes), reply_bytes_max(c));
}

static inline struct reply reply_begin(const struct cmd *c) {
    struct chain *out = c->w->out;
    size_t own = chain_own_bytes(out);
    size_t more = c->spec->flags & CMD_READ ? reply_read_allowance(c) : reply_bytes_max(c);
    chain_limit(out, more ? own + more : 0);
    return (struct reply){chain_mark(out), own, c->w->errors, 0, false};
}

/* It did not fit: sets what becomes of it. */
void reply_too_large(struct cmd *c, const struct reply *r);

/* After the function has run. */
static inline void reply_end(struct cmd *c, const struct reply *r) {
    struct chain *out = c->w->out;
    if (UNLIKELY(c->row_error != NULL)) {
        c->outcome = CMD_DONE;
    } else if (UNLIKELY(out->dropped_bytes != 0) && c->outcome == CMD_DONE && !r->is_part &&
               !client_has(c->client, REPLY_SILENT_FLAGS)) {
        reply_too_large(c, r);
    }
    out->limit_bytes = 0;
    if (UNLIKELY(c->outcome != CMD_DONE || c->dropped_bytes)) {
        chain_rewind(out, r->mark);
        c->w->errors = r->errors;
    }
}

/* --- of EXEC --- */

/* Of commands that read: what they answer together is as long as one read's reply may be. */
void reply_limit_reads(struct cmd *c);
/* They answer more than that. */
static inline bool reply_is_beyond(const struct cmd *c) {
    return c->w->out->dropped_bytes && !client_has(c->client, REPLY_SILENT_FLAGS);
}
/* Of commands that also write, as counted before. */
struct reply_expected {
    size_t bytes;   /* that they would answer now, ... */
    size_t certain; /* ... of these, whatever they write, ... */
    size_t more;    /* ... and that it may be longer by then */
    size_t growth;  /* that they add to memory */
};
/* Asks for room for all this where it takes much. False: it is to be waited for (CMD_ROOM). Where
 * it is certainly more than its client may have none of it is kept. */
bool reply_ask_room(struct cmd *c, const struct reply_expected *expected) MUST_USE;
#endif
