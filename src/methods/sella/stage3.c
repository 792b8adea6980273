/* stage3.c - stage 3: soft tokens of user, item and meaning enter the prompt, and what makes them
 * is trained (methods/sella/stages.h).
 *
 * Paper: section 4.3, eqs (10), (11). Frozen: backbone and adapter. Trained: Proj, Warm, and the
 *        three tables; with them logit.bias and logit.gain when they exist.
 * Ablations (REFERENCE 7.1 row 21) name what is removed:
 *   w/o   alignment and warm token: only Proj is trained, from a random start, on vectors of a
 *         stage 2 without alignment (CoLLM-MF)
 *   proj  the Proj of stage 2: it starts at random here
 *   warm  the warm token (semantic table and Warm stay as they are)
 *   ui    user and item tokens (collaborative tables and Proj stay as they are)
 *   w-ui  joint training: half of the steps train {semantic table, Warm}, the other half
 *         {collaborative tables, Proj}; ui-w: the other way round
 * logit.bias and logit.gain belong to the first-named group.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "methods/lm_stage.h"
#include "methods/sella/match.h"
#include "methods/sella/soft_vectors.h"
#include "methods/sella/stages.h"

enum { GROUP_WARM = 1, GROUP_UI = 2 };

typedef struct stage3 {
    const sella_job *job;
    sella_vectors v;
    sella_soft_vectors tokens; // made of v
    sella_soft_source soft;
    sella_soft_spread spread;  // as stage 3 found them
    sella_lm_stage stage;
} stage3;

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
    sella_status status =
        sella_projection_init(s->v.C, s->v.projection.hidden, s->v.L, false, SELLA_WARM_RANDOM,
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
    const bool tables = ui_tokens && !without;
    const sella_residual residual = sella_residual_of(settings);
    sella_param_table *collab_table = &s->v.collab->table;
    if (without || strcmp(ablation, "proj") == 0) {
        SELLA_TRY(restart_projection(s, err));
    }
    SELLA_TRY(sella_stage_train_table(collab_table, "", tables, err));
    SELLA_TRY(residual == SELLA_RESIDUAL_ALL
                  ? SELLA_OK
                  : sella_collab_freeze_logit(s->v.collab, residual == SELLA_RESIDUAL_NO, err));
    SELLA_TRY(sella_stage_train_table(&s->v.projection.table, "proj.", ui_tokens, err));
    SELLA_TRY(sella_stage_train_table(&s->v.projection.table, "warm.", warm_token, err));
    SELLA_TRY(sella_stage_train_table(
        &s->v.semantic, "", warm_token && sella_settings_bool(settings, "semantic.train"), err));
    SELLA_TRY(sella_stage_train_table(&s->v.logit, "text.", false, err));
    const bool warm_first = strcmp(ablation, "w-ui") == 0;
    if (warm_first || strcmp(ablation, "ui-w") == 0) {
        s->stage.first_group = warm_first ? GROUP_WARM : GROUP_UI;
        s->stage.second_group = warm_first ? GROUP_UI : GROUP_WARM;
        set_group(collab_table, "", GROUP_UI);
        set_group(&s->v.projection.table, "proj.", GROUP_UI);
        set_group(&s->v.projection.table, "warm.", GROUP_WARM);
        set_group(&s->v.semantic, "", GROUP_WARM);
        set_group(&s->v.logit, "", s->stage.first_group);
    }
done:
    return status;
}

/* ---- the stage ---- */

/* item.rows over all of train, whatever stage 3 samples. */
static sella_status count_rows(stage3 *s, sella_err *err)
{
    const sella_split *train = &s->job->dataset->split[SELLA_SPLIT_TRAIN];
    const sella_status status = sella_vectors_evidence(&s->v, s->job->run->settings, err);
    for (int64_t r = 0; s->v.evidence.count > 0 && r < train->rows; r++) {
        s->v.evidence.param[0].data[train->item_n[r]]++;
    }
    return status;
}

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
    SELLA_TRY(sella_vectors_init(
        run->settings, run->users, run->items, sella_backbone_shape(s->job->backbone)->C,
        sella_settings_bool(run->settings, "stage1.intercept"), run->seed, &s->v, err));
    SELLA_TRY(sella_vectors_read(&s->v, collab, projection, err));
    SELLA_TRY(count_rows(s, err));
    SELLA_TRY(sella_vectors_distilled(&s->v, distilled, false, err));
    SELLA_TRY(sella_vectors_ready(&s->v, run, err));
