/* See syntax.h. A recursive descent over the line, into a tree of nodes on the stack. */
#include "command/syntax.h"

enum { NONE = -1, NAME_CHARS_MAX = 64 };

enum node_type { NODE_VALUE, NODE_TOKEN, NODE_ONEOF, NODE_BLOCK };

struct node {
    enum node_type type;
    struct slice name;  /* of groups: NULL ptr */
    struct slice token; /* ptr NULL = none */
    bool optional, multiple;
    int child, next;    /* indexes, NONE = none */
};

struct tree {
    struct node v[SYNTAX_NODES_MAX];
    int count, depth;
    const char *at;
};

/* A list of siblings being made. `repeats`: it ended in "...". */
struct siblings {
    int first, last;
    uint32_t count;
    bool repeats;
};

static int make(struct tree *t, enum node_type type) {
    ASSERT(t->count < SYNTAX_NODES_MAX);
    t->v[t->count] = (struct node){.type = type, .child = NONE, .next = NONE};
    return t->count++;
}

static void append(struct tree *t, struct siblings *s, int node) {
    if (s->last == NONE) {
        s->first = node;
    } else {
        t->v[s->last].next = node;
    }
    s->last = node;
    s->count++;
}

static void skip_spaces(struct tree *t) {
    while (*t->at == ' ') {
        t->at++;
    }
}

static struct slice take_word(struct tree *t) {
    const char *start = t->at;
    t->at += strcspn(start, " []<>|");
    ASSERT(t->at > start);
    return slice_of(start, (size_t)(t->at - start));
}

static bool is_token(struct slice word) {
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] >= 'a' && word.ptr[i] <= 'z') {
            return false;
        }
    }
    return true;
}

static struct siblings parse_alternatives(struct tree *t);

/* One node for a list: itself when it has one member, else a block. */
static int as_node(struct tree *t, const struct siblings *s) {
    ASSERT(s->count > 0);
    if (s->count == 1) {
        return s->first;
    }
    int block = make(t, NODE_BLOCK);
    t->v[block].child = s->first;
    return block;
}

/* "[key ...]" behind "key", "[...]": what stands before may come again. */
static void repeat(struct tree *t, struct siblings *s, const struct siblings *again) {
    ASSERT(s->count >= MAX(again->count, 1));
    if (again->count <= 1) {
        t->v[s->last].multiple = true;
        return;
    }
    uint32_t keep = s->count - again->count;
    int before = NONE, from = s->first;
    for (uint32_t i = 0; i < keep; i++) {
        before = from;
        from = t->v[from].next;
    }
    int block = make(t, NODE_BLOCK);
    t->v[block].child = from;
    t->v[block].multiple = true;
    if (before == NONE) {
        s->first = block;
    } else {
        t->v[before].next = block;
    }
    s->last = block;
    s->count = keep + 1;
}

static void parse_group(struct tree *t, struct siblings *s) {
    bool optional = *t->at++ == '[';
    ASSERT(++t->depth <= SYNTAX_DEPTH_MAX);
    struct siblings inner = parse_alternatives(t);
    t->depth--;
    ASSERT(*t->at == (optional ? ']' : '>'));
    t->at++;
    if (inner.repeats) {
        repeat(t, s, &inner);
        return;
    }
    int node = as_node(t, &inner);
    t->v[node].optional = optional;
    append(t, s, node);
}

static void parse_word(struct tree *t, struct siblings *s) {
    struct slice word = take_word(t);
    if (slice_eq(word, SLICE("..."))) {
        s->repeats = true;
        return;
    }
    if (!is_token(word)) {
        int node = make(t, NODE_VALUE);
        t->v[node].name = word;
        append(t, s, node);
        return;
    }
    skip_spaces(t);
    uint32_t before = s->count;
    if (*t->at == '<') {
        parse_group(t, s);
    } else if (*t->at >= 'a' && *t->at <= 'z') {
        parse_word(t, s);
    }
    if (s->count == before) {
        int node = make(t, NODE_TOKEN);
        t->v[node].name = word;
        append(t, s, node);
    }
    t->v[s->last].token = word;
}

static struct siblings parse_sequence(struct tree *t) {
    struct siblings s = {NONE, NONE, 0, false};
    for (;;) {
        skip_spaces(t);
        switch (*t->at) {
        case 0:
        case ']':
        case '>':
        case '|':
            return s;
        case '[':
        case '<':
            parse_group(t, &s);
            break;
        default:
            parse_word(t, &s);
        }
    }
}

