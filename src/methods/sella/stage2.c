/* stage2.c - stage 2: collaborative vectors learn to predict and to agree with what the distilled
 * vectors say (methods/sella/stages.h).
 *
 * All train rows, Adam with coupled L2 (REFERENCE 4.4) but on the semantic table; early stopping on
 * the AUC of the collaborative logit on all of valid. Rows of items that train says nothing about
 * are settled before every evaluation and at the end, so that what is judged is what is saved.
 *
 * Paper: section 4.2, eqs (6) to (9): L = L_collab + lambda L_align over user and item tables,
 *        semantic table and Proj.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "eval/metrics.h"
#include "kernels/activation.h"
#include "kernels/loss.h"
#include "methods/init_from.h"
#include "methods/sella/stages.h"
#include "methods/soft.h"
#include "train/deal.h"

typedef struct stage2 {
    sella_job *job;
    sella_vectors v;
    sella_query *query_n;      // [rows] of train
    int64_t rows;
    float *text_n;             // [rows] f, NULL without text.gain
    float target_mean;         // mse: the global mean
    bool mse;
    double align_weight;
    sella_align_config align;
    uint64_t seed;
    sella_deal deal;           // of rows
    int32_t *mark_i;           // [I] place in the step's items + 1
    // valid
    sella_query *valid_n;
    sella_collab_rows valid;
    sella_collab_pass pass;
    int64_t valid_rows;
    float *valid_text, *valid_z;
    double *valid_score;
} stage2;

/* ---- alignment of the step's items ---- */

/* Unique distilled items of the batch: item_b, count returned. */
static int unique_items(stage2 *s, const int64_t *place_n, int64_t N, int32_t *item_b)
{
    int B = 0;
    for (int64_t n = 0; n < N; n++) {
        int32_t item = s->query_n[place_n[n]].item;
        if (!s->mark_i[item] && s->v.distilled_i[item]) {
            s->mark_i[item] = 1;
            item_b[B++] = item;
        }
    }
    for (int b = 0; b < B; b++) {
        s->mark_i[item_b[b]] = 0;
    }
    return B;
}

/* Scratch of one alignment. */
typedef struct aligned {
    int32_t *item_b, *item_k;
    int *positive;
    float *anchor, *danchor, *x, *g, *dg, *dx, *pre, *act, *dpre, *scratch;
} aligned;

static void aligned_release(aligned *a)
{
    float *const all[] = {a->anchor, a->danchor, a->x,   a->g,    a->dg,
                          a->dx,     a->pre,     a->act, a->dpre, a->scratch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free(all[i]);
    }
    free(a->item_b);
    free(a->item_k);
    free(a->positive);
}

static sella_status aligned_init(const stage2 *s, int B, int K, aligned *a, sella_err *err)
{
    const size_t b = (size_t)B, k = (size_t)K, L = (size_t)s->v.L, C = (size_t)s->v.C,
                 h = (size_t)s->v.projection.hidden;
    float **const all[] = {&a->anchor, &a->danchor, &a->x,   &a->g,    &a->dg,
                           &a->dx,     &a->pre,     &a->act, &a->dpre, &a->scratch};
    const size_t size[] = {b * L, b * L, k * C, k * L, k * L,
                           k * C, k * h, k * h, k * h, sella_align_scratch(B, K, s->v.L)};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        *all[i] = sella_alloc(size[i], sizeof(float), "alignment", err);
        if (!*all[i]) {
            return SELLA_MEMORY;
        }
    }
    a->positive = sella_alloc(b, sizeof *a->positive, "alignment", err);
    return a->positive ? SELLA_OK : SELLA_MEMORY;
}

/* Candidates: the step's items, or all distilled items of the catalogue. */
static int candidates(const stage2 *s, const int32_t *item_b, int B, int32_t *item_k)
{
    int K = 0;
    if (s->align.negatives != SELLA_NEGATIVES_ALL) {
        memcpy(item_k, item_b, (size_t)B * sizeof *item_k);
        return B;
    }
    for (int32_t i = 0; i < s->v.items; i++) {
        if (s->v.distilled_i[i]) {
            item_k[K++] = i;
        }
    }
    return K;
}

