/* inside.c - scores with something taken out, for any scorer, and the terms of collaborative logits
 * (methods/inside.h). */
#include "methods/inside.h"

#include <assert.h>
#include <stdlib.h>

#include "base/arena.h"

void sella_terms_add(sella_terms *terms, const char *name, double value, int depth)
{
    assert(terms->count < SELLA_TERMS_MOST);
    terms->term[terms->count].name = name;
    terms->term[terms->count].value = value;
    terms->term[terms->count++].depth = depth;
}

void sella_prompt_view_release(sella_prompt_view *view)
{
    sella_rows_release(&view->rows);
    free(view->part_p);
    free(view->mean);
    free(view->answer_head);
    *view = (sella_prompt_view){0};
}

/* ---- variants ---- */

sella_status sella_variant_queries_make(const sella_query *query, int32_t start,
                                        const sella_variant *variant_n, int N,
                                        sella_variant_queries *out, sella_err *err)
{
    const size_t width = (size_t)(query->history_count - start), n = (size_t)N;
    const bool texts = query->history_text != NULL;
    assert(start >= 0 && start <= query->history_count);
    *out = (sella_variant_queries){0};
    if (width > 0 && n > SIZE_MAX / 64 / width) {
        return sella_err_memory(err, "histories with a title taken out", SIZE_MAX);
    }
    out->query_n = sella_alloc(n, sizeof *out->query_n, "queries", err);
    out->pool = sella_alloc(n * width, sizeof *out->pool, "histories with a title taken out", err);
    out->text_pool = texts ? sella_alloc(n * width, sizeof *out->text_pool,
                                         "histories with a title taken out", err)
                           : NULL;
    if (!out->query_n || !out->pool || (texts && !out->text_pool)) {
        sella_variant_queries_release(out);
        return SELLA_MEMORY;
    }
    for (size_t v = 0; v < n; v++) {
        int32_t *item = out->pool + v * width;
        const char **text = texts ? out->text_pool + v * width : NULL;
        sella_query *copy = &out->query_n[v];
        *copy = *query;
        copy->history_n = item;
        copy->history_text = text;
        copy->history_count = 0;
        for (int32_t j = start; j < query->history_count; j++) {
            if (j == variant_n[v].entry) {
                continue;
            }
            item[copy->history_count] = query->history_n[j];
            if (text) {
                text[copy->history_count] = query->history_text[j];
            }
            copy->history_count++;
        }
    }
    return SELLA_OK;
}

void sella_variant_queries_release(sella_variant_queries *queries)
{
    free(queries->query_n);
    free(queries->pool);
    free(queries->text_pool);
    *queries = (sella_variant_queries){0};
}

int32_t sella_inside_history_start(const sella_scorer *scorer, const sella_query *query)
{
    return scorer->inside ? scorer->inside->history_start(scorer, query) : 0;
}

sella_status sella_variants_score(sella_scorer *scorer, const sella_query *query,
                                  const sella_variant *variant_n, int N, double *logit_n,
                                  const sella_talk *talk, sella_err *err)
{
    sella_variant_queries queries = {0};
    if (scorer->inside && scorer->inside->variants) {
        return scorer->inside->variants(scorer, query, variant_n, N, logit_n, talk, err);
    }
    const int32_t start = sella_inside_history_start(scorer, query);
    sella_status status = sella_variant_queries_make(query, start, variant_n, N, &queries, err);
    if (status == SELLA_OK) {
        status = scorer->ops->score(scorer, queries.query_n, N, logit_n, talk, err);
    }
    sella_variant_queries_release(&queries);
    return status;
}

/* ---- collaborative terms ---- */

int32_t sella_vectors_history_start(const sella_vectors *v, const sella_query *query,
                                    sella_residual which)
{
    const int32_t count = query->history_count, length = v->collab->config.history_length;
    if (which != SELLA_RESIDUAL_ALL) {
        return count;
    }
    if (v->centred) {
        return length > 0 && count > length ? count - length : 0;
    }
    return sella_collab_rows_start(v->collab, query);
}

/* z_cf = b_0 + b_u + b_i + p'_u . q_i + text.gain f: the product (din: its network) is what z_cf
 * holds beside the others. */
sella_status sella_vectors_terms(const sella_vectors *v, const sella_query *query,
                                 sella_residual which, int depth, sella_terms *terms, double *total,
                                 sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_collab_rows rows = {0};
    const sella_param *user = sella_param_find(&v->collab->table, "user.bias"),
                      *item = sella_param_find(&v->collab->table, "item.bias"),
                      *global = sella_param_find(&v->collab->table, "global.bias");
    double biases = 0;
    *total = 0;
    if (which == SELLA_RESIDUAL_NO) {
        return SELLA_OK;
    }
    if (v->collab->config.bias) {
        const double b0 = (double)global->data[0],
                     bu = query->user >= 0 ? (double)user->data[query->user] : 0,
                     bi = query->item >= 0 ? (double)item->data[query->item] : 0;
        sella_terms_add(terms, "global bias", b0, depth);
        sella_terms_add(terms, "user bias", bu, depth);
        sella_terms_add(terms, "item bias", bi, depth);
        biases = b0 + bu + bi;
    }
    *total = biases;
    if (which == SELLA_RESIDUAL_ALL) {
        float z = 0, f = 0;
        SELLA_TRY(sella_vectors_rows(v, query, NULL, 1, true, &rows, err));
        SELLA_TRY(sella_collab_score(v->collab, &rows.batch, &z, err));
        sella_terms_add(terms, v->collab->ops->product ? "user vector x item vector" : "network",
                        (double)z - biases, depth);
        *total = (double)z;
        if (v->centred) {
            sella_vectors_text(v, &rows.batch, &f);
            const double text = (double)sella_vectors_number(v, "text.gain", 0) * (double)f;
            sella_terms_add(terms, "titles alike", text, depth);
            *total += text;
        }
    }
done:
    sella_collab_rows_release(&rows);
    return status;
}
