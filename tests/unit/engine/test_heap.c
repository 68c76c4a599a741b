/* The heap against a model: random sizes, frees and compaction, its checker after each phase; and
 * the pool of blocks below it. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/rng.h"
#include "engine/heap.h"

enum { OBJECTS = 20000, OBJECT_HEAD_BYTES = 12, POOL_BYTES_MAX = 2000 };

/* Test objects: a mark, their number and their size; the rest is filled with the number. */
struct object {
    uint32_t mark, number, bytes;
};

struct model {
    struct heap heap, large;
    bool has_large;
    struct block_pool *pool;
    struct rng rng;
    void *at[OBJECTS];
    size_t bytes[OBJECTS];
    uint64_t live; /* rounded bytes */
    bool refuses;  /* moves */
};

static size_t object_bytes(const void *object) {
    struct object o;
    memcpy(&o, object, sizeof o);
    return o.bytes;
}

static bool object_moved(void *arg, void *from, void *to) {
    struct model *m = arg;
    struct object o;
    memcpy(&o, from, sizeof o);
    assert_ptr_equal(m->at[o.number], from);
    if (!m->refuses) {
        m->at[o.number] = to;
    }
    return !m->refuses;
}

static void start(struct model *m, uint32_t granule) {
    memset(m, 0, sizeof *m);
    m->rng.state = 7;
    m->pool = block_pool_create(false);
    heap_init(&m->heap, m->pool, granule, object_bytes);
}

/* With spans for the objects above HEAP_SMALL_MAX. */
static void start_large(struct model *m, uint32_t granule) {
    start(m, granule);
    heap_init_large(&m->large, &m->heap);
    m->has_large = true;
}

static void add(struct model *m, uint32_t i, size_t bytes) {
    bytes = MAX(bytes, (size_t)OBJECT_HEAD_BYTES);
    char *p = heap_alloc(&m->heap, bytes);
    struct object o = {1, i, (uint32_t)bytes};
    memcpy(p, &o, sizeof o);
    memset(p + OBJECT_HEAD_BYTES, (int)(i & 0x7f), bytes - OBJECT_HEAD_BYTES);
    assert_int_equal((uintptr_t)p % m->heap.granule_bytes, 0);
    m->at[i] = p;
    m->bytes[i] = bytes;
    m->live += bytes <= HEAP_OBJECT_MAX ? heap_round(m->heap.granule_bytes, bytes) : 0;
}

static void check_object(const struct model *m, uint32_t i) {
    struct object o;
    memcpy(&o, m->at[i], sizeof o);
    assert_int_equal(o.number, i);
    assert_int_equal(o.bytes, m->bytes[i]);
    const char *p = m->at[i];
    for (size_t k = OBJECT_HEAD_BYTES; k < o.bytes; k++) {
        if (p[k] != (char)(i & 0x7f)) {
            fail_msg("object %u, byte %zu", i, k);
        }
    }
}

static void drop(struct model *m, uint32_t i) {
    check_object(m, i);
    m->live -= m->bytes[i] <= HEAP_OBJECT_MAX ? heap_round(m->heap.granule_bytes, m->bytes[i]) : 0;
    heap_free(&m->heap, m->at[i], m->bytes[i]);
    m->at[i] = NULL;
}

static void check(const struct model *m) {
    heap_check(&m->heap);
    uint64_t live = m->heap.live_bytes, blocks = heap_block_bytes(&m->heap);
    if (m->has_large) {
        heap_check(&m->large);
        live += m->large.live_bytes;
        blocks += heap_block_bytes(&m->large);
    }
    assert_true(live == m->live);
    assert_true(blocks == block_pool_used_bytes(m->pool));
    for (uint32_t i = 0; i < OBJECTS; i++) {
        if (m->at[i]) {
            check_object(m, i);
        }
    }
}

static void finish(struct model *m) {
    for (uint32_t i = 0; i < OBJECTS; i++) {
        if (m->at[i]) {
            drop(m, i);
        }
    }
    heap_deinit(&m->heap);
    if (m->has_large) {
        heap_deinit(&m->large);
    }
    assert_true(block_pool_used_bytes(m->pool) == 0);
    block_pool_destroy(m->pool);
}

