/* stage3.c - stage 3: soft tokens of user, item and meaning enter the prompt, and what makes them is trained
 * (methods/sella/stages.h).
 *
 * Paper: section 4.3, eqs (10), (11). Frozen: backbone and adapter. Trained: Proj, Warm, and the three tables; with
 *        them logit.bias and logit.gain when they exist.
 * Ablations (REFERENCE 7.1 row 21) name what is removed:
 *   w/o   alignment and warm token: only Proj is trained, from a random start, on vectors of a stage 2 without
 *         alignment (CoLLM-MF)
 *   proj  the Proj of stage 2: it starts at random here
 *   warm  the warm token (semantic table and Warm stay as they are)
 *   ui    user and item tokens (collaborative tables and Proj stay as they are)
 *   w-ui  joint training: half of the steps train {semantic table, Warm}, the other half {collaborative tables, Proj};
 *         ui-w: the other way round
 * logit.bias and logit.gain belong to the first-named group.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "methods/sella/stages.h"

enum { GROUP_WARM = 1, GROUP_UI = 2 };

typedef struct stage3 {
    sella_job *job;
    sella_lm lm;
    sella_vectors v;
    sella_corpus train, valid;
    sella_lm_step step;
    double label_mean;
    int first_group, second_group; // 0: joint
} stage3;

static sella_status run_step(void *user, sella_loop_step *at, sella_err *err)
{
    stage3 *s = user;
    const int64_t *tree;
    int64_t rows, trees = sella_corpus_step(&s->train, at->step / s->train.steps, at->step % s->train.steps, &tree);
    sella_status status = sella_lm_step_run(&s->step, tree, trees, at->step, true, &at->loss, &rows, NULL, err);
    at->units = (double)rows;
    return status;
}

static int group_of(void *user, int64_t step, int64_t total)
{
    const stage3 *s = user;
    return step < (total + 1) / 2 ? s->first_group : s->second_group;
}

static sella_status evaluate(void *user, double *metric, json_t **record, sella_err *err)
{
    stage3 *s = user;
    *record = NULL;
    sella_status status = sella_vectors_ready(&s->v, s->job->run, err);
    return status == SELLA_OK ? sella_lm_step_auc(&s->step, &s->valid, metric, err) : status;
}

/* ---- what is trained ---- */

static void set_group(sella_param_table *table, const char *prefix, int group)
{
    for (int i = 0; i < table->count; i++) {
        if (strncmp(table->param[i].name, prefix, strlen(prefix)) == 0) {
            table->param[i].group = group;
        }
    }
}

/* Proj from another start than stage 2's. */
static sella_status restart_projection(stage3 *s, sella_err *err)
{
    sella_projection fresh;
    sella_status status = sella_projection_init(s->v.C, s->v.projection.hidden, s->v.L, false, SELLA_WARM_RANDOM,
                                                sella_stage_seed(s->job->run, "stage3.proj"), &fresh, err);
    if (status != SELLA_OK) {
        return status;
    }
    for (int i = 0; i < fresh.table.count; i++) {
        sella_param *param = sella_param_find(&s->v.projection.table, fresh.table.param[i].name);
        memcpy(param->data, fresh.table.param[i].data, param->count * sizeof(float));
    }
    sella_projection_release(&fresh);
    return SELLA_OK;
}

static sella_status choose_trained(stage3 *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_settings *settings = s->job->settings;
    const char *ablation = sella_settings_text(settings, "ablation");
    const bool without = strcmp(ablation, "w/o") == 0, ui_tokens = strcmp(ablation, "ui") != 0,
               warm_token = !without && strcmp(ablation, "warm") != 0;
    const bool tables = ui_tokens && !without, residual = sella_residual_of(settings) != SELLA_RESIDUAL_NO;
    sella_param_table *mf = &s->v.mf.table;
    if (without || strcmp(ablation, "proj") == 0) {
        SELLA_TRY(restart_projection(s, err));
    }
    SELLA_TRY(sella_stage_train_table(mf, "", tables, err));
    if (tables && !residual) { // biases are in the residual only: without it they have no gradient and would just decay
        SELLA_TRY(sella_stage_train_table(mf, "user.bias", false, err));
        SELLA_TRY(sella_stage_train_table(mf, "item.bias", false, err));
        SELLA_TRY(sella_stage_train_table(mf, "global.bias", false, err));
    }
    SELLA_TRY(sella_stage_train_table(&s->v.projection.table, "proj.", ui_tokens, err));
    SELLA_TRY(sella_stage_train_table(&s->v.projection.table, "warm.", warm_token, err));
    SELLA_TRY(sella_stage_train_table(&s->v.semantic, "", warm_token && sella_settings_bool(settings, "semantic.train"),
                                      err));
    SELLA_TRY(sella_stage_train_table(&s->v.logit, "text.", false, err));
    const bool warm_first = strcmp(ablation, "w-ui") == 0;
    if (warm_first || strcmp(ablation, "ui-w") == 0) {
        s->first_group = warm_first ? GROUP_WARM : GROUP_UI;
        s->second_group = warm_first ? GROUP_UI : GROUP_WARM;
        set_group(mf, "", GROUP_UI);
        set_group(&s->v.projection.table, "proj.", GROUP_UI);
        set_group(&s->v.projection.table, "warm.", GROUP_WARM);
        set_group(&s->v.semantic, "", GROUP_WARM);
        set_group(&s->v.logit, "", s->first_group);
    }
done:
    return status;
}

