/* binllm.c - binary codes of users and items as text in the prompt.
 *
 *     stage "codes"    h_u, h_i in {-1, +1}^C by matrix factorisation with signs
 *                      (collab/binary_mf.h), min BCE(y, sigmoid(h_u . h_i)); the epoch with the
 *                      best AUC of the signs on valid
 *     stage "binllm"   min over Theta of BCE(y, sigmoid(z)), codes as text in the slots; Theta
 *                      from stage 1 (lora.start)
 *
 * Rows that train does not name get the mean of those that it does, before every evaluation; users
 * and items that are no row of the tables have the code of the mean of all rows.
 *
 * Paper: section 5.1; Zhang et al. 2024; REFERENCE 5.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "collab/binary_mf.h"
#include "data/template.h"
#include "eval/metrics.h"
#include "kernels/activation.h"
#include "kernels/loss.h"
#include "methods/collab_fit.h"
#include "methods/features.h"
#include "methods/tensor_file.h"
#include "train/deal.h"

/* ---- codes ---- */

typedef struct coding {
    const sella_job *job;
    sella_binary_mf model;
    double anneal;
    uint64_t seed;
    sella_deal deal;             // of all rows of train
    uint8_t *seen_u, *seen_i;    // [U], [I] 1: a row of train names it
    int32_t *user_n, *item_n;    // [batch]
    float *kept, *z, *dz, *y;    // of a batch
    int64_t valid_rows;
    sella_query *valid_n;
    int32_t *valid_pool;
    uint8_t *valid_label, *user_bit, *item_bit;
    double *valid_score;
} coding;

/* h_u . h_i by the codes of a model; rows behind the last: users and items without a row. */
static double product(const uint8_t *user_bit, const uint8_t *item_bit, int C)
{
    int equal = 0;
    for (int c = 0; c < C; c++) {
        equal += user_bit[c] == item_bit[c];
    }
    return 2.0 * equal - C;
}

static sella_status run_step(void *user, sella_loop_step *at, sella_err *err)
{
    coding *f = user;
    const sella_split *train = &f->job->dataset->split[SELLA_SPLIT_TRAIN];
    const int64_t *row;
    const int64_t N = sella_deal_step(&f->deal, at->epoch, at->index, &row);
    (void)err;
    for (int64_t n = 0; n < N; n++) {
        const int64_t r = row[n];
        f->user_n[n] = train->user_n[r];
        f->item_n[n] = train->item_n[r];
        f->y[n] = train->label_n[r] ? 1.0f : 0.0f;
    }
    const double beta = f->anneal * (double)(at->epoch / 2);
    const sella_binary_batch batch = {.N = (int)N,
                                      .user_n = f->user_n,
                                      .item_n = f->item_n,
                                      .beta = beta < 1 ? beta : 1,
                                      .seed = f->seed,
                                      .number = (uint32_t)at->step};
    sella_binary_mf_forward(&f->model, &batch, f->kept, f->z);
    at->loss = sella_bce_forward(f->dz, f->z, f->y, NULL, (int)N) / (double)N;
    at->units = (double)N;
    sella_scale(f->dz, 1.0f / (float)N, (size_t)N);
    sella_binary_mf_backward(&f->model, &batch, f->kept, f->dz);
    return SELLA_OK;
}

static sella_status evaluate(void *user, double *metric, json_t **record, sella_err *err)
{
    sella_status status = SELLA_OK;
    coding *f = user;
    const size_t C = (size_t)f->model.C;
    (void)record;
    sella_binary_mf_settle(&f->model, f->seen_u, f->seen_i);
    SELLA_TRY(sella_binary_mf_codes(&f->model, f->user_bit, f->item_bit, err));
    for (int64_t n = 0; n < f->valid_rows; n++) {
        const int32_t u = f->valid_n[n].user < 0 ? f->model.users : f->valid_n[n].user,
                      i = f->valid_n[n].item < 0 ? f->model.items : f->valid_n[n].item;
        f->valid_score[n] =
            product(f->user_bit + (size_t)u * C, f->item_bit + (size_t)i * C, f->model.C);
    }
    *metric = sella_auc(f->valid_score, f->valid_label, f->valid_rows, err);
done:
    return status;
}

