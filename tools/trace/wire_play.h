#ifndef FOREBAY_TRACE_WIRE_PLAY_H
#define FOREBAY_TRACE_WIRE_PLAY_H
/* Plays a trace against a RESP server as a cache-aside client: GET, and on a miss SET with a value
 * that makes key and value the trace's size. One connection, batches of GETs with the SETs of the
 * batch before in front of them. A batch ends where a key comes a second time, as only the first
 * one's reply says whether it is stored: hits and misses are those of one request at a time, but
 * that a batch's SETs come after its GETs. */
#include "sim.h"
#include "wire.h"

enum {
    WIRE_PIPELINE_MAX = 1024,
    WIRE_BATCH_BYTES_MAX = 16 * 1024 * 1024, /* of values a batch may have to store */
};

struct wire_setup {
    const char *host, *port;
    const char *maxmemory; /* for CONFIG SET; NULL = left alone */
    const char *policy;    /* the same */
    bool flush;            /* FLUSHALL first */
    uint32_t pipeline;
    uint32_t unit_bytes; /* key and value of an object in a unit trace */
    int64_t ttl_ms;      /* 0 = none */
};

struct wire_result {
    struct counts counts;
    uint64_t used_memory, rss; /* INFO's; 0 where it has none */
    double seconds;
};

/* False with a message of at most TRACE_ERROR_BYTES; an error reply is the server's text. */
bool wire_play(const struct trace *t, const struct wire_setup *setup, struct wire_result *out,
               char *error) MUST_USE;
/* A field of INFO's text, and as a number; empty and 0 when it is not there. */
struct slice wire_info_text(struct slice info, const char *field);
uint64_t wire_info_number(struct slice info, const char *field);
#endif
