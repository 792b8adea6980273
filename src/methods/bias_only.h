/* bias_only.h - training and scoring shared by the two controls (methods/itembias.c,
 * methods/bias.c).
 *
 * Does:     Both leave collab.safetensors with biases alone: logit = global.bias [+ user.bias] +
 *           item.bias, unseen = 0.
 * Threads:  as a method's.
 */
#ifndef SELLA_METHODS_BIAS_ONLY_H
#define SELLA_METHODS_BIAS_ONLY_H

#include "methods/method.h"

/* The functions of the method `bias`, with user.bias, and of `itembias`, without. */
sella_status sella_controls_train(sella_job *job, sella_err *err);
sella_status sella_controls_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out,
                                 sella_err *err);
sella_status sella_controls_estimate(const sella_estimate_ask *ask, sella_estimate *out,
                                     sella_err *err);

#endif
