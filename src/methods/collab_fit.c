/* collab_fit.c - train a collaborative model alone, keep what valid AUC likes best, save, score
 * (methods/collab_fit.h). */
#include "methods/collab_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "collab/mf_sgd.h"
#include "eval/metrics.h"
#include "kernels/activation.h"
#include "kernels/loss.h"
#include "methods/estimate.h"
#include "methods/init_from.h"
#include "methods/inside.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"
#include "train/deal.h"

/* Start of the sums of squares of sgd: about what a row gathers in its first visits once vectors
 * have some length, so that they do not leap from their small start. */
#define SQUARES 0.1

enum { TRIES = 32 /* draws for one negative before a liked item is taken after all */ };

typedef struct fit {
    const sella_job *job;
    const char *name;
    const char *start; /* file of the run, or NULL */
    sella_collab *c;
    sella_mf mf;       /* sgd: the table of c as mf_sgd.h sees it */
    sella_mf_sgd *sgd; /* NULL with Adam */
    uint64_t seed;
    int64_t rows;        /* of train */
    const uint8_t *label_n;
    sella_query *train, *valid;
    int32_t *train_pool, *valid_pool;
    sella_collab_rows seen, valid_rows; /* histories cut to what the model sees */
    uint8_t *valid_label;
    float *valid_z;
    double *valid_score;
    bool pairs;          /* bpr */
    int64_t *unit;       /* [units] rows that an epoch visits: all, or the positive ones */
    int64_t units;
    sella_deal deal;     /* of units */
    /* positives of train by user, ascending: [liked_start[u], liked_start[u + 1]) */
    int32_t *liked;
    int64_t *liked_start;
    sella_collab_pass pass;
    float *z, *dz, *y;   /* [room] of a step: batch, or both halves of pairs */
    int32_t *user, *item, *count;
    const int32_t **history;
} fit;

/* ---- before training ---- */

static sella_status prepare_valid(fit *f, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = f->job;
    int64_t *index = NULL, rows;
    SELLA_TRY(sella_sample_rows(job->eval_rows, SELLA_EVAL_RUN, job->run->seed, job->dataset,
                                SELLA_SPLIT_VALID, &index, &rows, err));
    SELLA_TRY(sella_queries_from_split(job->run, job->dataset, SELLA_SPLIT_VALID, index, rows,
                                       &f->valid, &f->valid_pool, err));
    SELLA_TRY(sella_collab_rows_make(f->valid, NULL, rows, f->c->config.history_length, true,
                                     &f->valid_rows, err));
    f->valid_label = sella_alloc((size_t)rows, 1, "valid rows", err);
    f->valid_z = sella_alloc((size_t)rows, sizeof *f->valid_z, "valid rows", err);
    f->valid_score = sella_alloc((size_t)rows, sizeof *f->valid_score, "valid rows", err);
    if (!f->valid_label || !f->valid_z || !f->valid_score) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t n = 0; n < rows; n++) {
        f->valid_label[n] = job->dataset->split[SELLA_SPLIT_VALID].label_n[index[n]];
    }
done:
    free(index);
    return status;
}

static sella_status prepare_sgd(fit *f, sella_err *err)
{
    const sella_collab_config *config = &f->c->config;
    const sella_mf_sgd_config sgd = {
        .decay = sella_settings_real(f->job->settings, "collab.weight_decay"),
        .squares = SQUARES,
        .seed = f->seed};
    const sella_interactions all = {
        .rows = f->rows, .user_n = f->seen.user_n, .item_n = f->seen.item_n, .label_n = f->label_n};
    f->mf = (sella_mf){.config = {.users = config->users,
                                  .items = config->items,
                                  .C = config->C,
                                  .bias = config->bias,
                                  .init = config->init},
                       .table = f->c->table};
    return sella_mf_sgd_new(&f->mf, &all, &sgd, &f->sgd, err);
}

