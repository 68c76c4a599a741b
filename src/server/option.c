/* Values of options: words of a configuration line or of CONFIG SET in, canonical text out. Reasons
 * are Redis 7.2's texts where it has one, as clients' tests compare them. Pure functions. */
#include "server/option.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "net/net.h"
#include "store/url.h"
#include "base/mem.h"

enum {
    BIND_ADDRESSES_MAX = 16, /* leaves room for the unix socket among NET_LISTENERS_MAX */
    OUTPUT_CLASSES = 3,
};
STATIC_ASSERT((int)BIND_ADDRESSES_MAX < (int)NET_LISTENERS_MAX,
              "a shard takes every address and a socket");

static bool refuse(char why[OPTION_WHY_CHARS_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(char why[OPTION_WHY_CHARS_MAX], const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why, OPTION_WHY_CHARS_MAX, format, args);
    va_end(args);
    return false;
}

static bool in_range(const struct option *o, int64_t value, char why[OPTION_WHY_CHARS_MAX]) {
    if (value >= o->min && value <= o->max) {
        return true;
    }
    return refuse(why, "argument must be between %" PRId64 " and %" PRId64 " inclusive", o->min,
                  o->max);
}

static bool take_bool(struct slice word, struct buf *out, char why[OPTION_WHY_CHARS_MAX]) {
    if (slice_eq_nocase(word, SLICE("yes"))) {
        buf_append_slice(out, SLICE("yes"));
    } else if (slice_eq_nocase(word, SLICE("no"))) {
        buf_append_slice(out, SLICE("no"));
    } else {
        return refuse(why, "argument must be 'yes' or 'no'");
    }
    return true;
}

static bool take_int(const struct option *o, struct slice word, struct buf *out,
                     char why[OPTION_WHY_CHARS_MAX]) {
    int64_t value;
    if (!num_parse_i64(word, &value)) {
        return refuse(why, "argument couldn't be parsed into an integer");
    }
    if (!in_range(o, value, why)) {
        return false;
    }
    buf_printf(out, "%" PRId64, value);
    return true;
}

static bool take_octal(const struct option *o, struct slice word, struct buf *out,
                       char why[OPTION_WHY_CHARS_MAX]) {
    int64_t value = 0;
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] < '0' || word.ptr[i] > '7' || value > o->max) {
            return refuse(why, "argument couldn't be parsed as an octal number");
        }
        value = value * 8 + (word.ptr[i] - '0');
    }
    if (word.len == 0 || value > o->max) {
        return refuse(why, "argument must be between %" PRIo64 " and %" PRIo64 " inclusive",
                      (uint64_t)o->min, (uint64_t)o->max);
    }
    buf_printf(out, "%" PRIo64, (uint64_t)value);
    return true;
}

bool option_parse_percent(struct slice text, uint32_t *percent) {
    int64_t value;
    if (text.len < 2 || text.ptr[text.len - 1] != '%' ||
        !num_parse_i64(slice_of(text.ptr, text.len - 1), &value) || value < 1 || value > 100) {
        return false;
    }
    *percent = (uint32_t)value;
    return true;
}

static bool take_memory(const struct option *o, struct slice word, struct buf *out,
                        char why[OPTION_WHY_CHARS_MAX]) {
    uint32_t percent;
    if (o->type == OPTION_MEMORY_PERCENT && option_parse_percent(word, &percent)) {
        buf_printf(out, "%u%%", percent);
        return true;
    }
    bool is_percent = word.len > 0 && word.ptr[word.len - 1] == '%';
    int64_t number;
    if (o->type == OPTION_MEMORY_PERCENT && is_percent) {
        return num_parse_i64(slice_of(word.ptr, word.len - 1), &number) && number > 100
                   ? refuse(why, "percentage argument must be less or equal to 100")
                   : refuse(why, "argument must be a memory or percent value");
    }
    uint64_t bytes;
    if (!num_parse_memory(word, &bytes) || bytes > INT64_MAX) {
        return refuse(why, "argument must be a memory value");
    }
    if (!in_range(o, (int64_t)bytes, why)) {
        return false;
    }
    buf_printf(out, "%" PRIu64, bytes);
    return true;
}

static bool take_span(const struct option *o, struct slice word, struct buf *out,
                      char why[OPTION_WHY_CHARS_MAX]) {
    int64_t ms;
    if (!num_parse_span_ms(word, 1, &ms)) {
        return refuse(why, "argument must be a time span, such as 250ms or 2s");
    }
    if (!in_range(o, ms, why)) {
        return false;
    }
    buf_printf(out, "%" PRId64 "ms", ms);
    return true;
}

