/* lm_step.c - one optimizer step of a language-model stage (methods/lm_step.h).
 *
 * Easy to get wrong: the loss is the mean over the step's rows, so gradients are divided by that
 * number and not by a batch's; two batches of one step have different dropout, so that their
 * numbers stay apart in the counter.
 */
#include "methods/lm_step.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "eval/metrics.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "kernels/loss.h"

enum { BATCHES_OF_A_STEP = 1024 };

/* What one step is asked for and knows beside the lasting scratch. */
typedef struct work {
    int64_t number;        // of the step, for dropout
    bool backward;
    float *z_n;            // [corpus rows] logits out, or NULL
    sella_refs refs;
    sella_soft soft;
    int64_t *query_n;      // [rows] places in the corpus
    sella_query *copy_n;   // [rows] the queries, adjacent
    int64_t rows;
    float *residual_n;     // [rows] z_cf
    float *dz_n;           // [rows]
    double loss;           // sum so far
    int64_t batches;       // so far
} work;

static int64_t rows_of(const sella_corpus *corpus, int64_t tree)
{
    return corpus->tree_first[tree + 1] - corpus->tree_first[tree];
}

static bool trains(const sella_lm *lm)
{
    return lm->lora && sella_param_total(sella_lora_params(lm->lora), true) > 0;
}

sella_status sella_lm_step_open(sella_lm_step *step, sella_err *err)
{
    sella_status status = SELLA_OK;
    size_t T = (size_t)step->corpus->options.budget, C = (size_t)step->lm->C;
    const sella_pass_options options = {.max_tokens = (int)T,
                                        .backward = true,
                                        .train_lora = trains(step->lm),
                                        .train_soft = step->soft != NULL};
    step->train_adapter = options.train_lora;
    step->first_layer = options.train_lora && !options.train_soft
                            ? sella_lora_settings(step->lm->lora)->first_layer
                            : 0;
    sella_rows_init(&step->rows);
    SELLA_TRY(sella_pass_new(step->lm->backbone, step->lm->lora, &options, &step->pass, err));
    step->answer = sella_alloc(T * C, sizeof *step->answer, "answers", err);
    step->danswer = sella_alloc(T * C, sizeof *step->danswer, "answers", err);
    step->z = sella_alloc(T, sizeof *step->z, "logits", err);
    step->dz = sella_alloc(T, sizeof *step->dz, "logits", err);
    step->model = sella_alloc(T, sizeof *step->model, "logits", err);
    if (!step->answer || !step->danswer || !step->z || !step->dz || !step->model) {
        status = SELLA_MEMORY;
        goto done;
    }
    if (step->first_layer > 0) {
        step->entry = sella_alloc(T * C, sizeof *step->entry, "hidden states", err);
        status = step->entry ? SELLA_OK : SELLA_MEMORY;
    }
    if (step->soft) {
        step->soft_rows = sella_alloc(T * C, sizeof *step->soft_rows, "soft rows", err);
        step->dsoft_rows = sella_alloc(T * C, sizeof *step->dsoft_rows, "soft rows", err);
        status = step->soft_rows && step->dsoft_rows ? SELLA_OK : SELLA_MEMORY;
    }
done:
    if (status != SELLA_OK) {
        sella_lm_step_release(step);
    }
    return status;
}

void sella_lm_step_release(sella_lm_step *step)
{
    sella_pass_free(step->pass);
    sella_rows_release(&step->rows);
    free(step->answer);
    free(step->danswer);
    free(step->entry);
    free(step->soft_rows);
    free(step->dsoft_rows);
    free(step->z);
    free(step->dz);
    free(step->model);
    step->pass = NULL;
    step->answer = step->danswer = step->entry = step->soft_rows = step->dsoft_rows = step->z =
        step->dz = step->model = NULL;
}

static void work_release(work *w)
{
    sella_soft_release(&w->soft);
    sella_refs_release(&w->refs);
    free(w->query_n);
    free(w->copy_n);
    free(w->residual_n);
    free(w->dz_n);
}

