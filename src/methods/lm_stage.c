/* lm_stage.c - one training stage through the language model (methods/lm_stage.h). */
#include "methods/lm_stage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "methods/sella/stages.h"

/* Settings "<prefix>.<name>". */
static const char *key_of(const char *prefix, const char *name, char key[64])
{
    snprintf(key, 64, "%s.%s", prefix, name);
    return key;
}

static double real_of(const sella_lm_stage *stage, const char *name)
{
    char key[64];
    return sella_settings_real(stage->job->settings, key_of(stage->prefix, name, key));
}

static int64_t int_of(const sella_lm_stage *stage, const char *name)
{
    char key[64];
    return sella_settings_int(stage->job->settings, key_of(stage->prefix, name, key));
}

sella_corpus_options sella_lm_stage_packing(const sella_settings *settings, const char *prefix,
                                            sella_refs_kind refs, uint64_t seed)
{
    char key[64];
    return (sella_corpus_options){.budget = (int)sella_settings_int(settings, "train.tokens"),
                                  .tree_cap = (int)sella_settings_int(settings, "stage1.tree_cap"),
                                  .share = sella_settings_bool(settings, "stage1.share"),
                                  .refs = refs,
                                  .batch =
                                      sella_settings_int(settings, key_of(prefix, "batch", key)),
                                  .seed = seed};
}

/* ---- rows ---- */

static sella_status open_split(sella_lm_stage *stage, sella_split_id split, int64_t rows,
                               int64_t run, const sella_corpus_options *options, sella_corpus *out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = stage->job;
    int64_t *index = NULL, k;
    SELLA_TRY(sella_sample_rows(rows, run, job->run->seed, job->dataset, split, &index, &k, err));
    SELLA_TRY(sella_corpus_open(&stage->lm, job->dataset, split, index, k, options, out, err));
done:
    free(index);
    return status;
}

sella_status sella_lm_stage_open(sella_lm_stage *stage, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = stage->job;
    const sella_corpus_options options = sella_lm_stage_packing(
        job->settings, stage->prefix, stage->soft ? stage->soft->refs : SELLA_REFS_USER,
        sella_stage_seed(job->run, stage->name));
    stage->start.auc = stage->result.best = stage->result.last_loss = NAN;
    SELLA_TRY(open_split(stage, SELLA_SPLIT_TRAIN, job->train_rows,
                         sella_settings_int(job->settings, "train.run"), &options, &stage->train,
                         err));
    for (int64_t r = 0; r < stage->train.rows; r++) {
        stage->label_mean += stage->train.label_n[r] / (double)stage->train.rows;
    }
    if (stage->label_mean <= 0 || stage->label_mean >= 1) {
        status = sella_err_set(err, SELLA_STATE,
                               "all %lld sampled train rows have one label; raise train.rows",
                               (long long)stage->train.rows);
        goto done;
    }
    if (stage->soft && stage->soft->ops->rows) {
        stage->soft->ops->rows(stage->soft->self, stage->train.query_n, stage->train.rows);
    }
    if (int_of(stage, "evaluate") > 0 && job->dataset->split[SELLA_SPLIT_VALID].rows > 0) {
        SELLA_TRY(open_split(stage, SELLA_SPLIT_VALID, job->eval_rows, SELLA_EVAL_RUN, &options,
                             &stage->valid, err));
    }
    stage->step = (sella_lm_step){.lm = &stage->lm,
                                  .corpus = &stage->train,
                                  .soft = stage->soft,
                                  .v = stage->vectors,
                                  .logit = stage->logit,
                                  .residual = stage->residual,
                                  .dropout = stage->dropout,
                                  .seed = options.seed};
    // how an adapter learns, in stage 1 and where it learns with features
    if (stage->lm.lora && sella_param_total(sella_lora_params(stage->lm.lora), true) > 0) {
        SELLA_TRY(
            sella_teacher_make(job->settings, job->dataset, &stage->train, &stage->teacher, err));
        stage->step.target_n = stage->teacher.target_n;
        stage->step.offset_n = stage->teacher.offset_n;
        stage->step.centre = sella_settings_bool(job->settings, "stage1.centre");
    }
    SELLA_TRY(sella_lm_step_open(&stage->step, err));
done:
    return status;
}

