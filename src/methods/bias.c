/* bias.c - a control: user and item biases, fitted to convergence. */
#include "methods/bias_only.h"

const sella_method sella_method_bias = {
    .name = "bias",
    .help = "a control: user and item biases, fitted to convergence",
    .estimate = sella_controls_estimate,
    .train = sella_controls_train,
    .open = sella_controls_open,
};
