/* handlers_rank.c - POST /v1/score, /v1/recommend and /v1/explain (serve/routes.h). */
#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "serve/ask.h"
#include "serve/problem.h"
#include "serve/profile.h"
#include "serve/routes.h"
#include "serve/server.h"
#include "serve/stream.h"

#define BUDGET_MIN 1e-3 /* milliseconds: 0 would mean no limit */

static void parse(sella_exchange *x, sella_ask_kind kind)
{
    sella_err err = {0};
    sella_status status = sella_ask_parse(kind, x->body.data, x->body.size, &x->ask, &err);
    if (status != SELLA_OK) {
        sella_problem_status(x, status, &err);
    }
}

void sella_parse_score(sella_exchange *x)
{
    parse(x, SELLA_ASK_SCORE);
}

void sella_parse_recommend(sella_exchange *x)
{
    parse(x, SELLA_ASK_RECOMMEND);
}

void sella_parse_explain(sella_exchange *x)
{
    parse(x, SELLA_ASK_EXPLAIN);
}

/* A failed call of the engine. The request was well formed (parse): what is malformed now is the
 * server's own file. */
static void refuse(sella_exchange *x, sella_status status, const sella_err *err)
{
    if (status != SELLA_OK) {
        sella_problem_status(x, status == SELLA_FORMAT ? SELLA_IO : status, err);
    }
}

/* Who is asked about: the given history, else what is known of the user now. The request borrows
 * from ask and profile. */
static sella_status resolve(const sella_exchange *x, const sella_loaded *loaded,
                            sella_profile *profile, sella_request *out, sella_err *err)
{
    const sella_ask *ask = x->ask;
    sella_status status = SELLA_OK;
    *out = (sella_request){.user = ask->user, .history_count = -1, .free_titles = ask->free_titles};
    if (ask->history.given) {
        out->history = ask->history.id_n;
        out->history_count = ask->history.count;
    } else if (x->reader != NULL) {
        status = sella_profile_make(loaded, x->reader, ask->user, profile, err);
        if (status == SELLA_OK && profile->changed) {
            out->history = profile->item_n;
            out->history_count = profile->count;
        }
    }
    return status;
}

static json_t *user_json(const sella_ask *ask)
{
    return ask->user != NULL ? json_string(ask->user) : json_null();
}

