/* Eviction: a hand goes round the partition's tables, offers what it passes to the shard's pool
 * (evict_pool.h), and takes out the candidate whose turn has come. It also makes stamps that would
 * wrap as old as they may get (policy_clock.h). Under the partition's lock.
 *
 * 1. The hand reads slots, not entries; an entry is read to see if it expired (`samples` of those
 *    with a TTL, prefetched), by the ttl policy, and when it goes.
 * 2. `samples` is the number of buckets, cache lines, looked at for an eviction; of the ttl policy,
 *    whose candidates' entries must be read, the number of candidates. */
#include "base/mem.h"
#include "engine/partition_internal.h"

enum {
    SIZE_SAMPLES = 5,      /* members of a collection that are measured */
    CLAMP_BUCKETS_MAX = 64 /* a step */
};

struct sampling {
    struct partition *p;
    struct evictor *to; /* NULL: stamps are kept from wrapping, nothing else */
    const struct policy *policy;
    uint64_t tick;
    uint32_t wanted, seen;
    uint32_t volatile_count;
    struct table_ref volatile_refs[EVICT_SAMPLES_MAX];
};

/* --- the hand --- */

static uint64_t candidates(const struct table *t, const struct policy *policy) {
    return !t ? 0 : policy->volatile_only ? table_count_volatile(t) : table_count(t);
}

/* The line under the hand, which moves on; NULL when no database has any candidate. */
static uint64_t *next_line(struct partition *p, const struct policy *policy,
                           struct evict_candidate *place) {
    for (unsigned i = 0; i <= DATABASES_MAX; i++) {
        struct table *t = p->db[p->hand_db];
        if (candidates(t, policy) > 0) {
            uint64_t *slots = table_line(t, &p->hand);
            place->db = (uint8_t)p->hand_db;
            place->at = p->hand;
            if (!table_hand_move(t, &p->hand)) {
                p->hand_db = (p->hand_db + 1) % DATABASES_MAX;
            }
            if (slots) {
                return slots;
            }
        } else {
            p->hand = (struct table_hand){0};
            p->hand_db = (p->hand_db + 1) % DATABASES_MAX;
        }
    }
    return NULL;
}

static uint64_t rank_of(const struct sampling *s, struct table_ref ref) {
    return s->policy->at_random ? rng_next(&s->p->rng)
           : s->policy->by_ttl  ? (uint64_t)entry_expire_ms(table_entry(ref))
           : s->policy->is_lfu  ? policy_lfu_rank(table_policy(ref), s->tick)
                                : policy_lru_rank(table_policy(ref), s->tick);
}

static void keep_stamp(const struct sampling *s, unsigned db, struct table_ref ref) {
    uint16_t bits = table_policy(ref), kept = bits;
    if (s->policy->is_lfu) {
        kept = policy_lfu_keep(bits, s->tick);
    } else if (policy_clock_age(s->tick, bits) > CLOCK_AGE_MAX) {
        kept = policy_clock_stamp(s->tick - CLOCK_AGE_MAX);
    }
    if (kept != bits) {
        table_set_policy(s->p->db[db], ref, kept);
    }
}

static struct evict_pool *pool_of(const struct sampling *s, struct table_ref ref) {
    bool proved = s->policy->is_lfu && !policy_lfu_is_new(table_policy(ref));
    return proved ? &s->to->proved : &s->to->new_entries;
}

static void sample_line(struct sampling *s, uint64_t *slots, struct evict_candidate *place) {
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        struct table_ref ref = {&slots[i]};
        if (!slots[i]) {
            continue;
        }
        keep_stamp(s, place->db, ref);
        bool expires = table_is_volatile(ref);
        if (!s->to || (s->policy->volatile_only && !expires)) {
            continue;
        }
        s->seen++;
        if (expires && s->volatile_count < s->wanted) {
            __builtin_prefetch(table_entry(ref));
            s->volatile_refs[s->volatile_count++] = ref;
        }
        uint64_t rank = rank_of(s, ref);
        struct evict_pool *pool = pool_of(s, ref);
        if (evict_pool_wants(pool, rank)) {
            place->rank = rank;
            place->bits = table_policy(ref);
            place->slot = (uint8_t)i;
            evict_pool_add(pool, place);
        }
    }
}

static bool remove_one_expired(struct sampling *s, unsigned db, int64_t now_ms) {
    for (uint32_t i = 0; i < s->volatile_count; i++) {
        struct entry *e = table_entry(s->volatile_refs[i]);
        if (entry_is_expired(e, now_ms)) {
            struct key key = table_key(s->p->db[db], entry_key(e));
            part_remove_expired(s->p, db, &key, s->volatile_refs[i]);
            return true;
        }
    }
    s->volatile_count = 0;
    return false;
}

