/* Start, wait, stop. The main thread makes everything, starts the shards, then samples every
 * SAMPLER_PERIOD_MS and watches memory until a signal or SHUTDOWN comes; it serves no client. What
 * it makes it unmakes in reverse: shards stopped and joined, then the store, the group, the
 * keyspace.
 *
 *     configure -> listeners -> database -> shards -> Ready -> [sample, watch]* -> stop
 *
 * 1. SIGTERM, SIGINT are blocked in every thread and read from a signalfd; SIGPIPE, SIGHUP ignored.
 * 2. Nothing is served before all of it works: what connects during the checks waits in the
 * backlog. */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "command/transaction.h"
#include "resp/inline.h"
#include "server/admin.h"
#include "server/limits.h"
#include "server/listeners.h"
#include "server/log_level.h"
#include "server/memory_watch.h"
#include "server/settings.h"

enum { EXIT_OK = 0, EXIT_START_FAILED = 1 };

/* Says why the process does not start, on the log and (when that is a file) on stderr. */
static bool refuse_start(const struct server *s, const char *why) {
    log_warning("%s", why);
    if (config_text(s->initial, "logfile")[0]) {
        fprintf(stderr, "%s\n", why);
    }
    return false;
}

static bool open_log(struct server *s) {
    const char *folder = config_text(s->initial, "dir"), *file = config_text(s->initial, "logfile");
    if (chdir(folder) != 0) {
        fprintf(stderr, "dir: can't change to '%s': %s\n", folder, strerror(errno));
        return false;
    }
    log_set_level(log_level_of(config_text(s->initial, "loglevel")));
    if (!log_open(file)) {
        fprintf(stderr, "logfile: can't open '%s': %s\n", file, strerror(errno));
        return false;
    }
    return true;
}

static void make_run_id(char out[SERVER_RUN_ID_CHARS + 1]) {
    unsigned char bytes[SERVER_RUN_ID_CHARS / 2];
    rng_system_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
}

static void identify(struct server *s) {
    make_run_id(s->run_id);
    ssize_t len = readlink("/proc/self/exe", s->executable, sizeof s->executable - 1);
    s->executable[len > 0 ? len : 0] = '\0';
    s->shards = (uint32_t)config_int(s->initial, "shards");
    if (s->shards == 0) {
        s->shards = MIN(limits_cores(), LIMITS_SHARDS_MAX);
    }
    uint32_t wanted = (uint32_t)config_int(s->initial, "maxclients");
    uint32_t granted = limits_raise_files(wanted);
    atomic_store(&s->maxclients, granted);
    log_warning("oO0OoO0OoO0Oo Forebay is starting oO0OoO0OoO0Oo");
    log_notice("Forebay %s, 64 bit, standalone mode, port %lld, %u shard%s, PID: %d",
               FOREBAY_VERSION, (long long)config_int(s->initial, "port"), s->shards,
               s->shards == 1 ? "" : "s", (int)getpid());
    if (granted < wanted) {
        log_warning("You requested maxclients of %u, but the limit of open files allows %u: "
                    "maxclients has been reduced to %u. Increase 'ulimit -n'.",
                    wanted, granted, granted);
    }
}

static bool make_store(struct server *s, struct shard_group *group) {
    const char *url = config_text(s->initial, "store");
    if (!url[0]) {
        char line[OPTION_TEXT_BYTES_MAX + 128];
        snprintf(line, sizeof line, "%s: map: there are mappings, but no 'store' is configured",
                 s->initial->maps_count ? s->initial->maps[0].where : "");
        return s->initial->maps_count == 0 || refuse_start(s, line);
    }
    struct store_params params = {
        .pool = (uint32_t)config_int(s->initial, "store-pool"),
        .timeout_ms = config_int(s->initial, "store-timeout"),
        .on_loads_bytes = shards_loads_bytes,
    };
    snprintf(params.url, sizeof params.url, "%s", url);
    snprintf(params.password_file, sizeof params.password_file, "%s",
             config_text(s->initial, "store-password-file"));
    struct resp_args words = {0};
    char *unescaped = NULL;
    struct option_breaker breaker;
    bool parsed =
        inline_split(slice_str(config_text(s->initial, "store-breaker")), &words, &unescaped) &&
        option_parse_breaker(words.v, words.count, &breaker);
    ASSERT(parsed && !unescaped); /* canonical */
    resp_args_free(&words);
    params.breaker_errors = breaker.errors;
    params.breaker_window_ms = breaker.window_ms;
    params.breaker_open_ms = breaker.open_ms;
    ASSERT(s->initial->store_where);
    char why[OPTION_WHY_CHARS_MAX] = "", line[OPTION_TEXT_BYTES_MAX + OPTION_WHY_CHARS_MAX + 32];
    s->store = store_create(&params, shards_store_complete, group, why, sizeof why);
    snprintf(line, sizeof line, "%s: store: %s", s->initial->store_where, why);
    return s->store || refuse_start(s, line);
}

