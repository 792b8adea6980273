/* handlers_rank.c - POST /v1/score and /v1/recommend (serve/routes.h). */
#include "base/arena.h"
#include "base/json.h"
#include "serve/ask.h"
#include "serve/problem.h"
#include "serve/routes.h"

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

static sella_request request_of(const sella_ask *ask)
{
    return (sella_request){.user = ask->user,
                           .history = ask->history.id_n,
                           .history_count = ask->history.given ? ask->history.count : -1,
                           .free_titles = ask->free_titles};
}

static json_t *user_json(const sella_ask *ask)
{
    return ask->user != NULL ? json_string(ask->user) : json_null();
}

void sella_handle_score(sella_exchange *x, sella_loaded *loaded)
{
    const sella_ask *ask = x->ask;
    const sella_request request = request_of(ask);
    sella_err err = {0};
    sella_status status = SELLA_OK;
    double *score_k = sella_alloc((size_t)ask->items.count, sizeof *score_k, "the scores", &err);
    if (score_k == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(sella_engine_score(loaded->engine, &request, ask->items.id_n, ask->items.count, score_k, &err));
    json_t *scores = json_array();
    for (int i = 0; i < ask->items.count; i++) {
        json_array_append_new(scores, json_pack("{s:s, s:o}", "item", ask->items.id_n[i], "score", sella_json_real(score_k[i])));
    }
    sella_reply_json(x, 200, json_pack("{s:o, s:o}", "user", user_json(ask), "scores", scores));
done:
    if (status != SELLA_OK) {
        sella_problem_status(x, status, &err);
    }
    free(score_k);
}

void sella_handle_recommend(sella_exchange *x, sella_loaded *loaded)
{
    const sella_ask *ask = x->ask;
    const sella_request request = request_of(ask);
    sella_err err = {0};
    sella_status status = SELLA_OK;
    int count = 0;
    sella_recommendation *item_k = sella_alloc((size_t)ask->k, sizeof *item_k, "the recommendations", &err);
    if (item_k == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(sella_engine_recommend(loaded->engine, &request, ask->items.given ? ask->items.id_n : NULL, ask->items.count, ask->k,
                                     ask->include_seen, item_k, &count, &err));
    json_t *items = json_array();
    for (int i = 0; i < count; i++) {
        json_array_append_new(items, json_pack("{s:s, s:s, s:o}", "item", item_k[i].item, "title", item_k[i].title, "score",
                                               sella_json_real(item_k[i].score)));
    }
    sella_reply_json(x, 200, json_pack("{s:o, s:o}", "user", user_json(ask), "items", items));
done:
    if (status != SELLA_OK) {
        sella_problem_status(x, status, &err);
    }
    free(item_k);
}
