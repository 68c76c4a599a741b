/* The memory budget of a keyspace: when it is full, what goes first, and what holes in the heaps
 * are worth; see keyspace.h. Any thread; takes one partition's lock at a time.
 *
 *     used        allocations and live objects of the heaps         \
 *     holes       room in the heaps' blocks that no object takes     > resident memory
 *     overhead    free blocks; program, allocator's slack: measured /
 *
 * 1. Full is: used above maxmemory, or all three above it by EVICT_PERMILLE. Both evict, but no
 *    command is refused for the latter while something can be evicted. When nothing can, commands
 *    are refused for both: nothing else holds resident memory then. It is measured once more before
 *    that.
 * 2. From COMPACT_PERMILLE on the heaps are compacted with each batch. What is evicted becomes
 *    holes first: those that compaction is going to close do not count for eviction, so it takes
 *    no more than what is above.
 * 3. Eviction is bounded by what a batch may add: EVICT_MIN entries, EVICT_A_COMMAND a command and
 *    one for each EVICT_GROWN_BYTES that were added since the last time; when used memory is
 *    1/SLACK_DIVISOR above maxmemory it goes on up to EVICT_MAX.
 * 4. What is evicted from the allocator's slabs leaves slack there, and resident memory as it was:
 *    evicting all that is above at each measurement would go on until little is left. So what
 *    counts is whether it grows (set_resident).
 * 5. Large values leave dirty pages in the allocator, more between two measurements than the limit
 *    allows: a shard measures itself each time it allocated 1/ALLOCATED_SHARE of maxmemory, and
 *    while something large is expected, and has them given back while they are few: PURGE_BYTES_MAX
 *    at most, REFUSED_PURGE_MAX before a command is refused for them. More is the main thread's.
 * 6. What an eviction has put in the drain is freed before the next one: it counts until then.
 * 7. A value that replies are sent from is an orphan when it goes (blob.h): memory that stays until
 *    they are sent, or their clients are closed for what they hold. Each time room is made what
 *    has become of that counts as gone, or all keys would go at once and nothing come of it.
 * 8. What the caller has locked is what it works on: none of it goes between the commands of an
 *    EXEC, as long as other partitions have anything. */
#include <stdatomic.h>

#include "base/mem.h"
#include "engine/partition_internal.h"

enum {
    COMPACT_PERMILLE = 8,  /* resident memory above maxmemory: holes are closed */
    EVICT_PERMILLE = 14,   /* ... something goes, and the allocator's dirty pages */
    ROOM_PERMILLE = 22,    /* up to there what is expected may come */
    HARD_PERMILLE = 32,    /* something goes whether it grows or not */
    RISE_FACTOR = 2,       /* there, 1 + this times as much goes as it rose by */
    FALL_SHARE = 64,       /* of a fall, that is forgotten with each measurement */
    OVER_SHARE = 128,      /* of what is above, that goes with each measurement */
    EVICT_SHARE = 64,      /* of maxmemory, at most with each measurement */
    SINKS_SHARE = 256,     /* of maxmemory, fallen by: it comes down by itself, for ... */
    SINKS_MEASURES = 16,   /* measurements from then on */
    LOW_SHARE = 1024,      /* of what is above the least, that it rises by each time */
    CREEP_SHARE = 2048,    /* of maxmemory, that is let come while it does not grow */
    CREEP_PART = 4,        /* of the way to the hard limit, and no further */
    ALLOCATED_SHARE = 128, /* of maxmemory, by a shard's thread, between two measurements */
    HOLES_DIVISOR = 32,    /* of used memory: as many are left for the next objects */
    MEASURES_A_PURGE = 2,  /* the allocator is not asked to give back each time */
    PURGE_BYTES_MAX = 64 * 1024 * 1024,    /* of overhead: more would take a shard too long, ... */
    REFUSED_PURGE_MAX = 256 * 1024 * 1024, /* ... even to let what would be refused through */
    HEAPS_A_PARTITION = 3,
    NEAR_DIVISOR = 2,
    SHORT_DIVISOR = 8,
    SMALL_BYTES = 16 * 1024 * 1024,
    EVICT_MIN = 64,
    EVICT_A_COMMAND = 4,
    EVICT_GROWN_BYTES = 64, /* the least that an entry frees, about */
    EVICT_MAX = 16 * 1024,
    EXPECTED_SHARE = 4,  /* of maxmemory, that several may expect together */
    ADMITTED_SHARE = 64, /* of maxmemory: who wants more than several may is not held up for less */
    EXPECTED_TURNS = 16, /* a part of what is expected counts as added each time */
    EVICT_STEP = 256,
    LOOK_EVERY = 4, /* entries freed between two looks at the counters of all threads, or ... */
    LOOK_BYTES = 64 * 1024,
    EVICT_TURNS_MAX = 8, /* looks for one eviction; in the last one uses do not count */
    EVICT_STAYS_MAX = 4, /* a turn */
    FEW_SEEN_MIN = 40,   /* candidates, of several partitions where each has few entries */
    FEW_LOOKS_MAX = 16,
    SLACK_DIVISOR = 64,
    DRAIN_STEP_COST = 16,    /* evictions that a step of the drain counts for */
    COMPACT_PERCENT_MIN = 2, /* of holes */
    COMPACT_MOVES = 32,      /* a batch, and ... */
    COMPACT_A_COMMAND = 8,
    COMPACT_HASTE_PERMILLE = 3, /* twice as many for each above, up to 2^HASTE_MAX */
    COMPACT_HASTE_MAX = 4,
    COMPACT_GROWN_BYTES = 8 * 1024, /* in most haste: a block more for each of these, up to ... */
    COMPACT_STEPS_MAX = 32,
    COMPACT_TRIES = 4, /* partitions looked at */
    COMING_SHARE = 64, /* of what rows on their way took lately, forgotten with each measurement */
};