static sella_status prepare_valid(coding *f, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = f->job;
    const size_t C = (size_t)f->model.C;
    int64_t *index = NULL;
    SELLA_TRY(sella_sample_rows(job->eval_rows, SELLA_EVAL_RUN, job->run->seed, job->dataset,
                                SELLA_SPLIT_VALID, &index, &f->valid_rows, err));
    SELLA_TRY(sella_queries_from_split(job->run, job->dataset, SELLA_SPLIT_VALID, index,
                                       f->valid_rows, &f->valid_n, &f->valid_pool, err));
    f->valid_label = sella_alloc((size_t)f->valid_rows, 1, "valid rows", err);
    f->valid_score = sella_alloc((size_t)f->valid_rows, sizeof *f->valid_score, "valid rows", err);
    f->user_bit = sella_alloc(((size_t)f->model.users + 1) * C, 1, "codes", err);
    f->item_bit = sella_alloc(((size_t)f->model.items + 1) * C, 1, "codes", err);
    if (!f->valid_label || !f->valid_score || !f->user_bit || !f->item_bit) {
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

static sella_status prepare(coding *f, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = f->job;
    const sella_split *train = &job->dataset->split[SELLA_SPLIT_TRAIN];
    f->anneal = sella_settings_real(job->settings, "binllm.anneal");
    SELLA_TRY(sella_deal_init(train->rows, sella_settings_int(job->settings, "collab.batch"),
                              f->seed, &f->deal, err));
    const size_t n = (size_t)f->deal.batch;
    f->seen_u = sella_alloc((size_t)job->run->users, 1, "users of train", err);
    f->seen_i = sella_alloc((size_t)job->run->items, 1, "items of train", err);
    f->user_n = sella_alloc(n, sizeof *f->user_n, "a batch", err);
    f->item_n = sella_alloc(n, sizeof *f->item_n, "a batch", err);
    f->kept =
        sella_alloc(sella_binary_mf_scratch(&f->model, (int)n), sizeof *f->kept, "a batch", err);
    f->z = sella_alloc(n, sizeof *f->z, "a batch", err);
    f->dz = sella_alloc(n, sizeof *f->dz, "a batch", err);
    f->y = sella_alloc(n, sizeof *f->y, "a batch", err);
    if (!f->seen_u || !f->seen_i || !f->user_n || !f->item_n || !f->kept || !f->z || !f->dz ||
        !f->y) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t r = 0; r < train->rows; r++) {
        f->seen_u[train->user_n[r]] = 1;
        f->seen_i[train->item_n[r]] = 1;
    }
    SELLA_TRY(job->dataset->split[SELLA_SPLIT_VALID].rows > 0 ? prepare_valid(f, err) : SELLA_OK);
done:
    return status;
}

static void coding_release(coding *f)
{
    void *const all[] = {f->seen_u,      f->seen_i,      f->user_n,   f->item_n,  f->kept,
                         f->z,           f->dz,          f->y,        f->valid_n, f->valid_pool,
                         f->valid_label, f->valid_score, f->user_bit, f->item_bit};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
    sella_deal_release(&f->deal);
    sella_binary_mf_release(&f->model);
}

static sella_status save(coding *f, const char *path, const sella_loop_result *result,
                         sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_param_table *const tables[] = {&f->model.table};
    json_t *record = sella_stage_record_new("codes", result->seconds);
    if (!record) {
        return sella_err_memory(err, "done.json", 256);
    }
    sella_binary_mf_settle(&f->model, f->seen_u, f->seen_i);
    SELLA_TRY(sella_tensors_write(path, tables, 1, err));
    sella_stage_record_table(record, &f->model.table);
    json_object_set_new(record, "rows", json_integer(f->deal.rows));
    json_object_set_new(record, "epochs", json_integer(result->epochs));
    json_object_set_new(record, "best_epoch", json_integer(result->best_epoch));
    json_object_set_new(record, "loss", sella_json_real(result->last_loss));
    json_object_set_new(record, "best_valid_auc", sella_json_real(result->best));
    SELLA_TRY(sella_run_stage_finish(f->job->run, "codes", record, err));
done:
    json_decref(record);
    return status;
}

static sella_status init_model(const sella_run *run, uint64_t seed, sella_binary_mf *model,
                               sella_err *err)
{
    return sella_binary_mf_init(
        run->users, run->items, (int)sella_settings_int(run->settings, "collab.width"),
        sella_settings_real(run->settings, "collab.init"), seed, model, err);
}

/* Stage "codes", leaving stages/codes/collab.safetensors. */
static sella_status learn_codes(const sella_job *job, const char *path, sella_err *err)
{
    sella_status status = SELLA_OK;
    coding f = {.job = job, .seed = sella_stage_seed(job->run, "codes")};
    sella_loop_result result;
    char *checkpoints = NULL, *metrics = sella_run_file(job->run, "metrics.jsonl");
    if (!metrics) {
        return sella_err_memory(err, "a path", 32);
    }
    SELLA_TRY(init_model(job->run, f.seed, &f.model, err));
    SELLA_TRY(prepare(&f, err));
    SELLA_TRY(sella_run_place(job->run, "checkpoints/codes", &checkpoints, err));
    sella_param_table *const tables[] = {&f.model.table};
    sella_loop loop = sella_collab_loop(job, "codes", checkpoints, metrics);
    loop.tables = tables;
    loop.n = 1;
    loop.steps_per_epoch = sella_deal_steps(&f.deal);
    loop.units_per_epoch = (double)f.deal.rows;
    loop.run_step = run_step;
    loop.evaluate = f.valid_rows > 0 ? evaluate : NULL;
    loop.user = &f;
    SELLA_TRY(sella_loop_run(&loop, &result, err));
    SELLA_TRY(save(&f, path, &result, err));
    sella_say(job->talk, SELLA_LEVEL_INFO,
              "codes: AUC of the codes alone %.4f on valid, epoch %lld", result.best,
              (long long)result.best_epoch);
    SELLA_TRY(sella_path_remove(checkpoints, err));
done:
    coding_release(&f);
    free(checkpoints);
    free(metrics);
    return status;
}

/* ---- codes in the prompt ---- */

typedef struct coder {
    sella_binary_mf model;
    bool dotted;
} coder;

static sella_status encode(const void *self, sella_codes *out, sella_err *err)
{
    const coder *c = self;
    const size_t C = (size_t)c->model.C;
    uint8_t *user_bit = sella_alloc(((size_t)c->model.users + 1) * C, 1, "codes", err);
    uint8_t *item_bit = sella_alloc(((size_t)c->model.items + 1) * C, 1, "codes", err);
    sella_status status = SELLA_MEMORY;
    if (user_bit && item_bit) {
        status = sella_binary_mf_codes(&c->model, user_bit, item_bit, err);
    }
    if (status == SELLA_OK) {
        status = sella_codes_make(user_bit, c->model.users, item_bit, c->model.items, c->model.C,
                                  c->dotted, out, err);
    }
    free(user_bit);
    free(item_bit);
    return status;
}

static bool dotted(const sella_settings *settings)
{
    return sella_settings_is(settings, "binllm.code", "dotted");
}

static sella_features features_of(coder *c)
{
    return (sella_features){.stage = "binllm",
                            .train_adapter = true,
                            .encode = encode,
                            .coder = c,
                            .collab = &c->model.table};
}

static sella_status binllm_train(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    coder c = {.dotted = dotted(job->settings)};
    char *path = NULL;
    sella_param_table *const tables[] = {&c.model.table};
    SELLA_TRY(sella_features_begin(job, true, err));
    SELLA_TRY(sella_run_place(job->run, "stages/codes/collab.safetensors", &path, err));
    SELLA_TRY(sella_run_stage_done(job->run, "codes") ? SELLA_OK : learn_codes(job, path, err));
    SELLA_TRY(init_model(job->run, 0, &c.model, err));
    SELLA_TRY(sella_stage_train_table(&c.model.table, "", false, err));
    SELLA_TRY(sella_tensors_read(path, tables, 1, err));
    sella_features features = features_of(&c);
    SELLA_TRY(sella_features_train(job, &features, err));
done:
    sella_binary_mf_release(&c.model);
    free(path);
    return status;
}

static sella_status binllm_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out,
                                sella_err *err)
{
    coder c = {.dotted = dotted(run->settings)};
    sella_status status = init_model(run, 0, &c.model, err);
    if (status == SELLA_OK) {
        sella_features features = features_of(&c);
        status = sella_features_open(run, backbone, &features, out, err);
    }
    sella_binary_mf_release(&c.model);
    return status;
}