/* Render the rows of the trees; row = place among the step's rows. */
static sella_status render(sella_lm_step *step, const int64_t *tree_k, int64_t k, work *w,
                           sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_corpus *corpus = step->corpus;
    for (int64_t t = 0; t < k; t++) {
        w->rows += rows_of(corpus, tree_k[t]);
    }
    w->query_n = sella_alloc((size_t)w->rows, sizeof *w->query_n, "rows of a step", err);
    w->copy_n = sella_alloc((size_t)w->rows, sizeof *w->copy_n, "rows of a step", err);
    w->residual_n = sella_alloc((size_t)w->rows, sizeof *w->residual_n, "rows of a step", err);
    w->dz_n = sella_alloc((size_t)w->rows, sizeof *w->dz_n, "rows of a step", err);
    if (!w->query_n || !w->copy_n || !w->residual_n || !w->dz_n) {
        return SELLA_MEMORY;
    }
    for (int64_t t = 0, at = 0; t < k; t++) {
        for (int64_t i = corpus->tree_first[tree_k[t]]; i < corpus->tree_first[tree_k[t] + 1];
             i++, at++) {
            w->query_n[at] = corpus->order[i];
            w->copy_n[at] = corpus->query_n[corpus->order[i]];
            /* trees of one user stay apart: joined they might be cut elsewhere, and need more than
             * was planned */
            w->copy_n[at].group = (int32_t)t;
        }
    }
    if (step->soft) {
        SELLA_TRY(sella_refs_make(w->copy_n, w->rows, step->soft->refs, &w->refs, err));
    }
    const float *target_n = step->target_n ? step->target_n : corpus->label_n;
    sella_rows_clear(&step->rows);
    for (int64_t r = 0; r < w->rows; r++) {
        int32_t ref[SELLA_SLOTS];
        sella_refs_slots(step->soft ? &w->refs : NULL, r, ref);
        SELLA_TRY(sella_lm_render(step->lm, &w->copy_n[r], ref, r, target_n[w->query_n[r]],
                                  &step->rows, err));
    }
done:
    return status;
}

static sella_param *number_of(const sella_lm_step *step, const char *name)
{
    return step->logit ? sella_param_find(step->logit, name) : NULL;
}

/* dz of z + b without its mean, with the b that minimises BCE(z + b) + b^2 / (2 variance): Newton,
 * the sum is convex. Returns b. */
static double centre(float *dz, const float *z, const float *y, int N)
{
    enum { ROUNDS = 20 };
    double b = 0, mean = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double slope = b / SELLA_BATCH_VARIANCE, curve = 1 / SELLA_BATCH_VARIANCE;
        for (int n = 0; n < N; n++) {
            const double p = sella_sigmoid((double)z[n] + b);
            slope += p - (double)y[n];
            curve += p * (1 - p);
        }
        b -= slope / curve;
    }
    for (int n = 0; n < N; n++) {
        mean += (sella_sigmoid((double)z[n] + b) - (double)y[n]) / (double)N;
    }
    for (int n = 0; n < N; n++) {
        dz[n] = (float)(sella_sigmoid((double)z[n] + b) - (double)y[n] - mean);
    }
    return b;
}

/* The item's share of logit.gain. */
static float factor(const sella_lm_step *step, const work *w, int64_t row)
{
    return step->residual ? sella_vectors_weight(step->v, w->copy_n[row].item) : 1;
}

/* Logits of one batch, their loss, and the gradient on its answers. */
static void logits(sella_lm_step *step, const sella_tree_batch *batch, work *w)
{
    const sella_param *bias = number_of(step, "logit.bias"),
                      *gain = step->residual ? number_of(step, "logit.gain") : NULL;
    const float a = gain ? gain->data[0] : 1;
    const size_t C = (size_t)step->lm->C;
    for (int n = 0; n < batch->N; n++) {
        int64_t row = batch->row_n[n];
        step->model[n] = sella_dot(step->answer + (size_t)n * C, step->lm->direction, step->lm->C);
        step->z[n] = a * factor(step, w, row) * step->model[n] + (bias ? bias->data[0] : 0) +
                     (step->residual ? w->residual_n[row] : 0) +
                     (step->offset_n ? step->offset_n[w->query_n[row]] : 0);
        if (w->z_n) {
            w->z_n[w->query_n[row]] = step->z[n];
        }
    }
    w->loss += sella_bce_forward(step->dz, step->z, batch->label_n, batch->weight_n, batch->N);
    if (!w->backward) {
        return;
    }
    if (step->centre) {
        const double b = centre(step->dz, step->z, batch->label_n, batch->N);
        if (bias) { // no gradient reaches it: it follows the intercepts of the batches
            bias->data[0] += (float)(SELLA_BATCH_FOLLOW * b);
        }
    }
    for (int n = 0; n < batch->N; n++) {
        float dz = step->dz[n] / (float)w->rows;
        w->dz_n[batch->row_n[n]] = dz;
        if (bias && bias->grad) {
            bias->grad[0] += dz;
        }
        const float of_item = factor(step, w, batch->row_n[n]), scale = a * of_item;
        if (gain && gain->grad) {
            gain->grad[0] += dz * of_item * step->model[n];
        }
        for (size_t c = 0; c < C; c++) {
            step->danswer[(size_t)n * C + c] = dz * scale * step->lm->direction[c];
        }
    }
}

