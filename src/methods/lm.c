/* lm.c - template, prompter, adapter, label direction (methods/lm.h). */
#include "methods/lm.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "formats/gguf.h"

sella_status sella_lm_open(const sella_settings *settings, const char *tmpl,
                           sella_backbone *backbone, const sella_tokenizer *tokenizer,
                           const char *const *titles, int32_t items, const char *noun,
                           sella_slot_set slots, sella_lm *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    float *head = NULL;
    *out = (sella_lm){.backbone = backbone, .slots = slots, .tokens = 1};
    sella_lm_window(settings, &out->window, &out->length);
    SELLA_TRY(sella_template_open(tmpl, &out->tmpl, err));
    SELLA_TRY(sella_prompter_new(out->tmpl,
                                 backbone ? sella_backbone_tokenizer(backbone) : tokenizer, titles,
                                 items, noun, &out->prompter, err));
    sella_prompter_answers(out->prompter, &out->yes, &out->no);
    if (backbone) {
        const int32_t labels[2] = {out->yes, out->no};
        out->C = sella_backbone_shape(backbone)->C;
        size_t C = (size_t)out->C;
        head = sella_alloc(2 * C, sizeof *head, "label rows of the head", err);
        out->direction = sella_alloc(C, sizeof *out->direction, "label rows of the head", err);
        if (!head || !out->direction) {
            status = SELLA_MEMORY;
            goto done;
        }
        SELLA_TRY(sella_backbone_head(backbone, labels, 2, head, err));
        for (size_t c = 0; c < C; c++) {
            out->direction[c] = head[c] - head[C + c];
        }
    }
done:
    free(head);
    if (status != SELLA_OK) {
        sella_lm_release(out);
    }
    return status;
}

void sella_lm_release(sella_lm *lm)
{
    sella_lora_free(lm->lora);
    sella_prompter_free(lm->prompter);
    sella_template_free(lm->tmpl);
    free(lm->direction);
    *lm = (sella_lm){0};
}

sella_status sella_lm_codes(sella_lm *lm, const sella_codes *codes, sella_err *err)
{
    lm->codes = codes;
    return codes ? sella_prompter_check_codes(lm->prompter, err) : SELLA_OK;
}

sella_status sella_lm_row(const sella_lm *lm, const sella_query *query, const int32_t *ref,
                          int64_t row, float label, sella_prompt_row *out, sella_err *err)
{
    int32_t start = sella_history_start(lm->window, lm->length, query->history_count);
    *out =
        (sella_prompt_row){.history_n = query->history_n ? query->history_n + start : NULL,
                           .history_text = query->history_text ? query->history_text + start : NULL,
                           .history_count = query->history_count - start,
                           .item = query->item,
                           .target_text = query->target_text,
                           .slots = lm->slots,
                           .slot_tokens = lm->tokens,
                           .group = query->group,
                           .row = row,
                           .label = label,
                           .weight = 1};
    if (query->item < 0 && !query->target_text) {
        return sella_err_set(err, SELLA_ARG,
                             "query %lld names no item of the catalogue and has no title",
                             (long long)row);
    }
    if (lm->codes) {
        out->slots = SELLA_SLOT_SET_USER_ITEM;
        out->slot_text[SELLA_SLOT_USER] = sella_codes_user(lm->codes, query->user);
        out->slot_text[SELLA_SLOT_ITEM] = sella_codes_item(lm->codes, query->item);
    }
    if (ref) {
        memcpy(out->ref, ref, sizeof out->ref);
    }
    return SELLA_OK;
}

sella_status sella_lm_render(const sella_lm *lm, const sella_query *query, const int32_t *ref,
                             int64_t row, float label, sella_rows *rows, sella_err *err)
{
    sella_prompt_row prompt;
    sella_status status = sella_lm_row(lm, query, ref, row, label, &prompt, err);
    return status == SELLA_OK ? sella_prompt_render(lm->prompter, &prompt, rows, err) : status;
}