static bool take_enum(const struct option *o, struct slice word, struct buf *out,
                      char why[OPTION_WHY_CHARS_MAX]) {
    for (const char *const *w = o->words; *w; w++) {
        if (slice_eq_nocase(word, slice_str(*w))) {
            buf_append_slice(out, slice_str(*w));
            return true;
        }
    }
    struct buf names = {0};
    for (const char *const *w = o->words; *w; w++) {
        buf_printf(&names, "%s%s", w == o->words ? "" : ", ", *w);
    }
    refuse(why, "argument(s) must be one of the following: %.*s", SLICE_FMT(buf_slice(&names)));
    buf_free(&names);
    return false;
}

static bool take_text(const struct option *o, struct slice word, struct buf *out,
                      char why[OPTION_WHY_CHARS_MAX]) {
    size_t max = o->max > 0 ? (size_t)o->max : OPTION_TEXT_BYTES_MAX;
    if (word.len > max) {
        return refuse(why, "argument is longer than %zu bytes", max);
    }
    buf_append_slice(out, word);
    return true;
}

static bool take(const struct option *o, struct slice word, struct buf *out,
                 char why[OPTION_WHY_CHARS_MAX]) {
    switch (o->type) {
    case OPTION_BOOL:
        return take_bool(word, out, why);
    case OPTION_INT:
        return take_int(o, word, out, why);
    case OPTION_OCTAL:
        return take_octal(o, word, out, why);
    case OPTION_MEMORY:
    case OPTION_MEMORY_PERCENT:
        return take_memory(o, word, out, why);
    case OPTION_SPAN:
        return take_span(o, word, out, why);
    case OPTION_ENUM:
        return take_enum(o, word, out, why);
    case OPTION_TEXT:
    case OPTION_PASSWORD:
        return take_text(o, word, out, why);
    case OPTION_SPECIAL:
    case OPTION_MAPS:
        break;
    }
    UNREACHABLE();
}

bool option_normalise(const struct option *o, const struct slice *words, uint32_t count,
                      const char *old, struct buf *out, char why[OPTION_WHY_CHARS_MAX]) {
    size_t start = out->len;
    for (uint32_t i = 0; i < count; i++) {
        if (memchr(words[i].ptr ? words[i].ptr : "", '\0', words[i].len)) {
            return refuse(why, "argument must not contain a zero byte");
        }
    }
    if (o->type == OPTION_SPECIAL) {
        if (!o->normalise(words, count, old, out, why)) {
            return false;
        }
    } else if (count != 1) {
        return refuse(why, "wrong number of arguments");
    } else if (!take(o, words[0], out, why)) {
        return false;
    }
    struct slice result = slice_of(out->ptr ? out->ptr + start : "", out->len - start);
    if (o->refusal && !slice_eq(result, slice_str(o->initial))) {
        return refuse(why, "%s", o->refusal);
    }
    return true;
}

void option_quote(struct buf *out, struct slice text) {
    bool plain = text.len > 0 && text.ptr[0] != '#';
    for (size_t i = 0; i < text.len && plain; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        plain = c > ' ' && c < 0x7f && c != '"' && c != '\'' && c != '\\';
    }
    if (plain) {
        buf_append_slice(out, text);
        return;
    }
    buf_append_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\') {
            buf_append_char(out, '\\');
            buf_append_char(out, (char)c);
        } else if (c < ' ' || c == 0x7f) {
            buf_printf(out, "\\x%02x", c);
        } else {
            buf_append_char(out, (char)c);
        }
    }
    buf_append_char(out, '"');
}

bool option_words(const struct slice *words, uint32_t count, const char *old, struct buf *out,
                  char why[OPTION_WHY_CHARS_MAX]) {
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_append_char(out, ' ');
        }
        buf_append_slice(out, words[i]);
    }
    return true;
}

bool option_bind(const struct slice *words, uint32_t count, const char *old, struct buf *out,
                 char why[OPTION_WHY_CHARS_MAX]) {
    if (count > BIND_ADDRESSES_MAX) {
        return refuse(why, "Too many bind addresses specified.");
    }
    return option_words(words, count, old, out, why);
}

static bool parse_breaker_errors(struct slice text, struct option_breaker *out) {
    const char *slash = memchr(text.ptr, '/', text.len);
    if (!slash) {
        return false;
    }
    size_t digits = (size_t)(slash - text.ptr);
    int64_t errors;
    if (!num_parse_i64(slice_of(text.ptr, digits), &errors) || errors < 1 || errors > 1000000 ||
        !num_parse_span_ms(slice_of(slash + 1, text.len - digits - 1), 1000, &out->window_ms)) {
        return false;
    }
    out->errors = (uint32_t)errors;
    return out->window_ms > 0;
}

bool option_parse_breaker(const struct slice *words, uint32_t count, struct option_breaker *out) {
    struct option_breaker found = {0};
    if (count == 1 && slice_eq_nocase(words[0], SLICE("off"))) {
        *out = found;
        return true;
    }
    const struct slice errors = SLICE("errors="), open = SLICE("open=");
    for (uint32_t i = 0; i < count; i++) {
        struct slice w = words[i];
        if (slice_has_prefix(w, errors)) {
            if (!parse_breaker_errors(slice_of(w.ptr + errors.len, w.len - errors.len), &found)) {
                return false;
            }
        } else if (slice_has_prefix(w, open)) {
            struct slice span = slice_of(w.ptr + open.len, w.len - open.len);
            if (!num_parse_span_ms(span, 1000, &found.open_ms) || found.open_ms <= 0) {
                return false;
            }
        } else {
            return false;
        }
    }
    if (found.errors == 0 || found.open_ms == 0) {
        return false;
    }
    *out = found;
    return true;
}

