/* recommend.c - scores of named items for one user, and the k best of a catalogue. */
#include "base/arena.h"
#include "engine/session.h"
#include "kernels/activation.h"
#include "methods/score_all.h"

/* Logits of item rows item_n [n] for one resolved request. */
static sella_status score_items(sella_engine *engine, const sella_resolved *who,
                                const int32_t *item_n, int n, double *logit_n, sella_err *err)
{
    if (n == 0) {
        return SELLA_OK;
    }
    sella_query *query_n = sella_alloc((size_t)n, sizeof *query_n, "the queries of a request", err);
    if (query_n == NULL) {
        return SELLA_MEMORY;
    }
    for (int i = 0; i < n; i++) {
        query_n[i] = sella_engine_query(who, item_n[i]);
    }
    sella_status status = sella_score_all(engine->scorer, query_n, n, logit_n, "scoring", NULL, 0.0,
                                          sella_engine_scoring_talk(engine), err);
    free(query_n);
    return status;
}

sella_status sella_engine_find_item(const sella_engine *engine, const char *id, int32_t *item,
                                    sella_err *err)
{
    *item = id != NULL ? sella_run_find_item(engine->run, id) : -1;
    return *item >= 0 ? SELLA_OK
                      : sella_err_set(err, SELLA_MISSING, "item '%s' is not in the catalogue of %s",
                                      id != NULL ? id : "(null)", engine->run->path);
}

sella_status sella_engine_score(sella_engine *engine, const sella_request *request,
                                const char *const *item_k, int k, double *score_k, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_resolved who = {.user = -1};
    int32_t *item_n = NULL;
    if (k < 0) {
        return sella_err_set(err, SELLA_ARG, "%d items cannot be scored", k);
    }
    SELLA_TRY(sella_engine_resolve(engine, request, &who, err));
    item_n = sella_alloc((size_t)k, sizeof *item_n, "the items of a request", err);
    if (item_n == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (int i = 0; i < k; i++) {
        SELLA_TRY(sella_engine_find_item(engine, item_k[i], &item_n[i], err));
    }
    SELLA_TRY(score_items(engine, &who, item_n, k, score_k, err));
    for (int i = 0; i < k; i++) {
        score_k[i] = sella_sigmoid(score_k[i]);
    }
done:
    free(item_n);
    sella_resolved_release(&who);
    return status;
}

sella_status sella_engine_choose(const sella_engine *engine, const sella_resolved *who,
                                 const char *const *candidate_n, int n,
                                 const char *const *exclude_n, int m, int include_seen,
                                 int32_t *item_n, int *count, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int32_t items = engine->run->items;
    uint8_t *wanted = sella_alloc((size_t)items, 1, "the candidates", err);
    if (wanted == NULL) {
        return SELLA_MEMORY;
    }
    memset(wanted, candidate_n == NULL, (size_t)items);
    for (int i = 0; candidate_n != NULL && i < n; i++) {
        int32_t item = -1;
        SELLA_TRY(sella_engine_find_item(engine, candidate_n[i], &item, err));
        wanted[item] = 1;
    }
    for (int32_t i = 0; !include_seen && i < who->count; i++) {
        if (who->history_n[i] >= 0) {
            wanted[who->history_n[i]] = 0;
        }
    }
    for (int i = 0; i < m; i++) {
        int32_t item = -1;
        SELLA_TRY(sella_engine_find_item(engine, exclude_n[i], &item, err));
        wanted[item] = 0;
    }
    *count = 0;
    for (int32_t item = 0; item < items; item++) {
        if (wanted[item]) {
            item_n[(*count)++] = item;
        }
    }
done:
    free(wanted);
    return status;
}

int sella_place_compare(const void *a, const void *b)
{
    const sella_place *x = a;
    const sella_place *y = b;
    if (x->logit != y->logit) {
        return x->logit > y->logit ? -1 : 1;
    }
    return (x->item > y->item) - (x->item < y->item);
}

sella_status sella_engine_recommend(sella_engine *engine, const sella_request *request,
                                    const char *const *candidate_n, int n, int k, int include_seen,
                                    sella_recommendation *out, int *count, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_run *run = engine->run;
    sella_resolved who = {.user = -1};
    int32_t *item_n = NULL;
    double *logit_n = NULL;
    sella_place *rank_n = NULL;
    int found = 0;
    *count = 0;
    if (k < 1) {
        return sella_err_set(err, SELLA_ARG, "k is %d; expected at least 1 recommendation", k);
    }
    SELLA_TRY(sella_engine_resolve(engine, request, &who, err));
    item_n = sella_alloc((size_t)run->items, sizeof *item_n, "the candidates", err);
    logit_n = sella_alloc((size_t)run->items, sizeof *logit_n, "the scores", err);
    rank_n = sella_alloc((size_t)run->items, sizeof *rank_n, "the ranking", err);
    if (item_n == NULL || logit_n == NULL || rank_n == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(sella_engine_choose(engine, &who, candidate_n, n, NULL, 0, include_seen, item_n,
                                  &found, err));
    SELLA_TRY(score_items(engine, &who, item_n, found, logit_n, err));
    for (int i = 0; i < found; i++) {
        rank_n[i] = (sella_place){.logit = logit_n[i], .item = item_n[i]};
    }
    qsort(rank_n, (size_t)found, sizeof *rank_n, sella_place_compare);
    *count = found < k ? found : k;
    for (int i = 0; i < *count; i++) {
        out[i] = (sella_recommendation){.item = run->item_id[rank_n[i].item],
                                        .title = run->title[rank_n[i].item],
                                        .score = sella_sigmoid(rank_n[i].logit)};
    }
done:
    free(item_n);
    free(logit_n);
    free(rank_n);
    sella_resolved_release(&who);
    return status;
}