void sella_handle_score(sella_exchange *x, sella_loaded *loaded)
{
    const sella_ask *ask = x->ask;
    sella_profile profile = {0};
    sella_request request;
    sella_err err = {0};
    sella_status status = SELLA_OK;
    double *score_k = sella_alloc((size_t)ask->items.count, sizeof *score_k, "the scores", &err);
    if (score_k == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(resolve(x, loaded, &profile, &request, &err));
    SELLA_TRY(sella_engine_score(loaded->engine, &request, ask->items.id_n, ask->items.count,
                                 score_k, &err));
    json_t *scores = json_array();
    for (int i = 0; i < ask->items.count; i++) {
        json_array_append_new(scores, json_pack("{s:s, s:o}", "item", ask->items.id_n[i], "score",
                                                sella_json_real(score_k[i])));
    }
    sella_reply_json(x, 200, json_pack("{s:o, s:o}", "user", user_json(ask), "scores", scores));
done:
    refuse(x, status, &err);
    sella_profile_release(&profile);
    free(score_k);
}

/* What the request and the user's own feedback rule out: ids of the catalogue, owned list of
 * borrowed texts. */
static sella_status excluded(const sella_ask *ask, const sella_profile *profile, const char ***out,
                             int *count, sella_err *err)
{
    *count = 0;
    *out = sella_alloc((size_t)ask->exclude.count + (size_t)profile->disliked_count, sizeof **out,
                       "the exclusions", err);
    if (*out == NULL) {
        return SELLA_MEMORY;
    }
    for (int i = 0; i < ask->exclude.count; i++) {
        (*out)[(*count)++] = ask->exclude.id_n[i];
    }
    for (int i = 0; i < profile->disliked_count; i++) {
        (*out)[(*count)++] = profile->disliked_n[i];
    }
    return SELLA_OK;
}

/* How the score of an item comes about (docs/explain.md), without the maps of attention unless they
 * are wanted. */
static sella_status explain(const sella_ask *ask, sella_loaded *loaded,
                            const sella_request *request, const char *item, json_t **out,
                            sella_err *err)
{
    /* id_n is NULL when no list is given, and not for an empty one */
    const sella_explain_options options = {.without = ask->without.id_n,
                                           .without_count = ask->without.count};
    char *text = NULL;
    sella_status status = sella_engine_explain(loaded->engine, request, item, &options, &text, err);
    if (status == SELLA_OK) {
        status = sella_json_parse(text, strlen(text), "the explanation", out, err);
    }
    if (status == SELLA_OK && !ask->attention) {
        /* tokens x tokens numbers for each layer */
        json_object_del(json_object_get(*out, "attention"), "head_mean");
    }
    free(text);
    return status;
}

void sella_handle_explain(sella_exchange *x, sella_loaded *loaded)
{
    const sella_ask *ask = x->ask;
    sella_profile profile = {0};
    sella_request request;
    sella_err err = {0};
    json_t *why = NULL;
    sella_status status = SELLA_OK;
    SELLA_TRY(resolve(x, loaded, &profile, &request, &err));
    SELLA_TRY(explain(ask, loaded, &request, ask->item, &why, &err));
    sella_reply_json(x, 200, why);
done:
    refuse(x, status, &err);
    sella_profile_release(&profile);
}

/* Put "why": {"terms", "without"} into each item of an answer; null from when the request's time is
 * over: its own limit or, since many titles take minutes that others wait for, the server's. */
static sella_status add_reasons(const sella_exchange *x, sella_loaded *loaded,
                                const sella_request *request, json_t *items, sella_err *err)
{
    const double most = x->server->options.timeout, own = 1e-3 * x->ask->budget_ms;
    const double limit = own > 0 && own < most ? own : most;
    size_t index;
    json_t *entry;
    json_array_foreach (items, index, entry) {
        json_t *why = NULL;
        if (sella_stream_gone(x)) {
            return SELLA_OK; // nobody reads it
        }
        if (sella_now() - x->arrived > limit) {
            json_object_set_new(entry, "why", json_null());
            continue;
        }
        const char *item = json_string_value(json_object_get(entry, "item"));
        sella_status status = explain(x->ask, loaded, request, item, &why, err);
        if (status != SELLA_OK) {
            return status;
        }
        json_object_set_new(entry, "why",
                            json_pack("{s:O, s:O}", "terms", json_object_get(why, "terms"),
                                      "without", json_object_get(why, "without")));
        json_decref(why);
    }
    return SELLA_OK;
}

static json_t *ranked_json(const sella_ranked *ranked_k, int count)
{
    json_t *items = json_array();
    for (int i = 0; i < count; i++) {
        json_array_append_new(items, json_pack("{s:s, s:s, s:o, s:o, s:b}", "item",
                                               ranked_k[i].item, "title", ranked_k[i].title,
                                               "score", sella_json_real(ranked_k[i].score),
                                               "retrieved", sella_json_real(ranked_k[i].retrieved),
                                               "rescored", ranked_k[i].rescored));
    }
    return items;
}

/* {"event":what,"items":[...]}: a line of a streamed answer. Returns: non-zero when nobody reads
 * it. */
static int tell(sella_exchange *x, const char *what, const sella_ranked *ranked_n, int count)
{
    return !sella_stream_line(
        x, json_pack("{s:s, s:o}", "event", what, "items", ranked_json(ranked_n, count)));
}

static int tell_retrieved(void *user, const sella_ranked *first_k, int count)
{
    return tell(user, "retrieved", first_k, count);
}

static int tell_rescored(void *user, const sella_ranked *batch_n, int count)
{
    return tell(user, "rescored", batch_n, count);
}

void sella_handle_recommend(sella_exchange *x, sella_loaded *loaded)
{
    const sella_ask *ask = x->ask;
    sella_profile profile = {0};
    sella_request request;
    sella_err err = {0};
    sella_status status = SELLA_OK;
    sella_rank_options options = {
        .k = ask->k, .include_seen = ask->include_seen, .retrieve_k = ask->retrieve_k};
    const char **exclude_n = NULL;
    json_t *items = NULL;
    int count = 0;
    sella_ranked *ranked_k =
        sella_alloc((size_t)ask->k, sizeof *ranked_k, "the recommendations", &err);
    if (ranked_k == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(resolve(x, loaded, &profile, &request, &err));
    SELLA_TRY(excluded(ask, &profile, &exclude_n, &options.m, &err));
    options.exclude_n = exclude_n;
    options.candidate_n = ask->items.given ? ask->items.id_n : NULL;
    options.n = ask->items.count;
    /* counted from the request's arrival; a budget that is over leaves the first step's scores */
    if (ask->budget_ms > 0) {
        const double left = ask->budget_ms - 1e3 * (sella_now() - x->arrived);
        options.budget_ms = left > BUDGET_MIN ? left : BUDGET_MIN;
    }
    if (x->lines) {
        options.retrieved = tell_retrieved;
        options.arrived = tell_rescored;
        options.user = x;
    }
    SELLA_TRY(sella_engine_rank(loaded->engine, &request, &options, ranked_k, &count, &err));
    items = ranked_json(ranked_k, count);
    if (ask->explain) {
        SELLA_TRY(add_reasons(x, loaded, &request, items, &err));
    }
    json_t *whole = json_pack("{s:o, s:O}", "user", user_json(ask), "items", items);
    if (x->stream != NULL) {
        json_object_set_new(whole, "event", json_string("answer"));
        sella_stream_line(x, whole);
    } else {
        sella_reply_json(x, 200, whole);
    }
done:
    json_decref(items);
    refuse(x, status, &err);
    sella_profile_release(&profile);
    free(exclude_n);
    free(ranked_k);
}
