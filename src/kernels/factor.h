/* factor.h - stochastic gradient steps of a logistic factor model over a list of (user, item,
 * label) entries.
 *
 * Does:     For each entry in order, with z = p.q + b_u + b_i + b_0 and d = sigmoid(z) - y:
 *             A_p += d^2 |q|^2 / C
 *             e_p = rate / sqrt(A_p)
 *             p <- (p - e_p d q) / (1 + e_p w_u)
 *           and the same with p and q exchanged (both from the old values), and for the two biases
 *           with 1 in the place of |q|^2 / C and of q. Adaptive rates for each row (AdaGrad with
 *           one sum a row), decay as a proximal step, which is stable for any rate. b_0 stays; what
 *           its step needs is returned.
 * Layout:   a packed row of a user or an item is width + SELLA_FACTOR_TAIL floats on a 64-byte
 *           boundary: the vector, padded with zeros to `width` (they stay zeros), then A, A of the
 *           bias, the bias, the decay w, and zeros.
 * Threads:  pure; two calls may run at the same time when they share no row.
 * Paper:    Duchi et al. 2011 (AdaGrad); Chin et al. 2015 (one rate for each row).
 */
#ifndef SELLA_KERNELS_FACTOR_H
#define SELLA_KERNELS_FACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SELLA_FACTOR_TAIL = 16, /* floats after the vector: */
    SELLA_FACTOR_SQUARES = 0,
    SELLA_FACTOR_BIAS_SQUARES = 1,
    SELLA_FACTOR_BIAS = 2,
    SELLA_FACTOR_DECAY = 3
};

typedef struct sella_factor_entry {
    int32_t user, item; /* packed rows */
    float label;        /* 0 to 1 */
} sella_factor_entry;

typedef struct sella_factor_block {
    const sella_factor_entry *entry; /* [count] */
    int64_t count;
    float *user, *item; /* packed rows; all A > 0 */
    int C, width;       /* width = C rounded up to a multiple of 16 */
    float b0, rate;
    float bias_rate; /* 0: biases stay */
} sella_factor_block;

/* Sums over the entries, each from before its own step. */
typedef struct sella_factor_sums {
    double loss;      /* softplus(z) - y z */
    double slope;     /* d */
    double curvature; /* s (1 - s), s = sigmoid(z) */
} sella_factor_sums;

/* Adds to sums. Values that are not finite reach the loss. */
void sella_factor_steps(const sella_factor_block *block, sella_factor_sums *sums);
/* Plain twin. */
void sella_factor_steps_plain(const sella_factor_block *block, sella_factor_sums *sums);

/* Width of a padded vector, and floats of a packed row. */
static inline int sella_factor_width(int C)
{
    return (C + 15) / 16 * 16;
}
static inline size_t sella_factor_stride(int C)
{
    return (size_t)sella_factor_width(C) + SELLA_FACTOR_TAIL;
}

#endif
