/* bench.h - how fast this machine runs the engine, as shares of the sgemm roof measured in the same run.
 *
 * Does:     sella_bench(options, each) calls each() once a measurement, best and median of the runs.
 *           gemm:  sgemm GFLOP/s at the four products of one decoder layer (M = tokens), and all four together: the roof
 *           score: real tokens a second through the forward pass; share = 2 P tokens/s / roof
 *           train: LoRA steps (forward, backward, optimizer);     share = 4 P tokens/s / roof
 *           P: frozen weights outside the embeddings. Recomputation, attention and LoRA's own products are not counted as work.
 * Threads:  internally parallel; measure on an idle machine.
 */
#ifndef SELLA_BENCH_H
#define SELLA_BENCH_H

#include "sella/status.h"
#include "sella/talk.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sella_bench_options {
    const char *what;         /* "gemm", "score", "train" */
    const char *model;        /* needed by score and train; gemm: NULL takes the shapes of a 135M Llama (576 wide, FFN 1,536, 9 and 3 heads) */
    int tokens;               /* packed tokens of one pass, >= 16; 0: 1024 */
    int runs;                 /* measurements of each kind, >= 1; 0: 5 */
    int lora_rank;            /* train; 0: 8 */
    const char *lora_targets; /* train; NULL: "q_proj,v_proj" */
    int threads;              /* 0: physical cores */
    const sella_talk *talk;
    const char *weights;      /* score and train: "expanded" to f32, as "stored", or "auto" (NULL): by free memory */
} sella_bench_options;

typedef struct sella_measurement {
    char name[16];      /* "gemm", "score", "train" */
    char work[160];     /* what was done, with "best of 5" or "median of 5" */
    double seconds;     /* of one pass, step or layer of products */
    double rate;
    char unit[16];      /* "GFLOP/s", "tokens/s" */
    double bound_share; /* of the roof, 1 = all of it */
    double rss_mb;      /* peak resident memory of the process so far */
    int threads;
} sella_measurement;

SELLA_API sella_status sella_bench(const sella_bench_options *options, void (*each)(void *user, const sella_measurement *measurement), void *user,
                                   sella_err *err);

#ifdef __cplusplus
}
#endif
#endif
