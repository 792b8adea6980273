/* stage1.c - stage 1: the adapter learns to answer Yes or No from titles (methods/sella/stages.h).
 *
 * Paper: section 4.1, eqs (1) to (5). Frozen: the backbone. Trained: the adapter, and logit.bias when
 *        stage1.intercept is on.
 */
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"

typedef struct stage1 {
    sella_job *job;
    sella_lm lm;
    sella_corpus train, valid;
    sella_param_table logit; // logit.bias, or empty
    sella_lm_step step;
    double label_mean;
} stage1;

static sella_status run_step(void *user, sella_loop_step *at, sella_err *err)
{
    stage1 *s = user;
    const int64_t *tree;
    int64_t rows, trees = sella_corpus_step(&s->train, at->epoch, at->index, &tree);
    sella_status status = sella_lm_step_run(&s->step, tree, trees, at->step, true, &at->loss, &rows, NULL, err);
    at->units = (double)rows;
    return status;
}

static sella_status evaluate(void *user, double *metric, json_t **record, sella_err *err)
{
    stage1 *s = user;
    *record = NULL;
    return sella_lm_step_auc(&s->step, &s->valid, metric, err);
}

/* Model, adapter, rows. */
static sella_status prepare(stage1 *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = s->job;
    const sella_settings *settings = job->settings;
    sella_lora_config config;
    int64_t *index = NULL, k;
    const sella_corpus_options options = {.budget = (int)sella_settings_int(settings, "train.tokens"),
                                          .tree_cap = (int)sella_settings_int(settings, "stage1.tree_cap"),
                                          .share = sella_settings_bool(settings, "stage1.share"),
                                          .batch = sella_settings_int(settings, "stage1.batch"),
                                          .seed = sella_stage_seed(job->run, "stage1")};
    SELLA_TRY(sella_lm_open_run(job->run, job->backbone, 0, false, &s->lm, err));
    SELLA_TRY(sella_lm_lora_config(settings, &config, err));
    SELLA_TRY(sella_lora_new(job->backbone, &config, job->run->seed, &s->lm.lora, err));
    SELLA_TRY(sella_sample_rows(job->train_rows, job->run->seed, job->dataset, SELLA_SPLIT_TRAIN, &index, &k, err));
    SELLA_TRY(sella_corpus_open(&s->lm, job->dataset, SELLA_SPLIT_TRAIN, index, k, &options, &s->train, err));
    for (int64_t r = 0; r < k; r++) {
        s->label_mean += s->train.label_n[r] / (double)k;
    }
    if (s->label_mean <= 0 || s->label_mean >= 1) {
        status = sella_err_set(err, SELLA_STATE, "all %lld sampled train rows have one label; raise train.rows",
                               (long long)k);
        goto done;
    }
    free(index);
    index = NULL;
    if (sella_settings_int(settings, "stage1.evaluate") > 0 && job->dataset->split[SELLA_SPLIT_VALID].rows > 0) {
        SELLA_TRY(sella_sample_rows(job->eval_rows, job->run->seed, job->dataset, SELLA_SPLIT_VALID, &index, &k, err));
        SELLA_TRY(sella_corpus_open(&s->lm, job->dataset, SELLA_SPLIT_VALID, index, k, &options, &s->valid, err));
    }
    if (sella_settings_bool(settings, "stage1.intercept")) {
        SELLA_TRY(sella_param_add(&s->logit, "logit.bias", 1, 0, err));
        s->logit.param[0].decay = false;
    }
    s->step = (sella_lm_step){
        .lm = &s->lm, .corpus = &s->train, .logit = &s->logit, .dropout = config.dropout > 0, .seed = options.seed};
    SELLA_TRY(sella_lm_step_open(&s->step, err));
done:
    free(index);
    return status;
}

static sella_status save(stage1 *s, const sella_loop_result *result, const sella_lm_start *start, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = s->job->run;
    const sella_param_table *const tables[] = {&s->logit};
    char *adapter = sella_run_file(run, "adapter"), *path = NULL;
    json_t *record = sella_stage_record_new("stage1", result->seconds);
    if (!adapter || !record) {
        status = sella_err_memory(err, "stage 1", 256);
        goto done;
    }
    SELLA_TRY(sella_lora_save(s->lm.lora, adapter, run->model_path, err));
    if (s->logit.count > 0) {
        SELLA_TRY(sella_run_place(run, "stages/stage1/collab.safetensors", &path, err));
        SELLA_TRY(sella_tensors_write(path, tables, 1, err));
    }
    sella_stage_record_name(record, true, "adapter");
    sella_stage_record_table(record, &s->logit);
    sella_stage_record_name(record, false, "backbone");
    json_object_set_new(record, "rows", json_integer(s->train.rows));
    json_object_set_new(record, "tokens", json_integer(s->train.tokens));
    json_object_set_new(record, "row_tokens", json_integer(s->train.row_tokens));
    json_object_set_new(record, "steps", json_integer(result->steps));
    json_object_set_new(record, "loss", sella_json_real(result->last_loss));
    json_object_set_new(record, "auc_before", sella_json_real(start->auc));
    json_object_set_new(record, "best_valid_auc", sella_json_real(result->best));
    SELLA_TRY(sella_run_stage_finish(run, "stage1", record, err));
done:
    free(adapter);
    free(path);
    json_decref(record);
    return status;
}

sella_status sella_stage1_run(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    stage1 s = {.job = job};
    sella_stage_paths paths = {0};
    sella_loop loop;
    sella_loop_result result = {.best = NAN};
    sella_lm_start start = {.auc = NAN};
    if (sella_run_stage_done(job->run, "stage1")) {
        return SELLA_OK;
    }
    sella_param_table_init(&s.logit);
    SELLA_TRY(prepare(&s, err));
    SELLA_TRY(sella_stage_loop(job, "stage1", "stage1", &loop, &paths, err));
    if (loop.epochs > 0 || s.logit.count > 0) {
        SELLA_TRY(sella_stage_start(job, "stage1", &s.step, s.label_mean, &start, err));
    }
    if (s.logit.count > 0) {
        s.logit.param[0].data[0] = (float)start.bias;
    }
    sella_param_table *const tables[] = {sella_lora_params(s.lm.lora), &s.logit};
    loop.tables = tables;
    loop.n = 2;
    loop.steps_per_epoch = s.train.steps;
    loop.units_per_epoch = (double)s.train.rows;
    loop.run_step = run_step;
    loop.user = &s;
    loop.evaluate = s.valid.rows > 0 ? evaluate : NULL;
    loop.evaluate_steps = loop.evaluate ? loop.evaluate_steps : 0;
    loop.keep_best = loop.evaluate != NULL;
    sella_say(
        job->talk, SELLA_LEVEL_INFO,
        "stage 1: %lld rows, %lld packed tokens an epoch (%lld one by one), %lld steps an epoch, %zu trained numbers",
        (long long)s.train.rows, (long long)s.train.tokens, (long long)s.train.row_tokens, (long long)s.train.steps,
        sella_param_total(tables[0], true) + sella_param_total(tables[1], true));
    SELLA_TRY(sella_loop_run(&loop, &result, err));
    SELLA_TRY(save(&s, &result, &start, err));
    SELLA_TRY(sella_path_remove(paths.checkpoints, err));
done:
    sella_stage_paths_release(&paths);
    sella_lm_step_release(&s.step);
    sella_corpus_release(&s.train);
    sella_corpus_release(&s.valid);
    sella_param_table_release(&s.logit);
    sella_lm_release(&s.lm);
    return status;
}
