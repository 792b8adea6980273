/* din_method.c - Deep Interest Network on its own (collab/din.h), selected on valid AUC.
 *
 * Paper: Zhou et al. 2018; the row DIN of the tables: preset paper is the published one (REFERENCE 4.2).
 */
#include "methods/collab_fit.h"

static sella_status din_train(sella_job *job, sella_err *err)
{
    return sella_collab_fit(job, "din", err);
}

static sella_status din_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out, sella_err *err)
{
    (void)backbone;
    return sella_collab_fit_open(run, "din", out, err);
}

static sella_status din_check(const sella_settings *settings, const sella_dataset *dataset, sella_err *err)
{
    return sella_collab_fit_check(settings, "din", dataset, err);
}

static sella_status din_estimate(const sella_settings *settings, uint64_t seed, const sella_dataset *dataset,
                                 const char *model, int64_t train_rows, int64_t eval_rows, sella_estimate *out,
                                 sella_err *err)
{
    (void)seed;
    (void)model;
    (void)train_rows;
    (void)eval_rows;
    return sella_collab_fit_estimate(settings, "din", dataset, out, err);
}

static const char *const paper[] = {"collab.width=64",
                                    "collab.bias=no",
                                    "collab.unseen=zero",
                                    "collab.history_length=10",
                                    "collab.dropout=0.2",
                                    "collab.lr=1e-4",
                                    "collab.weight_decay=1e-4",
                                    "collab.batch=2048",
                                    "collab.epochs=5000",
                                    "collab.patience=100",
                                    NULL};
static const char *const usual[] = {"collab.width=16",
                                    "collab.bias=no",
                                    "collab.unseen=zero",
                                    "collab.history_length=10",
                                    "collab.dropout=0.5",
                                    "collab.lr=1e-3",
                                    "collab.weight_decay=1e-2",
                                    "collab.batch=2048",
                                    "collab.epochs=60",
                                    "collab.patience=4",
                                    NULL};

const sella_method sella_method_din = {
    .name = "din",
    .help = "a network over what the history says about the target (Deep Interest Network)",
    .preset_paper = paper,
    .preset_default = usual,
    .check = din_check,
    .estimate = din_estimate,
    .train = din_train,
    .open = din_open,
};