done:
    free(collab);
    free(projection);
    free(distilled);
    return status;
}

static sella_status match(stage3 *s, sella_err *err)
{
    const sella_job *job = s->job;
    // those of another run have their scale, and were trained at it
    const bool change = sella_settings_bool(job->settings, "stage3.match") && !job->init_from;
    const sella_status status =
        sella_soft_match(&s->v, job->backbone, sella_ablation_slots(job->settings), change,
                         &s->spread, err);
    if (status == SELLA_OK) {
        sella_say(job->talk, SELLA_LEVEL_INFO,
                  "stage3: spread of token embeddings %.3g, of user and item tokens %.3g, of warm "
                  "tokens %.3g%s",
                  s->spread.embedding, s->spread.proj, s->spread.warm,
                  change ? "; soft tokens begin with that of embeddings" : "");
    }
    return status;
}

static sella_status prepare(stage3 *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = s->job;
    const sella_settings *settings = job->settings;
    sella_lm_stage *stage = &s->stage;
    SELLA_TRY(load_vectors(s, err));
    if (s->v.collab->ops->prepare) { // a model that trains on more than the rows of a step
        SELLA_TRY(sella_collab_prepare_job(job, s->v.collab, err));
    }
    SELLA_TRY(choose_trained(s, err));
    SELLA_TRY(match(s, err));
    SELLA_TRY(sella_lm_open_run(job->run, job->backbone, sella_ablation_slots(settings), true,
                                &stage->lm, err));
    SELLA_TRY(sella_lora_train(stage->lm.lora, false, err));
    s->tokens = (sella_soft_vectors){
        .v = &s->v, .align_weight = sella_settings_real(settings, "stage3.align_weight")};
    sella_stage_align_config(settings, &s->tokens.align);
    s->soft = sella_soft_of_vectors(&s->tokens, false);
    stage->soft = &s->soft;
    stage->vectors = &s->v;
    stage->residual = sella_residual_of(settings);
    stage->logit = &s->v.logit;
    stage->dropout = sella_settings_bool(settings, "stage3.dropout");
    SELLA_TRY(sella_lm_stage_open(stage, err));
done:
    return status;
}

static sella_status save(stage3 *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = s->job->run;
    char *collab = sella_run_file(run, "collab.safetensors"),
         *projection = sella_run_file(run, "projection.safetensors");
    json_t *record = sella_lm_stage_record(&s->stage);
    if (!collab || !projection || !record) {
        status = sella_err_memory(err, "stage 3", 256);
        goto done;
    }
    if (s->v.collab->prepared) { // derived tensors as the trained ones are now
        SELLA_TRY(sella_vectors_ready(&s->v, run, err));
    }
    SELLA_TRY(sella_vectors_write(&s->v, collab, projection, err));
    sella_stage_record_name(record, false, "backbone");
    sella_stage_record_name(record, false, "adapter");
    sella_stage_record_table(record, &s->v.collab->table);
    sella_stage_record_table(record, &s->v.semantic);
    sella_stage_record_table(record, &s->v.projection.table);
    sella_stage_record_table(record, &s->v.logit);
    json_object_set_new(record, "spread",
                        json_pack("{s:o, s:o, s:o}", "embedding",
                                  sella_json_real(s->spread.embedding), "proj",
                                  sella_json_real(s->spread.proj), "warm",
                                  sella_json_real(s->spread.warm)));
    json_object_set_new(record, "ablation",
                        json_string(sella_settings_text(run->settings, "ablation")));
    SELLA_TRY(sella_lm_stage_finish(&s->stage, record, err));
done:
    free(collab);
    free(projection);
    json_decref(record);
    return status;
}

sella_status sella_stage3_run(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    stage3 s = {.job = job, .stage = {.job = job, .name = "stage3", .prefix = "stage3"}};
    if (sella_run_stage_done(job->run, "stage3")) {
        return SELLA_OK;
    }
    SELLA_TRY(prepare(&s, err));
    sella_param_table *const tables[] = {&s.v.collab->table, &s.v.projection.table, &s.v.semantic};
    SELLA_TRY(sella_lm_stage_train(&s.stage, tables, 3, err));
    SELLA_TRY(save(&s, err));
done:
    sella_lm_stage_release(&s.stage);
    sella_vectors_release(&s.v);
    return status;
}