static void compact_heap(struct model *m, struct heap *h) {
    /* A percent of holes may be left: blocks with less than a kilobyte of them are not worth it. */
    for (unsigned i = 0; heap_hole_bytes(h) * 50 > heap_block_bytes(h); i++) {
        assert_true(i < 10 * OBJECTS);
        if (!heap_compact(h, 7, object_moved, m)) {
            break;
        }
    }
}

static void compact_all(struct model *m) {
    compact_heap(m, &m->heap);
    if (m->has_large) {
        compact_heap(m, &m->large);
    }
}

static size_t any_size(struct model *m) {
    uint64_t kind = rng_below(&m->rng, 100);
    return kind < 80   ? rng_below(&m->rng, 300)
           : kind < 98 ? rng_below(&m->rng, 3000)
                       : rng_below(&m->rng, 20000);
}

static void compact_some(struct model *m, uint32_t limit) {
    heap_compact(&m->heap, limit, object_moved, m);
    if (m->has_large) {
        heap_compact(&m->large, limit, object_moved, m);
    }
}

static void run_random(struct model *m) {
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned step = 0; step < 4000; step++) {
            uint32_t i = (uint32_t)rng_below(&m->rng, OBJECTS / 4);
            if (m->at[i]) {
                drop(m, i);
            } else {
                add(m, i, any_size(m));
            }
            if (round % 3 == 1 && step % 16 == 0) {
                compact_some(m, 5);
            }
        }
        if (m->has_large) {
            heap_use_spans(&m->heap, round % 3 != 0);
        }
        m->refuses = round % 7 == 3;
        compact_some(m, 5);
        m->refuses = false;
        check(m);
        if (round % 10 == 9) {
            compact_all(m);
            check(m);
        }
    }
    finish(m);
}

static void test_random(void **state) {
    static struct model model;
    const uint32_t granules[] = {2, 4, 64};
    for (unsigned i = 0; i < ARRAY_COUNT(granules); i++) {
        start(&model, granules[i]);
        run_random(&model);
        start_large(&model, granules[i]);
        run_random(&model);
    }
}

/* Holes are used again by objects of their size: no memory is added. */
static void test_same_size_reuse(void **state) {
    static struct model model;
    struct model *m = &model;
    start(m, 2);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        add(m, i, 100);
    }
    uint64_t before = heap_block_bytes(&m->heap);
    for (unsigned i = 0; i < 5 * OBJECTS; i++) {
        uint32_t k = (uint32_t)rng_below(&m->rng, OBJECTS);
        drop(m, k);
        add(m, k, 100);
    }
    assert_true(heap_block_bytes(&m->heap) == before);
    check(m);
    finish(m);
}

/* The shape of the data changes: compaction makes room of the old holes, within a few per cent. */
static void test_shape_change(void **state) {
    static struct model model;
    struct model *m = &model;
    start(m, 2);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        add(m, i, 100);
    }
    for (uint32_t i = 0; i < OBJECTS; i++) {
        if (rng_below(&m->rng, 100) < 60) {
            drop(m, i);
        }
    }
    uint64_t sparse = heap_block_bytes(&m->heap);
    compact_all(m);
    check(m);
    assert_true(heap_block_bytes(&m->heap) < sparse / 2);
    assert_true(heap_block_bytes(&m->heap) < m->live * 104 / 100 + 2 * BLOCK_BYTES);
    uint64_t before = heap_block_bytes(&m->heap);
    for (uint32_t i = 0; i < OBJECTS;
         i++) { /* evict three, store one that is three times as large */
        static uint32_t victim;
        unsigned found = 0;
        for (; found < 3 && victim < OBJECTS; victim++) {
            if (m->at[victim] && m->bytes[victim] == 100) {
                drop(m, victim);
                found++;
            }
        }
        if (found < 3) {
            break;
        }
        uint32_t k = victim - 1;
        add(m, k, 300);
        while (heap_hole_bytes(&m->heap) * 100 > heap_block_bytes(&m->heap) * 3 &&
               heap_compact(&m->heap, 16, object_moved, m)) {
        }
    }
    check(m);
    assert_true(heap_block_bytes(&m->heap) <= before * 104 / 100 + 2 * BLOCK_BYTES);
    finish(m);
}

