/* Lookup, insertion, removal and walking of the table: see table.h for the structure, segment.h for
 * the buckets, table_resize.c for growth. Whoever owns the table: under its partition's lock, or
 * the thread that changes a large hash under the lock of the hash's key. */
#include "engine/table_internal.h"

#include <string.h>

#include "base/mem.h"

STATIC_ASSERT(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tags are matched as one word");
STATIC_ASSERT((int)SEGMENT_BUCKETS_MAX < (int)SEGMENT_LINES_MAX, "the header takes a line");
STATIC_ASSERT((int)TABLE_PREFIX_BITS_MAX < (int)TABLE_DEPTH_MAX,
              "a prefix leaves room for a directory");

/* Of an entry, behind its first two; what follows, the hardware streams. */
enum { PREFETCH_LINES_MAX = 4 };

#define TAG_LOW_BITS         0x0001010101010101ull
#define TAG_HIGH_BITS        0x0080808080808080ull
#define CURSOR_MASK          ((1ull << TABLE_CURSOR_BITS) - 1)
#define HASH_OF_CURSOR_SHIFT (64 - TABLE_CURSOR_BITS)

struct table *table_create(struct table_heaps heaps, uint64_t seed, unsigned prefix_bits) {
    return table_create_with_hash(heaps, seed, prefix_bits, NULL);
}

struct table *table_create_with_hash(struct table_heaps heaps, uint64_t seed, unsigned prefix_bits,
                                     table_hash_fn hash) {
    ASSERT(prefix_bits <= TABLE_PREFIX_BITS_MAX);
    struct table *t = mem_zalloc(sizeof *t);
    struct segment *s = segment_create(heaps.index, 0, 0);
    s->home = t;
    t->heaps = heaps;
    t->seed = seed;
    t->hash = hash;
    t->prefix_bits = (uint8_t)prefix_bits;
    t->directory = mem_alloc(sizeof *t->directory);
    t->directory[0] = word_make(s);
    t->segments_at_depth[0] = 1;
    t->index_bytes =
        mem_good_size(sizeof *t) + segment_bytes(s) + mem_good_size(sizeof *t->directory);
    return t;
}

static void destroy_entry(void *arg, struct entry *e) {
    const struct table *t = arg;
    entry_destroy(t->heaps.entries, e);
}

void table_destroy(struct table *t) {
    if (t) {
        bool empty = table_drain(t, UINT64_MAX, destroy_entry, t);
        ASSERT(empty && t->count == 0);
        mem_free(t);
    }
}

struct key table_key(const struct table *t, struct slice bytes) {
    return (struct key){bytes, table_hash(t, bytes)};
}

uint64_t table_count(const struct table *t) {
    return t->count;
}

uint64_t table_count_volatile(const struct table *t) {
    return t->count_volatile;
}

uint64_t table_count_absent(const struct table *t) {
    return t->count_absent;
}

uint64_t table_count_marked(const struct table *t) {
    return t->count_marked;
}

size_t table_index_bytes(const struct table *t) {
    return t->index_bytes;
}

/* --- slots --- */

struct entry *table_entry(struct table_ref ref) {
    return slot_entry(*ref.slot);
}

uint16_t table_policy(struct table_ref ref) {
    return *ref.slot >> SLOT_POLICY_SHIFT & TABLE_POLICY_MAX;
}

void table_set_policy(struct table *t, struct table_ref ref, uint16_t policy) {
    ASSERT(policy <= TABLE_POLICY_MAX);
    uint64_t marked = policy >> (SLOT_MARKED_BIT - SLOT_POLICY_SHIFT);
    uint64_t was_marked = *ref.slot >> SLOT_MARKED_BIT & 1;
    if (marked != was_marked) {
        t->count_marked += marked - was_marked;
    }
    *ref.slot = (*ref.slot & ~SLOT_POLICY_MASK) | (uint64_t)policy << SLOT_POLICY_SHIFT;
}

static uint64_t slot_make(const struct entry *e, uint16_t policy) {
    ASSERT(policy <= TABLE_POLICY_MAX && !((uintptr_t)e & ~SLOT_POINTER_MASK));
    return (uint64_t)(uintptr_t)e | (uint64_t)policy << SLOT_POLICY_SHIFT |
           (entry_expire_ms(e) != EXPIRE_NEVER ? SLOT_VOLATILE : 0) |
           (entry_type(e) == VALUE_ABSENT ? SLOT_ABSENT : 0);
}

static void count_slot(struct table *t, uint64_t slot, int by) {
    t->count += (uint64_t)by;
    t->count_volatile += slot & SLOT_VOLATILE ? (uint64_t)by : 0;
    t->count_absent += slot & SLOT_ABSENT ? (uint64_t)by : 0;
    t->count_marked += slot >> SLOT_MARKED_BIT & 1 ? (uint64_t)by : 0;
}

/* --- lookup --- */

/* The high bit of each byte, 0 to 6, that may equal the tag: above a true match there may be false
 * ones, which the key then tells. */
static inline uint64_t match_tags(const struct bucket *b, uint8_t tag) {
    uint64_t tags;
    memcpy(&tags, b, sizeof tags);
    uint64_t x = tags ^ (TAG_LOW_BITS * tag);
    return (x - TAG_LOW_BITS) & ~x & TAG_HIGH_BITS;
}

static inline unsigned first_match(uint64_t matches) {
    return (unsigned)__builtin_ctzll(matches) / 8;
}

static inline uint64_t *find_in(struct bucket *b, const struct key *key) {
    for (uint64_t m = match_tags(b, hash_tag(key->hash)); m; m &= m - 1) {
        uint64_t *slot = &b->slots[first_match(m)];
        if (*slot && slice_eq(entry_key(slot_entry(*slot)), key->bytes)) {
            return slot;
        }
    }
    return NULL;
}

static __attribute__((noinline)) uint64_t *find_stashed(struct segment *s, const struct key *key) {
    uint64_t *slot = NULL;
    for (uint32_t i = 0; i < s->stash_count && !slot; i++) {
        slot = find_in(&s->buckets[s->main_count + i], key);
    }
    for (uint32_t i = 0; i * BUCKET_SLOTS < s->extra_count && !slot; i++) {
        slot = find_in(&s->extra[i], key);
    }
    return slot;
}

struct table_ref table_find(const struct table *t, const struct key *key) {
    uint64_t word = t->directory[directory_index(t, key->hash)];
    struct segment *s = word_segment(word);
    uint32_t main_count = word_main_count(word);
    uint32_t home = hash_home(key->hash, t->prefix_bits + word_depth(word), main_count);
    struct bucket *b = &s->buckets[home];
    uint64_t *slot = find_in(b, key);
    if (!slot && b->overflow) {
        if (overflow_next(b->overflow)) {
            slot = find_in(&s->buckets[home + 1 < main_count ? home + 1 : 0], key);
        }
        if (!slot && overflow_stashed(b->overflow)) {
            slot = find_stashed(s, key);
        }
    }
    return (struct table_ref){slot};
}

struct home {
    struct bucket *bucket, *next; /* the other bucket that its entries may lie in */
};

static inline struct home find_home(const struct table *t, uint64_t hash) {
    uint64_t word = t->directory[directory_index(t, hash)];
    uint32_t count = word_main_count(word);
    uint32_t home = hash_home(hash, t->prefix_bits + word_depth(word), count);
    struct bucket *buckets = word_segment(word)->buckets;
    return (struct home){&buckets[home], &buckets[home + 1 < count ? home + 1 : 0]};
}

/* A function that only prefetches has no effect in the compiler's eyes: gcc 12 with LTO drops calls
 * of it. The empty asm is an effect. */
static inline void prefetch(const void *line) {
    __builtin_prefetch(line);
    __asm__ volatile("" : : "r"(line));
}

/* The line of the entry's head and the one behind it, an address and no pointer: the slot may be
 * empty. */
static inline void prefetch_start(const struct entry *e) {
    prefetch(e);
    prefetch((const void *)((uintptr_t)e + CACHE_LINE_BYTES));
}

void table_prefetch_bucket(const struct table *t, uint64_t hash) {
    prefetch(find_home(t, hash).bucket);
}

void table_prefetch_entry(const struct table *t, uint64_t hash) {
    struct home home = find_home(t, hash);
    uint64_t matches = match_tags(home.bucket, hash_tag(hash));
    if (UNLIKELY(!matches && overflow_next(home.bucket->overflow))) {
        prefetch(home.next);
        return;
    }
    for (; matches; matches &= matches - 1) {
        prefetch_start(slot_entry(home.bucket->slots[first_match(matches)]));
    }
}

/* The lines of the entry behind those two. Reads its head. */
static inline void prefetch_behind(const struct entry *e) {
    uintptr_t line = ((uintptr_t)e & ~(uintptr_t)(CACHE_LINE_BYTES - 1)) + 2 * CACHE_LINE_BYTES;
    struct slice last = entry_has_pointer(e) ? entry_key(e) : entry_string(e);
    uintptr_t end = (uintptr_t)last.ptr + last.len + (entry_has_pointer(e) ? sizeof(void *) : 0);
    end = MIN(end, line + PREFETCH_LINES_MAX * CACHE_LINE_BYTES);
    for (; line < end; line += CACHE_LINE_BYTES) {
        prefetch((const void *)line);
    }
}

void table_prefetch_value(const struct table *t, uint64_t hash) {
    struct home home = find_home(t, hash);
    uint8_t tag = hash_tag(hash);
    uint64_t matches = match_tags(home.bucket, tag);
    if (UNLIKELY(!matches && overflow_next(home.bucket->overflow))) {
        for (matches = match_tags(home.next, tag); matches; matches &= matches - 1) {
            prefetch_start(slot_entry(home.next->slots[first_match(matches)]));
        }
        return;
    }
    for (; matches; matches &= matches - 1) {
        const struct entry *e = slot_entry(home.bucket->slots[first_match(matches)]);
        if (LIKELY(e)) {
            prefetch_behind(e);
        }
    }
}

/* --- change --- */

struct table_ref table_insert(struct table *t, const struct key *key, struct entry *e,
                              uint16_t policy) {
    uint64_t slot = slot_make(e, policy);
    for (unsigned attempt = 0;; attempt++) {
        uint64_t word = t->directory[directory_index(t, key->hash)];
        struct segment *s = word_segment(word);
        uint32_t home = hash_home(key->hash, t->prefix_bits + s->depth, s->main_count);
        uint64_t *placed = segment_place(s, home, hash_tag(key->hash), slot);
        if (LIKELY(placed)) {
            count_slot(t, slot, 1);
            return (struct table_ref){placed};
        }
        /* Each call gives the segment a larger size, splits it, or adds an extra bucket. */
        ASSERT(attempt < SEGMENT_SIZES_COUNT * (TABLE_DEPTH_MAX + 2));
        table_make_room(t, key->hash, attempt);
    }
}

void table_update(struct table *t, struct table_ref ref, struct entry *e) {
    uint64_t old = *ref.slot;
    uint64_t slot = slot_make(e, table_policy(ref)) | (old & SLOT_DISPLACED);
    if (slot != old) {
        count_slot(t, old, -1);
        count_slot(t, slot, 1);
        *ref.slot = slot;
    }
}

struct entry *table_replace(struct table *t, struct table_ref ref, struct entry *e) {
    struct entry *old = slot_entry(*ref.slot);
    table_update(t, ref, e);
    return old;
}

struct entry *table_remove(struct table *t, const struct key *key, struct table_ref ref) {
    struct segment *s = word_segment(t->directory[directory_index(t, key->hash)]);
    uint32_t home = hash_home(key->hash, t->prefix_bits + s->depth, s->main_count);
    struct entry *e = slot_entry(*ref.slot);
    count_slot(t, *ref.slot, -1);
    size_t extra = s->extra_lines;
    segment_clear(s, home, ref.slot);
    t->index_bytes -= (extra - s->extra_lines) * CACHE_LINE_BYTES;
    table_give_back(t, key->hash);
    return e;
}

/* --- moving --- */

bool table_move_entry(struct table *t, const struct key *key, struct entry *from,
                      struct entry *to) {
    if (!t->directory) {
        return false; /* drained */
    }
    struct table_ref ref = table_find(t, key);
    if (!ref.slot || slot_entry(*ref.slot) != from) {
        return false;
    }
    *ref.slot = (*ref.slot & ~SLOT_POINTER_MASK) | (uint64_t)(uintptr_t)to;
    return true;
}

bool table_move_segment(void *arg, void *from, void *to) {
    (void)arg;
    const struct segment *s = from;
    struct table *t = s->home;
    if (!t->directory) {
        return false; /* drained */
    }
    ASSERT(word_segment(t->directory[directory_index(t, s->hash)]) == from);
    directory_set(t, s->hash, (word_make(s) & ~SLOT_POINTER_MASK) | (uint64_t)(uintptr_t)to);
    return true;
}

/* --- walking --- */

struct visit {
    void (*fn)(void *arg, struct entry *e, struct table_ref ref);
    void *arg;
};

static void visit_bucket(struct bucket *b, uint64_t displaced, const struct visit *v) {
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        if (b->slots[i] && (b->slots[i] & SLOT_DISPLACED) == displaced) {
            v->fn(v->arg, slot_entry(b->slots[i]), (struct table_ref){&b->slots[i]});
        }
    }
}