/* Mappings against the database: what does not hold is refused, what cannot be checked is not. */
static bool check_maps(struct server *s) {
    for (uint32_t i = 0; i < s->initial->maps_count; i++) {
        const struct config_map *m = &s->initial->maps[i];
        char why[OPTION_WHY_CHARS_MAX] = "";
        enum store_check result = store_check_mapping(s->store, m->map, why, sizeof why);
        if (result == STORE_CHECK_UNREACHABLE) {
            log_warning("store: the database can't be reached, mappings are not checked: %s", why);
            return true;
        }
        if (result == STORE_CHECK_REFUSED) {
            fprintf(stderr,
                    "\n*** FATAL CONFIG FILE ERROR (Forebay %s) ***\n>>> 'map %s'\n%s: map: %s\n",
                    FOREBAY_VERSION, m->map->definition, m->where, why);
            log_warning("%s: map: %s", m->where, why);
            return false;
        }
    }
    return true;
}

static enum net_backend backend_of(const char *word) {
    return strcmp(word, "io_uring") == 0 ? NET_URING
           : strcmp(word, "epoll") == 0  ? NET_EPOLL
                                         : NET_AUTO;
}

static void make_group(struct server *s) {
    struct shards_params params = {
        .count = s->shards,
        .backend = backend_of(config_text(s->initial, "net")),
        .pin = config_bool(s->initial, "pin-shards"),
        .ks = s->ks,
        .commands = s->commands,
        .settings = settings_make(s->initial, atomic_load(&s->maxclients)),
        .host_ctx = s,
    };
    for (uint32_t i = 0; i < s->shards; i++) {
        params.listen_fds[i] = s->listen_fds[i];
        params.listen_fds_count[i] = s->listen_fds_count[i];
    }
    keyspace_set_params(s->ks, &params.settings->keyspace);
    admin_host_ops(&params.host);
    s->group = shards_create(&params);
    settings_unref(params.settings);
}

static bool write_pidfile(struct server *s) {
    const char *path = config_text(s->initial, "pidfile");
    if (!path[0]) {
        return true;
    }
    FILE *f = fopen(path, "we");
    if (!f) {
        log_warning("Failed to write PID file: %s", strerror(errno));
        return true; /* as Redis: not a reason not to serve */
    }
    fprintf(f, "%d\n", (int)getpid());
    fclose(f);
    s->owns_pidfile = true;
    return true;
}

static void announce(struct server *s) {
    const char *why = shards_backend_why(s->group);
    bool uring = shards_backend(s->group) == NET_URING;
    if (why[0]) {
        log_warning("io_uring is not permitted here (%s): running on epoll", why);
    } else {
        log_notice("Running on %s", uring ? "io_uring" : "epoll");
    }
    if (!mem_knows_slabs()) {
        log_notice("activedefrag compacts keys and strings alone: this allocator (%s) can't tell "
                   "where hashes and long strings leave memory unused",
                   mem_allocator_name());
    }
    log_notice("Server initialized");
    if (config_int(s->initial, "port") != 0) {
        log_notice("Ready to accept connections tcp");
    }
    if (s->owns_unixsocket) {
        log_notice("Ready to accept connections unix");
    }
}

/* Program, allocator, blocks being filled, buffers: what there is without a key is a large part of
 * so little, and no key that goes makes it less. */
static void warn_of_little_memory(const struct server *s) {
    uint64_t max = config_memory(s->initial, "maxmemory");
    uint64_t least = (uint64_t)SERVER_LEAST_BYTES * (1 + s->shards + (s->store != NULL));
    if (max && max < least) {
        log_warning("maxmemory is less than %" PRIu64 " MB, what %u shard%s%s need: resident "
                    "memory may be more than 5%% above it",
                    least >> 20, s->shards, s->shards == 1 ? "" : "s",
                    s->store ? " and a store" : "");
    }
}