static int compare_item(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static sella_status prepare_liked(fit *f, sella_err *err)
{
    const int32_t users = f->c->config.users;
    int64_t *cursor = sella_alloc((size_t)users + 1, sizeof *cursor, "positives of train", err);
    f->liked_start =
        sella_alloc((size_t)users + 1, sizeof *f->liked_start, "positives of train", err);
    f->liked = sella_alloc((size_t)f->units, sizeof *f->liked, "positives of train", err);
    if (!cursor || !f->liked_start || !f->liked) {
        free(cursor);
        return SELLA_MEMORY;
    }
    for (int64_t k = 0; k < f->units; k++) {
        f->liked_start[f->seen.user_n[f->unit[k]] + 1]++;
    }
    for (int32_t u = 0; u < users; u++) {
        f->liked_start[u + 1] += f->liked_start[u];
        cursor[u] = f->liked_start[u];
    }
    for (int64_t k = 0; k < f->units; k++) {
        f->liked[cursor[f->seen.user_n[f->unit[k]]]++] = f->seen.item_n[f->unit[k]];
    }
    for (int32_t u = 0; u < users; u++) {
        qsort(f->liked + f->liked_start[u], (size_t)(f->liked_start[u + 1] - f->liked_start[u]),
              sizeof *f->liked, compare_item);
    }
    free(cursor);
    return SELLA_OK;
}

static sella_status read_start(fit *f, sella_err *err)
{
    sella_param_table *const tables[] = {&f->c->table};
    char *path = sella_run_file(f->job->run, f->start);
    const sella_status status =
        path ? sella_tensors_read(path, tables, 1, err) : sella_err_memory(err, "a path", 64);
    free(path);
    return status;
}

static sella_status prepare_rows(fit *f, sella_err *err)
{
    sella_status status = SELLA_OK;
    f->unit = sella_alloc((size_t)f->rows, sizeof *f->unit, "rows of train", err);
    if (!f->unit) {
        return SELLA_MEMORY;
    }
    for (int64_t r = 0; r < f->rows; r++) {
        if (!f->pairs || f->label_n[r]) {
            f->unit[f->units++] = r;
        }
    }
    SELLA_TRY(sella_deal_init(f->units, sella_settings_int(f->job->settings, "collab.batch"),
                              f->seed, &f->deal, err));
    const size_t room = (size_t)f->deal.batch * (f->pairs ? 2 : 1);
    f->z = sella_alloc(room, sizeof *f->z, "a batch", err);
    f->dz = sella_alloc(room, sizeof *f->dz, "a batch", err);
    f->y = sella_alloc(room, sizeof *f->y, "a batch", err);
    f->user = sella_alloc(room, sizeof *f->user, "a batch", err);
    f->item = sella_alloc(room, sizeof *f->item, "a batch", err);
    f->count = sella_alloc(room, sizeof *f->count, "a batch", err);
    f->history = sella_alloc(room, sizeof *f->history, "a batch", err);
    if (!f->z || !f->dz || !f->y || !f->user || !f->item || !f->count || !f->history) {
        status = SELLA_MEMORY;
    }
done:
    return status;
}

static sella_status ready(fit *f, sella_err *err)
{
    const sella_collab_users users = {f->job->run->history, f->job->run->history_start};
    return sella_collab_ready(f->c, &users, err);
}

static sella_status prepare(fit *f, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = f->job;
    const sella_split *train = &job->dataset->split[SELLA_SPLIT_TRAIN];
    sella_collab_config config;
    f->rows = train->rows;
    f->label_n = train->label_n;
    f->seed = sella_stage_seed(job->run, f->name);
    f->pairs = strcmp(f->name, "lightgcn") == 0 &&
               sella_settings_is(job->settings, "lightgcn.loss", "bpr");
    sella_collab_config_of(job->settings, job->run->users, job->run->items, &config);
    SELLA_TRY(sella_collab_new(f->name, &config, f->seed, &f->c, err));
    SELLA_TRY(sella_init_collab(job, f->c, err));
    SELLA_TRY(sella_queries_from_split(job->run, job->dataset, SELLA_SPLIT_TRAIN, NULL, f->rows,
                                       &f->train, &f->train_pool, err));
    // the model is told whole histories; what it sees of them in a step is cut afterwards
    SELLA_TRY(sella_collab_rows_make(f->train, NULL, f->rows, 0, true, &f->seen, err));
    const sella_collab_train rows = {.rows = {.rows = f->rows,
                                              .user_n = f->seen.user_n,
                                              .item_n = f->seen.item_n,
                                              .label_n = f->label_n},
                                     .history_n = f->seen.history_n,
                                     .history_count_n = f->seen.count_n};
    SELLA_TRY(sella_collab_prepare(f->c, &rows, err));
    for (int64_t r = 0; config.history_length > 0 && r < f->rows; r++) {
        const int32_t skip = f->seen.count_n[r] > config.history_length
                                 ? f->seen.count_n[r] - config.history_length
                                 : 0;
        f->seen.history_n[r] += skip;
        f->seen.count_n[r] -= skip;
    }
    SELLA_TRY(prepare_rows(f, err));
    if (f->pairs) {
        SELLA_TRY(prepare_liked(f, err));
    }
    if (config.bias && sella_settings_is(job->settings, "collab.start", "bias") &&
        !job->init_from) {
        SELLA_TRY(sella_collab_start_biases(f->c, &rows.rows, NULL, err));
    }
    if (f->start) {
        SELLA_TRY(read_start(f, err));
    }
    /* rows of items that train does not name have their place before the first step */
    SELLA_TRY(ready(f, err));
    if (job->dataset->split[SELLA_SPLIT_VALID].rows > 0) {
        SELLA_TRY(prepare_valid(f, err));
    }
    if (strcmp(f->name, "mf") == 0 && sella_settings_is(job->settings, "collab.optimizer", "sgd")) {
        SELLA_TRY(prepare_sgd(f, err));
    }
done:
    return status;
}

/* ---- steps ---- */

static void put_row(fit *f, int64_t n, int64_t row)
{
    f->user[n] = f->seen.user_n[row];
    f->item[n] = f->seen.item_n[row];
    f->history[n] = f->seen.history_n[row];
    f->count[n] = f->seen.count_n[row];
}

/* An item of train that the user of unit k did not like. */
static int32_t negative(const fit *f, int64_t epoch, int64_t k, int32_t user)
{
    const sella_rng rng = {.seed = f->seed, .stream = SELLA_STREAM_NEGATIVE, .a = (uint32_t)epoch};
    const int32_t *mine = f->liked + f->liked_start[user];
    const size_t count = (size_t)(f->liked_start[user + 1] - f->liked_start[user]);
    int32_t item = 0;
    for (uint64_t t = 0; t < TRIES; t++) {
        item =
            (int32_t)sella_rng_below(&rng, (uint64_t)k * TRIES + t, (uint64_t)f->c->config.items);
        if (f->c->seen_i[item] && !bsearch(&item, mine, count, sizeof *mine, compare_item)) {
            break;
        }
    }
    return item;
}

/* Logits, mean loss and its gradient, backward: rows of the step in f->user ... f->y. */
static sella_status step_rows(fit *f, int64_t step, int64_t N, double *loss, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int64_t piece = f->c->ops->piece > 0 && f->c->ops->piece < N ? f->c->ops->piece : N,
                  pieces = (f->deal.batch + piece - 1) / piece;
    *loss = 0;
    for (int64_t first = 0, k = 0; first < N; first += piece, k++) {
        const int64_t n = N - first < piece ? N - first : piece;
        const sella_collab_batch batch = {.N = (int)n,
                                          .user_n = f->user + first,
                                          .item_n = f->item + first,
                                          .history_n = f->history + first,
                                          .history_count_n = f->count + first,
                                          .backward = true,
                                          .dropout = true,
                                          .seed = f->seed,
                                          .number = (uint64_t)(step * pieces + k)};
        float *z = f->z + first, *dz = f->dz + first;
        SELLA_TRY(sella_collab_forward(f->c, &batch, &f->pass, z, err));
        *loss += sella_bce_forward(dz, z, f->y + first, NULL, (int)n) / (double)N;
        sella_scale(dz, 1.0f / (float)N, (size_t)n);
        SELLA_TRY(sella_collab_backward(f->c, &batch, &f->pass, dz, err));
    }
done:
    return status;
}

/* BPR: the first N rows against the N after them. A difference of logits with label 1 is its
 *      loss. */
static sella_status step_pairs(fit *f, int64_t step, int64_t N, double *loss, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_collab_batch batch = {.N = (int)(2 * N),
                                      .user_n = f->user,
                                      .item_n = f->item,
                                      .history_n = f->history,
                                      .history_count_n = f->count,
                                      .backward = true,
                                      .dropout = true,
                                      .seed = f->seed,
                                      .number = (uint64_t)step};
    SELLA_TRY(sella_collab_forward(f->c, &batch, &f->pass, f->z, err));
    for (int64_t n = 0; n < N; n++) {
        f->z[n] -= f->z[N + n];
    }
    *loss = sella_bce_forward(f->dz, f->z, f->y, NULL, (int)N) / (double)N;
    sella_scale(f->dz, 1.0f / (float)N, (size_t)N);
    for (int64_t n = 0; n < N; n++) {
        f->dz[N + n] = -f->dz[n];
    }
    SELLA_TRY(sella_collab_backward(f->c, &batch, &f->pass, f->dz, err));
done:
    return status;
}

static sella_status run_step(void *user, sella_loop_step *at, sella_err *err)
{
    fit *f = user;
    const int64_t *unit_n, N = sella_deal_step(&f->deal, at->epoch, at->index, &unit_n);
    for (int64_t n = 0; n < N; n++) {
        const int64_t k = unit_n[n], row = f->unit[k];
        put_row(f, n, row);
        f->y[n] = f->label_n[row] ? 1.0f : 0.0f;
        if (f->pairs) {
            put_row(f, N + n, row);
            f->item[N + n] = negative(f, at->epoch, k, f->user[n]);
        }
    }
    at->units = (double)N;
    return f->pairs ? step_pairs(f, at->step, N, &at->loss, err)
                    : step_rows(f, at->step, N, &at->loss, err);
}

/* A whole epoch is one step: it takes about 50 ns a row. */
static sella_status run_sgd(void *user, sella_loop_step *at, sella_err *err)
{
    fit *f = user;
    (void)err;
    at->loss = sella_mf_sgd_epoch(f->sgd, &f->mf, at->epoch, at->lr);
    at->units = (double)f->rows;
    return SELLA_OK;
}

static sella_status evaluate(void *user, double *metric, json_t **record, sella_err *err)
{
    sella_status status = SELLA_OK;
    fit *f = user;
    const int64_t rows = f->valid_rows.batch.N;
    (void)record;
    SELLA_TRY(ready(f, err));
    SELLA_TRY(sella_collab_score(f->c, &f->valid_rows.batch, f->valid_z, err));
    for (int64_t n = 0; n < rows; n++) {
        if (!isfinite(f->valid_z[n])) {
            return sella_err_set(err, SELLA_DIVERGED,
                                 "%s: the score of valid row %lld is not finite", f->name,
                                 (long long)n + 1);
        }
        f->valid_score[n] = (double)f->valid_z[n];
    }
    *metric = sella_auc(f->valid_score, f->valid_label, rows, err);
done:
    return status;
}

/* ---- the stage ---- */

static sella_status save(fit *f, const sella_loop_result *result, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = f->job->run;
    const sella_param_table *const tables[] = {&f->c->table, &f->c->derived};
    char *path = NULL;
    json_t *record = sella_stage_record_new(f->name, result->seconds);
    if (!record) {
        return sella_err_memory(err, "done.json", 256);
    }
    SELLA_TRY(ready(f, err));
    SELLA_TRY(sella_run_place(run, "collab.safetensors", &path, err));
    SELLA_TRY(sella_tensors_write(path, tables, 2, err));
    sella_stage_record_table(record, &f->c->table);
    json_object_set_new(record, "rows", json_integer(f->rows));
    json_object_set_new(record, "epochs", json_integer(result->epochs));
    json_object_set_new(record, "best_epoch", json_integer(result->best_epoch));
    json_object_set_new(record, "loss", sella_json_real(result->last_loss));
    json_object_set_new(record, "best_valid_auc", sella_json_real(result->best));
    status = sella_run_stage_finish(run, f->name, record, err);
done:
    free(path);
    json_decref(record);
    return status;
}

static void fit_release(fit *f)
{
    sella_mf_sgd_free(f->sgd);
    sella_collab_pass_release(&f->pass);
    sella_collab_free(f->c);
    sella_collab_rows_release(&f->seen);
    sella_collab_rows_release(&f->valid_rows);
    sella_deal_release(&f->deal);
    void *const all[] = {f->train,   f->train_pool,  f->valid, f->valid_pool,  f->valid_label,
                         f->valid_z, f->valid_score, f->unit,  f->liked,       f->liked_start,
                         f->z,       f->dz,          f->y,     f->user,        f->item,
                         f->count,   f->history};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free(all[i]);
    }
}