/* An object whose owner is not known stays where it is, and so does what was moved before it. */
static void test_refused_move(void **state) {
    static struct model model;
    struct model *m = &model;
    start(m, 2);
    for (uint32_t i = 0; i < 3000; i++) {
        add(m, i, 64);
    }
    for (uint32_t i = 0; i < 2000; i += 2) {
        drop(m, i);
    }
    assert_true(heap_compact(&m->heap, 10, object_moved, m) == 10);
    m->refuses = true;
    assert_true(heap_compact(&m->heap, 10, object_moved, m) == 0);
    check(m);
    m->refuses = false;
    compact_all(m);
    check(m);
    finish(m);
}

static void test_counted(void **state) {
    static struct model model;
    struct model *m = &model;
    mem_thread_register();
    start(m, 2);
    int64_t before = mem_used_bytes();
    for (uint32_t i = 0; i < 1000; i++) {
        add(m, i, 200);
    }
    assert_in_range(mem_used_bytes() - before, 200 * 1000, 200 * 1000 + POOL_BYTES_MAX);
    add(m, 1000, 1 << 20); /* beyond HEAP_OBJECT_MAX: the allocator's */
    assert_true(mem_used_bytes() - before >= 200 * 1000 + (1 << 20));
    assert_true(m->heap.live_bytes == 200 * 1000);
    finish(m);
    assert_true(mem_used_bytes() <= before); /* the pool is gone as well */
}

/* Objects of one size, whatever that is, leave next to nothing at the end of blocks and spans. */
static void test_ends(void **state) {
    enum { STEP = 331, BYTES = 12 << 20, WASTE_AN_OBJECT = 20 };
    static struct model model;
    struct model *m = &model;
    for (size_t bytes = 40; bytes <= HEAP_OBJECT_MAX; bytes += STEP) {
        start_large(m, 2);
        uint32_t count = (uint32_t)MIN(BYTES / bytes, (size_t)OBJECTS);
        for (uint32_t i = 0; i < count; i++) {
            add(m, i, bytes);
        }
        uint64_t blocks = block_pool_used_bytes(m->pool);
        uint64_t most = m->live + (uint64_t)count * WASTE_AN_OBJECT + 2 * BLOCK_BYTES;
        if (bytes > 8 * 1024 ? blocks > m->live * 101 / 100 + BLOCK_BYTES : blocks > most) {
            fail_msg("%u objects of %zu bytes take %llu", count, bytes, (unsigned long long)blocks);
        }
        finish(m);
    }
}

/* Large objects give way to others: nearly all of what is free is given back, and used again. */
static void test_slide(void **state) {
    enum { COUNT = 3000, LEFT_PERCENT = 1 };
    static struct model model;
    struct model *m = &model;
    start_large(m, 2);
    for (uint32_t i = 0; i < COUNT; i++) {
        add(m, i, 1100 + rng_below(&m->rng, 8000));
    }
    for (unsigned round = 0; round < 6; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            uint64_t kind = rng_below(&m->rng, 10);
            if (m->at[i] && kind < 6) {
                drop(m, i);
            } else if (!m->at[i] && kind < 4) {
                add(m, i, 1100 + rng_below(&m->rng, 8000));
            }
            if (i % 64 == 0 && round % 2) {
                heap_compact(&m->large, 20, object_moved, m);
            }
        }
        check(m);
        while (heap_hole_bytes(&m->large) * 100 > heap_block_bytes(&m->large) * LEFT_PERCENT &&
               heap_compact(&m->large, 7, object_moved, m)) {
        }
        check(m);
        assert_true(heap_block_bytes(&m->large) <
                    m->live * (100 + LEFT_PERCENT) / 100 + 3 * BLOCK_BYTES);
    }
    finish(m);
}

/* A step moves no more than it may, in a span as in a block; what is allocated and freed meanwhile
 * may lie in the span that is being slid. */
static void test_slide_steps(void **state) {
    enum { COUNT = 4 * SPAN_BYTES / 2000, LIMIT = 10, MOST = 200 };
    static struct model model;
    struct model *m = &model;
    start_large(m, 2);
    for (uint32_t i = 0; i < COUNT; i++) {
        add(m, i, 1100 + rng_below(&m->rng, 1000));
    }
    for (uint32_t i = 0; i < COUNT; i += 3) {
        drop(m, i);
    }
    uint32_t moved, steps = 0;
    while ((moved = heap_compact(&m->large, steps % 5 ? LIMIT : COUNT, object_moved, m))) {
        assert_true(moved <= (steps % 5 ? LIMIT : MOST) + 1);
        uint32_t i = (uint32_t)rng_below(&m->rng, COUNT);
        if (m->at[i]) {
            drop(m, i);
        } else {
            add(m, i, 1100 + rng_below(&m->rng, 1000));
        }
        if (steps % 16 == 0) {
            check(m);
        }
        m->refuses = steps % 32 == 31;
        steps++;
        assert_true(steps < 10 * COUNT);
    }
    m->refuses = false;
    compact_all(m);
    check(m);
    assert_true(heap_hole_bytes(&m->large) * 50 < heap_block_bytes(&m->large));
    finish(m);
}

