/* collm.c - vectors of a collaborative model, projected into the prompt (CoLLM).
 *
 *     stage of collab.model   a collaborative model alone, on all rows of train
 *                             (methods/collab_fit.h)
 *     stage 1                 the adapter, on prompts of titles
 *     stage "collm"           e_U = Proj(p_u), e_I = Proj(q_i),
 *                             Proj(x) = W2 ReLU(W1 x + b1) + b2,  W1 [10 C, C]
 *                             min over Proj [and p, q] of BCE(y, sigmoid(z))
 *                             backbone and adapter frozen
 *
 * p_u is what the model computes (mf: its row; lightgcn: propagated; sasrec: its last position;
 * din: the interest in the row's own target), with its own rule for users never seen; an item that
 * is no row of the catalogue has q = 0.
 *
 * Paper: section 5.1; Zhang et al. 2023; REFERENCE 2, 4.3, 6.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "collab/projection.h"
#include "methods/collab_fit.h"
#include "methods/features.h"

enum { HIDDEN_TIMES = 10 };

typedef struct projected {
    sella_collab *c;
    bool train_collab;
    sella_projection projection;
} projected;

/* Between forward and backward. Rows: users of the set, then its items. */
typedef struct kept {
    sella_collab_rows rows;
    sella_collab_pass pass;
    int32_t *user_n, *item_n; // [U + I] -1 where the other stands
    const int32_t **history_n;
    int32_t *count_n;
    sella_collab_batch batch;
    int U, I;
    float *x;          // [U + I, C]
    float *pre, *act;  // [U + I, hidden]
} kept;

static void forget(sella_soft *soft)
{
    kept *k = soft->kept;
    if (!k) {
        return;
    }
    sella_collab_rows_release(&k->rows);
    sella_collab_pass_release(&k->pass);
    free(k->user_n);
    free(k->item_n);
    free(k->history_n);
    free(k->count_n);
    free(k->x);
    free(k->pre);
    free(k->act);
    free(k);
    soft->kept = NULL;
}

/* One batch of the collaborative model: a row for every user (without item, unless its vector
 * depends on the target) and for every item (without user). */
static sella_status make_batch(const projected *p, const sella_soft *soft, kept *k, sella_err *err)
{
    const size_t n = (size_t)(k->U + k->I);
    const sella_status status =
        sella_collab_rows_make(soft->query_n, soft->refs->user_query_u, k->U,
                               p->c->config.history_length, p->c->ops->target, &k->rows, err);
    if (status != SELLA_OK) {
        return status;
    }
    k->user_n = sella_alloc(n, sizeof *k->user_n, "a batch", err);
    k->item_n = sella_alloc(n, sizeof *k->item_n, "a batch", err);
    k->count_n = sella_alloc(n, sizeof *k->count_n, "a batch", err);
    k->history_n = sella_alloc(n, sizeof *k->history_n, "a batch", err);
    if (!k->user_n || !k->item_n || !k->count_n || !k->history_n) {
        return SELLA_MEMORY;
    }
    for (int r = 0; r < k->U + k->I; r++) {
        const bool user = r < k->U;
        k->user_n[r] = user ? k->rows.user_n[r] : -1;
        k->item_n[r] = user ? k->rows.item_n[r] : soft->refs->item_i[r - k->U];
        k->count_n[r] = user ? k->rows.count_n[r] : 0;
        k->history_n[r] = user ? k->rows.history_n[r] : NULL;
    }
    k->batch = (sella_collab_batch){.N = k->U + k->I,
                                    .user_n = k->user_n,
                                    .item_n = k->item_n,
                                    .history_n = k->history_n,
                                    .history_count_n = k->count_n,
                                    .backward = p->train_collab && soft->de[0] != NULL};
    return SELLA_OK;
}

static sella_status forward(void *self, sella_soft *soft, sella_err *err)
{
    sella_status status = SELLA_OK;
    projected *p = self;
    const size_t C = (size_t)p->projection.C, hidden = (size_t)p->projection.hidden;
    float *item = NULL;
    kept *k = soft->kept = sella_alloc(1, sizeof *k, "soft tokens", err);
    if (!k) {
        return SELLA_MEMORY;
    }
    k->U = (int)soft->refs->users;
    k->I = (int)soft->refs->items;
    const size_t n = (size_t)(k->U + k->I), users = (size_t)k->U * C;
    SELLA_TRY(make_batch(p, soft, k, err));
    k->x = sella_alloc(n * C, sizeof *k->x, "soft tokens", err);
    k->pre = sella_alloc(n * hidden, sizeof *k->pre, "soft tokens", err);
    k->act = sella_alloc(n * hidden, sizeof *k->act, "soft tokens", err);
    item = sella_alloc(n * C, sizeof *item, "soft tokens", err);
    if (!k->x || !k->pre || !k->act || !item) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(sella_collab_vectors(p->c, &k->batch, &k->pass, k->x, item, err));
    /* users keep theirs, items take theirs */
    memcpy(k->x + users, item + users, (n * C - users) * sizeof *item);
    sella_proj_forward(&p->projection, soft->e[SELLA_SLOT_USER], k->x, k->U + k->I, k->pre, k->act);
done:
    free(item);
    return status;
}

