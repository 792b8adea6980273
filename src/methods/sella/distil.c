/* distil.c - one semantic vector per item from the stage-1 model (methods/sella/stages.h).
 *
 * Paper: section 4.2, Fig. 3: the last token's hidden state of the last layer, after the final
 *        norm, with the adapter active. Nothing is trained.
 * Finished items are on a tape, so that a killed distillation loses at most checkpoint.seconds of
 * work.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "methods/sella/stages.h"
#include "methods/tape.h"
#include "methods/tensor_file.h"

enum { ITEMS_AT_ONCE = 64 };

#define TAPE "checkpoints/distil.tape"

sella_status sella_distil_wanted(const sella_settings *settings, uint64_t seed,
                                 const sella_dataset *dataset, int64_t train_rows,
                                 int64_t eval_rows, uint8_t **wanted_i, int32_t *count,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    const bool all = sella_settings_is(settings, "distil.items", "all");
    sella_window window;
    int32_t length;
    uint8_t *wanted = sella_alloc((size_t)dataset->items, 1, "items to distil", err);
    int64_t *index = NULL, k;
    *count = 0;
    if (!wanted) {
        return SELLA_MEMORY;
    }
    sella_lm_window(settings, &window, &length);
    if (all) {
        memset(wanted, 1, (size_t)dataset->items);
    }
    for (int s = SELLA_SPLIT_TRAIN; !all && s <= SELLA_SPLIT_VALID; s++) {
        const bool train = s == SELLA_SPLIT_TRAIN;
        SELLA_TRY(
            sella_sample_rows(train ? train_rows : eval_rows,
                              train ? sella_settings_int(settings, "train.run") : SELLA_EVAL_RUN,
                              seed, dataset, (sella_split_id)s, &index, &k, err));
        for (int64_t i = 0; i < k; i++) {
            const int32_t *history;
            int32_t n = sella_dataset_history(dataset, (sella_split_id)s, index[i], &history);
            wanted[dataset->split[s].item_n[index[i]]] = 1;
            for (int32_t j = sella_history_start(window, length, n); j < n; j++) {
                wanted[history[j]] = 1;
            }
        }
        free(index);
        index = NULL;
    }
    for (int32_t i = 0; i < dataset->items; i++) {
        *count += wanted[i];
    }
done:
    free(index);
    if (status != SELLA_OK) {
        free(wanted);
        wanted = NULL;
    }
    *wanted_i = wanted;
    return status;
}

typedef struct work {
    sella_lm lm;
    sella_pass *pass;
    int budget, wording;
    int32_t *item_k; // [k] in catalogue order
    float *answer;   // [budget, L]
} work;

/* Vectors of items first .. first + k - 1 of item_k: out [k, L]. */
static sella_status some_items(void *user, int64_t first, int64_t k, void *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    work *w = user;
    float *vector = out;
    sella_rows rows;
    sella_tree_plan plan = {0};
    sella_tree_batch batch = {0};
    const size_t L = (size_t)w->lm.C;
    const sella_tree_options options = {w->budget, 0, false};
    sella_rows_init(&rows);
    for (int64_t i = 0; i < k; i++) {
        const int32_t item = w->item_k[first + i];
        SELLA_TRY(sella_prompt_distil(w->lm.prompter, item, w->wording, &rows, err));
        rows.row[i] = i;
    }
    SELLA_TRY(sella_tree_plan_new(&rows, &options, &plan, err));
    for (int64_t b = 0; b < plan.batches; b++) {
        sella_tree_batch_release(&batch);
        SELLA_TRY(sella_tree_build(&rows, plan.order + plan.first[b],
                                   plan.first[b + 1] - plan.first[b], &options, &batch, err));
        SELLA_TRY(sella_pass_forward(w->pass, &batch, NULL, 0, -1, w->answer, err));
        for (int n = 0; n < batch.N; n++) {
            memcpy(vector + (size_t)batch.row_n[n] * L, w->answer + (size_t)n * L,
                   L * sizeof *vector);
        }
    }
done:
    sella_tree_batch_release(&batch);
    sella_tree_plan_release(&plan);
    sella_rows_release(&rows);
    return status;
}

