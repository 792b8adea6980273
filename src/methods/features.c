/* features.c - training and scoring with features in the prompt (methods/features.h). */
#include "methods/features.h"

#include <stdlib.h>

#include "base/file.h"
#include "methods/lm_stage.h"
#include "methods/tensor_file.h"

bool sella_features_stage1(const sella_settings *settings, bool train_adapter)
{
    return !train_adapter || sella_settings_is(settings, "lora.start", "stage1");
}

sella_status sella_features_begin(sella_job *job, bool train_adapter, sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(sella_lm_save_template(job->run, err));
    if (!sella_features_stage1(job->settings, train_adapter)) {
        return job->from ? sella_err_set(err, SELLA_ARG,
                                         "--from %s: lora.start=scratch reuses nothing", job->from)
                         : SELLA_OK;
    }
    SELLA_TRY(job->from ? sella_stages_reuse(job, err) : SELLA_OK);
    SELLA_TRY(sella_stage1_run(job, err));
done:
    return status;
}

sella_status sella_features_recorded_width(const sella_run *run, const char *tensor, int *L,
                                           sella_err *err)
{
    int64_t rows, width = 0;
    char *path = sella_run_file(run, "collab.safetensors");
    sella_status status = path ? sella_tensors_shape(path, tensor, &rows, &width, err)
                               : sella_err_memory(err, "a path", 64);
    if (status == SELLA_OK && (width < 1 || width > 65536)) {
        status = sella_err_set(err, SELLA_SHAPE, "%s: %s has width %lld; expected 1 to 65536", path,
                               tensor, (long long)width);
    }
    *L = (int)width;
    free(path);
    return status;
}

sella_status sella_features_check(const sella_method *method, const sella_settings *settings,
                                  const sella_dataset *dataset, sella_err *err)
{
    (void)method;
    sella_lora_config config;
    (void)dataset;
    return sella_lm_lora_config(settings, &config, err);
}

/* ---- the adapter ---- */

/* Stage 1's adapter, kept beside RUN/adapter before that becomes the trained one. */
static sella_status keep_stage1(const sella_run *run, char **folder, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *adapter = sella_run_file(run, "adapter"), *whole = NULL;
    *folder = sella_run_file(run, "stages/stage1/adapter");
    whole = *folder ? sella_path_join(*folder, "adapter_config.json", NULL) : NULL;
    if (!adapter || !whole) {
        status = sella_err_memory(err, "a path", 64);
        goto done;
    }
    if (!sella_path_exists(whole)) { // the file that is copied last
        SELLA_TRY(sella_stage_copy(adapter, *folder, "adapter_config.json", err));
    }
done:
    free(adapter);
    free(whole);
    return status;
}

/* Fresh, or from stage 1; trainable or frozen. */
static sella_status open_adapter(const sella_job *job, bool train_adapter, sella_lora **out,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lora_config config;
    char *folder = NULL;
    *out = NULL;
    if (!sella_features_stage1(job->settings, train_adapter)) {
        SELLA_TRY(sella_lm_lora_config(job->settings, &config, err));
        SELLA_TRY(sella_lora_new(job->backbone, &config, job->run->seed, out, err));
        goto done;
    }
    if (train_adapter) {
        SELLA_TRY(keep_stage1(job->run, &folder, err));
    } else {
        folder = sella_run_file(job->run, "adapter");
    }
    SELLA_TRY(folder ? sella_lora_load(job->backbone, folder, out, err)
                     : sella_err_memory(err, "a path", 64));
    SELLA_TRY(sella_lora_train(*out, train_adapter, err));
done:
    free(folder);
    return status;
}

/* ---- the stage ---- */

/* Tables of collab.safetensors, with that of logit.bias. */
static int table_count(const sella_features *features)
{
    return 1 + (features->collab != NULL) + (features->derived != NULL);
}

static sella_status write_tables(const sella_run *run, const sella_features *features,
                                 const sella_param_table *logit, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *collab = sella_run_file(run, "collab.safetensors"),
         *projection = sella_run_file(run, "projection.safetensors");
    const sella_param_table *const tables[] = {logit, features->collab, features->derived};
    const sella_param_table *const maps[] = {features->projection};
    if (!collab || !projection) {
        status = sella_err_memory(err, "a path", 64);
        goto done;
    }
    if (features->collab || logit->count > 0) {
        SELLA_TRY(sella_tensors_write(collab, tables, table_count(features), err));
    }
    if (features->projection) {
        SELLA_TRY(sella_tensors_write(projection, maps, 1, err));
    }
done:
    free(collab);
    free(projection);
    return status;
}

