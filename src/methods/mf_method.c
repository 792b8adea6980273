/* mf_method.c - matrix factorisation on its own, selected on valid AUC.
 *
 * Paper: section 3 (Collaborative Filtering Recommendation), the row MF of the tables: preset paper is the
 * published one, without biases. Users and items that train never saw: collab.unseen (zero as published).
 */
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "collab/mf_sgd.h"
#include "eval/metrics.h"
#include "kernels/activation.h"
#include "kernels/loss.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"
#include "methods/vectors.h"

/* Start of the sums of squares of sgd: about what a row gathers in its first visits once vectors have some length, so
 * that they do not leap from their small start. */
#define SQUARES 0.1

typedef struct fit {
    const sella_job *job;
    sella_mf_sgd *sgd; /* NULL with collab.optimizer=adam */
    sella_vectors v; /* mf alone: no semantic table, no projection */
    uint64_t seed;
    int64_t rows, batch;
    sella_query *train, *valid; /* [rows], [valid_rows] */
    int32_t *train_pool, *valid_pool;
    int64_t valid_rows;
    uint8_t *valid_label;
    uint8_t *seen_i, *liked_i; /* [items] 1: occurs in train rows, in their histories */
    int64_t *order;   /* [rows] of epoch `shuffled` */
    int64_t shuffled; /* -1: none yet */
    float *z, *dz, *y; /* [batch] */
    int32_t *user, *item; /* [batch] */
    float *valid_z;       /* [valid_rows] */
    double *valid_score;
} fit;

static sella_status vectors_of(const sella_settings *settings, int32_t users, int32_t items, uint64_t seed,
                               sella_vectors *v, sella_err *err)
{
    const sella_mf_config config = {.users = users,
                                    .items = items,
                                    .C = (int)sella_settings_int(settings, "collab.width"),
                                    .bias = sella_settings_bool(settings, "collab.bias"),
                                    .history = sella_settings_bool(settings, "collab.history"),
                                    .init = sella_settings_real(settings, "collab.init")};
    *v = (sella_vectors){.users = users,
                         .items = items,
                         .C = config.C,
                         .history_length = (int32_t)sella_settings_int(settings, "collab.history_length"),
                         .unseen = sella_settings_is(settings, "collab.unseen", "zero")   ? SELLA_UNSEEN_ZERO
                                   : sella_settings_is(settings, "collab.unseen", "mean") ? SELLA_UNSEEN_MEAN
                                                                                          : SELLA_UNSEEN_HISTORY};
    return sella_mf_init(&config, seed, &v->mf, err);
}

/* ---- training ---- */

static sella_status prepare_valid(fit *f, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = f->job;
    int64_t *index = NULL;
    SELLA_TRY(sella_sample_rows(job->eval_rows, job->run->seed, job->dataset, SELLA_SPLIT_VALID, &index,
                                &f->valid_rows, err));
    SELLA_TRY(sella_queries_from_split(job->run, job->dataset, SELLA_SPLIT_VALID, index, f->valid_rows, &f->valid,
                                       &f->valid_pool, err));
    f->valid_label = sella_alloc((size_t)f->valid_rows, 1, "valid rows", err);
    f->valid_z = sella_alloc((size_t)f->valid_rows, sizeof *f->valid_z, "valid rows", err);
    f->valid_score = sella_alloc((size_t)f->valid_rows, sizeof *f->valid_score, "valid rows", err);
    if (!f->valid_label || !f->valid_z || !f->valid_score) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t n = 0; n < f->valid_rows; n++) {
        f->valid_label[n] = job->dataset->split[SELLA_SPLIT_VALID].label_n[index[n]];
    }
done:
    free(index);
    return status;
}

static sella_status prepare_sgd(fit *f, sella_err *err)
{
    const sella_mf_sgd_config config = {.decay = sella_settings_real(f->job->settings, "collab.weight_decay"),
                                        .squares = SQUARES,
                                        .seed = f->seed};
    const size_t rows = (size_t)f->rows;
    int32_t *user = sella_alloc(rows, sizeof *user, "rows of train", err);
    int32_t *item = sella_alloc(rows, sizeof *item, "rows of train", err);
    sella_status status = user && item ? SELLA_OK : SELLA_MEMORY;
    for (size_t r = 0; status == SELLA_OK && r < rows; r++) {
        user[r] = f->train[r].user;
        item[r] = f->train[r].item;
    }
    if (status == SELLA_OK) {
        const sella_interactions all = {.rows = f->rows, .user_n = user, .item_n = item,
                                        .label_n = f->job->dataset->split[SELLA_SPLIT_TRAIN].label_n};
        status = sella_mf_sgd_new(&f->v.mf, &all, &config, &f->sgd, err);
    }
    free(user);
    free(item);
    return status;
}

