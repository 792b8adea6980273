/* bias_only.h - training and scoring shared by the two controls (methods/itembias.c, methods/bias.c).
 *
 * Does:     Both leave collab.safetensors with biases alone: logit = global.bias [+ user.bias] + item.bias,
 *           unseen = 0.
 * Threads:  as a method's.
 */
#ifndef SELLA_METHODS_BIAS_ONLY_H
#define SELLA_METHODS_BIAS_ONLY_H

#include "methods/method.h"

/* Fit and write; users: with user.bias (the control `bias`), else `itembias`. Skipped when the stage is done. */
sella_status sella_controls_train(sella_job *job, bool users, sella_err *err);
sella_status sella_controls_open(const sella_run *run, bool users, sella_scorer **out, sella_err *err);
sella_status sella_controls_estimate(const sella_dataset *dataset, bool users, sella_estimate *out);

#endif
