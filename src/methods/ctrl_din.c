/* ctrl_din.c - CTRL(DIN): DIN, first taught to tell rows apart as a language model does, then
 * trained alone.
 *
 *   text      stages/text/text.safetensors        one vector of the bare backbone for each sampled
 *                                                 row of train
 *   contrast  stages/contrast/collab.safetensors  g = W_s s + b_s, h = W_t t + b_t; contrastive
 *                                                 loss of g and h over the rows of a step; s: what
 *                                                 DIN's last linear map reads, t: text vector
 *   din       collab.safetensors                  DIN with BCE on all rows, from there
 *
 * The language model is needed to train, not to score.
 *
 * Paper: Li et al. 2023 (CTRL), the row CTRL(DIN) of the tables; REFERENCE 4.3.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "collab/contrast.h"
#include "collab/din.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "methods/collab_fit.h"
#include "methods/lm.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"
#include "methods/text_vectors.h"
#include "train/deal.h"

#define START "stages/contrast/collab.safetensors"

enum { SAMPLE_WEIGHT, SAMPLE_BIAS, TEXT_WEIGHT, TEXT_BIAS };

typedef struct contrast {
    sella_job *job;
    uint64_t seed;
    int64_t K;               /* rows */
    int S, L, W, parts;      /* widths of sample, text and both projections */
    double tau;
    sella_collab *c;
    sella_din_pass *pass;
    sella_param_table text;  /* text.weight [K, L] */
    sella_param_table tower; /* ctrl.sample.*, ctrl.text.* */
    sella_query *query;      /* [K] */
    sella_collab_rows rows;
    sella_deal deal;
    int32_t *user, *item, *count; /* [batch] */
    const int32_t **history;
    float *z, *t, *ds;         /* [batch], [batch, L], [batch, S] */
    float *g, *h, *dg, *dh;    /* [batch, W] each, one block at g */
    void *scratch;
} contrast;

/* ---- before the first step ---- */

static sella_status towers(contrast *p, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table *tower = &p->tower;
    SELLA_TRY(sella_param_add(tower, "ctrl.sample.weight", p->W, p->S, err));
    SELLA_TRY(sella_param_add(tower, "ctrl.sample.bias", p->W, 0, err));
    SELLA_TRY(sella_param_add(tower, "ctrl.text.weight", p->W, p->L, err));
    SELLA_TRY(sella_param_add(tower, "ctrl.text.bias", p->W, 0, err));
    sella_collab_normal(tower, "ctrl.sample.weight", p->seed, 1 / sqrt(p->S));
    sella_collab_normal(tower, "ctrl.text.weight", p->seed, 1 / sqrt(p->L));
done:
    return status;
}

/* Biases and the last linear map have no part in the sample vector: they stay as they began. */
static sella_status freeze_rest(sella_param_table *table, bool frozen, sella_err *err)
{
    static const char *const names[] = {"din.top.2.weight", "din.top.2.bias", "user.bias",
                                        "item.bias", "global.bias"};
    sella_status status = SELLA_OK;
    for (int k = 0; k < 5 && status == SELLA_OK; k++) {
        sella_param *param = sella_param_find(table, names[k]);
        status = param ? sella_param_train(param, !frozen, err) : SELLA_OK;
    }
    return status;
}

static sella_status buffers(contrast *p, sella_err *err)
{
    const size_t B = (size_t)p->deal.batch, W = (size_t)p->W, L = (size_t)p->L;
    const sella_collab_config *config = &p->c->config;
    p->user = sella_alloc(B, sizeof *p->user, "a batch", err);
    p->item = sella_alloc(B, sizeof *p->item, "a batch", err);
    p->count = sella_alloc(B, sizeof *p->count, "a batch", err);
    p->history = sella_alloc(B, sizeof *p->history, "a batch", err);
    p->z = sella_alloc(B, sizeof *p->z, "a batch", err);
    p->t = sella_alloc(B * L, sizeof *p->t, "a batch", err);
    p->ds = sella_alloc(B * (size_t)p->S, sizeof *p->ds, "a batch", err);
    p->g = sella_alloc(4 * B * W, sizeof *p->g, "a batch", err);
    p->scratch =
        sella_alloc(1, sella_contrast_scratch((int)B, p->W, p->parts), "a contrastive step", err);
    if (!p->user || !p->item || !p->count || !p->history || !p->z || !p->t || !p->ds || !p->g ||
        !p->scratch) {
        return SELLA_MEMORY;
    }
    p->h = p->g + B * W;
    p->dg = p->h + B * W;
    p->dh = p->dg + B * W;
    return sella_din_pass_new(sella_din_of(p->c), (int)B, (int)B * config->history_length, true,
                              &p->pass, err);
}