/* All wanted items, through the tape: vector_k [k, L]. */
static sella_status all_items(const sella_job *job, work *w, int64_t k, float *vector_k,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    char *path = NULL;
    SELLA_TRY(sella_run_place(job->run, TAPE, &path, err));
    const sella_tape_work all = {
        .what = "distil",
        .unit = "items",
        .path = path,
        .record = (size_t)w->lm.C * sizeof *vector_k,
        .key = sella_hash_bytes(w->item_k, (size_t)k * sizeof *w->item_k, job->run->seed),
        .seconds = sella_settings_real(job->settings, "checkpoint.seconds"),
        .block = ITEMS_AT_ONCE,
        .make = some_items,
        .user = w,
        .talk = job->talk};
    SELLA_TRY(sella_tape_run(&all, k, vector_k, err));
done:
    free(path);
    return status;
}

static sella_status save(const sella_job *job, const work *w, int64_t k, const float *vector_k,
                         double seconds, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table table;
    const sella_param_table *const tables[] = {&table};
    const size_t L = (size_t)w->lm.C;
    char *path = NULL, *tape = sella_run_file(job->run, TAPE);
    json_t *record = sella_stage_record_new("distil", seconds);
    sella_param_table_init(&table);
    if (!record || !tape) {
        status = sella_err_memory(err, "the distillation's record", 256);
        goto done;
    }
    SELLA_TRY(sella_param_add(&table, "semantic.weight", job->run->items, w->lm.C, err));
    for (int64_t i = 0; i < k; i++) {
        memcpy(table.param[0].data + (size_t)w->item_k[i] * L, vector_k + (size_t)i * L,
               L * sizeof(float));
    }
    SELLA_TRY(sella_param_check_finite(&table, false, "distillation", err));
    SELLA_TRY(sella_run_place(job->run, "stages/distil/semantic.safetensors", &path, err));
    SELLA_TRY(sella_tensors_write(path, tables, 1, err));
    sella_stage_record_name(record, false, "backbone");
    sella_stage_record_name(record, false, "adapter");
    json_object_set_new(record, "items", json_integer(k));
    json_object_set_new(record, "of", json_integer(job->run->items));
    json_object_set_new(record, "wording",
                        json_string(sella_settings_text(job->settings, "distil.wording")));
    SELLA_TRY(sella_run_stage_finish(job->run, "distil", record, err));
    SELLA_TRY(sella_path_remove(tape, err));
done:
    sella_param_table_release(&table);
    json_decref(record);
    free(path);
    free(tape);
    return status;
}

sella_status sella_distil_run(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    work w = {.budget = (int)sella_settings_int(job->settings, "eval.tokens"),
              .wording = sella_settings_is(job->settings, "distil.wording", "eol")};
    const sella_pass_options options = {.max_tokens = w.budget};
    uint8_t *wanted = NULL;
    int32_t count = 0;
    float *vector = NULL;
    const double start = sella_now();
    if (sella_run_stage_done(job->run, "distil")) {
        return SELLA_OK;
    }
    SELLA_TRY(sella_lm_open_run(job->run, job->backbone, 0, true, &w.lm, err));
    SELLA_TRY(sella_pass_new(job->backbone, w.lm.lora, &options, &w.pass, err));
    SELLA_TRY(sella_distil_wanted(job->settings, job->run->seed, job->dataset, job->train_rows,
                                  job->eval_rows, &wanted, &count, err));
    const size_t L = (size_t)w.lm.C;
    w.item_k = sella_alloc((size_t)count, sizeof *w.item_k, "items to distil", err);
    w.answer = sella_alloc((size_t)w.budget * L, sizeof *w.answer, "answers", err);
    vector = sella_alloc((size_t)count * L, sizeof *vector, "distilled vectors", err);
    if (!w.item_k || !w.answer || !vector) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int32_t i = 0, k = 0; i < job->run->items; i++) {
        if (wanted[i]) {
            w.item_k[k++] = i;
        }
    }
    sella_say(job->talk, SELLA_LEVEL_INFO, "distil: %d of %d items", count, job->run->items);
    SELLA_TRY(all_items(job, &w, count, vector, err));
    SELLA_TRY(save(job, &w, count, vector, sella_now() - start, err));
done:
    sella_pass_free(w.pass);
    sella_lm_release(&w.lm);
    free(w.item_k);
    free(w.answer);
    free(wanted);
    free(vector);
    return status;
}
