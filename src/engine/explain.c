/* explain.c - how one score comes about: terms of the logit, attention over the prompt's parts,
 * scores with something taken out. */
#include <strings.h>

#include "base/arena.h"
#include "base/json.h"
#include "engine/session.h"
#include "engine/token_text.h"
#include "kernels/activation.h"
#include "methods/inside.h"

enum { LEFT_OUT_MOST = 4096 };

/* What one call works with. */
typedef struct work {
    sella_engine *engine;
    sella_resolved who;
    sella_query query;
    int32_t start;            // first entry of the history that the score reads
    sella_variant *variant_n; // [N] the first takes nothing out
    double *logit_n;          // [N]
    int N;
    int *layer_k; // [K] from 0
    int K;
    sella_terms terms;
    sella_prompt_view view; // of methods with a language model
} work;

static void work_release(work *w)
{
    sella_resolved_release(&w->who);
    free(w->variant_n);
    free(w->logit_n);
    free(w->layer_k);
    sella_prompt_view_release(&w->view);
}

static sella_status check_text(const char *what, const char *text, sella_err *err)
{
    const size_t bytes = text != NULL ? strlen(text) : 0;
    return bytes == 0 || sella_utf8_valid(text, bytes) == bytes
               ? SELLA_OK
               : sella_err_set(err, SELLA_ARG, "%s is not UTF-8 text (byte %zu)", what,
                               sella_utf8_valid(text, bytes) + 1);
}

static sella_status check_texts(const sella_request *request, const char *item,
                                const sella_explain_options *options, sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(check_text("the user", request->user, err));
    SELLA_TRY(check_text("the item", item, err));
    for (int i = 0; request->history != NULL && i < request->history_count; i++) {
        SELLA_TRY(check_text("an entry of the history", request->history[i], err));
    }
    for (int i = 0; i < options->without_count; i++) {
        SELLA_TRY(check_text("a title to take out", options->without[i], err));
    }
done:
    return status;
}

/* ---- what is taken out ---- */

/* The title of an entry of the history. */
static const char *entry_title(const work *w, int32_t entry)
{
    const int32_t item = w->who.history_n[entry];
    return item >= 0 ? w->engine->run->title[item] : w->who.text_n[entry];
}

/* Mark the entries that `name` (item id, else title) stands for. */
static sella_status mark_entries(const work *w, const char *name, uint8_t *wanted, sella_err *err)
{
    const sella_run *run = w->engine->run;
    const int32_t count = w->who.count, item = sella_run_find_item(run, name);
    int found = 0;
    for (int pass = 0; pass < 2 && found == 0; pass++) {
        for (int32_t j = w->start; j < count; j++) {
            const bool same = pass == 0 ? item >= 0 && w->who.history_n[j] == item
                                        : strcasecmp(entry_title(w, j), name) == 0;
            found += same;
            wanted[j - w->start] |= same;
        }
    }
    if (found > 0) {
        return SELLA_OK;
    }
    if (w->start == count) {
        return sella_err_set(err, SELLA_MISSING, "'%s' cannot be taken out: %s", name,
                             count == 0 ? "the history is empty"
                                        : "this score does not read the history");
    }
    const char **title_n =
        sella_alloc((size_t)(count - w->start), sizeof *title_n, "titles of a history", err);
    if (title_n == NULL) {
        return SELLA_MEMORY;
    }
    for (int32_t j = w->start; j < count; j++) {
        title_n[j - w->start] = entry_title(w, j);
    }
    const int near = sella_text_nearest(name, title_n, (size_t)(count - w->start));
    sella_err_set(err, SELLA_MISSING,
                  "'%s' cannot be taken out: it is not among the %d titles of the history that the "
                  "score reads%s%s%s",
                  name, (int)(count - w->start), near >= 0 ? "; the nearest is '" : "",
                  near >= 0 ? title_n[near] : "", near >= 0 ? "'" : "");
    free(title_n);
    return SELLA_MISSING;
}

