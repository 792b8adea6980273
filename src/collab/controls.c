/* controls.c - itembias and bias (collab/controls.h).
 *
 * bias is a convex problem in U + I + 1 numbers x = (b_u..., b_i..., b_0). Newton's direction d
 * solves H d = -g, where H = diag(2, ..., 1/2, ..., 0) + sum over rows of s (1 - s) a a^T and a
 * picks the three numbers of a row; conjugate gradients need only products H v, one pass over the
 * rows each. Steps are halved until the objective falls, so it converges from anywhere.
 */
#include "collab/controls.h"

#include <math.h>

#include "base/arena.h"
#include "kernels/activation.h"

static sella_status interactions_check(const sella_interactions *train, int64_t *positives,
                                       sella_err *err)
{
    *positives = 0;
    for (int64_t n = 0; n < train->rows; n++) {
        *positives += train->label_n[n] != 0;
    }
    if (*positives == 0 || *positives == train->rows) {
        return sella_err_set(err, SELLA_STATE,
                             "%lld of %lld training rows have label 1; expected both labels",
                             (long long)*positives, (long long)train->rows);
    }
    return SELLA_OK;
}

static double log_odds(double p)
{
    return log(p) - log1p(-p);
}

sella_status sella_itembias_fit(const sella_interactions *train, int32_t items,
                                sella_param_table *table, sella_err *err)
{
    sella_status status = SELLA_OK;
    const double pseudo = 5;
    int64_t positives;
    double *sum = NULL, *count = NULL;
    SELLA_TRY(interactions_check(train, &positives, err));
    SELLA_TRY(sella_param_add(table, "item.bias", items, 0, err));
    SELLA_TRY(sella_param_add(table, "global.bias", 1, 0, err));
    sum = sella_alloc((size_t)items, sizeof *sum, "item means", err);
    count = sella_alloc((size_t)items, sizeof *count, "item means", err);
    if (!sum || !count) {
        status = SELLA_MEMORY;
        goto done;
    }
    const double mean = (double)positives / (double)train->rows;
    for (int64_t n = 0; n < train->rows; n++) {
        const int32_t i = train->item_n[n];
        if (i >= 0 && i < items) {
            sum[i] += train->label_n[n] ? 1 : 0;
            count[i]++;
        }
    }
    float *bias = sella_param_find(table, "item.bias")->data;
    for (int32_t i = 0; i < items; i++) {
        bias[i] =
            (float)(log_odds((sum[i] + pseudo * mean) / (count[i] + pseudo)) - log_odds(mean));
    }
    sella_param_find(table, "global.bias")->data[0] = (float)log_odds(mean);
done:
    free(sum);
    free(count);
    return status;
}

/* ---- bias ---- */

typedef struct problem {
    const sella_interactions *train;
    int32_t users, items;
    size_t size;         /* users + items + 1 */
    double *x;           /* [size] b_u, b_i, b_0 */
    double *g;           /* [size] gradient */
    double *diagonal;    /* [size] of the Hessian */
    double *d, *r, *p, *hp, *trial; /* [size] Newton direction; conjugate gradients */
    double *weight;      /* [rows] s (1 - s) */
} problem;

static double penalty_of(const problem *q, size_t k)
{
    return k < (size_t)q->users ? 1.0 : k + 1 < q->size ? 0.25 : 0.0;
}

/* Places of a row's user and item in x, or -1 when the row has none of the table. */
static void row_places(const problem *q, int64_t n, int64_t *user, int64_t *item)
{
    const int32_t u = q->train->user_n[n], i = q->train->item_n[n];
    *user = u >= 0 && u < q->users ? u : -1;
    *item = i >= 0 && i < q->items ? (int64_t)q->users + i : -1;
}

static double row_sum(const problem *q, const double *x, int64_t user, int64_t item)
{
    return x[q->size - 1] + (user >= 0 ? x[user] : 0) + (item >= 0 ? x[item] : 0);
}

static void row_add(const problem *q, double *x, int64_t user, int64_t item, double value)
{
    x[q->size - 1] += value;
    if (user >= 0) {
        x[user] += value;
    }
    if (item >= 0) {
        x[item] += value;
    }
}

static double objective(const problem *q, const double *x)
{
    double sum = 0;
    for (int64_t n = 0; n < q->train->rows; n++) {
        int64_t user, item;
        row_places(q, n, &user, &item);
        const double z = row_sum(q, x, user, item);
        sum += fmax(z, 0) + log1p(exp(-fabs(z))) - (q->train->label_n[n] ? z : 0);
    }
    for (size_t k = 0; k < q->size; k++) {
        sum += penalty_of(q, k) * x[k] * x[k];
    }
    return sum;
}

/* Gradient, curvature of every row and the Hessian's diagonal at x. Returns the gradient's largest
 * entry. */
