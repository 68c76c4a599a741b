/* Lines of waiting requests. A handful of mappings is busy at a time (at most MAPPINGS_MAX), so
 * lines are searched one by one. */
#include "store/queue.h"

#include "base/assert.h"
#include "base/mem.h"

void queue_deinit(struct queue *q) {
    ASSERT(q->count == 0);
    mem_free(q->lines);
    *q = (struct queue){0};
}

static struct queue_line *find_line(struct queue *q, uint32_t map_id) {
    for (uint32_t i = 0; i < q->lines_count; i++) {
        if (q->lines[i].map_id == map_id) {
            return &q->lines[i];
        }
    }
    if (q->lines_count == q->lines_cap) {
        q->lines_cap = q->lines_cap ? q->lines_cap * 2 : 16;
        q->lines = mem_realloc(q->lines, q->lines_cap * sizeof *q->lines);
    }
    struct queue_line *line = &q->lines[q->lines_count++];
    *line = (struct queue_line){.map_id = map_id};
    return line;
}

void queue_push(struct queue *q, struct store_request *r) {
    struct queue_line *line = find_line(q, r->map->id);
    r->next = NULL;
    if (line->tail) {
        line->tail->next = r;
    } else {
        line->head = r;
    }
    line->tail = r;
    line->count++;
    q->count++;
}

static struct store_request *pop_head(struct queue *q, struct queue_line *line) {
    struct store_request *r = line->head;
    line->head = r->next;
    line->count--;
    q->count--;
    if (!line->head) {
        *line = q->lines[--q->lines_count];
    }
    return r;
}

static struct queue_line *older_line(struct queue_line *a, struct queue_line *b) {
    return !a || b->head->queued_us < a->head->queued_us ? b : a;
}

static struct queue_line *oldest_line(const struct queue *q) {
    struct queue_line *oldest = NULL;
    for (uint32_t i = 0; i < q->lines_count; i++) {
        oldest = older_line(oldest, &q->lines[i]);
    }
    return oldest;
}

/* `count`: how many of it may be taken. */
static struct queue_line *oldest_to_take(const struct queue *q, queue_take_fn take, void *ctx,
                                         uint32_t *count) {
    struct queue_line *oldest = NULL;
    *count = 0;
    for (uint32_t i = 0; i < q->lines_count; i++) {
        uint32_t here = take(ctx, q->lines[i].head->map);
        if (here && older_line(oldest, &q->lines[i]) != oldest) {
            oldest = &q->lines[i];
            *count = MIN(here, oldest->count);
        }
    }
    return oldest;
}

bool queue_fits(const struct queue *q, queue_take_fn take, void *ctx) {
    uint32_t count;
    return oldest_to_take(q, take, ctx, &count) != NULL;
}

struct store_request *queue_pop(struct queue *q, queue_take_fn take, void *ctx) {
    uint32_t count;
    struct queue_line *line = oldest_to_take(q, take, ctx, &count);
    struct store_request *list = NULL, **end = &list;
    for (uint32_t i = count; i > 0; i--) {
        *end = pop_head(q, line);
        end = &(*end)->next;
    }
    *end = NULL;
    return list;
}

struct store_request *queue_pop_older(struct queue *q, int64_t before_us) {
    struct store_request *list = NULL;
    /* From the end: the last line takes the place of one that is emptied. */
    for (uint32_t i = q->lines_count; i > 0; i--) {
        struct queue_line *line = &q->lines[i - 1];
        for (uint32_t left = line->count; left && line->head->queued_us < before_us; left--) {
            struct store_request *r = pop_head(q, line);
            r->next = list;
            list = r;
        }
    }
    return list;
}

int64_t queue_oldest_us(const struct queue *q) {
    const struct queue_line *line = oldest_line(q);
    return line ? line->head->queued_us : INT64_MAX;
}