/* What is not filled goes back when nothing was added for a while; it is filled all the same. */
static void test_trim(void **state) {
    static struct model model;
    struct model *m = &model;
    start_large(m, 2);
    for (uint32_t i = 0; i < 200; i++) {
        add(m, i, i % 2 ? 50 : 2000);
        if (i % 20 == 0) {
            heap_trim(&m->heap);
            heap_trim(&m->large);
            heap_trim(&m->heap);
            heap_trim(&m->large);
            assert_true(heap_block_bytes(&m->large) < m->large.live_bytes + BLOCK_BYTES / 8);
            check(m);
        }
    }
    finish(m);
}

/* ... again and again: what comes and goes later leaves nothing behind. */
static void test_trim_again(void **state) {
    enum { COUNT = 40, ROUNDS = 3 };
    static struct model model;
    struct model *m = &model;
    start_large(m, 2);
    add(m, COUNT, 2000);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            add(m, i, 16000);
        }
        assert_true(heap_block_bytes(&m->large) > COUNT * 16000);
        for (uint32_t i = COUNT; i-- > 0;) {
            drop(m, i);
        }
        heap_trim(&m->large); /* what was taken since may be wanted again */
        heap_trim(&m->large);
        heap_trim(&m->large);
        assert_true(heap_block_bytes(&m->large) < m->large.live_bytes + BLOCK_BYTES / 8);
        check(m);
    }
    finish(m);
}

/* A block that is being filled, most of it freed, is no worse to be compacted than others. */
static void test_filling_is_compacted(void **state) {
    static struct model model;
    struct model *m = &model;
    start_large(m, 2);
    for (uint32_t i = 0; i < 800; i++) {
        add(m, i, i < 400 ? 150 : 4000);
    }
    assert_true(m->heap.blocks_count == 1 && m->large.blocks_count == 1);
    for (uint32_t i = 0; i < 800; i++) {
        if (i % 5) {
            drop(m, i);
        }
    }
    compact_all(m);
    check(m);
    assert_true(heap_hole_bytes(&m->heap) < m->heap.live_bytes / 20);
    assert_true(heap_block_bytes(&m->large) < m->large.live_bytes * 105 / 100 + 2 * BLOCK_BYTES);
    finish(m);
}

/* Objects that fill no hole: compaction gives up instead of moving them round for ever. */
static void test_rests(void **state) {
    static struct model model;
    struct model *m = &model;
    start(m, 2);
    for (uint32_t i = 0; i < 400; i++) {
        add(m, i, 15000); /* four a block, and a hole that fits none */
    }
    uint64_t before = heap_block_bytes(&m->heap);
    unsigned steps = 0;
    while (heap_compact(&m->heap, 4, object_moved, m)) {
        assert_true(++steps < 200);
    }
    assert_true(heap_block_bytes(&m->heap) <= before + BLOCK_BYTES);
    check(m);
    for (uint32_t i = 0; i < 400; i += 2) {
        drop(m, i);
    }
    compact_all(m); /* goes on, as much was freed */
    check(m);
    assert_true(heap_block_bytes(&m->heap) < before * 2 / 3);
    finish(m);
}