static struct sampling sampling_of(struct partition *p, const struct policy *policy,
                                   struct evictor *to) {
    uint32_t wanted = atomic_load_explicit(&p->ks->samples, memory_order_relaxed);
    return (struct sampling){.p = p,
                             .to = to,
                             .policy = policy,
                             .tick = policy_clock_tick(&p->ks->clock),
                             .wanted = MIN(MAX(wanted, 1u), EVICT_SAMPLES_MAX)};
}

void part_count_entries(struct partition *p) {
    uint64_t entries = 0, marked = 0;
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        entries += p->db[db] ? table_count(p->db[db]) : 0;
        marked += p->db[db] ? table_count_marked(p->db[db]) : 0;
    }
    atomic_fetch_add_explicit(&p->ks->entries, entries - p->counted_entries, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->ks->marked, marked - p->counted_marked, memory_order_relaxed);
    p->counted_entries = entries;
    p->counted_marked = marked;
    new_share_add(&p->ks->new_share, &p->share_events,
                  atomic_load_explicit(&p->ks->entries, memory_order_relaxed));
}

/* Puts the hand anywhere, so that the line it comes to is by chance. */
static void throw_hand(struct partition *p, const struct policy *policy) {
    uint64_t total = 0;
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        total += candidates(p->db[db], policy);
    }
    uint64_t at = rng_below(&p->rng, total);
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        uint64_t here = candidates(p->db[db], policy);
        if (at < here) {
            p->hand_db = db;
            p->hand = table_hand_random(p->db[db], &p->rng);
            return;
        }
        at -= here;
    }
}

bool part_sample(struct partition *p, struct evictor *to, int64_t now_ms) {
    lock_assert_held(&p->lock);
    struct sampling s = sampling_of(p, policy_of(to->policy), to);
    struct evict_candidate place = {.partition = (uint16_t)p->index};
    uint64_t *slots;
    if (s.policy->at_random) {
        to->new_entries.count = 0;
        throw_hand(p, s.policy);
        s.wanted = 1;
    }
    part_count_entries(p);
    for (uint32_t lines = 0; lines < EVICT_BUCKETS_MAX; lines++) {
        if (s.policy->by_ttl ? s.seen >= s.wanted : lines >= s.wanted && s.seen > 0) {
            break;
        }
        slots = next_line(p, s.policy, &place);
        if (!slots) {
            break;
        }
        uint32_t seen = s.seen;
        sample_line(&s, slots, &place);
        to->seen += s.seen - seen;
        p->lines_passed++;
        if (remove_one_expired(&s, place.db, now_ms)) {
            return true;
        }
    }
    return false;
}

/* --- one goes --- */

/* Key and value of what is evicted, as a client would count them; a collection's memory. */
static uint64_t logical_bytes(const struct entry *e) {
    switch (entry_type(e)) {
    case VALUE_STRING:
        return entry_key(e).len + entry_string(e).len;
    case VALUE_ABSENT:
        return entry_key(e).len;
    default:
        return entry_memory_bytes(e, SIZE_SAMPLES);
    }
}

static uint64_t entries_of(const struct partition *p) {
    uint64_t entries = 0;
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        entries += p->db[db] ? table_count(p->db[db]) : 0;
    }
    return entries;
}

/* Ghosts have room from the first eviction on. A keyspace that only grows needs none: making more
 * of it again and again would take milliseconds of somebody's SET. */
static void evict(struct partition *p, unsigned db, struct table_ref ref, int64_t now_ms) {
    struct key key = table_key(p->db[db], entry_key(table_entry(ref)));
    if (table_is_volatile(ref) && entry_is_expired(table_entry(ref), now_ms)) {
        part_remove_expired(p, db, &key, ref);
        return;
    }
    bool proved = !policy_lfu_is_new(table_policy(ref));
    struct entry *e = table_remove(p->db[db], &key, ref);
    if (entry_type(e) != VALUE_ABSENT) {
        part_count(&p->stats.evicted);
        part_add(&p->stats.evicted_bytes, logical_bytes(e));
        part_touched(p, db, &key);
        if (mrc_samples(&p->mrc, key.hash)) {
            mrc_evict(&p->mrc, db, key.hash);
        }
    }
    if (UNLIKELY(!p->ghosts.count) && part_policy(p)->is_lfu) {
        ghosts_fit(&p->ghosts, entries_of(p), true);
    }
    if (part_remembers(key.hash, proved)) {
        ghosts_add(&p->ghosts, part_ghost_hash(db, &key), proved);
        p->share_events.evicted[proved] += proved ? PROVED_SAMPLE : 1;
    }
    part_count_if_few(p);
    part_discard(p, e);
}

