/* Splitting of inline requests. Words without quotes are borrowed; from the first quote on a word
 * is copied into one block that has room for the whole line, as unescaping never makes text longer.
 * Pure functions, any thread. */
#include "resp/inline.h"

#include "base/mem.h"

struct splitter {
    const char *at, *end;
    char *unescaped; /* block of the words with quotes; NULL before the first one */
    char *out;       /* where the next of their bytes goes */
    size_t block_bytes;
};

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Vertical tab and form feed part no words, though they are skipped between them. */
static bool ends_word(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char unescape(char c) {
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* At a backslash inside double quotes, with at least one byte behind it. */
static void take_escape(struct splitter *s) {
    if (s->end - s->at >= 4 && s->at[1] == 'x') {
        int high = hex_digit(s->at[2]), low = hex_digit(s->at[3]);
        if (high >= 0 && low >= 0) {
            *s->out++ = (char)(high * 16 + low);
            s->at += 4;
            return;
        }
    }
    *s->out++ = unescape(s->at[1]);
    s->at += 2;
}

/* Past an opening quote: takes the text up to the closing one, which must end the word. */
static bool take_quoted(struct splitter *s, char quote) {
    while (s->at < s->end && *s->at != quote) {
        bool escaped = *s->at == '\\' && s->end - s->at >= 2;
        if (escaped && quote == '"') {
            take_escape(s);
        } else if (escaped && s->at[1] == '\'') {
            *s->out++ = '\'';
            s->at += 2;
        } else {
            *s->out++ = *s->at++;
        }
    }
    if (s->at == s->end) {
        return false;
    }
    s->at++;
    return s->at == s->end || is_blank(*s->at);
}

static bool take_word(struct splitter *s, struct resp_args *args) {
    const char *start = s->at;
    while (s->at < s->end && !ends_word(*s->at) && *s->at != '"' && *s->at != '\'') {
        s->at++;
    }
    size_t plain = (size_t)(s->at - start);
    if (s->at == s->end || ends_word(*s->at)) {
        resp_args_push(args, slice_of(start, plain));
        return true;
    }
    if (!s->unescaped) {
        s->unescaped = s->out = mem_alloc(s->block_bytes);
    }
    char *word = s->out;
    memcpy(word, start, plain);
    s->out += plain;
    char quote = *s->at++;
    if (!take_quoted(s, quote)) {
        return false;
    }
    resp_args_push(args, slice_of(word, (size_t)(s->out - word)));
    return true;
}

bool inline_split(struct slice line, struct resp_args *args, char **unescaped) {
    struct splitter s = {.at = line.ptr, .end = line.ptr + line.len, .block_bytes = line.len + 1};
    *unescaped = NULL;
    for (;;) {
        while (s.at < s.end && is_blank(*s.at)) {
            s.at++;
        }
        if (s.at == s.end) {
            *unescaped = s.unescaped;
            return true;
        }
        if (!take_word(&s, args)) {
            mem_free(s.unescaped);
            return false;
        }
    }
}
