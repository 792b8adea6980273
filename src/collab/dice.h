/* dice.h - the data-adaptive activation Dice, over the columns of a batch.
 *
 * Does:     x^ = (x - m) / sqrt(v + eps),   p = sigmoid(x^),   y = p x + (1 - p) alpha x,   a
 *           column at a time. In training m and v are those of the batch (v divided by N) and the
 *           running values move towards them; in scoring m and v are the running values, so that a
 *           row's result does not depend on its neighbours.
 * Layout:   row-major f32, [N, W] contiguous; alpha, mean, variance [W].
 * Memory:   everything from the caller. p and moment are kept from forward to backward.
 * Threads:  internally parallel; same bytes for any number of threads.
 * Paper:    Zhou et al. 2018 (Deep Interest Network), eqs (8) and (9) there, eps = 1e-8 as there.
 */
#ifndef SELLA_COLLAB_DICE_H
#define SELLA_COLLAB_DICE_H

#include <stdbool.h>

/* How far the running values move towards those of a batch in one step (a batch of one row moves
 * nothing). */
#define SELLA_DICE_RATE 0.1

/* One Dice layer: its trained slope and its running statistics. */
typedef struct sella_dice {
    int W;
    float *alpha;    /* [W] slope of the part that is switched off */
    float *mean;     /* [W] running */
    float *variance; /* [W] running, of sums divided by N - 1; >= 0 */
} sella_dice;

/* y out [N, W]; p out [N, W]; moment out [2, W]: m and 1 / sqrt(v + eps) as used; x in [N, W], not
 * y.
 *   batch  in  true: m and v of the batch, the running values move; false: m and v are the running
 *   values
 */
void sella_dice_forward(const sella_dice *dice, float *y, float *p, float *moment, const float *x,
                        int N, bool batch);
/* dx out [N, W], may alias dy; dalpha accum [W] or NULL; slope scratch [N, W]; x, p, moment as
 * forward left them.
 *   batch  in  as forward had it */
void sella_dice_backward(const sella_dice *dice, float *dx, float *dalpha, const float *dy,
                         const float *x, const float *p, const float *moment, float *slope, int N,
                         bool batch);

#endif