static sella_status align(stage2 *s, const int64_t *place_n, int64_t N, double *loss,
                          sella_err *err)
{
    sella_status status = SELLA_OK;
    aligned a = {0};
    sella_vectors *v = &s->v;
    sella_param *semantic = &v->semantic.param[0];
    sella_collab_pass pass = {0};
    a.item_b = sella_alloc((size_t)N, sizeof *a.item_b, "alignment", err);
    a.item_k = sella_alloc((size_t)v->items + (size_t)N, sizeof *a.item_k, "alignment", err);
    *loss = 0;
    if (!a.item_b || !a.item_k) {
        status = SELLA_MEMORY;
        goto done;
    }
    const int B = unique_items(s, place_n, N, a.item_b), K = candidates(s, a.item_b, B, a.item_k);
    if (B == 0) {
        goto done;
    }
    SELLA_TRY(aligned_init(s, B, K, &a, err));
    for (int k = 0; k < K; k++) {
        s->mark_i[a.item_k[k]] = k + 1;
    }
    for (int b = 0; b < B; b++) {
        a.positive[b] = s->mark_i[a.item_b[b]] - 1;
    }
    for (int k = 0; k < K; k++) {
        s->mark_i[a.item_k[k]] = 0;
    }
    sella_rows_take(semantic, a.item_b, B, a.anchor);
    const sella_collab_batch items = {.N = K, .item_n = a.item_k, .backward = true};
    SELLA_TRY(sella_collab_vectors(v->collab, &items, &pass, NULL, a.x, err));
    sella_proj_forward(&v->projection, a.g, a.x, K, a.pre, a.act);
    *loss = sella_align_forward_backward(&s->align, a.anchor, a.g, a.positive, B, K, v->L,
                                         semantic->grad ? a.danchor : NULL, a.dg, a.scratch);
    sella_scale(a.dg, (float)s->align_weight, (size_t)K * (size_t)v->L);
    sella_proj_backward(&v->projection, a.dx, a.dg, a.x, K, a.pre, a.act, a.dpre);
    SELLA_TRY(sella_collab_vectors_backward(v->collab, &items, &pass, NULL, a.dx, err));
    if (semantic->grad) {
        sella_scale(a.danchor, (float)s->align_weight, (size_t)B * (size_t)v->L);
        sella_rows_give(semantic, a.item_b, B, a.danchor);
    }
done:
    sella_collab_pass_release(&pass);
    aligned_release(&a);
    return status;
}

/* ---- a step ---- */

/* Share of n logits in the mean loss of N, and its gradient dz. */
static double collab_loss(const stage2 *s, const float *z, const float *y, int n, int64_t N,
                          float *dz)
{
    double loss = 0;
    if (!s->mse) {
        loss = sella_bce_forward(dz, z, y, NULL, n);
        sella_scale(dz, 1.0f / (float)N, (size_t)n);
        return loss / (double)N;
    }
    for (int k = 0; k < n; k++) {
        double error = (double)z[k] + s->target_mean - y[k];
        loss += error * error;
        dz[k] = (float)(2 * error / (double)N);
    }
    return loss / (double)N;
}

/* Rows of a step from `first` on that the model takes at once: z, dz, y and f stand side by side in
 * z [4, N]. */
static sella_status collab_piece(stage2 *s, const sella_collab_batch *piece, const int64_t *place_n,
                                 int64_t N, float *z, double *loss, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_vectors *v = &s->v;
    const uint8_t *label = s->job->dataset->split[SELLA_SPLIT_TRAIN].label_n;
    float *dz = z + N, *y = z + 2 * N, *f = z + 3 * N;
    sella_param *gain = sella_param_find(&v->logit, "text.gain");
    SELLA_TRY(sella_collab_forward(v->collab, piece, &s->pass, z, err));
    for (int n = 0; n < piece->N; n++) {
        y[n] = label[place_n[n]];
        f[n] = s->text_n ? s->text_n[place_n[n]] : 0;
        z[n] += gain ? gain->data[0] * f[n] : 0;
    }
    *loss += collab_loss(s, z, y, piece->N, N, dz);
    SELLA_TRY(sella_collab_backward(v->collab, piece, &s->pass, dz, err));
    for (int n = 0; gain && n < piece->N; n++) {
        gain->grad[0] += dz[n] * f[n];
    }
done:
    return status;
}

static sella_status collab_step(stage2 *s, int64_t step, const int64_t *place_n, int64_t N,
                                double *loss, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_collab_rows rows = {0};
    const int64_t most = s->v.collab->ops->piece > 0 ? s->v.collab->ops->piece : s->deal.batch;
    const int64_t pieces = (s->deal.batch + most - 1) / most;
    float *z = sella_alloc((size_t)N * 4, sizeof *z, "a step", err);
    *loss = 0;
    if (!z) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_vectors_rows(&s->v, s->query_n, place_n, N, true, &rows, err));
    for (int64_t first = 0, k = 0; first < N; first += most, k++) {
        sella_collab_batch piece =
            sella_collab_piece(&rows.batch, (int)first, (int)(N - first < most ? N - first : most));
        piece.backward = piece.dropout = true;
        piece.seed = s->seed;
        piece.number = (uint64_t)(step * pieces + k);
        SELLA_TRY(collab_piece(s, &piece, place_n + first, N, z, loss, err));
    }
