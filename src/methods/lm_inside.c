/* lm_inside.c - how the score of a language-model method comes about (methods/inside.h).
 *
 * Easy to get wrong: two windows read the history, that of the prompt and that of the collaborative
 * part. Both are cut from the whole history first, and a title is taken out afterwards: each window
 * is that of a history cut to it, so that nothing moves in from before it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/memory.h"
#include "methods/lm_scorer_state.h"

static int32_t prompt_start(const sella_lm_scorer *s, const sella_query *query)
{
    return sella_history_start(s->lm.window, s->lm.length, query->history_count);
}

/* Where the soft user token and the residual begin to read; the window of every collaborative part
 * is collab.history_length. */
static int32_t vectors_start(const sella_lm_scorer *s, const sella_query *query)
{
    const sella_soft_source *source = &s->options.soft;
    const bool unseen =
        query->user < 0 && sella_settings_is(s->base.run->settings, "collab.unseen", "history");
    const bool token = source->ops && s->lm.slots & 1u << SELLA_SLOT_USER &&
                       (source->refs == SELLA_REFS_HISTORY || source->refs == SELLA_REFS_TARGET ||
                        (source->refs == SELLA_REFS_USER && unseen));
    const int32_t count = query->history_count,
                  length =
                      (int32_t)sella_settings_int(s->base.run->settings, "collab.history_length");
    if (token) {
        return length > 0 && count > length ? count - length : 0;
    }
    return s->options.residual
               ? sella_vectors_history_start(s->options.vectors, query, s->options.residual)
               : count;
}

static int32_t lm_history_start(const sella_scorer *scorer, const sella_query *query)
{
    const sella_lm_scorer *s = (const sella_lm_scorer *)scorer;
    const int32_t prompt = prompt_start(s, query), vectors = vectors_start(s, query);
    return prompt < vectors ? prompt : vectors;
}

static sella_status lm_terms(sella_scorer *scorer, const sella_query *query, double logit,
                             sella_terms *out, sella_err *err)
{
    const sella_lm_scorer *s = (const sella_lm_scorer *)scorer;
    const double intercept = (double)s->options.bias;
    sella_terms parts = {0};
    double residual = 0;
    *out = (sella_terms){0};
    if (s->options.residual != SELLA_RESIDUAL_NO) {
        sella_status status = sella_vectors_terms(s->options.vectors, query, s->options.residual, 1,
                                                  &parts, &residual, err);
        if (status != SELLA_OK) {
            return status;
        }
    }
    sella_terms_add(out, "language model", logit - intercept - residual, 0);
    sella_terms_add(out, "intercept", intercept, 0);
    if (s->options.residual != SELLA_RESIDUAL_NO) {
        sella_terms_add(out, "collaborative residual", residual, 0);
    }
    for (int t = 0; t < parts.count; t++) {
        sella_terms_add(out, parts.term[t].name, parts.term[t].value, 1);
    }
    return SELLA_OK;
}

/* ---- with something taken out ---- */

/* Rows of the variants; refs NULL: no soft tokens. */
static sella_status render_variants(const sella_lm_scorer *s, const sella_query *query_n,
                                    const sella_variant *variant_n, int N, const sella_refs *refs,
                                    sella_rows *rows, sella_err *err)
{
    sella_status status = SELLA_OK;
    for (int n = 0; n < N; n++) {
        int32_t ref[SELLA_SLOTS];
        sella_prompt_row row;
        sella_refs_slots(refs, n, ref);
        SELLA_TRY(sella_lm_row(&s->lm, &query_n[n], ref, n, 0, &row, err));
        row.group = 0; // one tree
        row.start_slots = row.slots != 0;
        row.slots &= ~(variant_n[n].slot != SELLA_SLOT_NONE ? 1u << variant_n[n].slot : 0u);
        SELLA_TRY(sella_prompt_render(s->lm.prompter, &row, rows, err));
    }
done:
    return status;
}

static sella_status lm_variants(sella_scorer *scorer, const sella_query *query,
                                const sella_variant *variant_n, int N, double *logit_n,
                                const sella_talk *talk, sella_err *err)
{
    sella_lm_scorer *s = (sella_lm_scorer *)scorer;
    sella_status status = SELLA_OK;
    sella_variant_queries prompts = {0}, readers = {0};
    sella_refs refs = {0};
    sella_soft soft = {0};
    sella_rows rows;
    sella_rows_init(&rows);
    SELLA_TRY(
        sella_variant_queries_make(query, prompt_start(s, query), variant_n, N, &prompts, err));
    SELLA_TRY(
        sella_variant_queries_make(query, vectors_start(s, query), variant_n, N, &readers, err));
    SELLA_TRY(sella_lm_scorer_soft(s, readers.query_n, N, &refs, &soft, err));
    SELLA_TRY(
        render_variants(s, prompts.query_n, variant_n, N, soft.source ? &refs : NULL, &rows, err));
    SELLA_TRY(sella_lm_scorer_rows(s, &rows, &soft, logit_n, talk, err));
    SELLA_TRY(sella_lm_scorer_finish(s, readers.query_n, N, logit_n, err));
done:
    sella_rows_release(&rows);
    sella_soft_release(&soft);
    sella_refs_release(&refs);
    sella_variant_queries_release(&readers);
    sella_variant_queries_release(&prompts);
    return status;
}