static sella_status prepare(fit *f, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = f->job;
    const int64_t batch = sella_settings_int(job->settings, "collab.batch");
    f->rows = job->dataset->split[SELLA_SPLIT_TRAIN].rows;
    f->batch = batch < f->rows ? batch : f->rows;
    f->shuffled = -1;
    f->seed = sella_stage_seed(job->run, "mf");
    SELLA_TRY(vectors_of(job->settings, job->run->users, job->run->items, f->seed, &f->v, err));
    SELLA_TRY(sella_queries_from_split(job->run, job->dataset, SELLA_SPLIT_TRAIN, NULL, f->rows, &f->train,
                                       &f->train_pool, err));
    const size_t n = (size_t)f->batch;
    f->seen_i = sella_alloc((size_t)job->run->items, 1, "items of train", err);
    f->liked_i = sella_alloc((size_t)job->run->items, 1, "items of train", err);
    f->order = sella_alloc((size_t)f->rows, sizeof *f->order, "the order of rows", err);
    f->z = sella_alloc(n, sizeof *f->z, "a batch", err);
    f->dz = sella_alloc(n, sizeof *f->dz, "a batch", err);
    f->y = sella_alloc(n, sizeof *f->y, "a batch", err);
    f->user = sella_alloc(n, sizeof *f->user, "a batch", err);
    f->item = sella_alloc(n, sizeof *f->item, "a batch", err);
    if (!f->seen_i || !f->liked_i || !f->order || !f->z || !f->dz || !f->y || !f->user || !f->item) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t r = 0; r < f->rows; r++) {
        f->seen_i[f->train[r].item] = 1;
        for (int32_t j = 0; j < f->train[r].history_count; j++) {
            f->liked_i[f->train[r].history_n[j]] = 1;
        }
    }
    if (f->v.unseen == SELLA_UNSEEN_ZERO) { // once: nothing moves a row of zeros that no row of train names
        sella_vectors_settle(&f->v, f->seen_i, f->liked_i);
    }
    if (job->dataset->split[SELLA_SPLIT_VALID].rows > 0) {
        SELLA_TRY(prepare_valid(f, err));
    }
    if (sella_settings_is(job->settings, "collab.optimizer", "sgd")) {
        SELLA_TRY(prepare_sgd(f, err));
    }
done:
    return status;
}

/* Rows place_n [N] as a batch: histories only when the model has that part. */
static sella_status batch_make(fit *f, const int64_t *place_n, int64_t N, sella_vector_batch *out, sella_err *err)
{
    *out = (sella_vector_batch){0};
    if (f->v.mf.config.history) {
        return sella_vector_batch_make(&f->v, f->train, place_n, N, true, out, err);
    }
    for (int64_t n = 0; n < N; n++) {
        f->user[n] = f->train[place_n[n]].user;
        f->item[n] = f->train[place_n[n]].item;
    }
    out->mf = (sella_mf_batch){.N = (int)N, .user_n = f->user, .item_n = f->item};
    return SELLA_OK;
}

static sella_status run_step(void *user, sella_loop_step *at, sella_err *err)
{
    fit *f = user;
    sella_vector_batch batch;
    const int64_t first = at->index * f->batch, N = f->rows - first < f->batch ? f->rows - first : f->batch;
    const uint8_t *label = f->job->dataset->split[SELLA_SPLIT_TRAIN].label_n;
    if (f->shuffled != at->epoch) {
        const sella_rng rng = {.seed = f->seed, .stream = SELLA_STREAM_SHUFFLE, .a = (uint32_t)at->epoch};
        for (int64_t r = 0; r < f->rows; r++) {
            f->order[r] = r;
        }
        sella_rng_shuffle(&rng, f->order, (size_t)f->rows);
        f->shuffled = at->epoch;
    }
    const int64_t *place = f->order + first;
    const sella_status status = batch_make(f, place, N, &batch, err);
    if (status != SELLA_OK) {
        return status;
    }
    for (int64_t n = 0; n < N; n++) {
        f->y[n] = label[place[n]] ? 1.0f : 0.0f;
    }
    sella_mf_forward(&f->v.mf, &batch.mf, f->z, NULL);
    at->loss = sella_bce_forward(f->dz, f->z, f->y, NULL, (int)N) / (double)N;
    at->units = (double)N;
    sella_scale(f->dz, 1.0f / (float)N, (size_t)N);
    sella_mf_backward(&f->v.mf, &batch.mf, f->dz, NULL, NULL);
    sella_vector_batch_release(&batch);
    return SELLA_OK;
}

