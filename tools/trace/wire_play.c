/* Cache-aside over the wire; see wire_play.h. */
#include "wire_play.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"

enum { VALUE_BYTE = 'v' };

struct player_state {
    const struct trace *t;
    const struct wire_setup *setup;
    struct wire w;
    uint32_t *seen;    /* by key: the batch it was last part of, from 1 */
    uint32_t *pending; /* requests of the last batch that missed */
    uint32_t pending_count;
    uint32_t unit_bytes;
    char *value;
    struct counts counts;
};

struct slice wire_info_text(struct slice info, const char *field) {
    size_t len = strlen(field);
    for (const char *at = info.ptr, *end = info.ptr + info.len; at < end;) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        const char *stop = feed ? feed : end;
        struct slice line = slice_of(at, (size_t)(stop - at));
        if (line.len > len && memcmp(at, field, len) == 0 && at[len] == ':') {
            struct slice text = slice_of(at + len + 1, line.len - len - 1);
            text.len -= text.len && text.ptr[text.len - 1] == '\r';
            return text;
        }
        at = stop + 1;
    }
    return SLICE("");
}

uint64_t wire_info_number(struct slice info, const char *field) {
    uint64_t value;
    return num_parse_u64(wire_info_text(info, field), &value) ? value : 0;
}

static size_t value_bytes(const struct player_state *p, uint32_t request) {
    size_t entry = p->t->unit ? p->unit_bytes : trace_size(p->t, request);
    return entry - trace_key(p->t, p->t->ids[request]).len;
}

static void queue_set(struct player_state *p, uint32_t request) {
    char ttl[NUM_I64_CHARS_MAX];
    struct slice words[] = {
        SLICE("SET"),
        trace_key(p->t, p->t->ids[request]),
        slice_of(p->value, value_bytes(p, request)),
        SLICE("PX"),
        slice_of(ttl, num_format_i64(ttl, p->setup->ttl_ms)),
    };
    wire_request(&p->w, words, p->setup->ttl_ms ? 5 : 3);
}

/* The end of the batch that begins at `first`: before a repeated key, and within the limits. */
static uint32_t batch_end(struct player_state *p, uint32_t first, uint32_t batch) {
    uint32_t i = first;
    size_t bytes = 0;
    for (; i < p->t->requests_count && i - first < p->setup->pipeline; i++) {
        uint32_t id = p->t->ids[i];
        bytes += value_bytes(p, i);
        if (p->seen[id] == batch || (i > first && bytes > WIRE_BATCH_BYTES_MAX)) {
            break;
        }
        p->seen[id] = batch;
    }
    return i;
}

static bool take_stored(struct player_state *p) {
    struct wire_reply reply;
    for (; p->pending_count > 0; p->pending_count--) {
        if (!wire_reply(&p->w, &reply, NULL)) {
            return false;
        }
    }
    return true;
}

static bool play(struct player_state *p) {
    struct wire_reply reply;
    uint32_t batch = 0;
    for (uint32_t first = 0, end; first < p->t->requests_count; first = end) {
        end = batch_end(p, first, ++batch);
        for (uint32_t i = 0; i < p->pending_count; i++) {
            queue_set(p, p->pending[i]);
        }
        for (uint32_t i = first; i < end; i++) {
            struct slice words[] = {SLICE("GET"), trace_key(p->t, p->t->ids[i])};
            wire_request(&p->w, words, 2);
        }
        if (!take_stored(p)) {
            return false;
        }
        for (uint32_t i = first; i < end; i++) {
            if (!wire_reply(&p->w, &reply, NULL)) {
                return false;
            }
            counts_add(&p->counts, trace_size(p->t, i), reply.type != WIRE_NIL);
            if (reply.type == WIRE_NIL) {
                p->pending[p->pending_count++] = i;
            }
        }
    }
    for (uint32_t i = 0; i < p->pending_count; i++) {
        queue_set(p, p->pending[i]);
    }
    return take_stored(p);
}

static bool prepare(struct player_state *p) {
    const struct wire_setup *s = p->setup;
    struct wire_reply reply;
    const char *maxmemory[] = {"CONFIG", "SET", "maxmemory", s->maxmemory, NULL};
    const char *policy[] = {"CONFIG", "SET", "maxmemory-policy", s->policy, NULL};
    const char *flush[] = {"FLUSHALL", NULL};
    return (!s->flush || wire_call(&p->w, flush, &reply, NULL)) &&
           (!s->maxmemory || wire_call(&p->w, maxmemory, &reply, NULL)) &&
           (!s->policy || wire_call(&p->w, policy, &reply, NULL));
}

static bool read_memory(struct player_state *p, struct wire_result *out) {
    const char *info[] = {"INFO", "memory", NULL};
    struct wire_reply reply;
    struct buf text = {NULL};
    bool good = wire_call(&p->w, info, &reply, &text);
    if (good) {
        out->used_memory = wire_info_number(buf_slice(&text), "used_memory");
        out->rss = wire_info_number(buf_slice(&text), "used_memory_rss");
    }
    buf_free(&text);
    return good;
}

bool wire_play(const struct trace *t, const struct wire_setup *setup, struct wire_result *out,
               char *error) {
    ASSERT(setup->pipeline > 0 && setup->pipeline <= WIRE_PIPELINE_MAX);
    struct player_state p = {.t = t, .setup = setup};
    if (!wire_open(&p.w, setup->host, setup->port)) {
        snprintf(error, TRACE_ERROR_BYTES, "%.*s", TRACE_ERROR_BYTES - 1, p.w.error);
        return false;
    }
    struct column seen = {NULL}, value = {NULL};
    uint32_t pending[WIRE_PIPELINE_MAX];
    p.pending = pending;
    p.seen = column_reserve(&seen, (size_t)t->keys_count * sizeof *p.seen);
    p.unit_bytes = MAX(setup->unit_bytes, t->key_bytes_max);
    size_t longest = t->unit ? p.unit_bytes : t->size_max;
    p.value = column_reserve(&value, longest);
    memset(p.value, VALUE_BYTE, longest);
    *out = (struct wire_result){.rss = 0};
    bool good = prepare(&p);
    int64_t begin_us = clock_mono_us();
    good = good && play(&p);
    out->seconds = (double)(clock_mono_us() - begin_us) / 1e6;
    out->counts = p.counts;
    good = good && read_memory(&p, out);
    if (!good) {
        snprintf(error, TRACE_ERROR_BYTES, "%s:%s: %.400s", setup->host, setup->port, p.w.error);
    }
    wire_close(&p.w);
    column_free(&seen);
    column_free(&value);
    return good;
}