static uint64_t load(const _Atomic uint64_t *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}

static uint64_t above(uint64_t bytes, uint64_t limit) {
    return bytes > limit ? bytes - limit : 0;
}

struct memory { /* bytes; the picture is above */
    uint64_t used, holes, overhead;
    uint64_t idle;  /* free blocks; part of the overhead */
    uint64_t ahead; /* about to be used */
    uint64_t spare; /* what rows on their way took lately and do not take now */
};

static bool evicts(const struct keyspace *ks) {
    return policy_of(atomic_load_explicit(&ks->policy, memory_order_relaxed))->evicts;
}

static struct memory memory_of(const struct keyspace *ks) {
    int64_t counted;
    uint64_t used = above((uint64_t)mem_used_and_counted(&counted), load(&ks->leaving_bytes));
    uint64_t blocks = block_pool_used_bytes(ks->blocks), idle = block_pool_idle_bytes(ks->blocks);
    return (struct memory){.used = used,
                           .holes = blocks > (uint64_t)counted ? blocks - (uint64_t)counted : 0,
                           .overhead = load(&ks->overhead_bytes) + idle,
                           .idle = idle,
                           .ahead = load(&ks->expected_bytes),
                           .spare = evicts(ks) ? above(load(&ks->coming_most),
                                                       load(&ks->coming_bytes))
                                               : 0};
}

static uint64_t resident_of(const struct memory *m) {
    return m->used + m->holes + m->overhead + m->spare;
}

static uint64_t with_permille(uint64_t max, uint64_t permille) {
    return max + max / 1000 * permille;
}

/* The blocks that the partitions' heaps are filling. */
static uint64_t filling_bytes(const struct keyspace *ks) {
    return (uint64_t)ks->partitions_count * HEAPS_A_PARTITION * BLOCK_BYTES;
}

/* The blocks being filled are not memory well used, nor is the program's own; neither can be
 * evicted, so with a small maxmemory only what is used counts. */
static bool is_small(const struct keyspace *ks, uint64_t max) {
    return max < SMALL_BYTES || max / 2 < filling_bytes(ks);
}

/* Whatever else is resident, half of maxmemory is for what is used or about to be; of what there is
 * beside what is used without any key, as no key that goes makes that less. */
static bool counts_resident(const struct keyspace *ks, uint64_t max, const struct memory *m) {
    uint64_t base = MIN(load(&ks->base_bytes), max);
    return !is_small(ks, max) && m->used + m->ahead + m->spare >= base + (max - base) / 2;
}

/* Holes that compaction is going to close: evicting for them would only make more. */
static uint64_t closing_bytes(const struct keyspace *ks, const struct memory *m) {
    if (atomic_load_explicit(&ks->compact_stuck, memory_order_relaxed)) {
        return 0;
    }
    return above(m->holes, m->used / HOLES_DIVISOR + filling_bytes(ks) / 2);
}

