/* controls.c - itembias and bias (collab/controls.h).
 *
 * bias is a convex problem in the numbers x = (b_u..., a_i..., v_l..., b_0), v only with text.
 * Newton's direction d solves H d = -g, where H = diag(2, ..., 1/2, ..., 2, ..., 0) + sum over rows
 * of s (1 - s) a a^T and a row's logit is a . x; conjugate gradients need only products H d, one
 * pass over the rows each. Rows see an item as one number, b_i = a_i + v . c_i: it is made before a
 * pass over the rows (expand), and what they say of it is dealt out to a_i and v after it
 * (contract). Steps are halved until the objective falls, so it converges from anywhere.
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
    const float *c;      /* [items, L] the items' text */
    int L;               /* 0: no text */
    size_t size;         /* users + items + L + 1 */
    double *x;           /* [size] b_u, a_i, v_l, b_0 */
    double *g;           /* [size] gradient */
    double *diagonal;    /* [size] of the Hessian */
    double *d, *r, *p, *hp, *trial; /* [size] Newton direction; conjugate gradients */
    double *item_i;      /* [items] b_i, or what the rows say of it */
    double *weight;      /* [rows] s (1 - s) */
    double *row_n;       /* [rows] a row's factor in a sum */
} problem;

static double penalty_of(const problem *q, size_t k)
{
    const size_t users = (size_t)q->users, items = (size_t)q->items;
    return k < users ? 1.0 : k < users + items ? 0.25 : k + 1 < q->size ? 1.0 : 0.0;
}

/* item_i = a_i + v . c_i */
static void expand(const problem *q, const double *x)
{
    const double *a = x + q->users, *v = a + q->items;
#pragma omp parallel for schedule(static) if (q->L > 0)
    for (int32_t i = 0; i < q->items; i++) {
        const float *c = q->L > 0 ? q->c + (size_t)i * (size_t)q->L : NULL;
        double sum = a[i];
        for (int l = 0; l < q->L; l++) {
            sum += v[l] * (double)c[l];
        }
        q->item_i[i] = sum;
    }
}

/* The transpose: a_i += item_i, v += sum_i item_i c_i, in the order of i. */
static void contract(const problem *q, double *x)
{
    double *a = x + q->users, *v = a + q->items;
    for (int32_t i = 0; i < q->items; i++) {
        const float *c = q->L > 0 ? q->c + (size_t)i * (size_t)q->L : NULL;
        a[i] += q->item_i[i];
        for (int l = 0; q->item_i[i] != 0 && l < q->L; l++) {
            v[l] += q->item_i[i] * (double)c[l];
        }
    }
}

/* A row's user and item, or -1 when the row has none of the table. */
static void row_places(const problem *q, int64_t n, int32_t *user, int32_t *item)
{
    const int32_t u = q->train->user_n[n], i = q->train->item_n[n];
    *user = u >= 0 && u < q->users ? u : -1;
    *item = i >= 0 && i < q->items ? i : -1;
}

/* a . x of a row. Requires: expand(q, x). */
static double row_sum(const problem *q, const double *x, int32_t user, int32_t item)
{
    return x[q->size - 1] + (user >= 0 ? x[user] : 0) + (item >= 0 ? q->item_i[item] : 0);
}

static double objective(const problem *q, const double *x)
{
    double sum = 0;
    expand(q, x);
    for (int64_t n = 0; n < q->train->rows; n++) {
        int32_t user, item;
        row_places(q, n, &user, &item);
        const double z = row_sum(q, x, user, item);
        sum += fmax(z, 0) + log1p(exp(-fabs(z))) - (q->train->label_n[n] ? z : 0);
    }
    for (size_t k = 0; k < q->size; k++) {
        sum += penalty_of(q, k) * x[k] * x[k];
    }
    return sum;
}

/* out += sum over rows of number_n a, but for the items' part, which is left in item_i. */
static void add_rows(const problem *q, const double *number_n, double *out)
{
    memset(q->item_i, 0, (size_t)q->items * sizeof *q->item_i);
    for (int64_t n = 0; n < q->train->rows; n++) {
        int32_t user, item;
        row_places(q, n, &user, &item);
        out[q->size - 1] += number_n[n];
        if (user >= 0) {
            out[user] += number_n[n];
        }
        if (item >= 0) {
            q->item_i[item] += number_n[n];
        }
    }
}