/* Sees to a candidate whose turn it is: one of the lfu family may stay. */
static bool stays(struct sampling *s, unsigned db, struct table_ref ref) {
    struct partition *p = s->p;
    uint16_t bits = table_policy(ref);
    if (!s->policy->is_lfu) {
        return false;
    }
    policy_size_turn(&p->sizes, !policy_lfu_is_new(bits), policy_lfu_age(bits, s->tick));
    uint32_t decay = atomic_load_explicit(&p->ks->lfu_decay, memory_order_relaxed);
    int64_t ahead = policy_size_shift(&p->sizes, true, part_entry_bytes(table_entry(ref)));
    if (!policy_lfu_stays(&bits, s->tick, ahead, decay, &p->rng)) {
        return false;
    }
    table_set_policy(p->db[db], ref, bits);
    return true;
}

/* The pace of the clock follows what goes: least recently used, or new and not used again. */
static void tell_clock(const struct sampling *s, uint16_t bits) {
    struct policy_clock *c = &s->p->ks->clock;
    int64_t now_s = part_now_s(s->p);
    if (!s->policy->is_lfu) {
        policy_clock_evicted(c, bits, now_s, CLOCK_SPAN);
    } else if (policy_lfu_is_new(bits)) {
        uint64_t age = (uint64_t)MAX(policy_lfu_age(bits, s->tick), 0);
        policy_clock_evicted(c, policy_clock_stamp(s->tick - age), now_s, CLOCK_SPAN_NEW);
    }
}

enum evicted part_evict(struct partition *p, enum evict_policy policy,
                        const struct evict_candidate *c, bool force, int64_t now_ms) {
    lock_assert_held(&p->lock);
    ASSERT(c->partition == p->index);
    struct sampling s = sampling_of(p, policy_of(policy), NULL);
    struct table *t = p->db[c->db];
    uint64_t *slots = t ? table_line(t, &c->at) : NULL;
    if (!slots || !slots[c->slot]) {
        return EVICT_NOT_THERE;
    }
    struct table_ref ref = {&slots[c->slot]};
    if (table_policy(ref) != c->bits || (s.policy->volatile_only && !table_is_volatile(ref)) ||
        (s.policy->by_ttl && rank_of(&s, ref) != c->rank)) {
        return EVICT_NOT_THERE;
    }
    if (!force && stays(&s, c->db, ref)) {
        return EVICT_STAYS;
    }
    tell_clock(&s, c->bits);
    evict(p, c->db, ref, now_ms);
    return EVICT_DONE;
}

/* --- the clock --- */

/* Moves the hand as far as the ticks since the last call demand, to clamp what it passes. */
static void keep_stamps(struct partition *p, uint64_t lines) {
    static const struct policy all = {0};
    struct sampling s = sampling_of(p, part_policy(p), NULL);
    struct evict_candidate place;
    uint64_t due = (s.tick - p->kept_tick) * lines / CLOCK_HAND_TICKS;
    if (due == 0 && lines > 0) {
        return;
    }
    p->kept_tick = s.tick;
    uint64_t passed = MIN(due, (uint64_t)p->lines_passed); /* by evictions */
    p->lines_passed = 0;
    for (due = MIN(due - passed, (uint64_t)CLAMP_BUCKETS_MAX); due > 0; due--) {
        uint64_t *slots = next_line(p, &all, &place);
        if (!slots) {
            break;
        }
        sample_line(&s, slots, &place);
    }
}

void part_clock_move(struct partition *p) {
    struct policy_clock *c = &p->ks->clock;
    int64_t now_s = part_now_s(p);
    uint64_t entries = 0, lines = 0;
    for (unsigned db = 0; db < DATABASES_MAX; db++) {
        if (p->db[db]) {
            entries += table_count(p->db[db]);
            lines += table_index_bytes(p->db[db]) / TABLE_LINE_BYTES;
        }
    }
    if (p->second != now_s) {
        p->second = now_s;
        policy_clock_second(c, now_s);
    }
    uint32_t quantum = atomic_load_explicit(&c->quantum, memory_order_relaxed);
    bool quiet = policy_clock_is_quiet(c), is_lfu = part_policy(p)->is_lfu;
    p->events += quiet ? p->inserted : p->step - p->step_left;
    p->inserted = 0;
    if (p->events >= quantum) {
        policy_clock_advance(c, p->events, now_s, entries * p->ks->partitions_count,
                             is_lfu ? CLOCK_QUIET_SPAN_NEW : CLOCK_QUIET_SPAN);
        p->events = 0;
    }
    p->step = p->step_left = quiet ? CLOCK_STEP_MAX : MIN(quantum, CLOCK_STEP_MAX);
    p->step_inserts = quiet ? MIN(quantum, CLOCK_STEP_MAX) : CLOCK_STEP_MAX;
    if (is_lfu) {
        ghosts_fit(&p->ghosts, entries, !quiet);
    } else if (p->ghosts.count) {
        ghosts_free(&p->ghosts);
    }
    keep_stamps(p, lines);
}
