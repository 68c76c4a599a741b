/* The order of a fill; see the header. */
#include "fill.h"

#include "base/rng.h"

struct fill fill_make(const struct options *o, uint32_t index) {
    struct fill f = {.options = o};
    f.next = o->keys * index / o->threads;
    f.end = o->keys * (index + 1) / o->threads;
    while (f.bits < 63 && UINT64_C(1) << f.bits < o->keys) {
        f.bits++;
    }
    return f;
}

/* A permutation of the numbers of `bits` bits: multiplying by odd numbers and folding the upper
 * half onto the lower are both invertible. */
static uint64_t scatter(uint64_t x, unsigned bits) {
    static const uint64_t odd[] = {0x9e3779b97f4a7c15u, 0xbf58476d1ce4e5b9u, 0x94d049bb133111ebu};
    uint64_t mask = (UINT64_C(1) << bits) - 1;
    for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        x = (x * odd[i] + i) & mask;
        x ^= x >> (bits / 2 + 1);
    }
    return x;
}

static bool in_share(const struct options *o, uint64_t number) {
    struct rng rng = {.state = number ^ UINT64_C(0x5bd1e9955bd1e995)};
    double place = (double)(rng_next(&rng) >> 11) * 0x1p-53;
    return place >= o->share_low && place < o->share_high;
}

bool fill_next(struct fill *f, uint64_t *number) {
    const struct options *o = f->options;
    while (f->next < f->end) {
        uint64_t at = f->next++;
        if (o->order == ORDER_SHUFFLED) {
            do { /* the range is above half of the permutation's: two rounds on average at most */
                at = scatter(at, f->bits);
            } while (at >= o->keys);
        }
        if (in_share(o, at)) {
            *number = o->first_key + at;
            return true;
        }
    }
    return false;
}