sella_status sella_collab_fit(sella_job *job, const char *name, sella_err *err)
{
    return sella_collab_fit_from(job, name, NULL, err);
}

sella_loop sella_collab_loop(const sella_job *job, const char *stage, const char *checkpoints,
                             const char *metrics)
{
    const sella_settings *settings = job->settings;
    return (sella_loop){
        .stage = stage,
        .optimizer = {.beta1 = .9,
                      .beta2 = .999,
                      .eps = 1e-8,
                      .weight_decay = sella_settings_real(settings, "collab.weight_decay"),
                      .coupled = true},
        .schedule = SELLA_SCHEDULE_CONSTANT,
        .lr = sella_settings_real(settings, "collab.lr"),
        .epochs = sella_settings_int(settings, "collab.epochs"),
        .unit = "rows",
        .evaluate_every = 1,
        .patience = sella_settings_int(settings, "collab.patience"),
        .min_epochs = sella_settings_int(settings, "collab.min_epochs"),
        .keep_best = true,
        .checkpoint_dir = checkpoints,
        .checkpoint_seconds = sella_settings_real(settings, "checkpoint.seconds"),
        .metrics_path = metrics,
        .talk = job->talk,
    };
}

sella_status sella_collab_fit_from(sella_job *job, const char *name, const char *start,
                                   sella_err *err)
{
    sella_status status = SELLA_OK;
    fit f = {.job = job, .name = name, .start = start};
    sella_loop_result result;
    char *checkpoints = NULL, *metrics = sella_run_file(job->run, "metrics.jsonl");
    char *folder = sella_path_join("checkpoints", name, NULL);
    if (sella_run_stage_done(job->run, name)) {
        goto done;
    }
    if (!metrics || !folder) {
        status = sella_err_memory(err, "a path", 32);
        goto done;
    }
    SELLA_TRY(sella_run_place(job->run, folder, &checkpoints, err));
    SELLA_TRY(prepare(&f, err));
    sella_param_table *const tables[] = {&f.c->table, f.sgd ? sella_mf_sgd_state(f.sgd) : NULL};
    sella_loop loop = sella_collab_loop(job, name, checkpoints, metrics);
    loop.tables = tables;
    loop.n = f.sgd ? 2 : 1;
    loop.own_steps = f.sgd != NULL;
    loop.steps_per_epoch = f.sgd ? 1 : sella_deal_steps(&f.deal);
    loop.units_per_epoch = (double)f.units;
    loop.run_step = f.sgd ? run_sgd : run_step;
    loop.evaluate = f.valid_rows.batch.N > 0 ? evaluate : NULL;
    loop.user = &f;
    SELLA_TRY(sella_loop_run(&loop, &result, err));
    SELLA_TRY(save(&f, &result, err));
    SELLA_TRY(sella_path_remove(checkpoints, err));
done:
    fit_release(&f);
    free(checkpoints);
    free(metrics);
    free(folder);
    return status;
}

