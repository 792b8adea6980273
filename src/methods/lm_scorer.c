/* lm_scorer.c - scorers of language-model methods (methods/lm_scorer.h). */
#include "methods/lm_scorer.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "kernels/gemm.h"
#include "methods/lm_scorer_state.h"

/* What the scorer has taken over. */
static void options_release(sella_lm_scorer_options *options)
{
    sella_soft_source_close(&options->soft);
    sella_codes_release(&options->codes);
    if (options->vectors) {
        sella_vectors_release(options->vectors);
        free(options->vectors);
    }
    options->vectors = NULL;
}

static void lm_close(sella_scorer *scorer)
{
    sella_lm_scorer *s = (sella_lm_scorer *)scorer;
    sella_prefix_cache_free(s->prefix.cache);
    sella_pass_free(s->pass);
    sella_lm_release(&s->lm);
    options_release(&s->options);
    free(s->answer);
    free(s->soft_rows);
    free(s);
}

/* Queries to rows; row = place of the query. refs NULL: no slots. */
static sella_status render(const sella_lm_scorer *s, const sella_query *query_n, int64_t N,
                           const sella_refs *refs, sella_rows *rows, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int64_t q = 0; q < N && status == SELLA_OK; q++) {
        int32_t ref[SELLA_SLOTS];
        sella_refs_slots(refs, q, ref);
        status = sella_lm_render(&s->lm, &query_n[q], ref, q, 0, rows, err);
    }
    return status;
}

static sella_status score_batch(sella_lm_scorer *s, const sella_rows *rows, const int64_t *index_k,
                                int64_t k, const sella_soft *soft, double *logit_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_tree_batch batch = {0};
    const sella_tree_options options = {s->budget, 0, true};
    const size_t C = (size_t)s->lm.C;
    SELLA_TRY(sella_tree_build(rows, index_k, k, &options, &batch, err));
    if (batch.M > 0) {
        sella_soft_gather(soft, &batch, s->soft_rows);
    }
    const double start = sella_now();
    SELLA_TRY(sella_pass_forward(s->pass, &batch, batch.M > 0 ? s->soft_rows : NULL, 0, -1,
                                 s->answer, err));
    sella_lm_prefix_count(&s->prefix, batch.N, batch.T, sella_now() - start);
    for (int n = 0; n < batch.N; n++) {
        logit_n[batch.row_n[n]] = sella_dot(s->answer + (size_t)n * C, s->lm.direction, s->lm.C);
    }
done:
    sella_tree_batch_release(&batch);
    return status;
}

sella_status sella_lm_scorer_rows(sella_lm_scorer *s, const sella_rows *rows,
                                  const sella_soft *soft, double *logit_n, const sella_talk *talk,
                                  sella_err *err)
{
    sella_tree_plan plan = {0};
    const sella_tree_options options = {s->budget, 0, true};
    sella_status status = sella_tree_plan_new(rows, &options, &plan, err);
    for (int64_t b = 0; status == SELLA_OK && b < plan.batches; b++) {
        status = sella_stop_wanted(talk)
                     ? sella_err_set(err, SELLA_INTERRUPTED, "scoring was stopped")
                     : score_batch(s, rows, plan.order + plan.first[b],
                                   plan.first[b + 1] - plan.first[b], soft, logit_n, err);
    }
    sella_tree_plan_release(&plan);
    return status;
}

sella_status sella_lm_scorer_soft(const sella_lm_scorer *s, const sella_query *query_n, int64_t N,
                                  sella_refs *refs, sella_soft *soft, sella_err *err)
{
    const sella_soft_source *source = &s->options.soft;
    if (!source->ops) {
        return SELLA_OK;
    }
    const sella_status status = sella_refs_make(query_n, N, source->refs, refs, err);
    return status == SELLA_OK
               ? sella_soft_make(source, query_n, refs, s->lm.slots, false, soft, err)
               : status;
}

/* What the logits of some queries are made of. */
typedef struct material {
    sella_refs refs;
    sella_soft soft;
    sella_rows rows;
} material;