done:
    sella_collab_rows_release(&rows);
    free(z);
    return status;
}

static sella_status run_step(void *user, sella_loop_step *at, sella_err *err)
{
    stage2 *s = user;
    sella_status status = SELLA_OK;
    double collab, aligned_loss = 0;
    const int64_t *place_n, N = sella_deal_step(&s->deal, at->epoch, at->index, &place_n);
    SELLA_TRY(collab_step(s, at->step, place_n, N, &collab, err));
    if (s->align_weight > 0) {
        SELLA_TRY(align(s, place_n, N, &aligned_loss, err));
    }
    at->loss = collab + s->align_weight * aligned_loss;
    at->units = (double)N;
    at->record = json_pack("{s:o, s:o}", "loss_collab", sella_json_real(collab), "loss_align",
                           sella_json_real(aligned_loss));
done:
    return status;
}

static sella_status evaluate(void *user, double *metric, json_t **record, sella_err *err)
{
    stage2 *s = user;
    sella_status status = SELLA_OK;
    const sella_split *valid = &s->job->dataset->split[SELLA_SPLIT_VALID];
    sella_figures figures;
    SELLA_TRY(sella_vectors_ready(&s->v, s->job->run, err));
    SELLA_TRY(sella_collab_score(s->v.collab, &s->valid.batch, s->valid_z, err));
    for (int64_t r = 0; r < s->valid_rows; r++) {
        float z =
            s->valid_z[r] +
            (s->valid_text ? sella_vectors_number(&s->v, "text.gain", 0) * s->valid_text[r] : 0);
        s->valid_score[r] = sella_sigmoid(z);
    }
    SELLA_TRY(sella_figures_compute(valid->user_n, valid->label_n, s->valid_score, NULL,
                                    s->valid_rows, &figures, err));
    *metric = figures.auc;
    *record = json_pack("{s:o, s:o}", "auc", sella_json_real(figures.auc), "uauc",
                        sella_json_real(figures.uauc));
done:
    return status;
}

/* ---- the stage ---- */

static sella_status prepare_rows(stage2 *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_dataset *dataset = s->job->dataset;
    const sella_split *train = &dataset->split[SELLA_SPLIT_TRAIN],
                      *valid = &dataset->split[SELLA_SPLIT_VALID];
    sella_collab_rows all = {0};
    size_t items = (size_t)dataset->items, rows = (size_t)train->rows,
           valid_rows = (size_t)valid->rows;
    s->rows = train->rows;
    s->valid_rows = valid->rows;
    s->mark_i = sella_alloc(items, sizeof *s->mark_i, "items of a step", err);
    s->valid_z = sella_alloc(valid_rows, sizeof *s->valid_z, "valid", err);
    s->valid_score = sella_alloc(valid_rows, sizeof *s->valid_score, "valid", err);
    if (!s->mark_i || !s->valid_z || !s->valid_score) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_deal_init(train->rows, sella_settings_int(s->job->settings, "stage2.batch"),
                              s->seed, &s->deal, err));
    SELLA_TRY(sella_lm_queries(dataset, SELLA_SPLIT_TRAIN, NULL, train->rows, &s->query_n, err));
    SELLA_TRY(sella_lm_queries(dataset, SELLA_SPLIT_VALID, NULL, valid->rows, &s->valid_n, err));
    SELLA_TRY(sella_vectors_rows(&s->v, s->valid_n, NULL, valid->rows, true, &s->valid, err));
    SELLA_TRY(sella_collab_prepare_job(s->job, s->v.collab, err));
    double mean = 0;
    for (int64_t r = 0; r < train->rows; r++) {
        mean += train->label_n[r] / (double)train->rows;
    }
    s->target_mean = s->mse ? (float)mean : 0;
    if (s->v.centred) {
        s->text_n = sella_alloc(rows, sizeof *s->text_n, "text features", err);
        s->valid_text = sella_alloc(valid_rows, sizeof *s->valid_text, "text features", err);
        if (!s->text_n || !s->valid_text) {
            status = SELLA_MEMORY;
            goto done;
        }
        SELLA_TRY(sella_vectors_rows(&s->v, s->query_n, NULL, train->rows, true, &all, err));
        sella_vectors_text(&s->v, &all.batch, s->text_n);
        sella_vectors_text(&s->v, &s->valid.batch, s->valid_text);
    }