/* ---- before anything starts ---- */

sella_status sella_collab_fit_check(const sella_settings *settings, const char *name,
                                    const sella_dataset *dataset, sella_err *err)
{
    sella_collab_config config;
    /* said as the setting that it is */
    if (sella_settings_int(settings, "collab.width") > SELLA_COLLAB_WIDTH_MAX) {
        return sella_err_set(err, SELLA_ARG, "collab.width is %lld; expected at most %d",
                             (long long)sella_settings_int(settings, "collab.width"),
                             SELLA_COLLAB_WIDTH_MAX);
    }
    sella_collab_config_of(settings, dataset->train_users, dataset->items, &config);
    return sella_collab_check(name, &config, err);
}

sella_status sella_collab_fit_estimate(const sella_settings *settings, const char *name,
                                       const sella_dataset *dataset, sella_estimate *out,
                                       sella_err *err)
{
    const int64_t rows = dataset->split[SELLA_SPLIT_TRAIN].rows,
                  batch = sella_settings_int(settings, "collab.batch");
    const int64_t epochs = sella_settings_int(settings, "collab.epochs");
    const double likely =
        sella_estimate_epochs(epochs, sella_settings_int(settings, "collab.min_epochs"),
                              sella_settings_int(settings, "collab.patience"), dataset);
    const bool sgd =
        strcmp(name, "mf") == 0 && sella_settings_is(settings, "collab.optimizer", "sgd");
    const int64_t steps = sgd ? 1 : (rows + batch - 1) / batch;
    sella_collab_config config;
    sella_collab_cost cost;
    (void)err;
    sella_collab_config_of(settings, dataset->train_users, dataset->items, &config);
    sella_collab_cost_of(name, &config, &cost);
    out->rows = rows;
    out->steps = steps * epochs;
    out->trainable = cost.parameters;
    out->other_flops = likely * ((double)rows * (sgd ? 6.0 : 3.0) * cost.row_flops +
                                         (double)steps * 3.0 * cost.step_flops +
                                         (sgd ? 0 : (double)steps * 12.0 * (double)out->trainable));
    // value, gradient, two moments (sgd: the packed copy with its padding), best
    out->bytes = (size_t)out->trainable * 5 * sizeof(float) + cost.model_bytes;
    out->bytes += sgd ? (size_t)rows * 20 : 0; // entries, and their order once
    const int64_t queries = rows + dataset->split[SELLA_SPLIT_VALID].rows,
                  most = batch < rows ? batch : rows;
    const int piece = sella_collab_find(name)->piece;
    out->bytes += (size_t)(piece > 0 && piece < most ? piece : most) * cost.row_bytes;
    out->bytes += (size_t)queries * (sizeof(sella_query) + 60);
    /* histories, twice: as mapped and as the model sees them */
    for (int split = 0; split < 2; split++) {
        for (int64_t r = 0; r < dataset->split[split].rows; r++) {
            out->bytes += (size_t)dataset->split[split].history_count_n[r] * 2 * sizeof(int32_t);
        }
    }
    return SELLA_OK;
}

