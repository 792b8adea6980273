/* lm_scorer.c - scorers of language-model methods (methods/lm_scorer.h). */
#include "methods/lm_scorer.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "kernels/gemm.h"
#include "methods/soft.h"

typedef struct lm_scorer {
    sella_scorer base;
    sella_lm lm;
    sella_lm_scorer_options options;
    sella_pass *pass;   // NULL for vectors alone
    int budget;
    float *answer;      // [budget, C]
    float *soft_rows;   // [budget, C]
} lm_scorer;

/* What the scorer has taken over. */
static void options_release(sella_lm_scorer_options *options)
{
    sella_soft_source_close(&options->soft);
    if (options->vectors) {
        sella_vectors_release(options->vectors);
        free(options->vectors);
    }
    options->vectors = NULL;
}

static void lm_close(sella_scorer *scorer)
{
    lm_scorer *s = (lm_scorer *)scorer;
    sella_pass_free(s->pass);
    sella_lm_release(&s->lm);
    options_release(&s->options);
    free(s->answer);
    free(s->soft_rows);
    free(s);
}

/* Queries to rows; row = place of the query. refs NULL: no slots. */
static sella_status render(const lm_scorer *s, const sella_query *query_n, int64_t N, const sella_refs *refs,
                           sella_rows *rows, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int64_t q = 0; q < N && status == SELLA_OK; q++) {
        int32_t ref[SELLA_SLOTS];
        sella_refs_slots(refs, q, ref);
        status = sella_lm_render(&s->lm, &query_n[q], ref, q, 0, rows, err);
    }
    return status;
}

static sella_status score_batch(lm_scorer *s, const sella_rows *rows, const int64_t *index_k, int64_t k,
                                const sella_soft *soft, double *logit_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_tree_batch batch = {0};
    const sella_tree_options options = {s->budget, 0, true};
    const size_t C = (size_t)s->lm.C;
    SELLA_TRY(sella_tree_build(rows, index_k, k, &options, &batch, err));
    if (batch.M > 0) {
        sella_soft_gather(soft, &batch, s->soft_rows);
    }
    SELLA_TRY(sella_pass_forward(s->pass, &batch, batch.M > 0 ? s->soft_rows : NULL, 0, -1, s->answer, err));
    for (int n = 0; n < batch.N; n++) {
        float z = sella_dot(s->answer + (size_t)n * C, s->lm.direction, s->lm.C);
        logit_n[batch.row_n[n]] = s->options.gain * z + s->options.bias;
    }
done:
    sella_tree_batch_release(&batch);
    return status;
}

static sella_status lm_score(sella_scorer *scorer, const sella_query *query_n, int64_t N, double *logit_n,
                             const sella_talk *talk, sella_err *err)
{
    lm_scorer *s = (lm_scorer *)scorer;
    const sella_soft_source *source = s->options.soft.ops ? &s->options.soft : NULL;
    sella_status status = SELLA_OK;
    sella_refs refs = {0};
    sella_soft soft = {0};
    sella_tree_plan plan = {0};
    sella_rows rows;
    float *residual = NULL;
    const sella_tree_options options = {s->budget, 0, true};
    sella_rows_init(&rows);
    if (source) {
        SELLA_TRY(sella_refs_make(query_n, N, source->refs, &refs, err));
        SELLA_TRY(sella_soft_make(source, query_n, &refs, s->lm.slots, false, &soft, err));
    }
    SELLA_TRY(render(s, query_n, N, source ? &refs : NULL, &rows, err));
    SELLA_TRY(sella_tree_plan_new(&rows, &options, &plan, err));
    for (int64_t b = 0; b < plan.batches; b++) {
        if (sella_stop_wanted(talk)) {
            status = sella_err_set(err, SELLA_INTERRUPTED, "scoring was stopped");
            goto done;
        }
        SELLA_TRY(
            score_batch(s, &rows, plan.order + plan.first[b], plan.first[b + 1] - plan.first[b], &soft, logit_n, err));
    }
    if (s->options.residual) {
        residual = sella_alloc((size_t)N, sizeof *residual, "collaborative logits", err);
        if (!residual) {
            status = SELLA_MEMORY;
            goto done;
        }
        SELLA_TRY(sella_vectors_residual(s->options.vectors, query_n, N, s->options.residual, residual, err));
        for (int64_t n = 0; n < N; n++) {
            logit_n[n] += residual[n];
        }
    }
done:
    free(residual);
    sella_tree_plan_release(&plan);
    sella_soft_release(&soft);
    sella_refs_release(&refs);
    sella_rows_release(&rows);
    return status;
}

