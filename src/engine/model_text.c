/* model_text.c - one text through a bare backbone: its ids, the next token's logits, the last
 * hidden state. */
#include "backbone/backbone.h"
#include "backbone/pass.h"
#include "base/arena.h"
#include "base/json.h"
#include "data/tree.h"
#include "engine/token_text.h"
#include "sella/model.h"

enum { TOP = 10 };

/* hidden out [C]: state of the last of the ids after the final norm. */
static sella_status run_ids(const sella_backbone *backbone, const sella_ids *ids, float *hidden,
                            sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_rows rows;
    sella_tree_batch batch = {0};
    sella_pass *pass = NULL;
    const int64_t row = 0;
    const sella_tree_options shape = {.budget = ids->count, .share = false};
    const sella_pass_options options = {.max_tokens = ids->count};
    sella_rows_init(&rows);
    SELLA_TRY(sella_rows_add(&rows, ids->id, NULL, ids->count, NULL, 0, 0, 0.0f, 1.0f, err));
    SELLA_TRY(sella_tree_build(&rows, &row, 1, &shape, &batch, err));
    SELLA_TRY(sella_pass_new(backbone, NULL, &options, &pass, err));
    SELLA_TRY(sella_pass_forward(pass, &batch, NULL, 0, -1, hidden, err));
done:
    sella_pass_free(pass);
    sella_tree_batch_release(&batch);
    sella_rows_release(&rows);
    return status;
}

/* The ten highest logits, ties by id. */
static sella_status top_json(const sella_backbone *backbone, const float *logit_v, json_t *top,
                             sella_err *err)
{
    const int V = sella_backbone_shape(backbone)->V;
    int32_t best[TOP];
    int n = 0;
    for (int32_t id = 0; id < V; id++) {
        if (n == TOP && logit_v[id] <= logit_v[best[n - 1]]) {
            continue;
        }
        int at = n < TOP ? n++ : TOP - 1;
        for (; at > 0 && logit_v[best[at - 1]] < logit_v[id]; at--) {
            best[at] = best[at - 1];
        }
        best[at] = id;
    }
    for (int i = 0; i < n; i++) {
        json_t *text = NULL;
        sella_status status =
            sella_token_text(sella_backbone_tokenizer(backbone), &best[i], 1, &text, err);
        if (status != SELLA_OK) {
            return status;
        }
        json_t *entry = json_object();
        json_object_set_new(entry, "id", json_integer(best[i]));
        json_object_set_new(entry, "token", text);
        json_object_set_new(entry, "logit", sella_json_real((double)logit_v[best[i]]));
        json_array_append_new(top, entry);
    }
    return SELLA_OK;
}

/* A list of texts between commas: none of them empty. Asked before the model is opened. */
static sella_status check_list(const char *list, sella_err *err)
{
    const size_t bytes = strlen(list);
    if (bytes == 0 || list[0] == ',' || list[bytes - 1] == ',' || strstr(list, ",,") != NULL) {
        return sella_err_set(err, SELLA_ARG,
                             "logits-of '%s' holds an empty text; expected texts between commas",
                             list);
    }
    return SELLA_OK;
}

/* {text: logit of its first token} for a list of texts between commas. */
static sella_status logits_of_json(const sella_backbone *backbone, const float *logit_v,
                                   const char *list, json_t *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_ids ids = {0};
    for (const char *at = list;;) {
        const char *comma = strchr(at, ',');
        const size_t bytes = comma != NULL ? (size_t)(comma - at) : strlen(at);
        ids.count = 0;
        SELLA_TRY(
            sella_tokenizer_encode(sella_backbone_tokenizer(backbone), at, bytes, true, &ids, err));
        if (ids.count == 0) {
            SELLA_TRY(sella_err_set(err, SELLA_ARG, "logits-of: '%.*s' has no token in this model",
                                    (int)bytes, at));
        }
        json_t *key = json_stringn(at, bytes);
        json_object_set_new(out, json_string_value(key),
                            sella_json_real((double)logit_v[ids.id[0]]));
        json_decref(key);
        if (comma == NULL) {
            break;
        }
        at = comma + 1;
    }
done:
    sella_ids_release(&ids);
    return status;
}