/* A whole epoch is one step: it takes about 50 ns a row. */
static sella_status run_sgd(void *user, sella_loop_step *at, sella_err *err)
{
    fit *f = user;
    (void)err;
    at->loss = sella_mf_sgd_epoch(f->sgd, &f->v.mf, at->epoch, at->lr);
    at->units = (double)f->rows;
    return SELLA_OK;
}

/* What unseen users and items are made of, from the parameters as they are. */
static sella_status settle(fit *f, sella_err *err)
{
    if (f->v.unseen == SELLA_UNSEEN_ZERO) {
        return SELLA_OK;
    }
    sella_vectors_settle(&f->v, f->seen_i, f->liked_i);
    return sella_vectors_ready(&f->v, f->job->run, err);
}

static sella_status evaluate(void *user, double *metric, json_t **record, sella_err *err)
{
    sella_status status = SELLA_OK;
    fit *f = user;
    (void)record;
    SELLA_TRY(settle(f, err));
    SELLA_TRY(sella_vectors_logits(&f->v, f->valid, f->valid_rows, f->valid_z, err));
    for (int64_t n = 0; n < f->valid_rows; n++) {
        if (!isfinite(f->valid_z[n])) {
            return sella_err_set(err, SELLA_DIVERGED, "mf: the score of valid row %lld is not finite",
                                 (long long)n + 1);
        }
        f->valid_score[n] = (double)f->valid_z[n];
    }
    *metric = sella_auc(f->valid_score, f->valid_label, f->valid_rows, err);
done:
    return status;
}

static sella_status save(fit *f, const sella_loop_result *result, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = f->job->run;
    const sella_param_table *const tables[] = {&f->v.mf.table};
    char *path = NULL;
    json_t *record = sella_stage_record_new("mf", result->seconds);
    if (!record) {
        return sella_err_memory(err, "done.json", 256);
    }
    SELLA_TRY(settle(f, err));
    SELLA_TRY(sella_run_place(run, "collab.safetensors", &path, err));
    SELLA_TRY(sella_tensors_write(path, tables, 1, err));
    sella_stage_record_table(record, &f->v.mf.table);
    json_object_set_new(record, "rows", json_integer(f->rows));
    json_object_set_new(record, "epochs", json_integer(result->epochs));
    json_object_set_new(record, "best_epoch", json_integer(result->best_epoch));
    json_object_set_new(record, "loss", sella_json_real(result->last_loss));
    json_object_set_new(record, "best_valid_auc", sella_json_real(result->best));
    status = sella_run_stage_finish(run, "mf", record, err);
done:
    free(path);
    json_decref(record);
    return status;
}

static void fit_release(fit *f)
{
    sella_mf_sgd_free(f->sgd);
    sella_vectors_release(&f->v);
    free(f->train);
    free(f->train_pool);
    free(f->valid);
    free(f->valid_pool);
    free(f->valid_label);
    free(f->valid_z);
    free(f->valid_score);
    free(f->seen_i);
    free(f->liked_i);
    free(f->order);
    free(f->z);
    free(f->dz);
    free(f->y);
    free(f->user);
    free(f->item);
}