static sella_status backward(void *self, sella_soft *soft, sella_err *err)
{
    sella_status status = SELLA_OK;
    projected *p = self;
    kept *k = soft->kept;
    const size_t C = (size_t)p->projection.C, n = (size_t)(k->U + k->I), users = (size_t)k->U * C;
    float *dx = sella_alloc(2 * n * C, sizeof *dx, "soft tokens", err),
          *ditem = dx ? dx + n * C : NULL;
    float *dpre = sella_alloc(n * (size_t)p->projection.hidden, sizeof *dpre, "soft tokens", err);
    if (!dx || !dpre) {
        status = SELLA_MEMORY;
        goto done;
    }
    sella_proj_backward(&p->projection, p->train_collab ? dx : NULL, soft->de[SELLA_SLOT_USER],
                        k->x, k->U + k->I, k->pre, k->act, dpre);
    if (p->train_collab) { // gradients of the halves that were not used are zero
        memcpy(ditem + users, dx + users, (n * C - users) * sizeof *dx);
        memset(dx + users, 0, (n * C - users) * sizeof *dx);
        SELLA_TRY(sella_collab_vectors_backward(p->c, &k->batch, &k->pass, dx, ditem, err));
    }
done:
    free(dx);
    free(dpre);
    return status;
}

static sella_status ready(void *self, const sella_run *run, sella_err *err)
{
    const sella_collab_users users = {run->history, run->history_start};
    return sella_collab_ready(((projected *)self)->c, &users, err);
}

static void close_projected(void *self)
{
    projected *p = self;
    sella_collab_free(p->c);
    sella_projection_release(&p->projection);
    free(p);
}

static const sella_soft_ops ops = {.forward = forward,
                                   .backward = backward,
                                   .forget = forget,
                                   .ready = ready,
                                   .close = close_projected};

sella_status sella_collm_features(const sella_settings *settings, sella_collab *c, int L,
                                  uint64_t seed, sella_features *out, sella_err *err)
{
    const int C = c->config.C;
    projected *p = sella_alloc(1, sizeof *p, "projected vectors", err);
    *out = (sella_features){.stage = "collm"};
    if (!p) {
        sella_collab_free(c);
        return SELLA_MEMORY;
    }
    p->c = c;
    p->train_collab = sella_settings_is(settings, "collm.train", "proj+collab");
    out->soft = (sella_soft_source){.ops = &ops,
                                    .self = p,
                                    .L = L,
                                    .tokens = 1,
                                    .refs = sella_collab_refs(c->ops, &c->config)};
    sella_status status = sella_projection_init(C, HIDDEN_TIMES * C, L, false, SELLA_WARM_RANDOM,
                                                seed, &p->projection, err);
    p->projection.relu = true;
    if (status != SELLA_OK) {
        sella_soft_source_close(&out->soft);
        return status;
    }
    out->collab = &p->c->table;
    out->derived = &p->c->derived;
    out->projection = &p->projection.table;
    return SELLA_OK;
}

/* ---- training ---- */

#define ALONE "stages/collab/collab.safetensors"

/* The collaborative model as it was trained alone, kept beside RUN/collab.safetensors before that
 * becomes the final one. */
static sella_status fit_model(sella_job *job, const char *name, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *left = sella_run_file(job->run, "collab.safetensors"), *alone = NULL;
    SELLA_TRY(left ? sella_run_place(job->run, ALONE, &alone, err)
                   : sella_err_memory(err, "a path", 64));
    if (!sella_path_exists(alone)) {
        SELLA_TRY(sella_collab_fit(job, name, err));
        SELLA_TRY(sella_file_copy(left, alone, err));
    }
done:
    free(left);
    free(alone);
    return status;
}

