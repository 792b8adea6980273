/* projection.h - the two projections into the language model's space.
 *
 * Does:     Proj: C -> L, y = W2 GELU(W1 x + b1) + b2 (erf GELU; or ReLU: field relu).
 *           Warm: L -> L, y = Ww x + bw.
 * Layout:   proj.0.weight [h, C], proj.0.bias [h], proj.2.weight [L, h], proj.2.bias [L];
 *           warm.weight [L, L], warm.bias [L].
 * Memory:   the parameter table is owned by the sella_projection; scratch from the caller.
 * Threads:  internally parallel; same bytes for a fixed number of threads.
 * Paper:    eq (7) and section 4.3; initialised as torch.nn.Linear (uniform +-1/sqrt(in)); warm:
 *           REFERENCE 7.1 row 13.
 */
#ifndef SELLA_COLLAB_PROJECTION_H
#define SELLA_COLLAB_PROJECTION_H

#include "base/param.h"

typedef struct sella_projection {
    int C, hidden, L;
    /* owned: the four proj rows, then warm.weight, warm.bias when has_warm */
    sella_param_table table;
    bool has_warm;
    bool relu; /* instead of GELU; false after _init */
} sella_projection;

typedef enum sella_warm_init { SELLA_WARM_RANDOM, SELLA_WARM_IDENTITY } sella_warm_init;

/* C, hidden, L >= 1. */
sella_status sella_projection_init(int C, int hidden, int L, bool warm, sella_warm_init warm_init,
                                   uint64_t seed, sella_projection *out, sella_err *err);
void sella_projection_release(sella_projection *projection);

/* y out [N, L]; x in [N, C]; pre, act: out [N, hidden], kept for backward. */
void sella_proj_forward(const sella_projection *projection, float *y, const float *x, int N,
                        float *pre, float *act);
/* Accumulates into trainable rows; dx out [N, C] or NULL (overwritten); dy in [N, L]; pre, act as
 * forward left them; dpre scratch [N, hidden]. */
void sella_proj_backward(sella_projection *projection, float *dx, const float *dy, const float *x,
                         int N, const float *pre, const float *act, float *dpre);
/* y out [N, L]; x in [N, L]. Requires has_warm. */
void sella_warm_forward(const sella_projection *projection, float *y, const float *x, int N);
void sella_warm_backward(sella_projection *projection, float *dx, const float *dy, const float *x,
                         int N);

#endif
