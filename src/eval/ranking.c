/* ranking.c - ranking figures of scored candidates (eval/ranking.h).
 *
 * Only the places of relevant candidates matter, and these follow from counting: p(j) = 1 +
 * candidates with a larger score + irrelevant ones with an equal score + relevant ones with an
 * equal score that come before j. So nothing but the relevant scores is sorted, and each candidate
 * is looked up in them: O(N log R).
 */
#include "eval/ranking.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"

sella_status sella_ranking_init(sella_ranking *ranking, const int *at_k, int cutoffs,
                                sella_err *err)
{
    *ranking = (sella_ranking){.cutoffs = cutoffs};
    if (cutoffs < 1 || cutoffs > SELLA_CUTOFFS_MAX) {
        return sella_err_set(err, SELLA_ARG, "%d cutoffs of a ranking; expected 1 to %d", cutoffs,
                             SELLA_CUTOFFS_MAX);
    }
    for (int c = 0; c < cutoffs; c++) {
        if (at_k[c] < 1) {
            return sella_err_set(err, SELLA_ARG, "a ranking cut off at %d; expected 1 or more",
                                 at_k[c]);
        }
        ranking->at_k[c] = at_k[c];
    }
    return SELLA_OK;
}

static int descending(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a < b) - (a > b);
}

/* How many of R descending values are larger than `score`. */
static int64_t count_larger(const double *sorted_r, int64_t R, double score)
{
    int64_t low = 0, high = R;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (sorted_r[middle] > score) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* place_r out [R] ascending places of the relevant ones. before_r scratch [R + 1], zero. */
static void find_places(const double *score_n, const uint8_t *relevant_n, int64_t N,
                        const double *sorted_r, int64_t R, int64_t *before_r, int64_t *place_r)
{
    /* An irrelevant candidate stands before every relevant one whose score is not larger than its
     * own. */
    for (int64_t n = 0; n < N; n++) {
        if (!relevant_n[n]) {
            before_r[count_larger(sorted_r, R, score_n[n])]++;
        }
    }
    int64_t before = 0;
    for (int64_t r = 0; r < R; r++) {
        before += before_r[r];
        place_r[r] = r + 1 + before;
    }
}

static sella_ranking_figures figures_at(int k, const int64_t *place_r, int64_t R)
{
    sella_ranking_figures f = {0};
    double gain = 0, ideal = 0;
    int64_t found = 0;
    for (int64_t r = 0; r < R && place_r[r] <= k; r++) {
        gain += 1 / log2((double)place_r[r] + 1);
        found++;
    }
    for (int64_t p = 1; p <= k && p <= R; p++) {
        ideal += 1 / log2((double)p + 1);
    }
    f.ndcg = gain / ideal;
    f.recall = (double)found / (double)R;
    f.mrr = found > 0 ? 1 / (double)place_r[0] : 0;
    f.hit_rate = found > 0;
    return f;
}

sella_status sella_ranking_case(sella_ranking *ranking, const double *score_n,
                                const uint8_t *relevant_n, int64_t N, sella_err *err)
{
    sella_status status = SELLA_OK;
    double *sorted = NULL;
    int64_t *before = NULL, R = 0;
    for (int64_t n = 0; n < N; n++) {
        if (!isfinite(score_n[n])) {
            return sella_err_set(err, SELLA_DIVERGED, "the score of candidate %lld is not finite",
                                 (long long)n);
        }
        R += relevant_n[n];
    }
    if (R == 0) {
        return sella_err_set(err, SELLA_ARG, "a ranking without a relevant candidate");
    }
    sorted = sella_alloc((size_t)R, sizeof *sorted, "a ranking", err);
    before = sella_alloc(2 * (size_t)R + 1, sizeof *before, "a ranking", err);
    if (!sorted || !before) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (int64_t n = 0, r = 0; n < N; n++) {
        if (relevant_n[n]) {
            sorted[r++] = score_n[n];
        }
    }
    qsort(sorted, (size_t)R, sizeof *sorted, descending);
    int64_t *place = before + R + 1;
    find_places(score_n, relevant_n, N, sorted, R, before, place);
    for (int c = 0; c < ranking->cutoffs; c++) {
        const sella_ranking_figures f = figures_at(ranking->at_k[c], place, R);
        ranking->sum[c].ndcg += f.ndcg;
        ranking->sum[c].recall += f.recall;
        ranking->sum[c].mrr += f.mrr;
        ranking->sum[c].hit_rate += f.hit_rate;
    }
    ranking->cases++;
    ranking->relevant += R;
    ranking->candidates += N;
done:
    free(sorted);
    free(before);
    return status;
}

sella_ranking_figures sella_ranking_mean(const sella_ranking *ranking, int cutoff)
{
    const sella_ranking_figures *s = &ranking->sum[cutoff];
    const double n = ranking->cases > 0 ? (double)ranking->cases : NAN;
    return (sella_ranking_figures){s->ndcg / n, s->recall / n, s->mrr / n, s->hit_rate / n};
}
