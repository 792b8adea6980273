/* server.h - the inside of a sella_server, shared by the files of this folder.
 *
 * Memory:   the server owns all of it.
 * Threads:  what changes after start is atomic or stands under `lock`.
 * Not here: the public calls (sella/serve.h).
 */
#ifndef SELLA_SERVE_SERVER_H
#define SELLA_SERVE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "sella/serve.h"
#include "serve/access_log.h"
#include "serve/http.h"
#include "serve/loaded.h"
#include "serve/metrics_text.h"
#include "serve/recorder.h"
#include "serve/watch.h"
#include "serve/worker.h"

struct sella_server {
    sella_serve_options options; /* its strings are the copies below */
    char *run_path, *model, *weights, *host, *client_header, *store, *warm;
    char *key;       /* NULL: no key is asked for */
    char url[128];
    int port;
    double started;  /* seconds since 1970 */

    pthread_mutex_t lock;
    sella_loaded *loaded; /* under lock; NULL until the first one is open */
    atomic_bool ready, stopping;
    atomic_int under_way;

    sella_watch *watch;
    sella_http *http;
    sella_worker score, look;
    sella_recorder recorder; /* its queue is NULL when no feedback is taken */
    sella_metrics *metrics;
    sella_access_log *log; /* NULL: none */
};

/* The loaded run, held: sella_loaded_drop it. NULL before the first one is open. */
sella_loaded *sella_server_loaded(sella_server *server);

typedef struct sella_gauges {
    double score_depth, look_depth, store_depth, capacity, under_way, ready, started;
} sella_gauges;
void sella_server_gauges(sella_server *server, sella_gauges *out);

/* A checked request to the thread that its route names. What is turned away is answered here. */
void sella_server_dispatch(sella_server *server, sella_exchange *x);

#endif