static sella_status prepare(contrast *p, const int64_t *index_k, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = p->job;
    const sella_settings *settings = job->settings;
    sella_collab_config config;
    p->seed = sella_stage_seed(job->run, "contrast");
    p->W = (int)sella_settings_int(settings, "ctrl.width");
    p->parts = (int)sella_settings_int(settings, "ctrl.subspaces");
    p->tau = sella_settings_real(settings, "ctrl.tau");
    SELLA_TRY(sella_deal_init(p->K, sella_settings_int(settings, "ctrl.batch"), p->seed, &p->deal,
                              err));
    sella_collab_config_of(settings, job->run->users, job->run->items, &config);
    p->S = config.din.top[SELLA_DIN_HIDDEN - 1];
    /* as din itself begins */
    SELLA_TRY(sella_collab_new("din", &config, sella_stage_seed(job->run, "din"), &p->c, err));
    SELLA_TRY(sella_collab_prepare_job(job, p->c, err));
    SELLA_TRY(sella_collab_ready(p->c, NULL, err));
    SELLA_TRY(freeze_rest(&p->c->table, true, err));
    SELLA_TRY(sella_text_vectors_read(job->run, p->K, &p->text, err));
    p->L = (int)p->text.param[0].shape[1];
    SELLA_TRY(towers(p, err));
    SELLA_TRY(sella_lm_queries(job->dataset, SELLA_SPLIT_TRAIN, index_k, p->K, &p->query, err));
    SELLA_TRY(
        sella_collab_rows_make(p->query, NULL, p->K, config.history_length, true, &p->rows, err));
    SELLA_TRY(buffers(p, err));
done:
    return status;
}

static void contrast_release(contrast *p)
{
    sella_din_pass_free(p->pass);
    sella_collab_free(p->c);
    sella_param_table_release(&p->text);
    sella_param_table_release(&p->tower);
    sella_collab_rows_release(&p->rows);
    sella_deal_release(&p->deal);
    void *const all[] = {p->query, p->user, p->item, p->count, p->history,
                         p->z,     p->t,    p->ds,   p->g,     p->scratch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free(all[i]);
    }
}

/* ---- steps ---- */

static void take_rows(contrast *p, const int64_t *place_n, int N)
{
    const sella_collab_batch *all = &p->rows.batch;
    const size_t L = (size_t)p->L;
    for (int n = 0; n < N; n++) {
        p->user[n] = all->user_n[place_n[n]];
        p->item[n] = all->item_n[place_n[n]];
        p->history[n] = all->history_n[place_n[n]];
        p->count[n] = all->history_count_n[place_n[n]];
        memcpy(p->t + (size_t)n * L, p->text.param[0].data + (size_t)place_n[n] * L,
               L * sizeof *p->t);
    }
}

/* y [N, W] = x W^T + b */
static void project(const sella_param *param, float *y, const float *x, int N, int in, int W)
{
    sella_gemm(false, true, N, W, in, 1.0f, x, in, param[0].data, in, 0.0f, y, W);
    sella_bias_add(y, W, param[1].data, N, W);
}

static void project_backward(sella_param *param, const float *dy, const float *x, int N, int in,
                             int W)
{
    sella_gemm(true, false, W, in, N, 1.0f, dy, W, x, in, 1.0f, param[0].grad, in);
    sella_bias_backward(param[1].grad, dy, W, N, W);
}