/* The variants: nothing, U, I, W where the prompt has them, titles of the history, oldest first. */
static sella_status choose_variants(work *w, const sella_explain_options *options, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_inside_ops *inside = w->engine->scorer->inside;
    const sella_slot_set slots =
        inside != NULL && inside->slots != NULL ? inside->slots(w->engine->scorer) : 0;
    const int32_t count = w->who.count - w->start;
    int titles = 0;
    uint8_t *wanted = sella_alloc((size_t)count, 1, "titles to take out", err);
    if (wanted == NULL) {
        return SELLA_MEMORY;
    }
    memset(wanted, options->without == NULL, (size_t)count);
    for (int i = 0; i < options->without_count; i++) {
        SELLA_TRY(mark_entries(w, options->without[i], wanted, err));
    }
    for (int32_t j = 0; j < count; j++) {
        titles += wanted[j];
    }
    if (titles > LEFT_OUT_MOST) {
        SELLA_TRY(sella_err_set(err, SELLA_ARG,
                                "the score reads %d titles of the history, of which at most %d can "
                                "be taken out one by one: name some",
                                titles, LEFT_OUT_MOST));
    }
    w->variant_n =
        sella_alloc((size_t)titles + SELLA_SLOTS, sizeof *w->variant_n, "what is taken out", err);
    w->logit_n =
        sella_alloc((size_t)titles + SELLA_SLOTS, sizeof *w->logit_n, "what is taken out", err);
    if (w->variant_n == NULL || w->logit_n == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    w->variant_n[w->N++] = (sella_variant){.entry = -1};
    for (int s = 1; s < SELLA_SLOTS; s++) {
        if (slots & (1u << s)) {
            w->variant_n[w->N++] = (sella_variant){.slot = (sella_slot)s, .entry = -1};
        }
    }
    for (int32_t j = 0; j < count; j++) {
        if (wanted[j]) {
            w->variant_n[w->N++] = (sella_variant){.entry = w->start + j};
        }
    }
done:
    free(wanted);
    return status;
}

/* ---- layers ---- */

/* The layers asked for, from 0, ascending, each once; the second and the last unless asked. */
static sella_status choose_layers(work *w, const sella_explain_options *options, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_inside_ops *inside = w->engine->scorer->inside;
    const int all =
        inside != NULL && inside->layers != NULL ? inside->layers(w->engine->scorer) : 0;
    uint8_t *wanted = NULL;
    if (all == 0) {
        return options->layer_k == NULL && !options->heads
                   ? SELLA_OK
                   : sella_err_set(
                         err, SELLA_ARG,
                         "%s ('%s') scores without a language model: it has no attention to show",
                         w->engine->run->path, w->engine->run->method);
    }
    wanted = sella_alloc((size_t)all, 1, "layers", err);
    w->layer_k = sella_alloc((size_t)all, sizeof *w->layer_k, "layers", err);
    if (wanted == NULL || w->layer_k == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    wanted[all - 1] = wanted[all > 1 ? 1 : 0] = options->layer_k == NULL;
    for (int i = 0; options->layer_k != NULL && i < options->layers; i++) {
        if (options->layer_k[i] < 1 || options->layer_k[i] > all) {
            SELLA_TRY(sella_err_set(err, SELLA_ARG,
                                    "layer %d is not in the language model; expected 1 to %d",
                                    options->layer_k[i], all));
        }
        wanted[options->layer_k[i] - 1] = 1;
    }
    for (int l = 0; l < all; l++) {
        if (wanted[l]) {
            w->layer_k[w->K++] = l;
        }
    }
done:
    free(wanted);
    return status;
}

/* ---- JSON ---- */

static json_t *reals(const float *x, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, sella_json_real((double)x[i]));
    }
    return list;
}

static json_t *terms_json(const sella_terms *terms)
{
    json_t *list = json_array();
    json_t *inner = NULL;
    for (int t = 0; t < terms->count; t++) {
        json_t *entry = json_object();
        json_object_set_new(entry, "term", json_string(terms->term[t].name));
        json_object_set_new(entry, "value", sella_json_real(terms->term[t].value));
        if (terms->term[t].depth == 0) {
            json_array_append_new(list, entry);
            inner = NULL;
            continue;
        }
        if (inner == NULL) {
            inner = json_array();
            json_object_set_new(json_array_get(list, json_array_size(list) - 1), "terms", inner);
        }
        json_array_append_new(inner, entry);
    }
    return list;
}