static void material_release(material *m)
{
    sella_soft_release(&m->soft);
    sella_refs_release(&m->refs);
    sella_rows_release(&m->rows);
}

static sella_status material_make(const sella_lm_scorer *s, const sella_query *query_n, int64_t N,
                                  material *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (material){0};
    sella_rows_init(&out->rows);
    SELLA_TRY(sella_lm_scorer_soft(s, query_n, N, &out->refs, &out->soft, err));
    SELLA_TRY(render(s, query_n, N, out->soft.source ? &out->refs : NULL, &out->rows, err));
done:
    if (status != SELLA_OK) {
        material_release(out);
    }
    return status;
}

sella_status sella_lm_scorer_finish(const sella_lm_scorer *s, const sella_query *query_n, int64_t N,
                                    double *logit_n, sella_err *err)
{
    const sella_lm_scorer_options *o = &s->options;
    for (int64_t n = 0; n < N; n++) {
        const float gain =
            o->residual ? o->gain * sella_vectors_weight(o->vectors, query_n[n].item) : o->gain;
        logit_n[n] = (double)gain * logit_n[n] + (double)o->bias;
    }
    if (!o->residual) {
        return SELLA_OK;
    }
    float *residual = sella_alloc((size_t)N, sizeof *residual, "collaborative logits", err);
    if (!residual) {
        return SELLA_MEMORY;
    }
    const sella_status status =
        sella_vectors_residual(o->vectors, query_n, N, o->residual, residual, err);
    for (int64_t n = 0; status == SELLA_OK && n < N; n++) {
        logit_n[n] += (double)residual[n];
    }
    free(residual);
    return status;
}

/* Do all queries ask about catalogue items for one user with one history? */
static bool one_user(const sella_query *query_n, int64_t N)
{
    for (int64_t n = 0; n < N; n++) {
        const sella_query *a = &query_n[0], *b = &query_n[n];
        if (b->target_text || b->item < 0 || a->user != b->user || a->group != b->group ||
            a->history_n != b->history_n || a->history_count != b->history_count ||
            a->history_text != b->history_text) {
            return false;
        }
    }
    return N > 0;
}

static sella_lm_prefix_job job_of(sella_lm_scorer *s, const material *m)
{
    return (sella_lm_prefix_job){.prefix = &s->prefix,
                                 .lm = &s->lm,
                                 .pass = s->pass,
                                 .budget = s->budget,
                                 .rows = &m->rows,
                                 .soft = s->options.soft.ops ? &m->soft : NULL,
                                 .answer = s->answer,
                                 .soft_rows = s->soft_rows};
}

static sella_status score_behind(sella_lm_scorer *s, const sella_query *query_n, int64_t N,
                                 const sella_until *until, const sella_talk *talk, double *logit_n,
                                 int64_t *done_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    material m;
    *done_n = 0;
    SELLA_TRY(material_make(s, query_n, N, &m, err));
    sella_lm_prefix_job job = job_of(s, &m);
    status = sella_lm_prefix_begin(
        &job, sella_lm_prefix_shared(&s->lm, &m.rows, query_n[0].item, s->options.soft.refs), err);
    while (status == SELLA_OK && *done_n < N) {
        const int64_t first = *done_n;
        int64_t count = 0;
        if (sella_stop_wanted(talk)) {
            status = sella_err_set(err, SELLA_INTERRUPTED, "scoring was stopped");
            break;
        }
        status = sella_lm_prefix_step(&job, first, until->step > 0 ? until->step : N, until->end,
                                      logit_n, &count, err);
        if (status != SELLA_OK || count == 0) {
            break;
        }
        status = sella_lm_scorer_finish(s, query_n + first, count, logit_n + first, err);
        *done_n = status == SELLA_OK ? first + count : first;
        if (status == SELLA_OK && until->scored && until->scored(until->user, first, count)) {
            break;
        }
    }
    sella_lm_prefix_end(&job);
    material_release(&m);
done:
    return status;
}

