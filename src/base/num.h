#ifndef FOREBAY_BASE_NUM_H
#define FOREBAY_BASE_NUM_H
/* Numbers to text and back, with Redis's rules for what a number is. No locale, no allocation. */
#include <stdbool.h>
#include <stdint.h>
#include "base/assert.h"
#include "base/slice.h"

enum {
    NUM_I64_CHARS_MAX = 20,    /* "-9223372036854775808" */
    NUM_DOUBLE_CHARS_MAX = 32, /* shortest form that reads back exactly */
    NUM_LONG_DOUBLE_CHARS_MAX = 5120
};

/* Canonical decimals only: no sign but '-', no leading zero, no space. False leaves *out alone. */
bool num_parse_i64(struct slice text, int64_t *out) MUST_USE;
bool num_parse_u64(struct slice text, uint64_t *out) MUST_USE;
/* Decimal, exponent, inf, infinity (any case), hexadecimal as strtod; the whole text must be used,
 * no leading space, NaN and what is too large or too small refused, less than
 * NUM_LONG_DOUBLE_CHARS_MAX bytes. */
bool num_parse_double(struct slice text, double *out) MUST_USE;
bool num_parse_long_double(struct slice text, long double *out) MUST_USE;
/* Bytes with an optional unit, as redis.conf: "1gb" = 1 GiB, "1g" = 10^9, also k kb m mb b. */
bool num_parse_memory(struct slice text, uint64_t *out_bytes) MUST_USE;
/* A time span with an optional unit us (rounded up), ms, s, m, h, d; without one, `unit_ms` each
 * (at most a day). */
bool num_parse_span_ms(struct slice text, int64_t unit_ms, int64_t *out_ms) MUST_USE;

/* The power of two that is at most n; n > 0. */
static inline uint32_t num_log2(uint64_t n) {
    return 63u - (uint32_t)__builtin_clzll(n);
}

/* Write without a terminating zero; return the length. `out` has room for the constant above. */
size_t num_format_i64(char *out, int64_t value);
size_t num_format_u64(char *out, uint64_t value);
/* Shortest decimal that reads back as the same double, plain or with an exponent ("1e+21") where
 * Redis 7.2 has one; "inf", "-inf", "nan", "-0"; integers without ".0". */
size_t num_format_double(char *out, double value);
/* 17 digits behind the point, trailing zeros and point removed, as INCRBYFLOAT answers. */
size_t num_format_long_double(char *out, long double value);
/* "1.50M" as INFO's *_human fields; `out` has 32 bytes; zero-terminated. */
size_t num_format_bytes(char *out, uint64_t bytes);
#endif
