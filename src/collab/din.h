/* din.h - Deep Interest Network: a user is what their history says about the target.
 *
 * Does:     For a row (u, i, H) with q = item.weight[i], k_j = din.history.weight[j]:
 *             w_j = attention([q, k_j, q - k_j, q * k_j])  two layers with Dice, one number; no
 *                                                          softmax
 *             v   = sum_{j in H} w_j k_j                   the interest in i
 *             z   = top([p_u, v, q])                       two layers with Dice and dropout, one
 *                                                          number
 *           Each layer is Linear -> Dice -> dropout (top only). An unseen user, target or history
 *           item is the zero vector; `hide` of the rows of training have their user taken away, so
 *           that the network knows users it was never told. init -> pass_new -> forward -> backward
 *           (accumulates) -> optimizer.
 * Layout:   user.weight [U, C], item.weight [I, C], din.history.weight [I, C]; for each layer L of
 *           attention.0, attention.1, top.0, top.1: din.L.weight [out, in], din.L.bias,
 *           din.L.alpha, din.L.mean, din.L.variance [out]; din.attention.2 and din.top.2: weight
 *           [1, in], bias [1]. mean and variance are the running statistics of Dice: state that
 *           training moves, without gradients (an optimizer without decay leaves them as they are).
 * Memory:   the parameter table is the caller's; a pass has room for a fixed number of rows.
 * Threads:  one pass per thread, one training pass per sella_din; internally parallel, same bytes
 *           for a fixed number of threads.
 * Paper:    Zhou et al. 2018; REFERENCE 4.2.
 */
#ifndef SELLA_COLLAB_DIN_H
#define SELLA_COLLAB_DIN_H

#include "base/param.h"

enum { SELLA_DIN_WIDTH_MAX = 4096, SELLA_DIN_HIDDEN = 2 };

typedef struct sella_din_config {
    int32_t users, items;            /* >= 1 */
    int C;                           /* 1 to SELLA_DIN_WIDTH_MAX */
    int attention[SELLA_DIN_HIDDEN]; /* [64, 16], 1 to SELLA_DIN_WIDTH_MAX each */
    int top[SELLA_DIN_HIDDEN];       /* [200, 80] */
    double dropout;                  /* of the top layers, 0 to < 1 */
    double hide;                     /* 0 to 1 */
} sella_din_config;

typedef struct sella_din {
    sella_din_config config;
    sella_param_table *table; /* borrowed; its first rows are the model's */
} sella_din;

/* SELLA_ARG for a config out of range. */
sella_status sella_din_config_check(const sella_din_config *config, sella_err *err);
/* Add the model's tensors to an empty table: Xavier-normal tables and matrices, drawn by (seed,
 * place in the table, index); biases, alpha and running means 0, running variances 1. */
sella_status sella_din_init(const sella_din_config *config, uint64_t seed, sella_param_table *table,
                            sella_din *out, sella_err *err);
/* SELLA_FORMAT when a running variance is negative (after reading a file: `what` is its name). */
sella_status sella_din_check(const sella_din *din, const char *what, sella_err *err);

/* The din inside a collaborative model of that name (collab/din_model.c). */
struct sella_collab;
sella_din *sella_din_of(struct sella_collab *c);

/* Rows: indexes, -1 = unseen. Histories as the model sees them (the window is applied), entries -1
 *       to items - 1. */
typedef struct sella_din_batch {
    int N;
    const int32_t *user_n;           /* [N] */
    const int32_t *item_n;           /* [N] */
    const int32_t *const *history_n; /* [N] */
    const int32_t *history_count_n;  /* [N] */
} sella_din_batch;

/* Room for the values of one forward pass. */
typedef struct sella_din_pass sella_din_pass;
/* rows >= 1; pairs: (row, history item) pairs of all rows together, >= 0; backward: room for
 * gradients too. */
sella_status sella_din_pass_new(const sella_din *din, int rows, int pairs, bool backward,
                                sella_din_pass **out, sella_err *err);
void sella_din_pass_free(sella_din_pass *pass);
size_t sella_din_pass_bytes(const sella_din_config *config, int64_t rows, int64_t pairs,
                            bool backward);

/* What a forward pass is for. */
typedef struct sella_din_mode {
    /* batch statistics, dropout, hidden users; else running statistics and none of them */
    bool train;
    uint64_t seed; /* of the draws, with step */
    int64_t step;
} sella_din_mode;

/* z out [N] or NULL: only the interest is wanted (not for training); interest out [N, C] or NULL:
 * v. Training moves the running statistics. The batch is borrowed until backward. */
void sella_din_forward(sella_din *din, sella_din_pass *pass, const sella_din_batch *batch,
                       const sella_din_mode *mode, float *z, float *interest);
/* [N, top[1]]: what the last linear map of the last forward pass read; borrowed from the pass.
 * Requires: z was wanted. */
const float *sella_din_sample(const sella_din_pass *pass);
/* Accumulate gradients of trainable rows, of the last forward pass.
 *   dz        in [N]          or NULL
 *   dsample   in [N, top[1]]  further gradient on the sample vectors, or NULL
 *   dinterest in [N, C]       on v, or NULL
 *   ditem     in [N, C]       on q, or NULL
 * Requires: a pass with room for gradients. */
void sella_din_backward(sella_din *din, sella_din_pass *pass, const float *dz, const float *dsample,
                        const float *dinterest, const float *ditem);

#endif