static sella_tree_options packing(const sella_corpus *corpus)
{
    return (sella_tree_options){corpus->options.budget, corpus->options.tree_cap,
                                corpus->options.share};
}

/* step->entry: what enters layer K for the tokens of these trees, which stand one behind the other
 * in their batch. index_k: their rows. */
static sella_status enter(sella_lm_step *step, const int64_t *tree_k, int64_t k,
                          const int64_t *index_k, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_corpus *corpus = step->corpus;
    const sella_tree_options options = packing(corpus);
    sella_tree_batch tree = {0};
    float *x = step->entry;
    for (int64_t t = 0; t < k; t++) {
        SELLA_TRY(sella_tree_build(&step->rows, index_k, rows_of(corpus, tree_k[t]), &options,
                                   &tree, err));
        assert(tree.T == corpus->tree_tokens[tree_k[t]]);
        if (!corpus->hidden || !sella_hidden_cache_read(corpus->hidden, tree_k[t], &tree, x)) {
            SELLA_TRY(sella_pass_hidden(step->pass, &tree, step->first_layer, x, err));
            if (corpus->hidden) {
                sella_hidden_cache_write(corpus->hidden, tree_k[t], &tree, x);
            }
        }
        x += (size_t)tree.T * (size_t)step->lm->C;
        index_k += rows_of(corpus, tree_k[t]);
        sella_tree_batch_release(&tree);
    }
done:
    sella_tree_batch_release(&tree);
    return status;
}

/* Trees tree_k [k], whose `rows` rows are index_n. */
static sella_status one_batch(sella_lm_step *step, work *w, const int64_t *tree_k, int64_t k,
                              const int64_t *index_n, int64_t rows, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_tree_batch batch = {0};
    const sella_tree_options options = packing(step->corpus);
    const int64_t at = w->number * BATCHES_OF_A_STEP + w->batches++ % BATCHES_OF_A_STEP,
                  draw = step->dropout && w->backward ? at : -1;
    SELLA_TRY(sella_tree_build(&step->rows, index_n, rows, &options, &batch, err));
    if (batch.M > 0) {
        sella_soft_gather(&w->soft, &batch, step->soft_rows);
    }
    if (step->first_layer > 0) {
        SELLA_TRY(enter(step, tree_k, k, index_n, err));
        SELLA_TRY(sella_pass_forward_from(step->pass, &batch, step->first_layer, step->entry,
                                          step->seed, draw, step->answer, err));
    } else {
        SELLA_TRY(sella_pass_forward(step->pass, &batch, batch.M > 0 ? step->soft_rows : NULL,
                                     step->seed, draw, step->answer, err));
    }
    logits(step, &batch, w);
    if (w->backward && (step->train_adapter || batch.M > 0)) {
        SELLA_TRY(sella_pass_backward(step->pass, step->danswer,
                                      batch.M > 0 ? step->dsoft_rows : NULL, err));
        if (batch.M > 0) {
            sella_soft_scatter(&w->soft, &batch, step->dsoft_rows);
        }
    }
done:
    sella_tree_batch_release(&batch);
    return status;
}

/* Trees to batches of at most the budget, in order. */
static sella_status all_batches(sella_lm_step *step, work *w, const int64_t *tree_k, int64_t k,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_corpus *corpus = step->corpus;
    int64_t *index = sella_alloc((size_t)w->rows, sizeof *index, "rows of a step", err), row = 0;
    if (!index) {
        return SELLA_MEMORY;
    }
    for (int64_t t = 0, end; t < k; t = end) {
        int64_t tokens = 0, rows = 0;
        for (end = t; end < k && (end == t || tokens + corpus->tree_tokens[tree_k[end]] <=
                                                  corpus->options.budget);
             end++) {
            tokens += corpus->tree_tokens[tree_k[end]];
            for (int64_t i = corpus->tree_first[tree_k[end]];
                 i < corpus->tree_first[tree_k[end] + 1]; i++) {
                index[rows++] = row++;
            }
        }
        SELLA_TRY(one_batch(step, w, tree_k + t, end - t, index, rows, err));
    }
done:
    free(index);
    return status;
}

