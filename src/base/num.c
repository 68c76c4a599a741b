#include "base/num.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { DOUBLE_DIGITS_MAX = 17 }; /* always enough to read back */

static bool parse_magnitude(const char *p, size_t len, uint64_t *out) {
    if (len == 0 || len > 20 || (len > 1 && p[0] == '0')) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned char)p[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    *out = value;
    return true;
}

bool num_parse_u64(struct slice text, uint64_t *out) {
    return parse_magnitude(text.ptr, text.len, out);
}

bool num_parse_i64(struct slice text, int64_t *out) {
    if (text.len == 0) {
        return false;
    }
    bool negative = text.ptr[0] == '-';
    uint64_t magnitude;
    if (!parse_magnitude(text.ptr + negative, text.len - negative, &magnitude)) {
        return false;
    }
    if (negative) {
        if (magnitude == 0 || magnitude > (uint64_t)INT64_MAX + 1) {
            return false;
        }
        *out = (int64_t)(0 - magnitude);
        return true;
    }
    if (magnitude > INT64_MAX) {
        return false;
    }
    *out = (int64_t)magnitude;
    return true;
}

/* strto* wants a terminator, and takes white space that is no part of a number. */
static bool copy_number(struct slice text, char copy[NUM_LONG_DOUBLE_CHARS_MAX]) {
    if (text.len == 0 || text.len >= NUM_LONG_DOUBLE_CHARS_MAX ||
        (unsigned char)text.ptr[0] <= ' ') {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return true;
}

bool num_parse_long_double(struct slice text, long double *out) {
    char copy[NUM_LONG_DOUBLE_CHARS_MAX], *end;
    if (!copy_number(text, copy)) {
        return false;
    }
    errno = 0;
    long double value = strtold(copy, &end);
    if ((size_t)(end - copy) != text.len || isnan(value) ||
        (errno == ERANGE && (isinf(value) || value == 0))) {
        return false;
    }
    *out = value;
    return true;
}

bool num_parse_double(struct slice text, double *out) {
    char copy[NUM_LONG_DOUBLE_CHARS_MAX], *end;
    if (!copy_number(text, copy)) {
        return false;
    }
    errno = 0;
    double value = strtod(copy, &end);
    if ((size_t)(end - copy) != text.len || isnan(value) ||
        (errno == ERANGE && (isinf(value) || value == 0))) {
        return false;
    }
    *out = value;
    return true;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* Splits "123unit"; false when there is no leading number or the unit is unknown. */
static bool parse_with_unit(struct slice text, const struct unit *units, size_t units_count,
                            uint64_t *out) {
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') {
        digits++;
    }
    size_t start = 0;
    while (start + 1 < digits && text.ptr[start] == '0') {
        start++;
    }
    uint64_t number;
    if (!parse_magnitude(text.ptr + start, digits - start, &number)) {
        return false;
    }
    struct slice suffix = slice_of(text.ptr + digits, text.len - digits);
    for (size_t i = 0; i < units_count; i++) {
        if (slice_eq_nocase(suffix, slice_str(units[i].name))) {
            return !__builtin_mul_overflow(number, units[i].factor, out);
        }
    }
    return false;
}

bool num_parse_memory(struct slice text, uint64_t *out_bytes) {
    static const struct unit units[] = {
        {"", 1},
        {"b", 1},
        {"k", 1000},
        {"kb", 1024},
        {"m", 1000000},
        {"mb", 1024 * 1024},
        {"g", 1000000000ull},
        {"gb", 1024ull * 1024 * 1024},
    };
    return parse_with_unit(text, units, ARRAY_COUNT(units), out_bytes);
}

bool num_parse_span_ms(struct slice text, int64_t unit_ms, int64_t *out_ms) {
    ASSERT(unit_ms > 0 && unit_ms <= 86400000);
    const struct unit units[] = {{"", (uint64_t)unit_ms * 1000},
                                 {"us", 1},
                                 {"ms", 1000},
                                 {"s", 1000000},
                                 {"m", 60000000},
                                 {"h", 3600000000},
                                 {"d", 86400000000}};
    uint64_t value_us;
    if (!parse_with_unit(text, units, ARRAY_COUNT(units), &value_us)) {
        return false;
    }
    *out_ms = (int64_t)(value_us / 1000 + (value_us % 1000 != 0));
    return true;
}

static size_t count_digits(uint64_t value) {
    size_t count = 1;
    for (uint64_t limit = 10; value >= limit; limit *= 10) {
        if (++count == NUM_I64_CHARS_MAX) {
            break; /* the next limit would not fit */
        }
    }
    return count;
}

size_t num_format_u64(char *out, uint64_t value) {
    size_t len = count_digits(value);
    for (size_t i = len; i-- > 0; value /= 10) {
        out[i] = (char)('0' + value % 10);
    }
    return len;
}

size_t num_format_i64(char *out, int64_t value) {
    if (value < 0) {
        *out = '-';
        return 1 + num_format_u64(out + 1, 0 - (uint64_t)value);
    }
    return num_format_u64(out, (uint64_t)value);
}

/* 0.d1d2d3... x 10^point */
struct decimal {
    char digits[DOUBLE_DIGITS_MAX];
    int count, point;
};

/* The fewest digits that read back as `value` (finite, positive). Fifteen are never more than a
 * normal double holds, so shorter forms show as trailing zeros; subnormal ones hold less. */
static void shortest_decimal(double value, struct decimal *out) {
    char text[NUM_DOUBLE_CHARS_MAX];
    int count = value < DBL_MIN ? 1 : DBL_DIG;
    for (;; count++) {
        snprintf(text, sizeof text, "%.*e", count - 1, value); /* d.ddde-XX */
        if (count == DOUBLE_DIGITS_MAX || strtod(text, NULL) == value) {
            break;
        }
    }
    out->point = atoi(strchr(text, 'e') + 1) + 1;
    out->digits[0] = text[0];
    memcpy(out->digits + 1, text + 2, (size_t)count - 1);
    while (count > 1 && out->digits[count - 1] == '0') {
        count--;
    }
    out->count = count;
}

static size_t put_scientific(char *out, const struct decimal *d) {
    size_t len = 0;
    int exponent = d->point - 1;
    out[len++] = d->digits[0];
    if (d->count > 1) {
        out[len++] = '.';
        memcpy(out + len, d->digits + 1, (size_t)d->count - 1);
        len += (size_t)d->count - 1;
    }
    out[len++] = 'e';
    out[len++] = exponent < 0 ? '-' : '+';
    return len + num_format_u64(out + len, (uint64_t)abs(exponent));
}

/* Redis 7.2's choice of form: plain unless more than seven zeros had to be made up behind the
 * digits, or six places and a thousandth do not suffice. */
static size_t put_decimal(char *out, const struct decimal *d) {
    int places = d->count - d->point;
    size_t count = (size_t)d->count;
    if (places <= 0 && d->point - 1 < d->count + 7) {
        memcpy(out, d->digits, count);
        memset(out + count, '0', (size_t)-places);
        return count + (size_t)-places;
    }
    if (places <= 0 || (places >= 7 && abs(d->point - 1) >= 4)) {
        return put_scientific(out, d);
    }
    if (d->point > 0) {
        size_t whole = (size_t)d->point;
        memcpy(out, d->digits, whole);
        out[whole] = '.';
        memcpy(out + whole + 1, d->digits + whole, count - whole);
        return count + 1;
    }
    size_t zeros = (size_t)-d->point;
    memcpy(out, "0.", 2);
    memset(out + 2, '0', zeros);
    memcpy(out + 2 + zeros, d->digits, count);
    return 2 + zeros + count;
}

/* Infinity, not-a-number: 0 when it is neither. */
static size_t put_special(char *out, long double value) {
    const char *text = isnan(value) ? "nan" : isinf(value) ? (value > 0 ? "inf" : "-inf") : "";
    size_t len = strlen(text);
    memcpy(out, text, len);
    return len;
}

size_t num_format_double(char *out, double value) {
    static const double whole_max = (double)(INT64_MAX / 2); /* beyond it Redis prints digits */
    size_t len = put_special(out, value);
    if (len) {
        return len;
    }
    if (signbit(value)) {
        *out = '-';
        return 1 + num_format_double(out + 1, -value);
    }
    if (value <= whole_max && value == (double)(int64_t)value) {
        return num_format_u64(out, (uint64_t)value);
    }
    struct decimal decimal;
    shortest_decimal(value, &decimal);
    return put_decimal(out, &decimal);
}

size_t num_format_long_double(char *out, long double value) {
    size_t special = put_special(out, value);
    if (special) {
        return special;
    }
    int len = snprintf(out, NUM_LONG_DOUBLE_CHARS_MAX, "%.17Lf", value);
    ASSERT(len > 0 && len < NUM_LONG_DOUBLE_CHARS_MAX);
    while (out[len - 1] == '0') {
        len--;
    }
    if (out[len - 1] == '.') {
        len--;
    }
    if (len == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        len = 1;
    }
    return (size_t)len;
}

size_t num_format_bytes(char *out, uint64_t bytes) {
    static const char units[] = "BKMGTPE";
    if (bytes < 1024) {
        return (size_t)sprintf(out, "%lluB", (unsigned long long)bytes);
    }
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    return (size_t)sprintf(out, "%.2f%c", value, units[unit]);
}
