/* rank_split.c - cases and candidates of a ranking evaluation (engine/rank_split.h). */
#include "engine/rank_split.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/rng.h"
#include "eval/ranking.h"

/* BLOCK: candidates that are scored together, of as many cases as they take: rows of one case share
 *        a prefix tree, and several cases fill a batch of the language model.
 * PIECE: of a larger case so many at a time. */
enum { BLOCK = 2048, PIECE = 8192 };

/* What an item is in the case at hand. */
enum { ITEM_FREE, ITEM_KNOWN, ITEM_RELEVANT };

typedef struct place {
    int32_t user;
    int64_t row;
} place;

typedef struct rank_case {
    int64_t begin, end; // its user's rows in `order`
    int64_t row;        // whose history it has
    int64_t relevant, candidates;
} rank_case;

typedef struct ranker {
    const sella_engine *engine;
    const sella_dataset *dataset;
    sella_split_id id;
    const sella_split *split;
    const sella_ranking_options *options;
    place *order;     // [rows of the split] by user, then by row
    uint8_t *taken_n; // [rows of the split] 1: evaluated
    uint8_t *state_i; // [items]
    int32_t *free_k;  // [items] scratch: items that may be candidates
    int32_t *item_i;  // [items] row of the run, -1: not in its catalogue
    rank_case *cases; // [count]
    int64_t *row_c;   // [count] cases[c].row
    int64_t count, skipped;
    double total; // candidates of all cases
    // the block
    sella_query *query_n;
    uint8_t *relevant_n;
    double *logit_n;
    int64_t *end_c; // [cases in the block] where each one's candidates end
    int64_t N, room, block_cases;
} ranker;

static void ranker_release(ranker *r)
{
    free(r->order);
    free(r->taken_n);
    free(r->state_i);
    free(r->free_k);
    free(r->item_i);
    free(r->cases);
    free(r->row_c);
    free(r->query_n);
    free(r->relevant_n);
    free(r->logit_n);
    free(r->end_c);
}

static int compare_place(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->user != y->user) {
        return x->user < y->user ? -1 : 1;
    }
    return (x->row > y->row) - (x->row < y->row);
}

/* Set state_i for a case; returns how many items are relevant. */
static int64_t mark(ranker *r, const rank_case *c)
{
    const int32_t *known;
    int64_t relevant = 0;
    memset(r->state_i, ITEM_FREE, (size_t)r->dataset->items);
    const int32_t n = sella_dataset_history(r->dataset, r->id, c->row, &known);
    for (int32_t j = 0; j < n; j++) {
        r->state_i[known[j]] = ITEM_KNOWN;
    }
    for (int64_t j = c->begin; j < c->end; j++) {
        const int64_t row = r->order[j].row;
        const int32_t item = r->split->item_n[row];
        const bool asked = r->options->per_row ? row == c->row : r->taken_n[row] != 0;
        if (r->split->label_n[row] && asked && r->state_i[item] == ITEM_FREE) {
            r->state_i[item] = ITEM_RELEVANT;
            relevant++;
        }
    }
    /* likes that are not asked for would be wrong negatives */
    for (int64_t j = c->begin; j < c->end; j++) {
        const int64_t row = r->order[j].row;
        if (r->split->label_n[row] && r->state_i[r->split->item_n[row]] == ITEM_FREE) {
            r->state_i[r->split->item_n[row]] = ITEM_KNOWN;
        }
    }
    return relevant;
}

/* Keep the case, or count it as skipped. */
static void consider(ranker *r, rank_case c)
{
    int64_t others = 0;
    c.relevant = mark(r, &c);
    if (c.relevant == 0) {
        r->skipped++;
        return;
    }
    for (int32_t i = 0; i < r->dataset->items; i++) {
        others += r->state_i[i] == ITEM_FREE;
    }
    const int64_t drawn = r->options->negatives > 0 ? r->options->negatives * c.relevant : others;
    c.candidates = c.relevant + (drawn < others ? drawn : others);
    r->total += (double)c.candidates;
    r->row_c[r->count] = c.row;
    r->cases[r->count++] = c;
}

