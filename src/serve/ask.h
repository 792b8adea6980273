/* ask.h - the bodies of score, recommend and explain requests, checked.
 *
 * Does:     sella_ask_parse(kind, body) -> fields -> sella_ask_free. Every key must be one that the
 *           kind knows, ids are strings or whole numbers (which become their decimal text), lists
 *           hold ids. This is the parser that meets the network: see tests/fuzz.
 * Memory:   texts are borrowed from the ask.
 * Threads:  one object per thread.
 * Not here: whether ids exist (the engine says); feedback (serve/feedback.h).
 */
#ifndef SELLA_SERVE_ASK_H
#define SELLA_SERVE_ASK_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

typedef enum sella_ask_kind {
    SELLA_ASK_SCORE = 1,
    SELLA_ASK_RECOMMEND = 2,
    SELLA_ASK_EXPLAIN = 4
} sella_ask_kind;

enum { SELLA_ASK_EXPLAIN_MAX = 20 }; /* items that one answer explains */
enum { SELLA_ASK_K_MAX = 10000, SELLA_ASK_HISTORY_MAX = 10000 };

typedef struct sella_ids {
    const char **id_n; /* [count] */
    int count;
    bool given;
} sella_ids;

typedef struct sella_ask {
    json_t *body;       /* owns every text */
    const char *user;   /* NULL: none */
    const char *item;   /* explain */
    sella_ids history;  /* ids or titles, oldest first */
    sella_ids items;    /* score: what to score; recommend: its candidates */
    sella_ids exclude;
    sella_ids without;  /* explain: what of the history to take out; not given: all of it */
    int k;              /* default 10 */
    int retrieve_k;     /* 0: the engine's own choice */
    double budget_ms;   /* 0: none */
    bool attention; /* explain: attention maps too */
    bool explain;   /* recommend: why, for each item of the answer */
    bool include_seen, free_titles;
} sella_ask;

/* Returns: SELLA_FORMAT with a sentence (what, where, expected); SELLA_MEMORY. */
sella_status sella_ask_parse(sella_ask_kind kind, const char *body, size_t bytes, sella_ask **out,
                             sella_err *err);
void sella_ask_free(sella_ask *ask);

/* Is it a whole number of 64 bits, also one written 5.0 or 5e0? */
bool sella_ask_whole(const json_t *value, json_int_t *out);
/* A string or a whole number under key of object or, with key NULL, at index of an array, as text
 * that lives as long as the container. `where` names it in sentences. Empty texts are refused. */
sella_status sella_ask_id(json_t *container, const char *key, size_t index, const char *where,
                          const char **out, sella_err *err);
/* SELLA_FORMAT naming the nearest of name_n [count] when object has a key that is not among
 * them. */
sella_status sella_ask_keys(json_t *object, const char *const *name_n, size_t count,
                            const char *where, sella_err *err);

#endif