done:
    sella_collab_rows_release(&all);
    return status;
}

sella_status sella_stage_train_table(sella_param_table *table, const char *prefix, bool trainable,
                                     sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int i = 0; i < table->count && status == SELLA_OK; i++) {
        if (strncmp(table->param[i].name, prefix, strlen(prefix)) == 0) {
            status = sella_param_train(&table->param[i], trainable, err);
        }
    }
    return status;
}

void sella_stage_align_config(const sella_settings *settings, sella_align_config *out)
{
    *out = (sella_align_config){
        .loss = sella_settings_is(settings, "align.loss", "rince") ? SELLA_ALIGN_RINCE
                                                                   : SELLA_ALIGN_INFONCE,
        .negatives = sella_settings_is(settings, "align.negatives", "all") ? SELLA_NEGATIVES_ALL
                     : sella_settings_is(settings, "align.negatives", "matched")
                         ? SELLA_NEGATIVES_MATCHED
                         : SELLA_NEGATIVES_BATCH,
        .both = sella_settings_is(settings, "align.direction", "both"),
        .tau = sella_settings_real(settings, "align.tau"),
        .q = sella_settings_real(settings, "align.q"),
        .lambda = sella_settings_real(settings, "align.lambda")};
}

/* Biases of the control `bias` as a start, with text those of items shrunk towards what the
 * distilled vectors say. */
static sella_status start_biases(stage2 *s, bool with_text, const char *semantic, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_split *train = &s->job->dataset->split[SELLA_SPLIT_TRAIN];
    const sella_interactions rows = {train->rows, train->user_n, train->item_n, train->label_n};
    float *c = NULL;
    if (with_text) {
        SELLA_TRY(sella_vectors_centred(&s->v, semantic, &c, err));
    }
    const sella_item_text text = {c, s->v.L};
    SELLA_TRY(sella_collab_start_biases(s->v.collab, &rows, c ? &text : NULL, err));
done:
    free(c);
    return status;
}

static sella_status prepare(stage2 *s, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_job *job = s->job;
    const sella_settings *settings = job->settings;
    char *semantic = sella_run_file(job->run, "stages/distil/semantic.safetensors");
    if (!semantic) {
        return sella_err_memory(err, "a path", 64);
    }
    s->seed = sella_stage_seed(job->run, "align");
    s->mse = sella_settings_is(settings, "stage2.loss", "mse");
    s->align_weight = sella_settings_is(settings, "ablation", "w/o")
                          ? 0
                          : sella_settings_real(settings, "align.weight");
    sella_stage_align_config(settings, &s->align);
    SELLA_TRY(sella_vectors_init(
        settings, job->run->users, job->run->items, sella_backbone_shape(job->backbone)->C,
        sella_settings_bool(settings, "stage1.intercept"), job->run->seed, &s->v, err));
    SELLA_TRY(sella_vectors_distilled(&s->v, semantic, true, err));
    const bool biases = sella_settings_bool(settings, "collab.bias") &&
                      !sella_settings_is(settings, "stage2.start", "zero") && !s->mse,
               text = sella_settings_is(settings, "stage2.start", "text");
    if (biases && text) {
        /* coupled decay would draw those of items that train never shows, which have no other
         * gradient, back to 0 */
        sella_param_find(&s->v.collab->table, "item.bias")->decay = false;
    }
    if (biases && !job->init_from) {
        SELLA_TRY(start_biases(s, text, semantic, err));
    }
    SELLA_TRY(sella_init_vectors(job, &s->v, err));
    SELLA_TRY(sella_stage_train_table(&s->v.projection.table, "proj.", s->align_weight > 0, err));
    SELLA_TRY(sella_stage_train_table(&s->v.projection.table, "warm.", false, err));
    SELLA_TRY(sella_stage_train_table(
        &s->v.semantic, "semantic.",
        s->align_weight > 0 && sella_settings_bool(settings, "semantic.train"), err));
    SELLA_TRY(sella_stage_train_table(&s->v.logit, "logit.", false, err));
    SELLA_TRY(prepare_rows(s, err));
done:
    free(semantic);
    return status;
}