/* out = sum over rows of number_n a, beside the penalties' 2 penalty_k v_k. */
static void sum_rows(const problem *q, const double *v, const double *number_n, double *out)
{
    for (size_t k = 0; k < q->size; k++) {
        out[k] = 2 * penalty_of(q, k) * v[k];
    }
    add_rows(q, number_n, out);
    contract(q, out);
}

/* The Hessian's diagonal: that of v_l is sum over rows of s (1 - s) c_il^2. */
static void diagonal(problem *q)
{
    double *a = q->diagonal + q->users, *v = a + q->items;
    for (size_t k = 0; k < q->size; k++) {
        q->diagonal[k] = 2 * penalty_of(q, k);
    }
    add_rows(q, q->weight, q->diagonal);
    for (int32_t i = 0; i < q->items; i++) {
        const float *c = q->L > 0 ? q->c + (size_t)i * (size_t)q->L : NULL;
        a[i] += q->item_i[i];
        for (int l = 0; l < q->L; l++) {
            v[l] += q->item_i[i] * (double)c[l] * (double)c[l];
        }
    }
}

/* Gradient, curvature of every row and the Hessian's diagonal at x. Returns the gradient's largest
 * entry. */
static double derivatives(problem *q)
{
    double largest = 0;
    expand(q, q->x);
    for (int64_t n = 0; n < q->train->rows; n++) {
        int32_t user, item;
        row_places(q, n, &user, &item);
        const double s = sella_sigmoid(row_sum(q, q->x, user, item));
        q->weight[n] = s * (1 - s);
        q->row_n[n] = s - (q->train->label_n[n] ? 1 : 0);
    }
    sum_rows(q, q->x, q->row_n, q->g);
    diagonal(q);
    for (size_t k = 0; k < q->size; k++) {
        largest = fmax(largest, fabs(q->g[k]));
    }
    return largest;
}

static void hessian_times(const problem *q, const double *v, double *out)
{
    expand(q, v);
    for (int64_t n = 0; n < q->train->rows; n++) {
        int32_t user, item;
        row_places(q, n, &user, &item);
        q->row_n[n] = q->weight[n] * row_sum(q, v, user, item);
    }
    sum_rows(q, v, q->row_n, out);
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
                            const sella_item_text *text, sella_param_table *table, sella_err *err)
{
    sella_status status = SELLA_OK;
    int64_t positives;
    const int L = text ? text->L : 0;
    problem q = {.train = train,
                 .users = users,
                 .items = items,
                 .c = text ? text->c : NULL,
                 .L = L,
                 .size = (size_t)users + (size_t)items + (size_t)L + 1};
    double *slab = NULL;
    SELLA_TRY(interactions_check(train, &positives, err));
    SELLA_TRY(sella_param_add(table, "user.bias", users, 0, err));
    SELLA_TRY(sella_param_add(table, "item.bias", items, 0, err));
    SELLA_TRY(sella_param_add(table, "global.bias", 1, 0, err));
    slab = sella_alloc(8 * q.size + (size_t)items + 2 * (size_t)train->rows, sizeof *slab,
                       "the fit of biases", err);
    if (!slab) {
        status = SELLA_MEMORY;
        goto done;
    }
    double **arrays[] = {&q.x, &q.g, &q.diagonal, &q.d, &q.r, &q.p, &q.hp, &q.trial};
    for (size_t a = 0; a < 8; a++) {
        *arrays[a] = slab + a * q.size;
    }
    q.item_i = slab + 8 * q.size;
    q.weight = q.item_i + items;
    q.row_n = q.weight + train->rows;
    q.x[q.size - 1] = log_odds((double)positives / (double)train->rows);
    SELLA_TRY(solve(&q, err));
    float *user = sella_param_find(table, "user.bias")->data,
          *item = sella_param_find(table, "item.bias")->data;
    for (int32_t u = 0; u < users; u++) {
        user[u] = (float)q.x[u];
    }
    expand(&q, q.x);
    for (int32_t i = 0; i < items; i++) {
        item[i] = (float)q.item_i[i];
    }
    sella_param_find(table, "global.bias")->data[0] = (float)q.x[q.size - 1];
done:
    free(slab);
    return status;
}