static sella_status run_step(void *user, sella_loop_step *at, sella_err *err)
{
    contrast *p = user;
    sella_din *din = sella_din_of(p->c);
    sella_param *tower = p->tower.param;
    const int64_t *place;
    const int N = (int)sella_deal_step(&p->deal, at->epoch, at->index, &place);
    const sella_din_mode mode = {true, p->seed, at->step};
    (void)err;
    take_rows(p, place, N);
    const sella_din_batch batch = {N, p->user, p->item, p->history, p->count};
    sella_din_forward(din, p->pass, &batch, &mode, p->z, NULL);
    const float *sample = sella_din_sample(p->pass);
    project(tower + SAMPLE_WEIGHT, p->g, sample, N, p->S, p->W);
    project(tower + TEXT_WEIGHT, p->h, p->t, N, p->L, p->W);
    at->loss = sella_contrast_forward_backward(p->g, p->h, N, p->W, p->parts, p->tau, p->dg, p->dh,
                                               p->scratch);
    at->units = (double)N;
    project_backward(tower + SAMPLE_WEIGHT, p->dg, sample, N, p->S, p->W);
    project_backward(tower + TEXT_WEIGHT, p->dh, p->t, N, p->L, p->W);
    sella_gemm(false, false, N, p->S, p->W, 1.0f, p->dg, p->W, tower[SAMPLE_WEIGHT].data, p->S,
               0.0f, p->ds, p->S);
    sella_din_backward(din, p->pass, NULL, p->ds, NULL, NULL);
    return SELLA_OK;
}

static sella_status save(contrast *p, const sella_loop_result *result, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_param_table *const tables[] = {&p->c->table, &p->tower};
    char *path = NULL;
    json_t *record = sella_stage_record_new("contrast", result->seconds);
    if (!record) {
        return sella_err_memory(err, "done.json", 256);
    }
    SELLA_TRY(sella_collab_ready(p->c, NULL, err));
    SELLA_TRY(sella_run_place(p->job->run, START, &path, err));
    SELLA_TRY(sella_tensors_write(path, tables, 2, err));
    sella_stage_record_table(record, &p->c->table);
    sella_stage_record_table(record, &p->tower);
    sella_stage_record_name(record, false, "backbone");
    json_object_set_new(record, "rows", json_integer(p->K));
    json_object_set_new(record, "epochs", json_integer(result->epochs));
    json_object_set_new(record, "loss", sella_json_real(result->last_loss));
    status = sella_run_stage_finish(p->job->run, "contrast", record, err);
done:
    free(path);
    json_decref(record);
    return status;
}

static sella_status contrast_run(sella_job *job, const int64_t *index_k, int64_t K, sella_err *err)
{
    sella_status status = SELLA_OK;
    contrast p = {.job = job, .K = K};
    sella_loop_result result;
    char *checkpoints = NULL, *metrics = sella_run_file(job->run, "metrics.jsonl");
    const sella_settings *settings = job->settings;
    if (sella_run_stage_done(job->run, "contrast")) {
        goto done;
    }
    if (!metrics) {
        status = sella_err_memory(err, "a path", 32);
        goto done;
    }
    SELLA_TRY(sella_run_place(job->run, "checkpoints/contrast", &checkpoints, err));
    SELLA_TRY(prepare(&p, index_k, err));
    sella_param_table *const tables[] = {&p.c->table, &p.tower};
    const sella_loop loop = {
        .stage = "contrast",
        .tables = tables,
        .n = 2,
        .optimizer = {.beta1 = .9,
                      .beta2 = .999,
                      .eps = 1e-8,
                      .weight_decay = sella_settings_real(settings, "ctrl.weight_decay")},
        .schedule = SELLA_SCHEDULE_CONSTANT,
        .lr = sella_settings_real(settings, "ctrl.lr"),
        .warmup_ratio = sella_settings_real(settings, "ctrl.warmup"),
        .epochs = sella_settings_int(settings, "ctrl.epochs"),
        .steps_per_epoch = sella_deal_steps(&p.deal),
        .units_per_epoch = (double)K,
        .unit = "rows",
        .run_step = run_step,
        .checkpoint_dir = checkpoints,
        .checkpoint_seconds = sella_settings_real(settings, "checkpoint.seconds"),
        .metrics_path = metrics,
        .talk = job->talk,
        .user = &p,
    };
    SELLA_TRY(sella_loop_run(&loop, &result, err));
    SELLA_TRY(freeze_rest(&p.c->table, false, err));
    SELLA_TRY(save(&p, &result, err));
    SELLA_TRY(sella_path_remove(checkpoints, err));
done:
    contrast_release(&p);
    free(checkpoints);
    free(metrics);
    return status;
}

