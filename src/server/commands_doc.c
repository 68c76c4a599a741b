/* The table of all commands as Markdown: a section a group, a line a row. `forebay --dump-commands`
 * prints it, tools/check compares it with docs/commands.md. */
#include "server/commands_doc.h"

#include <ctype.h>

#include "base/assert.h"
#include "command/dispatch.h"

enum { GROUPS_MAX = 32 };

static const char *on_row_text(const struct command *c) {
    switch (c->on_row) {
    case ON_ROW_NOTHING:
        return "";
    case ON_ROW_READ:
        return "read through";
    case ON_ROW_COPY:
        return "the cached copy";
    case ON_ROW_WRITE:
        return "refused without `write=`";
    case ON_ROW_UNSUPPORTED:
        return "not supported";
    }
    UNREACHABLE();
}

/* "CLIENT ID" of "client|id". */
static void append_name(struct buf *out, const char *full_name) {
    for (; *full_name; full_name++) {
        buf_append_char(out, *full_name == '|' ? ' ' : (char)toupper((unsigned char)*full_name));
    }
}

/* In a table's cell a bar must be escaped. */
static void append_cell(struct buf *out, const char *text) {
    for (; text && *text; text++) {
        if (*text == '|') {
            buf_append_char(out, '\\');
        }
        buf_append_char(out, *text);
    }
}

static void append_row(struct buf *out, const struct command_table *t, uint32_t id) {
    const struct command *c = command_table_row(t, id);
    buf_append_slice(out, SLICE("| "));
    append_name(out, command_table_full_name(t, id));
    buf_append_slice(out, SLICE(" | "));
    if (c->syntax && c->syntax[0]) {
        buf_append_char(out, '`');
        append_cell(out, c->syntax);
        buf_append_char(out, '`');
    }
    buf_append_slice(out, SLICE(" | "));
    append_cell(out, c->summary);
    buf_append_slice(out, SLICE(" | "));
    append_cell(out, c->complexity);
    buf_printf(out, " | %s | %s |\n", c->since ? c->since : "", on_row_text(c));
}

static bool is_documented(const struct command *c) {
    return c->fn != NULL && c->group != NULL;
}

static uint32_t collect_groups(const struct command_table *t, const char *groups[GROUPS_MAX]) {
    uint32_t count = 0;
    for (uint32_t id = 0; id < command_table_count(t); id++) {
        const struct command *c = command_table_row(t, id);
        bool known = !is_documented(c);
        for (uint32_t g = 0; g < count && !known; g++) {
            known = strcmp(groups[g], c->group) == 0;
        }
        if (!known) {
            ASSERT(count < GROUPS_MAX);
            groups[count++] = c->group;
        }
    }
    return count;
}

void commands_doc(struct buf *out) {
    struct command_table *t = command_table_create();
    const char *groups[GROUPS_MAX];
    uint32_t count = collect_groups(t, groups), commands = 0;
    for (uint32_t id = 0; id < command_table_count(t); id++) {
        commands += is_documented(command_table_row(t, id));
    }
    buf_printf(out,
               "# Commands\n\nWritten by `tools/docs` from the command table; do not edit. %u "
               "commands and subcommands, with the semantics of Redis 7.2. \"On a mapped row\" "
               "says what happens when the key matches a mapping (docs/store.md).\n",
               commands);
    for (uint32_t g = 0; g < count; g++) {
        buf_printf(out, "\n## %c%s\n\n", toupper((unsigned char)groups[g][0]), groups[g] + 1);
        buf_append_slice(out, SLICE("| command | arguments | what it does | cost | since Redis | "
                                    "on a mapped row |\n| --- | --- | --- | --- | --- | --- |\n"));
        for (uint32_t id = 0; id < command_table_count(t); id++) {
            const struct command *c = command_table_row(t, id);
            if (is_documented(c) && strcmp(c->group, groups[g]) == 0) {
                append_row(out, t, id);
            }
        }
    }
    command_table_destroy(t);
}
