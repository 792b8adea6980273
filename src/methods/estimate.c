/* estimate.c - time, memory and rows of a training (methods/estimate.h). */
#include "methods/estimate.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/rng.h"
#include "kernels/gemm.h"

// Share of the measured product rate that work reaches, everything else (attention, norms,
// rendering, optimizer) counted in. Batches of 1,024 tokens reach .95 of it, in scoring and in
// training (docs/performance.md: 870 and 435 tokens a second of 194 GFLOP/s); packed trees are
// smaller.
static const double model_share = 0.85, other_share = 0.2;

// Early stopping usually comes within this share of the epochs.
static const double stops_at = 0.2;

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of processor time of the fastest of some products on one thread. */
static double product_seconds(const float *a, const float *b, float *c, int tokens, int n, int C)
{
    enum { PRODUCTS = 5 };
    const int threads = sella_threads();
    double best = 0;
    sella_threads_set(1);
    for (int k = 0; k <= PRODUCTS; k++) {
        const double start = thread_seconds();
        sella_gemm(false, true, tokens, n, C, 1, a, C, b, C, 0, c, n);
        const double taken = thread_seconds() - start;
        best = k == 1 || (k > 1 && taken < best) ? taken : best; // the first warms caches
    }
    sella_threads_set(threads);
    return best > 1e-9 ? best : 1e-9;
}

static double measure(int C, int n, int tokens, sella_err *err)
{
    double rate = -1;
    float *a = sella_alloc((size_t)tokens * (size_t)C, sizeof *a, "a measurement", err);
    float *b = sella_alloc((size_t)n * (size_t)C, sizeof *b, "a measurement", err);
    float *c = sella_alloc((size_t)tokens * (size_t)n, sizeof *c, "a measurement", err);
    if (!a || !b || !c) {
        goto done;
    }
    sella_rng rng = {1, SELLA_STREAM_TEST, 0, 0};
    for (size_t i = 0; i < (size_t)tokens * (size_t)C; i++) {
        a[i] = sella_rng_uniform(&rng, i) - 0.5f;
    }
    for (size_t i = 0; i < (size_t)n * (size_t)C; i++) {
        b[i] = sella_rng_uniform(&rng, i) - 0.5f;
    }
    rate = 2.0 * tokens * n * C / product_seconds(a, b, c, tokens, n, C) * sella_threads();
done:
    free(a);
    free(b);
    free(c);
    return rate;
}

sella_status sella_rate(sella_rates *rates, int C, int n, int tokens, double *rate, sella_err *err)
{
    for (int i = 0; i < rates->count; i++) {
        if (rates->of[i].C == C && rates->of[i].n == n && rates->of[i].tokens == tokens) {
            *rate = rates->of[i].rate;
            return SELLA_OK;
        }
    }
    *rate = measure(C, n, tokens, err);
    if (*rate <= 0) {
        return SELLA_MEMORY;
    }
    if (rates->count < SELLA_RATES) {
        rates->of[rates->count++] = (struct sella_rate_of){C, n, tokens, *rate};
    }
    return SELLA_OK;
}

double sella_estimate_epochs(int64_t epochs, int64_t least, int64_t patience,
                             const sella_dataset *dataset)
{
    const bool stops = patience > 0 && dataset->split[SELLA_SPLIT_VALID].rows > 0;
    const double likely = stops ? stops_at * (double)epochs : (double)epochs;
    return likely < (double)least ? (double)least : likely;
}

double sella_estimate_seconds(const sella_estimate *estimate, double rate)
{
    return estimate->model_flops / (rate * model_share) +
           estimate->other_flops / (rate * other_share);
}

double sella_token_flops(const sella_backbone_config *shape)
{
    double C = shape->C, q = (double)shape->H * shape->D, kv = (double)shape->G * shape->D;
    return 2.0 * shape->layers * (C * (2 * q + 2 * kv) + 3.0 * C * shape->F);
}

static sella_status seconds_of(const sella_estimate_ask *ask, double rate, double *seconds,
                               sella_err *err)
{
    sella_estimate estimate = {0};
    const sella_status status = ask->method->estimate(ask, &estimate, err);
    *seconds = sella_estimate_seconds(&estimate, rate);
    return status;
}

/* The valid sample is a quarter of the train sample: enough to see an AUC by. */
static void take_rows(sella_estimate_ask *ask, int64_t rows)
{
    const int64_t valid = ask->dataset->split[SELLA_SPLIT_VALID].rows;
    ask->train_rows = rows;
    ask->eval_rows = rows / 4 + 1 < valid ? rows / 4 + 1 : valid;
}

sella_status sella_budget_rows(const sella_estimate_ask *ask, double seconds, double rate,
                               int64_t *train_rows, int64_t *eval_rows, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_estimate_ask tried = *ask;
    const int64_t all = ask->dataset->split[SELLA_SPLIT_TRAIN].rows;
    int64_t low = all < 64 ? all : 64, high = all;
    double taken;
    tried.train_rows = tried.eval_rows = 0;
    SELLA_TRY(seconds_of(&tried, rate, &taken, err));
    if (taken <= seconds) {
        goto done; // everything fits
    }
    while (high - low > 32 + low / 16) {
        const int64_t middle = low + (high - low) / 2;
        take_rows(&tried, middle);
        SELLA_TRY(seconds_of(&tried, rate, &taken, err));
        if (taken <= seconds) {
            low = middle;
        } else {
            high = middle;
        }
    }
    take_rows(&tried, low);
done:
    *train_rows = tried.train_rows;
    *eval_rows = tried.eval_rows;
    return status;
}
