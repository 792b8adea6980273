/* bias.c - a control: user and item biases, fitted to convergence. */
#include "methods/bias_only.h"

static sella_status bias_train(sella_job *job, sella_err *err)
{
    return sella_controls_train(job, true, err);
}

static sella_status bias_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out, sella_err *err)
{
    (void)backbone;
    return sella_controls_open(run, true, out, err);
}

static sella_status bias_estimate(const sella_settings *settings, uint64_t seed, const sella_dataset *dataset,
                                  const char *model, int64_t train_rows, int64_t eval_rows, sella_estimate *out,
                                  sella_err *err)
{
    (void)settings;
    (void)seed;
    (void)model;
    (void)train_rows;
    (void)eval_rows;
    (void)err;
    return sella_controls_estimate(dataset, true, out);
}

const sella_method sella_method_bias = {
    .name = "bias",
    .help = "a control: user and item biases, fitted to convergence",
    .estimate = bias_estimate,
    .train = bias_train,
    .open = bias_open,
};
