/* bench.h - how fast this machine runs the engine, as shares of the sgemm roof measured in the same
 * run.
 *
 * Does:     sella_bench(options, each) calls each() once a measurement, best and median of the
 *           runs.
 *           gemm:   sgemm GFLOP/s at the four products of one decoder layer (M = tokens), and all
 *                   four together: the roof
 *           score:  real tokens a second through the forward pass; share = 2 P tokens/s / roof
 *           train:  LoRA steps (forward, backward, optimizer); share = 4 P tokens/s / roof
 *           prefix: rows that share a prefix, in trees against one by one (packed, without
 *                   sharing), scored and trained (forward, backward): token_ratio, speed_up, share
 *                   of the ratio turned into time, and by how much the results differ
 *           cache:  LoRA steps with adapters from layer K on: the layers below computed and written
 *                   to disk (the first epoch), computed again, read from disk, and computed for the
 *                   whole batch at once; share = FLOP of the layers that run / seconds / roof
 *           collab: one epoch of method mf, 64 wide, through sella_train; share =
 *                   6 k ratings/s / roof
 *           tsne:   t-SNE of made-up points, 64 wide, as figure 6 has it; no share; answer = its
 *                   divergence
 *           P: frozen weights outside the embeddings. Recomputation, attention and LoRA's own
 *           products are not counted as work.
 * Threads:  internally parallel; measure on an idle machine: when others take more than 5 % of the
 *           processors, a warning says so.
 */
#ifndef SELLA_BENCH_H
#define SELLA_BENCH_H

#include "sella/status.h"
#include "sella/talk.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sella_bench_options {
    const char *what;         /* "gemm", "score", "train", "prefix", "cache", "collab", "tsne" */
    /* needed by score, train, prefix, cache; gemm, collab: NULL takes the shapes of a 135M Llama
     * (576 wide, FFN 1,536, 9 and 3 heads) */
    const char *model;
    int tokens;               /* packed tokens of one pass, >= 16; 0: 1024 */
    int runs;                 /* measurements of each kind, >= 1; 0: 5 */
    int lora_rank;            /* train, prefix, cache; 0: 8 */
    const char *lora_targets; /* train, prefix, cache; NULL: "q_proj,v_proj" */
    int threads;              /* 0: physical cores */
    const sella_talk *talk;
    /* score, train, prefix: "expanded" to f32, as "stored", or "auto" (NULL): by free memory */
    const char *weights;
    /* score, train: tokens of every row; 0: 105 to 169. cache: of every tree; 0: 256 */
    int row_tokens;
    int profile;              /* score, train: 1 tells where the time goes, too */
    /* prefix: DATASET whose train rows are measured, as `train tallrec` renders them; NULL: made-up
     * users */
    const char *data;
    int ratings;              /* collab: ratings drawn; 0: 1,000,000 */
    int points;               /* tsne: 100 or more; 0: 6,500 */
    /* cache: K, the lowest layer with an adapter, below the model's last; 0: two thirds of the
     * layers */
    int first_layer;
} sella_bench_options;

typedef struct sella_measurement {
    char name[16];      /* "gemm", "score", "train", "prefix", "cache", "collab", "tsne" */
    char work[160];     /* what was done, with "best of 5" or "median of 5" */
    double seconds;     /* of one pass, step, epoch or layer of products */
    double rate;
    char unit[16];      /* "GFLOP/s", "tokens/s", "rows/s", "steps/s", "% of time" */
    double bound_share; /* of the roof, 1 = all of it; NaN: does not exist */
    double rss_mb;      /* peak resident memory of the process so far */
    int threads;
    double cpu_seconds;  /* of all threads in `seconds`; NaN: not measured */
    /* share of all processors that others had while this bench ran; NaN: unknown */
    double foreign_load;
    /* score: mean over the rows of the logit of token 1 minus that of token 0, to compare engines;
     * NaN: none */
    double answer;
    /* prefix, lines of trees: NaN elsewhere */
    double token_ratio;  /* tokens one by one / packed tokens */
    double speed_up;     /* seconds one by one / seconds */
    double share;        /* speed_up / token_ratio */
    /* scoring: largest of the answers' logits; training: largest of the gradients, relative to the
     * largest gradient */
    double difference;
    /* cache, lines with it: also speed_up (seconds without / seconds), share (speed_up /
     * work_ratio) and difference (of gradients); NaN elsewhere */
    /* FLOP of the layers that run, forward and backward: without the cache / with it */
    double work_ratio;
    double disk_mb;      /* of the file */
} sella_measurement;

SELLA_API sella_status sella_bench(const sella_bench_options *options,
                                   void (*each)(void *user, const sella_measurement *measurement),
                                   void *user, sella_err *err);

#ifdef __cplusplus
}
#endif
#endif
