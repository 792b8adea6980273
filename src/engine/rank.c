/* rank.c - the best items of a catalogue in two steps: retrieval by vectors, then the run's own
 * score of the best of them within a time limit (sella/service.h).
 *
 * Easy to get wrong: a tie in the logit is broken by catalogue order, and the order of rescored and
 * other candidates is not one order of scores: a retrieval score is no score of the run.
 */
#include "sella/service.h"

#include <math.h>

#include "base/arena.h"
#include "engine/session.h"
#include "kernels/activation.h"
#include "methods/score_all.h"

/* candidates that arrive together when somebody waits for them: the products of fewer rows are
 * slow */
enum { STEP = 8 };

typedef struct ranking {
    sella_engine *engine;
    const sella_rank_options *options;
    sella_resolved who;
    int32_t *item_n;     /* [items] candidates in catalogue order */
    double *logit_n;     /* [items] */
    sella_place *by_n;   /* [items] in the order of retrieval */
    sella_place *best_n; /* [retrieve] the rescored ones, logit = the run's own */
    sella_query *query_n; /* [retrieve] */
    int found, retrieve;
    int rescored;
    double end; /* on the clock of sella_now, INFINITY: no limit */
} ranking;

static sella_status check_options(const sella_rank_options *o, sella_err *err)
{
    if (o->k < 1) {
        return sella_err_set(err, SELLA_ARG, "k is %d; expected at least 1 recommendation", o->k);
    }
    if (o->n < 0 || o->m < 0 || (o->m > 0 && o->exclude_n == NULL)) {
        return sella_err_set(
            err, SELLA_ARG,
            "%d candidates and %d exclusions are announced; expected lists of at least 0", o->n,
            o->m);
    }
    if (o->retrieve_k < 0) {
        return sella_err_set(err, SELLA_ARG, "retrieve_k is %d; expected 0 (the default) or more",
                             o->retrieve_k);
    }
    if (!(o->budget_ms >= 0 && o->budget_ms <= 1e9)) {
        return sella_err_set(err, SELLA_ARG, "budget_ms is %g; expected 0 (no limit) to 1e9",
                             o->budget_ms);
    }
    return SELLA_OK;
}

/* Retrieval logits of all candidates, and their order. */
static sella_status retrieve(ranking *r, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_engine *engine = r->engine;
    sella_scorer *scorer = engine->scorer;
    const sella_query who = sella_engine_query(&r->who, -1);
    if (r->found == 0) {
        return SELLA_OK;
    }
    if (scorer->serving != NULL && scorer->serving->scan != NULL) {
        SELLA_TRY(scorer->serving->scan(scorer, &who, r->item_n, r->found, r->logit_n, err));
    } else if (engine->backbone == NULL) {
        r->query_n =
            sella_alloc((size_t)r->found, sizeof *r->query_n, "the queries of a request", err);
        if (r->query_n == NULL) {
            return SELLA_MEMORY;
        }
        for (int i = 0; i < r->found; i++) {
            r->query_n[i] = sella_engine_query(&r->who, r->item_n[i]);
        }
        SELLA_TRY(sella_score_all(scorer, r->query_n, r->found, r->logit_n, "scoring", NULL, 0.0,
                                  NULL, err));
    } else {
        for (int i = 0; i < r->found; i++) { /* the logit of (count + 1/2) / (users + 1) */
            const double liked = engine->liked_i[r->item_n[i]] + 0.5;
            r->logit_n[i] = log(liked / (engine->run->users + 1 - liked));
        }
    }
    for (int i = 0; i < r->found; i++) {
        r->by_n[i] = (sella_place){.logit = r->logit_n[i], .item = r->item_n[i]};
    }
    qsort(r->by_n, (size_t)r->found, sizeof *r->by_n, sella_place_compare);
done:
    free(r->query_n);
    r->query_n = NULL;
    return status;
}

static sella_ranked place_of(const ranking *r, const sella_place *place, double retrieved,
                             int rescored)
{
    const sella_run *run = r->engine->run;
    return (sella_ranked){.item = run->item_id[place->item],
                          .title = run->title[place->item],
                          .score = sella_sigmoid(place->logit),
                          .retrieved = sella_sigmoid(retrieved),
                          .rescored = rescored};
}

/* Called behind every batch: its logits are there. */
static int take_batch(void *user, int64_t first, int64_t count)
{
    ranking *r = user;
    sella_ranked arrived[STEP];
    for (int64_t i = first; i < first + count; i++) {
        r->best_n[i] = (sella_place){.logit = r->logit_n[i], .item = r->by_n[i].item};
        if (r->options->arrived != NULL) {
            arrived[i - first] = place_of(r, &r->best_n[i], r->by_n[i].logit, 1);
        }
    }
    r->rescored = (int)(first + count);
    return r->options->arrived != NULL &&
           r->options->arrived(r->options->user, arrived, (int)count);
}