static double derivatives(problem *q)
{
    double largest = 0;
    for (size_t k = 0; k < q->size; k++) {
        q->g[k] = 2 * penalty_of(q, k) * q->x[k];
        q->diagonal[k] = 2 * penalty_of(q, k);
    }
    for (int64_t n = 0; n < q->train->rows; n++) {
        int64_t user, item;
        row_places(q, n, &user, &item);
        const double s = sella_sigmoid(row_sum(q, q->x, user, item));
        q->weight[n] = s * (1 - s);
        row_add(q, q->g, user, item, s - (q->train->label_n[n] ? 1 : 0));
        row_add(q, q->diagonal, user, item, q->weight[n]);
    }
    for (size_t k = 0; k < q->size; k++) {
        largest = fmax(largest, fabs(q->g[k]));
    }
    return largest;
}

static void hessian_times(const problem *q, const double *v, double *out)
{
    for (size_t k = 0; k < q->size; k++) {
        out[k] = 2 * penalty_of(q, k) * v[k];
    }
    for (int64_t n = 0; n < q->train->rows; n++) {
        int64_t user, item;
        row_places(q, n, &user, &item);
        row_add(q, out, user, item, q->weight[n] * row_sum(q, v, user, item));
    }
}

static double dot(const double *a, const double *b, size_t size)
{
    double sum = 0;
    for (size_t k = 0; k < size; k++) {
        sum += a[k] * b[k];
    }
    return sum;
}

/* d = -H^-1 g by conjugate gradients with the diagonal as preconditioner. */
static void newton_direction(problem *q)
{
    enum { ITERATIONS = 200 };
    const size_t size = q->size;
    double rz = 0, start = 0;
    for (size_t k = 0; k < size; k++) {
        q->d[k] = 0;
        q->r[k] = -q->g[k];
        q->p[k] = q->r[k] / q->diagonal[k];
        rz += q->r[k] * q->p[k];
    }
    start = rz;
    for (int it = 0; it < ITERATIONS && rz > 1e-20 * start && rz > 0; it++) {
        hessian_times(q, q->p, q->hp);
        const double step = rz / dot(q->p, q->hp, size);
        double next = 0;
        for (size_t k = 0; k < size; k++) {
            q->d[k] += step * q->p[k];
            q->r[k] -= step * q->hp[k];
            next += q->r[k] * q->r[k] / q->diagonal[k];
        }
        for (size_t k = 0; k < size; k++) {
            q->p[k] = q->r[k] / q->diagonal[k] + next / rz * q->p[k];
        }
        rz = next;
    }
}

/* x moves along d; false when no step makes the objective smaller: rounding is all that is left. */
static bool line_search(problem *q, double *value)
{
    for (double step = 1; step > 1e-12; step /= 2) {
        for (size_t k = 0; k < q->size; k++) {
            q->trial[k] = q->x[k] + step * q->d[k];
        }
        const double next = objective(q, q->trial);
        if (next <= *value) {
            memcpy(q->x, q->trial, q->size * sizeof *q->x);
            *value = next;
            return true;
        }
    }
    return false;
}

static sella_status solve(problem *q, sella_err *err)
{
    enum { ITERATIONS = 100 };
    const double enough = 1e-8 * (double)q->train->rows;
    double value = objective(q, q->x), largest = derivatives(q);
    for (int it = 0; it < ITERATIONS && largest >= enough; it++) {
        newton_direction(q);
        if (!line_search(q, &value)) {
            break;
        }
        largest = derivatives(q);
    }
    return largest < enough ? SELLA_OK
                            : sella_err_set(err, SELLA_DIVERGED,
                                            "bias: the gradient's largest entry is %g after "
                                            "Newton's method; expected less than %g",
                                            largest, enough);
}

sella_status sella_bias_fit(const sella_interactions *train, int32_t users, int32_t items,
                            sella_param_table *table, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t positives;
    problem q = {
        .train = train, .users = users, .items = items, .size = (size_t)users + (size_t)items + 1};
    double *slab = NULL;
    SELLA_TRY(interactions_check(train, &positives, err));
    SELLA_TRY(sella_param_add(table, "user.bias", users, 0, err));
    SELLA_TRY(sella_param_add(table, "item.bias", items, 0, err));
    SELLA_TRY(sella_param_add(table, "global.bias", 1, 0, err));
    slab = sella_alloc(8 * q.size + (size_t)train->rows, sizeof *slab, "the fit of biases", err);
    if (!slab) {
        status = SELLA_MEMORY;
        goto done;
    }
    double **arrays[] = {&q.x, &q.g, &q.diagonal, &q.d, &q.r, &q.p, &q.hp, &q.trial};
    for (size_t a = 0; a < 8; a++) {
        *arrays[a] = slab + a * q.size;
    }
    q.weight = slab + 8 * q.size;
    q.x[q.size - 1] = log_odds((double)positives / (double)train->rows);
    SELLA_TRY(solve(&q, err));
    float *user = sella_param_find(table, "user.bias")->data,
          *item = sella_param_find(table, "item.bias")->data;
    for (int32_t u = 0; u < users; u++) {
        user[u] = (float)q.x[u];
    }
    for (int32_t i = 0; i < items; i++) {
        item[i] = (float)q.x[(size_t)users + (size_t)i];
    }
    sella_param_find(table, "global.bias")->data[0] = (float)q.x[q.size - 1];
done:
    free(slab);
    return status;
}
