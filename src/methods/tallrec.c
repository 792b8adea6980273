/* tallrec.c - stage 1 alone: an adapter on title prompts (Bao et al. 2023, in the paper's own
 * template and score). */
#include <stdlib.h>

#include "methods/features.h"
#include "methods/lm_scorer.h"
#include "methods/method.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"

static sella_status tallrec_train(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table table;
    const sella_param_table *const tables[] = {&table};
    char *path = sella_run_file(job->run, "collab.safetensors");
    sella_param_table_init(&table);
    if (!path) {
        return sella_err_memory(err, "a path", 32);
    }
    SELLA_TRY(sella_lm_save_template(job->run, err));
    SELLA_TRY(job->from ? sella_stages_reuse(job, err) : SELLA_OK);
    SELLA_TRY(sella_stage1_run(job, err));
    if (sella_settings_bool(job->settings, "stage1.intercept")) {
        SELLA_TRY(sella_param_add(&table, "logit.bias", 1, 0, err));
        SELLA_TRY(sella_stage_bias(job->run, "stages/stage1/collab.safetensors",
                                   &table.param[0].data[0], err));
        SELLA_TRY(sella_tensors_write(path, tables, 1, err));
    }
done:
    sella_param_table_release(&table);
    free(path);
    return status;
}

static sella_status tallrec_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out,
                                 sella_err *err)
{
    sella_lm_scorer_options options = {.adapter = true, .gain = 1};
    sella_status status = sella_stage_bias(run, "collab.safetensors", &options.bias, err);
    return status == SELLA_OK ? sella_lm_scorer_open(run, backbone, &options, out, err) : status;
}

static const char *const paper[] = {SELLA_PAPER_STAGE1,
                                    NULL};

const sella_method sella_method_tallrec = {
    .name = "tallrec",
    .help = "stage 1 alone: an adapter trained on prompts of titles",
    .needs_model = true,
    .reuses = true,
    .continues = true,
    .preset_paper = paper,
    .check = sella_features_check,
    .estimate = sella_titles_estimate,
    .train = tallrec_train,
    .open = tallrec_open,
};