static struct siblings parse_alternatives(struct tree *t) {
    struct siblings first = parse_sequence(t);
    if (*t->at != '|') {
        return first;
    }
    struct siblings members = {NONE, NONE, 0, false};
    append(t, &members, as_node(t, &first));
    while (*t->at == '|') {
        t->at++;
        struct siblings next = parse_sequence(t);
        append(t, &members, as_node(t, &next));
    }
    int node = make(t, NODE_ONEOF);
    t->v[node].child = members.first;
    return (struct siblings){node, node, 1, false};
}

/* --- the reply --- */

static struct slice type_name(const struct node *n) {
    static const char *const integers[] = {
        "seconds", "milliseconds", "count",  "index",  "index1", "index2", "increment",
        "decrement", "offset",     "start",  "end",    "cursor", "numkeys", "db",
        "destination-db", "client-id", "timeout", "protover", "version",
    };
    static const char *const keys[] = {"key", "newkey", "source", "destination", "key1", "key2"};
    switch (n->type) {
    case NODE_TOKEN:
        return SLICE("pure-token");
    case NODE_ONEOF:
        return SLICE("oneof");
    case NODE_BLOCK:
        return SLICE("block");
    case NODE_VALUE:
        break;
    }
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        if (slice_eq(n->name, slice_str(keys[i]))) {
            return SLICE("key");
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(integers); i++) {
        if (slice_eq(n->name, slice_str(integers[i]))) {
            return SLICE("integer");
        }
    }
    if (slice_has_prefix(n->name, SLICE("unix-time"))) {
        return SLICE("unix-time");
    }
    return slice_eq(n->name, SLICE("pattern")) ? SLICE("pattern") : SLICE("string");
}

/* In lower case; groups are named after what they are. */
static void reply_name(struct resp_writer *w, const struct node *n) {
    struct slice name = n->name.ptr ? n->name : n->token;
    char lower[NAME_CHARS_MAX];
    if (!name.ptr) {
        resp_bulk(w, n->type == NODE_BLOCK ? SLICE("data") : SLICE("option"));
        return;
    }
    ASSERT(name.len <= sizeof lower);
    for (size_t i = 0; i < name.len; i++) {
        char ch = name.ptr[i];
        lower[i] = (char)(ch >= 'A' && ch <= 'Z' ? ch - 'A' + 'a' : ch);
    }
    resp_bulk(w, slice_of(lower, name.len));
}

static void reply_list(struct resp_writer *w, const struct tree *t, int first);

static void reply_node(struct resp_writer *w, const struct tree *t, const struct node *n) {
    struct slice type = type_name(n);
    bool group = n->child != NONE, key = slice_eq(type, SLICE("key"));
    resp_map(w, 3 + (uint64_t)key + (n->token.ptr != NULL) + (n->optional || n->multiple));
    resp_bulk(w, SLICE("name"));
    reply_name(w, n);
    resp_bulk(w, SLICE("type"));
    resp_bulk(w, type);
    if (!group) {
        resp_bulk(w, SLICE("display_text"));
        reply_name(w, n);
    }
    if (key) {
        resp_bulk(w, SLICE("key_spec_index"));
        resp_int(w, 0);
    }
    if (n->token.ptr) {
        resp_bulk(w, SLICE("token"));
        resp_bulk(w, n->token);
    }
    if (n->optional || n->multiple) {
        resp_bulk(w, SLICE("flags"));
        resp_set(w, (uint64_t)n->optional + n->multiple);
        if (n->optional) {
            resp_simple(w, SLICE("optional"));
        }
        if (n->multiple) {
            resp_simple(w, SLICE("multiple"));
        }
    }
    if (group) {
        resp_bulk(w, SLICE("arguments"));
        reply_list(w, t, n->child);
    }
}

static void reply_list(struct resp_writer *w, const struct tree *t, int first) {
    uint64_t count = 0;
    for (int i = first; i != NONE; i = t->v[i].next) {
        count++;
    }
    resp_array(w, count);
    for (int i = first; i != NONE; i = t->v[i].next) {
        reply_node(w, t, &t->v[i]);
    }
}

void syntax_reply(struct resp_writer *w, const char *line) {
    struct tree t = {.at = line};
    struct siblings all = parse_alternatives(&t);
    ASSERT(*t.at == 0);
    if (all.repeats) {
        t.v[all.last].multiple = true;
    }
    reply_list(w, &t, all.first);
}