/* The stash does not say whose its entries are: their keys are hashed, until all of this home are
 * found. */
static void visit_stashed(const struct table *t, struct segment *s, uint32_t home,
                          const struct visit *v) {
    unsigned stashed = overflow_stashed(s->buckets[home].overflow), found = 0;
    unsigned wanted = stashed < STASHED_MANY ? stashed : UINT32_MAX;
    uint32_t slots = segment_slots(s);
    for (uint32_t i = (uint32_t)s->main_count * BUCKET_SLOTS; i < slots && found < wanted; i++) {
        uint64_t *slot = segment_slot(s, i);
        if (*slot) {
            struct entry *e = slot_entry(*slot);
            uint64_t hash = table_hash(t, entry_key(e));
            if (hash_home(hash, t->prefix_bits + s->depth, s->main_count) == home) {
                v->fn(v->arg, e, (struct table_ref){slot});
                found++;
            }
        }
    }
}

static void visit_home(const struct table *t, struct segment *s, uint32_t home,
                       const struct visit *v) {
    struct bucket *b = &s->buckets[home];
    visit_bucket(b, 0, v);
    if (overflow_next(b->overflow)) {
        visit_bucket(&s->buckets[home + 1 < s->main_count ? home + 1 : 0], SLOT_DISPLACED, v);
    }
    if (overflow_stashed(b->overflow)) {
        visit_stashed(t, s, home, v);
    }
}