/* ---- scoring ---- */

typedef struct collab_scorer {
    sella_scorer base;
    sella_collab *c;
} collab_scorer;

static sella_status collab_score(sella_scorer *scorer, const sella_query *query_n, int64_t N,
                                 double *logit_n, const sella_talk *talk, sella_err *err)
{
    sella_status status = SELLA_OK;
    collab_scorer *s = (collab_scorer *)scorer;
    sella_collab_rows rows = {0};
    float *z = sella_alloc((size_t)N, sizeof *z, "scores", err);
    (void)talk;
    if (!z) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(
        sella_collab_rows_make(query_n, NULL, N, s->c->config.history_length, true, &rows, err));
    SELLA_TRY(sella_collab_score(s->c, &rows.batch, z, err));
    for (int64_t n = 0; n < N; n++) {
        logit_n[n] = (double)z[n];
    }
done:
    sella_collab_rows_release(&rows);
    free(z);
    return status;
}

static void collab_close(sella_scorer *scorer)
{
    sella_collab_free(((collab_scorer *)scorer)->c);
    free(scorer);
}

static sella_status collab_scan(sella_scorer *scorer, const sella_query *who, const int32_t *item_n,
                                int32_t N, double *logit_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    collab_scorer *s = (collab_scorer *)scorer;
    sella_collab_rows rows = {0};
    float *z = sella_alloc((size_t)N, sizeof *z, "scores", err);
    if (!z) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_collab_rows_make(who, NULL, 1, s->c->config.history_length, false, &rows, err));
    SELLA_TRY(sella_collab_scan(s->c, &rows.batch, item_n, N, z, err));
    for (int32_t n = 0; n < N; n++) {
        logit_n[n] = (double)z[n];
    }
