/* The sampled keys lie on an LRU stack; a read of one says how many bytes of other keys were used
 * since its last use, which is the memory that LRU would have needed to answer it. The histogram of
 * these distances is the curve.
 *
 *     hash -> slots -> nodes {hash, db, bytes, at}        order[at] -> node, by time of last use
 *                                                         tree: sums of bytes over `order`
 *
 * Distances come from a Fenwick tree over positions: an access takes the next position, and when
 * these are used up the nodes are renumbered. Log(positions) a sampled access.
 *
 * 1. Which keys are sampled depends on their hash alone, on its low 32 bits; partitions are told
 *    apart by its high bits. So a partition is a sample itself, and a distance within it stands for
 *    one that is partitions / rate as long.
 * 2. At most keys_max keys: when there are more the threshold is lowered by a sixteenth or so, the
 *    keys above it are forgotten, and what was counted is scaled down to the new rate.
 *    First go those at the bottom of the stack, once that is MRC_REACH times as deep as what is
 *    there takes: else all keys that ever passed through the cache would be on it in the end.
 * 3. A key that is not there comes onto the stack when it is written, not by being asked for: what
 *    nobody stores is a miss at any size. One that was evicted is still on it.
 * 4. `expected` is how many reads should have been sampled, from the partition's counters. What it
 *    differs from those that were is added to the shortest distance: it is due to a few very hot
 *    keys being in the sample or not (SHARDS-adj).
 * 5. Counts are halved each READS_MAX sampled reads: the estimate is of the present. */
#include "engine/mrc.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum {
    READS_MAX = 4096,    /* sampled: then the counts are halved */
    POSITIONS_A_KEY = 2, /* renumbered after an access a key */
    LOWER_DIVISOR = 16,  /* by so much the threshold is lowered at least */
    KEYS_SPARE = 1,
};

#define FULL_RATE 4294967296.0 /* threshold that all hashes are below */

struct node {
    uint64_t hash, bytes;
    uint32_t at; /* position, from 1 */
    uint16_t db;
    bool gone; /* evicted */
};

struct mrc_sample {
    uint32_t count, slots_mask, positions;
    uint32_t first, last;             /* positions in use lie within */
    uint64_t total_bytes, gone_bytes; /* of all nodes, of those evicted */
    struct node *nodes;               /* dense */
    uint32_t *slots;                  /* node index + 1; 0 = vacant */
    uint32_t *order;                  /* node index + 1, by position; 0 = vacant */
    uint64_t *tree;
    struct mrc_counts counts; /* when looked at last */
    double reads, hits;       /* of all keys; halved with the others */
    double expected;          /* reads that should have been sampled */
    double sampled, distances[MRC_BUCKETS];
};

static double rate_of(const struct mrc *m) {
    return (double)m->threshold / FULL_RATE;
}

/* --- making --- */

static struct mrc_sample *sample_create(uint32_t keys_max) {
    uint32_t slots = 2;
    while (slots < 2 * (keys_max + KEYS_SPARE)) {
        slots *= 2;
    }
    struct mrc_sample *s = mem_zalloc(sizeof *s);
    s->slots_mask = slots - 1;
    s->positions = POSITIONS_A_KEY * keys_max;
    s->first = 1;
    s->nodes = mem_alloc((keys_max + KEYS_SPARE) * sizeof *s->nodes);
    s->slots = mem_zalloc(slots * sizeof *s->slots);
    s->order = mem_zalloc((s->positions + 1) * sizeof *s->order);
    s->tree = mem_zalloc((s->positions + 1) * sizeof *s->tree);
    return s;
}

static void sample_destroy(struct mrc_sample *s) {
    if (s) {
        mem_free(s->nodes);
        mem_free(s->slots);
        mem_free(s->order);
        mem_free(s->tree);
        mem_free(s);
    }
}