/* The evaluated rows as cases, by user and row. */
static sella_status find_cases(ranker *r, const int64_t *index_k, int64_t k, sella_err *err)
{
    const size_t rows = (size_t)r->split->rows, items = (size_t)r->dataset->items;
    r->order = sella_alloc(rows, sizeof *r->order, "cases of a ranking", err);
    r->taken_n = sella_alloc(rows, 1, "cases of a ranking", err);
    r->cases = sella_alloc(rows, sizeof *r->cases, "cases of a ranking", err);
    r->row_c = sella_alloc(rows, sizeof *r->row_c, "cases of a ranking", err);
    r->state_i = sella_alloc(items, 1, "candidates of a ranking", err);
    r->free_k = sella_alloc(items, sizeof *r->free_k, "candidates of a ranking", err);
    r->item_i = sella_alloc(items, sizeof *r->item_i, "candidates of a ranking", err);
    if (!r->order || !r->taken_n || !r->cases || !r->row_c || !r->state_i || !r->free_k ||
        !r->item_i) {
        return SELLA_MEMORY;
    }
    for (int32_t i = 0; i < r->dataset->items; i++) {
        r->item_i[i] = sella_run_find_item(r->engine->run, r->dataset->item_id[i]);
    }
    for (int64_t n = 0; n < r->split->rows; n++) {
        r->order[n] = (place){r->split->user_n[n], n};
    }
    qsort(r->order, rows, sizeof *r->order, compare_place);
    for (int64_t j = 0; j < k; j++) {
        r->taken_n[index_k[j]] = 1;
    }
    for (int64_t begin = 0, end; begin < r->split->rows; begin = end) {
        bool any = false;
        for (end = begin; end < r->split->rows && r->order[end].user == r->order[begin].user;
             end++) {
            any = any || r->taken_n[r->order[end].row];
        }
        if (any && !r->options->per_row) {
            consider(r, (rank_case){.begin = begin, .end = end, .row = r->order[begin].row});
        }
        for (int64_t j = begin; j < end && r->options->per_row; j++) {
            if (r->taken_n[r->order[j].row] && r->split->label_n[r->order[j].row]) {
                consider(r, (rank_case){.begin = begin, .end = end, .row = r->order[j].row});
            }
        }
    }
    return SELLA_OK;
}

/* Room for a block and the largest case. */
static sella_status make_room(ranker *r, sella_err *err)
{
    int64_t most = 0;
    for (int64_t c = 0; c < r->count; c++) {
        most = r->cases[c].candidates > most ? r->cases[c].candidates : most;
    }
    const size_t room = (size_t)(BLOCK + most);
    r->query_n = sella_alloc(room, sizeof *r->query_n, "candidates of a ranking", err);
    r->relevant_n = sella_alloc(room, sizeof *r->relevant_n, "candidates of a ranking", err);
    r->logit_n = sella_alloc(room, sizeof *r->logit_n, "candidates of a ranking", err);
    r->end_c = sella_alloc(BLOCK + 1, sizeof *r->end_c, "candidates of a ranking", err);
    return r->query_n && r->relevant_n && r->logit_n && r->end_c ? SELLA_OK : SELLA_MEMORY;
}

static void add_candidate(ranker *r, const sella_query *base, int64_t group, int32_t item,
                          bool relevant)
{
    sella_query *q = &r->query_n[r->N];
    *q = *base;
    q->item = r->item_i[item];
    q->target_text = q->item < 0 ? r->dataset->title[item] : NULL;
    q->group = (int32_t)group;
    r->relevant_n[r->N++] = relevant;
}

/* Append a case's candidates to the block: relevant ones in catalogue order, then the others, all
 * or drawn. */
static void add_case(ranker *r, const rank_case *c, const sella_query *base)
{
    int64_t others = 0;
    mark(r, c);
    for (int32_t i = 0; i < r->dataset->items; i++) {
        if (r->state_i[i] == ITEM_RELEVANT) {
            add_candidate(r, base, r->block_cases, i, true);
        } else if (r->state_i[i] == ITEM_FREE) {
            r->free_k[others++] = i;
        }
    }
    const sella_rng rng = {r->options->seed, SELLA_STREAM_RANKING,
                           (uint32_t)r->split->user_n[c->row],
                           r->options->per_row ? (uint32_t)c->row : 0};
    for (int64_t j = 0; j < c->candidates - c->relevant; j++) {
        /* the first of a permutation: more negatives hold fewer ones */
        if (c->candidates - c->relevant < others) {
            const int64_t at =
                j + (int64_t)sella_rng_below(&rng, (uint64_t)j, (uint64_t)(others - j));
            const int32_t swap = r->free_k[at];
            r->free_k[at] = r->free_k[j];
            r->free_k[j] = swap;
        }
        add_candidate(r, base, r->block_cases, r->free_k[j], false);
    }
    r->end_c[r->block_cases++] = r->N;
}

