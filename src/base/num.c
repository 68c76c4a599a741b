#include "base/num.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

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
    bool negative = text.len > 0 && text.ptr[0] == '-';
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

bool num_parse_long_double(struct slice text, long double *out) {
    char copy[NUM_LONG_DOUBLE_CHARS_MAX];
    if (text.len == 0 || text.len >= sizeof copy || (unsigned char)text.ptr[0] <= ' ') {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *end;
    errno = 0;
    long double value = strtold(copy, &end);
    if ((size_t)(end - copy) != text.len || isnan(value) ||
        (errno == ERANGE && (value == HUGE_VALL || value == -HUGE_VALL || fpclassify(value) == FP_ZERO))) {
        return false;
    }
    *out = value;
    return true;
}

bool num_parse_double(struct slice text, double *out) {
    char copy[512];
    if (text.len == 0 || text.len >= sizeof copy || (unsigned char)text.ptr[0] <= ' ') {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    char *end;
    errno = 0;
    double value = strtod(copy, &end);
    if ((size_t)(end - copy) != text.len || isnan(value) ||
        (errno == ERANGE && (value == HUGE_VAL || value == -HUGE_VAL || fpclassify(value) == FP_ZERO))) {
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
        {"", 1},         {"b", 1},           {"k", 1000},          {"kb", 1024},
        {"m", 1000000},  {"mb", 1024 * 1024}, {"g", 1000000000ull}, {"gb", 1024ull * 1024 * 1024},
    };
    return parse_with_unit(text, units, ARRAY_COUNT(units), out_bytes);
}

bool num_parse_span_ms(struct slice text, int64_t unit_ms, int64_t *out_ms) {
    const struct unit units[] = {{"", (uint64_t)unit_ms}, {"ms", 1},       {"s", 1000},
                                 {"m", 60000},            {"h", 3600000},  {"d", 86400000}};
    uint64_t value;
    if (!parse_with_unit(text, units, ARRAY_COUNT(units), &value) || value > INT64_MAX) {
        return false;
    }
    *out_ms = (int64_t)value;
    return true;
}

size_t num_format_u64(char *out, uint64_t value) {
    char reversed[NUM_I64_CHARS_MAX];
    size_t len = 0;
    do {
        reversed[len++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < len; i++) {
        out[i] = reversed[len - 1 - i];
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

size_t num_format_double(char *out, double value) {
    if (isinf(value)) {
        return (size_t)sprintf(out, value > 0 ? "inf" : "-inf");
    }
    if (value == 0) {
        return (size_t)sprintf(out, signbit(value) ? "-0" : "0");
    }
    if (value > -1e15 && value < 1e15 && value == (double)(int64_t)value) {
        return num_format_i64(out, (int64_t)value);
    }
    for (int digits = 15; digits <= 17; digits++) {
        int len = snprintf(out, NUM_DOUBLE_CHARS_MAX, "%.*g", digits, value);
        if (digits == 17 || strtod(out, NULL) == value) {
            return (size_t)len;
        }
    }
    UNREACHABLE();
}

size_t num_format_long_double(char *out, long double value) {
    if (isinf(value)) {
        return (size_t)sprintf(out, value > 0 ? "inf" : "-inf");
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