static json_t *without_json(const work *w)
{
    static const char *const name[SELLA_SLOTS] = {"history", "U", "I", "W"};
    json_t *list = json_array();
    const double whole = sella_sigmoid(w->logit_n[0]);
    for (int n = 1; n < w->N; n++) {
        const int32_t entry = w->variant_n[n].entry;
        const double score = sella_sigmoid(w->logit_n[n]);
        json_t *object = json_object();
        json_object_set_new(object, "what", json_string(name[w->variant_n[n].slot]));
        if (entry >= 0) {
            const int32_t item = w->who.history_n[entry];
            json_object_set_new(object, "entry", json_integer(entry));
            json_object_set_new(object, "item",
                                item >= 0 ? json_string(w->engine->run->item_id[item])
                                          : json_null());
            json_object_set_new(object, "title", json_string(entry_title(w, entry)));
        }
        json_object_set_new(object, "score", sella_json_real(score));
        json_object_set_new(object, "logit", sella_json_real(w->logit_n[n]));
        json_object_set_new(object, "delta", sella_json_real(whole - score));
        json_array_append_new(list, object);
    }
    return list;
}

static const char *slot_text(uint8_t slot)
{
    static const char *const text[SELLA_SLOTS] = {NULL, "<User_ID>", "<Item_ID>", "<Warm_ID>"};
    return text[slot];
}

static sella_status tokens_json(const work *w, json_t *tokens, json_t *soft, sella_err *err)
{
    static const char *const name[SELLA_SLOTS] = {NULL, "user", "item", "warm"};
    const sella_rows *rows = &w->view.rows;
    for (int t = 0; t < (int)rows->start[1]; t++) {
        json_t *text = NULL;
        if (rows->slot[t] != SELLA_SLOT_NONE) {
            text = json_string(slot_text(rows->slot[t]));
            json_array_append_new(
                soft, json_pack("{s:s, s:i}", "slot", name[rows->slot[t]], "position", t));
        } else {
            sella_status status = sella_token_text(sella_backbone_tokenizer(w->engine->backbone),
                                                   rows->token + t, 1, &text, err);
            if (status != SELLA_OK) {
                return status;
            }
        }
        json_array_append_new(tokens, text);
    }
    return SELLA_OK;
}

static sella_status parts_json(const work *w, json_t *parts, sella_err *err)
{
    const sella_rows *rows = &w->view.rows;
    for (int p = 0; p < w->view.parts; p++) {
        const sella_prompt_part *part = &w->view.part_p[p];
        json_t *entry = json_object();
        json_t *text = NULL;
        json_array_append_new(parts, entry);
        json_object_set_new(entry, "part", json_string(part->name));
        if (part->history >= 0) {
            json_object_set_new(entry, "entry", json_integer(w->view.first + part->history));
        }
        if (rows->slot[part->first] != SELLA_SLOT_NONE) {
            text = json_string(slot_text(rows->slot[part->first]));
        } else {
            sella_status status = sella_token_text(sella_backbone_tokenizer(w->engine->backbone),
                                                   rows->token + part->first,
                                                   part->last - part->first + 1, &text, err);
            if (status != SELLA_OK) {
                return status;
            }
        }
        json_object_set_new(entry, "text", text);
        json_object_set_new(entry, "first", json_integer(part->first));
        json_object_set_new(entry, "last", json_integer(part->last));
    }
    return SELLA_OK;
}

static json_t *attention_json(const work *w)
{
    const sella_prompt_view *view = &w->view;
    const size_t T = (size_t)view->rows.start[1], heads = (size_t)view->H;
    json_t *object = json_object();
    json_t *layers = json_array();
    json_t *mean = json_array();
    json_t *from_answer = json_array();
    json_t *by_head = view->answer_head != NULL ? json_array() : NULL;
    for (size_t k = 0; k < (size_t)w->K; k++) {
        const float *map = view->mean + k * T * T, *answer = map + (T - 1) * T;
        json_t *rows = json_array();
        json_t *sums = json_array();
        json_array_append_new(layers, json_integer(w->layer_k[k] + 1));
        for (size_t t = 0; t < T; t++) {
            json_array_append_new(rows, reals(map + t * T, T));
        }
        for (int p = 0; p < view->parts; p++) {
            double sum = 0;
            for (int t = view->part_p[p].first; t <= view->part_p[p].last; t++) {
                sum += (double)answer[t];
            }
            json_array_append_new(sums, sella_json_real(sum));
        }
        json_array_append_new(mean, rows);
        json_array_append_new(from_answer, sums);
        if (by_head != NULL) {
            json_t *list = json_array();
            for (size_t h = 0; h < heads; h++) {
                json_array_append_new(list, reals(view->answer_head + (k * heads + h) * T, T));
            }
            json_array_append_new(by_head, list);
        }
    }
    json_object_set_new(object, "layers", layers);
    json_object_set_new(object, "heads", json_integer(view->H));
    json_object_set_new(object, "head_mean", mean);
    json_object_set_new(object, "from_answer", from_answer);
    if (by_head != NULL) {
        json_object_set_new(object, "by_head", by_head);
    }
    return object;
}

