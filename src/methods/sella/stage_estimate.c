/* stage_estimate.c - rows, tokens, steps, parameters, work and memory of the stages, from headers
 * and titles alone (methods/sella/stages.h).
 *
 * Tokens are exact: the same plans are made as in training. Work: 2 P a token forward, 4 P with the
 * adapter's backward, 4 P with soft rows' backward (P: weights outside the embeddings); layers
 * below an adapter 2, once when what they give is kept. Recomputation and attention are in the
 * share of the product rate that methods/estimate.c assumes.
 */
#include <math.h>
#include <stdlib.h>

#include "methods/estimate.h"
#include "methods/lm_stage.h"
#include "methods/sella/stages.h"

typedef struct figures {
    const sella_estimate_ask *ask;
    const sella_stage_choice *stages;
    sella_estimate *out;
    sella_backbone_config shape;
    sella_lora_config lora;
    sella_tokenizer *tokenizer;
    double token_flops;
    size_t pass_bytes; // largest of the stages
} figures;

/* Rows of a split, packed as a stage packs them: of one epoch. */
typedef struct packed {
    int64_t rows, tokens, steps, trees;
} packed;

static void pass_of(figures *f, int tokens, bool lora_trained, bool soft_trained)
{
    const sella_pass_options options = {.max_tokens = tokens,
                                        .backward = lora_trained || soft_trained,
                                        .train_lora = lora_trained,
                                        .train_soft = soft_trained};
    size_t bytes = sella_pass_bytes(&f->shape, &f->lora, &options) +
                   (size_t)tokens * (size_t)f->shape.C * sizeof(float) * 5;
    f->pass_bytes = bytes > f->pass_bytes ? bytes : f->pass_bytes;
}

/* For planning: without a backbone. */
static sella_status open_lm(const figures *f, sella_slot_set slots, sella_lm *out, sella_err *err)
{
    const sella_dataset *dataset = f->ask->dataset;
    return sella_lm_open(f->ask->settings, sella_settings_text(f->ask->settings, "template"), NULL,
                         f->tokenizer, dataset->title, dataset->items, dataset->noun, slots, out,
                         err);
}

/* Plan the rows of a split as a stage does. features NULL: prompts of titles alone. */
static sella_status plan(const figures *f, sella_split_id split, const sella_stage_plan *features,
                         const sella_corpus_options *options, packed *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const bool train = split == SELLA_SPLIT_TRAIN;
    const sella_dataset *dataset = f->ask->dataset;
    sella_lm lm = {0};
    sella_corpus corpus = {0};
    int64_t *index = NULL, k;
    SELLA_TRY(open_lm(f, features ? features->slots : 0, &lm, err));
    lm.tokens = features ? features->tokens : 1;
    SELLA_TRY(sella_lm_codes(&lm, features ? features->codes : NULL, err));
    SELLA_TRY(sella_sample_rows(
        train ? f->ask->train_rows : f->ask->eval_rows,
        train ? sella_settings_int(f->ask->settings, "train.run") : SELLA_EVAL_RUN, f->ask->seed,
        dataset, split, &index, &k, err));
    SELLA_TRY(sella_corpus_open(&lm, dataset, split, index, k, options, &corpus, err));
    *out = (packed){corpus.rows, corpus.tokens, corpus.steps, corpus.trees};
done:
    sella_corpus_release(&corpus);
    sella_lm_release(&lm);
    free(index);
    return status;
}

static int64_t adapter_parameters(const figures *f)
{
    int64_t layers = f->shape.layers - f->lora.first_layer, sum = 0;
    for (int m = 0; m < SELLA_MATRICES; m++) {
        int out, in;
        sella_matrix_shape(&f->shape, (sella_matrix)m, &out, &in);
        sum += f->lora.targets & 1u << m ? (int64_t)out + in : 0;
    }
    return layers > 0 ? layers * f->lora.rank * sum : 0;
}

/* Forward and backward of `epochs` passes over packed rows; prompts: of tokens alone, for an
 * adapter. */
static void train_tokens(figures *f, const packed *rows, double epochs, bool prompts)
{
    const bool frozen = prompts && f->lora.first_layer < f->shape.layers;
    const double below = frozen ? (double)f->lora.first_layer / (double)f->shape.layers : 0;
    const bool kept = below > 0 && sella_lm_stage_keeps(f->ask->settings, (int64_t)ceil(epochs));
    f->out->model_flops += f->token_flops * (double)rows->tokens *
                           (below * (kept ? fmin(epochs, 1) : epochs) + 2 * (1 - below) * epochs);
    const uint64_t bytes = kept ? sella_hidden_bytes(f->shape.C, rows->trees, rows->tokens) : 0;
    f->out->cache_bytes = bytes > f->out->cache_bytes ? bytes : f->out->cache_bytes;
}

