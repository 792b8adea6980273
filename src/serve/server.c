/* server.c - starting, reloading and stopping a server; who works on what (sella/serve.h). */
#include "serve/server.h"

#include <time.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "serve/credential.h"
#include "serve/problem.h"
#include "serve/routes.h"

enum { QUEUE = 256, CONNECTIONS = 1024, BODY = 1 << 20 };
#define TIMEOUT 30.0

sella_loaded *sella_server_loaded(sella_server *server)
{
    pthread_mutex_lock(&server->lock);
    sella_loaded *loaded = sella_loaded_take(server->loaded);
    pthread_mutex_unlock(&server->lock);
    return loaded;
}

void sella_server_gauges(sella_server *server, sella_gauges *out)
{
    *out = (sella_gauges){.capacity = server->options.queue,
                          .under_way = atomic_load(&server->under_way),
                          .ready = atomic_load(&server->ready) && !atomic_load(&server->stopping),
                          .started = server->started,
                          .score_depth = sella_queue_depth(server->score.queue),
                          .look_depth = sella_queue_depth(server->look.queue),
                          .store_depth = server->recorder.queue != NULL
                                             ? sella_queue_depth(server->recorder.queue)
                                             : 0};
}

void sella_server_dispatch(sella_server *server, sella_exchange *x)
{
    sella_queue *queue = NULL;
    switch (x->route->place) {
    case SELLA_PLACE_LOOK: queue = server->look.queue; break;
    case SELLA_PLACE_SCORE: queue = server->score.queue; break;
    case SELLA_PLACE_STORE: queue = server->recorder.queue; break;
    case SELLA_PLACE_HERE: break;
    }
    x->enqueued = sella_now();
    if (queue == NULL) {
        sella_problem(x, 501, "this server takes no feedback");
        sella_exchange_answer(x);
        return;
    }
    sella_exchange *away = sella_queue_push(queue, x);
    if (away != NULL) {
        away->retry_after = 1;
        sella_problem(away, 503, "%d requests are waiting already; try again in a second",
                      server->options.queue);
        sella_exchange_answer(away);
    }
}

static sella_status copy(const char *text, char **out, sella_err *err)
{
    if (text == NULL) {
        return SELLA_OK;
    }
    *out = strdup(text);
    return *out != NULL ? SELLA_OK : sella_err_memory(err, "an option", strlen(text));
}

static sella_status check(sella_serve_options *o, sella_err *err)
{
    if (o->run == NULL) {
        return sella_err_set(err, SELLA_ARG, "the path of a run is needed");
    }
    if ((o->tls_cert == NULL) != (o->tls_key == NULL)) {
        return sella_err_set(err, SELLA_ARG, "TLS needs both a certificate and its key");
    }
    o->queue = o->queue == 0 ? QUEUE : o->queue;
    o->connections = o->connections == 0 ? CONNECTIONS : o->connections;
    o->timeout = o->timeout > 0 ? o->timeout : TIMEOUT;
    o->body_limit = o->body_limit == 0 ? BODY : o->body_limit;
    if (o->queue < 1 || o->connections < 1 || o->port < 0 || o->port > 65535) {
        return sella_err_set(
            err, SELLA_ARG,
            "queue %d, connections %d, port %d; expected 1 or more, 1 or more, 0 to 65535",
            o->queue, o->connections, o->port);
    }
    return SELLA_OK;
}

/* Where feedback goes: what was asked for, or RUN/feedback.sqlite. */
static sella_status store_path(sella_server *server, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *record = NULL;
    if (server->options.store != NULL) {
        return copy(server->options.store, &server->store, err);
    }
    if (!sella_path_is_dir(server->run_path)) {
        SELLA_TRY(
            sella_err_set(err, SELLA_MISSING, "%s: there is no such run", server->run_path));
    }
    record = sella_path_join(server->run_path, "run.json", NULL);
    server->store = sella_path_join(server->run_path, "feedback.sqlite", NULL);
    if (record == NULL || server->store == NULL) {
        SELLA_TRY(sella_err_memory(err, "a path", 0));
    }
    if (!sella_path_exists(record)) { // no store in a folder that is something else
        SELLA_TRY(sella_err_set(err, SELLA_MISSING, "%s: is not a run: it has no run.json",
                                server->run_path));
    }
done:
    free(record);
    return status;
}

static sella_status start_recorder(sella_server *server, sella_err *err)
{
    sella_err first = {0};
    sella_status status = store_path(server, err);
    if (status != SELLA_OK) {
        return status;
    }
    status = sella_recorder_start(&server->recorder, server, server->store, server->options.queue,
                                  &first);
    if (status == SELLA_IO && server->options.store == NULL) { // a run that cannot be written
        return sella_err_set(err, status,
                             "%s (--store FILE keeps feedback elsewhere, --no-store takes none)",
                             first.text);
    }
    return status == SELLA_OK ? status : sella_err_set(err, status, "%s", first.text);
}

