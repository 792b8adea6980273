/* feedback.h - bodies of feedback requests, checked: what users did.
 *
 * Does:     One object {user, item, label, time, id?} or a list of them -> events ->
 *           sella_feedback_free.
 * Memory:   texts are borrowed from the object.
 * Threads:  one object per thread.
 * Not here: keeping them (serve/store.h).
 */
#ifndef SELLA_SERVE_FEEDBACK_H
#define SELLA_SERVE_FEEDBACK_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"

enum { SELLA_FEEDBACK_MAX = 10000 }; /* of one request */

typedef struct sella_event {
    const char *id;   /* NULL: none, every arrival is a new event */
    const char *user; /* external ids */
    const char *item;
    int label;        /* 1 liked, 0 not */
    int64_t time;     /* seconds since 1970, UTC */
} sella_event;

typedef struct sella_feedback {
    json_t *body;
    sella_event *event_n; /* [count] */
    int count;
    int stored, duplicates; /* filled by the store */
} sella_feedback;

/* now: the time of events that name none. Returns: SELLA_FORMAT with a sentence; SELLA_MEMORY. */
sella_status sella_feedback_parse(const char *body, size_t bytes, int64_t now, sella_feedback **out,
                                  sella_err *err);
void sella_feedback_free(sella_feedback *events);

#endif