static sella_status binllm_check(const sella_method *method, const sella_settings *settings,
                                 const sella_dataset *dataset, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_template *tmpl = NULL;
    const int64_t width = sella_settings_int(settings, "collab.width");
    if (width > SELLA_CODE_BITS_MAX) {
        return sella_err_set(err, SELLA_ARG,
                             "collab.width is %lld; expected at most %d bits for binllm",
                             (long long)width, SELLA_CODE_BITS_MAX);
    }
    if (dotted(settings) && width % 8 != 0) {
        return sella_err_set(err, SELLA_ARG,
                             "collab.width is %lld; binllm.code=dotted needs a multiple of 8",
                             (long long)width);
    }
    SELLA_TRY(sella_template_open(sella_settings_text(settings, "template"), &tmpl, err));
    SELLA_TRY(sella_template_check_codes(tmpl, err));
    SELLA_TRY(sella_features_check(method, settings, dataset, err));
done:
    sella_template_free(tmpl);
    return status;
}

/* Codes that are not learnt yet: drawn ones have the same lengths. */
static sella_status drawn_codes(const sella_estimate_ask *ask, sella_codes *out, sella_err *err)
{
    const sella_settings *settings = ask->settings;
    const sella_dataset *dataset = ask->dataset;
    const int width = (int)sella_settings_int(settings, "collab.width");
    const size_t users = ((size_t)dataset->train_users + 1) * (size_t)width,
                 all = users + ((size_t)dataset->items + 1) * (size_t)width;
    const sella_rng rng = {.seed = ask->seed, .stream = SELLA_STREAM_ANNEAL};
    uint8_t *bit = sella_alloc(all, 1, "codes", err);
    if (!bit) {
        return SELLA_MEMORY;
    }
    for (size_t i = 0; i < all; i++) {
        bit[i] = sella_rng_uniform(&rng, i) < 0.5f;
    }
    const sella_status status = sella_codes_make(bit, dataset->train_users, bit + users,
                                                 dataset->items, width, dotted(settings), out, err);
    free(bit);
    return status;
}