void sella_lm_stage_release(sella_lm_stage *stage)
{
    sella_lm_step_release(&stage->step);
    sella_teacher_release(&stage->teacher);
    sella_hidden_cache_close(stage->train.hidden);
    sella_hidden_cache_close(stage->valid.hidden);
    sella_corpus_release(&stage->train);
    sella_corpus_release(&stage->valid);
    sella_lm_release(&stage->lm);
}

/* ---- what the stage begins with ---- */

/* A real that may be null (NaN). */
static sella_status get_real(const json_t *object, const char *key, const char *where, double *out,
                             sella_err *err)
{
    *out = NAN;
    return json_is_null(json_object_get(object, key))
               ? SELLA_OK
               : sella_json_get_real(object, key, where, out, err);
}

/* Read or make stages/NAME/start.json: it is measured once. */
static sella_status begin(sella_lm_stage *stage, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lm_start *start = &stage->start;
    json_t *object = NULL;
    char *path = NULL, name[64];
    snprintf(name, sizeof name, "stages/%s/start.json", stage->name);
    SELLA_TRY(sella_run_place(stage->job->run, name, &path, err));
    if (sella_path_exists(path)) {
        SELLA_TRY(sella_json_load(path, 1 << 16, &object, err));
        SELLA_TRY(sella_json_get_int(object, "rows", path, 1, INT64_MAX, &start->rows, err));
        SELLA_TRY(get_real(object, "auc", path, &start->auc, err));
        SELLA_TRY(sella_json_get_real(object, "mean_model", path, &start->mean_model, err));
        SELLA_TRY(sella_json_get_real(object, "logit_bias", path, &start->bias, err));
        goto done;
    }
    SELLA_TRY(sella_lm_step_start(&stage->step, stage->label_mean, start, err));
    object =
        json_pack("{s:I, s:o, s:o, s:o}", "rows", (json_int_t)start->rows, "auc",
                  sella_json_real(start->auc), "mean_model", sella_json_real(start->mean_model),
                  "logit_bias", sella_json_real(start->bias));
    if (!object) {
        status = sella_err_memory(err, "start.json", 256);
        goto done;
    }
    SELLA_TRY(sella_json_save(path, object, err));
    sella_say(
        stage->job->talk, SELLA_LEVEL_INFO,
        "%s: before training, AUC %.4f on %lld train rows; mean logit of the language model %+.3f",
        stage->name, start->auc, (long long)start->rows, start->mean_model);
done:
    json_decref(object);
    free(path);
    return status;
}

/* ---- hidden states on disk ---- */

static const char *const hidden_files[] = {"hidden-train.bin", "hidden-valid.bin"};

bool sella_lm_stage_keeps(const sella_settings *settings, int64_t times)
{
    return sella_settings_int(settings, "lora.first_layer") > 0 &&
           (sella_settings_is(settings, "train.cache_hidden", "yes") ||
            (sella_settings_is(settings, "train.cache_hidden", "auto") && times > 1));
}

/* Keep the hidden states of a corpus in hidden_files[file], when they are asked for `times` times.
 * Where that cannot be, the stage does without, and says so, unless it was asked for by name. */
static sella_status keep_hidden(sella_lm_stage *stage, sella_corpus *corpus, int file,
                                int64_t times, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_settings *settings = stage->job->settings;
    const sella_hidden_of of = {stage->lm.backbone, stage->step.first_layer, corpus->trees,
                                corpus->tree_tokens};
    char name[80], *path = NULL;
    sella_err why = {0};
    if (of.layer == 0 || corpus->trees == 0 || !sella_lm_stage_keeps(settings, times)) {
        return SELLA_OK;
    }
    snprintf(name, sizeof name, "stages/%s/%s", stage->name, hidden_files[file]);
    SELLA_TRY(sella_run_place(stage->job->run, name, &path, err));
    if (sella_hidden_cache_open(path, &of, &corpus->hidden, &why) == SELLA_OK) {
        const sella_hidden_stats state = sella_hidden_cache_state(corpus->hidden);
        sella_say(stage->job->talk, SELLA_LEVEL_INFO,
                  "%s: what enters layer %d is kept on disk between epochs: %s, %.1f MB, %lld of "
                  "%lld trees are there",
                  stage->name, of.layer, name, (double)state.bytes / 1048576.0,
                  (long long)state.known, (long long)corpus->trees);
    } else if (sella_settings_is(settings, "train.cache_hidden", "yes")) {
        status = sella_err_set(err, why.code, "%s; train.cache_hidden=auto does without", why.text);
    } else {
        sella_say(stage->job->talk, SELLA_LEVEL_WARN,
                  "%s: hidden states are computed again in every epoch: %s", stage->name, why.text);
    }
done:
    free(path);
    return status;
}