/* ---- the prompt and its attention ---- */

/* Run the view's row with its attention written to view->mean and, with heads, to head [K, H, T,
 * T]. */
static sella_status run_view(sella_lm_scorer *s, const sella_query *query, const int *layer_k,
                             int K, sella_prompt_view *view, float *head, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_refs refs = {0};
    sella_soft soft = {0};
    sella_tree_batch batch = {0};
    const int64_t row = 0;
    const sella_tree_options options = {s->budget, 0, true};
    const sella_attention_capture capture = {layer_k, K, view->mean, head};
    SELLA_TRY(sella_lm_scorer_soft(s, query, 1, &refs, &soft, err));
    SELLA_TRY(sella_tree_build(&view->rows, &row, 1, &options, &batch, err));
    if (batch.M > 0) {
        sella_soft_gather(&soft, &batch, s->soft_rows);
    }
    sella_pass_capture_into(s->pass, &capture);
    SELLA_TRY(sella_pass_forward(s->pass, &batch, batch.M > 0 ? s->soft_rows : NULL, 0, -1,
                                 s->answer, err));
done:
    sella_pass_capture_into(s->pass, NULL);
    sella_tree_batch_release(&batch);
    sella_soft_release(&soft);
    sella_refs_release(&refs);
    return status;
}

/* answer_head [K, H, T] = the last rows of head [K, H, T, T]. */
static void take_answers(sella_prompt_view *view, const float *head, size_t planes, size_t T)
{
    for (size_t p = 0; p < planes; p++) {
        memcpy(view->answer_head + p * T, head + (p + 1) * T * T - T, T * sizeof *head);
    }
}

static sella_status lm_view(sella_scorer *scorer, const sella_query *query, const int *layer_k,
                            int K, bool heads, sella_prompt_view *out, sella_err *err)
{
    sella_lm_scorer *s = (sella_lm_scorer *)scorer;
    sella_status status = SELLA_OK;
    sella_prompt_row row;
    float *head = NULL;
    *out = (sella_prompt_view){.first = prompt_start(s, query),
                               .H = sella_backbone_shape(s->base.backbone)->H};
    sella_rows_init(&out->rows);
    SELLA_TRY(sella_lm_row(&s->lm, query, NULL, 0, 0, &row, err));
    SELLA_TRY(sella_prompt_render(s->lm.prompter, &row, &out->rows, err));
    SELLA_TRY(sella_prompt_parts(s->lm.prompter, &row, &out->part_p, &out->parts, err));
    const size_t T = (size_t)out->rows.start[1], planes = (size_t)K * (heads ? (size_t)out->H : 0);
    if (T > (size_t)s->budget) {
        status = sella_err_set(err, SELLA_ARG, "the prompt has %zu tokens; eval.tokens allows %d",
                               T, s->budget);
        goto done;
    }
    if (K > 0) {
        SELLA_TRY(sella_memory_check(((size_t)K + planes) * T * T * sizeof *head,
                                     "attention weights", err));
        out->mean = sella_alloc((size_t)K * T * T, sizeof *out->mean, "attention weights", err);
        head = sella_alloc(planes * T * T, sizeof *head, "attention weights", err);
        out->answer_head =
            heads ? sella_alloc(planes * T, sizeof *head, "attention weights", err) : NULL;
        if (!out->mean || !head || (heads && !out->answer_head)) {
            status = SELLA_MEMORY;
            goto done;
        }
        SELLA_TRY(run_view(s, query, layer_k, K, out, heads ? head : NULL, err));
        take_answers(out, head, planes, T);
    }
done:
    free(head);
    if (status != SELLA_OK) {
        sella_prompt_view_release(out);
    }
    return status;
}

static sella_slot_set lm_slots(const sella_scorer *scorer)
{
    const sella_lm *lm = &((const sella_lm_scorer *)scorer)->lm;
    return lm->codes ? SELLA_SLOT_SET_USER_ITEM : lm->slots;
}

static int lm_layers(const sella_scorer *scorer)
{
    return sella_backbone_shape(scorer->backbone)->layers;
}

const sella_inside_ops sella_lm_inside = {.history_start = lm_history_start,
                                          .terms = lm_terms,
                                          .variants = lm_variants,
                                          .slots = lm_slots,
                                          .layers = lm_layers,
                                          .view = lm_view};

/* ---- vectors alone ---- */

static int32_t alone_history_start(const sella_scorer *scorer, const sella_query *query)
{
    const sella_lm_scorer *s = (const sella_lm_scorer *)scorer;
    return sella_vectors_history_start(s->options.vectors, query, SELLA_RESIDUAL_ALL);
}

static sella_status alone_terms(sella_scorer *scorer, const sella_query *query, double logit,
                                sella_terms *out, sella_err *err)
{
    const sella_lm_scorer *s = (const sella_lm_scorer *)scorer;
    double total;
    (void)logit;
    *out = (sella_terms){0};
    return sella_vectors_terms(s->options.vectors, query, SELLA_RESIDUAL_ALL, 0, out, &total, err);
}

const sella_inside_ops sella_vectors_inside = {.history_start = alone_history_start,
                                               .terms = alone_terms};