static sella_status save(sella_lm_stage *stage, const sella_features *features, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = stage->job->run;
    char *adapter = sella_run_file(run, "adapter");
    json_t *record = sella_lm_stage_record(stage);
    if (!adapter || !record) {
        status = sella_err_memory(err, "a stage's record", 256);
        goto done;
    }
    if (features->train_adapter) {
        SELLA_TRY(sella_lora_save(stage->lm.lora, adapter, run->model_path, err));
    }
    SELLA_TRY(write_tables(run, features, stage->logit, err));
    sella_stage_record_name(record, false, "backbone");
    sella_stage_record_name(record, features->train_adapter, "adapter");
    const sella_param_table *const all[] = {features->collab, features->projection, stage->logit};
    for (int t = 0; t < 3; t++) {
        if (all[t]) {
            sella_stage_record_table(record, all[t]);
        }
    }
    SELLA_TRY(sella_lm_stage_finish(stage, record, err));
done:
    free(adapter);
    json_decref(record);
    return status;
}

sella_status sella_features_train(sella_job *job, sella_features *features, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table logit; // logit.bias, or empty
    sella_codes codes = {0};
    const sella_soft_source *soft = features->soft.ops ? &features->soft : NULL;
    sella_lm_stage stage = {
        .job = job, .name = features->stage, .prefix = "stage3", .soft = soft, .logit = &logit};
    sella_param_table *tables[3];
    int n = 0;
    if (sella_run_stage_done(job->run, features->stage)) {
        return SELLA_OK;
    }
    sella_param_table_init(&logit);
    SELLA_TRY(sella_stage_intercept(job->settings, &logit, err));
    SELLA_TRY(sella_lm_open_run(job->run, job->backbone, soft ? SELLA_SLOT_SET_USER_ITEM : 0, false,
                                &stage.lm, err));
    stage.lm.tokens = soft ? soft->tokens : 1;
    if (features->encode) {
        SELLA_TRY(features->encode(features->coder, &codes, err));
        SELLA_TRY(sella_lm_codes(&stage.lm, &codes, err));
    }
    SELLA_TRY(open_adapter(job, features->train_adapter, &stage.lm.lora, err));
    stage.dropout = features->train_adapter ? sella_lora_settings(stage.lm.lora)->dropout > 0
                                            : sella_settings_bool(job->settings, "stage3.dropout");
    SELLA_TRY(sella_lm_stage_open(&stage, err));
    sella_param_table *const all[] = {features->collab, features->projection,
                                      sella_lora_params(stage.lm.lora)};
    for (int t = 0; t < 3; t++) {
        if (all[t]) {
            tables[n++] = all[t];
        }
    }
    SELLA_TRY(sella_lm_stage_train(&stage, tables, n, err));
    if (soft && soft->ops->ready) {
        SELLA_TRY(soft->ops->ready(soft->self, job->run, err));
    }
    SELLA_TRY(save(&stage, features, err));
done:
    sella_lm_stage_release(&stage);
    sella_param_table_release(&logit);
    sella_codes_release(&codes);
    return status;
}

/* ---- scoring ---- */

static sella_status read_tables(const sella_run *run, sella_features *features, float *bias,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table logit;
    char *collab = sella_run_file(run, "collab.safetensors"),
         *projection = sella_run_file(run, "projection.safetensors");
    sella_param_table *const tables[] = {&logit, features->collab, features->derived};
    sella_param_table *const maps[] = {features->projection};
    sella_param_table_init(&logit);
    *bias = 0;
    if (!collab || !projection) {
        status = sella_err_memory(err, "a path", 64);
        goto done;
    }
    SELLA_TRY(sella_stage_intercept(run->settings, &logit, err));
    if (features->collab || logit.count > 0) {
        SELLA_TRY(features->collab ? sella_stage_train_table(features->collab, "", false, err)
                                   : SELLA_OK);
        SELLA_TRY(sella_tensors_read(collab, tables, table_count(features), err));
        *bias = logit.count > 0 ? logit.param[0].data[0] : 0;
    }
    if (features->projection) {
        SELLA_TRY(sella_stage_train_table(features->projection, "", false, err));
        SELLA_TRY(sella_tensors_read(projection, maps, 1, err));
    }
done:
    sella_param_table_release(&logit);
    free(collab);
    free(projection);
    return status;
}

sella_status sella_features_open(const sella_run *run, sella_backbone *backbone,
                                 sella_features *features, sella_scorer **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lm_scorer_options options = {
        .adapter = true, .slots = features->soft.ops ? SELLA_SLOT_SET_USER_ITEM : 0, .gain = 1};
    *out = NULL;
    SELLA_TRY(read_tables(run, features, &options.bias, err));
    if (features->soft.ops && features->soft.ops->ready) {
        SELLA_TRY(features->soft.ops->ready(features->soft.self, run, err));
    }
    SELLA_TRY(features->encode ? features->encode(features->coder, &options.codes, err) : SELLA_OK);
    options.soft = features->soft;
    features->soft = (sella_soft_source){0};
    SELLA_TRY(sella_lm_scorer_open(run, backbone, &options, out, err));
done:
    sella_soft_source_close(&features->soft);
    return status;
}