bool option_breaker(const struct slice *words, uint32_t count, const char *old, struct buf *out,
                    char why[OPTION_WHY_CHARS_MAX]) {
    struct option_breaker b;
    if (!option_parse_breaker(words, count, &b)) {
        return refuse(why, "argument must be 'off' or like 'errors=20/1s open=2s'");
    }
    return option_words(words, count, old, out, why);
}

static const char *const output_classes[OUTPUT_CLASSES] = {"normal", "slave", "pubsub"};

static int output_class(struct slice name) {
    if (slice_eq_nocase(name, SLICE("replica"))) {
        name = SLICE("slave");
    }
    for (int i = 0; i < OUTPUT_CLASSES; i++) {
        if (slice_eq_nocase(name, slice_str(output_classes[i]))) {
            return i;
        }
    }
    return -1;
}

struct option_output_limit option_output_limit_of(const char *canonical, const char *class_name) {
    const char *at = strstr(canonical, class_name);
    ASSERT(at);
    struct option_output_limit limit;
    int got = sscanf(at + strlen(class_name), " %" SCNu64 " %" SCNu64 " %" SCNu64,
                     &limit.hard_bytes, &limit.soft_bytes, &limit.soft_s);
    ASSERT(got == 3);
    return limit;
}

bool option_output_limits(const struct slice *words, uint32_t count, const char *old,
                          struct buf *out, char why[OPTION_WHY_CHARS_MAX]) {
    if (count == 0 || count % 4) {
        return refuse(why, "Wrong number of arguments in buffer limit configuration.");
    }
    struct option_output_limit limits[OUTPUT_CLASSES];
    for (int i = 0; i < OUTPUT_CLASSES; i++) {
        limits[i] = option_output_limit_of(old, output_classes[i]);
    }
    for (uint32_t i = 0; i < count; i += 4) {
        int class = output_class(words[i]);
        if (class < 0) {
            return refuse(why, "Invalid client class specified in buffer limit configuration.");
        }
        if (!num_parse_memory(words[i + 1], &limits[class].hard_bytes) ||
            !num_parse_memory(words[i + 2], &limits[class].soft_bytes) ||
            !num_parse_u64(words[i + 3], &limits[class].soft_s) ||
            limits[class].soft_s > UINT32_MAX) {
            return refuse(why, "Error in hard, soft or soft_seconds setting in buffer limit "
                               "configuration.");
        }
    }
    for (int i = 0; i < OUTPUT_CLASSES; i++) {
        buf_printf(out, "%s%s %" PRIu64 " %" PRIu64 " %" PRIu64, i ? " " : "", output_classes[i],
                   limits[i].hard_bytes, limits[i].soft_bytes, limits[i].soft_s);
    }
    return true;
}

bool option_store_url(const struct slice *words, uint32_t count, const char *old, struct buf *out,
                      char why[OPTION_WHY_CHARS_MAX]) {
    (void)old;
    if (count > 1) {
        return refuse(why, "wrong number of arguments");
    }
    if (count == 0 || words[0].len == 0) {
        return true;
    }
    struct store_url *url = mem_zalloc(sizeof *url);
    char *text = mem_dup(words[0].ptr, words[0].len);
    bool ok = store_url_parse(url, text, why, OPTION_WHY_CHARS_MAX);
    mem_free(text);
    mem_free(url);
    if (ok) {
        buf_append_slice(out, words[0]);
    }
    return ok;
}

bool option_notify_events(const struct slice *words, uint32_t count, const char *old,
                          struct buf *out, char why[OPTION_WHY_CHARS_MAX]) {
    static const char order[] = "g$lshzxetdnKEm"; /* as Redis answers them */
    static const char all[] = "g$lshzxetd";       /* what A stands for */
    bool on[sizeof order - 1] = {false};
    if (count > 1) {
        return refuse(why, "wrong number of arguments");
    }
    for (size_t i = 0; count && i < words[0].len; i++) {
        char c = words[0].ptr[i];
        const char *at = strchr(order, c);
        if (c == 'A') {
            memset(on, true, sizeof all - 1);
        } else if (c && at) {
            on[at - order] = true;
        } else {
            return refuse(why, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
        }
    }
    size_t from = 0;
    if (!memchr(on, false, sizeof all - 1)) {
        buf_append_char(out, 'A');
        from = sizeof all - 1;
    }
    for (size_t i = from; i < sizeof on; i++) {
        if (on[i]) {
            buf_append_char(out, order[i]);
        }
    }
    return true;
}
