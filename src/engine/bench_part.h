/* bench_part.h - what the benches share: the clock, the roof, a model with rows to run through it.
 *
 * Does:     bench.c resolves the options and calls one bench; each measures in turns with the roof
 *           and tells its lines at the end.
 * Memory:   caller-held structs, released with their _release.
 * Not here: the options' meaning (sella/bench.h).
 */
#ifndef SELLA_ENGINE_BENCH_PART_H
#define SELLA_ENGINE_BENCH_PART_H

#include "backbone/pass.h"
#include "sella/bench.h"
#include "train/optimizer.h"

/* ---- bench_clock.c ---- */

typedef struct sella_sample {
    double seconds;
    double cpu; /* seconds of all threads of this process */
} sella_sample;

/* Now, as a point to subtract from. */
sella_sample sella_sample_now(void);
sella_sample sella_sample_since(sella_sample start);
/* Sorts sample_r by seconds. which 0: best, 1: median (the upper one of an even count). */
sella_sample sella_sample_pick(sella_sample *sample_r, int runs, int which);

/* A folder of its own below $TMPDIR, else /tmp: free() the path, and remove the folder. */
sella_status sella_bench_folder(char **path, sella_err *err);

/* What others do with the processors, from /proc/stat. */
typedef struct sella_load {
    double busy; /* seconds of all processors since boot; NaN: unknown */
    sella_sample own;
} sella_load;
sella_load sella_load_now(void);
/* Share of all processors that others had since then; NaN: unknown. */
double sella_load_foreign(sella_load since);

/* Where lines go, and what all of them hold. */
typedef struct sella_bench_sink {
    void (*each)(void *user, const sella_measurement *measurement);
    void *user;
    const sella_bench_options *options; /* resolved */
    sella_load start;
} sella_bench_sink;

/* A measurement with every figure that does not exist NaN. */
sella_measurement sella_measurement_new(const char *unit, double rate, double bound_share);
/* Completes m (name, work with "best of", memory, threads, load) and hands it on. which as in
 * sella_sample_pick; -1: mean. */
void sella_bench_tell(const sella_bench_sink *out, const char *name, const char *work, int which,
                      sella_sample took, sella_measurement m);

/* ---- bench_roof.c ---- */

enum { SELLA_ROOF_PRODUCTS = 4 };

/* The four products of one layer: y [M, N] = x [M, K] W' [K, N]. */
typedef struct sella_roof {
    int M;
    struct {
        const char *name;
        int N, K;
    } product[SELLA_ROOF_PRODUCTS];
    float *x; /* [M, max K] */
    float *w; /* [max N K] */
    float *y; /* [M, max N] */
    sella_sample *sample_r[SELLA_ROOF_PRODUCTS + 1]; /* [runs] of one product; last: of all four */
    int runs, done;
} sella_roof;

sella_status sella_roof_init(sella_roof *roof, const sella_backbone_config *shape, int M, int runs,
                             sella_err *err);
void sella_roof_release(sella_roof *roof);
/* One measurement of every product, each the fastest of `calls`; nothing once `runs` are done. */
void sella_roof_measure(sella_roof *roof, int calls);
/* FLOP/s of the fastest time of each product. */
double sella_roof_rate(const sella_roof *roof);
/* FLOP of the four products over T tokens. */
double sella_roof_layer(const sella_roof *roof, int T);
/* All four products together, and with `parts` each of them. */
void sella_roof_tell(sella_roof *roof, bool parts, const sella_bench_sink *out);

/* ---- bench_model.c ---- */

/* A backbone and all that one pass needs. */
typedef struct sella_bench_model {
    sella_backbone *backbone;
    sella_lora *lora;           /* NULL: scoring only */
    sella_pass *pass;
    sella_optimizer *optimizer; /* NULL: scoring only */
    float *answer, *danswer;    /* [tokens, C] */
    float *direction;           /* [C] head row of one label minus the other */
    int64_t step;
} sella_bench_model;

/* yes, no: label tokens of the direction. */
sella_status sella_bench_model_open(const sella_bench_options *options, bool train,
                                    sella_bench_model *out, sella_err *err);
sella_status sella_bench_model_direction(sella_bench_model *model, int32_t yes, int32_t no,
                                         sella_err *err);
void sella_bench_model_release(sella_bench_model *model);
/* z_n (or NULL) [batch rows]: logits at each row's number. backward: gradients of the mean BCE over
 * `rows` rows are accumulated. */
sella_status sella_bench_model_pass(sella_bench_model *model, const sella_tree_batch *batch,
                                    bool backward, int64_t rows, float *z_n, sella_err *err);

/* The part of a pass behind its forward half: logits of model->answer, and backward. */
sella_status sella_bench_model_answers(sella_bench_model *model, const sella_tree_batch *batch,
                                       bool backward, int64_t rows, float *z_n, sella_err *err);

/* Ids of made-up text: s = s * 6364136223846793005 + 1442695040888963407 (mod 2^64), id = (s >> 33)
 * mod V. bench/peers has the same. */
typedef struct sella_bench_text {
    uint64_t s;
} sella_bench_text;
uint32_t sella_bench_text_below(sella_bench_text *text, uint32_t n);
/* Rows of made-up text with ids below V, each of its own group, until they have
 * options->tokens in all; the last one is cut. row_tokens: of each; 0: drawn, 105 to 169. */
sella_status sella_bench_rows(const sella_bench_options *options, int row_tokens, uint32_t V,
                              sella_rows *rows, sella_err *err);

/* ---- the benches: each opens, measures, tells ---- */

sella_status sella_bench_model_run(const sella_bench_options *options, const sella_bench_sink *out,
                                   sella_err *err);
sella_status sella_bench_prefix(const sella_bench_options *options, const sella_bench_sink *out,
                                sella_err *err);
sella_status sella_bench_tsne(const sella_bench_options *options, const sella_bench_sink *out,
                              sella_err *err);
sella_status sella_bench_cache(const sella_bench_options *options, const sella_bench_sink *out,
                               sella_err *err);
sella_status sella_bench_collab(const sella_bench_options *options, const sella_bench_sink *out,
                                sella_err *err);

/* SELLA_INTERRUPTED when the caller wants to stop. */
sella_status sella_bench_stop(const sella_bench_options *options, int run, sella_err *err);

#endif