static sella_status lm_score(sella_scorer *scorer, const sella_query *query_n, int64_t N,
                             double *logit_n, const sella_talk *talk, sella_err *err)
{
    sella_lm_scorer *s = (sella_lm_scorer *)scorer;
    sella_status status = SELLA_OK;
    material m;
    if (s->prefix.cache && one_user(query_n, N)) {
        int64_t all;
        return score_behind(s, query_n, N, &(sella_until){.end = (double)INFINITY}, talk, logit_n,
                            &all, err);
    }
    SELLA_TRY(material_make(s, query_n, N, &m, err));
    status = sella_lm_scorer_rows(s, &m.rows, &m.soft, logit_n, talk, err);
    status = status == SELLA_OK ? sella_lm_scorer_finish(s, query_n, N, logit_n, err) : status;
    material_release(&m);
done:
    return status;
}

/* ---- serving ---- */

static sella_status lm_cache(sella_scorer *scorer, size_t bytes, sella_err *err)
{
    sella_lm_scorer *s = (sella_lm_scorer *)scorer;
    sella_prefix_cache_free(s->prefix.cache);
    s->prefix.cache = NULL;
    return bytes > 0 ? sella_prefix_cache_new(sella_backbone_shape(scorer->backbone), bytes,
                                              &s->prefix.cache, err)
                     : SELLA_OK;
}

static sella_status lm_score_until(sella_scorer *scorer, const sella_query *query_n, int64_t N,
                                   const sella_until *until, double *logit_n, int64_t *done,
                                   sella_err *err)
{
    sella_lm_scorer *s = (sella_lm_scorer *)scorer;
    if (!one_user(query_n, N)) {
        return sella_err_set(
            err, SELLA_ARG,
            "the queries of one request must be about catalogue items for one user and history");
    }
    if (s->prefix.cache) {
        return score_behind(s, query_n, N, until, NULL, logit_n, done, err);
    }
    /* nothing may stay: the beginning is kept for this request alone */
    sella_status status = sella_prefix_cache_new(sella_backbone_shape(scorer->backbone), SIZE_MAX,
                                                 &s->prefix.cache, err);
    status =
        status == SELLA_OK ? score_behind(s, query_n, N, until, NULL, logit_n, done, err) : status;
    lm_cache(scorer, 0, NULL);
    return status;
}

static sella_status lm_warm(sella_scorer *scorer, const sella_query *who, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lm_scorer *s = (sella_lm_scorer *)scorer;
    sella_query any = *who;
    material m;
    double z;
    int64_t count;
    any.item = 0;
    any.target_text = NULL;
    if (!s->prefix.cache) {
        return SELLA_OK;
    }
    SELLA_TRY(material_make(s, &any, 1, &m, err));
    const int shared = sella_lm_prefix_shared(&s->lm, &m.rows, 0, s->options.soft.refs);
    sella_lm_prefix_job job = job_of(s, &m);
    m.rows.start[1] = shared; // the beginning alone: its last token is the answer that nobody reads
    status = sella_lm_prefix_begin(&job, shared, err);
    if (status == SELLA_OK && job.keeps && job.past < shared) {
        status = sella_lm_prefix_step(&job, 0, 1, (double)INFINITY, &z, &count, err);
    }
    sella_lm_prefix_end(&job);
    material_release(&m);
done:
    return status;
}

static void lm_count(const sella_scorer *scorer, sella_engine_counts *out)
{
    const sella_lm_prefix *p = &((const sella_lm_scorer *)scorer)->prefix;
    *out = (sella_engine_counts){.rows_scored = atomic_load(&p->rows),
                                 .tokens_computed = atomic_load(&p->computed),
                                 .tokens_reused = atomic_load(&p->reused),
                                 .seconds = (double)atomic_load(&p->microseconds) / 1e6,
                                 .cache_hits = atomic_load(&p->whole),
                                 .cache_parts = atomic_load(&p->part),
                                 .cache_misses = atomic_load(&p->none),
                                 .cache_bytes = atomic_load(&p->bytes),
                                 .cache_entries = atomic_load(&p->nodes),
                                 .cache_evicted = atomic_load(&p->evicted)};
}

static sella_status lm_prompt(sella_scorer *scorer, const sella_query *query, sella_rows *rows,
                              sella_err *err)
{
    const sella_lm_scorer *s = (const sella_lm_scorer *)scorer;
    return sella_lm_render(&s->lm, query, NULL, 0, 0, rows, err);
}

