/* exchange.h - one request and its reply, on its way through the server.
 *
 * Does:     The connection thread makes it (serve/http.c), a route's `parse` checks the request,
 *           its `work` fills the reply with sella_reply_json, sella_reply_static or sella_problem,
 *           the connection thread sends it.
 * Memory:   owned by the connection thread, except between its place in a queue and
 *           sella_exchange_answer. With a stream: serve/stream.h.
 * Threads:  one thread at a time has it; with a stream its worker and the connection thread have it
 *           together.
 */
#ifndef SELLA_SERVE_EXCHANGE_H
#define SELLA_SERVE_EXCHANGE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"
#include "serve/target.h"

struct MHD_Connection;
typedef struct sella_server sella_server;
typedef struct sella_route sella_route;
typedef struct sella_ask sella_ask;
typedef struct sella_feedback sella_feedback;
typedef struct sella_store sella_store;
typedef struct sella_loaded sella_loaded;
typedef struct sella_reply_stream sella_reply_stream;

enum { SELLA_CLIENT_MAX = 64 }; /* bytes of a client's name with its zero */

typedef struct sella_exchange {
    sella_server *server;
    struct MHD_Connection *connection; /* NULL in tests of handlers */
    char method[16];
    sella_target target;
    const sella_route *route; /* NULL: none */
    const char *tail;         /* what stands behind the route's prefix, into target.path; "" */
    char client[SELLA_CLIENT_MAX];
    sella_text body;
    /* counted: in the server's number of requests under way */
    bool began, queued, answered, counted;
    size_t body_bytes;                     /* received, kept or not */
    double arrived, enqueued, taken, done; /* monotonic seconds; 0: never */

    sella_ask *ask;              /* parsed body of score, recommend, explain */
    sella_feedback *feedback;    /* parsed body of feedback */

    const sella_loaded *loaded;  /* the run that works on it, borrowed; NULL: none does */
    sella_store *reader;         /* of the thread that works on it; NULL: there is no store */
    bool lines;                  /* the client would rather have JSON lines */
    sella_reply_stream *stream;  /* of a reply that goes out line by line; NULL: it does not */

    int code;                    /* HTTP status; 0: none yet */
    const char *type;            /* content type, static */
    char *reply;                 /* [bytes] owned, or NULL */
    const char *fixed;           /* [bytes] static, instead of reply */
    size_t bytes;
    const char *allow;           /* Allow header, static, or NULL */
    const char *challenge;       /* WWW-Authenticate header, static, or NULL */
    int retry_after;             /* seconds; 0: no such header */
    bool close;                  /* close the connection behind the reply */
    bool at_once;                /* reply before the body, which closes the connection too */

    struct sella_exchange *next; /* in a queue */
} sella_exchange;

/* 0 means memory is out: then the connection is closed. Takes the reference of `value`. */
void sella_reply_json(sella_exchange *x, int code, json_t *value);
/* Takes the text (malloc'd). */
void sella_reply_text(sella_exchange *x, int code, const char *type, char *text, size_t bytes);
void sella_reply_static(sella_exchange *x, int code, const char *type, const char *text,
                        size_t bytes);

/* Free what it holds and itself. */
void sella_exchange_free(sella_exchange *x);

/* The reply is complete, or the last line of its stream: the connection thread does the rest. Not
 * to be touched afterwards. */
void sella_exchange_answer(sella_exchange *x);

#endif