/* Bytes above the budget, with what is expected and kept spare for rows or without; 0 = within. */
static uint64_t excess_of(const struct keyspace *ks, bool expected, bool spare) {
    uint64_t max = load(&ks->maxmemory_bytes);
    if (max == 0) {
        return 0;
    }
    struct memory m = memory_of(ks);
    m.ahead = expected ? m.ahead : 0;
    m.spare = spare ? m.spare : 0;
    uint64_t by_used = above(m.used + m.ahead + m.spare, max);
    if (!counts_resident(ks, max, &m)) {
        return by_used;
    }
    uint64_t resident = resident_of(&m) + m.ahead - closing_bytes(ks, &m);
    return MAX(by_used, above(resident, load(&ks->goal_bytes)));
}

static uint64_t excess(const struct keyspace *ks) {
    return excess_of(ks, true, true);
}

/* Bytes above what compaction begins at; 0 = it need not. */
static uint64_t loose_bytes(const struct keyspace *ks) {
    uint64_t max = load(&ks->maxmemory_bytes);
    if (max == 0) {
        return 0;
    }
    struct memory m = memory_of(ks);
    return is_small(ks, max)
               ? above(m.used + m.holes + m.ahead, max)
               : above(resident_of(&m) + m.ahead, with_permille(max, COMPACT_PERMILLE));
}

bool keyspace_is_short(const struct keyspace *ks) {
    uint64_t max = load(&ks->maxmemory_bytes);
    struct memory m = memory_of(ks);
    return max && resident_of(&m) > max - max / SHORT_DIVISOR;
}

bool keyspace_is_full(const struct keyspace *ks) {
    uint64_t max = load(&ks->maxmemory_bytes);
    struct memory m = memory_of(ks);
    bool resident = counts_resident(ks, max, &m);
    return max && (m.used + m.ahead > max ||
                   (resident && resident_of(&m) + m.ahead > load(&ks->goal_bytes)));
}

/* So much more can come without anything going for it, and leaves room for others. */
static bool is_free(const struct keyspace *ks, uint64_t max, uint64_t bytes) {
    struct memory m = memory_of(ks);
    uint64_t more = m.ahead + bytes, free_max = max - max / EXPECTED_SHARE;
    return m.used + m.spare + more <= free_max &&
           (!counts_resident(ks, max, &m) || resident_of(&m) + more <= free_max);
}

bool keyspace_expect(struct keyspace *ks, uint64_t bytes, bool alone) {
    uint64_t max = load(&ks->maxmemory_bytes), admitted = load(&ks->admitted_bytes);
    bool waits_for_others = max && (alone || !is_free(ks, max, bytes));
    do {
        if (waits_for_others && admitted > max / ADMITTED_SHARE &&
            (alone || admitted + bytes > max / EXPECTED_SHARE)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&ks->admitted_bytes, &admitted,
                                                    admitted + bytes, memory_order_relaxed,
                                                    memory_order_relaxed));
    atomic_fetch_add_explicit(&ks->expected_bytes, bytes, memory_order_relaxed);
    return true;
}

void keyspace_expect_now(struct keyspace *ks, uint64_t bytes) {
    keyspace_stays(ks, bytes);
    atomic_fetch_add_explicit(&ks->expected_bytes, bytes, memory_order_relaxed);
}

void keyspace_stays(struct keyspace *ks, uint64_t bytes) {
    atomic_fetch_add_explicit(&ks->admitted_bytes, bytes, memory_order_relaxed);
}

uint64_t keyspace_expected(const struct keyspace *ks) {
    return load(&ks->expected_bytes);
}

static void take_off(_Atomic uint64_t *sum, uint64_t bytes) {
    uint64_t before = atomic_fetch_sub_explicit(sum, bytes, memory_order_relaxed);
    ASSERT(before >= bytes);
}

void keyspace_comes(struct keyspace *ks, uint64_t bytes) {
    take_off(&ks->expected_bytes, bytes);
}

void keyspace_came(struct keyspace *ks, uint64_t bytes) {
    take_off(&ks->admitted_bytes, bytes);
}

