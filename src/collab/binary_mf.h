/* binary_mf.h - matrix factorisation whose vectors are signs: one binary code a user and an item.
 *
 * Does:     t_u = tanh(A p_u + a),  h_u = sign(t_u) (sign(0) = +1), items alike with their own map;
 *           z = h_u . h_i. In training each entry of h is the sign with probability beta and t
 *           otherwise; the gradient of the sign is that of the identity (straight-through), so that
 *           both choices have the same backward pass.
 * Layout:   user.weight [U, C], item.weight [I, C], user.code.weight [C, C], user.code.bias [C],
 *           item.code.weight [C, C], item.code.bias [C]; in this order in the table.
 * Memory:   the parameter table is owned by the model; batches are borrowed, what backward needs is
 *           the caller's.
 * Threads:  internally parallel; same bytes for a fixed number of threads.
 * Paper:    Zhang et al. 2024 (BinLLM); REFERENCE 5.
 */
#ifndef SELLA_COLLAB_BINARY_MF_H
#define SELLA_COLLAB_BINARY_MF_H

#include "base/param.h"

enum { SELLA_CODE_BITS_MAX = 1024 };

typedef struct sella_binary_mf {
    int32_t users, items;
    int C; /* bits of a code */
    sella_param_table table;
} sella_binary_mf;

/* Vectors N(0, init), maps uniform in +-1/sqrt(C), drawn by (seed, place in the table, index).
 * SELLA_ARG for C outside 1 to SELLA_CODE_BITS_MAX. */
sella_status sella_binary_mf_init(int32_t users, int32_t items, int C, double init, uint64_t seed,
                                  sella_binary_mf *out, sella_err *err);
void sella_binary_mf_release(sella_binary_mf *model);

/* One step's rows and how its entries are drawn: (seed, number) name the draws. */
typedef struct sella_binary_batch {
    int N;
    const int32_t *user_n, *item_n; /* [N] rows of the tables */
    double beta;                    /* probability of the sign: 0 to 1 */
    uint64_t seed;
    uint32_t number;
} sella_binary_batch;

/* Floats of scratch for N rows. */
size_t sella_binary_mf_scratch(const sella_binary_mf *model, int N);
/* z out [N]; kept out [sella_binary_mf_scratch], for backward. */
void sella_binary_mf_forward(const sella_binary_mf *model, const sella_binary_batch *batch,
                             float *kept, float *z);
/* Accumulate gradients of trainable rows: dz in [N]; kept as forward left it, used up. */
void sella_binary_mf_backward(sella_binary_mf *model, const sella_binary_batch *batch, float *kept,
                              const float *dz);

/* Write the mean of the rows that train names into those that it does not: seen_u [U], seen_i
 * [I]. */
void sella_binary_mf_settle(sella_binary_mf *model, const uint8_t *seen_u, const uint8_t *seen_i);
/* Codes: 1 where h is +1. user_bit out [U + 1, C], item_bit out [I + 1, C]: the last row is the
 *        code of the mean of all
 * vectors, for users and items never seen. */
sella_status sella_binary_mf_codes(const sella_binary_mf *model, uint8_t *user_bit,
                                   uint8_t *item_bit, sella_err *err);

#endif