static sella_status prepare(sella_server *server, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_serve_options *o = &server->options;
    pthread_mutex_init(&server->lock, NULL);
    server->started = (double)time(NULL);
    SELLA_TRY(copy(o->run, &server->run_path, err));
    SELLA_TRY(copy(o->model, &server->model, err));
    SELLA_TRY(copy(o->weights, &server->weights, err));
    SELLA_TRY(copy(o->host != NULL ? o->host : "127.0.0.1", &server->host, err));
    SELLA_TRY(copy(o->warm, &server->warm, err));
    SELLA_TRY(copy(o->client_header, &server->client_header, err));
    if (o->api_key_file != NULL) {
        SELLA_TRY(sella_credential_read(o->api_key_file, &server->key, err));
    }
    if (o->access_log != NULL) {
        SELLA_TRY(sella_access_log_open(o->access_log, &server->log, err));
    }
    SELLA_TRY(sella_watch_start(2 * o->timeout, &server->watch, err));
    SELLA_TRY(sella_metrics_new(&server->metrics, err));
    if (!o->no_store) {
        SELLA_TRY(start_recorder(server, err));
    }
    SELLA_TRY(sella_worker_start(&server->score, server, server->store, o->queue, o->threads,
                                 o->timeout, err));
    SELLA_TRY(
        sella_worker_start(&server->look, server, server->store, o->queue, 1, o->timeout, err));
done:
    return status;
}

/* Open the run's path and put it in the place of what is loaded. */
static sella_status load(sella_server *server, sella_err *err)
{
    sella_loaded *fresh = NULL;
    const sella_engine_options options = {.model = server->model,
                                          .threads = server->options.threads,
                                          .talk = server->options.talk,
                                          .weights = server->weights,
                                          .cache_bytes = server->options.cache_bytes};
    int64_t warmed = 0;
    sella_status status = sella_loaded_open(server->run_path, &options, &fresh, err);
    if (status == SELLA_OK && server->warm != NULL) { // nobody else has it yet
        status = sella_engine_warm(fresh->engine, server->warm, &warmed, err);
        if (status == SELLA_OK) {
            sella_say(server->options.talk, SELLA_LEVEL_INFO, "warmed with %lld rows of %s",
                      (long long)warmed, server->warm);
        } else {
            sella_loaded_drop(fresh);
        }
    }
    if (status == SELLA_OK) {
        sella_loaded_opened(fresh);
        pthread_mutex_lock(&server->lock);
        sella_loaded *old = server->loaded;
        server->loaded = fresh;
        pthread_mutex_unlock(&server->lock);
        sella_loaded_drop(old);
    }
    return status;
}

sella_status sella_serve_start(const sella_serve_options *options, sella_server **out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_server *server = sella_alloc(1, sizeof *server, "a server", err);
    *out = NULL;
    if (server == NULL) {
        return SELLA_MEMORY;
    }
    server->options = *options;
    SELLA_TRY(check(&server->options, err));
    SELLA_TRY(prepare(server, err));
    SELLA_TRY(sella_http_start(server, options->tls_cert, options->tls_key, &server->http,
                               &server->port, err));
    const bool six = strchr(server->host, ':') != NULL;
    snprintf(server->url, sizeof server->url, "%s://%s%.64s%s:%d",
             options->tls_cert != NULL ? "https" : "http", six ? "[" : "", server->host,
             six ? "]" : "", server->port);
    SELLA_TRY(load(server, err));
    atomic_store(&server->ready, true);
    *out = server;
    server = NULL;
done:
    sella_serve_stop(server);
    return status;
}

int sella_serve_port(const sella_server *server)
{
    return server->port;
}

const char *sella_serve_url(const sella_server *server)
{
    return server->url;
}

sella_status sella_serve_reload(sella_server *server, sella_err *err)
{
    sella_status status = load(server, err);
    sella_metrics_reload(server->metrics, status == SELLA_OK);
    if (status == SELLA_OK && server->log != NULL) {
        status = sella_access_log_reopen(server->log, err);
    }
    return status;
}

static void wait_for_answers(sella_server *server)
{
    const double start = sella_now();
    const struct timespec moment = {.tv_nsec = 5000000};
    while (atomic_load(&server->under_way) > 0 && sella_now() - start < server->options.timeout) {
        nanosleep(&moment, NULL);
    }
}

void sella_serve_stop(sella_server *server)
{
    if (server == NULL) {
        return;
    }
    atomic_store(&server->stopping, true);
    if (server->http != NULL) {
        sella_http_quiesce(server->http);
        wait_for_answers(server);
    }
    sella_worker_stop(&server->score);
    sella_worker_stop(&server->look);
    sella_recorder_stop(&server->recorder);
    sella_http_stop(server->http);
    sella_watch_stop(server->watch);
    sella_worker_release(&server->score);
    sella_worker_release(&server->look);
    sella_recorder_release(&server->recorder);
    sella_loaded_drop(server->loaded);
    sella_access_log_close(server->log);
    sella_metrics_free(server->metrics);
    if (server->key != NULL) {
        explicit_bzero(server->key, strlen(server->key));
    }
    free(server->key);
    free(server->run_path);
    free(server->model);
    free(server->weights);
    free(server->host);
    free(server->client_header);
    free(server->store);
    free(server->warm);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