/* A file that can no longer be written is told once; what it has is used. */
static void tell_hidden(sella_lm_stage *stage, const sella_corpus *corpus)
{
    const char *failure = corpus->hidden ? sella_hidden_cache_state(corpus->hidden).failure : NULL;
    if (failure && !stage->hidden_told) {
        sella_say(stage->job->talk, SELLA_LEVEL_WARN,
                  "%s: hidden states are no longer written to disk: %s", stage->name, failure);
        stage->hidden_told = true;
    }
}

/* ---- the loop ---- */

static sella_status run_step(void *user, sella_loop_step *at, sella_err *err)
{
    sella_lm_stage *s = user;
    const int64_t *tree, steps = s->train.steps;
    int64_t rows, trees = sella_corpus_step(&s->train, at->step / steps, at->step % steps, &tree);
    sella_status status =
        sella_lm_step_run(&s->step, tree, trees, at->step, true, &at->loss, &rows, NULL, err);
    at->units = (double)rows;
    tell_hidden(s, &s->train);
    return status;
}

static int group_of(void *user, int64_t step, int64_t total)
{
    const sella_lm_stage *s = user;
    return step < (total + 1) / 2 ? s->first_group : s->second_group;
}

static sella_status evaluate(void *user, double *metric, json_t **record, sella_err *err)
{
    sella_lm_stage *s = user;
    const sella_soft_source *soft = s->soft;
    *record = NULL;
    sella_status status =
        soft && soft->ops->ready ? soft->ops->ready(soft->self, s->job->run, err) : SELLA_OK;
    status = status == SELLA_OK ? sella_lm_step_auc(&s->step, &s->valid, metric, err) : status;
    tell_hidden(s, &s->valid);
    return status;
}

static sella_loop loop_of(sella_lm_stage *stage, char *checkpoints, char *metrics)
{
    const sella_settings *settings = stage->job->settings;
    char key[64];
    key_of(stage->prefix, "schedule", key);
    const bool evaluates = stage->valid.rows > 0;
    return (sella_loop){
        .stage = stage->name,
        .optimizer = {.beta1 = 0.9,
                      .beta2 = real_of(stage, "beta2"),
                      .eps = 1e-8,
                      .weight_decay = real_of(stage, "weight_decay"),
                      .clip = real_of(stage, "clip")},
        .schedule = sella_settings_is(settings, key, "cosine")   ? SELLA_SCHEDULE_COSINE
                    : sella_settings_is(settings, key, "linear") ? SELLA_SCHEDULE_LINEAR
                                                                 : SELLA_SCHEDULE_CONSTANT,
        .lr = real_of(stage, "lr"),
        .warmup_ratio = real_of(stage, "warmup"),
        .epochs = int_of(stage, "epochs"),
        .steps_per_epoch = stage->train.steps,
        .units_per_epoch = (double)stage->train.rows,
        .unit = "rows",
        .group = stage->first_group ? group_of : NULL,
        .run_step = run_step,
        .evaluate = evaluates ? evaluate : NULL,
        .evaluate_steps = evaluates ? int_of(stage, "evaluate") : 0,
        .keep_best = evaluates,
        .checkpoint_dir = checkpoints,
        .checkpoint_seconds = sella_settings_real(settings, "checkpoint.seconds"),
        .metrics_path = metrics,
        .talk = stage->job->talk,
        .user = stage,
    };
}

/* stage3.steps overrides the epochs. */
static void count_steps(const sella_lm_stage *stage, sella_loop *loop)
{
    const int64_t most = strcmp(stage->prefix, "stage3") == 0 ? int_of(stage, "steps") : -1;
    if (most == 0) {
        loop->epochs = 0;
    } else if (most > 0) {
        loop->epochs = 1;
        loop->steps_per_epoch = most;
    }
    loop->units_per_epoch *= (double)loop->steps_per_epoch / (double)stage->train.steps;
}

