/* The command line. Options are handed to the configuration parser as lines of text, so that they
 * have one syntax and one set of messages. Main thread, before anything else exists. */
#include "server/cli.h"

#include <stdio.h>

#include "base/mem.h"
#include "command/version.h"
#include "server/commands_doc.h"
#include "server/server.h"

static const char help[] =
    "Usage: forebay [/path/to/forebay.conf | -] [--option value ...]\n"
    "       forebay --version | --help | --dump-commands\n"
    "\n"
    "Without a file the built-in defaults are used; \"-\" reads the configuration from standard\n"
    "input. Options on the command line override the file's. conf/forebay.conf documents them "
    "all.\n"
    "\n"
    "Examples:\n"
    "  forebay --port 7000 --maxmemory 1gb --maxmemory-policy allkeys-lru\n"
    "  forebay /etc/forebay.conf --loglevel verbose\n"
    "  forebay --store sqlite:///var/lib/shop.db --map 'product product:{id} table=products "
    "as=hash'\n";

static bool is(const char *arg, const char *brief, const char *full) {
    return strcmp(arg, full) == 0 || (brief && strcmp(arg, brief) == 0);
}

static int run(const char *path, int argc, char **argv) {
    struct buf options = {0}, error = {0};
    struct config *config = config_create();
    config_options_text(argc, argv, &options);
    bool ok = config_load(config, path, buf_slice(&options), &error);
    if (!ok) {
        fwrite(error.ptr, 1, error.len, stderr);
        config_destroy(config);
    }
    buf_free(&options);
    buf_free(&error);
    return ok ? server_run(config) : 1;
}

int cli_main(int argc, char **argv) {
    if (argc == 2 && is(argv[1], "-v", "--version")) {
        printf("Forebay v=%s malloc=%s bits=%zu redis_version=%s\n", FOREBAY_VERSION,
               mem_allocator_name(), sizeof(void *) * 8, REDIS_VERSION);
        return 0;
    }
    if (argc == 2 && is(argv[1], "-h", "--help")) {
        fputs(help, stdout);
        return 0;
    }
    if (argc == 2 && is(argv[1], NULL, "--dump-commands")) {
        struct buf text = {0};
        commands_doc(&text);
        fwrite(text.ptr, 1, text.len, stdout);
        buf_free(&text);
        return 0;
    }
    bool has_path = argc > 1 && (argv[1][0] != '-' || argv[1][1] == '\0');
    int skip = has_path ? 2 : 1;
    return run(has_path ? argv[1] : NULL, argc - skip, argv + skip);
}