sella_status sella_lm_step_run(sella_lm_step *step, const int64_t *tree_k, int64_t k,
                               int64_t number, bool backward, double *loss, int64_t *rows,
                               float *z_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    work w = {.number = number, .backward = backward, .z_n = z_n};
    double term = 0;
    SELLA_TRY(render(step, tree_k, k, &w, err));
    if (step->soft) {
        SELLA_TRY(sella_soft_make(step->soft, w.copy_n, &w.refs, step->lm->slots, backward, &w.soft,
                                  err));
    }
    if (step->residual) {
        SELLA_TRY(
            sella_vectors_residual(step->v, w.copy_n, w.rows, step->residual, w.residual_n, err));
    }
    SELLA_TRY(all_batches(step, &w, tree_k, k, err));
    if (backward && step->soft) {
        SELLA_TRY(step->soft->ops->term
                      ? step->soft->ops->term(step->soft->self, &w.soft, &term, err)
                      : SELLA_OK);
        SELLA_TRY(sella_soft_backward(&w.soft, err));
    }
    if (backward && step->residual) {
        SELLA_TRY(sella_vectors_residual_backward(step->v, w.copy_n, w.rows, step->residual, w.dz_n,
                                                  err));
    }
    *loss = w.loss / (double)w.rows + term;
    *rows = w.rows;
done:
    work_release(&w);
    return status;
}

/* AUC of z over a set of corpus rows. */
static sella_status auc_of(const sella_corpus *corpus, const int64_t *place_n, int64_t N,
                           const float *z_n, double *auc, sella_err *err)
{
    double *score = sella_alloc((size_t)N, sizeof *score, "scores", err);
    uint8_t *label = sella_alloc((size_t)N, 1, "labels", err);
    sella_status status = score && label ? SELLA_OK : SELLA_MEMORY;
    for (int64_t n = 0; status == SELLA_OK && n < N; n++) {
        int64_t q = place_n ? place_n[n] : n;
        score[n] = sella_sigmoid(z_n[q]);
        label[n] = corpus->label_n[q] > 0.5f;
    }
    if (status == SELLA_OK) {
        *auc = sella_auc(score, label, N, err);
    }
    free(score);
    free(label);
    return status;
}

sella_status sella_lm_step_start(sella_lm_step *step, double label_mean, sella_lm_start *out,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_corpus *corpus = step->corpus;
    const int64_t *tree;
    const int64_t trees = sella_corpus_step(corpus, 0, 0, &tree);
    double loss, mean = 0, mean_residual = 0;
    int64_t at = 0;
    float *z = sella_alloc((size_t)corpus->rows, sizeof *z, "logits", err), *residual = NULL;
    int64_t *place = sella_alloc((size_t)corpus->rows, sizeof *place, "logits", err);
    sella_query *query = sella_alloc((size_t)corpus->rows, sizeof *query, "logits", err);
    if (!z || !place || !query) {
        status = SELLA_MEMORY;
        goto done;
    }
    *out = (sella_lm_start){0};
    SELLA_TRY(sella_lm_step_run(step, tree, trees, 0, false, &loss, &out->rows, z, err));
    for (int64_t t = 0; t < trees; t++) {
        for (int64_t i = corpus->tree_first[tree[t]]; i < corpus->tree_first[tree[t] + 1]; i++) {
            query[at] = corpus->query_n[corpus->order[i]];
            place[at++] = corpus->order[i];
        }
    }
    SELLA_TRY(auc_of(corpus, place, at, z, &out->auc, err));
    if (step->residual) {
        residual = sella_alloc((size_t)at, sizeof *residual, "logits", err);
        if (!residual) {
            status = SELLA_MEMORY;
            goto done;
        }
        SELLA_TRY(sella_vectors_residual(step->v, query, at, step->residual, residual, err));
    }
    for (int64_t n = 0; n < at; n++) {
        mean += z[place[n]] / (double)at;
        mean_residual += residual ? residual[n] / (double)at : 0;
    }
    out->mean_model = mean - mean_residual;
    out->bias = (step->residual ? mean_residual : log(label_mean / (1 - label_mean))) - mean;
done:
    free(z);
    free(residual);
    free(place);
    free(query);
    return status;
}

sella_status sella_lm_step_auc(sella_lm_step *step, sella_corpus *valid, double *auc,
                               sella_err *err)
{
    enum { TREES_AT_ONCE = 64 };
    sella_status status = SELLA_OK;
    sella_corpus *corpus = step->corpus;
    float *z = sella_alloc((size_t)valid->rows, sizeof *z, "logits", err);
    int64_t tree[TREES_AT_ONCE], rows;
    double loss;
    if (!z) {
        return SELLA_MEMORY;
    }
    const float *target = step->target_n, *offset = step->offset_n; // of the rows of train
    step->target_n = step->offset_n = NULL;
    step->corpus = valid;
    for (int64_t t = 0; t < valid->trees;) {
        int64_t k = 0;
        for (; k < TREES_AT_ONCE && t < valid->trees; t++) {
            tree[k++] = t;
        }
        SELLA_TRY(sella_lm_step_run(step, tree, k, 0, false, &loss, &rows, z, err));
    }
    SELLA_TRY(auc_of(valid, NULL, valid->rows, z, auc, err));
done:
    step->corpus = corpus;
    step->target_n = target;
    step->offset_n = offset;
    free(z);
    return status;
}
