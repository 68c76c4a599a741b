/* The shard's upkeep of the partitions it owns: expiry, freeing what is large, compaction and
 * defragmentation, eviction when no command comes that would do it. The shard's thread, between
 * batches.
 *
 *   timer: turns -> [partition: turn, step, step ...] -> next partition ... until all had theirs
 *
 * A turn begins every MAINTAIN_PERIOD_US, PACE_FAST_TURN_MS while entries live so shortly that a
 * round of the sweep must take less than a second. How many slots a partition's sweep walks in it
 * is engine/expire_pace.h's; how much time all of them may take together is bounded here:
 *
 *   EXPIRE_PERCENT       of the time, ordinarily;
 *   EXPIRE_HOT_PERCENT   for partitions where much is due (many entries with the same time);
 *   EXPIRE_IDLE_PERCENT  for those when no client sent anything for a while.
 *
 * Compaction and defragmentation have their own share, active-defrag-cycle-max.
 *
 * 1. A round of the loop spends about MAINTAIN_ROUND_US here, plus one step: at most two groups of
 *    the sweep, or 128 removals and a group, a step of the drain, and one of compaction (a block at
 *    most) or of defragmentation.
 * 2. When time runs out in a turn, the next one begins behind the partition that had it last. */
#include "base/clock.h"
#include "shard/session.h"

enum {
    MAINTAIN_PERIOD_US = 100 * 1000,
    MAINTAIN_ROUND_US = 50,
    COMPACT_STEP_MOVES = 128,
    DEFRAG_STEP = 128, /* entries and values looked at */
    MAINTAIN_IDLE_US = 200 * 1000, /* without anything received */
    HOLE_BYTES_A_KEY = 12, /* ... and compaction is not in vain */
    IDLE_HOLES_PERCENT = 2,
    FINE_PERCENT = 2, /* of the time, for those two */
    EXPIRE_PERCENT = 5,
    EXPIRE_HOT_PERCENT = 25,
    EXPIRE_IDLE_PERCENT = 60,
};

static void on_turns(struct timer *t, void *arg) {
    struct shard *sh = arg;
    struct maintenance *m = &sh->maintenance;
    int64_t period_us = m->fast ? PACE_FAST_TURN_MS * 1000 : MAINTAIN_PERIOD_US;
    uint64_t now = clock_ticks();
    uint64_t most = (uint64_t)((double)MAINTAIN_PERIOD_US * sh->group->ticks_per_us);
    m->span_ticks = m->turn_ticks ? MIN(now - m->turn_ticks, most) : 0;
    m->turn_ticks = now;
    atomic_store_explicit(&sh->stats.defrag_now, m->compact_ticks > 0, memory_order_relaxed);
    m->spent_ticks = m->compact_ticks = 0;
    if (m->capped) {
        m->next = m->resume;
    }
    m->left = sh->env.ks->partitions_count;
    m->begun = m->fast = m->capped = false;
    timers_set(&sh->timers, t, sh->env.now_us + period_us);
}

void maintain_start(struct shard *sh) {
    sh->maintenance.timer.fire = on_turns;
    on_turns(&sh->maintenance.timer, sh);
}

void maintain_received(struct shard *sh) {
    sh->maintenance.received_us = sh->env.now_us;
}

static bool is_idle(const struct shard *sh) {
    return sh->env.now_us - sh->maintenance.received_us > MAINTAIN_IDLE_US;
}

static bool has_time(const struct shard *sh, const struct partition *p) {
    const struct maintenance *m = &sh->maintenance;
    uint64_t percent = !expire_pace_is_hot(&p->pace) ? EXPIRE_PERCENT
                       : is_idle(sh)                 ? EXPIRE_IDLE_PERCENT
                                                     : EXPIRE_HOT_PERCENT;
    return m->spent_ticks * 100 < m->span_ticks * percent;
}

