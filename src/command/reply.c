/* Replies that are long; see reply.h. */
#include "command/reply.h"

#include "command/transaction.h"

enum { SLACK_PART = 8 }; /* what it may be longer by when it is made again */

static size_t with_slack(size_t bytes) {
    return bytes + bytes / SLACK_PART + CHAIN_LIMIT_MIN;
}

static bool only_reads(const struct cmd *c) {
    return (c->spec->flags & CMD_READ) ||
           (c->spec->fn == transaction_exec && transaction_reads(c->client));
}

/* It is made again when there is room for it, or its client goes. */
void reply_too_large(struct cmd *c, const struct reply *r) {
    const struct chain *out = c->w->out;
    size_t bytes = chain_own_bytes(out) + out->dropped_bytes - r->own_bytes - r->mark.dropped_bytes;
    size_t most = reply_bytes_max(c);
    bool fits = bytes <= most && (!r->end_bytes || r->own_bytes + bytes <= r->end_bytes);
    if (only_reads(c) && !r->mark.dropped_bytes && fits) {
        c->room_bytes = c->room_replies = MIN(with_slack(bytes), most);
        c->outcome = CMD_ROOM;
    } else {
        c->dropped_bytes = bytes;
        client_set(c->client, CLIENT_CLOSE);
        if (c->spec->fn == transaction_exec) {
            transaction_count_reads(c);
        }
    }
}

void reply_limit_reads(struct cmd *c) {
    struct chain *out = c->w->out;
    size_t more = reply_read_allowance(c);
    if (more) {
        chain_limit(out, chain_own_bytes(out) + more);
    }
}

/* From here on all is counted and not kept, in a chunk that may be written over. */
static void drop_output(struct chain *out) {
    chain_limit(out, MAX(chain_own_bytes(out), (size_t)1));
    chain_add_chunk(out, CHUNK_BYTES);
    chain_drop_at_limit(out);
}

bool reply_ask_room(struct cmd *c, const struct reply_expected *expected) {
    size_t most = reply_bytes_max(c), bytes = expected->bytes + expected->more;
    if (most && expected->certain > most) {
        drop_output(c->w->out);
        return true;
    }
    size_t replies = MIN(with_slack(bytes), most);
    /* What never fits is not made room for: EXEC runs all the same, and does what it can. */
    if (bytes <= c->env->settings->read_bytes_max || expected->bytes > most ||
        !keyspace_can_hold(c->env->ks, replies + expected->growth)) {
        return true;
    }
    c->room_bytes = replies + expected->growth;
    c->room_replies = replies;
    c->outcome = CMD_ROOM;
    return false;
}
