/* The estimate of the hit ratio against exact LRU stack distances, on made traces. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "engine/keyspace.h"

enum { PARTS = 8, FULL_THRESHOLD_BITS = 27, SIZES = 24 };

/* --- exact: a Fenwick tree over the time of every read --- */

struct exact {
    uint32_t reads_max, keys, now;
    uint64_t *tree;     /* bytes by time of last use */
    uint32_t *last;     /* by key; 0 = never */
    double *distances;  /* of each read; INFINITY = first */
    uint32_t count;
};

static void exact_init(struct exact *x, uint32_t keys, uint32_t reads_max) {
    *x = (struct exact){.reads_max = reads_max, .keys = keys};
    x->tree = mem_zalloc((reads_max + 1) * sizeof *x->tree);
    x->last = mem_zalloc(keys * sizeof *x->last);
    x->distances = mem_alloc(reads_max * sizeof *x->distances);
}

static void exact_free(struct exact *x) {
    mem_free(x->tree);
    mem_free(x->last);
    mem_free(x->distances);
}

static void exact_add(struct exact *x, uint32_t at, uint64_t bytes) {
    for (; at <= x->reads_max; at += at & -at) {
        x->tree[at] += bytes;
    }
}

static uint64_t exact_sum(const struct exact *x, uint32_t at) {
    uint64_t sum = 0;
    for (; at > 0; at -= at & -at) {
        sum += x->tree[at];
    }
    return sum;
}

static void exact_read(struct exact *x, uint32_t key, uint64_t bytes) {
    double distance = INFINITY;
    if (x->last[key]) {
        distance = (double)(exact_sum(x, x->now) - exact_sum(x, x->last[key]) + bytes);
        exact_add(x, x->last[key], -bytes);
    }
    x->last[key] = ++x->now;
    exact_add(x, x->now, bytes);
    x->distances[x->count++] = distance;
}

static double exact_hit_ratio(const struct exact *x, double bytes) {
    uint32_t hits = 0;
    for (uint32_t i = 0; i < x->count; i++) {
        hits += x->distances[i] <= bytes;
    }
    return (double)hits / x->count;
}

/* --- both on one trace --- */

struct trace {
    uint32_t keys, reads;
    double theta;               /* 0 = uniform */
    bool loop;
    bool sizes;                 /* 50 to 1650 bytes, else 100 */
};

struct run {
    struct mrc mrc[PARTS];
    struct mrc_counts counts[PARTS];
    struct exact exact;
    double *cdf;
    uint64_t total_bytes;
};

