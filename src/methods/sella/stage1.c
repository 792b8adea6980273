/* stage1.c - stage 1: the adapter learns to answer Yes or No from titles (methods/sella/stages.h).
 *
 * Paper: section 4.1, eqs (1) to (5). Frozen: the backbone. Trained: the adapter, and logit.bias
 *        when stage1.intercept is on.
 */
#include <stdlib.h>

#include "methods/init_from.h"
#include "methods/lm_stage.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"

static sella_status save(sella_lm_stage *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = s->job->run;
    const sella_param_table *const tables[] = {s->logit};
    char *adapter = sella_run_file(run, "adapter"), *path = NULL;
    json_t *record = sella_lm_stage_record(s);
    if (!adapter || !record) {
        status = sella_err_memory(err, "stage 1", 256);
        goto done;
    }
    SELLA_TRY(sella_lora_save(s->lm.lora, adapter, run->model_path, err));
    if (s->logit->count > 0) {
        SELLA_TRY(sella_run_place(run, "stages/stage1/collab.safetensors", &path, err));
        SELLA_TRY(sella_tensors_write(path, tables, 1, err));
    }
    sella_stage_record_name(record, true, "adapter");
    sella_stage_record_table(record, s->logit);
    sella_stage_record_name(record, false, "backbone");
    SELLA_TRY(sella_lm_stage_finish(s, record, err));
done:
    free(adapter);
    free(path);
    json_decref(record);
    return status;
}

sella_status sella_stage_intercept(const sella_settings *settings, sella_param_table *logit,
                                   sella_err *err)
{
    if (!sella_settings_bool(settings, "stage1.intercept")) {
        return SELLA_OK;
    }
    sella_status status = sella_param_add(logit, "logit.bias", 1, 0, err);
    if (status == SELLA_OK) {
        logit->param[logit->count - 1].decay = false;
    }
    return status;
}

sella_status sella_stage1_run(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table logit; // logit.bias, or empty
    sella_lm_stage s = {.job = job, .name = "stage1", .prefix = "stage1", .logit = &logit};
    sella_lora_config config;
    if (sella_run_stage_done(job->run, "stage1")) {
        return SELLA_OK;
    }
    sella_param_table_init(&logit);
    SELLA_TRY(sella_stage_intercept(job->settings, &logit, err));
    SELLA_TRY(sella_lm_open_run(job->run, job->backbone, 0, false, &s.lm, err));
    SELLA_TRY(sella_lm_lora_config(job->settings, &config, err));
    SELLA_TRY(sella_lora_new(job->backbone, &config, job->run->seed, &s.lm.lora, err));
    SELLA_TRY(sella_init_adapter(job, s.lm.lora, err));
    s.dropout = config.dropout > 0;
    SELLA_TRY(sella_lm_stage_open(&s, err));
    sella_param_table *const tables[] = {sella_lora_params(s.lm.lora)};
    SELLA_TRY(sella_lm_stage_train(&s, tables, 1, err));
    SELLA_TRY(save(&s, err));
done:
    sella_lm_stage_release(&s);
    sella_param_table_release(&logit);
    return status;
}
