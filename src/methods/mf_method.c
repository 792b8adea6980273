/* mf_method.c - matrix factorisation on its own, selected on valid AUC.
 *
 * Paper: section 3 (Collaborative Filtering Recommendation), the row MF of the tables: preset paper
 *        is the published one, without biases.
 * Users and items that train never saw: collab.unseen (zero as published).
 */
#include "methods/collab_fit.h"

/* Adam trains everything, stochastic gradients no history part. */
static sella_status mf_check(const sella_method *method, const sella_settings *settings,
                             const sella_dataset *dataset, sella_err *err)
{
    if (sella_settings_is(settings, "collab.optimizer", "sgd") &&
        sella_settings_bool(settings, "collab.history")) {
        return sella_err_set(err, SELLA_ARG,
                             "collab.optimizer=sgd does not train the history part; expected "
                             "collab.history=no with it");
    }
    return sella_collab_method_check(method, settings, dataset, err);
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
    .estimate = sella_collab_method_estimate,
    .train = sella_collab_method_train,
    .open = sella_collab_method_open,
};
