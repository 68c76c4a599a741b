/* Mattson's stack distances; see stack.h. */
#include "stack.h"

#include "base/mem.h"

enum { TIMES_SPARE = 1024 };

struct stack {
    uint64_t *tree;   /* Fenwick: sizes by time of last request, from 1 */
    uint32_t *owners; /* whose last request was at that time; NO_NODE when none's */
    uint32_t *times;  /* by key; 0 = none yet */
    uint32_t times_count, now;
    uint64_t total;
    const uint32_t *sizes;
    struct column columns[3];
};

static void tree_add(struct stack *s, uint32_t at, uint64_t value) {
    for (; at <= s->times_count; at += at & -at) {
        s->tree[at] += value;
    }
}

static uint64_t tree_sum(const struct stack *s, uint32_t at) {
    uint64_t sum = 0;
    for (; at > 0; at -= at & -at) {
        sum += s->tree[at];
    }
    return sum;
}

static void stack_init(struct stack *s, const struct trace *t) {
    *s = (struct stack){.sizes = t->key_sizes};
    uint64_t wanted = 2ull * t->keys_count + TIMES_SPARE;
    s->times_count = (uint32_t)MIN(wanted, UINT32_MAX / 2);
    size_t count = (size_t)s->times_count + 1;
    s->tree = column_reserve(&s->columns[0], count * sizeof *s->tree);
    s->owners = column_reserve(&s->columns[1], count * sizeof *s->owners);
    s->times = column_reserve(&s->columns[2], (size_t)t->keys_count * sizeof *s->times);
    memset(s->owners, 0xff, count * sizeof *s->owners);
}

/* Times are numbered anew, without the gaps. */
static void renumber(struct stack *s) {
    uint32_t kept = 0;
    for (uint32_t at = 1; at <= s->times_count; at++) {
        uint32_t id = s->owners[at];
        s->owners[at] = NO_NODE;
        if (id != NO_NODE) {
            s->owners[++kept] = id;
            s->times[id] = kept;
        }
    }
    s->now = kept;
    for (uint32_t at = 1; at <= s->times_count; at++) {
        s->tree[at] = s->owners[at] != NO_NODE ? s->sizes[s->owners[at]] : 0;
    }
    for (uint32_t at = 1; at <= s->times_count; at++) {
        uint32_t above = at + (at & -at);
        if (above <= s->times_count) {
            s->tree[above] += s->tree[at];
        }
    }
}

/* The distance of this request, UINT64_MAX for a key's first. */
static uint64_t stack_access(struct stack *s, uint32_t id) {
    if (s->now == s->times_count) {
        renumber(s);
    }
    uint64_t distance = UINT64_MAX, size = s->sizes[id];
    uint32_t last = s->times[id];
    if (last) {
        distance = s->total - tree_sum(s, last) + size;
        tree_add(s, last, -size);
        s->owners[last] = NO_NODE;
    } else {
        s->total += size;
    }
    s->times[id] = ++s->now;
    s->owners[s->now] = id;
    tree_add(s, s->now, size);
    return distance;
}

/* The first capacity that is not less; `count` when there is none. */
static uint32_t first_fitting(const uint64_t *capacities, uint32_t count, uint64_t distance) {
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (capacities[middle] >= distance) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

void stack_run(const struct trace *t, const uint64_t *capacities, uint32_t count,
               struct counts *out) {
    ASSERT(count <= STACK_POINTS_MAX);
    struct stack s;
    stack_init(&s, t);
    memset(out, 0, count * sizeof *out);
    for (uint32_t i = 0; i < t->requests_count; i++) {
        uint64_t distance = stack_access(&s, t->ids[i]);
        uint32_t at = first_fitting(capacities, count, distance);
        if (at < count) { /* hits here and in all larger ones */
            out[at].requests++;
            out[at].bytes += trace_size(t, i);
        }
    }
    uint64_t hits = 0, hit_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        hits += out[i].requests;
        hit_bytes += out[i].bytes;
        out[i] = (struct counts){.requests = t->requests_count,
                                 .misses = t->requests_count - hits,
                                 .bytes = t->requested_bytes,
                                 .missed_bytes = t->requested_bytes - hit_bytes};
    }
    for (unsigned i = 0; i < ARRAY_COUNT(s.columns); i++) {
        column_free(&s.columns[i]);
    }
}