/* ---- the method ---- */

static sella_status ctrl_train(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t *index = NULL, K;
    SELLA_TRY(sella_lm_save_template(job->run, err));
    SELLA_TRY(sella_sample_rows(job->train_rows, sella_settings_int(job->settings, "train.run"),
                                job->run->seed, job->dataset, SELLA_SPLIT_TRAIN, &index, &K, err));
    SELLA_TRY(sella_text_vectors_run(job, index, K, err));
    SELLA_TRY(contrast_run(job, index, K, err));
    SELLA_TRY(sella_collab_fit_from(job, "din", START, err));
done:
    free(index);
    return status;
}

static sella_status ctrl_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out,
                              sella_err *err)
{
    (void)backbone;
    return sella_collab_fit_open(run, "din", out, err);
}

static bool ctrl_scores_with_model(const sella_settings *settings)
{
    (void)settings;
    return false;
}

static sella_status ctrl_check(const sella_method *method, const sella_settings *settings,
                               const sella_dataset *dataset, sella_err *err)
{
    (void)method;
    const int64_t width = sella_settings_int(settings, "ctrl.width"),
                  parts = sella_settings_int(settings, "ctrl.subspaces");
    if (width % parts != 0) {
        return sella_err_set(err, SELLA_ARG,
                             "ctrl.width is %lld; expected a multiple of ctrl.subspaces, %lld",
                             (long long)width, (long long)parts);
    }
    return sella_collab_fit_check(settings, "din", dataset, err);
}

static sella_status ctrl_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                  sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_settings *settings = ask->settings;
    sella_estimate text, fit = {0};
    sella_collab_config config;
    sella_collab_cost cost = {0};
    const sella_stage_choice stages = {.text = true};
    SELLA_TRY(sella_stages_estimate(ask, &stages, &text, err));
    SELLA_TRY(sella_collab_fit_estimate(settings, "din", ask->dataset, &fit, err));
    sella_collab_config_of(settings, ask->dataset->train_users, ask->dataset->items, &config);
    sella_collab_cost_of("din", &config, &cost);
    const double epochs = (double)sella_settings_int(settings, "ctrl.epochs"),
                 rows = (double)text.rows, W = (double)sella_settings_int(settings, "ctrl.width");
    int64_t batch = sella_settings_int(settings, "ctrl.batch");
    batch = batch < text.rows ? batch : text.rows;
    *out = text;
    out->steps = fit.steps + (int64_t)epochs * ((text.rows + batch - 1) / (batch > 0 ? batch : 1));
    out->trainable = fit.trainable;
    out->other_flops =
        fit.other_flops + epochs * rows * 3 * (cost.row_flops + 4.0 * (double)batch * W);
    out->bytes +=
        fit.bytes + sella_contrast_scratch((int)batch, (int)W,
                                           (int)sella_settings_int(settings, "ctrl.subspaces"));
done:
    return status;
}

static const char *const paper[] = {"template=paper",
                                    "history.window=sliding",
                                    "history.length=10",
                                    "ctrl.batch=6400",
                                    "ctrl.lr=5e-4",
                                    "ctrl.subspaces=4",
                                    "collab.width=64",
                                    "collab.bias=no",
                                    "collab.unseen=zero",
                                    "collab.history_length=10",
                                    "collab.dropout=0.2",
                                    "collab.lr=1e-3",
                                    "collab.weight_decay=1e-4",
                                    "collab.batch=2048",
                                    "collab.epochs=5000",
                                    "collab.patience=100",
                                    NULL};
const sella_method sella_method_ctrl_din = {
    .name = "ctrl-din",
    .help = "din, pre-trained against the language model's text vectors; scores without it (CTRL)",
    .needs_model = true,
    .scores_with_model = ctrl_scores_with_model,
    .preset_paper = paper,
    .preset_default = sella_din_usual,
    .check = ctrl_check,
    .estimate = ctrl_estimate,
    .train = ctrl_train,
    .open = ctrl_open,
};