static sella_status binllm_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                    sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_dataset *dataset = ask->dataset;
    sella_codes codes = {0};
    const double rows = (double)dataset->split[SELLA_SPLIT_TRAIN].rows,
                 C = (double)sella_settings_int(ask->settings, "collab.width"),
                 epochs = (double)sella_settings_int(ask->settings, "collab.epochs"),
                 batch = (double)sella_settings_int(ask->settings, "collab.batch");
    const double steps = epochs * (double)(int64_t)((rows + batch - 1) / batch),
                 values = ((double)dataset->train_users + dataset->items) * C + 2 * C * (C + 1);
    const sella_stage_plan plan = {
        .tokens = 1, .refs = SELLA_REFS_USER, .codes = &codes, .adapter = true};
    const sella_stage_choice stages = {.stage1 = sella_features_stage1(ask->settings, true),
                                       .features = &plan};
    SELLA_TRY(drawn_codes(ask, &codes, err));
    SELLA_TRY(sella_stages_estimate(ask, &stages, out, err));
    out->steps += (int64_t)steps;
    out->trainable += (int64_t)values;
    out->other_flops += epochs * rows * (12 * C * C + 40 * C) + steps * 12 * values;
    out->bytes += (size_t)(values * 5 + batch * C * 6) * sizeof(float) + (size_t)(rows * 8);
done:
    sella_codes_release(&codes);
    return status;
}

#define CODE_SETTINGS                                                                              \
    "collab.width=32", "collab.lr=1e-2", "collab.weight_decay=1e-3", "collab.batch=2048",          \
        "collab.patience=100"

static const char *const paper[] = {SELLA_PAPER_STAGE1,
                                    CODE_SETTINGS,
                                    "collab.epochs=5000",
                                    "collab.init=1",
                                    "binllm.anneal=0.001",
                                    "lora.start=stage1",
                                    "stage3.lr=1e-4",
                                    "stage3.weight_decay=1e-3",
                                    NULL};
static const char *const usual[] = {CODE_SETTINGS,
                                    "collab.epochs=1000",
                                    "collab.init=0.1",
                                    "binllm.anneal=0.001",
                                    "lora.start=stage1",
                                    "stage3.lr=5e-4",
                                    NULL};

const sella_method sella_method_binllm = {
    .name = "binllm",
    .help = "learnt binary codes of users and items as text in the prompt, and an adapter that "
            "reads them",
    .needs_model = true,
    .reuses = true,
    .preset_paper = paper,
    .preset_default = usual,
    .check = binllm_check,
    .estimate = binllm_estimate,
    .train = binllm_train,
    .open = binllm_open,
};
