/* bench_model.c - bench score and bench train: packed rows without shared prefixes through the pass
 * (engine/bench_part.h).
 *
 * Easy to get wrong: the last decoder layer computes only what the answers need, so that "2 P a
 * token" counts up to one layer of work that is never done: the share is flattered by at most 1 /
 * layers.
 */
#include <math.h>

#include "base/arena.h"
#include "base/rng.h"
#include "data/tree.h"
#include "engine/bench_part.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"

enum {
    ROW_MIN = 105,
    ROW_MAX = 169 /* 137 on average: compact, anchored history of 10 to 19 titles */
};

uint32_t sella_bench_text_below(sella_bench_text *text, uint32_t n)
{
    text->s = text->s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(text->s >> 33) % n;
}

/* ---- the model ---- */

sella_status sella_bench_model_direction(sella_bench_model *model, int32_t yes, int32_t no,
                                         sella_err *err)
{
    sella_status status = SELLA_OK;
    const int32_t label[2] = {yes, no};
    const int C = sella_backbone_shape(model->backbone)->C;
    float *head = sella_alloc(2 * (size_t)C, sizeof *head, "two rows of the head", err);
    if (head == NULL) {
        return SELLA_MEMORY;
    }
    SELLA_TRY(sella_backbone_head(model->backbone, label, 2, head, err));
    for (int c = 0; c < C; c++) {
        model->direction[c] = head[c] - head[C + c];
    }
done:
    free(head);
    return status;
}

static sella_status open_training(sella_bench_model *m, const sella_bench_options *options,
                                  sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lora_config config = {.rank = options->lora_rank,
                                .alpha = 2.0 * options->lora_rank,
                                .first_layer =
                                    strcmp(options->what, "cache") == 0 ? options->first_layer : 0};
    const sella_optimizer_config adam = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1.0};
    SELLA_TRY(sella_lora_targets(options->lora_targets, &config.targets, err));
    SELLA_TRY(sella_lora_new(m->backbone, &config, 1, &m->lora, err));
    sella_param_table *table = sella_lora_params(m->lora);
    SELLA_TRY(sella_optimizer_new(&table, 1, &adam, &m->optimizer, err));
done:
    return status;
}