/* The whole object, once hidden state and logits are known. */
static sella_status text_json(const sella_backbone *backbone, const sella_ids *ids,
                              const float *hidden, const float *logit_v, const char *logits_of,
                              char **json, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int C = sella_backbone_shape(backbone)->C;
    json_t *object = json_object();
    json_t *id_list = json_array();
    json_t *tokens = json_array();
    json_t *top = json_array();
    json_t *state = json_array();
    json_t *asked = json_object();
    for (int i = 0; i < ids->count; i++) {
        json_t *text = NULL;
        SELLA_TRY(sella_token_text(sella_backbone_tokenizer(backbone), &ids->id[i], 1, &text, err));
        json_array_append_new(id_list, json_integer(ids->id[i]));
        json_array_append_new(tokens, text);
    }
    SELLA_TRY(top_json(backbone, logit_v, top, err));
    for (int c = 0; c < C; c++) {
        json_array_append_new(state, sella_json_real((double)hidden[c]));
    }
    json_object_set(object, "ids", id_list);
    json_object_set(object, "tokens", tokens);
    json_object_set(object, "top", top);
    if (logits_of != NULL) {
        SELLA_TRY(logits_of_json(backbone, logit_v, logits_of, asked, err));
        json_object_set(object, "logits_of", asked);
    }
    json_object_set(object, "hidden", state);
    *json = sella_json_line(object);
    if (*json == NULL) {
        status = sella_err_memory(err, "the answer", 0);
    }
done:
    json_decref(asked);
    json_decref(state);
    json_decref(top);
    json_decref(tokens);
    json_decref(id_list);
    json_decref(object);
    return status;
}

sella_status sella_model_text(const char *model, const char *text, const char *logits_of,
                              const char *weights, const sella_talk *talk, char **json,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_backbone *backbone = NULL;
    sella_ids ids = {0};
    float *hidden = NULL;
    float *logit_v = NULL;
    sella_weights how;
    *json = NULL;
    if (model == NULL || text == NULL) {
        return sella_err_set(err, SELLA_ARG, "a model and a text are needed");
    }
    if (text[0] == '\0') {
        return sella_err_set(err, SELLA_ARG, "the text is empty; expected at least one token");
    }
    SELLA_TRY(logits_of != NULL ? check_list(logits_of, err) : SELLA_OK);
    SELLA_TRY(sella_weights_of(weights, &how, err));
    SELLA_TRY(sella_backbone_open_as(model, how, talk, &backbone, err));
    const sella_backbone_config *shape = sella_backbone_shape(backbone);
    SELLA_TRY(sella_tokenizer_encode(sella_backbone_tokenizer(backbone), text, strlen(text), true,
                                     &ids, err));
    if (ids.count == 0) {
        SELLA_TRY(sella_err_set(err, SELLA_ARG, "the text is empty; expected at least one token"));
    }
    if (shape->context > 0 && ids.count > shape->context) {
        SELLA_TRY(sella_err_set(err, SELLA_ARG, "the text has %d tokens; %s was made for %lld",
                                ids.count, model, (long long)shape->context));
    }
    hidden = sella_alloc((size_t)shape->C, sizeof *hidden, "a hidden state", err);
    logit_v = sella_alloc((size_t)shape->V, sizeof *logit_v, "the logits", err);
    if (hidden == NULL || logit_v == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(run_ids(backbone, &ids, hidden, err));
    SELLA_TRY(sella_backbone_logits(backbone, hidden, logit_v, err));
    SELLA_TRY(text_json(backbone, &ids, hidden, logit_v, logits_of, json, err));
done:
    free(hidden);
    free(logit_v);
    sella_ids_release(&ids);
    sella_backbone_close(backbone);
    return status;
}