static sella_status lm_scan(sella_scorer *scorer, const sella_query *who, const int32_t *item_n,
                            int32_t N, double *logit_n, sella_err *err)
{
    return sella_vectors_scan(((sella_lm_scorer *)scorer)->options.vectors, who, item_n, N, logit_n,
                              err);
}

static const sella_serving_ops vectors_serving = {.scan = lm_scan};
static const sella_serving_ops lm_serving = {
    .cache = lm_cache, .score_until = lm_score_until, .warm = lm_warm, .count = lm_count};
static const sella_serving_ops lm_vectors_serving = {.scan = lm_scan,
                                                     .cache = lm_cache,
                                                     .score_until = lm_score_until,
                                                     .warm = lm_warm,
                                                     .count = lm_count};

static const sella_scorer_ops lm_ops = {lm_score, lm_prompt, lm_close};

sella_status sella_lm_scorer_open(const sella_run *run, sella_backbone *backbone,
                                  const sella_lm_scorer_options *options, sella_scorer **out,
                                  sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_lm_scorer *s = sella_alloc(1, sizeof *s, "a scorer", err);
    *out = NULL;
    sella_lm_scorer_options taken = *options;
    if (!s) {
        options_release(&taken);
        return SELLA_MEMORY;
    }
    s->options = taken;
    if (!backbone) {
        status = sella_err_set(err, SELLA_ARG, "%s: needs its language model %s to score",
                               run->path, run->model_path ? run->model_path : "");
        goto done;
    }
    s->budget = (int)sella_settings_int(run->settings, "eval.tokens");
    SELLA_TRY(sella_lm_open_run(run, backbone, options->slots, options->adapter, &s->lm, err));
    const bool soft = taken.soft.ops != NULL;
    if (soft && taken.soft.L != s->lm.C) {
        status = sella_err_set(err, SELLA_SHAPE, "%s: soft tokens have width %d; the model's is %d",
                               run->path, taken.soft.L, s->lm.C);
        goto done;
    }
    s->lm.tokens = soft ? taken.soft.tokens : 1;
    SELLA_TRY(sella_lm_codes(&s->lm, taken.codes.text ? &s->options.codes : NULL, err));
    const sella_pass_options pass = {.max_tokens = s->budget};
    SELLA_TRY(sella_pass_new(backbone, s->lm.lora, &pass, &s->pass, err));
    s->answer = sella_alloc((size_t)s->budget * (size_t)s->lm.C, sizeof *s->answer, "answers", err);
    s->soft_rows = soft ? sella_alloc((size_t)s->budget * (size_t)s->lm.C, sizeof *s->soft_rows,
                                      "soft rows", err)
                        : NULL;
    if (!s->answer || (soft && !s->soft_rows)) {
        status = SELLA_MEMORY;
        goto done;
    }
    s->base = (sella_scorer){.ops = &lm_ops,
                             .serving = s->options.vectors ? &lm_vectors_serving : &lm_serving,
                             .inside = &sella_lm_inside,
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

static sella_status vectors_score(sella_scorer *scorer, const sella_query *query_n, int64_t N,
                                  double *logit_n, const sella_talk *talk, sella_err *err)
{
    const sella_lm_scorer *s = (const sella_lm_scorer *)scorer;
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

sella_status sella_vectors_scorer_open(const sella_run *run, sella_vectors *vectors,
                                       sella_scorer **out, sella_err *err)
{
    sella_lm_scorer *s = sella_alloc(1, sizeof *s, "a scorer", err);
    *out = NULL;
    if (!s) {
        sella_vectors_release(vectors);
        free(vectors);
        return SELLA_MEMORY;
    }
    s->options.vectors = vectors;
    s->base = (sella_scorer){.ops = &vectors_ops,
                             .serving = &vectors_serving,
                             .inside = &sella_vectors_inside,
                             .run = run,
                             .yes_id = -1,
                             .no_id = -1};
    *out = &s->base;
    return SELLA_OK;
}
