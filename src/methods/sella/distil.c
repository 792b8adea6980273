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
#include "base/json.h"
#include "methods/sella/stages.h"
#include "methods/tape.h"
#include "methods/tensor_file.h"

enum { ITEMS_AT_ONCE = 64 };

sella_status sella_distil_wanted(const sella_settings *settings, uint64_t seed,
                                 const sella_dataset *dataset, int64_t train_rows,
                                 int64_t eval_rows, uint8_t **wanted_i, int32_t *count,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    const bool all = sella_settings_is(settings, "distil.items", "all");
    const sella_window window = sella_settings_is(settings, "history.window", "anchored")
                                    ? SELLA_WINDOW_ANCHORED
                                    : SELLA_WINDOW_SLIDING;
    const int32_t length = (int32_t)sella_settings_int(settings, "history.length");
    uint8_t *wanted = sella_alloc((size_t)dataset->items, 1, "items to distil", err);
    int64_t *index = NULL, k;
    *count = 0;
    if (!wanted) {
        return SELLA_MEMORY;
    }
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

/* Vectors of item_k [k]: out [k, L]. */
static sella_status some_items(const sella_lm *lm, sella_pass *pass, int wording, int budget,
                               const int32_t *item_k, int64_t k, float *answer, float *out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_rows rows;
    sella_tree_plan plan = {0};
    sella_tree_batch batch = {0};
    const size_t L = (size_t)lm->C;
    const sella_tree_options options = {budget, 0, false};
    sella_rows_init(&rows);
    for (int64_t i = 0; i < k; i++) {
        SELLA_TRY(sella_prompt_distil(lm->prompter, item_k[i], wording, &rows, err));
        rows.row[i] = i;
    }
    SELLA_TRY(sella_tree_plan_new(&rows, &options, &plan, err));
    for (int64_t b = 0; b < plan.batches; b++) {
        sella_tree_batch_release(&batch);
        SELLA_TRY(sella_tree_build(&rows, plan.order + plan.first[b],
                                   plan.first[b + 1] - plan.first[b], &options, &batch, err));
        SELLA_TRY(sella_pass_forward(pass, &batch, NULL, 0, -1, answer, err));
        for (int n = 0; n < batch.N; n++) {
            memcpy(out + (size_t)batch.row_n[n] * L, answer + (size_t)n * L, L * sizeof *out);
        }
    }
done:
    sella_tree_batch_release(&batch);
    sella_tree_plan_release(&plan);
    sella_rows_release(&rows);
    return status;
}

/* All wanted items in catalogue order, through the tape: vector_k [k, L]. */
static sella_status all_items(sella_job *job, const sella_lm *lm, const int32_t *item_k, int64_t k,
                              float *vector_k, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_tape *tape = NULL;
    sella_pass *pass = NULL;
    sella_progress progress;
    char *path = NULL;
    const int budget = (int)sella_settings_int(job->settings, "eval.tokens"),
              wording = sella_settings_is(job->settings, "distil.wording", "eol");
    const size_t L = (size_t)lm->C;
    const sella_pass_options options = {.max_tokens = budget};
    int64_t first = 0;
    float *answer = sella_alloc((size_t)budget * L, sizeof *answer, "answers", err);
    if (!answer) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_run_place(job->run, "checkpoints/distil.tape", &path, err));
    SELLA_TRY(sella_tape_open(path, L * sizeof *vector_k,
                              sella_hash_bytes(item_k, (size_t)k * sizeof *item_k, job->run->seed),
                              sella_settings_real(job->settings, "checkpoint.seconds"), vector_k, k,
                              &first, &tape, err));
    SELLA_TRY(sella_pass_new(job->backbone, lm->lora, &options, &pass, err));
    sella_progress_start(&progress, job->talk, "distil", "items", (double)k, (double)first);
    while (first < k) {
        int64_t n = k - first < ITEMS_AT_ONCE ? k - first : ITEMS_AT_ONCE;
        if (sella_stop_wanted(job->talk)) {
            SELLA_TRY(sella_tape_flush(tape, err));
            status = sella_err_set(err, SELLA_INTERRUPTED,
                                   "distil was stopped after %lld of %lld items; --resume goes on",
                                   (long long)first, (long long)k);
            goto done;
        }
        SELLA_TRY(some_items(lm, pass, wording, budget, item_k + first, n, answer,
                             vector_k + (size_t)first * L, err));
        SELLA_TRY(sella_tape_append(tape, vector_k + (size_t)first * L, n, err));
        first += n;
        sella_progress_step(&progress, (double)first, NULL);
    }
    SELLA_TRY(sella_tape_flush(tape, err));
    sella_progress_end(&progress);
done:
    sella_tape_close(tape);
    sella_pass_free(pass);
    free(path);
    free(answer);
    return status;
}

static sella_status save(sella_job *job, const sella_lm *lm, const int32_t *item_k, int64_t k,
                         const float *vector_k, double seconds, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table table;
    const sella_param_table *const tables[] = {&table};
    const size_t L = (size_t)lm->C;
    char *path = NULL, *tape = sella_run_file(job->run, "checkpoints/distil.tape");
    json_t *record = sella_stage_record_new("distil", seconds);
    sella_param_table_init(&table);
    if (!record || !tape) {
        status = sella_err_memory(err, "the distillation's record", 256);
        goto done;
    }
    SELLA_TRY(sella_param_add(&table, "semantic.weight", job->run->items, lm->C, err));
    for (int64_t i = 0; i < k; i++) {
        memcpy(table.param[0].data + (size_t)item_k[i] * L, vector_k + (size_t)i * L,
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
    sella_lm lm = {0};
    uint8_t *wanted = NULL;
    int32_t count = 0, *item = NULL;
    float *vector = NULL;
    const double start = sella_now();
    if (sella_run_stage_done(job->run, "distil")) {
        return SELLA_OK;
    }
    SELLA_TRY(sella_lm_open_run(job->run, job->backbone, 0, true, &lm, err));
    SELLA_TRY(sella_distil_wanted(job->settings, job->run->seed, job->dataset, job->train_rows,
                                  job->eval_rows, &wanted, &count, err));
    item = sella_alloc((size_t)count, sizeof *item, "items to distil", err);
    vector = sella_alloc((size_t)count * (size_t)lm.C, sizeof *vector, "distilled vectors", err);
    if (!item || !vector) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int32_t i = 0, k = 0; i < job->run->items; i++) {
        if (wanted[i]) {
            item[k++] = i;
        }
    }
    sella_say(job->talk, SELLA_LEVEL_INFO, "distil: %d of %d items", count, job->run->items);
    SELLA_TRY(all_items(job, &lm, item, count, vector, err));
    SELLA_TRY(save(job, &lm, item, count, vector, sella_now() - start, err));
done:
    free(wanted);
    free(item);
    free(vector);
    sella_lm_release(&lm);
    return status;
}
