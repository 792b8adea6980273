/* queue.h - requests that wait for a thread: bounded, and fair between clients.
 *
 * Does:     push on the connection thread, pop on a working one. Clients take turns: one request
 *           each, however many one of them has waiting. When the queue is full the newest request
 *           of the client with most waiting is turned away.
 * Memory:   exchanges are linked, not owned.
 * Threads:  any.
 */
#ifndef SELLA_SERVE_QUEUE_H
#define SELLA_SERVE_QUEUE_H

#include "serve/exchange.h"

typedef struct sella_queue sella_queue;

/* capacity: requests that may wait, >= 1. */
sella_status sella_queue_new(int capacity, sella_queue **out, sella_err *err);
/* The queue must be empty. NULL is fine. */
void sella_queue_free(sella_queue *queue);
/* Append x to its client's line. Returns what must be turned away: NULL mostly; x itself when the
 * queue is closed or x's client has most waiting; or an older exchange of another client. */
sella_exchange *sella_queue_push(sella_queue *queue, sella_exchange *x);
/* Wait for an exchange and take it; NULL: closed and empty. */
sella_exchange *sella_queue_pop(sella_queue *queue);
/* The same without waiting: NULL when nothing is there. */
sella_exchange *sella_queue_poll(sella_queue *queue);
/* No more pushes; what waits is still popped. */
void sella_queue_close(sella_queue *queue);
int sella_queue_depth(sella_queue *queue);

#endif
