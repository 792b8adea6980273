/* metrics_text.c - counters, histograms and their text (serve/metrics_text.h). */
#include "serve/metrics_text.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/arena.h"
#include "serve/routes.h"
#include "serve/server.h"

/* 0: the client went away before its answer. */
static const int codes[] = {200, 400, 401, 404, 405, 408, 413, 415, 422, 500, 501, 503, 507, 0};
static const double bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10,
                                30,     60};
enum {
    CODES = sizeof codes / sizeof *codes,
    BOUNDS = sizeof bounds / sizeof *bounds,
    ROUTES_MAX = 32
};

typedef struct histogram {
    uint64_t bucket_n[BOUNDS + 1]; /* not cumulative */
    uint64_t count;
    double sum;
} histogram;

struct sella_metrics {
    pthread_mutex_t lock;
    uint64_t requests[ROUTES_MAX][CODES];
    histogram latency[ROUTES_MAX];
    histogram waiting, working; /* of what a worker did */
    int64_t connections;
    uint64_t feedback_stored, feedback_duplicates, feedback_commits, feedback_refused, reloads,
        reloads_failed;
};

sella_status sella_metrics_new(sella_metrics **out, sella_err *err)
{
    *out = sella_alloc(1, sizeof **out, "metrics", err);
    if (*out == NULL) {
        return SELLA_MEMORY;
    }
    pthread_mutex_init(&(*out)->lock, NULL);
    return SELLA_OK;
}

void sella_metrics_free(sella_metrics *metrics)
{
    if (metrics != NULL) {
        pthread_mutex_destroy(&metrics->lock);
        free(metrics);
    }
}

static void observe(histogram *h, double seconds)
{
    int i = 0;
    while (i < BOUNDS && seconds > bounds[i]) {
        i++;
    }
    h->bucket_n[i]++;
    h->count++;
    h->sum += seconds;
}

void sella_metrics_answered(sella_metrics *metrics, const sella_exchange *x, double now)
{
    const int route = sella_route_index(x->route);
    int code = 0;
    while (code < CODES - 1 && codes[code] != x->code) {
        code++;
    }
    pthread_mutex_lock(&metrics->lock);
    metrics->requests[route][code]++;
    observe(&metrics->latency[route], now - x->arrived);
    if (x->taken > 0) {
        observe(&metrics->waiting, x->taken - x->enqueued);
        observe(&metrics->working, x->done - x->taken);
    }
    pthread_mutex_unlock(&metrics->lock);
}

void sella_metrics_connection(sella_metrics *metrics, int change)
{
    pthread_mutex_lock(&metrics->lock);
    metrics->connections += change;
    pthread_mutex_unlock(&metrics->lock);
}

void sella_metrics_feedback(sella_metrics *metrics, int stored, int duplicates, int commits,
                            int refused)
{
    pthread_mutex_lock(&metrics->lock);
    metrics->feedback_stored += (uint64_t)stored;
    metrics->feedback_duplicates += (uint64_t)duplicates;
    metrics->feedback_commits += (uint64_t)commits;
    metrics->feedback_refused += (uint64_t)refused;
    pthread_mutex_unlock(&metrics->lock);
}

void sella_metrics_reload(sella_metrics *metrics, bool worked)
{
    pthread_mutex_lock(&metrics->lock);
    metrics->reloads += worked;
    metrics->reloads_failed += !worked;
    pthread_mutex_unlock(&metrics->lock);
}

/* The text under way; a failed append (no memory) sticks. */
typedef struct page {
    sella_text text;
    sella_status status;
} page;

static void head(page *p, const char *name, const char *type, const char *help)
{
    if (p->status == SELLA_OK) {
        p->status = sella_text_format(&p->text, NULL, "# HELP %s %s\n# TYPE %s %s\n", name, help,
                                      name, type);
    }
}

static void sample(page *p, const char *name, const char *labels, double value)
{
    if (p->status == SELLA_OK) {
        p->status = sella_text_format(&p->text, NULL, "%s%s %.17g\n", name, labels, value);
    }
}

static void single(page *p, const char *name, const char *type, const char *help, double value)
{
    head(p, name, type, help);
    sample(p, name, "", value);
}

/* labels: "" or `route="x",` */
static void put_histogram(page *p, const char *name, const char *labels, const histogram *h)
{
    char series[128], where[192];
    uint64_t sum = 0;
    for (int i = 0; i <= BOUNDS; i++) {
        sum += h->bucket_n[i];
        snprintf(series, sizeof series, "%s_bucket", name);
        if (i < BOUNDS) {
            snprintf(where, sizeof where, "{%sle=\"%g\"}", labels, bounds[i]);
        } else {
            snprintf(where, sizeof where, "{%sle=\"+Inf\"}", labels);
        }
        sample(p, series, where, (double)sum);
    }
    const int bytes = (int)strlen(labels);
    where[0] = '\0';
    if (bytes > 0) {
        snprintf(where, sizeof where, "{%.*s}", bytes - 1, labels);
    }
    snprintf(series, sizeof series, "%s_sum", name);
    sample(p, series, where, h->sum);
    snprintf(series, sizeof series, "%s_count", name);
    sample(p, series, where, (double)h->count);
}

static const char *route_path(int index)
{
    return index < sella_route_count() ? sella_route_at(index)->path : "none";
}