static sella_status collm_train(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    const char *name = sella_settings_text(job->settings, "collab.model");
    const bool train_collab = sella_settings_is(job->settings, "collm.train", "proj+collab");
    sella_features features = {0};
    sella_collab *c = NULL;
    SELLA_TRY(sella_features_begin(job, false, err));
    SELLA_TRY(fit_model(job, name, err));
    SELLA_TRY(sella_collab_load(job->run, name, ALONE, train_collab, &c, err));
    if (train_collab) {
        SELLA_TRY(sella_collab_freeze_logit(c, true, err));
        SELLA_TRY(sella_collab_prepare_job(job, c, err));
    }
    status = sella_collm_features(job->settings, c, sella_backbone_shape(job->backbone)->C,
                                  sella_stage_seed(job->run, "collm"), &features, err);
    c = NULL;
    SELLA_TRY(status);
    SELLA_TRY(sella_features_train(job, &features, err));
done:
    sella_collab_free(c);
    sella_soft_source_close(&features.soft);
    return status;
}

static sella_status collm_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_features features;
    sella_collab_config config;
    sella_collab *c = NULL;
    *out = NULL;
    if (!backbone) {
        return sella_err_set(err, SELLA_ARG, "%s: needs its language model to score", run->path);
    }
    sella_collab_config_of(run->settings, run->users, run->items, &config);
    SELLA_TRY(
        sella_collab_new(sella_settings_text(run->settings, "collab.model"), &config, 0, &c, err));
    SELLA_TRY(sella_collm_features(run->settings, c, sella_backbone_shape(backbone)->C, 0,
                                   &features, err));
    SELLA_TRY(sella_features_open(run, backbone, &features, out, err));
done:
    return status;
}

static sella_status collm_check(const sella_method *method, const sella_settings *settings,
                                const sella_dataset *dataset, sella_err *err)
{
    const sella_status status = sella_collab_fit_check(
        settings, sella_settings_text(settings, "collab.model"), dataset, err);
    return status == SELLA_OK ? sella_features_check(method, settings, dataset, err) : status;
}

static sella_status collm_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                   sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_estimate collab = {0};
    sella_backbone_config shape;
    sella_backbone_need need;
    const char *name = sella_settings_text(ask->settings, "collab.model");
    const int64_t C = sella_settings_int(ask->settings, "collab.width");
    sella_collab_config config;
    sella_collab_config_of(ask->settings, ask->dataset->train_users, ask->dataset->items, &config);
    const sella_stage_plan plan = {
        .slots = SELLA_SLOT_SET_USER_ITEM,
        .tokens = 1,
        .refs = sella_collab_refs(sella_collab_find(name), &config),
        .soft = true};
    const sella_stage_choice stages = {.stage1 = true, .features = &plan};
    SELLA_TRY(sella_backbone_probe(ask->model, &shape, &need, err));
    SELLA_TRY(sella_stages_estimate(ask, &stages, out, err));
    SELLA_TRY(sella_collab_fit_estimate(ask->settings, name, ask->dataset, &collab, err));
    const int64_t projection = HIDDEN_TIMES * C * (C + shape.C + 1) + shape.C;
    out->steps += collab.steps;
    out->trainable += collab.trainable + projection;
    out->other_flops += collab.other_flops;
    /* value, gradient, two moments, best */
    out->bytes += collab.bytes + (size_t)projection * 5 * sizeof(float);
done:
    return status;
}

static const char *const paper[] = {SELLA_PAPER_STAGE1,
                                    "collab.model=mf",
                                    "collab.optimizer=adam",
                                    "collab.width=256",
                                    "collab.bias=no",
                                    "collab.history=no",
                                    "collab.init=0.1",
                                    "collab.unseen=mean",
                                    "collab.lr=1e-3",
                                    "collab.weight_decay=1e-4",
                                    "collab.batch=2048",
                                    "collab.epochs=5000",
                                    "collab.patience=100",
                                    "collm.train=proj",
                                    "stage3.lr=1e-3",
                                    "stage3.weight_decay=1e-3",
                                    NULL};
static const char *const usual[] = {"collab.model=mf",          "collab.optimizer=sgd",
                                    "collab.width=64",          "collab.bias=yes",
                                    "collab.history=no",        "collab.init=0.01",
                                    "collab.unseen=history",    "collab.lr=0.03",
                                    "collab.weight_decay=7e-5", "collab.epochs=500",
                                    "collab.patience=20",       "collm.train=proj",
                                    "stage3.lr=1e-3",           NULL};

const sella_method sella_method_collm = {
    .name = "collm",
    .help = "projected vectors of a collaborative model in the prompt, behind stage 1",
    .needs_model = true,
    .reuses = true,
    .preset_paper = paper,
    .preset_default = usual,
    .check = collm_check,
    .estimate = collm_estimate,
    .train = collm_train,
    .open = collm_open,
};