/* ---- the stage ---- */

static sella_status load_vectors(stage3 *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = s->job->run;
    char *collab = sella_run_file(run, "stages/align/collab.safetensors"),
         *projection = sella_run_file(run, "stages/align/projection.safetensors");
    char *distilled = sella_run_file(run, "stages/distil/semantic.safetensors");
    if (!collab || !projection || !distilled) {
        status = sella_err_memory(err, "a path", 64);
        goto done;
    }
    SELLA_TRY(sella_vectors_init(run->settings, run->users, run->items, sella_backbone_shape(s->job->backbone)->C,
                                 sella_settings_bool(run->settings, "stage1.intercept"), run->seed, &s->v, err));
    SELLA_TRY(sella_vectors_read(&s->v, collab, projection, err));
    SELLA_TRY(sella_vectors_distilled(&s->v, distilled, false, err));
    SELLA_TRY(sella_vectors_ready(&s->v, run, err));
done:
    free(collab);
    free(projection);
    free(distilled);
    return status;
}

static sella_status prepare(stage3 *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = s->job;
    const sella_settings *settings = job->settings;
    int64_t *index = NULL, k;
    const sella_corpus_options options = {.budget = (int)sella_settings_int(settings, "train.tokens"),
                                          .tree_cap = (int)sella_settings_int(settings, "stage1.tree_cap"),
                                          .share = sella_settings_bool(settings, "stage1.share"),
                                          .user_history = sella_settings_bool(settings, "collab.history"),
                                          .batch = sella_settings_int(settings, "stage3.batch"),
                                          .seed = sella_stage_seed(job->run, "stage3")};
    SELLA_TRY(load_vectors(s, err));
    SELLA_TRY(choose_trained(s, err));
    SELLA_TRY(sella_lm_open_run(job->run, job->backbone, sella_ablation_slots(settings), true, &s->lm, err));
    sella_param_table *adapter = sella_lora_params(s->lm.lora);
    SELLA_TRY(sella_stage_train_table(adapter, "", false, err));
    SELLA_TRY(sella_sample_rows(job->train_rows, job->run->seed, job->dataset, SELLA_SPLIT_TRAIN, &index, &k, err));
    SELLA_TRY(sella_corpus_open(&s->lm, job->dataset, SELLA_SPLIT_TRAIN, index, k, &options, &s->train, err));
    for (int64_t r = 0; r < k; r++) {
        s->label_mean += s->train.label_n[r] / (double)k;
    }
    free(index);
    index = NULL;
    if (sella_settings_int(settings, "stage3.evaluate") > 0 && job->dataset->split[SELLA_SPLIT_VALID].rows > 0) {
        SELLA_TRY(sella_sample_rows(job->eval_rows, job->run->seed, job->dataset, SELLA_SPLIT_VALID, &index, &k, err));
        SELLA_TRY(sella_corpus_open(&s->lm, job->dataset, SELLA_SPLIT_VALID, index, k, &options, &s->valid, err));
    }
    s->step = (sella_lm_step){.lm = &s->lm,
                              .corpus = &s->train,
                              .v = &s->v,
                              .logit = &s->v.logit,
                              .residual = sella_residual_of(settings),
                              .dropout = sella_settings_bool(settings, "stage3.dropout"),
                              .seed = options.seed,
                              .align_weight = sella_settings_real(settings, "stage3.align_weight")};
    sella_stage_align_config(settings, &s->step.align);
    SELLA_TRY(sella_lm_step_open(&s->step, err));
done:
    free(index);
    return status;
}

