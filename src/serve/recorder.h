/* recorder.h - the one thread that writes feedback.
 *
 * Does:     Feedback requests wait in its queue; it takes all that wait, writes them in one
 *           transaction and answers them when that is on the disk: one fsync serves many. Nothing
 *           is acknowledged that is not stored.
 * Threads:  start and stop from one thread.
 */
#ifndef SELLA_SERVE_RECORDER_H
#define SELLA_SERVE_RECORDER_H

#include <pthread.h>

#include "serve/queue.h"
#include "serve/store.h"

typedef struct sella_recorder {
    sella_server *server;
    sella_queue *queue;
    sella_store *store;
    bool running;
    pthread_t thread;
} sella_recorder;

/* capacity: requests that may wait. */
sella_status sella_recorder_start(sella_recorder *recorder, sella_server *server, const char *path,
                                  int capacity, sella_err *err);
/* Write and answer what waits, then join; a later push is turned away. */
void sella_recorder_stop(sella_recorder *recorder);
/* Free the queue and close the store, when nobody pushes any more. */
void sella_recorder_release(sella_recorder *recorder);

#endif
