#ifndef FOREBAY_TRACE_ACCEPTANCE_H
#define FOREBAY_TRACE_ACCEPTANCE_H
/* The bars that the engine's policies are held to, over every trace and size. Pure arithmetic. */
#include <stdbool.h>
#include <stdint.h>

/* The columns of the table. */
enum acceptance_column {
    COLUMN_LRU,
    COLUMN_ALL_LRU,
    COLUMN_S3FIFO,
    COLUMN_ALL_LFU,
    COLUMN_SIEVE,
    COLUMN_LFU,
    COLUMN_FIFO,
    COLUMN_BELADY,
    COLUMNS_COUNT
};

#define ACCEPTANCE_LRU_MAX     0.01 /* |allkeys-lru - lru|, each */
#define ACCEPTANCE_LFU_LRU_MAX 0.02 /* allkeys-lfu - lru, each */

/* Miss ratios of one trace at one size, or their means. */
struct acceptance_row {
    double ratios[COLUMNS_COUNT];
};

struct acceptance {
    struct acceptance_row mean;
    double lru_worst, lfu_worst;           /* the first and third bar's largest value */
    uint32_t lru_worst_row, lfu_worst_row; /* where */
    bool lru_good, s3fifo_good, lfu_good;
};
void acceptance_judge(const struct acceptance_row *rows, uint32_t count, struct acceptance *out);
static inline bool acceptance_is_good(const struct acceptance *a) {
    return a->lru_good && a->s3fifo_good && a->lfu_good;
}
#endif