sella_status sella_lm_stage_train(sella_lm_stage *stage, sella_param_table *const *tables, int n,
                                  sella_err *err)
{
    enum { TABLES = 8 };
    sella_status status = SELLA_OK;
    const sella_corpus *train = &stage->train;
    sella_param *bias = sella_param_find(stage->logit, "logit.bias");
    sella_param_table *all[TABLES];
    size_t trained = sella_param_total(stage->logit, true);
    char *checkpoints = NULL, *metrics = sella_run_file(stage->job->run, "metrics.jsonl"),
         place[80];
    snprintf(place, sizeof place, "checkpoints/%s", stage->name);
    SELLA_TRY(metrics ? sella_run_place(stage->job->run, place, &checkpoints, err)
                      : sella_err_memory(err, "a path", 32));
    sella_loop loop = loop_of(stage, checkpoints, metrics);
    count_steps(stage, &loop);
    const int64_t steps = loop.epochs * loop.steps_per_epoch;
    SELLA_TRY(keep_hidden(stage, &stage->train, 0, (steps + train->steps - 1) / train->steps, err));
    SELLA_TRY(keep_hidden(stage, &stage->valid, 1,
                          loop.evaluate_steps > 0 ? steps / loop.evaluate_steps : 0, err));
    /* an untrained stage without a number has no start */
    if (loop.epochs > 0 || stage->logit->count > 0 || stage->soft) {
        SELLA_TRY(begin(stage, err));
    }
    if (bias) {
        bias->data[0] = (float)stage->start.bias;
    }
    for (int t = 0; t < n; t++) {
        all[t] = tables[t];
        trained += sella_param_total(tables[t], true);
    }
    all[n] = stage->logit;
    loop.tables = all;
    loop.n = n + 1;
    sella_say(stage->job->talk, SELLA_LEVEL_INFO,
              "%s: %lld rows, %lld packed tokens an epoch (%lld one by one), %lld steps, %zu "
              "trained numbers",
              stage->name, (long long)train->rows, (long long)train->tokens,
              (long long)train->row_tokens, (long long)steps, trained);
    SELLA_TRY(sella_loop_run(&loop, &stage->result, err));
    if (train->hidden) {
        const sella_hidden_stats state = sella_hidden_cache_state(train->hidden);
        sella_say(stage->job->talk, SELLA_LEVEL_INFO,
                  "%s: hidden states were read from disk %lld times, written %lld times",
                  stage->name, (long long)state.read, (long long)state.written);
    }
done:
    free(checkpoints);
    free(metrics);
    return status;
}

/* ---- the end ---- */

json_t *sella_lm_stage_record(const sella_lm_stage *stage)
{
    const sella_loop_result *result = &stage->result;
    json_t *record = sella_stage_record_new(stage->name, result->seconds);
    if (record) {
        json_object_set_new(record, "rows", json_integer(stage->train.rows));
        json_object_set_new(record, "tokens", json_integer(stage->train.tokens));
        json_object_set_new(record, "row_tokens", json_integer(stage->train.row_tokens));
        json_object_set_new(record, "steps", json_integer(result->steps));
        json_object_set_new(record, "loss", sella_json_real(result->last_loss));
        json_object_set_new(record, "auc_before", sella_json_real(stage->start.auc));
        json_object_set_new(record, "best_valid_auc", sella_json_real(result->best));
    }
    return record;
}

static sella_status remove_place(const sella_run *run, const char *place, sella_err *err)
{
    char *path = sella_run_file(run, place);
    const sella_status status =
        path ? sella_path_remove(path, err) : sella_err_memory(err, "a path", strlen(place));
    free(path);
    return status;
}

sella_status sella_lm_stage_finish(sella_lm_stage *stage, const json_t *record, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_run *run = stage->job->run;
    char place[80];
    /* before the stage counts as done: nobody would look for them later */
    for (int f = 0; f < 2; f++) {
        snprintf(place, sizeof place, "stages/%s/%s", stage->name, hidden_files[f]);
        SELLA_TRY(remove_place(run, place, err));
    }
    SELLA_TRY(sella_run_stage_finish(stage->job->run, stage->name, record, err));
    snprintf(place, sizeof place, "checkpoints/%s", stage->name);
    SELLA_TRY(remove_place(run, place, err));
done:
    return status;
}
