/* Load generator for RESP and memcached servers: starts the clients, opens and closes the window in
 * which they measure, and prints the sum. What it costs is printed beside what the server costs,
 * and a measurement that the client itself limited is marked as such. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client.h"
#include "cpu.h"
#include "options.h"

enum { POLL_MS = 20 };
#define CLIENT_BUSY_MAX 0.90 /* beyond it the client is what was measured */

struct report {
    struct client_result sum;
    double requests_per_s;
    double client_ns, server_ns; /* CPU a request; server_ns < 0: not known */
    double client_busy, server_busy;
    bool failed;
};

static void sleep_ms(int64_t ms) {
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&ts, &ts) < 0 && errno == EINTR) {
    }
}

/* Sleeps for `ms`, less when a client failed or all have measured what they should. */
static void sleep_watching(struct control *control, uint32_t threads, int64_t ms) {
    int64_t end_us = clock_mono_us() + ms * 1000;
    for (;;) {
        int64_t left_ms = (end_us - clock_mono_us() + 999) / 1000;
        if (left_ms <= 0 || atomic_load(&control->failed) ||
            atomic_load(&control->measured) == threads) {
            return;
        }
        sleep_ms(MIN(left_ms, POLL_MS));
    }
}

/* Runs the phases; the server's CPU time and the wall time of the window in *cpu_ns, *wall_ns. */
static void conduct(const struct options *o, struct control *control, int64_t *cpu_ns,
                    int64_t *wall_ns) {
    if (o->fill) { /* the clients measure while they load */
        int64_t fill_start_ns = clock_mono_ns();
        int64_t used_ns = o->server_pid ? cpu_of_process_ns(o->server_pid) : -1;
        pthread_barrier_wait(&control->loaded);
        *wall_ns = clock_mono_ns() - fill_start_ns;
        *cpu_ns = used_ns < 0 ? -1 : cpu_of_process_ns(o->server_pid) - used_ns;
        return;
    }
    pthread_barrier_wait(&control->loaded);
    sleep_watching(control, o->threads, (int64_t)(o->warmup_s * 1000));
    atomic_store(&control->phase, PHASE_MEASURE);
    int64_t start_ns = clock_mono_ns();
    int64_t cpu_start_ns = o->server_pid ? cpu_of_process_ns(o->server_pid) : -1;
    int64_t limit_ms = o->requests ? INT64_C(1) << 40 : (int64_t)(o->seconds * 1000);
    sleep_watching(control, o->threads, limit_ms);
    int64_t cpu_end_ns = o->server_pid ? cpu_of_process_ns(o->server_pid) : -1;
    *wall_ns = clock_mono_ns() - start_ns;
    atomic_store(&control->phase, PHASE_STOP);
    *cpu_ns = cpu_start_ns < 0 || cpu_end_ns < 0 ? -1 : cpu_end_ns - cpu_start_ns;
}

static void add_counts(struct reply_counts *into, const struct reply_counts *from) {
    into->errors += from->errors;
    into->misses += from->misses;
    into->wrong += from->wrong;
    if (!into->first[0]) {
        memcpy(into->first, from->first, sizeof(into->first));
    }
}

static void summarize(struct report *r, const struct options *o, const struct client *clients,
                      int64_t server_cpu_ns, int64_t wall_ns) {
    for (uint32_t i = 0; i < o->threads; i++) {
        const struct client_result *c = &clients[i].result;
        histogram_add(&r->sum.latency, &c->latency);
        histogram_add(&r->sum.lag, &c->lag);
        add_counts(&r->sum.counts, &c->counts);
        r->sum.replies += c->replies;
        r->sum.cpu_ns += c->cpu_ns;
        r->sum.unanswered += c->unanswered;
        r->failed = r->failed || c->failed;
        if (c->window_ns > 0) {
            r->requests_per_s += (double)c->replies * 1e9 / (double)c->window_ns;
            r->client_busy = MAX(r->client_busy, (double)c->cpu_ns / (double)c->window_ns);
        }
    }
    r->client_ns = r->sum.replies ? (double)r->sum.cpu_ns / (double)r->sum.replies : 0;
    r->server_busy = server_cpu_ns >= 0 ? (double)server_cpu_ns / (double)wall_ns : -1;
    r->server_ns = -1;
    if (r->server_busy >= 0 && r->sum.replies > 0) {
        /* A fixed number may be reached before main looks: then the rest of its window is idle. */
        r->server_ns = o->requests || o->fill ? (double)server_cpu_ns / (double)r->sum.replies
                                              : r->server_busy * 1e9 / r->requests_per_s;
    }
    r->failed = r->failed || r->sum.counts.errors || r->sum.counts.wrong || r->sum.unanswered ||
                r->sum.replies == 0 || (r->sum.counts.misses && !o->allow_miss);
}

