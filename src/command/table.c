/* The command table: all families' rows, numbered, and found by name.
 *
 * Names are folded to lower case eight bytes at a time and looked up by (parent, first eight bytes,
 * length) in an open-addressing table that is at most half full; what is behind the eighth byte is
 * compared with the row's name.
 *
 * 1. Immutable once made: any thread may read it.
 * 2. Ids are dense: a row's subcommands follow it directly. */
#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"
#include "command/dispatch.h"

enum { TABLE_SLOTS = 1024, FULL_NAME_CHARS_MAX = 64, TOP_LEVEL = 0 };

struct slot {
    uint64_t fold;   /* the first 8 bytes in lower case */
    const struct command *row;
    uint16_t len;    /* 0 = free */
    uint16_t parent; /* id + 1 of the container, TOP_LEVEL */
    uint16_t id;
};

struct item {
    const struct command *row;
    uint32_t parent; /* id, or COMMAND_NO_PARENT */
    char full_name[FULL_NAME_CHARS_MAX];
};

struct command_table {
    struct slot slots[TABLE_SLOTS];
    uint32_t count;
    struct item items[];
};

/* A to Z in any of the eight bytes get their lower case bit; nothing else changes. */
static inline uint64_t fold_case(uint64_t x) {
    const uint64_t ones = 0x0101010101010101ull;
    uint64_t low = x & (0x7f * ones);
    uint64_t from_a = low + (0x80 - 'A') * ones;
    uint64_t past_z = low + (0x80 - 'Z' - 1) * ones;
    return x | (((from_a & ~past_z & ~x) & (0x80 * ones)) >> 2);
}

/* The first bytes as a number, without reading past the name. */
static inline uint64_t load_prefix(const char *p, size_t len) {
    uint64_t x = 0;
    if (LIKELY(len >= 8)) {
        memcpy(&x, p, 8);
    } else if (len >= 4) {
        uint32_t a, b;
        memcpy(&a, p, 4);
        memcpy(&b, p + len - 4, 4);
        x = a | (uint64_t)b << (8 * (len - 4));
    } else if (len) {
        x = (uint8_t)p[0] | (uint64_t)(uint8_t)p[len >> 1] << (8 * (len >> 1)) |
            (uint64_t)(uint8_t)p[len - 1] << (8 * (len - 1));
    }
    return fold_case(x);
}

static inline uint32_t slot_index(uint64_t fold, size_t len, uint32_t parent) {
    uint64_t h = (fold ^ ((uint64_t)parent << 32 | len)) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(h >> 54) & (TABLE_SLOTS - 1);
}

static const struct command *find(const struct command_table *t, uint32_t parent, struct slice name,
                                  uint32_t *id) {
    uint64_t fold = load_prefix(name.ptr, name.len);
    for (uint32_t i = slot_index(fold, name.len, parent);; i = (i + 1) & (TABLE_SLOTS - 1)) {
        const struct slot *s = &t->slots[i];
        if (s->len == 0) {
            return NULL;
        }
        if (s->fold == fold && s->len == name.len && s->parent == parent) {
            if (LIKELY(name.len <= 8) ||
                strncasecmp(name.ptr + 8, s->row->name + 8, name.len - 8) == 0) {
                *id = s->id;
                return s->row;
            }
        }
    }
}

const struct command *command_table_find(const struct command_table *t, struct slice name,
                                         uint32_t *id) {
    return find(t, TOP_LEVEL, name, id);
}

const struct command *command_table_find_sub(const struct command_table *t, uint32_t parent_id,
                                             struct slice name, uint32_t *id) {
    return find(t, parent_id + 1, name, id);
}

static void check_row(const struct command *row) {
    size_t len = strlen(row->name);
    ASSERT(len > 0 && row->arity != 0 && row->summary && row->group && row->since);
    ASSERT(row->fn || row->subcommands);
    ASSERT(!row->keys_fn || row->keys.first == 0);
    for (size_t i = 0; i < len; i++) {
        ASSERT(row->name[i] < 'A' || row->name[i] > 'Z');
    }
}

static void add(struct command_table *t, const struct command *row, uint32_t parent) {
    check_row(row);
    uint32_t known, id = t->count++;
    struct item *item = &t->items[id];
    uint32_t parent_key = parent == COMMAND_NO_PARENT ? TOP_LEVEL : parent + 1;
    struct slice name = slice_str(row->name);
    ASSERT(!find(t, parent_key, name, &known));
    item->row = row;
    item->parent = parent;
    int len = parent == COMMAND_NO_PARENT
                  ? snprintf(item->full_name, sizeof item->full_name, "%s", row->name)
                  : snprintf(item->full_name, sizeof item->full_name, "%s|%s",
                             t->items[parent].row->name, row->name);
    ASSERT(len > 0 && len < FULL_NAME_CHARS_MAX);
    uint64_t fold = load_prefix(name.ptr, name.len);
    uint32_t at = slot_index(fold, name.len, parent_key);
    while (t->slots[at].len) {
        at = (at + 1) & (TABLE_SLOTS - 1);
    }
    t->slots[at] = (struct slot){.fold = fold,
                                 .row = row,
                                 .len = (uint16_t)name.len,
                                 .parent = (uint16_t)parent_key,
                                 .id = (uint16_t)id};
    for (const struct command *sub = row->subcommands; sub && sub->name; sub++) {
        add(t, sub, id);
    }
}

static uint32_t count_rows(const struct command *rows) {
    uint32_t count = 0;
    for (const struct command *row = rows; row && row->name; row++) {
        count += 1 + count_rows(row->subcommands);
    }
    return count;
}

struct command_table *command_table_create(void) {
    const struct command *const families[] = {
        string_commands,     keys_commands,   expire_commands, scan_commands,        hash_commands,
        connection_commands, client_commands, server_commands, transaction_commands,
    };
    uint32_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(families); i++) {
        count += count_rows(families[i]);
    }
    ASSERT(count <= TABLE_SLOTS / 2);
    struct command_table *t = mem_zalloc(sizeof *t + count * sizeof t->items[0]);
    for (size_t i = 0; i < ARRAY_COUNT(families); i++) {
        for (const struct command *row = families[i]; row->name; row++) {
            add(t, row, COMMAND_NO_PARENT);
        }
    }
    ASSERT(t->count == count);
    return t;
}

void command_table_destroy(struct command_table *t) {
    mem_free(t);
}

uint32_t command_table_count(const struct command_table *t) {
    return t->count;
}

const struct command *command_table_row(const struct command_table *t, uint32_t id) {
    ASSERT(id < t->count);
    return t->items[id].row;
}

const char *command_table_full_name(const struct command_table *t, uint32_t id) {
    ASSERT(id < t->count);
    return t->items[id].full_name;
}

uint32_t command_table_parent(const struct command_table *t, uint32_t id) {
    ASSERT(id < t->count);
    return t->items[id].parent;
}
