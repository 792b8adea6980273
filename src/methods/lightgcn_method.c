/* lightgcn_method.c - LightGCN on its own (collab/lightgcn.c), selected on valid AUC.
 *
 * Paper: He et al. 2020; the row LightGCN of the tables: preset paper is the published one (REFERENCE 4.2), BCE on all
 * rows; lightgcn.loss=bpr is the original's. Users that train never saw: collab.unseen.
 */
#include "methods/collab_fit.h"

static sella_status lightgcn_train(sella_job *job, sella_err *err)
{
    return sella_collab_fit(job, "lightgcn", err);
}

static sella_status lightgcn_open(const sella_run *run, sella_backbone *backbone, sella_scorer **out, sella_err *err)
{
    (void)backbone;
    return sella_collab_fit_open(run, "lightgcn", out, err);
}

static sella_status lightgcn_check(const sella_settings *settings, const sella_dataset *dataset, sella_err *err)
{
    return sella_collab_fit_check(settings, "lightgcn", dataset, err);
}

static sella_status lightgcn_estimate(const sella_settings *settings, uint64_t seed, const sella_dataset *dataset,
                                      const char *model, int64_t train_rows, int64_t eval_rows, sella_estimate *out,
                                      sella_err *err)
{
    (void)seed;
    (void)model;
    (void)train_rows;
    (void)eval_rows;
    return sella_collab_fit_estimate(settings, "lightgcn", dataset, out, err);
}

static const char *const paper[] = {"collab.width=64",
                                    "collab.bias=no",
                                    "collab.init=0.1",
                                    "collab.unseen=zero",
                                    "lightgcn.layers=2",
                                    "lightgcn.loss=bce",
                                    "collab.lr=1e-2",
                                    "collab.weight_decay=1e-4",
                                    "collab.batch=2048",
                                    "collab.epochs=5000",
                                    "collab.patience=100",
                                    NULL};
static const char *const usual[] = {"collab.width=64",
                                    "collab.bias=yes",
                                    "collab.init=0.1",
                                    "collab.unseen=history",
                                    "lightgcn.layers=2",
                                    "lightgcn.loss=bce",
                                    "collab.lr=1e-3",
                                    "collab.weight_decay=1e-4",
                                    "collab.batch=2048",
                                    "collab.epochs=500",
                                    "collab.patience=20",
                                    NULL};

const sella_method sella_method_lightgcn = {
    .name = "lightgcn",
    .help = "vectors spread over the graph of train positives (LightGCN)",
    .preset_paper = paper,
    .preset_default = usual,
    .check = lightgcn_check,
    .estimate = lightgcn_estimate,
    .train = lightgcn_train,
    .open = lightgcn_open,
};