static sella_status mf_train(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    fit f = {.job = job};
    sella_loop_result result;
    char *checkpoints = NULL, *metrics = sella_run_file(job->run, "metrics.jsonl");
    const sella_settings *settings = job->settings;
    if (sella_run_stage_done(job->run, "mf")) {
        goto done;
    }
    if (!metrics) {
        status = sella_err_memory(err, "a path", 32);
        goto done;
    }
    SELLA_TRY(sella_run_place(job->run, "checkpoints/mf", &checkpoints, err));
    SELLA_TRY(prepare(&f, err));
    sella_param_table *const tables[] = {&f.v.mf.table, f.sgd ? sella_mf_sgd_state(f.sgd) : NULL};
    const sella_loop loop = {
        .stage = "mf",
        .tables = tables,
        .n = f.sgd ? 2 : 1,
        .own_steps = f.sgd != NULL,
        .optimizer = {.beta1 = .9,
                      .beta2 = .999,
                      .eps = 1e-8,
                      .weight_decay = sella_settings_real(settings, "collab.weight_decay"),
                      .coupled = true},
        .schedule = SELLA_SCHEDULE_CONSTANT,
        .lr = sella_settings_real(settings, "collab.lr"),
        .epochs = sella_settings_int(settings, "collab.epochs"),
        .steps_per_epoch = f.sgd ? 1 : (f.rows + f.batch - 1) / f.batch,
        .units_per_epoch = (double)f.rows,
        .unit = "rows",
        .run_step = f.sgd ? run_sgd : run_step,
        .evaluate = f.valid_rows > 0 ? evaluate : NULL,
        .evaluate_every = 1,
        .patience = sella_settings_int(settings, "collab.patience"),
        .min_epochs = sella_settings_int(settings, "collab.min_epochs"),
        .keep_best = true,
        .checkpoint_dir = checkpoints,
        .checkpoint_seconds = sella_settings_real(settings, "checkpoint.seconds"),
        .metrics_path = metrics,
        .talk = job->talk,
        .user = &f,
    };
    SELLA_TRY(sella_loop_run(&loop, &result, err));
    SELLA_TRY(save(&f, &result, err));
    SELLA_TRY(sella_path_remove(checkpoints, err));
done:
    fit_release(&f);
    free(checkpoints);
    free(metrics);
    return status;
}

/* ---- scoring ---- */

typedef struct mf_scorer {
    sella_scorer base;
    sella_vectors v;
} mf_scorer;

static sella_status mf_score(sella_scorer *scorer, const sella_query *query_n, int64_t N, double *logit_n,
                             const sella_talk *talk, sella_err *err)
{
    float *z = sella_alloc((size_t)N, sizeof *z, "scores", err);
    (void)talk;
    if (!z) {
        return SELLA_MEMORY;
    }
    const sella_status status = sella_vectors_logits(&((mf_scorer *)scorer)->v, query_n, N, z, err);
    for (int64_t n = 0; status == SELLA_OK && n < N; n++) {
        logit_n[n] = (double)z[n];
    }
    free(z);
    return status;
}

static void mf_close(sella_scorer *scorer)
{
    sella_vectors_release(&((mf_scorer *)scorer)->v);
    free(scorer);
}

static sella_status mf_scan(sella_scorer *scorer, const sella_query *who, const int32_t *item_n, int32_t N,
                            double *logit_n, sella_err *err)
{
    return sella_vectors_scan(&((mf_scorer *)scorer)->v, who, item_n, N, logit_n, err);
}

static const sella_serving_ops mf_serving = {.scan = mf_scan};

static const sella_scorer_ops mf_ops = {mf_score, NULL, mf_close};

static sella_status mf_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    char *path = sella_run_file(run, "collab.safetensors");
    mf_scorer *s = sella_alloc(1, sizeof *s, "a scorer", err);
    (void)backbone;
    if (!s || !path) {
        free(s);
        free(path);
        return sella_err_memory(err, "a scorer", sizeof *s);
    }
    s->base = (sella_scorer){.ops = &mf_ops, .serving = &mf_serving, .run = run, .yes_id = -1, .no_id = -1};
    SELLA_TRY(vectors_of(run->settings, run->users, run->items, 0, &s->v, err));
    sella_param_table *const tables[] = {&s->v.mf.table};
    for (int i = 0; i < s->v.mf.table.count; i++) {
        SELLA_TRY(sella_param_train(&s->v.mf.table.param[i], false, err));
    }
    SELLA_TRY(sella_tensors_read(path, tables, 1, err));
    if (s->v.unseen != SELLA_UNSEEN_ZERO) {
        SELLA_TRY(sella_vectors_ready(&s->v, run, err));
    }
    *out = &s->base;
    s = NULL;