static sella_status score_block(ranker *r, sella_ranking *ranking, sella_progress *progress,
                                double *done, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_scorer *scorer = r->engine->scorer;
    const sella_talk *talk = r->engine->talk;
    sella_talk quiet =
        talk ? (sella_talk){.line = talk->line, .stop = talk->stop, .user = talk->user}
             : (sella_talk){0};
    for (int64_t first = 0; first < r->N; first += PIECE) {
        const int64_t n = r->N - first < PIECE ? r->N - first : PIECE;
        if (sella_stop_wanted(talk)) {
            status = sella_err_set(err, SELLA_INTERRUPTED, "the ranking was stopped");
            goto done;
        }
        SELLA_TRY(
            scorer->ops->score(scorer, r->query_n + first, n, r->logit_n + first, &quiet, err));
        *done += (double)n;
        sella_progress_step(progress, *done, NULL);
    }
    for (int64_t c = 0, first = 0; c < r->block_cases; first = r->end_c[c++]) {
        SELLA_TRY(sella_ranking_case(ranking, r->logit_n + first, r->relevant_n + first,
                                     r->end_c[c] - first, err));
    }
    r->N = r->block_cases = 0;
done:
    return status;
}

static sella_status rank_all(ranker *r, sella_ranking *ranking, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_query *base_c = NULL;
    int32_t *pool = NULL;
    sella_progress progress;
    double done = 0;
    SELLA_TRY(make_room(r, err));
    SELLA_TRY(sella_queries_from_split(r->engine->run, r->dataset, r->id, r->row_c, r->count,
                                       &base_c, &pool, err));
    sella_progress_start(&progress, r->engine->talk, "ranking", "candidates", r->total, 0);
    for (int64_t c = 0; c < r->count; c++) {
        add_case(r, &r->cases[c], &base_c[c]);
        if (r->N >= BLOCK || c + 1 == r->count) {
            SELLA_TRY(score_block(r, ranking, &progress, &done, err));
        }
    }
    sella_progress_end(&progress);
done:
    free(base_c);
    free(pool);
    return status;
}

static json_t *ranking_json(const ranker *r, const sella_ranking *ranking)
{
    const sella_ranking_options *o = r->options;
    const bool sampled = o->negatives > 0;
    const double cases = ranking->cases > 0 ? (double)ranking->cases : 1;
    json_t *at = json_array();
    for (int c = 0; c < ranking->cutoffs; c++) {
        const sella_ranking_figures f = sella_ranking_mean(ranking, c);
        json_array_append_new(
            at, json_pack("{s:i, s:o, s:o, s:o, s:o}", "k", ranking->at_k[c], "ndcg",
                          sella_json_real(f.ndcg), "recall", sella_json_real(f.recall), "mrr",
                          sella_json_real(f.mrr), "hit_rate", sella_json_real(f.hit_rate)));
    }
    return json_pack(
        "{s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:o, s:o}", "candidates", sampled ? "sampled" : "full",
        "negatives", sampled ? json_integer(o->negatives) : json_null(), "seed",
        sampled ? json_integer((json_int_t)o->seed) : json_null(), "per",
        o->per_row ? "row" : "user", "cases", (json_int_t)ranking->cases, "skipped",
        (json_int_t)r->skipped, "relevant", (json_int_t)ranking->relevant, "candidates_mean",
        sella_json_real((double)ranking->candidates / cases), "at", at);
}

sella_status sella_rank_split(const sella_engine *engine, const sella_dataset *dataset,
                              sella_split_id split, const int64_t *index_k, int64_t k,
                              const sella_ranking_options *options, json_t **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_ranking ranking;
    ranker r = {.engine = engine,
                .dataset = dataset,
                .id = split,
                .split = &dataset->split[split],
                .options = options};
    *out = NULL;
    SELLA_TRY(sella_ranking_init(&ranking, options->at_k, options->at_count, err));
    if (options->negatives < 0) {
        status = sella_err_set(err, SELLA_ARG,
                               "%d negatives of a ranking; expected 1 or more, or 0 for all",
                               options->negatives);
        goto done;
    }
    SELLA_TRY(find_cases(&r, index_k, k, err));
    SELLA_TRY(rank_all(&r, &ranking, err));
    *out = ranking_json(&r, &ranking);
    status = *out ? SELLA_OK : sella_err_memory(err, "ranking figures", 1024);
done:
    ranker_release(&r);
    return status;
}