static sella_status save(stage3 *s, const sella_loop_result *result, const sella_lm_start *start, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = s->job->run;
    char *collab = sella_run_file(run, "collab.safetensors"),
         *projection = sella_run_file(run, "projection.safetensors");
    json_t *record = sella_stage_record_new("stage3", result->seconds);
    if (!collab || !projection || !record) {
        status = sella_err_memory(err, "stage 3", 256);
        goto done;
    }
    SELLA_TRY(sella_vectors_write(&s->v, collab, projection, err));
    sella_stage_record_name(record, false, "backbone");
    sella_stage_record_name(record, false, "adapter");
    sella_stage_record_table(record, &s->v.mf.table);
    sella_stage_record_table(record, &s->v.semantic);
    sella_stage_record_table(record, &s->v.projection.table);
    sella_stage_record_table(record, &s->v.logit);
    json_object_set_new(record, "ablation", json_string(sella_settings_text(run->settings, "ablation")));
    json_object_set_new(record, "rows", json_integer(s->train.rows));
    json_object_set_new(record, "tokens", json_integer(s->train.tokens));
    json_object_set_new(record, "row_tokens", json_integer(s->train.row_tokens));
    json_object_set_new(record, "steps", json_integer(result->steps));
    json_object_set_new(record, "loss", sella_json_real(result->last_loss));
    json_object_set_new(record, "auc_before", sella_json_real(start->auc));
    json_object_set_new(record, "best_valid_auc", sella_json_real(result->best));
    SELLA_TRY(sella_run_stage_finish(run, "stage3", record, err));
done:
    free(collab);
    free(projection);
    json_decref(record);
    return status;
}

/* Epochs and steps of the loop: stage3.steps overrides the epochs. */
static void count_steps(const stage3 *s, sella_loop *loop)
{
    int64_t most = sella_settings_int(s->job->settings, "stage3.steps");
    loop->steps_per_epoch = s->train.steps;
    if (most == 0) {
        loop->epochs = 0;
    } else if (most > 0) {
        loop->epochs = 1;
        loop->steps_per_epoch = most;
    }
    loop->units_per_epoch = (double)s->train.rows * (double)loop->steps_per_epoch / (double)s->train.steps;
}

sella_status sella_stage3_run(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    stage3 s = {.job = job};
    sella_stage_paths paths = {0};
    sella_loop loop;
    sella_loop_result result = {.best = NAN};
    sella_lm_start start = {.auc = NAN};
    if (sella_run_stage_done(job->run, "stage3")) {
        return SELLA_OK;
    }
    SELLA_TRY(prepare(&s, err));
    SELLA_TRY(sella_stage_loop(job, "stage3", "stage3", &loop, &paths, err));
    SELLA_TRY(sella_stage_start(job, "stage3", &s.step, s.label_mean, &start, err));
    sella_param *bias = sella_param_find(&s.v.logit, "logit.bias");
    if (bias) {
        bias->data[0] = (float)start.bias;
    }
    sella_param_table *const tables[] = {&s.v.mf.table, &s.v.projection.table, &s.v.semantic, &s.v.logit};
    loop.tables = tables;
    loop.n = 4;
    count_steps(&s, &loop);
    loop.group = s.first_group ? group_of : NULL;
    loop.run_step = run_step;
    loop.user = &s;
    loop.evaluate = s.valid.rows > 0 ? evaluate : NULL;
    loop.evaluate_steps = loop.evaluate ? loop.evaluate_steps : 0;
    loop.keep_best = loop.evaluate != NULL;
    sella_say(job->talk, SELLA_LEVEL_INFO,
              "stage 3: %lld rows, %lld packed tokens an epoch (%lld one by one), %lld steps", (long long)s.train.rows,
              (long long)s.train.tokens, (long long)s.train.row_tokens,
              (long long)(loop.epochs * loop.steps_per_epoch));
    SELLA_TRY(sella_loop_run(&loop, &result, err));
    SELLA_TRY(save(&s, &result, &start, err));
    SELLA_TRY(sella_path_remove(paths.checkpoints, err));
done:
    sella_stage_paths_release(&paths);
    sella_lm_step_release(&s.step);
    sella_corpus_release(&s.train);
    sella_corpus_release(&s.valid);
    sella_vectors_release(&s.v);
    sella_lm_release(&s.lm);
    return status;
}
