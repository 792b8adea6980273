/* metrics.c - figures of rows and their JSON object (eval/metrics.h). */
#include "eval/metrics.h"

#include <math.h>

#include "base/arena.h"
#include "base/json.h"
#include "eval/ranked.h"

static double logloss(const uint8_t *label_n, const double *score_n, const uint8_t *subset_n,
                      int64_t N)
{
    double sum = 0;
    int64_t rows = 0;
    for (int64_t i = 0; i < N; i++) {
        if (subset_n && !subset_n[i]) {
            continue;
        }
        if (!(score_n[i] >= 0 && score_n[i] <= 1)) {
            return NAN;
        }
        const double p = fmin(fmax(score_n[i], 1e-15), 1 - 1e-15);
        sum -= label_n[i] ? log(p) : log1p(-p);
        rows++;
    }
    return rows == 0 ? NAN : sum / (double)rows;
}

sella_status sella_figures_compute(const int32_t *user_n, const uint8_t *label_n,
                                   const double *score_n, const uint8_t *subset_n, int64_t N,
                                   sella_figures *out, sella_err *err)
{
    sella_ranked ranked;
    const sella_status status =
        sella_ranked_fill(user_n, label_n, score_n, subset_n, N, &ranked, err);
    if (status != SELLA_OK) {
        return status;
    }
    out->rows = ranked.rows;
    out->auc = sella_ranked_auc(ranked.by_score, ranked.rows, NULL);
    out->uauc = sella_ranked_uauc(&ranked, NULL, &out->uauc_users);
    out->uauc_skipped = ranked.users - out->uauc_users;
    out->logloss = logloss(label_n, score_n, subset_n, N);
    sella_ranked_release(&ranked);
    return SELLA_OK;
}

double sella_auc(const double *score_n, const uint8_t *label_n, int64_t N, sella_err *err)
{
    sella_ranked ranked;
    if (sella_ranked_fill(NULL, label_n, score_n, NULL, N, &ranked, err) != SELLA_OK) {
        return NAN;
    }
    const double auc = sella_ranked_auc(ranked.by_score, ranked.rows, NULL);
    sella_ranked_release(&ranked);
    return auc;
}

/* ---- JSON ---- */

json_t *sella_subset_object(const sella_figures *f)
{
    return json_pack("{s:I, s:o, s:o, s:I}", "rows", (json_int_t)f->rows, "auc",
                     sella_json_real(f->auc), "uauc", sella_json_real(f->uauc), "uauc_users",
                     (json_int_t)f->uauc_users);
}

json_t *sella_figures_object(const char *method, const char *dataset, const char *split,
                             const sella_figures *all, const sella_figures *warm,
                             const sella_figures *cold)
{
    json_t *subsets = warm && cold ? json_pack("{s:o, s:o}", "warm", sella_subset_object(warm),
                                               "cold", sella_subset_object(cold))
                                   : json_object();
    return json_pack("{s:s?, s:s?, s:s?, s:I, s:o, s:o, s:I, s:I, s:o, s:o}", "method", method,
                     "dataset", dataset, "split", split, "rows", (json_int_t)all->rows, "auc",
                     sella_json_real(all->auc), "uauc", sella_json_real(all->uauc), "uauc_users",
                     (json_int_t)all->uauc_users, "uauc_skipped_users",
                     (json_int_t)all->uauc_skipped, "logloss", sella_json_real(all->logloss),
                     "subsets", subsets);
}

sella_status sella_figures_json(const char *method, const char *dataset, const char *split,
                                const int32_t *user_n, const uint8_t *label_n,
                                const double *score_n, const uint8_t *warm_n, int64_t N,
                                json_t **out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_figures all, warm, cold;
    uint8_t *cold_n = NULL;
    *out = NULL;
    SELLA_TRY(sella_figures_compute(user_n, label_n, score_n, NULL, N, &all, err));
    if (warm_n) {
        cold_n = sella_alloc((size_t)N, 1, "a subset of rows", err);
        if (!cold_n) {
            status = SELLA_MEMORY;
            goto done;
        }
        for (int64_t i = 0; i < N; i++) {
            cold_n[i] = !warm_n[i];
        }
        SELLA_TRY(sella_figures_compute(user_n, label_n, score_n, warm_n, N, &warm, err));
        SELLA_TRY(sella_figures_compute(user_n, label_n, score_n, cold_n, N, &cold, err));
    }
    *out = sella_figures_object(method, dataset, split, &all, warm_n ? &warm : NULL,
                                warm_n ? &cold : NULL);
    if (!*out) {
        status = sella_err_memory(err, "figures", 0);
    }
done:
    free(cold_n);
    return status;
}
