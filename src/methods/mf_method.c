/* mf_method.c - matrix factorisation on its own, selected on valid AUC.
 *
 * Paper: section 3 (Collaborative Filtering Recommendation), the row MF of the tables: preset paper is the
 * published one, without biases. Users and items that train never saw: collab.unseen (zero as published).
 */
#include "methods/collab_fit.h"

static sella_status mf_train(sella_job *job, sella_err *err)
{
    return sella_collab_fit(job, "mf", err);
}

static sella_status mf_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out, sella_err *err)
{
    (void)backbone;
    return sella_collab_fit_open(run, "mf", out, err);
}

static sella_status mf_check(const sella_settings *settings, const sella_dataset *dataset, sella_err *err)
{
    if (sella_settings_is(settings, "collab.optimizer", "sgd") && sella_settings_bool(settings, "collab.history")) {
        return sella_err_set(err, SELLA_ARG,
                             "collab.optimizer=sgd does not train the history part; expected collab.history=no with it");
    }
    return sella_collab_fit_check(settings, "mf", dataset, err);
}

static sella_status mf_estimate(const sella_settings *settings, uint64_t seed, const sella_dataset *dataset,
                                const char *model, int64_t train_rows, int64_t eval_rows, sella_estimate *out,
                                sella_err *err)
{
    (void)seed;
    (void)model;
    (void)train_rows;
    (void)eval_rows;
    return sella_collab_fit_estimate(settings, "mf", dataset, out, err);
}

static const char *const paper[] = {"collab.optimizer=adam",
                                    "collab.width=256",
                                    "collab.bias=no",
                                    "collab.history=no",
                                    "collab.init=0.1",
                                    "collab.unseen=zero",
                                    "collab.lr=1e-3",
                                    "collab.weight_decay=1e-4",
                                    "collab.batch=2048",
                                    "collab.epochs=5000",
                                    "collab.patience=100",
                                    NULL};
static const char *const usual[] = {"collab.optimizer=sgd",
                                    "collab.width=64",
                                    "collab.bias=yes",
                                    "collab.history=no",
                                    "collab.init=0.01",
                                    "collab.unseen=history",
                                    "collab.lr=0.03",
                                    "collab.weight_decay=7e-5",
                                    "collab.batch=2048",
                                    "collab.epochs=500",
                                    "collab.patience=20",
                                    NULL};

const sella_method sella_method_mf = {
    .name = "mf",
    .continues = true,
    .help = "matrix factorisation; preset paper is the published one, without biases",
    .preset_paper = paper,
    .preset_default = usual,
    .check = mf_check,
    .estimate = mf_estimate,
    .train = mf_train,
    .open = mf_open,
};
