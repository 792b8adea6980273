/* prompt4nr.c - soft prompt: a few vectors that belong to no user and no item stand in the slots
 * and are trained together with the adapter (the row Prompt4NR of the tables, as CoLLM compares
 * it).
 *
 *     e_U[t] = u_t,   e_I[t] = v_t,   t = 1 .. soft.tokens
 *                                             u, v in R^L: the same for every prompt
 *     min over u, v, Theta of BCE(y, sigmoid(z))        backbone frozen
 *
 * Paper: section 5.1; Zhang and Wang 2023; REFERENCE 2, 4.3. The adapter starts afresh or from
 *        stage 1 (lora.start).
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "collab/collab.h"
#include "kernels/activation.h"
#include "methods/features.h"

typedef struct shared {
    sella_param_table table; // soft.user, soft.item [tokens, L]
} shared;

enum { USER, ITEM };

static sella_status forward(void *self, sella_soft *soft, sella_err *err)
{
    const sella_param *param = ((shared *)self)->table.param;
    (void)err;
    memcpy(soft->e[SELLA_SLOT_USER], param[USER].data, param[USER].count * sizeof(float));
    memcpy(soft->e[SELLA_SLOT_ITEM], param[ITEM].data, param[ITEM].count * sizeof(float));
    return SELLA_OK;
}

static sella_status backward(void *self, sella_soft *soft, sella_err *err)
{
    sella_param *param = ((shared *)self)->table.param;
    (void)err;
    sella_axpy(param[USER].grad, 1, soft->de[SELLA_SLOT_USER], param[USER].count);
    sella_axpy(param[ITEM].grad, 1, soft->de[SELLA_SLOT_ITEM], param[ITEM].count);
    return SELLA_OK;
}

static void close_shared(void *self)
{
    sella_param_table_release(&((shared *)self)->table);
    free(self);
}

static const sella_soft_ops ops = {.forward = forward, .backward = backward, .close = close_shared};

sella_status sella_prompt4nr_features(const sella_settings *settings, int L, uint64_t seed,
                                      sella_features *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int tokens = (int)sella_settings_int(settings, "soft.tokens");
    const double init = sella_settings_real(settings, "soft.init");
    shared *s = sella_alloc(1, sizeof *s, "a soft prompt", err);
    *out = (sella_features){.stage = "prompt4nr", .train_adapter = true};
    if (!s) {
        return SELLA_MEMORY;
    }
    sella_param_table_init(&s->table);
    out->soft = (sella_soft_source){
        .ops = &ops, .self = s, .L = L, .tokens = tokens, .refs = SELLA_REFS_SHARED};
    out->collab = &s->table;
    SELLA_TRY(sella_param_add(&s->table, "soft.user", tokens, L, err));
    SELLA_TRY(sella_param_add(&s->table, "soft.item", tokens, L, err));
    sella_collab_normal(&s->table, "soft.user", seed, init);
    sella_collab_normal(&s->table, "soft.item", seed, init);
done:
    if (status != SELLA_OK) {
        sella_soft_source_close(&out->soft);
    }
    return status;
}

static sella_status prompt4nr_train(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_features features = {0};
    SELLA_TRY(sella_features_begin(job, true, err));
    SELLA_TRY(sella_prompt4nr_features(job->settings, sella_backbone_shape(job->backbone)->C,
                                       sella_stage_seed(job->run, "prompt4nr"), &features, err));
    SELLA_TRY(sella_features_train(job, &features, err));
done:
    sella_soft_source_close(&features.soft);
    return status;
}

static sella_status prompt4nr_open(const sella_run *run, sella_backbone *backbone,
                                   sella_scorer **out, sella_err *err)
{
    sella_features features;
    int L = 0;
    sella_status status = sella_features_recorded_width(run, "soft.user", &L, err);
    status =
        status == SELLA_OK ? sella_prompt4nr_features(run->settings, L, 0, &features, err) : status;
    return status == SELLA_OK ? sella_features_open(run, backbone, &features, out, err) : status;
}

static sella_status prompt4nr_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                       sella_err *err)
{
    const int64_t tokens = sella_settings_int(ask->settings, "soft.tokens");
    const sella_stage_plan plan = {.slots = SELLA_SLOT_SET_USER_ITEM,
                                   .tokens = (int)tokens,
                                   .refs = SELLA_REFS_SHARED,
                                   .adapter = true,
                                   .soft = true,
                                   .width_rows = 2 * tokens};
    const sella_stage_choice stages = {.stage1 = sella_features_stage1(ask->settings, true),
                                       .features = &plan};
    return sella_stages_estimate(ask, &stages, out, err);
}

static const char *const paper[] = {SELLA_PAPER_STAGE1,
                                    "lora.start=scratch",
                                    "soft.tokens=3",
                                    "stage3.lr=1e-4",
                                    "stage3.weight_decay=1e-3",
                                    NULL};
static const char *const usual[] = {"lora.start=scratch", "soft.tokens=3", "stage3.lr=1e-3",
                                    "stage3.warmup=0.03", NULL};

const sella_method sella_method_prompt4nr = {
    .name = "prompt4nr",
    .help = "soft prompt: shared trained vectors in the slots of user and item, together with an "
            "adapter",
    .needs_model = true,
    .reuses = true,
    .preset_paper = paper,
    .preset_default = usual,
    .check = sella_features_check,
    .estimate = prompt4nr_estimate,
    .train = prompt4nr_train,
    .open = prompt4nr_open,
};
