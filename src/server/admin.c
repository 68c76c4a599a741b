/* CONFIG and SHUTDOWN. One CONFIG at a time: the lock is held while a changed configuration is
 * checked, and a mapping is checked against the database while the asking shard waits, so CONFIG
 * SET map may hold up one shard (and others that ask for CONFIG meanwhile) for at most the store's
 * timeout. */
#include "server/admin.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/info.h"
#include "server/limits.h"
#include "server/log_level.h"
#include "server/settings.h"

static struct server *server_of(struct env *env) {
    return env->host_ctx;
}

static void config_get(struct env *env, const struct slice *patterns, uint32_t count,
                       void (*fn)(void *arg, struct slice name, struct slice value), void *arg) {
    struct server *s = server_of(env);
    pthread_mutex_lock(&s->config_lock);
    config_visit(s->config, patterns, count, fn, arg);
    pthread_mutex_unlock(&s->config_lock);
}

/* Mappings that the present config does not have, against the database. */
static bool maps_hold(struct server *s, const struct config *changed, struct buf *error) {
    for (uint32_t i = 0; i < changed->maps_count; i++) {
        struct mapping *m = changed->maps[i].map;
        const struct config_map *old = config_find_map(s->config, slice_str(m->name));
        if (old && old->map == m) {
            continue;
        }
        char why[OPTION_WHY_CHARS_MAX] = "no store is configured";
        enum store_check result =
            s->store ? store_check_mapping(s->store, m, why, sizeof why) : STORE_CHECK_REFUSED;
        if (result == STORE_CHECK_REFUSED) {
            config_set_error(error, SLICE("map"), why);
            return false;
        }
        if (result == STORE_CHECK_UNREACHABLE) {
            log_warning("map %s: not checked, the database can't be reached: %s", m->name, why);
        }
    }
    return true;
}

static bool clients_fit(struct server *s, const struct config *changed, uint32_t *maxclients,
                        struct buf *error) {
    uint32_t wanted = (uint32_t)config_int(changed, "maxclients");
    *maxclients = atomic_load(&s->maxclients);
    if (wanted == (uint32_t)config_int(s->config, "maxclients")) {
        return true;
    }
    *maxclients = limits_raise_files(wanted);
    if (*maxclients < wanted) {
        char why[OPTION_WHY_CHARS_MAX];
        snprintf(why, sizeof why,
                 "The operating system is not able to handle the specified number of clients, try "
                 "with %u",
                 *maxclients);
        config_set_error(error, SLICE("maxclients"), why);
        return false;
    }
    return true;
}

bool admin_config_set(struct server *s, struct env *env, const struct slice *pairs, uint32_t count,
                      struct buf *error) {
    pthread_mutex_lock(&s->config_lock);
    uint32_t maxclients = 0;
    struct config *changed = config_changed(s->config, pairs, count, error);
    bool ok =
        changed && maps_hold(s, changed, error) && clients_fit(s, changed, &maxclients, error);
    if (ok) {
        struct settings *settings = settings_make(changed, maxclients);
        atomic_store(&s->maxclients, maxclients);
        log_set_level(log_level_of(config_text(changed, "loglevel")));
        keyspace_set_params(s->ks, &settings->keyspace);
        shards_publish(s->group, env, settings);
        config_destroy(s->config);
        s->config = changed;
    } else {
        config_destroy(changed);
    }
    pthread_mutex_unlock(&s->config_lock);
    return ok;
}

void admin_refresh_memory(struct server *s) {
    struct limits_memory limit = limits_memory();
    pthread_mutex_lock(&s->config_lock);
    uint64_t before = s->config->memory_limit_bytes;
    if (limit.bytes != before && limit.bytes > 0) {
        struct config *changed = config_copy(s->config);
        changed->memory_limit_bytes = limit.bytes;
        log_warning("The memory limit changed from %llu to %llu bytes (%s)",
                    (unsigned long long)before, (unsigned long long)limit.bytes, limit.source);
        if (config_percent(changed, "maxmemory")) {
            struct settings *settings = settings_make(changed, atomic_load(&s->maxclients));
            log_warning("maxmemory is %s of it: now %llu bytes", config_text(changed, "maxmemory"),
                        (unsigned long long)settings->keyspace.maxmemory_bytes);
            keyspace_set_params(s->ks, &settings->keyspace);
            shards_publish(s->group, NULL, settings);
        }
        config_destroy(s->config);
        s->config = changed;
    }
    pthread_mutex_unlock(&s->config_lock);
}

static bool config_set(struct env *env, const struct slice *pairs, uint32_t count,
                       struct buf *error) {
    return admin_config_set(server_of(env), env, pairs, count, error);
}

static bool rewrite(struct env *env, struct buf *error) {
    struct server *s = server_of(env);
    pthread_mutex_lock(&s->config_lock);
    bool ok = config_rewrite(s->config, error);
    pthread_mutex_unlock(&s->config_lock);
    if (ok) {
        log_notice("CONFIG REWRITE executed with success.");
    }
    return ok;
}

static void resetstat(struct env *env) {
    struct server *s = server_of(env);
    struct totals_base base;
    totals_base_read(s->ks, s->store, &base);
    pthread_mutex_lock(&s->base_lock);
    s->base = base;
    pthread_mutex_unlock(&s->base_lock);
    atomic_store(&s->sampler.peak_bytes, 0);
    shards_reset_stats(s->group);
}

static void shut_down(struct env *env, bool now) {
    struct server *s = server_of(env);
    log_notice("User requested shutdown...");
    if (now) {
        atomic_store(&s->stop_now, true);
    }
    uint64_t one = 1;
    ssize_t written = write(s->stop_fd, &one, sizeof one);
    ASSERT(written == sizeof one);
}

static void info(struct env *env, const struct slice *sections, uint32_t count, struct buf *out) {
    info_write(server_of(env), env, sections, count, out);
}

void admin_host_ops(struct host_ops *out) {
    *out = (struct host_ops){
        .info = info,
        .config_get = config_get,
        .config_set = config_set,
        .config_rewrite = rewrite,
        .config_resetstat = resetstat,
        .shutdown = shut_down,
    };
}
