/* queries.c - queries for rows of a data set, in the numbers of a run (methods/method.h).
 *
 * The data set may be another one than the run's: users and items are matched by external ids once,
 * and what the run does not know is -1. An item of a history that the run's catalogue lacks cannot
 * be named in a prompt and is left out. Histories are not copied row by row: where both catalogues
 * are one they point into the data set's pool, else into one translation of that pool, in which
 * every history is a run of entries again.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"
#include "methods/method.h"
#include "methods/place.h"

typedef struct maps {
    int32_t *user_u;       // [dataset users] row of the run, -1: not in train
    int32_t *item_i;       // [dataset items] row of the run, -1: not in the catalogue
    bool same;             // both catalogues are one: item_i[i] = i
    const int32_t *pool;   // what histories point into: the data set's pool, or translated
    int32_t *translated;   // [entries that are kept] rows of the run; NULL when same
    /* [history_total + 1] entries kept before each one of the data set's pool; NULL when same */
    int64_t *place;
} maps;

static void maps_release(maps *map)
{
    free(map->user_u);
    free(map->item_i);
    free(map->translated);
    free(map->place);
}

/* The data set's pool in the run's numbers, without what the run does not know. */
static sella_status translate_pool(const sella_dataset *dataset, maps *map, sella_err *err)
{
    const size_t total = (size_t)dataset->history_total;
    int64_t kept = 0;
    map->translated = sella_alloc(total, sizeof *map->translated, "histories of queries", err);
    map->place = sella_alloc(total + 1, sizeof *map->place, "histories of queries", err);
    if (!map->translated || !map->place) {
        return SELLA_MEMORY;
    }
    for (size_t p = 0; p < total; p++) {
        const int32_t item = map->item_i[dataset->history[p]];
        map->place[p] = kept;
        if (item >= 0) {
            map->translated[kept++] = item;
        }
    }
    map->place[total] = kept;
    map->pool = map->translated;
    return SELLA_OK;
}

static sella_status maps_init(const sella_run *run, const sella_dataset *dataset, maps *out,
                              sella_err *err)
{
    out->user_u = sella_alloc((size_t)dataset->users, sizeof *out->user_u, "the user map", err);
    out->item_i = sella_alloc((size_t)dataset->items, sizeof *out->item_i, "the item map", err);
    if (!out->user_u || !out->item_i) {
        return SELLA_MEMORY;
    }
    for (int32_t u = 0; u < dataset->users; u++) {
        out->user_u[u] = sella_run_find_user(run, dataset->user_id[u]);
    }
    out->same = dataset->items == run->items;
    for (int32_t i = 0; i < dataset->items; i++) {
        out->item_i[i] = sella_run_find_item(run, dataset->item_id[i]);
        out->same = out->same && out->item_i[i] == i;
    }
    out->pool = dataset->history;
    return out->same ? SELLA_OK : translate_pool(dataset, out, err);
}

sella_status sella_queries_from_split(const sella_run *run, const sella_dataset *dataset,
                                      sella_split_id split, const int64_t *index_k, int64_t k,
                                      sella_query **query_n, int32_t **pool, sella_err *err)
{
    sella_status status = SELLA_OK;
    maps map = {0};
    sella_query *queries = NULL;
    *query_n = NULL;
    *pool = NULL;
    const sella_split *rows = &dataset->split[split];
    SELLA_TRY(maps_init(run, dataset, &map, err));
    queries = sella_alloc((size_t)k, sizeof *queries, "queries", err);
    if (!queries) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t q = 0; q < k; q++) {
        const int64_t row = index_k ? index_k[q] : q;
        int64_t first = rows->history_start_n[row], end = first + rows->history_count_n[row];
        if (!map.same) {
            first = map.place[first];
            end = map.place[end];
        }
        queries[q] = (sella_query){.user = map.user_u[rows->user_n[row]],
                                   .item = map.item_i[rows->item_n[row]],
                                   .history_n = end > first ? map.pool + first : NULL,
                                   .history_count = (int32_t)(end - first),
                                   .group = rows->user_n[row]};
        if (queries[q].item < 0) {
            queries[q].target_text = dataset->title[rows->item_n[row]];
        }
    }
    *query_n = queries;
    *pool = map.translated;
    map.translated = NULL;
done:
    maps_release(&map);
    return status;
}

static int compare_row(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The rows of whole runs in a seeded order of runs, until there are k; then sorted. */
static sella_status sample_runs(int64_t length, uint64_t seed, const sella_split *rows,
                                sella_split_id split, int64_t *index_k, int64_t k, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t all = (size_t)rows->rows;
    sella_place *order = sella_alloc(all, sizeof *order, "a sample of rows", err);
    int64_t *run = sella_alloc(all + 1, sizeof *run, "a sample of rows", err),
            *shuffled = sella_alloc(all, sizeof *shuffled, "a sample of rows", err);
    int64_t runs = 0, taken = 0;
    if (!order || !run || !shuffled) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t r = 0; r < rows->rows; r++) {
        order[r] = (sella_place){rows->user_n[r], r};
    }
    sella_places_sort(order, rows->rows);
    for (int64_t r = 0; r < rows->rows; r++) {
        if (r == 0 || order[r].group != order[r - 1].group || r - run[runs - 1] == length) {
            shuffled[runs] = runs;
            run[runs++] = r;
        }
    }
    run[runs] = rows->rows;
    const sella_rng rng = {seed, SELLA_STREAM_SAMPLE, (uint32_t)split, 0};
    sella_rng_shuffle(&rng, shuffled, (size_t)runs);
    for (int64_t j = 0; taken < k; j++) {
        for (int64_t r = run[shuffled[j]]; r < run[shuffled[j] + 1] && taken < k; r++) {
            index_k[taken++] = order[r].index;
        }
    }
    qsort(index_k, (size_t)k, sizeof *index_k, compare_row);
done:
    free(order);
    free(run);
    free(shuffled);
    return status;
}

sella_status sella_sample_rows(int64_t rows, int64_t run, uint64_t seed,
                               const sella_dataset *dataset, sella_split_id split,
                               int64_t **index_k, int64_t *k, sella_err *err)
{
    int64_t all = dataset->split[split].rows;
    *k = rows > 0 && rows < all ? rows : all;
    *index_k = sella_alloc((size_t)*k, sizeof **index_k, "a sample of rows", err);
    if (!*index_k) {
        return SELLA_MEMORY;
    }
    if (*k == all) {
        for (int64_t i = 0; i < all; i++) {
            (*index_k)[i] = i;
        }
        return SELLA_OK;
    }
    sella_status status = sample_runs(run, seed, &dataset->split[split], split, *index_k, *k, err);
    if (status != SELLA_OK) {
        free(*index_k);
        *index_k = NULL;
    }
    return status;
}