done:
    sella_collab_rows_release(&rows);
    free(z);
    return status;
}

static int32_t collab_history_start(const sella_scorer *scorer, const sella_query *query)
{
    return sella_collab_rows_start(((const collab_scorer *)scorer)->c, query);
}

/* z = b_0 + b_u + b_i + what the model computes. */
static sella_status collab_terms(sella_scorer *scorer, const sella_query *query, double logit,
                                 sella_terms *out, sella_err *err)
{
    const sella_collab *c = ((const collab_scorer *)scorer)->c;
    const sella_param *user = sella_param_find(&c->table, "user.bias"),
                      *item = sella_param_find(&c->table, "item.bias"),
                      *global = sella_param_find(&c->table, "global.bias");
    (void)err;
    *out = (sella_terms){0};
    const double b0 = global ? (double)global->data[0] : 0,
                 bu = user && query->user >= 0 ? (double)user->data[query->user] : 0,
                 bi = item && query->item >= 0 ? (double)item->data[query->item] : 0;
    if (global) {
        sella_terms_add(out, "global bias", b0, 0);
    }
    if (user) {
        sella_terms_add(out, "user bias", bu, 0);
    }
    if (item) {
        sella_terms_add(out, "item bias", bi, 0);
    }
    sella_terms_add(out, c->ops->product ? "user vector x item vector" : "network",
                    logit - b0 - bu - bi, 0);
    return SELLA_OK;
}