/* Scoring valid every `every` steps, packed as the stage packs. */
static sella_status evaluations(figures *f, int64_t every, double steps,
                                const sella_stage_plan *features,
                                const sella_corpus_options *options, sella_err *err)
{
    packed valid;
    if (every <= 0 || f->ask->dataset->split[SELLA_SPLIT_VALID].rows == 0) {
        return SELLA_OK;
    }
    const sella_status status = plan(f, SELLA_SPLIT_VALID, features, options, &valid, err);
    const double times = floor(steps / (double)every);
    if (status == SELLA_OK) {
        f->out->tokens += (int64_t)((double)valid.tokens * times);
        f->out->model_flops += f->token_flops * (double)valid.tokens * times;
    }
    return status;
}

/* Stage 1. */
static sella_status title_stage(figures *f, sella_err *err)
{
    const sella_settings *settings = f->ask->settings;
    const int64_t epochs = sella_settings_int(settings, "stage1.epochs");
    const sella_corpus_options options =
        sella_lm_stage_packing(settings, "stage1", SELLA_REFS_USER, 0);
    packed train;
    sella_status status = plan(f, SELLA_SPLIT_TRAIN, NULL, &options, &train, err);
    if (status == SELLA_OK) {
        f->out->rows = train.rows;
        f->out->steps += train.steps * epochs;
        f->out->tokens += train.tokens * epochs;
        train_tokens(f, &train, (double)epochs, true);
        pass_of(f, options.budget, true, false);
        status = evaluations(f, sella_settings_int(settings, "stage1.evaluate"),
                             (double)(train.steps * epochs), NULL, &options, err);
    }
    f->out->stage1_flops = f->out->model_flops;
    f->out->stage1_tokens = f->out->tokens;
    return status;
}

/* The stage with features in the prompt. */
static sella_status feature_stage(figures *f, sella_err *err)
{
    const sella_settings *settings = f->ask->settings;
    const sella_stage_plan *features = f->stages->features;
    const int64_t most = sella_settings_int(settings, "stage3.steps"),
                  vectors = features->width_rows * f->shape.C;
    const sella_corpus_options options =
        sella_lm_stage_packing(settings, "stage3", features->refs, 0);
    packed train;
    sella_status status = plan(f, SELLA_SPLIT_TRAIN, features, &options, &train, err);
    if (status == SELLA_OK) {
        const double epochs = most >= 0 ? (double)most / (double)(train.steps > 0 ? train.steps : 1)
                                        : (double)sella_settings_int(settings, "stage3.epochs");
        f->out->rows = train.rows;
        f->out->steps += (int64_t)((double)train.steps * epochs + 0.5);
        f->out->tokens += (int64_t)((double)train.tokens * epochs);
        train_tokens(f, &train, epochs, features->adapter && !features->soft);
        f->out->trainable += vectors;
        f->out->bytes += (size_t)vectors * 5 * sizeof(float); // value, gradient, two moments, best
        pass_of(f, options.budget, features->adapter, features->soft);
        status = evaluations(f, sella_settings_int(settings, "stage3.evaluate"),
                             (double)train.steps * epochs, features, &options, err);
    }
    return status;
}

/* Each row of a split once, forward alone. */
static sella_status score_split(figures *f, sella_split_id split, const sella_stage_plan *features,
                                packed *out, sella_err *err)
{
    const sella_corpus_options options = {
        .budget = (int)sella_settings_int(f->ask->settings, "eval.tokens"),
        .share = true,
        .refs = features ? features->refs : SELLA_REFS_USER,
        .batch = 1};
    const sella_status status = plan(f, split, features, &options, out, err);
    if (status == SELLA_OK) {
        f->out->tokens += out->tokens;
        f->out->model_flops += f->token_flops * (double)out->tokens;
        pass_of(f, options.budget, false, false);
    }
    return status;
}

static sella_status language_stages(figures *f, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_stage_choice *stages = f->stages;
    const sella_settings *settings = f->ask->settings;
    packed rows;
    SELLA_TRY(stages->stage1 ? title_stage(f, err) : SELLA_OK);
    SELLA_TRY(stages->features ? feature_stage(f, err) : SELLA_OK);
    if (stages->stage1 || (stages->features && stages->features->adapter)) {
        f->out->trainable += adapter_parameters(f);
    }
    if (stages->stage1 || stages->features) {
        f->out->trainable += sella_settings_bool(settings, "stage1.intercept");
    }
    if (stages->text) {
        SELLA_TRY(score_split(f, SELLA_SPLIT_TRAIN, NULL, &rows, err));
        f->out->rows = rows.rows;
        f->out->bytes += (size_t)rows.rows * (size_t)f->shape.C * 2 * sizeof(float);
    }
    const bool valid = !stages->text && f->ask->dataset->split[SELLA_SPLIT_VALID].rows > 0;
    if (valid && sella_settings_is(settings, "score", "model")) {
        SELLA_TRY(score_split(f, SELLA_SPLIT_VALID, stages->features, &rows, err));
    }
done:
    return status;
}