uint64_t table_scan(const struct table *t, uint64_t cursor,
                    void (*fn)(void *arg, struct entry *e, struct table_ref ref), void *arg) {
    const struct visit v = {fn, arg};
    unsigned range_bits = TABLE_CURSOR_BITS - t->prefix_bits; /* of a cursor within this table */
    cursor &= CURSOR_MASK;
    uint64_t hash = cursor << HASH_OF_CURSOR_SHIFT;
    struct segment *s = word_segment(t->directory[directory_index(t, hash)]);
    uint32_t home = hash_home(hash, t->prefix_bits + s->depth, s->main_count);
    visit_home(t, s, home, &v);
    /* The first position of the next bucket, then that as a cursor. */
    uint64_t next = (((uint64_t)home + 1) << TABLE_POSITION_BITS) + s->main_count - 1;
    next = next / s->main_count << (range_bits - s->depth - TABLE_POSITION_BITS);
    uint64_t segment_first = cursor >> (range_bits - s->depth) << (range_bits - s->depth);
    uint64_t prefix = cursor >> range_bits << range_bits;
    next += segment_first - prefix;
    return next >> range_bits ? 0 : prefix | next;
}

struct table_ref table_next(const struct table *t, struct table_iter *it) {
    while (it->at < 1ull << t->depth) {
        uint64_t word = t->directory[it->at];
        struct segment *s = word_segment(word);
        while (it->sub < segment_slots(s)) {
            uint64_t *slot = segment_slot(s, (uint32_t)it->sub++);
            if (*slot) {
                return (struct table_ref){slot};
            }
        }
        it->at += 1ull << (t->depth - word_depth(word));
        it->sub = 0;
    }
    return (struct table_ref){NULL};
}