sella_status sella_lm_tokenizer(const char *model, sella_tokenizer **out, sella_err *err)
{
    if (sella_path_is_dir(model)) {
        char *path = sella_path_join(model, "tokenizer.json", NULL);
        sella_status status = path ? sella_tokenizer_open_json(path, out, err)
                                   : sella_err_memory(err, "a path", strlen(model));
        free(path);
        return status;
    }
    sella_gguf *file = NULL;
    sella_status status = sella_gguf_open(model, &file, err);
    if (status == SELLA_OK) {
        status = sella_tokenizer_open_gguf(file, out, err);
    }
    sella_gguf_close(file);
    return status;
}

void sella_lm_window(const sella_settings *settings, sella_window *window, int32_t *length)
{
    *window = sella_settings_is(settings, "history.window", "anchored") ? SELLA_WINDOW_ANCHORED
                                                                        : SELLA_WINDOW_SLIDING;
    *length = (int32_t)sella_settings_int(settings, "history.length");
}

sella_status sella_lm_lora_config(const sella_settings *settings, sella_lora_config *out,
                                  sella_err *err)
{
    *out =
        (sella_lora_config){.rank = (int)sella_settings_int(settings, "lora.rank"),
                            .alpha = sella_settings_real(settings, "lora.alpha"),
                            .dropout = sella_settings_real(settings, "lora.dropout"),
                            .first_layer = (int)sella_settings_int(settings, "lora.first_layer")};
    if (out->first_layer == 0 && sella_settings_is(settings, "train.cache_hidden", "yes")) {
        return sella_err_set(err, SELLA_ARG,
                             "train.cache_hidden=yes with lora.first_layer=0: below the first "
                             "layer there is nothing to keep");
    }
    return sella_lora_targets(sella_settings_text(settings, "lora.targets"), &out->targets, err);
}

sella_status sella_lm_save_template(const sella_run *run, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_template *tmpl = NULL;
    char *path = sella_run_file(run, "template.txt");
    if (!path) {
        return sella_err_memory(err, "a path", 16);
    }
    if (!sella_path_exists(path)) {
        SELLA_TRY(sella_template_open(sella_settings_text(run->settings, "template"), &tmpl, err));
        const char *text = sella_template_text(tmpl);
        SELLA_TRY(sella_write_file(path, text, strlen(text), err));
    }
done:
    sella_template_free(tmpl);
    free(path);
    return status;
}

sella_status sella_lm_open_run(const sella_run *run, sella_backbone *backbone, sella_slot_set slots,
                               bool adapter, sella_lm *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *tmpl = sella_run_file(run, "template.txt"), *folder = sella_run_file(run, "adapter");
    *out = (sella_lm){0};
    if (!tmpl || !folder) {
        status = sella_err_memory(err, "a path", 16);
        goto done;
    }
    SELLA_TRY(sella_lm_open(run->settings, tmpl, backbone, NULL, run->title, run->items, run->noun,
                            slots, out, err));
    if (adapter) {
        SELLA_TRY(sella_lora_load(backbone, folder, &out->lora, err));
    }
done:
    free(tmpl);
    free(folder);
    if (status != SELLA_OK) {
        sella_lm_release(out);
    }
    return status;
}

sella_status sella_lm_queries(const sella_dataset *dataset, sella_split_id split,
                              const int64_t *index_k, int64_t k, sella_query **query_n,
                              sella_err *err)
{
    const sella_split *rows = &dataset->split[split];
    sella_query *query = sella_alloc((size_t)k, sizeof *query, "queries", err);
    *query_n = query;
    if (!query) {
        return SELLA_MEMORY;
    }
    for (int64_t q = 0; q < k; q++) {
        int64_t r = index_k ? index_k[q] : q;
        int32_t user = rows->user_n[r];
        query[q] = (sella_query){.user = user < dataset->train_users ? user : -1,
                                 .item = rows->item_n[r],
                                 .group = user};
        query[q].history_count = sella_dataset_history(dataset, split, r, &query[q].history_n);
    }
    return SELLA_OK;
}
