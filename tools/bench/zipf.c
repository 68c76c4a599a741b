/* Zipf-distributed ranks; see the header. The hat function is x^-theta. */
#include "zipf.h"

#include <math.h>
#include "base/assert.h"

static double hat(const struct zipf *z, double x) {
    return exp(-z->theta * log(x));
}

/* The hat's antiderivative (x^(1-theta) - 1) / (1 - theta), which is log x at theta = 1. */
static double integral(const struct zipf *z, double x) {
    double t = (1.0 - z->theta) * log(x);
    return fabs(t) < 1e-9 ? log(x) : expm1(t) / (1.0 - z->theta);
}

static double integral_inverse(const struct zipf *z, double y) {
    double t = y * (1.0 - z->theta);
    return fabs(t) < 1e-9 ? exp(y) : exp(log1p(MAX(t, -1.0)) / (1.0 - z->theta));
}

static uint64_t gcd(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

void zipf_init(struct zipf *z, uint64_t count, double theta) {
    ASSERT(count > 0 && theta > 0);
    *z = (struct zipf){.count = count, .theta = theta};
    z->integral_low = integral(z, 1.5) - 1.0;
    z->integral_high = integral(z, (double)count + 0.5);
    z->squeeze = 2.0 - integral_inverse(z, integral(z, 2.5) - hat(z, 2.0));
    z->factor = UINT64_C(11400714819323198485) % count | 1;
    while (gcd(z->factor, count) != 1) {
        z->factor += 2;
    }
}

uint64_t zipf_next(const struct zipf *z, struct rng *rng) {
    for (;;) {
        double unit = (double)(rng_next(rng) >> 11) * 0x1p-53;
        double u = z->integral_high + unit * (z->integral_low - z->integral_high);
        double x = integral_inverse(z, u);
        double k = MIN(MAX(floor(x + 0.5), 1.0), (double)z->count);
        if (k - x <= z->squeeze || u >= integral(z, k + 0.5) - hat(z, k)) {
            return (uint64_t)k - 1;
        }
    }
}

uint64_t zipf_scatter(const struct zipf *z, uint64_t rank) {
    return (uint64_t)((unsigned __int128)rank * z->factor % z->count);
}