static const sella_inside_ops collab_inside = {.history_start = collab_history_start,
                                               .terms = collab_terms};
static const sella_serving_ops collab_serving = {.scan = collab_scan};
static const sella_scorer_ops collab_ops = {collab_score, NULL, collab_close};

sella_status sella_collab_fit_open(const sella_run *run, const char *name, sella_scorer **out,
                                   sella_err *err)
{
    collab_scorer *s = sella_alloc(1, sizeof *s, "a scorer", err);
    if (!s) {
        return SELLA_MEMORY;
    }
    s->base = (sella_scorer){.ops = &collab_ops,
                             .serving = &collab_serving,
                             .inside = &collab_inside,
                             .run = run,
                             .yes_id = -1,
                             .no_id = -1};
    const sella_status status =
        sella_collab_load(run, name, "collab.safetensors", false, &s->c, err);
    if (status != SELLA_OK) {
        free(s);
        return status;
    }
    *out = &s->base;
    return SELLA_OK;
}

/* ---- as a method ---- */

sella_status sella_collab_method_check(const sella_method *method, const sella_settings *settings,
                                       const sella_dataset *dataset, sella_err *err)
{
    return sella_collab_fit_check(settings, method->name, dataset, err);
}

sella_status sella_collab_method_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                          sella_err *err)
{
    return sella_collab_fit_estimate(ask->settings, ask->method->name, ask->dataset, out, err);
}

sella_status sella_collab_method_train(sella_job *job, sella_err *err)
{
    return sella_collab_fit(job, job->run->method, err);
}

sella_status sella_collab_method_open(const sella_run *run, sella_backbone *backbone,
                                      sella_scorer **out, sella_err *err)
{
    (void)backbone;
    return sella_collab_fit_open(run, run->method, out, err);
}
