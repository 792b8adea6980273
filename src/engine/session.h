/* session.h - the inside of a sella_engine, shared by the files of this folder.
 *
 * Does:     One opened run with its backbone and scorer; the resolution of names (users, item ids,
 *           titles) into queries.
 * Memory:   an engine owns run, backbone and scorer; a resolved request owns its arrays
 *           (sella_resolved_release).
 * Threads:  one engine per thread of use.
 * Not here: the public calls (sella/engine.h).
 */
#ifndef SELLA_ENGINE_SESSION_H
#define SELLA_ENGINE_SESSION_H

#include <pthread.h>

#include "backbone/backbone.h"
#include "data/dataset.h"
#include "methods/method.h"
#include "methods/run.h"
#include "methods/scorer.h"
#include "sella/engine.h"

struct sella_engine {
    const sella_method *method;
    sella_run *run;
    sella_backbone *backbone; /* NULL when the method needs none */
    sella_scorer *scorer;
    sella_talk talk_copy;
    const sella_talk *talk; /* &talk_copy or NULL */
    size_t cache_bytes;     /* limit of the prefix cache, 0: none */
    int32_t *liked_i;       /* [items] recorded histories that hold the item */
    pthread_mutex_t lock;   /* of what is made when it is first asked for: */
    char **folded_i;        /* [items] titles as searched; NULL: nobody searched yet */
};

/* Who is asked about and what they liked: indexes of the run. */
typedef struct sella_resolved {
    int32_t user;              /* -1: unseen */
    const int32_t *history_n;  /* [count] borrowed from the run, or = owned_n */
    /* NULL, or [count] titles of entries whose id is -1, borrowed from the request */
    const char *const *text_n;
    int32_t count;
    int32_t *owned_n;
    const char **owned_text_n;
} sella_resolved;

/* Look up user and history. An unknown user is an unseen one (a warning is said); a history
 * entry is an item id, else a title. SELLA_MISSING names an entry that is neither and the
 * nearest title. */
sella_status sella_engine_resolve(const sella_engine *engine, const sella_request *request,
                                  sella_resolved *out, sella_err *err);
void sella_resolved_release(sella_resolved *resolved);

/* Item row of one history entry (id, else title); -1 when it is neither and free_titles is set;
 * SELLA_MISSING otherwise. */
sella_status sella_engine_resolve_entry(const sella_engine *engine, const char *entry,
                                        int free_titles, int32_t *item, sella_err *err);

/* Where scoring reports its progress: NULL when no language model computes, since it is then over
 * in no time. */
const sella_talk *sella_engine_scoring_talk(const sella_engine *engine);

/* Catalogue row of an item id; SELLA_MISSING. */
sella_status sella_engine_find_item(const sella_engine *engine, const char *id, int32_t *item,
                                    sella_err *err);

/* The catalogue rows to rank, in catalogue order: the candidates (NULL: all) without duplicates,
 * without what the history holds unless include_seen, without exclude_n.   item_n out [items],
 * *count how many */
sella_status sella_engine_choose(const sella_engine *engine, const sella_resolved *who,
                                 const char *const *candidate_n, int n,
                                 const char *const *exclude_n, int m, int include_seen,
                                 int32_t *item_n, int *count, sella_err *err);

/* One candidate in a ranking; compare: highest logit first, ties by catalogue order (for qsort). */
typedef struct sella_place {
    double logit;
    int32_t item;
} sella_place;
int sella_place_compare(const void *a, const void *b);

/* The query of one item for a resolved request. */
sella_query sella_engine_query(const sella_resolved *resolved, int32_t item);

#endif
