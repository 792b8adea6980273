/* session.h - the inside of a sella_engine, shared by the files of this folder.
 *
 * Does:     One opened run with its backbone and scorer; the resolution of names (users, item ids, titles) into queries.
 * Memory:   an engine owns run, backbone and scorer; a resolved request owns its arrays (sella_resolved_release).
 * Threads:  one engine per thread of use.
 * Not here: the public calls (sella/engine.h).
 */
#ifndef SELLA_ENGINE_SESSION_H
#define SELLA_ENGINE_SESSION_H

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
};

/* Who is asked about and what they liked: indexes of the run. */
typedef struct sella_resolved {
    int32_t user;              /* -1: unseen */
    const int32_t *history_n;  /* [count] borrowed from the run, or = owned_n */
    const char *const *text_n; /* NULL, or [count] titles of entries whose id is -1, borrowed from the request */
    int32_t count;
    int32_t *owned_n;
    const char **owned_text_n;
} sella_resolved;

/* Look up user and history. An unknown user is an unseen one (a warning is said); a history entry is an item id, else a title. SELLA_MISSING names an
 * entry that is neither and the nearest title. */
sella_status sella_engine_resolve(const sella_engine *engine, const sella_request *request, sella_resolved *out, sella_err *err);
void sella_resolved_release(sella_resolved *resolved);

/* Item row of one history entry (id, else title); -1 when it is neither and free_titles is set; SELLA_MISSING otherwise. */
sella_status sella_engine_resolve_entry(const sella_engine *engine, const char *entry, int free_titles, int32_t *item, sella_err *err);

/* Where scoring reports its progress: NULL when no language model computes, since it is then over in no time. */
const sella_talk *sella_engine_scoring_talk(const sella_engine *engine);

/* The query of one item for a resolved request. */
sella_query sella_engine_query(const sella_resolved *resolved, int32_t item);

#endif
