/* worker.h - a thread that works off a queue of requests.
 *
 * Does:     start -> requests pushed to its queue are answered one after the other -> stop answers
 *           what waits and joins. One worker owns the scoring of a loaded run; a second one looks
 *           things up, so that a title search does not wait behind a scoring.
 * Threads:  start and stop from one thread.
 */
#ifndef SELLA_SERVE_WORKER_H
#define SELLA_SERVE_WORKER_H

#include <pthread.h>

#include "serve/queue.h"

typedef struct sella_worker {
    sella_server *server;
    sella_queue *queue;
    sella_store *reader; /* feedback; NULL: none is kept */
    int threads;      /* that its computing uses */
    double patience;  /* seconds a request may wait */
    bool running;
    pthread_t thread;
} sella_worker;

/* store: path of the feedback store, which is there; NULL: none. */
sella_status sella_worker_start(sella_worker *worker, sella_server *server, const char *store,
                                int capacity, int threads, double patience, sella_err *err);
/* Answer what waits, then join; a later push is turned away. */
void sella_worker_stop(sella_worker *worker);
/* Free queue and reader of a stopped worker, when nobody pushes any more. */
void sella_worker_release(sella_worker *worker);

#endif