void mrc_init(struct mrc *m, uint32_t partitions) {
    *m = (struct mrc){.partitions = partitions,
                      .keys_max = MAX(MRC_KEYS_MAX / partitions, (uint32_t)MRC_KEYS_MIN)};
    mrc_set_enabled(m, true);
}

void mrc_set_enabled(struct mrc *m, bool enabled) {
    if (enabled == (m->threshold > 0)) {
        return;
    }
    sample_destroy(m->sample);
    m->sample = NULL;
    m->threshold = enabled ? 1u << (32 - MRC_RATE_MAX_BITS) : 0;
}

/* --- nodes by key --- */

static uint32_t home_of(const struct mrc_sample *s, uint64_t hash, uint32_t db) {
    return ((uint32_t)(hash >> 32) + db * 0x9e3779b9u) & s->slots_mask; /* the low bits are small */
}

/* Its slot, or the vacant one where it would be. */
static uint32_t find_slot(const struct mrc_sample *s, uint64_t hash, uint32_t db) {
    uint32_t i = home_of(s, hash, db);
    for (; s->slots[i]; i = (i + 1) & s->slots_mask) {
        const struct node *n = &s->nodes[s->slots[i] - 1];
        if (n->hash == hash && n->db == db) {
            break;
        }
    }
    return i;
}

/* Later ones of the run close the gap. */
static void clear_slot(struct mrc_sample *s, uint32_t gap) {
    for (uint32_t i = (gap + 1) & s->slots_mask; s->slots[i]; i = (i + 1) & s->slots_mask) {
        const struct node *n = &s->nodes[s->slots[i] - 1];
        uint32_t home = home_of(s, n->hash, n->db);
        if (((i - home) & s->slots_mask) >= ((i - gap) & s->slots_mask)) {
            s->slots[gap] = s->slots[i];
            gap = i;
        }
    }
    s->slots[gap] = 0;
}

/* --- the stack --- */

static void tree_add(struct mrc_sample *s, uint32_t at, uint64_t bytes) {
    for (; at <= s->positions; at += at & -at) {
        s->tree[at] += bytes;
    }
}

/* Bytes at positions up to `at`. */
static uint64_t tree_sum(const struct mrc_sample *s, uint32_t at) {
    uint64_t sum = 0;
    for (; at > 0; at -= at & -at) {
        sum += s->tree[at];
    }
    return sum;
}

static void renumber(struct mrc_sample *s) {
    uint32_t to = 0;
    memset(s->tree, 0, (s->positions + 1) * sizeof *s->tree);
    for (uint32_t at = 1; at <= s->last; at++) {
        uint32_t index = s->order[at];
        if (index) {
            s->order[at] = 0;
            s->order[++to] = index;
            s->nodes[index - 1].at = to;
            s->tree[to] = s->nodes[index - 1].bytes;
        }
    }
    for (uint32_t at = 1; at <= s->positions; at++) { /* children come before their parents */
        uint32_t parent = at + (at & -at);
        if (parent <= s->positions) {
            s->tree[parent] += s->tree[at];
        }
    }
    s->first = 1;
    s->last = to;
}

static void take_off(struct mrc_sample *s, struct node *n) {
    tree_add(s, n->at, -n->bytes);
    s->order[n->at] = 0;
    s->total_bytes -= n->bytes;
    s->gone_bytes -= n->gone ? n->bytes : 0;
}

static void put_on_top(struct mrc_sample *s, uint32_t index, uint64_t bytes, bool gone) {
    if (s->last == s->positions) {
        renumber(s);
    }
    struct node *n = &s->nodes[index];
    n->bytes = bytes;
    n->gone = gone;
    n->at = ++s->last;
    s->order[n->at] = index + 1;
    s->total_bytes += bytes;
    s->gone_bytes += gone ? bytes : 0;
    tree_add(s, n->at, bytes);
}

