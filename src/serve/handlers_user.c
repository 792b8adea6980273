/* handlers_user.c - GET /v1/users/{id}, GET /v1/items, POST /v1/feedback (serve/routes.h). */
#include <time.h>

#include "base/json.h"
#include "serve/problem.h"
#include "serve/profile.h"
#include "serve/routes.h"

enum { ITEMS = 20, ITEMS_MAX = 200 };

void sella_handle_user(sella_exchange *x, sella_loaded *loaded)
{
    sella_profile profile = {0};
    sella_err err = {0};
    sella_status status = sella_profile_make(loaded, x->reader, x->tail, &profile, &err);
    if (status != SELLA_OK) {
        sella_problem_status(x, status, &err);
        return;
    }
    json_t *disliked = json_array();
    for (int i = 0; i < profile.disliked_count; i++) {
        json_array_append_new(
            disliked, json_pack("{s:s, s:s}", "item", profile.disliked_n[i], "title",
                                sella_engine_item_title(loaded->engine, profile.disliked_n[i])));
    }
    sella_reply_json(x, 200,
                     json_pack("{s:s, s:b, s:O, s:o}", "user", x->tail, "known",
                               sella_engine_has_user(loaded->engine, x->tail), "history",
                               profile.history, "disliked", disliked));
    sella_profile_release(&profile);
}

/* {"items":[{"item","title"}],"missing":[id]}: the items of the query's ids, in its order. */
static json_t *items_by_id(const sella_target *target, const sella_loaded *loaded)
{
    json_t *items = json_array(), *missing = json_array();
    for (int i = 0; i < target->count; i++) {
        const char *id = target->pair_n[i].value;
        if (strcmp(target->pair_n[i].name, "id") != 0) {
            continue;
        }
        const char *title = sella_engine_item_title(loaded->engine, id);
        if (title != NULL) {
            json_array_append_new(items, json_pack("{s:s, s:s}", "item", id, "title", title));
        } else {
            json_array_append_new(missing, json_string(id));
        }
    }
    return json_pack("{s:o, s:o}", "items", items, "missing", missing);
}

void sella_handle_items(sella_exchange *x, sella_loaded *loaded)
{
    const char *query = sella_target_query(&x->target, "query");
    const char *limit_text = sella_target_query(&x->target, "limit");
    int64_t limit = ITEMS;
    char *text = NULL;
    json_t *items = NULL;
    sella_err err = {0};
    sella_status status = SELLA_OK;
    const bool by_id = sella_target_query(&x->target, "id") != NULL;
    if (by_id == (query != NULL)) {
        SELLA_TRY(sella_err_set(&err, SELLA_ARG,
                                "query: %s; expected either words of a title, as in "
                                "/v1/items?query=toy, or ids, as in /v1/items?id=1&id=2",
                                by_id ? "stands beside id" : "is missing"));
    }
    if (by_id && limit_text != NULL) {
        SELLA_TRY(
            sella_err_set(&err, SELLA_ARG, "limit: stands beside id; expected it beside query"));
    }
    if (by_id) {
        sella_reply_json(x, 200, items_by_id(&x->target, loaded));
        goto done;
    }
    if (limit_text != NULL) {
        SELLA_TRY(
            sella_parse_int(limit_text, strlen(limit_text), 1, ITEMS_MAX, "limit", &limit, &err));
    }
    SELLA_TRY(sella_engine_items(loaded->engine, query, (int)limit, &text, &err));
    SELLA_TRY(sella_json_parse(text, strlen(text), "the items", &items, &err));
    sella_reply_json(x, 200, json_pack("{s:s, s:O}", "query", query, "items", items));
done:
    if (status != SELLA_OK) {
        sella_problem_status(x, status, &err);
    }
    json_decref(items);
    free(text);
}

void sella_parse_feedback(sella_exchange *x)
{
    sella_err err = {0};
    sella_status status =
        sella_feedback_parse(x->body.data, x->body.size, (int64_t)time(NULL), &x->feedback, &err);
    if (status != SELLA_OK) {
        sella_problem_status(x, status, &err);
    }
}