static bool start(struct server *s) {
    char why[OPTION_WHY_CHARS_MAX] = "";
    if (!open_log(s)) {
        return false;
    }
    identify(s);
    s->commands = command_table_create();
    s->ks = keyspace_create(s->shards, 0, transaction_touched);
    if (!listeners_open(s, why)) {
        return refuse_start(s, why);
    }
    make_group(s);
    if (!make_store(s, s->group) || !check_maps(s)) {
        return false;
    }
    shards_set_store(s->group, s->store);
    s->startup_bytes = (uint64_t)mem_used_bytes();
    if (!shards_start(s->group, why, sizeof why)) {
        return refuse_start(s, why);
    }
    keyspace_note_base(s->ks);
    warn_of_little_memory(s);
    return write_pidfile(s);
}

static void sample(struct server *s) {
    if (++s->samples % SERVER_LIMIT_PERIOD_SAMPLES == 0) {
        admin_refresh_memory(s);
    }
    struct totals t;
    const struct totals_base none = {0};
    totals_read(s->group, s->ks, &none, &t);
    const uint64_t totals[SAMPLER_METRICS] = {t.commands, t.in_bytes, t.out_bytes};
    sampler_add(&s->sampler, clock_mono_us(), totals);
    sampler_peak(&s->sampler, (uint64_t)mem_used_bytes());
}

/* Until a signal or SHUTDOWN. */
static void wait_for_end(struct server *s, int signals_fd) {
    struct pollfd fds[] = {{.fd = signals_fd, .events = POLLIN},
                           {.fd = s->stop_fd, .events = POLLIN}};
    struct memory_watch watch = {0};
    int64_t sample_us = 0;
    for (;;) {
        int64_t now_us = clock_mono_us(), next_us = memory_watch_run(&watch, s->ks, now_us);
        if (now_us >= sample_us) {
            sample(s);
            sample_us = now_us + SAMPLER_PERIOD_MS * 1000;
        }
        int64_t wait_us = MIN(next_us, sample_us) - clock_mono_us();
        int ready = poll(fds, ARRAY_COUNT(fds), (int)MAX(wait_us / 1000 + 1, 0));
        if (ready > 0 && fds[1].revents) {
            return;
        }
        struct signalfd_siginfo got;
        if (ready > 0 && read(signals_fd, &got, sizeof got) == sizeof got) {
            log_warning("Received %s scheduling shutdown...",
                        got.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
            return;
        }
    }
}

/* Takes NULLs: what was not made yet. */
static void stop(struct server *s, bool started) {
    if (started) {
        shards_stop(s->group, atomic_load(&s->stop_now) ? 0 : SERVER_STOP_GRACE_MS);
    }
    listeners_close(s);
    store_destroy(s->store);
    shards_destroy(s->group);
    keyspace_destroy(s->ks);
    command_table_destroy(s->commands);
    if (s->owns_pidfile) {
        unlink(config_text(s->initial, "pidfile"));
    }
    config_destroy(s->config);
    config_destroy(s->initial);
    close(s->stop_fd);
    pthread_mutex_destroy(&s->config_lock);
    pthread_mutex_destroy(&s->base_lock);
    mem_free(s);
}

static int block_signals(sigset_t *set) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    return signalfd(-1, set, SFD_CLOEXEC);
}

/* A second signal while the first one's work is done. */
static void end_at_once(int signal_number) {
    _exit(EXIT_START_FAILED);
}

static void unblock_signals(const sigset_t *set) {
    struct sigaction act = {.sa_handler = end_at_once};
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    pthread_sigmask(SIG_UNBLOCK, set, NULL);
}

int server_run(struct config *config) {
    sigset_t signals;
    int signals_fd = block_signals(&signals);
    assert_install_handlers();
    mem_thread_register();
    struct server *s = mem_zalloc(sizeof *s);
    s->config = config;
    s->initial = config_copy(config);
    s->started_us = clock_mono_us();
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    ASSERT(signals_fd >= 0 && s->stop_fd >= 0);
    pthread_mutex_init(&s->config_lock, NULL);
    pthread_mutex_init(&s->base_lock, NULL);
    bool started = start(s);
    if (started) {
        announce(s);
        wait_for_end(s, signals_fd);
    }
    unblock_signals(&signals);
    stop(s, started);
    close(signals_fd);
    if (started) {
        log_warning("Forebay is now ready to exit, bye bye...");
    }
    return started ? EXIT_OK : EXIT_START_FAILED;
}