static sella_status save(stage2 *s, const sella_loop_result *result, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_run *run = s->job->run;
    char *collab = NULL, *projection = NULL;
    json_t *record = sella_stage_record_new("align", result->seconds);
    if (!record) {
        return sella_err_memory(err, "stage 2", 256);
    }
    /* rows of items that train does not name, derived tensors */
    SELLA_TRY(sella_vectors_ready(&s->v, run, err));
    SELLA_TRY(sella_run_place(run, "stages/align/collab.safetensors", &collab, err));
    SELLA_TRY(sella_run_place(run, "stages/align/projection.safetensors", &projection, err));
    SELLA_TRY(sella_vectors_write(&s->v, collab, projection, err));
    sella_stage_record_name(record, false, "backbone");
    sella_stage_record_name(record, false, "adapter");
    sella_stage_record_table(record, &s->v.collab->table);
    sella_stage_record_table(record, &s->v.semantic);
    sella_stage_record_table(record, &s->v.projection.table);
    sella_stage_record_table(record, &s->v.logit);
    json_object_set_new(record, "rows", json_integer(s->rows));
    json_object_set_new(record, "epochs", json_integer(result->epochs));
    json_object_set_new(record, "best_epoch", json_integer(result->best_epoch));
    json_object_set_new(record, "best_valid_auc", sella_json_real(result->best));
    json_object_set_new(record, "loss", sella_json_real(result->last_loss));
    SELLA_TRY(sella_run_stage_finish(run, "align", record, err));
    sella_say(s->job->talk, SELLA_LEVEL_INFO,
              "stage 2: best valid AUC of the collaborative logit %.4f after %lld of %lld epochs",
              result->best, (long long)result->best_epoch, (long long)result->epochs);
done:
    free(collab);
    free(projection);
    json_decref(record);
    return status;
}

static void release(stage2 *s)
{
    sella_vectors_release(&s->v);
    sella_collab_rows_release(&s->valid);
    sella_collab_pass_release(&s->pass);
    sella_deal_release(&s->deal);
    void *const all[] = {s->query_n,    s->text_n,  s->mark_i,     s->valid_n,
                         s->valid_text, s->valid_z, s->valid_score};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free(all[i]);
    }
}

sella_status sella_align_run(sella_job *job, sella_err *err)
{
    sella_status status = SELLA_OK;
    stage2 s = {.job = job};
    sella_loop_result result = {.best = NAN};
    char *checkpoints = NULL, *metrics = NULL;
    const sella_settings *settings = job->settings;
    if (sella_run_stage_done(job->run, "align")) {
        return SELLA_OK;
    }
    SELLA_TRY(prepare(&s, err));
    SELLA_TRY(sella_run_place(job->run, "checkpoints/align", &checkpoints, err));
    SELLA_TRY(sella_run_place(job->run, "metrics.jsonl", &metrics, err));
    sella_param_table *const tables[] = {&s.v.collab->table, &s.v.projection.table, &s.v.semantic,
                                         &s.v.logit};
    const bool valid = s.valid_rows > 0;
    const sella_loop loop = {
        .stage = "align",
        .tables = tables,
        .n = 4,
        .optimizer = {.beta1 = 0.9,
                      .beta2 = 0.999,
                      .eps = 1e-8,
                      .weight_decay = sella_settings_real(settings, "stage2.weight_decay"),
                      .coupled = true},
        .schedule = SELLA_SCHEDULE_CONSTANT,
        .lr = sella_settings_real(settings, "stage2.lr"),
        .epochs = sella_settings_int(settings, "stage2.epochs"),
        .steps_per_epoch = sella_deal_steps(&s.deal),
        .units_per_epoch = (double)s.rows,
        .unit = "rows",
        .run_step = run_step,
        .evaluate = valid ? evaluate : NULL,
        .evaluate_every = valid,
        .patience = sella_settings_int(settings, "stage2.patience"),
        .keep_best = valid,
        .checkpoint_dir = checkpoints,
        .checkpoint_seconds = sella_settings_real(settings, "checkpoint.seconds"),
        .metrics_path = metrics,
        .talk = job->talk,
        .user = &s};
    if (!valid) {
        sella_say(
            job->talk, SELLA_LEVEL_WARN,
            "stage 2: no valid split to stop early on; all %lld epochs are run (stage2.epochs)",
            (long long)loop.epochs);
    }
    SELLA_TRY(sella_loop_run(&loop, &result, err));
    SELLA_TRY(save(&s, &result, err));
    SELLA_TRY(sella_path_remove(checkpoints, err));
done:
    free(checkpoints);
    free(metrics);
    release(&s);
    return status;
}
