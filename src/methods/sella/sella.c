/* sella.c - the method: stage 1, distillation, stage 2, stage 3, and the scorers that a finished
 * run gives (methods/method.h).
 *
 * score=model: prompts with soft tokens through the language model. score=vectors (preset fast):
 * the collaborative logit with its text term alone; stage 3 is left out and the files of stage 2
 * are the final ones.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "methods/lm_scorer.h"
#include "methods/method.h"
#include "methods/sella/soft_vectors.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"

static sella_status publish_vectors(const sella_run *run, sella_err *err)
{
    static const char *const names[] = {"collab.safetensors", "projection.safetensors"};
    sella_status status = SELLA_OK;
    for (int i = 0; i < 2 && status == SELLA_OK; i++) {
        char *from = sella_path_join(run->path, "stages/align", names[i], NULL),
             *to = sella_run_file(run, names[i]);
        status = from && to ? sella_file_copy(from, to, err) : sella_err_memory(err, "a path", 64);
        free(from);
        free(to);
    }
    return status;
}

static sella_status sella_method_train(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(sella_lm_save_template(job->run, err));
    SELLA_TRY(job->from ? sella_stages_reuse(job, err) : SELLA_OK);
    SELLA_TRY(sella_stage1_run(job, err));
    SELLA_TRY(sella_distil_run(job, err));
    SELLA_TRY(sella_align_run(job, err));
    SELLA_TRY(sella_settings_is(job->settings, "score", "vectors") ? publish_vectors(job->run, err)
                                                                   : sella_stage3_run(job, err));
done:
    return status;
}

/* The run's final vectors. L is read from the file: a run that scores with vectors alone needs no
 * backbone. */
static sella_status open_vectors(const sella_run *run, sella_vectors **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *collab = sella_run_file(run, "collab.safetensors"),
         *projection = sella_run_file(run, "projection.safetensors");
    char *distilled = sella_run_file(run, "stages/distil/semantic.safetensors");
    int64_t rows, width = 0;
    sella_vectors *v = sella_alloc(1, sizeof *v, "vectors", err);
    *out = NULL;
    if (!v || !collab || !projection || !distilled) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(sella_tensors_shape(collab, "semantic.weight", &rows, &width, err));
    if (rows != run->items || width < 1 || width > 65536) {
        status =
            sella_err_set(err, SELLA_SHAPE, "%s: semantic.weight is [%lld, %lld]; expected %d rows",
                          collab, (long long)rows, (long long)width, run->items);
        goto done;
    }
    SELLA_TRY(sella_vectors_init(run->settings, run->users, run->items, (int)width,
                                 sella_settings_bool(run->settings, "stage1.intercept"), run->seed,
                                 v, err));
    sella_param_table *const tables[] = {&v->collab->table, &v->projection.table, &v->semantic,
                                         &v->logit};
    for (int t = 0; t < 4; t++) {
        SELLA_TRY(sella_stage_train_table(tables[t], "", false, err));
    }
    SELLA_TRY(sella_vectors_evidence(v, run->settings, err));
    SELLA_TRY(sella_vectors_read(v, collab, projection, err));
    if (sella_param_find(&v->logit, "text.gain")) {
        SELLA_TRY(sella_vectors_distilled(v, distilled, false, err));
    }
    SELLA_TRY(sella_vectors_ready(v, run, err));
    *out = v;
    v = NULL;
done:
    if (v) {
        sella_vectors_release(v);
        free(v);
    }
    free(collab);
    free(projection);
    free(distilled);
    return status;
}

static sella_status sella_method_open(const sella_run *run, sella_backbone *backbone,
                                      sella_scorer **out, sella_err *err)
{
    sella_vectors *v = NULL;
    sella_status status = open_vectors(run, &v, err);
    if (status != SELLA_OK) {
        return status;
    }
    if (sella_settings_is(run->settings, "score", "vectors")) {
        return sella_vectors_scorer_open(run, v, out, err);
    }
    sella_soft_vectors *tokens = sella_alloc(1, sizeof *tokens, "soft tokens", err);
    if (!tokens) {
        sella_vectors_release(v);
        free(v);
        return SELLA_MEMORY;
    }
    tokens->v = v;
    const sella_residual residual = sella_residual_of(run->settings);
    const sella_lm_scorer_options options = {
        .adapter = true,
        .slots = sella_ablation_slots(run->settings),
        .residual = residual,
        .bias = sella_vectors_number(v, "logit.bias", 0),
        .gain = residual ? sella_vectors_number(v, "logit.gain", 1) : 1,
        .soft = sella_soft_of_vectors(tokens, true),
        .vectors = v};
    return sella_lm_scorer_open(run, backbone, &options, out, err);
}