static sella_status distillation(figures *f, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_estimate_ask *ask = f->ask;
    const sella_dataset *dataset = ask->dataset;
    sella_lm lm = {0};
    sella_rows rows;
    uint8_t *wanted = NULL;
    int32_t count;
    const int wording = sella_settings_is(ask->settings, "distil.wording", "eol");
    sella_rows_init(&rows);
    SELLA_TRY(sella_distil_wanted(ask->settings, ask->seed, dataset, ask->train_rows,
                                  ask->eval_rows, &wanted, &count, err));
    SELLA_TRY(open_lm(f, 0, &lm, err));
    for (int32_t i = 0; i < dataset->items; i++) {
        if (wanted[i]) {
            sella_rows_clear(&rows);
            SELLA_TRY(sella_prompt_distil(lm.prompter, i, wording, &rows, err));
            f->out->tokens += rows.start[1];
            f->out->model_flops += f->token_flops * (double)rows.start[1];
        }
    }
    pass_of(f, (int)sella_settings_int(ask->settings, "eval.tokens"), false, false);
done:
    sella_rows_release(&rows);
    sella_lm_release(&lm);
    free(wanted);
    return status;
}

/* Tables, projections and their training. */
static void alignment(figures *f)
{
    const sella_estimate_ask *ask = f->ask;
    const sella_settings *settings = ask->settings;
    const double I = ask->dataset->items,
                 C = (double)sella_settings_int(settings, "collab.width"), L = f->shape.C;
    const double hidden = (double)sella_settings_int(settings, "proj.hidden"),
                 rows = (double)ask->dataset->split[SELLA_SPLIT_TRAIN].rows;
    const double batch = (double)sella_settings_int(settings, "stage2.batch"),
                 passes = (double)(int64_t)((rows + batch - 1) / batch);
    const int64_t epochs = sella_settings_int(settings, "stage2.epochs");
    const double likely = sella_estimate_epochs(
        epochs, 0, sella_settings_int(settings, "stage2.patience"), ask->dataset);
    const double unique = sella_settings_is(settings, "align.negatives", "all") ? I
                          : batch < I                                           ? batch * 0.6
                                                                                : I;
    sella_collab_config config;
    sella_collab_cost cost;
    sella_collab_config_of(settings, ask->dataset->train_users, ask->dataset->items, &config);
    sella_collab_cost_of(sella_settings_text(settings, "collab.model"), &config, &cost);
    double tables = (double)cost.parameters + I * L;
    double proj = hidden * (C + L + 1) + L, warm = L * L + L;
    f->out->steps += (int64_t)((double)epochs * passes);
    f->out->trainable += (int64_t)(tables + proj + warm);
    f->out->other_flops +=
        likely * passes *
        (6 * unique * hidden * (C + L) + 6 * unique * unique * L + 40 * (tables + proj) +
         3 * cost.step_flops + 4 * batch * cost.row_flops);
    /* value, gradient, two moments, best */
    f->out->bytes += (size_t)((tables + proj + warm) * 5 * sizeof(float));
    f->out->bytes +=
        sella_settings_bool(settings, "stage2.text") ? (size_t)(I * L * (double)sizeof(float)) : 0;
}

sella_status sella_stages_estimate(const sella_estimate_ask *ask, const sella_stage_choice *stages,
                                   sella_estimate *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    figures f = {.ask = ask, .stages = stages, .out = out};
    *out = (sella_estimate){0};
    SELLA_TRY(sella_backbone_probe(ask->model, &f.shape, &out->weights, err));
    SELLA_TRY(sella_lm_tokenizer(ask->model, &f.tokenizer, err));
    SELLA_TRY(sella_lm_lora_config(ask->settings, &f.lora, err));
    f.token_flops = sella_token_flops(&f.shape);
    SELLA_TRY(language_stages(&f, err));
    SELLA_TRY(stages->distil ? distillation(&f, err) : SELLA_OK);
    if (stages->align) {
        alignment(&f);
    }
    out->frozen = (int64_t)(f.token_flops / 2) +
                  (int64_t)f.shape.V * f.shape.C * (f.shape.tied ? 1 : 2) +
                  (2 * (int64_t)f.shape.layers + 1) * f.shape.C;
    out->bytes += f.pass_bytes + (size_t)adapter_parameters(&f) * 5 * sizeof(float);
done:
    sella_tokenizer_close(f.tokenizer);
    return status;
}

sella_status sella_titles_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                   sella_err *err)
{
    const sella_stage_choice stages = {.stage1 = !ask->method->untrained};
    return sella_stages_estimate(ask, &stages, out, err);
}
