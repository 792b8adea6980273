/* stream.h - a reply that goes out line by line while a worker still makes it.
 *
 * Does:     The worker that has an exchange calls sella_stream_line for each JSON value; the first
 *           one makes the connection thread send the head (200, application/x-ndjson).
 *           sella_exchange_answer ends it. Lines wait in memory: a client that reads slowly holds
 *           up nobody, and one that has gone is told to the worker, which stops.
 * Memory:   an exchange with a stream has two holders, its worker and its connection; the one that
 *           lets go last frees it.
 * Threads:  line and gone: the worker. read and sent: the connection thread. end: the worker, last
 *           of all.
 * Not here: what the lines say (serve/handlers_rank.c).
 */
#ifndef SELLA_SERVE_STREAM_H
#define SELLA_SERVE_STREAM_H

#include <sys/types.h>

#include "serve/exchange.h"

#define SELLA_STREAM_TYPE "application/x-ndjson"

/* Does this Accept header (NULL: none) name JSON lines, with a weight above 0 and at least that of
 * application/json? */
bool sella_stream_asked(const char *accept);

/* Append a line and let the connection send it; takes the reference of `value`. Returns: false when
 * nobody will read it: the client has gone, or memory is out (then the stream ends without its last
 * line). Nothing is to be written into x but by these calls afterwards. */
bool sella_stream_line(sella_exchange *x, json_t *value);
/* Has the client gone, as far as is known? false without a stream. */
bool sella_stream_gone(const sella_exchange *x);
/* No more lines come. Returns: true when x is the caller's to finish, the connection being done
 * with it. */
bool sella_stream_end(sella_exchange *x);

/* Up to `room` bytes into out. Returns: how many; 0: none yet, the connection was suspended; -1:
 * the end; -2: the end too early. */
ssize_t sella_stream_read(sella_exchange *x, char *out, size_t room);
/* The connection is done with x; whole: all of it has been sent. Returns: true when x is the
 * caller's to finish. */
bool sella_stream_sent(sella_exchange *x, bool whole);

void sella_stream_free(sella_reply_stream *stream);

#endif