static sella_status explanation_json(const work *w, const sella_request *request, char **json,
                                     sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_run *run = w->engine->run;
    const bool prompt = w->view.parts > 0;
    json_t *object = json_object();
    json_t *tokens = json_array();
    json_t *parts = json_array();
    json_t *soft = json_array();
    if (prompt) {
        SELLA_TRY(tokens_json(w, tokens, soft, err));
        SELLA_TRY(parts_json(w, parts, err));
    }
    json_object_set_new(object, "user",
                        request->user != NULL ? json_string(request->user) : json_null());
    json_object_set_new(object, "known", json_boolean(w->query.user >= 0));
    json_object_set_new(object, "item", json_string(run->item_id[w->query.item]));
    json_object_set_new(object, "title", json_string(run->title[w->query.item]));
    json_object_set_new(object, "method", json_string(run->method));
    json_object_set_new(object, "score", sella_json_real(sella_sigmoid(w->logit_n[0])));
    json_object_set_new(object, "logit", sella_json_real(w->logit_n[0]));
    json_object_set_new(object, "terms", terms_json(&w->terms));
    json_object_set_new(object, "history",
                        json_pack("{s:i, s:i}", "titles", (int)w->who.count, "read",
                                  (int)(w->who.count - w->start)));
    json_object_set(object, "parts", parts);
    json_object_set(object, "tokens", tokens);
    json_object_set(object, "soft", soft);
    json_object_set_new(object, "attention", prompt ? attention_json(w) : json_null());
    json_object_set_new(object, "without", without_json(w));
    *json = sella_json_line(object);
    if (*json == NULL) {
        status = sella_err_memory(err, "an explanation", 0);
    }
done:
    json_decref(soft);
    json_decref(parts);
    json_decref(tokens);
    json_decref(object);
    return status;
}

/* ---- the call ---- */

sella_status sella_engine_explain(sella_engine *engine, const sella_request *request,
                                  const char *item, const sella_explain_options *options,
                                  char **json, sella_err *err)
{
    static const sella_explain_options usual = {0};
    sella_status status = SELLA_OK;
    const sella_inside_ops *inside = engine->scorer->inside;
    work w = {.engine = engine, .who = {.user = -1}};
    *json = NULL;
    sella_rows_init(&w.view.rows);
    options = options != NULL ? options : &usual;
    if (item == NULL) {
        return sella_err_set(err, SELLA_ARG, "an item is needed");
    }
    SELLA_TRY(check_texts(request, item, options, err));
    SELLA_TRY(choose_layers(&w, options, err));
    SELLA_TRY(sella_engine_resolve(engine, request, &w.who, err));
    SELLA_TRY(sella_engine_find_item(engine, item, &w.query.item, err));
    w.query = sella_engine_query(&w.who, w.query.item);
    w.start = sella_inside_history_start(engine->scorer, &w.query);
    SELLA_TRY(choose_variants(&w, options, err));
    SELLA_TRY(sella_variants_score(engine->scorer, &w.query, w.variant_n, w.N, w.logit_n,
                                   sella_engine_scoring_talk(engine), err));
    if (inside != NULL && inside->terms != NULL) {
        SELLA_TRY(inside->terms(engine->scorer, &w.query, w.logit_n[0], &w.terms, err));
    }
    if (inside != NULL && inside->view != NULL) {
        SELLA_TRY(inside->view(engine->scorer, &w.query, w.layer_k, w.K, options->heads != 0,
                               &w.view, err));
    }
    SELLA_TRY(explanation_json(&w, request, json, err));
done:
    work_release(&w);
    return status;
}