static sella_status lm_prompt(sella_scorer *scorer, const sella_query *query, sella_rows *rows, sella_err *err)
{
    const lm_scorer *s = (const lm_scorer *)scorer;
    return sella_lm_render(&s->lm, query, NULL, 0, 0, rows, err);
}

static sella_status lm_scan(sella_scorer *scorer, const sella_query *who, const int32_t *item_n, int32_t N,
                            double *logit_n, sella_err *err)
{
    return sella_vectors_scan(((lm_scorer *)scorer)->options.vectors, who, item_n, N, logit_n, err);
}

static const sella_serving_ops vectors_serving = {.scan = lm_scan};

static const sella_scorer_ops lm_ops = {lm_score, lm_prompt, lm_close};

sella_status sella_lm_scorer_open(const sella_run *run, sella_backbone *backbone,
                                  const sella_lm_scorer_options *options, sella_scorer **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    lm_scorer *s = sella_alloc(1, sizeof *s, "a scorer", err);
    *out = NULL;
    sella_lm_scorer_options taken = *options;
    if (!s) {
        options_release(&taken);
        return SELLA_MEMORY;
    }
    s->options = taken;
    if (!backbone) {
        status = sella_err_set(err, SELLA_ARG, "%s: needs its language model %s to score", run->path,
                               run->model_path ? run->model_path : "");
        goto done;
    }
    s->budget = (int)sella_settings_int(run->settings, "eval.tokens");
    SELLA_TRY(sella_lm_open_run(run, backbone, options->slots, options->adapter, &s->lm, err));
    const bool soft = taken.soft.ops != NULL;
    if (soft && taken.soft.L != s->lm.C) {
        status = sella_err_set(err, SELLA_SHAPE, "%s: soft tokens have width %d; the model's is %d", run->path,
                               taken.soft.L, s->lm.C);
        goto done;
    }
    s->lm.tokens = soft ? taken.soft.tokens : 1;
    const sella_pass_options pass = {.max_tokens = s->budget};
    SELLA_TRY(sella_pass_new(backbone, s->lm.lora, &pass, &s->pass, err));
    s->answer = sella_alloc((size_t)s->budget * (size_t)s->lm.C, sizeof *s->answer, "answers", err);
    s->soft_rows =
        soft ? sella_alloc((size_t)s->budget * (size_t)s->lm.C, sizeof *s->soft_rows, "soft rows", err) : NULL;
    if (!s->answer || (soft && !s->soft_rows)) {
        status = SELLA_MEMORY;
        goto done;
    }
    s->base = (sella_scorer){.ops = &lm_ops,
                             .serving = s->options.vectors ? &vectors_serving : NULL,
                             .run = run,
                             .backbone = backbone,
                             .yes_id = s->lm.yes,
                             .no_id = s->lm.no};
    *out = &s->base;
done:
    if (status != SELLA_OK) {
        lm_close(&s->base);
    }
    return status;
}

/* ---- vectors alone ---- */

static sella_status vectors_score(sella_scorer *scorer, const sella_query *query_n, int64_t N, double *logit_n,
                                  const sella_talk *talk, sella_err *err)
{
    const lm_scorer *s = (const lm_scorer *)scorer;
    float *z = sella_alloc((size_t)N, sizeof *z, "logits", err);
    (void)talk; // milliseconds: nothing to stop
    if (!z) {
        return SELLA_MEMORY;
    }
    sella_status status = sella_vectors_logits(s->options.vectors, query_n, N, z, err);
    for (int64_t n = 0; status == SELLA_OK && n < N; n++) {
        logit_n[n] = z[n];
    }
    free(z);
    return status;
}

static const sella_scorer_ops vectors_ops = {vectors_score, NULL, lm_close};

sella_status sella_vectors_scorer_open(const sella_run *run, sella_vectors *vectors, sella_scorer **out, sella_err *err)
{
    lm_scorer *s = sella_alloc(1, sizeof *s, "a scorer", err);
    *out = NULL;
    if (!s) {
        sella_vectors_release(vectors);
        free(vectors);
        return SELLA_MEMORY;
    }
    s->options.vectors = vectors;
    s->base = (sella_scorer){
        .ops = &vectors_ops, .serving = &vectors_serving, .run = run, .yes_id = -1, .no_id = -1};
    *out = &s->base;
    return SELLA_OK;
}
