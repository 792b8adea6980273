/* itembias.c - a control: the smoothed mean label of the item. */
#include "methods/bias_only.h"

static sella_status itembias_train(sella_job *job, sella_err *err)
{
    return sella_controls_train(job, false, err);
}

static sella_status itembias_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out, sella_err *err)
{
    (void)backbone;
    return sella_controls_open(run, false, out, err);
}

static sella_status itembias_estimate(const sella_settings *settings, uint64_t seed, const sella_dataset *dataset,
                                      const char *model, int64_t train_rows, int64_t eval_rows, sella_estimate *out,
                                      sella_err *err)
{
    (void)settings;
    (void)seed;
    (void)model;
    (void)train_rows;
    (void)eval_rows;
    (void)err;
    return sella_controls_estimate(dataset, false, out);
}

const sella_method sella_method_itembias = {
    .name = "itembias",
    .help = "a control: the smoothed mean label of the item",
    .estimate = itembias_estimate,
    .train = itembias_train,
    .open = itembias_open,
};
