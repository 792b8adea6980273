/* bench_roof.c - the sgemm roof: the four products of one decoder layer, as fast as this machine
 * does them now (engine/bench_part.h). */
#include <math.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/rng.h"
#include "engine/bench_part.h"
#include "kernels/gemm.h"

static double product_flop(const sella_roof *r, int p)
{
    return 2.0 * r->M * r->product[p].N * r->product[p].K;
}

double sella_roof_layer(const sella_roof *roof, int T)
{
    double flop = 0.0;
    for (int p = 0; p < SELLA_ROOF_PRODUCTS; p++) {
        flop += 2.0 * T * roof->product[p].N * roof->product[p].K;
    }
    return flop;
}

sella_status sella_roof_init(sella_roof *roof, const sella_backbone_config *c, int M, int runs,
                             sella_err *err)
{
    sella_roof *r = roof;
    *r = (sella_roof){.M = M,
                      .product = {{"q, k, v", (c->H + 2 * c->G) * c->D, c->C},
                                  {"attention out", c->C, c->H * c->D},
                                  {"gate, up", 2 * c->F, c->C},
                                  {"down", c->C, c->F}},
                      .runs = runs};
    size_t most_n = 0, most_k = 0, most_w = 0;
    for (int p = 0; p < SELLA_ROOF_PRODUCTS; p++) {
        const size_t n = (size_t)r->product[p].N;
        const size_t k = (size_t)r->product[p].K;
        most_n = n > most_n ? n : most_n;
        most_k = k > most_k ? k : most_k;
        most_w = n * k > most_w ? n * k : most_w;
    }
    r->x = sella_alloc((size_t)M * most_k, sizeof *r->x, "the products measured", err);
    r->w = sella_alloc(most_w, sizeof *r->w, "the products measured", err);
    r->y = sella_alloc((size_t)M * most_n, sizeof *r->y, "the products measured", err);
    if (r->x == NULL || r->w == NULL || r->y == NULL) {
        return SELLA_MEMORY;
    }
    for (int p = 0; p <= SELLA_ROOF_PRODUCTS; p++) {
        r->sample_r[p] = sella_alloc((size_t)runs, sizeof *r->sample_r[p], "the times", err);
        if (r->sample_r[p] == NULL) {
            return SELLA_MEMORY;
        }
    }
    const sella_rng rng = {.seed = 1, .stream = SELLA_STREAM_TEST};
    for (size_t i = 0; i < (size_t)M * most_k; i++) {
        r->x[i] = sella_rng_uniform(&rng, i) - 0.5f;
    }
    for (size_t i = 0; i < most_w; i++) {
        r->w[i] = sella_rng_uniform(&rng, i) - 0.5f;
    }
    return SELLA_OK;
}

void sella_roof_release(sella_roof *roof)
{
    free(roof->x);
    free(roof->w);
    free(roof->y);
    for (int p = 0; p <= SELLA_ROOF_PRODUCTS; p++) {
        free(roof->sample_r[p]);
    }
    *roof = (sella_roof){0};
}

/* Clocks of an idle processor need a moment to rise, threads to wake. */
static void warm_up(sella_roof *r)
{
    const double start = sella_now();
    do {
        const int N = r->product[0].N, K = r->product[0].K;
        sella_gemm(false, true, r->M, N, K, 1.0f, r->x, K, r->w, K, 0.0f, r->y, N);
    } while (sella_now() - start < 0.1);
}

void sella_roof_measure(sella_roof *roof, int calls)
{
    sella_sample all = {0};
    if (roof->done == roof->runs) {
        return;
    }
    if (roof->done == 0) {
        warm_up(roof);
    }
    for (int p = 0; p < SELLA_ROOF_PRODUCTS; p++) {
        const int N = roof->product[p].N, K = roof->product[p].K;
        sella_sample best = {.seconds = INFINITY};
        for (int i = 0; i < calls; i++) {
            const sella_sample start = sella_sample_now();
            sella_gemm(false, true, roof->M, N, K, 1.0f, roof->x, K, roof->w, K, 0.0f, roof->y, N);
            const sella_sample took = sella_sample_since(start);
            best = took.seconds < best.seconds ? took : best;
        }
        roof->sample_r[p][roof->done] = best;
        all.seconds += best.seconds;
        all.cpu += best.cpu;
    }
    roof->sample_r[SELLA_ROOF_PRODUCTS][roof->done++] = all;
}

static sella_sample best_sum(const sella_roof *r)
{
    sella_sample sum = {0};
    for (int p = 0; p < SELLA_ROOF_PRODUCTS; p++) {
        sella_sample best = r->sample_r[p][0];
        for (int i = 1; i < r->done; i++) {
            best = r->sample_r[p][i].seconds < best.seconds ? r->sample_r[p][i] : best;
        }
        sum.seconds += best.seconds;
        sum.cpu += best.cpu;
    }
    return sum;
}

double sella_roof_rate(const sella_roof *roof)
{
    return sella_roof_layer(roof, roof->M) / best_sum(roof).seconds;
}

/* sella_sample_pick() sorts; readers of the best are indifferent to order. */
void sella_roof_tell(sella_roof *roof, bool parts, const sella_bench_sink *out)
{
    const double top = sella_roof_rate(roof), flop = sella_roof_layer(roof, roof->M);
    char work[96];
    for (int p = 0; parts && p < SELLA_ROOF_PRODUCTS; p++) {
        snprintf(work, sizeof work, "%s: %d x %d x %d", roof->product[p].name, roof->M,
                 roof->product[p].N, roof->product[p].K);
        for (int which = 0; which < 2; which++) {
            const sella_sample took = sella_sample_pick(roof->sample_r[p], roof->done, which);
            const double rate = product_flop(roof, p) / took.seconds;
            sella_bench_tell(out, "gemm", work, which, took,
                             sella_measurement_new("GFLOP/s", rate / 1e9, rate / top));
        }
    }
    snprintf(work, sizeof work, "products of one layer, %d tokens", roof->M);
    sella_bench_tell(out, "gemm", work, 0, best_sum(roof),
                     sella_measurement_new("GFLOP/s", top / 1e9, 1.0));
    const sella_sample took = sella_sample_pick(roof->sample_r[SELLA_ROOF_PRODUCTS], roof->done, 1);
    const double rate = flop / took.seconds;
    sella_bench_tell(out, "gemm", work, 1, took,
                     sella_measurement_new("GFLOP/s", rate / 1e9, rate / top));
}