static void test_blocks(void **state) {
    enum { COUNT = 200 };
    struct block_pool *pool = block_pool_create(false);
    char *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = block_take(pool);
        assert_int_equal((uintptr_t)blocks[i] % BLOCK_BYTES, 0);
        memset(blocks[i], (int)i, BLOCK_BYTES);
    }
    struct block_stats stats;
    block_pool_stats(pool, &stats);
    assert_true(stats.used == COUNT * BLOCK_BYTES && stats.spare == 0);
    assert_true(stats.mapped >= stats.used &&
                stats.mapped <= stats.used + CHUNK_BLOCKS * BLOCK_BYTES);
    for (unsigned i = 0; i < COUNT; i += 2) {
        block_give(pool, blocks[i]);
    }
    block_pool_stats(pool, &stats);
    assert_true(stats.used == COUNT / 2 * BLOCK_BYTES);
    assert_true(stats.spare > 0 && stats.spare <= BLOCKS_SPARE_MIN * BLOCK_BYTES);
    for (unsigned i = 1; i < COUNT; i += 2) {
        assert_int_equal(blocks[i][BLOCK_BYTES - 1], (char)i);
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        blocks[i] = block_take(pool); /* the old ones, before new chunks */
        memset(blocks[i], 1, BLOCK_BYTES);
    }
    uint64_t mapped = stats.mapped;
    block_pool_stats(pool, &stats);
    assert_true(stats.mapped == mapped);
    for (unsigned i = 0; i < COUNT; i++) {
        block_give(pool, blocks[i]);
    }
    block_pool_stats(pool, &stats);
    assert_true(stats.used == 0 && stats.mapped <= CHUNK_BLOCKS * BLOCK_BYTES);
    block_pool_destroy(pool);
}

/* Free blocks keep their memory only while blocks are taken. */
static void test_tidy(void **state) {
    enum { COUNT = 3 * CHUNK_BLOCKS, KEPT = CHUNK_BLOCKS + 5 };
    struct block_pool *pool = block_pool_create(false);
    char *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = block_take(pool);
        memset(blocks[i], (int)i, BLOCK_BYTES);
    }
    for (unsigned i = KEPT; i < COUNT; i++) {
        block_give(pool, blocks[i]);
    }
    assert_true(block_pool_idle_bytes(pool) >= BLOCKS_SPARE_MIN * BLOCK_BYTES);
    block_pool_tidy(pool); /* some were taken before */
    assert_true(block_pool_idle_bytes(pool) >= BLOCKS_SPARE_MIN * BLOCK_BYTES);
    block_pool_tidy(pool);
    assert_true(block_pool_idle_bytes(pool) == 0);
    assert_true(block_pool_used_bytes(pool) == KEPT * BLOCK_BYTES);
    for (unsigned i = KEPT; i < COUNT; i++) {
        blocks[i] = block_take(pool);
        memset(blocks[i], (int)i, BLOCK_BYTES);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        assert_true(blocks[i][0] == (char)i && blocks[i][BLOCK_BYTES - 1] == (char)i);
        block_give(pool, blocks[i]);
    }
    block_pool_tidy(pool);
    block_pool_tidy(pool);
    assert_true(block_pool_idle_bytes(pool) == 0);
    block_pool_destroy(pool);
}

/* ... wherever they lie, though few chunks are looked at at a time. */
static void test_tidy_far(void **state) {
    enum { CHUNKS = 60, SPARSE = 50 };
    static char *blocks[CHUNKS][CHUNK_BLOCKS];
    struct block_pool *pool = block_pool_create(false);
    for (unsigned i = 0; i < CHUNKS * CHUNK_BLOCKS; i++) {
        blocks[i / CHUNK_BLOCKS][i % CHUNK_BLOCKS] = block_take(pool);
    }
    block_pool_tidy(pool);
    for (unsigned i = 0; i < CHUNKS; i++) {
        block_give(pool, blocks[i][0]);
        assert_true(block_pool_idle_bytes(pool) > 0);
        if (i == SPARSE) {
            block_pool_tidy(pool);
            assert_true(block_pool_idle_bytes(pool) == 0);
        }
    }
    block_pool_tidy(pool);
    assert_true(block_pool_idle_bytes(pool) == 0);
    for (unsigned i = 0; i < CHUNKS * CHUNK_BLOCKS; i++) {
        if (i % CHUNK_BLOCKS) {
            block_give(pool, blocks[i / CHUNK_BLOCKS][i % CHUNK_BLOCKS]);
        }
    }
    block_pool_destroy(pool);
}