static struct segment *hand_segment(const struct table *t, const struct table_hand *hand) {
    return word_segment(t->directory[(hand->at >> 1) >> (63 - t->depth)]);
}

struct table_hand table_hand_random(const struct table *t, struct rng *rng) {
    struct table_hand hand = {.at = rng_next(rng)};
    struct segment *s = hand_segment(t, &hand);
    hand.line = (uint32_t)rng_below(rng, s->main_count + s->stash_count + s->extra_lines);
    return hand;
}

uint64_t *table_line(const struct table *t, const struct table_hand *hand) {
    struct segment *s = hand_segment(t, hand);
    uint32_t own = (uint32_t)s->main_count + s->stash_count;
    if (hand->line >= own + s->extra_lines) {
        return NULL;
    }
    struct bucket *b = hand->line < own ? &s->buckets[hand->line] : &s->extra[hand->line - own];
    return b->slots;
}

bool table_hand_move(const struct table *t, struct table_hand *hand) {
    struct segment *s = hand_segment(t, hand);
    if (++hand->line < (uint32_t)s->main_count + s->stash_count + s->extra_lines) {
        return true;
    }
    uint64_t range = s->depth ? 1ull << (64 - s->depth) : 0; /* 0: all there is */
    uint64_t next = range ? (hand->at & ~(range - 1)) + range : 0;
    *hand = (struct table_hand){.at = next};
    return next != 0;
}

