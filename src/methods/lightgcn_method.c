/* lightgcn_method.c - LightGCN on its own (collab/lightgcn.c), selected on valid AUC.
 *
 * Paper: He et al. 2020; the row LightGCN of the tables: preset paper is the published one
 *        (REFERENCE 4.2), BCE on all rows; lightgcn.loss=bpr is the original's.
 * Users that train never saw: collab.unseen.
 */
#include "methods/collab_fit.h"

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
    .check = sella_collab_method_check,
    .estimate = sella_collab_method_estimate,
    .train = sella_collab_method_train,
    .open = sella_collab_method_open,
};
