/* bootstrap.c - intervals by drawing users with replacement (eval/metrics.h).
 *
 * Draw d gives user u the number of times that u comes up in as many drawings as there are users;
 * the drawing k of draw d is a pure function of (seed, d, k), so draws run in parallel and are the
 * same for any number of threads.
 */
#include <math.h>

#include "base/arena.h"
#include "base/rng.h"
#include "eval/metrics.h"
#include "eval/ranked.h"

static int compare_double(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* Value at share q of n sorted values, linear between neighbours. */
static double percentile(const double *sorted, int n, double q)
{
    const double at = q * (n - 1);
    const int below = (int)floor(at);
    const int above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

/* NaN draws do not count. value [draws] is sorted in place. */
static sella_interval interval_of(double *value, int draws)
{
    int n = 0;
    for (int d = 0; d < draws; d++) {
        if (!isnan(value[d])) {
            value[n++] = value[d];
        }
    }
    if (n == 0) {
        return (sella_interval){NAN, NAN};
    }
    qsort(value, (size_t)n, sizeof *value, compare_double);
    return (sella_interval){percentile(value, n, .025), percentile(value, n, .975)};
}

static void draw_users(uint64_t seed, int draw, int32_t users, int32_t *weight)
{
    const sella_rng rng = {.seed = seed, .stream = SELLA_STREAM_BOOTSTRAP, .a = (uint32_t)draw};
    memset(weight, 0, (size_t)users * sizeof *weight);
    for (int32_t k = 0; k < users; k++) {
        weight[sella_rng_below(&rng, (uint64_t)k, (uint64_t)users)]++;
    }
}

/* auc_d, uauc_d out [draws]: figures of a, or differences a - b when b is given (its users are
 * numbered as a's). */
static sella_status draw_all(const sella_ranked *a, const sella_ranked *b, int draws, uint64_t seed,
                             double *auc_d, double *uauc_d, sella_err *err)
{
    bool memory = true;
    const int32_t users = a->users;
#pragma omp parallel reduction(&& : memory)
    {
        int32_t *weight = sella_alloc((size_t)users, sizeof *weight, "bootstrap weights", NULL);
        memory = weight != NULL;
#pragma omp for schedule(static)
        for (int d = 0; d < draws; d++) {
            if (weight) {
                draw_users(seed, d, users, weight);
                auc_d[d] = sella_ranked_auc(a->by_score, a->rows, weight);
                uauc_d[d] = sella_ranked_uauc(a, weight, NULL);
                if (b) {
                    auc_d[d] -= sella_ranked_auc(b->by_score, b->rows, weight);
                    uauc_d[d] -= sella_ranked_uauc(b, weight, NULL);
                }
            }
        }
        free(weight);
    }
    return memory ? SELLA_OK
                  : sella_err_memory(err, "bootstrap weights", (size_t)users * sizeof(int32_t));
}

static sella_status intervals(const sella_ranked *a, const sella_ranked *b, int draws,
                              uint64_t seed, sella_interval *auc, sella_interval *uauc,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    double *auc_d = NULL, *uauc_d = NULL;
    if (draws < 1 || draws > SELLA_DRAWS_MAX) {
        return sella_err_set(err, SELLA_ARG, "%d bootstrap draws; expected 1 to %d", draws,
                             SELLA_DRAWS_MAX);
    }
    auc_d = sella_alloc((size_t)draws, sizeof *auc_d, "bootstrap draws", err);
    uauc_d = sella_alloc((size_t)draws, sizeof *uauc_d, "bootstrap draws", err);
    if (!auc_d || !uauc_d) {
        status = SELLA_MEMORY;
        goto done;
    }
    SELLA_TRY(draw_all(a, b, draws, seed, auc_d, uauc_d, err));
    *auc = interval_of(auc_d, draws);
    *uauc = interval_of(uauc_d, draws);
done:
    free(auc_d);
    free(uauc_d);
    return status;
}

sella_status sella_bootstrap(const int32_t *user_n, const uint8_t *label_n, const double *score_n,
                             int64_t N, int draws, uint64_t seed, sella_interval *auc,
                             sella_interval *uauc, sella_err *err)
{
    sella_ranked ranked;
    sella_status status = sella_ranked_fill(user_n, label_n, score_n, NULL, N, &ranked, err);
    if (status == SELLA_OK) {
        status = intervals(&ranked, NULL, draws, seed, auc, uauc, err);
        sella_ranked_release(&ranked);
    }
    return status;
}

sella_status sella_bootstrap_paired(const int32_t *user_n, const uint8_t *label_n,
                                    const double *a_n, const double *b_n, int64_t N, int draws,
                                    uint64_t seed, sella_comparison *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_ranked a = {0}, b = {0};
    SELLA_TRY(sella_ranked_fill(user_n, label_n, a_n, NULL, N, &a, err));
    SELLA_TRY(sella_ranked_fill(user_n, label_n, b_n, NULL, N, &b, err));
    *out = (sella_comparison){.rows = N, .users = a.users, .draws = draws};
    out->auc_a = sella_ranked_auc(a.by_score, a.rows, NULL);
    out->auc_b = sella_ranked_auc(b.by_score, b.rows, NULL);
    out->auc_diff = out->auc_a - out->auc_b;
    out->uauc_a = sella_ranked_uauc(&a, NULL, NULL);
    out->uauc_b = sella_ranked_uauc(&b, NULL, NULL);
    out->uauc_diff = out->uauc_a - out->uauc_b;
    status = intervals(&a, &b, draws, seed, &out->auc_ci, &out->uauc_ci, err);
done:
    sella_ranked_release(&a);
    sella_ranked_release(&b);
    return status;
}