static double us(const struct histogram *h, double percent) {
    return (double)histogram_percentile(h, percent) / 1000;
}

/* A JSON string's inside: what is not plain ASCII becomes '?'. */
static void print_escaped(const char *text) {
    for (; *text; text++) {
        bool plain = *text >= ' ' && *text <= '~' && *text != '"' && *text != '\\';
        putchar(plain ? *text : '?');
    }
}

static void print_json(const struct report *r, const struct options *o) {
    const struct histogram *h = &r->sum.latency;
    printf("{\"op\":\"%s\",\"pipeline\":%u,\"connections\":%u,\"threads\":%u,\"requests\":%llu,"
           "\"requests_per_s\":%.1f,\"server_ns\":%.1f,\"client_ns\":%.1f,\"server_busy\":%.3f,"
           "\"client_busy\":%.3f,\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,"
           "\"max_us\":%.2f,\"lag_p99_us\":%.2f,\"errors\":%llu,\"misses\":%llu,\"wrong\":%llu,"
           "\"unanswered\":%llu,\"failed\":%s,\"first_error\":\"",
           options_op_name(o->op), o->pipeline, o->connections, o->threads,
           (unsigned long long)r->sum.replies, r->requests_per_s, r->server_ns, r->client_ns,
           r->server_busy, r->client_busy, us(h, 50), us(h, 90), us(h, 99), us(h, 99.9),
           (double)h->max / 1000, us(&r->sum.lag, 99), (unsigned long long)r->sum.counts.errors,
           (unsigned long long)r->sum.counts.misses, (unsigned long long)r->sum.counts.wrong,
           (unsigned long long)r->sum.unanswered, r->failed ? "true" : "false");
    print_escaped(r->sum.counts.first);
    printf("\"}\n");
}

static void print_text(const struct report *r, const struct options *o) {
    const struct histogram *h = &r->sum.latency;
    printf("%s, pipeline %u, %u connections, %u threads: %.0f requests/s\n", options_op_name(o->op),
           o->pipeline, o->connections, o->threads, r->requests_per_s);
    printf("latency us: p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f\n", us(h, 50), us(h, 90),
           us(h, 99), us(h, 99.9), (double)h->max / 1000);
    if (o->rate > 0) {
        printf("sent late us: p50 %.1f  p99 %.1f  max %.1f; unanswered %llu\n", us(&r->sum.lag, 50),
               us(&r->sum.lag, 99), (double)r->sum.lag.max / 1000,
               (unsigned long long)r->sum.unanswered);
    }
    printf("client: %.0f ns CPU a request, busiest thread %.0f%%\n", r->client_ns,
           r->client_busy * 100);
    if (r->server_ns >= 0) {
        printf("server: %.0f ns CPU a request, %.0f%% of a core\n", r->server_ns,
               r->server_busy * 100);
    }
    const struct reply_counts *c = &r->sum.counts;
    if (c->errors || c->wrong || c->misses) {
        printf("errors %llu, wrong replies %llu, misses %llu; first: %s\n",
               (unsigned long long)c->errors, (unsigned long long)c->wrong,
               (unsigned long long)c->misses, c->first);
    }
}

int main(int argc, char **argv) {
    struct options o;
    if (!options_parse(&o, argc, argv)) {
        return 2;
    }
    struct control control = {.phase = PHASE_WARMUP};
    pthread_barrier_init(&control.loaded, NULL, o.threads + 1);
    struct client *clients = mem_zalloc(sizeof(*clients) * o.threads);
    for (uint32_t i = 0; i < o.threads; i++) {
        if (!client_start(&clients[i], &o, &control, i)) {
            fprintf(stderr, "loadgen: can't start a thread\n");
            return 2; /* threads that run end with the process */
        }
    }
    int64_t server_cpu_ns, wall_ns;
    conduct(&o, &control, &server_cpu_ns, &wall_ns);
    for (uint32_t i = 0; i < o.threads; i++) {
        client_join(&clients[i]);
    }
    struct report report = {0};
    summarize(&report, &o, clients, server_cpu_ns, wall_ns);
    if (o.json) {
        print_json(&report, &o);
    } else if (report.sum.replies > 0) {
        print_text(&report, &o);
    }
    if (report.client_busy > CLIENT_BUSY_MAX && !o.spin && o.rate == 0) {
        fprintf(stderr, "loadgen: the client's core is %.0f%% busy: this measured the client\n",
                report.client_busy * 100);
    }
    pthread_barrier_destroy(&control.loaded);
    mem_free(clients);
    return report.failed ? 1 : 0;
}
