/* corpus.c - rows, trees and steps of a language-model stage (methods/corpus.h). */
#include "methods/corpus.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"
#include "methods/place.h"

enum { CHUNK_ROWS = 4096 };

/* Queries by user, then in the order of index_k. */
static sella_status gather(const sella_dataset *dataset, sella_split_id split,
                           const int64_t *index_k, int64_t k, sella_corpus *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_split *source = &dataset->split[split];
    sella_place *order = sella_alloc((size_t)k, sizeof *order, "train rows", err);
    int64_t *index = sella_alloc((size_t)k, sizeof *index, "train rows", err);
    out->label_n = sella_alloc((size_t)k, sizeof *out->label_n, "labels", err);
    if (!order || !index || !out->label_n) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t i = 0; i < k; i++) {
        order[i] = (sella_place){source->user_n[index_k[i]], index_k[i]};
    }
    sella_places_sort(order, k);
    for (int64_t i = 0; i < k; i++) {
        index[i] = order[i].index;
        out->label_n[i] = source->label_n[index[i]];
    }
    SELLA_TRY(sella_lm_queries(dataset, split, index, k, &out->query_n, err));
done:
    free(order);
    free(index);
    return status;
}

/* Trees of the queries first .. end-1 (whole users), appended to the corpus. */
static sella_status plan_chunk(const sella_lm *lm, sella_corpus *corpus, int64_t first, int64_t end,
                               sella_rows *rows, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_refs refs = {0};
    sella_tree_plan plan = {0};
    const sella_tree_options options = {corpus->options.budget, corpus->options.tree_cap,
                                        corpus->options.share};
    sella_rows_clear(rows);
    if (lm->slots) {
        SELLA_TRY(sella_refs_make(corpus->query_n + first, end - first, corpus->options.refs, &refs,
                                  err));
    }
    for (int64_t q = first; q < end; q++) {
        int32_t ref[SELLA_SLOTS];
        sella_refs_slots(lm->slots ? &refs : NULL, q - first, ref);
        SELLA_TRY(sella_lm_render(lm, &corpus->query_n[q], ref, q, corpus->label_n[q], rows, err));
    }
    SELLA_TRY(sella_tree_plan_new(rows, &options, &plan, err));
    for (int64_t t = 0; t < plan.trees; t++) {
        corpus->tree_first[corpus->trees] = first + plan.tree_first[t];
        corpus->tree_tokens[corpus->trees++] = plan.tree_tokens[t];
    }
    for (int64_t i = 0; i < end - first; i++) {
        corpus->order[first + i] = first + plan.order[i];
    }
    corpus->tree_first[corpus->trees] = end;
    corpus->tokens += plan.tokens;
    corpus->row_tokens += rows->start[rows->count];
done:
    sella_tree_plan_release(&plan);
    sella_refs_release(&refs);
    return status;
}

sella_status sella_corpus_open(const sella_lm *lm, const sella_dataset *dataset,
                               sella_split_id split, const int64_t *index_k, int64_t k,
                               const sella_corpus_options *options, sella_corpus *out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_rows rows;
    size_t n = (size_t)k;
    sella_rows_init(&rows);
    *out = (sella_corpus){.options = *options, .rows = k, .epoch = -1};
    SELLA_TRY(gather(dataset, split, index_k, k, out, err));
    out->tree_first = sella_alloc(n + 1, sizeof *out->tree_first, "trees", err);
    out->tree_tokens = sella_alloc(n + 1, sizeof *out->tree_tokens, "trees", err);
    out->order = sella_alloc(n, sizeof *out->order, "trees", err);
    if (!out->tree_first || !out->tree_tokens || !out->order) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t first = 0, end; first < k; first = end) {
        for (end = first; end < k && (end - first < CHUNK_ROWS ||
                                      out->query_n[end].group == out->query_n[end - 1].group);
             end++) {
        }
        SELLA_TRY(plan_chunk(lm, out, first, end, &rows, err));
    }
    int64_t steps = (k + options->batch / 2) / options->batch;
    out->steps = steps < 1 ? k > 0 : steps > out->trees ? out->trees : steps;
    out->shuffled = sella_alloc((size_t)out->trees, sizeof *out->shuffled, "trees", err);
    out->step_first = sella_alloc((size_t)out->steps + 1, sizeof *out->step_first, "trees", err);
    if (!out->shuffled || !out->step_first) {
        status = SELLA_MEMORY;
    }
done:
    sella_rows_release(&rows);
    if (status != SELLA_OK) {
        sella_corpus_release(out);
    }
    return status;
}

void sella_corpus_release(sella_corpus *corpus)
{
    free(corpus->query_n);
    free(corpus->label_n);
    free(corpus->tree_first);
    free(corpus->order);
    free(corpus->tree_tokens);
    free(corpus->shuffled);
    free(corpus->step_first);
    *corpus = (sella_corpus){0};
}

/* Shuffle the trees of an epoch and deal them out. */
static void deal(sella_corpus *corpus, int64_t epoch)
{
    const sella_rng rng = {corpus->options.seed, SELLA_STREAM_SHUFFLE, (uint32_t)epoch, 0};
    int64_t at = 0, rows = 0;
    for (int64_t t = 0; t < corpus->trees; t++) {
        corpus->shuffled[t] = t;
    }
    sella_rng_shuffle(&rng, corpus->shuffled, (size_t)corpus->trees);
    for (int64_t s = 0; s < corpus->steps; s++) {
        corpus->step_first[s] = at;
        int64_t until = (corpus->rows * (s + 1)) / corpus->steps,
                most = corpus->trees - (corpus->steps - s - 1);
        for (bool any = false; at < most && (!any || rows < until || s == corpus->steps - 1);
             any = true, at++) {
            int64_t t = corpus->shuffled[at];
            rows += corpus->tree_first[t + 1] - corpus->tree_first[t];
        }
    }
    corpus->step_first[corpus->steps] = at;
    corpus->epoch = epoch;
}

int64_t sella_corpus_step(sella_corpus *corpus, int64_t epoch, int64_t index, const int64_t **tree)
{
    if (corpus->epoch != epoch) {
        deal(corpus, epoch);
    }
    *tree = corpus->shuffled + corpus->step_first[index];
    return corpus->step_first[index + 1] - corpus->step_first[index];
}