void keyspace_expect_no_more(struct keyspace *ks, uint64_t bytes) {
    keyspace_comes(ks, bytes);
    keyspace_came(ks, bytes);
}

bool keyspace_can_hold(const struct keyspace *ks, uint64_t bytes) {
    uint64_t max = load(&ks->maxmemory_bytes);
    return max == 0 || bytes <= max / 4 * 3;
}

void keyspace_rows_come(struct keyspace *ks, int64_t bytes) {
    uint64_t now = atomic_fetch_add_explicit(&ks->coming_bytes, (uint64_t)bytes,
                                             memory_order_relaxed) +
                   (uint64_t)bytes;
    uint64_t most = load(&ks->coming_most);
    while (bytes > 0 && now > most &&
           !atomic_compare_exchange_weak_explicit(&ks->coming_most, &most, now,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* By the thread that measures. */
static void forget_coming(struct keyspace *ks) {
    uint64_t most = load(&ks->coming_most), now = load(&ks->coming_bytes);
    uint64_t less = most - (above(most, now) + COMING_SHARE - 1) / COMING_SHARE;
    (void)atomic_compare_exchange_strong_explicit(&ks->coming_most, &most, less,
                                                  memory_order_relaxed, memory_order_relaxed);
}

/* For all that is expected; what is kept spare for rows holds up nobody. */
static bool has_room(const struct keyspace *ks) {
    uint64_t max = load(&ks->maxmemory_bytes);
    struct memory m = memory_of(ks);
    m.spare = 0;
    return max == 0 || (m.used + m.ahead <= max &&
                        (!counts_resident(ks, max, &m) ||
                         resident_of(&m) + m.ahead <= with_permille(max, ROOM_PERMILLE)));
}

static uint64_t used_above(const struct keyspace *ks, uint64_t max) {
    return above((uint64_t)mem_used_bytes(), max + load(&ks->leaving_bytes));
}

/* The same with what is expected: keys go for it, but nobody is refused anything. */
static uint64_t wanted_above(const struct keyspace *ks, uint64_t max) {
    return above((uint64_t)mem_used_bytes() + load(&ks->expected_bytes),
                 max + load(&ks->leaving_bytes));
}

void keyspace_note_base(struct keyspace *ks) {
    atomic_store_explicit(&ks->base_bytes, (uint64_t)mem_used_bytes(), memory_order_relaxed);
}

void budget_changed(struct keyspace *ks) {
    uint64_t max = load(&ks->maxmemory_bytes);
    atomic_store_explicit(&ks->goal_bytes, with_permille(max, EVICT_PERMILLE),
                          memory_order_relaxed);
    atomic_store_explicit(&ks->allowed_bytes, max ? used_above(ks, max) : 0, memory_order_relaxed);
    atomic_store_explicit(&ks->low_bytes, UINT64_MAX, memory_order_relaxed);
}

static uint64_t resident_now(const struct keyspace *ks) {
    return above(mem_resident_bytes(), load(&ks->leaving_bytes));
}

/* It is less than it lately ever was, or became so a few measurements ago. A peak that is over says
 * nothing: what goes up and down comes down each time. */
static bool is_sinking(struct keyspace *ks, uint64_t max, uint64_t resident) {
    uint64_t low = load(&ks->low_bytes);
    uint32_t measures = atomic_load_explicit(&ks->sinks_measures, memory_order_relaxed);
    low = low == UINT64_MAX ? resident : low; /* the first since maxmemory is what it is */
    if (resident + max / SINKS_SHARE < low) {
        low = resident;
        measures = SINKS_MEASURES;
    } else {
        low += above(resident, low) / LOW_SHARE;
        measures -= measures > 0;
    }
    atomic_store_explicit(&ks->low_bytes, low, memory_order_relaxed);
    atomic_store_explicit(&ks->sinks_measures, measures, memory_order_relaxed);
    return measures > 0;
}

/* The kernel says that `resident` bytes are. Above the limit they are held where they are: what is
 * added has others go, and so does, more than once, what they rose by in spite of that. While they
 * do not rise, a little more may be used: there is slack to be filled. Threads may overtake each
 * other here: what one of them stores is a few milliseconds old at most. */
static void set_resident(struct keyspace *ks, uint64_t max, uint64_t resident) {
    if (resident == 0) { /* not known, for want of a descriptor: what was measured last stays */
        return;
    }
    struct memory m = memory_of(ks);
    uint64_t overhead = above(resident, m.used + m.holes + m.idle);
    atomic_store_explicit(&ks->overhead_bytes, overhead, memory_order_relaxed);
    m.overhead = overhead + m.idle;
    uint64_t before = load(&ks->resident_bytes), rise = above(resident, before);
    atomic_store_explicit(&ks->resident_bytes,
                          MAX(resident, before) - above(before, resident) / FALL_SHARE,
                          memory_order_relaxed);
    if (max == 0) {
        return;
    }
    bool sinking = is_sinking(ks, max, resident);
    uint64_t limit = with_permille(max, EVICT_PERMILLE);
    uint64_t hard = max / 1000 * (HARD_PERMILLE - EVICT_PERMILLE) + 1;
    uint64_t over = above(resident_of(&m) - closing_bytes(ks, &m), limit);
    uint64_t again = (uint64_t)((double)rise * RISE_FACTOR * (double)over / (double)hard);
    uint64_t evict = MIN(rise + again + over / OVER_SHARE + above(over, hard), max / EVICT_SHARE);
    if (!evicts(ks)) {
        over = 0; /* commands are refused from the limit on */
    } else if (sinking && rise == 0) {
        evict = 0; /* holes and slack are being closed: no more need go for now */
    }
    uint64_t creep = rise == 0 && over > 0 && over < hard / CREEP_PART ? max / CREEP_SHARE : 0;
    atomic_store_explicit(&ks->goal_bytes, limit + above(over, evict) + creep,
                          memory_order_relaxed);
}

bool keyspace_measure(struct keyspace *ks) {
    forget_coming(ks);
    if (!mem_resident_is_telling()) {
        return false;
    }
    mem_decay();
    uint64_t max = load(&ks->maxmemory_bytes), resident = resident_now(ks);
    struct memory m = memory_of(ks);
    if (max && resident > MAX(m.used + m.holes + m.idle, max) + max / 100 &&
        ++ks->measures % MEASURES_A_PURGE == 0) {
        if (!mem_purge()) {
            return true;
        }
        resident = resident_now(ks);
    }
    set_resident(ks, max, resident);
    return max && resident > max - max / NEAR_DIVISOR;
}

/* Not while it holds locks: giving pages back may take milliseconds. False: another thread gives
 * them back, and has not ended. */
static bool measure_by_shard(struct keyspace *ks, uint64_t max, uint64_t ahead,
                             uint64_t purge_max) {
    struct memory m = memory_of(ks);
    if (!counts_resident(ks, max, &m)) {
        return true;
    }
    uint64_t resident = resident_now(ks);
    if (resident + ahead > with_permille(max, EVICT_PERMILLE) &&
        above(resident, m.used + m.holes + m.idle) < purge_max) {
        if (!mem_purge()) {
            return false;
        }
        resident = resident_now(ks);
    }
    set_resident(ks, max, resident);
    return true;
}

/* By a shard's thread, see 5. */
static void measure_when_due(struct keyspace *ks, struct evictor *v, uint64_t max) {
    uint64_t allocated = mem_thread_allocated_bytes(), ahead = load(&ks->expected_bytes);
    if (v->held || (allocated < v->measure_at_bytes && !ahead) || !mem_resident_is_telling()) {
        return;
    }
    v->measure_at_bytes = allocated + max / ALLOCATED_SHARE;
    (void)measure_by_shard(ks, max, ahead, PURGE_BYTES_MAX);
}

/* Before something is refused for resident memory: it was measured some time ago, and may be what
 * is unused since and only has to be given back. Once a millisecond at most, but nothing is refused
 * while another thread gives it back. */
static bool is_within_after_all(struct keyspace *ks, struct evictor *v, uint64_t max,
                                int64_t now_ms) {
    if (v->held || v->looked_ms == now_ms || !mem_resident_is_telling()) {
        return false;
    }
    if (!measure_by_shard(ks, max, 0, REFUSED_PURGE_MAX)) {
        return true;
    }
    v->looked_ms = now_ms;
    return excess_of(ks, false, false) == 0;
}

void keyspace_memory_stats(struct keyspace *ks, struct mem_stats *out) {
    struct block_stats blocks;
    int64_t counted;
    mem_used_and_counted(&counted);
    block_pool_stats(ks->blocks, &blocks);
    mem_stats_read(out);
    out->allocated += (size_t)counted;
    out->active += blocks.used;
    out->resident += blocks.used + blocks.spare;
}

/* --- eviction --- */

enum freed { FREED_NOTHING, FREED_DRAINED, FREED_ENTRY };

/* The candidate whose turn it is: of the new entries while they, with the one that is to come, are
 * more than their share. */
static bool take_candidate(const struct keyspace *ks, struct evictor *v,
                           struct evict_candidate *out) {
    uint64_t marked = atomic_load_explicit(&ks->marked, memory_order_relaxed);
    uint64_t entries = atomic_load_explicit(&ks->entries, memory_order_relaxed);
    bool many_new = (marked + 1) * NEW_SHARE_UNIT > entries * new_share_of(&ks->new_share);
    struct evict_pool *first = many_new ? &v->new_entries : &v->proved;
    struct evict_pool *second = many_new ? &v->proved : &v->new_entries;
    return evict_pool_take(first, out) || evict_pool_take(second, out);
}

/* Who has partitions locked may not wait for others: these are left out when they are taken. */
static bool enter(const struct evictor *v, struct partition *p) {
    if (!v->held) {
        lock_take(&p->lock);
        return true;
    }
    return lockset_has(v->held, p) || lock_try(&p->lock);
}

static bool is_spared(const struct evictor *v, const struct partition *p) {
    return UNLIKELY(v->spares) && lockset_has(v->held, p);
}

static void leave(const struct evictor *v, struct partition *p) {
    if (!v->held || !lockset_has(v->held, p)) {
        lock_release(&p->lock);
    }
}

/* Evicts the best candidate that is still there and does not stay. `p` is entered, and left here.
 */
static bool evict_best(struct keyspace *ks, struct partition *p, struct evictor *v, bool force,
                       int64_t now_ms) {
    struct evict_candidate candidate;
    enum evicted evicted = EVICT_NOT_THERE;
    for (uint32_t stays = 0; evicted != EVICT_DONE && stays < EVICT_STAYS_MAX;) {
        if (!take_candidate(ks, v, &candidate)) {
            break;
        }
        struct partition *where = ks->partitions[candidate.partition];
        if (is_spared(v, where)) {
            stays++;
            continue;
        }
        if (where != p) {
            leave(v, p);
            p = where;
            if (!enter(v, p)) {
                return false;
            }
        }
        evicted = part_evict(p, v->policy, &candidate, force, now_ms);
        stays += evicted == EVICT_STAYS;
    }
    v->drains = evicted == EVICT_DONE && p->drain_count > 0;
    v->drain_partition = p->index;
    leave(v, p);
    return evicted == EVICT_DONE;
}

/* A step of the drain that the last eviction filled. */
static bool drain_victim(struct keyspace *ks, struct evictor *v) {
    if (!v->drains) {
        return false;
    }
    struct partition *p = ks->partitions[v->drain_partition];
    if (!enter(v, p)) {
        return false;
    }
    v->drains = part_drain_step(p);
    leave(v, p);
    return v->drains;
}

/* Frees something: what is in the drain of the next partition, as it is dead already, or the best
 * candidate of all of them, after a look at some of the next one's. Whoever owns it: all keys are
 * evicted alike, however unevenly the shards are busy. */
static enum freed free_something(struct keyspace *ks, uint32_t shard, int64_t now_ms) {
    ASSERT(shard < ks->shards);
    struct evictor *v = &ks->evictors[shard];
    enum evict_policy policy = atomic_load_explicit(&ks->policy, memory_order_relaxed);
    evictor_use(v, policy);
    if (drain_victim(ks, v)) {
        return FREED_DRAINED;
    }
    v->seen = 0;
    for (uint32_t turn = 0, looks = 0; turn < EVICT_TURNS_MAX; looks++) {
        struct partition *p = ks->partitions[v->rotor++ % ks->partitions_count];
        enum freed freed = FREED_NOTHING;
        if (!enter(v, p)) {
            turn++;
            continue;
        }
        bool spared = is_spared(v, p);
        if (part_drain_step(p)) {
            freed = FREED_DRAINED;
        } else if (!spared && policy_of(policy)->evicts && part_sample(p, v, now_ms)) {
            freed = FREED_ENTRY;
        }
        if (freed != FREED_NOTHING || !evictor_has_any(v)) {
            leave(v, p);
            return freed;
        }
        if (part_has_few(p) && !policy_of(policy)->at_random && v->seen < FEW_SEEN_MIN &&
            looks < FEW_LOOKS_MAX) {
            leave(v, p);
            continue;
        }
        if (evict_best(ks, p, v, turn == EVICT_TURNS_MAX - 1, now_ms)) {
            return FREED_ENTRY;
        }
        turn++;
    }
    return FREED_NOTHING;
}

/* What was made orphans while room is made, by whomever. */
static uint64_t orphaned(const struct evictor *v) {
    return above(blob_orphans_bytes(), v->orphans_bytes);
}

/* Frees up to `limit` entries while memory is above its limit; returns how many. It is barren when
 * it ended because no partition has anything, not even one that has been looked at in vain: there
 * may be more of them than `limit`. */
static uint32_t shrink(struct keyspace *ks, uint32_t shard, int64_t now_ms, uint32_t limit) {
    static const uint32_t costs[] = {0, [FREED_DRAINED] = DRAIN_STEP_COST, [FREED_ENTRY] = 1};
    struct evictor *v = &ks->evictors[shard];
    uint32_t fruitless = 0, freed_count = 0, cost = 0, rounds = limit + 2 * ks->partitions_count;
    int64_t since = 0;
    for (uint32_t i = 0; i < rounds && cost < limit && fruitless < ks->partitions_count; i++) {
        if (i % LOOK_EVERY == 0 || since - mem_thread_bytes() > LOOK_BYTES) {
            if (excess(ks) <= orphaned(v)) {
                break;
            }
            since = mem_thread_bytes();
        }
        enum freed freed = free_something(ks, shard, now_ms);
        cost += costs[freed];
        fruitless = freed == FREED_NOTHING ? fruitless + 1 : 0;
        freed_count += freed != FREED_NOTHING;
        if (fruitless == ks->partitions_count && v->spares) {
            v->spares = false;
            fruitless = 0;
        }
    }
    v->barren = fruitless == ks->partitions_count;
    return freed_count;
}

/* --- before a batch --- */

/* Closes holes while they, and not objects, take memory above its limit, the faster the further and
 * the more was added, `grown` bytes. True when something moved. */
static bool compact(struct keyspace *ks, uint32_t shard, uint32_t commands, uint64_t grown) {
    uint64_t loose = loose_bytes(ks), max = load(&ks->maxmemory_bytes);
    if (loose == 0) {
        return false;
    }
    uint64_t haste = MIN(loose * 1000 / max / COMPACT_HASTE_PERMILLE, (uint64_t)COMPACT_HASTE_MAX);
    uint32_t limit = (COMPACT_MOVES + COMPACT_A_COMMAND * commands) << haste;
    struct evictor *v = &ks->evictors[shard];
    uint64_t more = haste < COMPACT_HASTE_MAX ? 0 : grown / COMPACT_GROWN_BYTES;
    uint64_t steps = 1 + MIN(more, (uint64_t)COMPACT_STEPS_MAX);
    const struct compact_from from = {.percent = COMPACT_PERCENT_MIN, .pressed = true};
    for (unsigned tries = 0; tries < COMPACT_TRIES && steps > 0;) {
        struct partition *p = ks->partitions[v->compact_rotor++ % ks->partitions_count];
        if (!enter(v, p)) {
            tries++;
            continue;
        }
        uint32_t moved = part_compact(p, from, limit);
        leave(v, p);
        v->compact_barren = moved ? 0 : v->compact_barren + 1;
        if (moved) {
            steps--;
        } else {
            tries++;
        }
    }
    bool stuck = v->compact_barren >= ks->partitions_count;
    if (stuck != atomic_load_explicit(&ks->compact_stuck, memory_order_relaxed)) {
        atomic_store_explicit(&ks->compact_stuck, stuck, memory_order_relaxed);
    }
    return v->compact_barren == 0;
}

/* What the shard's thread added to used memory since it last made room for this maxmemory. */
static uint64_t take_grown(struct evictor *v, uint64_t max) {
    int64_t before = v->room_bytes, now = mem_thread_bytes();
    bool same = v->room_max == max;
    v->room_bytes = now;
    v->room_max = max;
    return same && now > before ? (uint64_t)(now - before) : 0;
}

static uint32_t evict_limit(uint32_t commands, uint64_t grown) {
    uint64_t limit = EVICT_MIN + (uint64_t)EVICT_A_COMMAND * commands + grown / EVICT_GROWN_BYTES;
    return (uint32_t)MIN(limit, (uint64_t)EVICT_MAX);
}

static bool make_room(struct keyspace *ks, uint32_t shard, int64_t now_ms, uint32_t commands) {
    uint64_t max = load(&ks->maxmemory_bytes);
    if (max == 0) {
        return true;
    }
    struct evictor *v = &ks->evictors[shard];
    v->freed = v->barren = false;
    v->orphans_bytes = blob_orphans_bytes();
    uint64_t grown = take_grown(v, max) + load(&ks->expected_bytes) / EXPECTED_TURNS;
    measure_when_due(ks, v, max);
    v->freed = compact(ks, shard, commands, grown);
    if (excess(ks) == 0) {
        return true;
    }
    uint64_t allowed = load(&ks->allowed_bytes), slack = max / SLACK_DIVISOR;
    uint32_t freed = shrink(ks, shard, now_ms, evict_limit(commands, grown));
    uint32_t step = freed;
    while (step && freed < EVICT_MAX && wanted_above(ks, max) >= allowed + slack + orphaned(v)) {
        step = shrink(ks, shard, now_ms, EVICT_STEP);
        freed += step;
    }
    take_grown(v, max);
    v->freed |= freed > 0;
    if (load(&ks->expected_bytes)) { /* what went is to be given back before it comes */
        measure_when_due(ks, v, max);
    }
    uint64_t left = used_above(ks, max);
    atomic_store_explicit(&ks->allowed_bytes, MIN(allowed, left), memory_order_relaxed);
    if (freed == 0 && !v->barren) {
        return true; /* others have made it meanwhile; what has come since is the next one's */
    }
    if (left == 0) {
        return freed > 0 || excess_of(ks, false, false) == 0 ||
               is_within_after_all(ks, v, max, now_ms);
    }
    return evicts(ks) && left < allowed + (freed ? slack : 0);
}

bool keyspace_make_room(struct keyspace *ks, const struct lockset *held, uint32_t shard,
                        int64_t now_ms, uint32_t commands) {
    struct evictor *v = &ks->evictors[shard];
    v->held = held;
    v->spares = held && !lockset_is_empty(held);
    bool made = make_room(ks, shard, now_ms, commands);
    v->held = NULL;
    v->spares = false;
    return made;
}

bool keyspace_is_freeing(const struct keyspace *ks, uint32_t shard) {
    return ks->evictors[shard].freed;
}

enum keyspace_room keyspace_room_turn(struct keyspace *ks, const struct lockset *held,
                                      uint32_t shard, int64_t now_ms) {
    keyspace_make_room(ks, held, shard, now_ms, 1);
    const struct evictor *v = &ks->evictors[shard];
    bool is_above = excess_of(ks, true, false) > 0; /* maybe only since: others grow */
    if (is_above && v->barren && !v->freed) {
        return KEYSPACE_ROOM_NONE;
    }
    bool stuck = atomic_load_explicit(&ks->compact_stuck, memory_order_relaxed);
    return has_room(ks) || (!is_above && !v->freed && stuck) ? KEYSPACE_ROOM_MADE
                                                             : KEYSPACE_ROOM_COMING;
}

bool keyspace_shrink(struct keyspace *ks, uint32_t shard, int64_t now_ms, uint32_t limit) {
    bool moved = compact(ks, shard, limit, 0);
    ks->evictors[shard].orphans_bytes = blob_orphans_bytes();
    return shrink(ks, shard, now_ms, limit) > 0 || moved;
}

uint32_t keyspace_evict(struct keyspace *ks, uint32_t shard, int64_t now_ms, uint32_t limit) {
    uint32_t fruitless = 0, evicted = 0, drained = 0;
    while (evicted < limit && drained <= limit && fruitless < ks->partitions_count) {
        enum freed freed = free_something(ks, shard, now_ms);
        evicted += freed == FREED_ENTRY;
        drained += freed == FREED_DRAINED;
        fruitless = freed == FREED_NOTHING ? fruitless + 1 : 0;
    }
    return evicted;
}