static void put_requests(page *p, const sella_metrics *m)
{
    char labels[160];
    head(p, "sella_requests_total", "counter",
         "Requests by route and status code; code closed: the client went away first.");
    for (int r = 0; r <= sella_route_count(); r++) {
        for (int c = 0; c < CODES; c++) {
            char code[16] = "closed";
            if (codes[c] != 0) {
                snprintf(code, sizeof code, "%d", codes[c]);
            }
            snprintf(labels, sizeof labels, "{route=\"%s\",code=\"%s\"}", route_path(r), code);
            if (m->requests[r][c] > 0) {
                sample(p, "sella_requests_total", labels, (double)m->requests[r][c]);
            }
        }
    }
    head(p, "sella_request_seconds", "histogram",
         "Time from a request's first line to its answer.");
    for (int r = 0; r <= sella_route_count(); r++) {
        snprintf(labels, sizeof labels, "route=\"%s\",", route_path(r));
        if (m->latency[r].count > 0) {
            put_histogram(p, "sella_request_seconds", labels, &m->latency[r]);
        }
    }
}

/* Resident bytes now; 0 when the system does not say. */
static double resident_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%llu %llu", &size, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* What the language model was asked, and what its prefix cache spared. Counted from the loading of
 * the run on. */
static void put_model(page *p, sella_server *server)
{
    sella_engine_counts c;
    sella_loaded *loaded = sella_server_loaded(server);
    if (loaded == NULL) {
        return;
    }
    sella_engine_stats(loaded->engine, &c);
    sella_loaded_drop(loaded);
    single(p, "sella_model_rows_total", "counter", "Candidates that the language model scored.",
           (double)c.rows_scored);
    single(p, "sella_model_tokens_total", "counter", "Tokens that it computed.",
           (double)c.tokens_computed);
    single(p, "sella_model_tokens_reused_total", "counter", "Tokens that the prefix cache spared.",
           (double)c.tokens_reused);
    single(p, "sella_model_seconds_total", "counter",
           "Time in the language model: tokens by seconds is its rate.", c.seconds);
    head(p, "sella_cache_requests_total", "counter",
         "Requests by what the prefix cache had of their beginning.");
    sample(p, "sella_cache_requests_total", "{found=\"whole\"}", (double)c.cache_hits);
    sample(p, "sella_cache_requests_total", "{found=\"part\"}", (double)c.cache_parts);
    sample(p, "sella_cache_requests_total", "{found=\"nothing\"}", (double)c.cache_misses);
    single(p, "sella_cache_bytes", "gauge", "Bytes in the prefix cache.", (double)c.cache_bytes);
    single(p, "sella_cache_limit_bytes", "gauge", "Bytes that it may have.", (double)c.cache_limit);
    single(p, "sella_cache_entries", "gauge", "Entries of the prefix cache.",
           (double)c.cache_entries);
    single(p, "sella_cache_evicted_total", "counter", "Entries that made room for others.",
           (double)c.cache_evicted);
}

char *sella_metrics_text(sella_metrics *metrics, sella_server *server)
{
    page p = {.status = SELLA_OK};
    sella_gauges g;
    pthread_mutex_lock(&metrics->lock);
    const sella_metrics m = *metrics;
    pthread_mutex_unlock(&metrics->lock);
    sella_server_gauges(server, &g);
    put_requests(&p, &m);
    head(&p, "sella_queue_seconds", "histogram", "Time that requests waited for a worker.");
    put_histogram(&p, "sella_queue_seconds", "", &m.waiting);
    head(&p, "sella_work_seconds", "histogram", "Time that a worker took for a request.");
    put_histogram(&p, "sella_work_seconds", "", &m.working);
    single(&p, "sella_queue_depth", "gauge", "Requests that wait for scoring.", g.score_depth);
    single(&p, "sella_queue_capacity", "gauge", "Requests that may wait for scoring.", g.capacity);
    single(&p, "sella_lookup_queue_depth", "gauge", "Requests that wait for a look-up.",
           g.look_depth);
    single(&p, "sella_requests_under_way", "gauge",
           "Requests that are being read, worked on or answered.", g.under_way);
    single(&p, "sella_connections", "gauge", "Open connections.", (double)m.connections);
    single(&p, "sella_ready", "gauge", "1 when requests are taken.", g.ready);
    single(&p, "sella_reloads_total", "counter", "Runs loaded in place of another one.",
           (double)m.reloads);
    single(&p, "sella_reloads_failed_total", "counter", "Reloads that failed: the old run went on.",
           (double)m.reloads_failed);
    single(&p, "sella_feedback_stored_total", "counter", "Feedback events stored.",
           (double)m.feedback_stored);
    single(&p, "sella_feedback_duplicates_total", "counter",
           "Feedback events whose id was stored before.", (double)m.feedback_duplicates);
    single(&p, "sella_feedback_commits_total", "counter", "Commits of the feedback store.",
           (double)m.feedback_commits);
    single(&p, "sella_feedback_refused_total", "counter",
           "Commits that failed: nothing of them was stored or acknowledged.",
           (double)m.feedback_refused);
    single(&p, "sella_feedback_queue_depth", "gauge", "Feedback requests that wait to be written.",
           g.store_depth);
    put_model(&p, server);
    single(&p, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
    single(&p, "process_start_time_seconds", "gauge", "When the server started, since 1970.",
           g.started);
    if (p.status != SELLA_OK) {
        sella_text_release(&p.text);
        return NULL;
    }
    return p.text.data;
}