sella_status sella_bench_model_open(const sella_bench_options *options, bool train,
                                    sella_bench_model *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_weights weights;
    *out = (sella_bench_model){0};
    SELLA_TRY(sella_weights_of(options->weights, &weights, err));
    SELLA_TRY(sella_backbone_open_as(options->model, weights, options->talk, &out->backbone, err));
    if (train) {
        SELLA_TRY(open_training(out, options, err));
    }
    const size_t C = (size_t)sella_backbone_shape(out->backbone)->C,
                 values = (size_t)options->tokens * C;
    out->answer = sella_alloc(values, sizeof *out->answer, "the answers", err);
    out->danswer = sella_alloc(values, sizeof *out->danswer, "the answers", err);
    out->direction = sella_alloc(C, sizeof *out->direction, "two rows of the head", err);
    if (out->answer == NULL || out->danswer == NULL || out->direction == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    /* any two tokens may stand for yes and no */
    SELLA_TRY(sella_bench_model_direction(out, 1, 0, err));
    const sella_pass_options pass = {
        .max_tokens = options->tokens, .backward = train, .train_lora = train};
    SELLA_TRY(sella_pass_new(out->backbone, out->lora, &pass, &out->pass, err));
done:
    return status;
}

void sella_bench_model_release(sella_bench_model *model)
{
    sella_pass_free(model->pass);
    sella_optimizer_free(model->optimizer);
    sella_lora_free(model->lora);
    free(model->answer);
    free(model->danswer);
    free(model->direction);
    sella_backbone_close(model->backbone);
}

sella_status sella_bench_model_pass(sella_bench_model *model, const sella_tree_batch *batch,
                                    bool backward, int64_t rows, float *z_n, sella_err *err)
{
    const sella_status status = sella_pass_forward(model->pass, batch, NULL, 1,
                                                   backward ? model->step : -1, model->answer, err);
    return status == SELLA_OK ? sella_bench_model_answers(model, batch, backward, rows, z_n, err)
                              : status;
}

sella_status sella_bench_model_answers(sella_bench_model *model, const sella_tree_batch *batch,
                                       bool backward, int64_t rows, float *z_n, sella_err *err)
{
    const int C = sella_backbone_shape(model->backbone)->C;
    for (int n = 0; n < batch->N; n++) {
        const size_t at = (size_t)n * (size_t)C;
        const float z = sella_dot(model->answer + at, model->direction, C);
        const float dz = ((float)sella_sigmoid((double)z) - batch->label_n[n]) / (float)rows;
        if (z_n != NULL) {
            z_n[batch->row_n[n]] = z;
        }
        for (int c = 0; backward && c < C; c++) {
            model->danswer[at + (size_t)c] = dz * model->direction[c];
        }
    }
    return backward ? sella_pass_backward(model->pass, model->danswer, NULL, err) : SELLA_OK;
}

/* ---- score and train ---- */

typedef struct model_bench {
    const sella_bench_options *options;
    bool train;
    sella_bench_model model;
    sella_rows rows;
    sella_tree_batch batch;
    float *z_n;              /* [rows] */
    sella_sample *sample_r;  /* [runs] */
    sella_pass_profile profile;
    sella_roof roof;
} model_bench;

sella_status sella_bench_rows(const sella_bench_options *options, int row_tokens, uint32_t V,
                              sella_rows *rows, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int total = options->tokens;
    sella_bench_text text = {2};
    int32_t *token_n = sella_alloc((size_t)total, sizeof *token_n, "the rows measured", err);
    if (token_n == NULL) {
        return SELLA_MEMORY;
    }
    for (int used = 0, row = 0; used < total; row++) {
        int n = row_tokens > 0
                    ? row_tokens
                    : ROW_MIN + (int)sella_bench_text_below(&text, ROW_MAX - ROW_MIN + 1);
        n = n > total - used ? total - used : n;
        for (int i = 0; i < n; i++) {
            token_n[i] = (int32_t)sella_bench_text_below(&text, V);
        }
        SELLA_TRY(
            sella_rows_add(rows, token_n, NULL, n, NULL, row, row, (float)(row % 2), 1.0f, err));
        used += n;
    }
done:
    free(token_n);
    return status;
}

/* The rows measured, packed in one batch. */
static sella_status make_rows(model_bench *b, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_tree_options packed = {.budget = b->options->tokens, .share = false};
    int64_t *index_k = NULL;
    const uint32_t V = (uint32_t)sella_backbone_shape(b->model.backbone)->V;
    SELLA_TRY(sella_bench_rows(b->options, b->options->row_tokens, V, &b->rows, err));
    index_k = sella_alloc((size_t)b->rows.count, sizeof *index_k, "the rows measured", err);
    b->z_n = sella_alloc((size_t)b->rows.count, sizeof *b->z_n, "the rows measured", err);
    if (index_k == NULL || b->z_n == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (int64_t i = 0; i < b->rows.count; i++) {
        index_k[i] = i;
    }
    SELLA_TRY(sella_tree_build(&b->rows, index_k, b->rows.count, &packed, &b->batch, err));
done:
    free(index_k);
    return status;
}

/* One forward pass (score) or one whole step (train). */
static sella_status work_once(model_bench *b, sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(sella_bench_model_pass(&b->model, &b->batch, b->train, b->batch.N, b->z_n, err));
    if (b->train) {
        SELLA_TRY(sella_optimizer_step(b->model.optimizer, 1e-4, -1, NULL, err));
    }
    b->model.step++;
done:
    return status;
}

static double mean_answer(const model_bench *b)
{
    double sum = 0.0;
    for (int n = 0; n < b->batch.N; n++) {
        sum += (double)b->z_n[n];
    }
    return sum / b->batch.N;
}

static void tell_work(model_bench *b, const sella_bench_sink *out)
{
    const double top = sella_roof_rate(&b->roof);
    const double flop =
        (b->train ? 4.0 : 2.0) * (double)sella_backbone_parameters(b->model.backbone);
    const int T = b->batch.T;
    char work[128];
    int used = snprintf(work, sizeof work, "%s%d tokens in %d rows%s",
                        b->train ? "LoRA step, " : "forward pass, ", T, b->batch.N,
                        sella_backbone_stored(b->model.backbone) ? ", stored weights" : "");
    if (b->train && used > 0 && (size_t)used < sizeof work) {
        snprintf(work + used, sizeof work - (size_t)used, ", rank %d on %s", b->options->lora_rank,
                 b->options->lora_targets);
    }
    for (int which = 0; which < 2; which++) {
        const sella_sample took = sella_sample_pick(b->sample_r, b->options->runs, which);
        const double rate = T / took.seconds;
        sella_measurement m = sella_measurement_new("tokens/s", rate, flop * rate / top);
        m.answer = b->train ? NAN : mean_answer(b);
        sella_bench_tell(out, b->options->what, work, which, took, m);
    }
}

/* FLOP of the frozen products of one pass: in the last layer only k and v are computed for every
 * token; backward no layer below the lowest adapter needs the gradient of its input. */
static double products_flop(const model_bench *b, bool backward)
{
    const sella_backbone_config *c = sella_backbone_shape(b->model.backbone);
    const int T = b->batch.T, N = b->batch.N;
    const double kv = 2.0 * (2 * c->G * c->D) * (double)c->C, all = sella_roof_layer(&b->roof, 1);
    const double qkv = 2.0 * b->roof.product[0].N * b->roof.product[0].K;
    const double last = T * kv + N * (all - kv);
    const double below = backward ? (c->layers > 1 ? T * qkv : T * kv + N * (qkv - kv)) : 0.0;
    return (c->layers - 1) * T * all + last - below;
}

static const char *const part_names[SELLA_LAPS] = {
    [SELLA_LAP_PRODUCTS] = "products",   [SELLA_LAP_ATTENTION] = "attention",
    [SELLA_LAP_NORM] = "norms",          [SELLA_LAP_ROPE] = "rope",
    [SELLA_LAP_SWIGLU] = "swiglu",       [SELLA_LAP_ADAPTERS] = "adapters",
    [SELLA_LAP_EMBEDDING] = "embedding", [SELLA_LAP_REST] = "rest",
};

/* Mean seconds of each part over the runs; its rate is its share of the whole. The products' share
 * of the roof counts their own FLOP. */
static void tell_profile(const model_bench *b, const sella_bench_sink *out)
{
    const int runs = b->options->runs;
    const unsigned targets =
        b->model.lora != NULL ? sella_lora_settings(b->model.lora)->targets : 0;
    /* else the lowest layer needs less */
    const bool counted =
        targets & (1u << SELLA_MATRIX_Q | 1u << SELLA_MATRIX_K | 1u << SELLA_MATRIX_V);
    double all = 0.0, rest;
    char work[96];
    for (int r = 0; r < runs; r++) {
        all += b->sample_r[r].seconds;
    }
    rest = all;
    for (int backward = 0; backward < (b->train ? 2 : 1); backward++) {
        for (int p = 0; p < SELLA_LAPS; p++) {
            const double seconds = b->profile.second[backward][p];
            const bool roof = p == SELLA_LAP_PRODUCTS && (!backward || counted) && seconds > 0.0;
            const double share =
                roof ? products_flop(b, backward) * runs / seconds / sella_roof_rate(&b->roof)
                     : NAN;
            snprintf(work, sizeof work, "profile, %s: %s", backward ? "backward" : "forward",
                     part_names[p]);
            sella_bench_tell(out, b->options->what, work, -1, (sella_sample){seconds / runs, NAN},
                             sella_measurement_new("% of time", 100.0 * seconds / all, share));
            rest -= seconds;
        }
    }
    snprintf(work, sizeof work, "profile, %s", b->train ? "loss and optimizer" : "logits");
    sella_bench_tell(out, b->options->what, work, -1, (sella_sample){rest / runs, NAN},
                     sella_measurement_new("% of time", 100.0 * rest / all, NAN));
}

sella_status sella_bench_model_run(const sella_bench_options *options, const sella_bench_sink *out,
                                   sella_err *err)
{
    sella_status status = SELLA_OK;
    model_bench b = {.options = options, .train = strcmp(options->what, "train") == 0};
    sella_rows_init(&b.rows);
    SELLA_TRY(sella_bench_model_open(options, b.train, &b.model, err));
    SELLA_TRY(make_rows(&b, err));
    SELLA_TRY(sella_roof_init(&b.roof, sella_backbone_shape(b.model.backbone), options->tokens,
                              options->runs, err));
    b.sample_r = sella_alloc((size_t)options->runs, sizeof *b.sample_r, "the times", err);
    if (b.sample_r == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(work_once(&b, err)); /* touches every page once */
    sella_pass_profile_into(b.model.pass, options->profile ? &b.profile : NULL);
    for (int run = 0; run < options->runs; run++) {
        SELLA_TRY(sella_bench_stop(options, run, err));
        sella_roof_measure(&b.roof, 3);
        const sella_sample start = sella_sample_now();
        SELLA_TRY(work_once(&b, err));
        b.sample_r[run] = sella_sample_since(start);
    }
    sella_roof_tell(&b.roof, false, out);
    tell_work(&b, out);
    if (options->profile) {
        tell_profile(&b, out);
    }
done:
    sella_bench_model_release(&b.model);
    sella_tree_batch_release(&b.batch);
    sella_rows_release(&b.rows);
    free(b.z_n);
    free(b.sample_r);
    sella_roof_release(&b.roof);
    return status;
}
