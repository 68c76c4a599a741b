/* The table's checker: every invariant of table.h, segment.h and table_internal.h, for tests. */
#include "engine/table_internal.h"

#include "base/mem.h"

struct totals {
    uint64_t count, count_volatile, count_absent, count_marked;
    size_t bytes;
    uint32_t segments_at_depth[TABLE_DEPTH_MAX + 1];
};

/* What the overflow bytes of a segment's main buckets should be. */
struct expected {
    uint32_t next[SEGMENT_BUCKETS_MAX], stashed[SEGMENT_BUCKETS_MAX];
};

static void check_slot(const struct table *t, struct segment *s, uint32_t i, struct expected *x,
                       struct totals *sum) {
    uint64_t *slot = segment_slot(s, i);
    struct entry *e = slot_entry(*slot);
    struct key key = table_key(t, entry_key(e));
    struct bucket *b = bucket_of(slot);
    ASSERT(word_segment(t->directory[directory_index(t, key.hash)]) == s);
    ASSERT(b->tags[slot - b->slots] == hash_tag(key.hash));
    ASSERT(!(*slot & SLOT_VOLATILE) == (entry_expire_ms(e) == EXPIRE_NEVER));
    ASSERT(!(*slot & SLOT_ABSENT) == (entry_type(e) != VALUE_ABSENT));
    uint32_t home = hash_home(key.hash, t->prefix_bits + s->depth, s->main_count);
    uint32_t at = i / BUCKET_SLOTS;
    if (*slot & SLOT_DISPLACED) {
        ASSERT(s->main_count > 1 && at < s->main_count);
        ASSERT((home + 1) % s->main_count == at);
        x->next[home]++;
    } else if (at < s->main_count) {
        ASSERT(home == at);
    } else {
        x->stashed[home]++;
    }
    ASSERT(table_find(t, &key).slot == slot); /* reachable, and no double before it */
    sum->count++;
    sum->count_volatile += (*slot & SLOT_VOLATILE) != 0;
    sum->count_absent += (*slot & SLOT_ABSENT) != 0;
    sum->count_marked += *slot >> SLOT_MARKED_BIT & 1;
}

static void check_segment(const struct table *t, struct segment *s, struct totals *sum) {
    struct expected x = {{0}, {0}};
    uint64_t before = sum->count;
    uint32_t own_slots = (uint32_t)(s->main_count + s->stash_count) * BUCKET_SLOTS;
    ASSERT(s->main_count >= 1 && s->main_count <= SEGMENT_BUCKETS_MAX);
    ASSERT(1u + s->main_count + s->stash_count == segment_lines(s->size));
    ASSERT(s->home == t && word_segment(t->directory[directory_index(t, s->hash)]) == s);
    ASSERT((s->extra == NULL) == (s->extra_lines == 0));
    for (uint32_t i = 0; i < segment_slots(s); i++) {
        bool present = *segment_slot(s, i) != 0;
        ASSERT(i < own_slots || present == (i - own_slots < s->extra_count));
        if (present) {
            check_slot(t, s, i, &x, sum);
        }
    }
    ASSERT(sum->count - before == s->count);
    for (uint32_t i = 0; i < s->main_count; i++) {
        uint8_t overflow = s->buckets[i].overflow;
        ASSERT(overflow_next(overflow) == x.next[i]);
        ASSERT(overflow_stashed(overflow) == STASHED_MANY ||
               overflow_stashed(overflow) == x.stashed[i]);
    }
    sum->segments_at_depth[s->depth]++;
    sum->bytes += segment_bytes(s);
}

void table_check(const struct table *t) {
    struct totals sum = {0};
    uint64_t words = 1ull << t->depth;
    for (uint64_t i = 0; i < words;) {
        struct segment *s = word_segment(t->directory[i]);
        ASSERT(s->depth <= t->depth && s->depth + t->prefix_bits <= TABLE_DEPTH_MAX);
        uint64_t span = 1ull << (t->depth - s->depth);
        ASSERT(i % span == 0);
        for (uint64_t k = 0; k < span; k++) {
            ASSERT(t->directory[i + k] == word_make(s));
        }
        check_segment(t, s, &sum);
        i += span;
    }
    ASSERT(sum.count == t->count);
    ASSERT(sum.count_volatile == t->count_volatile);
    ASSERT(sum.count_absent == t->count_absent);
    ASSERT(sum.count_marked == t->count_marked);
    for (unsigned d = 0; d <= TABLE_DEPTH_MAX; d++) {
        ASSERT(sum.segments_at_depth[d] == t->segments_at_depth[d]);
    }
    ASSERT(t->depth == 0 || t->segments_at_depth[t->depth] > 0);
    ASSERT(t->index_bytes ==
           sum.bytes + mem_good_size(sizeof *t) + mem_good_size(words * sizeof *t->directory));
}
