/* itembias.c - a control: the smoothed mean label of the item. */
#include "methods/bias_only.h"

const sella_method sella_method_itembias = {
    .name = "itembias",
    .help = "a control: the smoothed mean label of the item",
    .estimate = sella_controls_estimate,
    .train = sella_controls_train,
    .open = sella_controls_open,
};
