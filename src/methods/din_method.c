/* din_method.c - Deep Interest Network on its own (collab/din.h), selected on valid AUC.
 *
 * Paper: Zhou et al. 2018; the row DIN of the tables: preset paper is the published one (REFERENCE
 *        4.2).
 */
#include "methods/collab_fit.h"

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
const char *const sella_din_usual[] = {"collab.width=16",
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
    .preset_default = sella_din_usual,
    .check = sella_collab_method_check,
    .estimate = sella_collab_method_estimate,
    .train = sella_collab_method_train,
    .open = sella_collab_method_open,
};