done:
    if (s) {
        mf_close(&s->base);
    }
    free(path);
    return status;
}

/* ---- the method ---- */

static sella_status mf_check(const sella_settings *settings, const sella_dataset *dataset, sella_err *err)
{
    const int64_t width = sella_settings_int(settings, "collab.width");
    (void)dataset;
    if (width > SELLA_MF_WIDTH_MAX) {
        return sella_err_set(err, SELLA_ARG, "collab.width is %lld; expected at most %d", (long long)width,
                             SELLA_MF_WIDTH_MAX);
    }
    if (sella_settings_is(settings, "collab.optimizer", "sgd") && sella_settings_bool(settings, "collab.history")) {
        return sella_err_set(err, SELLA_ARG,
                             "collab.optimizer=sgd does not train the history part; expected collab.history=no with it");
    }
    return SELLA_OK;
}

static sella_status mf_estimate(const sella_settings *settings, uint64_t seed, const sella_dataset *dataset,
                                const char *model, int64_t train_rows, int64_t eval_rows, sella_estimate *out,
                                sella_err *err)
{
    const int64_t rows = dataset->split[SELLA_SPLIT_TRAIN].rows, batch = sella_settings_int(settings, "collab.batch");
    const int64_t epochs = sella_settings_int(settings, "collab.epochs"),
                  C = sella_settings_int(settings, "collab.width");
    const bool sgd = sella_settings_is(settings, "collab.optimizer", "sgd");
    const int64_t steps = sgd ? 1 : (rows + batch - 1) / batch;
    const int64_t users = dataset->train_users, items = dataset->items;
    const bool history = sella_settings_bool(settings, "collab.history");
    (void)seed;
    (void)model;
    (void)train_rows;
    (void)eval_rows;
    (void)err;
    out->rows = rows;
    out->steps = steps * epochs;
    out->trainable = (users + items + (history ? items : 0)) * C +
                     (sella_settings_bool(settings, "collab.bias") ? users + items + 1 : 0);
    out->other_flops = (double)epochs * ((double)rows * (sgd ? 12.0 : 8.0) * (double)C +
                                         (sgd ? 0 : (double)steps * 12.0 * (double)out->trainable));
    // value, gradient, two moments (sgd: the packed copy with its padding), best
    out->bytes = (size_t)out->trainable * 5 * sizeof(float);
    out->bytes += sgd ? (size_t)rows * 20 : 0;               // entries, and their order once
    const int64_t queries = rows + dataset->split[SELLA_SPLIT_VALID].rows,
                  length = sella_settings_int(settings, "collab.history_length");
    const int64_t window = length > 0 && length < dataset->history_total ? length : dataset->history_total;
    out->bytes += (size_t)queries * (sizeof(sella_query) + 40) +
                  (size_t)(dataset->split[SELLA_SPLIT_VALID].rows * window) * sizeof(int32_t);
    for (int split = 0; split < 2; split++) {
        for (int64_t r = 0; r < dataset->split[split].rows; r++) {
            out->bytes += (size_t)dataset->split[split].history_count_n[r] * sizeof(int32_t);
        }
    }
    return SELLA_OK;
}

static const char *const paper[] = {"collab.optimizer=adam",
                                    "collab.width=256",
                                    "collab.bias=no",
                                    "collab.history=no",
                                    "collab.init=0.1",
                                    "collab.unseen=zero",
                                    "collab.lr=1e-3",
                                    "collab.weight_decay=1e-4",
                                    "collab.batch=2048",
                                    "collab.epochs=5000",
                                    "collab.patience=100",
                                    NULL};
static const char *const usual[] = {"collab.optimizer=sgd",
                                    "collab.width=64",
                                    "collab.bias=yes",
                                    "collab.history=no",
                                    "collab.init=0.01",
                                    "collab.unseen=history",
                                    "collab.lr=0.03",
                                    "collab.weight_decay=7e-5",
                                    "collab.batch=2048",
                                    "collab.epochs=500",
                                    "collab.patience=20",
                                    NULL};

const sella_method sella_method_mf = {
    .name = "mf",
    .help = "matrix factorisation; preset paper is the published one, without biases",
    .preset_paper = paper,
    .preset_default = usual,
    .check = mf_check,
    .estimate = mf_estimate,
    .train = mf_train,
    .open = mf_open,
};