static uint32_t draw(const struct trace *t, const struct run *r, struct rng *rng, uint32_t i) {
    if (t->loop) {
        return i % t->keys;
    }
    if (t->theta == 0) {
        return (uint32_t)rng_below(rng, t->keys);
    }
    double u = (double)rng_below(rng, 1ull << 40) / (double)(1ull << 40) * r->cdf[t->keys - 1];
    uint32_t lo = 0, hi = t->keys - 1;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (r->cdf[mid] < u) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static uint64_t size_of(const struct trace *t, uint64_t hash) {
    return t->sizes ? 50 + (hash >> 40) % 1600 : 100;
}

/* A cache that keeps all: the first read of a key is a miss that is followed by its write. */
static void read_key(const struct trace *t, struct run *r, uint32_t key) {
    uint64_t hash = hash_bytes(7, &key, sizeof key), bytes = size_of(t, hash);
    unsigned part = (unsigned)(hash >> 61);
    struct mrc *m = &r->mrc[part];
    bool first = r->exact.last[key] == 0;
    r->counts[part].hits += !first;
    r->counts[part].misses += first;
    if (mrc_samples(m, hash)) {
        mrc_read(m, 0, hash, first ? 0 : bytes, r->counts[part]);
        if (first) {
            mrc_write(m, 0, hash, bytes, r->counts[part]);
        }
    }
    r->total_bytes += first ? bytes : 0;
    exact_read(&r->exact, key, bytes);
}

static void run_trace(const struct trace *t, struct run *r) {
    struct rng rng = {11};
    memset(r, 0, sizeof *r);
    exact_init(&r->exact, t->keys, t->reads);
    r->cdf = mem_alloc(t->keys * sizeof *r->cdf);
    double sum = 0;
    for (uint32_t k = 0; k < t->keys; k++) {
        r->cdf[k] = sum += pow(k + 1, -t->theta);
    }
    for (unsigned p = 0; p < PARTS; p++) {
        mrc_init(&r->mrc[p], PARTS);
    }
    for (uint32_t i = 0; i < t->reads; i++) {
        read_key(t, r, draw(t, r, &rng, i));
    }
}

static void free_run(struct run *r) {
    for (unsigned p = 0; p < PARTS; p++) {
        mrc_set_enabled(&r->mrc[p], false);
    }
    exact_free(&r->exact);
    mem_free(r->cdf);
}

static void sum_up(const struct run *r, struct mrc_sum *sum) {
    *sum = (struct mrc_sum){0};
    for (unsigned p = 0; p < PARTS; p++) {
        mrc_add(&r->mrc[p], sum);
    }
}

/* The mean absolute error over sizes from a 64th of all keys' bytes to all of them. */
static double mean_error(const struct trace *t) {
    struct run *r = mem_alloc(sizeof *r);
    struct mrc_sum sum;
    run_trace(t, r);
    sum_up(r, &sum);
    double error = 0;
    for (unsigned i = 0; i < SIZES; i++) {
        double bytes = (double)r->total_bytes * exp2(-6 + 6.0 * i / (SIZES - 1));
        double exact = exact_hit_ratio(&r->exact, bytes), is = mrc_hit_ratio(&sum, bytes);
        error += fabs(exact - is) / SIZES;
    }
    assert_in_range(sum.keys, 500, MRC_KEYS_MAX);
    free_run(r);
    mem_free(r);
    return error;
}

static void expect_error_below(struct trace t, double most) {
    double error = mean_error(&t);
    print_message("theta %.1f%s%s: mean absolute error %.4f\n", t.theta, t.loop ? ", loop" : "",
                  t.sizes ? ", sizes" : "", error);
    if (error >= most) {
        fail_msg("mean absolute error %.4f, at most %.4f", error, most);
    }
}

static void test_zipf(void **state) {
    expect_error_below((struct trace){150000, 1200000, 0.9, false, false}, 0.03);
    expect_error_below((struct trace){200000, 800000, 0.7, false, true}, 0.03);
    expect_error_below((struct trace){200000, 1200000, 1.2, false, true}, 0.03);
}

static void test_uniform(void **state) {
    expect_error_below((struct trace){200000, 1000000, 0, false, false}, 0.04);
    expect_error_below((struct trace){600000, 1800000, 0, false, true}, 0.03);
}

/* A loop hits never, or always: the step at its size is blurred by a bucket and the sample. */
static void test_loop(void **state) {
    expect_error_below((struct trace){200000, 800000, 0, true, false}, 0.03);
}

/* The workload changes: the estimate follows. */
static void test_follows(void **state) {
    struct trace first = {100000, 200000, 0, false, false};
    struct run *r = mem_alloc(sizeof *r);
    struct mrc_sum sum;
    struct rng rng = {3};
    run_trace(&first, r);
    sum_up(r, &sum);
    assert_true(mrc_hit_ratio(&sum, 1e6) < 0.2); /* a tenth of the keys' bytes */
    struct exact wide = r->exact;
    exact_init(&r->exact, 100000, 6000000);
    memcpy(r->exact.last, wide.last, 100000 * sizeof *wide.last);
    memset(r->exact.last, 0, 100000 * sizeof *wide.last);
    exact_free(&wide);
    for (uint32_t i = 0; i < 6000000; i++) { /* now 5000 keys, a twentieth */
        read_key(&first, r, (uint32_t)rng_below(&rng, 5000));
    }
    sum_up(r, &sum);
    assert_true(mrc_hit_ratio(&sum, 1e6) > 0.9);
    assert_true(sum.hits / sum.reads > 0.9);
    free_run(r);
    mem_free(r);
}

/* However many keys there are: so many are kept, so many bytes taken, and the rate comes down. */
static void test_bounded(void **state) {
    mem_thread_register();
    struct mrc m;
    mrc_init(&m, PARTS);
    uint32_t threshold = m.threshold;
    assert_int_equal(threshold, 1u << FULL_THRESHOLD_BITS);
    struct mrc_counts counts = {0, 0};
    int64_t before = mem_used_bytes();
    for (uint32_t key = 0; key < 1000000; key++) {
        uint64_t hash = hash_bytes(5, &key, sizeof key);
        counts.misses++;
        if (mrc_samples(&m, hash)) {
            mrc_read(&m, 0, hash, 0, counts);
            mrc_write(&m, 0, hash, 100, counts);
        }
    }
    struct mrc_sum sum = {0};
    mrc_add(&m, &sum);
    assert_in_range(sum.keys, m.keys_max * 3 / 4, m.keys_max);
    assert_true(mem_used_bytes() - before < 80 * 1024);
    double rate = (double)m.threshold / 4294967296.0;
    assert_true(fabs(rate - (double)sum.keys / 1000000) < rate * 0.15);
    /* nobody is found at any size */
    assert_true(mrc_hit_ratio(&sum, 1e15) < 0.1);
    mrc_set_enabled(&m, false);
    assert_false(mrc_samples(&m, 0));
    assert_int_equal(mem_used_bytes(), before);
    mrc_set_enabled(&m, true);
    assert_int_equal(m.threshold, threshold);
    mrc_set_enabled(&m, false);
    mem_thread_unregister();
}

/* Ever new keys, each read once and evicted later, leave the sample of those in use as it is. */
static void test_passing(void **state) {
    enum { HOT = 20000, EVENTS = 10000000, STAY = 20000, BYTES = 100 };
    struct mrc m;
    mrc_init(&m, 1);
    struct rng rng = {5};
    struct mrc_counts counts = {0, 0};
    for (uint64_t n = 0; n < EVENTS; n++) {
        bool hot = n % 2;
        uint64_t key = hot ? rng_below(&rng, HOT) : HOT + n;
        uint64_t hash = hash_bytes(77, &key, sizeof key);
        counts.hits += hot;
        counts.misses += !hot;
        if (mrc_samples(&m, hash)) {
            mrc_read(&m, 0, hash, hot ? BYTES : 0, counts);
            if (!hot) {
                mrc_write(&m, 0, hash, BYTES, counts);
            }
        }
        uint64_t old = HOT + n - 2 * STAY;
        hash = hash_bytes(77, &old, sizeof old);
        if (!hot && n >= 2 * STAY && mrc_samples(&m, hash)) {
            mrc_evict(&m, 0, hash);
        }
    }
    struct mrc_sum sum = {0};
    mrc_add(&m, &sum);
    assert_in_range(sum.keys, m.keys_max / 2, m.keys_max);
    /* of HOT + STAY keys in use one of 256, as if no others had been */
    assert_true(m.threshold > (1u << (32 - MRC_RATE_BITS)) / 10 * 9);
    /* a hot key's distance: with reads as often as others, 1 - e^-1 of the hot are within HOT reads
     * of hot keys, which bring HOT new keys */
    double at = (HOT * (1 - exp(-1)) + HOT) * BYTES;
    assert_true(fabs(mrc_hit_ratio(&sum, at) - (1 - exp(-1)) / 2) < 0.05);
    mrc_set_enabled(&m, false);
}

/* Deleted and flushed keys are on the stack no more; databases are apart. */
static void test_removed(void **state) {
    struct mrc m;
    mrc_init(&m, PARTS);
    struct mrc_counts counts = {0, 1};
    mrc_read(&m, 0, 1, 0, counts); /* begins */
    for (uint64_t n = 0; n < 300; n++) {
        mrc_write(&m, (unsigned)(n % 2), n << 32 | n, 100, counts);
        mrc_write(&m, (unsigned)(n % 2), n << 32 | n, 200, counts);
    }
    struct mrc_sum sum = {0};
    mrc_add(&m, &sum);
    assert_int_equal(sum.keys, 300);
    for (uint64_t n = 0; n < 300; n += 3) {
        mrc_remove(&m, (unsigned)(n % 2), n << 32 | n);
        mrc_remove(&m, (unsigned)(n % 2), n << 32 | n);
        mrc_remove(&m, 7, (n + 1) << 32 | (n + 1)); /* not there */
    }
    sum = (struct mrc_sum){0};
    mrc_add(&m, &sum);
    assert_int_equal(sum.keys, 200);
    mrc_flush(&m, 1);
    sum = (struct mrc_sum){0};
    mrc_add(&m, &sum);
    assert_int_equal(sum.keys, 100);
    for (uint64_t n = 2; n < 300; n += 2) { /* what was flushed or deleted is a miss */
        counts.misses++;
        mrc_read(&m, 1, (n + 1) << 32 | (n + 1), 0, counts);
    }
    sum = (struct mrc_sum){0};
    mrc_add(&m, &sum);
    assert_int_equal(sum.keys, 100);
    mrc_set_enabled(&m, false);
}

/* Through a partition: a sampled key's read, write, expiry. */
static void test_partition(void **state) {
    struct keyspace *ks = keyspace_create(1, 3, NULL);
    char *text = mem_alloc(32);
    for (unsigned round = 0; round < 4; round++) {
        for (uint32_t n = 0; n < 20000; n++) {
            int len = snprintf(text, 32, "k%u", n);
            struct key key = keyspace_key(ks, slice_of(text, (size_t)len));
            struct partition *p = keyspace_partition(ks, key.hash);
            lock_take(&p->lock);
            if (!part_find(p, 0, &key, 1, FIND_COUNT | FIND_TOUCH)) {
                part_set_string(p, 0, &key, SLICE("value"), EXPIRE_NEVER);
            }
            lock_release(&p->lock);
        }
    }
    struct mrc_sum sum = {0};
    keyspace_estimate(ks, NULL, &sum);
    assert_in_range(sum.keys, 400, 800); /* one of 32 */
    assert_true(sum.hits / sum.reads > 0.7 && sum.hits / sum.reads < 0.8);
    assert_true(mrc_hit_ratio(&sum, 20000 * 20) < 0.05); /* a loop that does not fit */
    assert_true(fabs(mrc_hit_ratio(&sum, 20000 * 100) - 0.75) < 0.05);
    struct keyspace_params params = {.no_estimate = true};
    keyspace_set_params(ks, &params);
    for (uint32_t i = 0; i < ks->partitions_count; i++) {
        lock_take(&ks->partitions[i]->lock);
        part_maintain(ks->partitions[i], 1, 0);
        lock_release(&ks->partitions[i]->lock);
    }
    sum = (struct mrc_sum){0};
    keyspace_estimate(ks, NULL, &sum);
    assert_int_equal(sum.keys, 0);
    mem_free(text);
    keyspace_destroy(ks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zipf),      cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_loop),      cmocka_unit_test(test_follows),
        cmocka_unit_test(test_bounded),   cmocka_unit_test(test_passing),
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
