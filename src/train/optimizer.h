/* optimizer.h - Adam and AdamW over parameter tables, gradient clipping, learning-rate schedules.
 *
 * Does:     new(tables) -> after each backward: step(lr) which checks gradients, clips, updates,
 *           clears them.
 *             m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2
 *             w -= lr m^ / (sqrt(v^) + eps),  m^ = m / (1 - b1^t),  v^ = v / (1 - b2^t)
 *             coupled:   g += wd w before the moments (torch.optim.Adam's weight_decay)
 *             decoupled: w *= 1 - lr wd before the update (AdamW)
 *           Updates are dense, as in the published baselines: rows without a gradient still decay
 *           and move by momentum.
 * Memory:   two moments per trainable value, owned here. Rows frozen when the optimizer was made
 *           are never touched.
 * Threads:  internally parallel; same bytes for any number of threads.
 * Paper:    Kingma and Ba 2015; Loshchilov and Hutter 2019.
 */
#ifndef SELLA_TRAIN_OPTIMIZER_H
#define SELLA_TRAIN_OPTIMIZER_H

#include "base/param.h"

typedef struct sella_optimizer_config {
    double beta1;        /* .9 */
    double beta2;        /* .999 */
    double eps;          /* 1e-8 */
    double weight_decay; /* >= 0, on rows with param.decay */
    bool coupled;        /* true: Adam with L2; false: AdamW */
    double clip;         /* largest global gradient norm; 0: off */
} sella_optimizer_config;

typedef struct sella_optimizer sella_optimizer;

/* tables [n] borrowed for the optimizer's life (their rows may not be added to). */
sella_status sella_optimizer_new(sella_param_table *const *tables, int n,
                                 const sella_optimizer_config *config, sella_optimizer **out,
                                 sella_err *err);
void sella_optimizer_free(sella_optimizer *optimizer);

/* One step at learning rate lr on rows of `group` (-1: all); the gradients of all rows are cleared.
 * Rows outside the group keep values and moments, and their gradients count neither for the norm
 * nor for the check. Returns SELLA_DIVERGED with the tensor's name when a gradient is not finite
 * (nothing is changed then). *norm (or NULL): global norm before clipping. */
sella_status sella_optimizer_step(sella_optimizer *optimizer, double lr, int group, double *norm,
                                  sella_err *err);
int64_t sella_optimizer_steps(const sella_optimizer *optimizer);

/* State for checkpoints: count of moment tensors (2 per trainable row), their names ("<param>.m",
 * "<param>.v"), values. */
int sella_optimizer_state_count(const sella_optimizer *optimizer);
void sella_optimizer_state_at(const sella_optimizer *optimizer, int index, const char **name,
                              float **data, size_t *count);
/* Sets the count of steps of the optimizer and of every row. */
void sella_optimizer_set_steps(sella_optimizer *optimizer, int64_t steps);
/* Steps that each trainable row took part in (they differ between training groups); index from 0 to
 * row_count - 1. */
int sella_optimizer_row_count(const sella_optimizer *optimizer);
int64_t sella_optimizer_row_steps(const sella_optimizer *optimizer, int index);
void sella_optimizer_set_row_steps(sella_optimizer *optimizer, int index, int64_t steps);

typedef enum sella_schedule {
    SELLA_SCHEDULE_CONSTANT,
    SELLA_SCHEDULE_LINEAR,
    SELLA_SCHEDULE_COSINE
} sella_schedule;
/* Rate at `step` (from 0) of `total`: linear warm-up from 0 over warmup steps, then constant, or to
 * 0 by a line or half a cosine: the values of transformers' schedules of the same names. */
double sella_schedule_lr(sella_schedule schedule, double lr, int64_t step, int64_t total,
                         int64_t warmup);

#endif