static void forget(struct mrc_sample *s, uint32_t slot) {
    uint32_t index = s->slots[slot] - 1;
    take_off(s, &s->nodes[index]);
    clear_slot(s, slot);
    s->count--;
    if (index != s->count) { /* the last one takes its place */
        struct node *moved = &s->nodes[s->count];
        s->slots[find_slot(s, moved->hash, moved->db)] = index + 1;
        s->order[moved->at] = index + 1;
        s->nodes[index] = *moved;
    }
}

static void forget_oldest(struct mrc_sample *s) {
    while (!s->order[s->first]) {
        s->first++;
    }
    const struct node *n = &s->nodes[s->order[s->first] - 1];
    forget(s, find_slot(s, n->hash, n->db));
}

/* --- counting --- */

static void scale(struct mrc_sample *s, double factor) {
    s->expected *= factor;
    s->sampled *= factor;
    for (unsigned i = 0; i < MRC_BUCKETS; i++) {
        s->distances[i] *= factor;
    }
}

static void lower_threshold(struct mrc *m) {
    struct mrc_sample *s = m->sample;
    double before = rate_of(m);
    m->threshold -= m->threshold / LOWER_DIVISOR + 1;
    for (uint32_t i = s->count; i-- > 0;) {
        if (!mrc_samples(m, s->nodes[i].hash)) {
            forget(s, find_slot(s, s->nodes[i].hash, s->nodes[i].db));
        }
    }
    scale(s, rate_of(m) / before);
}

static void catch_up(struct mrc *m, struct mrc_counts counts) {
    struct mrc_sample *s = m->sample;
    uint64_t hits = counts.hits - s->counts.hits;
    uint64_t reads = hits + counts.misses - s->counts.misses;
    s->counts = counts;
    s->reads += (double)reads;
    s->hits += (double)hits;
    s->expected += (double)reads * rate_of(m);
    if (s->sampled >= READS_MAX) {
        scale(s, 0.5);
        s->reads /= 2;
        s->hits /= 2;
    }
}

/* Buckets divide each octave from 2^MRC_BYTES_BITS_MIN on in MRC_OCTAVE equal parts. */
static unsigned bucket_of(double bytes) {
    int exponent;
    double fraction = frexp(MAX(bytes, 1.0), &exponent); /* [0.5, 1) */
    double at = (exponent - 2 + 2 * fraction - MRC_BYTES_BITS_MIN) * MRC_OCTAVE;
    return at <= 0 ? 0 : MIN((unsigned)at + 1, (unsigned)MRC_BUCKETS - 1);
}

/* --- what happens to keys --- */

static bool begin(struct mrc *m, struct mrc_counts counts) {
    if (!m->sample) {
        m->sample = sample_create(m->keys_max);
        m->sample->counts = counts;
        return true;
    }
    return false;
}

/* A sampled read of a large keyspace costs most of a microsecond, as nothing of it is in the cores'
 * caches: one of 256 is what 1% of the time allows. */
static bool has_too_many(const struct mrc *m) {
    uint32_t most = m->threshold > 1u << (32 - MRC_RATE_MID_BITS) ? m->keys_max / 16
                    : m->threshold > 1u << (32 - MRC_RATE_BITS)   ? m->keys_max / 4
                                                                  : m->keys_max;
    return m->sample->count > most;
}

/* The bottom of the stack lies deeper than anybody asks about. */
static bool is_deep(const struct mrc_sample *s) {
    return s->total_bytes > MRC_REACH * (s->total_bytes - s->gone_bytes);
}

static void insert(struct mrc *m, unsigned db, uint64_t hash, uint32_t slot, size_t bytes) {
    struct mrc_sample *s = m->sample;
    uint32_t index = s->count++;
    s->nodes[index] = (struct node){.hash = hash, .db = (uint16_t)db};
    s->slots[slot] = index + 1;
    put_on_top(s, index, bytes, false);
    while (has_too_many(m)) {
        if (is_deep(s)) {
            forget_oldest(s);
        } else {
            lower_threshold(m);
        }
    }
}

