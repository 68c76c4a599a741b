/* replay: plays traces through caches; see README.md. Reads the command line and the traces, and
 * hands them to the mode. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/mem.h"
#include "report.h"

static bool add_trace(struct traces *traces, const struct options *o, const char *path) {
    char error[TRACE_ERROR_BYTES];
    if (traces->count == TRACES_MAX) {
        report_failure("more than 64 traces");
        return false;
    }
    if (!trace_read(&traces->list[traces->count], path, &o->how, error)) {
        report_failure(error);
        return false;
    }
    traces->count++;
    return true;
}

static bool ends_with(const char *name, const char *end) {
    size_t len = strlen(name), end_len = strlen(end);
    return len > end_len && strcmp(name + len - end_len, end) == 0;
}

static int is_trace(const struct dirent *entry) {
    return entry->d_name[0] != '.' &&
           (ends_with(entry->d_name, ".txt") || ends_with(entry->d_name, ".trace") ||
            ends_with(entry->d_name, ".xz"));
}

/* A folder's traces, in the order of their names. */
static bool add_folder(struct traces *traces, const struct options *o, const char *path) {
    struct dirent **entries;
    int count = scandir(path, &entries, is_trace, alphasort);
    bool good = count > 0;
    if (!good) {
        fprintf(stderr, "replay: %s: no .txt, .trace or .xz files in it\n", path);
    }
    for (int i = 0; i < count; i++) {
        struct buf full = {NULL};
        buf_printf(&full, "%s/%s", path, entries[i]->d_name);
        buf_append_char(&full, '\0');
        good = good && add_trace(traces, o, full.ptr);
        buf_free(&full);
        free(entries[i]);
    }
    if (count >= 0) {
        free(entries);
    }
    return good;
}

static int run(const struct options *o, const struct traces *traces) {
    switch (o->mode) {
    case MODE_TABLE:
        return report_table(o, traces);
    case MODE_CURVE:
        return report_curves(o, traces);
    case MODE_BUDGET:
        return report_budget(o, traces);
    case MODE_SERVERS:
        return report_servers(o, traces);
    case MODE_PEERS:
        return report_peers(o, traces);
    case MODE_POLICIES:
        return report_policies(o, traces);
    }
    UNREACHABLE();
}

int main(int argc, char **argv) {
    struct options o;
    struct traces traces = {.count = 0};
    int status;
    mem_thread_register();
    if (!options_parse(&o, argc, argv, &status)) {
        return status;
    }
    bool good = true;
    for (uint32_t i = 0; good && i < o.paths_count; i++) {
        struct stat info;
        bool folder = stat(o.paths[i], &info) == 0 && S_ISDIR(info.st_mode);
        good = folder ? add_folder(&traces, &o, o.paths[i]) : add_trace(&traces, &o, o.paths[i]);
    }
    status = good ? run(&o, &traces) : STATUS_FAILED;
    for (uint32_t i = 0; i < traces.count; i++) {
        trace_destroy(traces.list[i]);
    }
    return status;
}