/* With huge pages: the reserve is taken and made again while blocks come and go. */
static void test_reserve(void **state) {
    enum { COUNT = 80 * CHUNK_BLOCKS, /* small pools have none */
           ROUNDS = 3, YIELDS_MAX = 10 * 1000 * 1000 };
    static char *blocks[COUNT];
    struct block_pool *pool = block_pool_create(true);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            blocks[i] = block_take(pool);
            blocks[i][0] = blocks[i][BLOCK_BYTES - 1] = (char)i;
        }
        struct block_stats stats;
        block_pool_stats(pool, &stats);
        assert_true(stats.used == COUNT * BLOCK_BYTES && stats.mapped == stats.used);
        for (unsigned n = 0; block_pool_idle_bytes(pool) == 0; n++) { /* the reserve is made again */
            assert_in_range(n, 0, YIELDS_MAX);
            sched_yield();
        }
        for (unsigned i = 0; i < COUNT; i++) {
            assert_true(blocks[i][0] == (char)i && blocks[i][BLOCK_BYTES - 1] == (char)i);
            block_give(pool, blocks[i]);
        }
    }
    block_pool_destroy(pool);
}

/* Threads that take and give blocks at once: none gets another's, none loses what it wrote. */
enum { BLOCK_THREADS = 3, BLOCK_ROUNDS = 60, BLOCKS_HELD = 3 * CHUNK_BLOCKS };

struct taker {
    struct block_pool *pool;
    unsigned index;
    bool ok;
};

/* What the thread that serves no client does. */
struct tidier {
    struct block_pool *pool;
    atomic_bool stops;
};

static void *tidy_all_the_time(void *arg) {
    struct tidier *tidier = arg;
    mem_thread_register();
    while (!atomic_load(&tidier->stops)) {
        block_pool_tidy(tidier->pool);
        sched_yield();
    }
    mem_thread_unregister();
    return NULL;
}

static void *take_and_give(void *arg) {
    struct taker *t = arg;
    struct rng rng = {t->index + 1};
    char *blocks[BLOCKS_HELD];
    unsigned held = 0;
    t->ok = true;
    mem_thread_register();
    for (unsigned round = 0; round < BLOCK_ROUNDS; round++) {
        for (unsigned goal = (unsigned)rng_below(&rng, BLOCKS_HELD); held < goal; held++) {
            blocks[held] = block_take(t->pool);
            memset(blocks[held], (int)(t->index + held), BLOCK_BYTES);
        }
        for (unsigned goal = (unsigned)rng_below(&rng, held + 1); held > goal; held--) {
            const char *b = blocks[held - 1];
            char wanted = (char)(t->index + held - 1);
            t->ok = t->ok && b[0] == wanted && b[BLOCK_BYTES - 1] == wanted;
            block_give(t->pool, blocks[held - 1]);
        }
    }
    while (held) {
        block_give(t->pool, blocks[--held]);
    }
    mem_thread_unregister();
    return NULL;
}

static void test_block_threads(void **state) {
    for (unsigned huge = 0; huge < 2; huge++) {
        struct block_pool *pool = block_pool_create(huge);
        struct taker takers[BLOCK_THREADS];
        struct tidier tidier = {.pool = pool};
        pthread_t threads[BLOCK_THREADS], tidies;
        assert_int_equal(pthread_create(&tidies, NULL, tidy_all_the_time, &tidier), 0);
        for (unsigned i = 0; i < BLOCK_THREADS; i++) {
            takers[i] = (struct taker){.pool = pool, .index = i * 50};
            assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &takers[i]), 0);
        }
        for (unsigned i = 0; i < BLOCK_THREADS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_true(takers[i].ok);
        }
        atomic_store(&tidier.stops, true);
        assert_int_equal(pthread_join(tidies, NULL), 0);
        struct block_stats stats;
        block_pool_stats(pool, &stats);
        assert_true(stats.used == 0 && stats.mapped <= CHUNK_BLOCKS * BLOCK_BYTES);
        block_pool_destroy(pool);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),       cmocka_unit_test(test_same_size_reuse),
        cmocka_unit_test(test_shape_change), cmocka_unit_test(test_refused_move),
        cmocka_unit_test(test_counted),      cmocka_unit_test(test_rests),
        cmocka_unit_test(test_ends),         cmocka_unit_test(test_slide),
        cmocka_unit_test(test_blocks),       cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_block_threads), cmocka_unit_test(test_tidy),
        cmocka_unit_test(test_trim),         cmocka_unit_test(test_filling_is_compacted),
        cmocka_unit_test(test_trim_again),   cmocka_unit_test(test_tidy_far),
        cmocka_unit_test(test_slide_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