static void note_capped(struct shard *sh, bool swept) {
    struct maintenance *m = &sh->maintenance;
    if (!m->capped) {
        m->capped = true;
        m->resume = (m->next + (swept ? 1 : 0)) % sh->env.ks->partitions_count;
        stat_add(&sh->stats.expire_capped, 1);
    }
}

/* Of the time, for the holes that are few in per cent but many bytes a key, as values are large. */
static uint64_t fine_percent(const struct shard *sh) {
    uint64_t most = sh->env.settings->compact_time_percent;
    return is_idle(sh) ? most : MIN(most, (uint64_t)FINE_PERCENT);
}

/* A step of compaction where heaps have too many holes, or of defragmentation while a round is on,
 * within their share of the time; true when there is more to do. Under the lock. */
static bool compact(struct shard *sh, struct partition *p) {
    struct maintenance *m = &sh->maintenance;
    const struct settings *settings = sh->env.settings;
    uint32_t percent = settings->keyspace.compact_percent;
    if (!percent || m->compact_ticks * 100 > m->span_ticks * settings->compact_time_percent) {
        return false;
    }
    uint64_t before = clock_ticks();
    struct compact_from from = {.percent = percent};
    if (m->compact_ticks * 100 <= m->span_ticks * fine_percent(sh)) {
        from.percent = is_idle(sh) ? MIN(percent, (uint32_t)IDLE_HOLES_PERCENT) : percent;
        from.bytes_an_object = HOLE_BYTES_A_KEY;
    }
    uint32_t moved = part_compact(p, from, COMPACT_STEP_MOVES);
    bool defrags = !moved && part_wants_defrag(p);
    if (defrags) {
        part_defrag(p, DEFRAG_STEP);
    }
    if (moved || defrags) {
        uint64_t spent = clock_ticks() - before;
        m->compact_ticks += spent;
        stat_add(&sh->stats.defrag_ticks, spent);
    }
    return moved || defrags;
}

/* True when the partition has more to do at once. Under its lock. */
static bool step(struct shard *sh, struct partition *p, bool sweeps) {
    struct maintenance *m = &sh->maintenance;
    uint64_t before = clock_ticks();
    if (!m->begun && sweeps && part_expire_turn(p, sh->env.now_ms)) {
        m->fast = true;
    }
    if (!m->begun && is_idle(sh)) {
        part_trim(p);
    }
    m->begun = true;
    bool sweep = sweeps && p->pace.left > 0 && has_time(sh, p);
    bool more = part_maintain(p, sh->env.now_ms, sweep ? MAINTAIN_SLOTS : 0);
    if (sweep) {
        uint64_t spent = clock_ticks() - before;
        m->spent_ticks += spent;
        stat_add(&sh->stats.expire_ticks, spent);
    }
    more = compact(sh, p) || more;
    if (sweeps && p->pace.left > 0) {
        if (has_time(sh, p)) {
            return true;
        }
        note_capped(sh, sweep);
    }
    return more;
}

void maintain_run(struct shard *sh) {
    struct keyspace *ks = sh->env.ks;
    struct maintenance *m = &sh->maintenance;
    bool sweeps = !atomic_load_explicit(&sh->group->no_active_expire, memory_order_relaxed);
    uint64_t end = clock_ticks() + (uint64_t)((double)MAINTAIN_ROUND_US * sh->group->ticks_per_us);
    while (m->left > 0) {
        struct partition *p = ks->partitions[m->next];
        bool more = false;
        if (p->owner == sh->index) {
            lock_take(&p->lock);
            more = step(sh, p, sweeps);
            lock_release(&p->lock);
        }
        if (!more) {
            m->next = (m->next + 1) % ks->partitions_count;
            m->left--;
            m->begun = false;
        }
        if (clock_ticks() > end) {
            return;
        }
    }
}

void maintain_evict(struct shard *sh) {
    sh->evicting = keyspace_shrink(sh->env.ks, sh->index, sh->env.now_ms, EVICT_A_ROUND_MAX) &&
                   keyspace_is_full(sh->env.ks);
}
