/* common.c - what the stages share: loop settings, seeds, start values, records (methods/sella/stages.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"

sella_slot_set sella_ablation_slots(const sella_settings *settings)
{
    const sella_slot_set user_item = 1u << SELLA_SLOT_USER | 1u << SELLA_SLOT_ITEM, warm = 1u << SELLA_SLOT_WARM;
    const char *ablation = sella_settings_text(settings, "ablation");
    if (strcmp(ablation, "w/o") == 0 || strcmp(ablation, "warm") == 0) {
        return user_item;
    }
    return strcmp(ablation, "ui") == 0 ? warm : user_item | warm;
}

sella_status sella_stage_bias(const sella_run *run, const char *file, float *bias, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table table;
    sella_param_table *const tables[] = {&table};
    char *path = sella_run_file(run, file);
    sella_param_table_init(&table);
    *bias = 0;
    if (!path) {
        return sella_err_memory(err, "a path", strlen(file));
    }
    if (sella_settings_bool(run->settings, "stage1.intercept")) {
        SELLA_TRY(sella_param_add(&table, "logit.bias", 1, 0, err));
        SELLA_TRY(sella_tensors_read(path, tables, 1, err));
        *bias = table.param[0].data[0];
    }
done:
    sella_param_table_release(&table);
    free(path);
    return status;
}

uint64_t sella_stage_seed(const sella_run *run, const char *stage)
{
    return sella_hash_bytes(stage, strlen(stage), run->seed);
}

/* Settings "<prefix>.<name>". */
static double real_of(const sella_settings *settings, const char *prefix, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%s", prefix, name);
    return sella_settings_real(settings, key);
}

static int64_t int_of(const sella_settings *settings, const char *prefix, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "%s.%s", prefix, name);
    return sella_settings_int(settings, key);
}

sella_status sella_stage_loop(const sella_job *job, const char *stage, const char *prefix, sella_loop *loop,
                              sella_stage_paths *paths, sella_err *err)
{
    char key[64];
    const sella_settings *settings = job->settings;
    *paths = (sella_stage_paths){0};
    snprintf(key, sizeof key, "checkpoints/%s", stage);
    sella_status status = sella_run_place(job->run, key, &paths->checkpoints, err);
    paths->metrics = status == SELLA_OK ? sella_run_file(job->run, "metrics.jsonl") : NULL;
    if (!paths->metrics) {
        sella_stage_paths_release(paths);
        return status != SELLA_OK ? status : sella_err_memory(err, "a path", 32);
    }
    snprintf(key, sizeof key, "%s.schedule", prefix);
    *loop = (sella_loop){
        .stage = stage,
        .optimizer = {.beta1 = 0.9,
                      .beta2 = real_of(settings, prefix, "beta2"),
                      .eps = 1e-8,
                      .weight_decay = real_of(settings, prefix, "weight_decay"),
                      .clip = real_of(settings, prefix, "clip")},
        .schedule = sella_settings_is(settings, key, "cosine")   ? SELLA_SCHEDULE_COSINE
                    : sella_settings_is(settings, key, "linear") ? SELLA_SCHEDULE_LINEAR
                                                                 : SELLA_SCHEDULE_CONSTANT,
        .lr = real_of(settings, prefix, "lr"),
        .warmup_ratio = real_of(settings, prefix, "warmup"),
        .epochs = int_of(settings, prefix, "epochs"),
        .unit = "rows",
        .evaluate_steps = int_of(settings, prefix, "evaluate"),
        .checkpoint_dir = paths->checkpoints,
        .checkpoint_seconds = sella_settings_real(settings, "checkpoint.seconds"),
        .metrics_path = paths->metrics,
        .talk = job->talk,
    };
    return SELLA_OK;
}

void sella_stage_paths_release(sella_stage_paths *paths)
{
    free(paths->checkpoints);
    free(paths->metrics);
    *paths = (sella_stage_paths){0};
}

/* A real that may be null (NaN). */
static sella_status get_real(const json_t *object, const char *key, const char *where, double *out, sella_err *err)
{
    *out = NAN;
    return json_is_null(json_object_get(object, key)) ? SELLA_OK : sella_json_get_real(object, key, where, out, err);
}

sella_status sella_stage_start(const sella_job *job, const char *stage, sella_lm_step *step, double label_mean,
                               sella_lm_start *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    json_t *object = NULL;
    char *path = NULL, name[64];
    snprintf(name, sizeof name, "stages/%s/start.json", stage);
    SELLA_TRY(sella_run_place(job->run, name, &path, err));
    if (sella_path_exists(path)) {
        SELLA_TRY(sella_json_load(path, 1 << 16, &object, err));
        SELLA_TRY(sella_json_get_int(object, "rows", path, 1, INT64_MAX, &out->rows, err));
        SELLA_TRY(get_real(object, "auc", path, &out->auc, err));
        SELLA_TRY(sella_json_get_real(object, "mean_model", path, &out->mean_model, err));
        SELLA_TRY(sella_json_get_real(object, "logit_bias", path, &out->bias, err));
        goto done;
    }
    SELLA_TRY(sella_lm_step_start(step, label_mean, out, err));
    object = json_pack("{s:I, s:o, s:o, s:o}", "rows", (json_int_t)out->rows, "auc", sella_json_real(out->auc),
                       "mean_model", sella_json_real(out->mean_model), "logit_bias", sella_json_real(out->bias));
    if (!object) {
        status = sella_err_memory(err, "start.json", 256);
        goto done;
    }
    SELLA_TRY(sella_json_save(path, object, err));
    sella_say(job->talk, SELLA_LEVEL_INFO,
              "%s: before training, AUC %.4f on %lld train rows; mean logit of the language model %+.3f", stage,
              out->auc, (long long)out->rows, out->mean_model);
done:
    json_decref(object);
    free(path);
    return status;
}

json_t *sella_stage_record_new(const char *stage, double seconds)
{
    return json_pack("{s:s, s:o, s:[], s:[]}", "stage", stage, "seconds", sella_json_real(seconds), "trained",
                     "frozen");
}

void sella_stage_record_name(json_t *record, bool trained, const char *name)
{
    json_array_append_new(json_object_get(record, trained ? "trained" : "frozen"), json_string(name));
}

void sella_stage_record_table(json_t *record, const sella_param_table *table)
{
    for (int i = 0; i < table->count; i++) {
        sella_stage_record_name(record, table->param[i].trainable, table->param[i].name);
    }
}