/* The run's own score of the best retrieved, until the time is over or nobody wants more. */
static sella_status rescore(ranking *r, sella_err *err)
{
    sella_scorer *scorer = r->engine->scorer;
    const sella_until until = {.end = r->end,
                               .step = r->options->arrived != NULL ? STEP : 0,
                               .scored = take_batch,
                               .user = r};
    int64_t done;
    r->query_n =
        sella_alloc((size_t)r->retrieve, sizeof *r->query_n, "the queries of a request", err);
    r->best_n = sella_alloc((size_t)r->retrieve, sizeof *r->best_n, "the ranking", err);
    if (r->query_n == NULL || r->best_n == NULL) {
        return SELLA_MEMORY;
    }
    for (int i = 0; i < r->retrieve; i++) {
        r->query_n[i] = sella_engine_query(&r->who, r->by_n[i].item);
    }
    return scorer->serving->score_until(scorer, r->query_n, r->retrieve, &until, r->logit_n, &done,
                                        err);
}

/* Retrieval logit of a rescored item. */
static double retrieved_logit(const ranking *r, int32_t item)
{
    for (int i = 0; i < r->rescored; i++) {
        if (r->by_n[i].item == item) {
            return r->by_n[i].logit;
        }
    }
    return 0;
}

static void answer(const ranking *r, int whole, sella_ranked *out, int *count)
{
    const int k = r->options->k;
    *count = r->found < k ? r->found : k;
    for (int i = 0; i < *count; i++) {
        out[i] = i < r->rescored
                     ? place_of(r, &r->best_n[i], retrieved_logit(r, r->best_n[i].item), 1)
                     : place_of(r, &r->by_n[i], r->by_n[i].logit, whole);
    }
}

/* Tell whoever waits what the first step says. Is more wanted? */
static int tell_first(const ranking *r, int whole, sella_ranked *out, int *count)
{
    if (r->options->retrieved == NULL) {
        return 1;
    }
    answer(r, whole, out, count); // nothing is rescored yet
    return r->options->retrieved(r->options->user, out, *count) == 0;
}

sella_status sella_engine_rank(sella_engine *engine, const sella_request *request,
                               const sella_rank_options *options, sella_ranked *out, int *count,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    ranking r = {.engine = engine, .options = options, .who = {.user = -1}};
    const size_t items = (size_t)engine->run->items;
    *count = 0;
    r.end = options->budget_ms > 0 ? sella_now() + options->budget_ms / 1000 : (double)INFINITY;
    SELLA_TRY(check_options(options, err));
    SELLA_TRY(sella_engine_resolve(engine, request, &r.who, err));
    r.item_n = sella_alloc(items, sizeof *r.item_n, "the candidates", err);
    r.logit_n = sella_alloc(items, sizeof *r.logit_n, "the scores", err);
    r.by_n = sella_alloc(items, sizeof *r.by_n, "the ranking", err);
    if (r.item_n == NULL || r.logit_n == NULL || r.by_n == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(sella_engine_choose(engine, &r.who, options->candidate_n, options->n,
                                  options->exclude_n, options->m, options->include_seen, r.item_n,
                                  &r.found, err));
    SELLA_TRY(retrieve(&r, err));
    const int wanted = tell_first(&r, engine->backbone == NULL, out, count);
    /* every scorer with a language model scores until a time (methods/scorer.h) */
    if (wanted && engine->backbone != NULL && r.found > 0) {
        const int usual = options->candidate_n != NULL      ? r.found
                          : options->k > SELLA_RETRIEVE_K ? options->k
                                                          : SELLA_RETRIEVE_K;
        r.retrieve = options->retrieve_k > 0 ? options->retrieve_k : usual;
        r.retrieve = r.retrieve < r.found ? r.retrieve : r.found;
        SELLA_TRY(rescore(&r, err));
        qsort(r.best_n, (size_t)r.rescored, sizeof *r.best_n, sella_place_compare);
    }
    answer(&r, engine->backbone == NULL, out, count);
done:
    free(r.item_n);
    free(r.logit_n);
    free(r.by_n);
    free(r.best_n);
    free(r.query_n);
    sella_resolved_release(&r.who);
    return status;
}

void sella_engine_stats(const sella_engine *engine, sella_engine_counts *out)
{
    const sella_serving_ops *serving = engine->scorer->serving;
    *out = (sella_engine_counts){0};
    if (serving != NULL && serving->count != NULL) {
        serving->count(engine->scorer, out);
        out->cache_limit = engine->cache_bytes;
    }
}
