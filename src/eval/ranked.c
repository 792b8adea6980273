/* ranked.c - sorted rows and their AUC (eval/ranked.h).
 *
 * AUC is the share of pairs (positive, negative) in the right order, a tie counting one half.
 * Walking up the scores, a group of equal scores with p positives and n negatives adds p *
 * (negatives below + n / 2). All counts are whole numbers (twice the sum is kept), so the only
 * rounding is the division at the end.
 */
#include "eval/ranked.h"

#include <math.h>

#include "base/arena.h"

static int compare_score(const void *x, const void *y)
{
    const sella_ranked_row *a = x, *b = y;
    return (a->score > b->score) - (a->score < b->score);
}

static int compare_user(const void *x, const void *y)
{
    const sella_ranked_row *a = x, *b = y;
    return a->user != b->user ? (a->user > b->user) - (a->user < b->user) : compare_score(x, y);
}

double sella_ranked_auc(const sella_ranked_row *sorted, int64_t rows, const int32_t *weight)
{
    uint64_t positives = 0, negatives = 0, twice = 0; // twice <= rows^2 / 2
    for (int64_t i = 0; i < rows;) {
        uint64_t p = 0, n = 0;
        const double score = sorted[i].score;
        for (; i < rows && sorted[i].score == score; i++) {
            const uint64_t w = weight ? (uint64_t)weight[sorted[i].user] : 1;
            p += sorted[i].label ? w : 0;
            n += sorted[i].label ? 0 : w;
        }
        twice += p * (2 * negatives + n);
        positives += p;
        negatives += n;
    }
    return positives == 0 || negatives == 0
               ? NAN
               : (double)twice / (2.0 * (double)positives * (double)negatives);
}

double sella_ranked_uauc(const sella_ranked *ranked, const int32_t *weight, int64_t *used)
{
    double sum = 0;
    int64_t count = 0;
    for (int32_t u = 0; u < ranked->users; u++) {
        const int32_t w = weight ? weight[u] : 1;
        if (!isnan(ranked->user_auc[u])) {
            sum += (double)w * ranked->user_auc[u];
            count += w;
        }
    }
    if (used) {
        *used = count;
    }
    return count == 0 ? NAN : sum / (double)count;
}

/* Dense user numbers and each user's AUC, from rows sorted by user and score. */
static sella_status users_fill(sella_ranked *r, sella_err *err)
{
    int64_t users = 0, start = 0;
    for (int64_t i = 0; i < r->rows; i++) {
        users += i == 0 || r->by_score[i].user != r->by_score[i - 1].user;
    }
    r->user_auc = sella_alloc((size_t)users, sizeof *r->user_auc, "figures of users", err);
    if (!r->user_auc) {
        return SELLA_MEMORY;
    }
    while (start < r->rows) {
        int64_t end = start;
        while (end < r->rows && r->by_score[end].user == r->by_score[start].user) {
            end++;
        }
        r->user_auc[r->users] = sella_ranked_auc(r->by_score + start, end - start, NULL);
        for (int64_t i = start; i < end; i++) {
            r->by_score[i].user =
                /* after the comparison above: codes ascend, so no later user equals it by chance */
                r->users;
        }
        r->users++;
        start = end;
    }
    return SELLA_OK;
}

sella_status sella_ranked_fill(const int32_t *user_n, const uint8_t *label_n, const double *score_n,
                               const uint8_t *subset_n, int64_t N, sella_ranked *out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    *out = (sella_ranked){0};
    if (N < 0 || N > INT32_MAX) {
        return sella_err_set(err, SELLA_ARG, "%lld rows; expected 0 to %d", (long long)N,
                             INT32_MAX);
    }
    out->by_score = sella_alloc((size_t)N, sizeof *out->by_score, "rows to sort", err);
    if (!out->by_score) {
        return SELLA_MEMORY;
    }
    for (int64_t i = 0; i < N; i++) {
        if (subset_n && !subset_n[i]) {
            continue;
        }
        if (!isfinite(score_n[i])) {
            status = sella_err_set(err, SELLA_DIVERGED, "the score of row %lld is not finite (%g)",
                                   (long long)i + 1, score_n[i]);
            goto done;
        }
        if (label_n[i] > 1) {
            status = sella_err_set(err, SELLA_ARG, "the label of row %lld is %d; expected 0 or 1",
                                   (long long)i + 1, label_n[i]);
            goto done;
        }
        out->by_score[out->rows++] =
            (sella_ranked_row){score_n[i], user_n ? user_n[i] : 0, label_n[i]};
    }
    qsort(out->by_score, (size_t)out->rows, sizeof *out->by_score, compare_user);
    SELLA_TRY(users_fill(out, err));
    qsort(out->by_score, (size_t)out->rows, sizeof *out->by_score, compare_score);
done:
    if (status != SELLA_OK) {
        sella_ranked_release(out);
    }
    return status;
}

void sella_ranked_release(sella_ranked *ranked)
{
    free(ranked->by_score);
    free(ranked->user_auc);
    *ranked = (sella_ranked){0};
}
