/* serve.h - a trained run over HTTP.
 *
 * Does:     sella_serve_start opens the run and listens; sella_serve_reload swaps in what stands at
 *           the run's path now; sella_serve_stop finishes what was accepted and frees. Routes and
 *           their JSON: docs/serving.md.
 * Memory:   options are copied.
 * Threads:  a server has its own threads; start, reload and stop are called from one. It takes no
 *           signal handlers: a program that wants them blocks the signals before it starts the
 *           server.
 * Not here: answering without HTTP (sella/engine.h).
 */
#ifndef SELLA_SERVE_H
#define SELLA_SERVE_H

#include <stddef.h>
#include <stdint.h>

#include "sella/status.h"
#include "sella/talk.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zero-initialise; NULL and 0 mean the default. */
typedef struct sella_serve_options {
    const char *run;           /* RUN folder */
    const char *model;         /* as sella_engine_options */
    const char *weights;       /* as sella_engine_options */
    /* CSV file of users and histories whose prompts' beginnings fill the prefix cache before the
     * first request */
    const char *warm;
    int64_t cache_bytes;       /* as sella_engine_options */
    int threads;               /* that scoring uses; 0: physical cores */
    const char *host;          /* address to listen on, numeric; NULL: 127.0.0.1 */
    int port;                  /* 0: any that is free (sella_serve_port) */
    /* first line: the key that requests must show; NULL: none is asked for */
    const char *api_key_file;
    const char *tls_cert;      /* PEM files, both or none */
    const char *tls_key;
    /* SQLite file that feedback goes to, made when missing; NULL: RUN/feedback.sqlite */
    const char *store;
    int no_store;              /* 1: take no feedback */
    /* file that gets a JSON line a request; "-": standard output; NULL: none */
    const char *access_log;
    /* header whose last entry names the client (behind a proxy that sets it); NULL: the peer's
     * address is the client */
    const char *client_header;
    int queue;                 /* requests that may wait for scoring; 0: 256 */
    int connections;           /* open at once; 0: 1024 */
    /* seconds: an idle connection, a slow request, a wait in the queue; 0: 30 */
    double timeout;
    size_t body_limit;         /* bytes of a request's body; 0: 1 MiB */
    const sella_talk *talk;    /* NULL: silent */
} sella_serve_options;

typedef struct sella_server sella_server;

/* Listening and ready when it returns. SELLA_ARG: wrong options; SELLA_IO: the address cannot be
 * had; others: the run does not open. */
SELLA_API sella_status sella_serve_start(const sella_serve_options *options, sella_server **out,
                                         sella_err *err);
/* The port that it listens on. */
SELLA_API int sella_serve_port(const sella_server *server);
/* "http://127.0.0.1:8080", borrowed from the server. */
SELLA_API const char *sella_serve_url(const sella_server *server);
/* Open the run's path anew, beside the loaded one, and swap between requests; also reopens the
 * access log. On failure the loaded one goes on. */
SELLA_API sella_status sella_serve_reload(sella_server *server, sella_err *err);
/* Take no new requests, finish the accepted ones, close. NULL is fine. */
SELLA_API void sella_serve_stop(sella_server *server);

/* Zero-initialise; NULL means the default. */
typedef struct sella_export_options {
    const char *store;    /* feedback store; a server may have it open */
    const char *dataset;  /* data set whose rows come first; NULL: the feedback alone */
    const char *output;   /* folder to write: new or empty */
    const char *protocol; /* as sella_grow_options */
    const char *noun;
} sella_export_options;

/* The last word of every user on every item as rows of a data set. *json (may be NULL) as
 * sella_import. */
SELLA_API sella_status sella_export_feedback(const sella_export_options *options,
                                             const sella_talk *talk, char **json, sella_err *err);

/* A load on a running server. */
typedef struct sella_serve_bench_options {
    const char *url;          /* "http://127.0.0.1:8080"; plain HTTP */
    const char *path;         /* "/v1/recommend" */
    const char *body;         /* JSON to POST; NULL: GET */
    const char *api_key_file; /* NULL: none */
    int connections;          /* 1 to 10000 */
    double seconds;           /* > 0 */
    /* requests a second, due at fixed moments (open loop); 0: as fast as answers come (closed
     * loop) */
    double rate;
    const sella_talk *talk;   /* asked whether to stop; NULL: nobody */
    /* > 0, up to 200: instead of path and body, POST /v1/score of `user` with fresh sets of so many
     * items, after one that warms the user's prefix; 0: no */
    int candidates;
    const char *user;         /* with candidates, a user with a history; NULL without */
} sella_serve_bench_options;

typedef struct sella_serve_figures {
    double seconds;
    int64_t requests; /* answered, with any status */
    int64_t errors;   /* statuses other than 2xx, and connections lost or refused */
    double rate;      /* answers a second */
    /* latency, from when a request was due; NaN: no answers */
    double p50_ms, p90_ms, p99_ms, p999_ms, max_ms;
    double service_p50_ms, service_p99_ms;          /* from when it was sent */
    int titles;     /* candidates: of the user's history; 0 without */
    double warm_ms; /* candidates: the request that warmed the prefix; NaN without */
} sella_serve_figures;

/* SELLA_IO: the server cannot be reached. With candidates also SELLA_FORMAT: what it answers is not
 * what sella serve does; SELLA_STATE: no history, or fewer items than candidates. */
SELLA_API sella_status sella_serve_bench(const sella_serve_bench_options *options,
                                         sella_serve_figures *out, sella_err *err);

#ifdef __cplusplus
}
#endif
#endif
