/* bench_tsne.c - bench tsne: t-SNE of made-up points as figure 6 calls it (engine/bench_part.h).
 * bench/peers/tsne_peer.py has the same points. There is no roof of products here: what binds is
 * the pairs of the plane.
 */
#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "engine/bench_part.h"
#include "eval/tsne.h"

enum { WIDTH = 64, CLUSTERS = 40 };

/* Uniform in [-1, 1), from the numbers of made-up text. */
static float uniform(sella_bench_text *text)
{
    return (float)sella_bench_text_below(text, 1u << 24) / (float)(1 << 23) - 1.0f;
}

/* Points around CLUSTERS centres: centre + .8 noise, all uniform. */
static void fill(float *x, int N)
{
    sella_bench_text text = {1};
    float centre[CLUSTERS][WIDTH];
    for (int k = 0; k < CLUSTERS; k++) {
        for (int c = 0; c < WIDTH; c++) {
            centre[k][c] = uniform(&text);
        }
    }
    for (int i = 0; i < N; i++) {
        const uint32_t k = sella_bench_text_below(&text, CLUSTERS);
        for (int c = 0; c < WIDTH; c++) {
            x[(size_t)i * WIDTH + (size_t)c] = centre[k][c] + 0.8f * uniform(&text);
        }
    }
}

sella_status sella_bench_tsne(const sella_bench_options *options, const sella_bench_sink *out,
                              sella_err *err)
{
    sella_status status = SELLA_OK;
    const int N = options->points;
    float *x = sella_alloc((size_t)N * WIDTH, sizeof *x, "points", err),
          *y = sella_alloc(2 * (size_t)N, sizeof *y, "points", err);
    sella_sample *sample_r = sella_alloc((size_t)options->runs, sizeof *sample_r, "the times", err);
    double kl = 0;
    char work[128];
    if (!x || !y || !sample_r) {
        SELLA_TRY(SELLA_MEMORY);
    }
    fill(x, N);
    for (int run = 0; run < options->runs; run++) {
        SELLA_TRY(sella_bench_stop(options, run, err));
        const sella_sample start = sella_sample_now();
        SELLA_TRY(sella_tsne(x, N, WIDTH, NULL, y, &kl, options->talk, err));
        sample_r[run] = sella_sample_since(start);
    }
    snprintf(work, sizeof work, "t-SNE of %d points of %d dimensions, 1000 steps, %s", N, WIDTH,
             N > SELLA_TSNE_EXACT_MOST ? "quadtree" : "all pairs");
    for (int which = 0; which < 2; which++) {
        const sella_sample took = sella_sample_pick(sample_r, options->runs, which);
        sella_measurement m = sella_measurement_new("steps/s", 1000 / took.seconds, NAN);
        m.answer = kl;
        sella_bench_tell(out, "tsne", work, which, took, m);
    }
done:
    free(x);
    free(y);
    free(sample_r);
    return status;
}