/* Draws of one slot before the table is walked from where the last one fell. */
enum { RANDOM_TRIES_MAX = 64 };

struct table_ref table_random(const struct table *t, struct rng *rng) {
    ASSERT(t->count > 0);
    struct table_iter it = {0};
    for (unsigned i = 0; i < RANDOM_TRIES_MAX; i++) {
        it.at = rng_below(rng, 1ull << t->depth);
        struct segment *s = word_segment(t->directory[it.at]);
        it.sub = rng_below(rng, segment_slots(s));
        uint64_t *slot = segment_slot(s, (uint32_t)it.sub);
        if (*slot) {
            return (struct table_ref){slot};
        }
    }
    /* Only where colliding keys left segments empty and deep. */
    unsigned spare = t->depth - word_depth(t->directory[it.at]);
    it.at = it.at >> spare << spare;
    struct table_ref ref = table_next(t, &it);
    if (!ref.slot) {
        it = (struct table_iter){0};
        ref = table_next(t, &it);
    }
    return ref;
}

bool table_drain(struct table *t, uint64_t limit, void (*fn)(void *arg, struct entry *e),
                 void *arg) {
    uint64_t words = t->directory ? 1ull << t->depth : 0, taken = 0;
    while (t->drained < words && taken < limit) {
        uint64_t word = t->directory[t->drained];
        struct segment *s = word_segment(word);
        for (uint32_t i = 0; i < segment_slots(s); i++) {
            uint64_t slot = *segment_slot(s, i);
            if (slot) {
                count_slot(t, slot, -1);
                fn(arg, slot_entry(slot));
                taken++;
            }
        }
        t->drained += 1ull << (t->depth - word_depth(word));
        segment_destroy(t->heaps.index, s);
    }
    if (t->drained < words) {
        return false;
    }
    mem_free(t->directory);
    t->directory = NULL;
    return true;
}