static sella_status sella_method_check(const sella_method *method, const sella_settings *settings,
                                       const sella_dataset *dataset, sella_err *err)
{
    (void)method;
    sella_lora_config config;
    const bool vectors = sella_settings_is(settings, "score", "vectors");
    if (sella_settings_is(settings, "stage2.loss", "mse") &&
        (vectors || sella_residual_of(settings) != SELLA_RESIDUAL_NO)) {
        return sella_err_set(err, SELLA_ARG,
                             "stage2.loss=mse gives no logit; %s needs stage2.loss=bce",
                             vectors ? "score=vectors" : "stage3.residual");
    }
    if (sella_residual_of(settings) == SELLA_RESIDUAL_BIAS &&
        !sella_settings_bool(settings, "collab.bias")) {
        return sella_err_set(err, SELLA_ARG, "stage3.residual=bias needs collab.bias=yes");
    }
    if (vectors && !sella_settings_is(settings, "ablation", "none")) {
        return sella_err_set(
            err, SELLA_ARG,
            "ablation=%s removes a part of stage 3, which score=vectors does not have",
            sella_settings_text(settings, "ablation"));
    }
    const sella_status status = sella_collab_fit_check(
        settings, sella_settings_text(settings, "collab.model"), dataset, err);
    return status == SELLA_OK ? sella_lm_lora_config(settings, &config, err) : status;
}

static sella_status sella_method_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                          sella_err *err)
{
    sella_collab_config config;
    sella_collab_config_of(ask->settings, ask->dataset->train_users, ask->dataset->items, &config);
    const sella_collab_ops *ops =
        sella_collab_find(sella_settings_text(ask->settings, "collab.model"));
    const sella_stage_plan stage3 = {.slots = sella_ablation_slots(ask->settings),
                                     .tokens = 1,
                                     .refs = sella_collab_refs(ops, &config),
                                     .soft = true};
    const sella_stage_choice stages = {
        .stage1 = true,
        .distil = true,
        .align = true,
        .features = sella_settings_is(ask->settings, "score", "model") ? &stage3 : NULL};
    return sella_stages_estimate(ask, &stages, out, err);
}

static bool sella_method_scores_with_model(const sella_settings *settings)
{
    return sella_settings_is(settings, "score", "model");
}

static const char *const paper[] = {SELLA_PAPER_STAGE1,
                                    "collab.width=256",
                                    "collab.bias=no",
                                    "collab.history=no",
                                    "collab.init=1",
                                    "collab.unseen=mean",
                                    "stage2.loss=bce",
                                    "stage2.lr=1e-2",
                                    "stage2.weight_decay=1e-4",
                                    "stage2.batch=1024",
                                    "stage2.epochs=3000",
                                    "stage2.patience=50",
                                    "stage2.start=zero",
                                    "stage2.text=no",
                                    "align.weight=1",
                                    "align.tau=0.2",
                                    "proj.hidden=1024",
                                    "stage3.lr=2e-4",
                                    "stage3.epochs=1",
                                    "stage3.batch=128",
                                    "stage3.schedule=cosine",
                                    "stage3.warmup=0",
                                    "stage3.weight_decay=0.01",
                                    "stage3.beta2=0.95",
                                    "stage3.clip=1",
                                    "stage3.dropout=yes",
                                    "stage3.residual=no",
                                    NULL};
static const char *const usual[] = {"stage3.gain_rows=4", NULL};
static const char *const fast[] = {"score=vectors", "stage1.epochs=0", "stage1.intercept=no",
                                   "stage3.residual=no", NULL};

const sella_method sella_method_sella = {
    .name = "sella",
    .help = "SeLLa-Rec: adapter, distilled item vectors, aligned collaborative vectors, three soft "
            "tokens in the prompt",
    .needs_model = true,
    .reuses = true,
    .continues = true,
    .scores_with_model = sella_method_scores_with_model,
    .preset_paper = paper,
    .preset_default = usual,
    .preset_fast = fast,
    .check = sella_method_check,
    .estimate = sella_method_estimate,
    .train = sella_method_train,
    .open = sella_method_open,
};