void mrc_read(struct mrc *m, unsigned db, uint64_t hash, size_t bytes, struct mrc_counts counts) {
    if (begin(m, counts)) {
        return; /* it counts from the next read on */
    }
    struct mrc_sample *s = m->sample;
    catch_up(m, counts);
    s->sampled++;
    uint32_t slot = find_slot(s, hash, db);
    if (s->slots[slot]) {
        uint32_t index = s->slots[slot] - 1;
        struct node *n = &s->nodes[index];
        bool gone = n->gone && !bytes;
        bytes = bytes ? bytes : n->bytes;
        uint64_t above = n->at == s->last ? 0 : s->total_bytes - tree_sum(s, n->at);
        double distance = (double)above * m->partitions / rate_of(m) + (double)bytes;
        s->distances[bucket_of(distance)]++;
        if (n->at != s->last || bytes != n->bytes || gone != n->gone) {
            take_off(s, n);
            put_on_top(s, index, bytes, gone);
        }
    } else if (bytes) {
        insert(m, db, hash, slot, bytes);
    }
}

void mrc_write(struct mrc *m, unsigned db, uint64_t hash, size_t bytes, struct mrc_counts counts) {
    begin(m, counts);
    struct mrc_sample *s = m->sample;
    uint32_t slot = find_slot(s, hash, db);
    if (s->slots[slot]) {
        take_off(s, &s->nodes[s->slots[slot] - 1]);
        put_on_top(s, s->slots[slot] - 1, bytes, false);
    } else {
        insert(m, db, hash, slot, bytes);
    }
}

void mrc_remove(struct mrc *m, unsigned db, uint64_t hash) {
    struct mrc_sample *s = m->sample;
    uint32_t slot = s ? find_slot(s, hash, db) : 0;
    if (s && s->slots[slot]) {
        forget(s, slot);
    }
}

void mrc_evict(struct mrc *m, unsigned db, uint64_t hash) {
    struct mrc_sample *s = m->sample;
    uint32_t slot = s ? find_slot(s, hash, db) : 0;
    if (s && s->slots[slot]) {
        struct node *n = &s->nodes[s->slots[slot] - 1];
        s->gone_bytes += n->gone ? 0 : n->bytes;
        n->gone = true;
    }
}

void mrc_flush(struct mrc *m, unsigned db) {
    struct mrc_sample *s = m->sample;
    for (uint32_t i = s ? s->count : 0; i-- > 0;) {
        if (s->nodes[i].db == db) {
            forget(s, find_slot(s, s->nodes[i].hash, db));
        }
    }
}

/* --- the estimate --- */

void mrc_add(const struct mrc *m, struct mrc_sum *sum) {
    const struct mrc_sample *s = m->sample;
    double rate = rate_of(m);
    sum->parts++;
    sum->rate += rate;
    if (!s || rate == 0) {
        return;
    }
    sum->keys += s->count;
    sum->bytes += s->total_bytes;
    sum->reads += s->expected / rate;
    sum->hits += s->reads > 0 ? s->expected / rate * s->hits / s->reads : 0;
    sum->sampled += s->sampled / rate;
    for (unsigned i = 0; i < MRC_BUCKETS; i++) {
        sum->distances[i] += s->distances[i] / rate;
    }
}

double mrc_hit_ratio(const struct mrc_sum *sum, double bytes) {
    if (sum->reads <= 0 || bytes <= 0) {
        return 0;
    }
    int exponent;
    double fraction = frexp(bytes, &exponent); /* as bucket_of does */
    double at = (exponent - 2 + 2 * fraction - MRC_BYTES_BITS_MIN) * MRC_OCTAVE;
    double below = 0;
    for (unsigned i = 0; i < MRC_BUCKETS && (double)i - 1 < at; i++) {
        below += sum->distances[i] * MIN(at - ((double)i - 1), 1.0);
    }
    double ratio = (below + sum->reads - sum->sampled) / sum->reads;
    return ratio < 0 ? 0 : ratio > 1 ? 1 : ratio;
}
