/* sasrec_method.c - SASRec on its own (collab/sasrec.c), selected on valid AUC.
 *
 * Paper: Kang and McAuley 2018; the row SASRec of the tables: preset paper is the published one
 *        (REFERENCE 4.2), pairs of history and target with BCE.
 * The user is what the history says: users never seen are a normal input.
 */
#include "methods/collab_fit.h"

static const char *const paper[] = {"collab.width=64",
                                    "collab.bias=no",
                                    "collab.init=0.1",
                                    "collab.unseen=zero",
                                    "collab.history_length=25",
                                    "sasrec.blocks=2",
                                    "sasrec.heads=1",
                                    "collab.dropout=0.2",
                                    "collab.lr=1e-2",
                                    "collab.weight_decay=1e-2",
                                    "collab.batch=2048",
                                    "collab.epochs=5000",
                                    "collab.patience=100",
                                    NULL};
static const char *const usual[] = {"collab.width=64",
                                    "collab.bias=yes",
                                    "collab.start=bias",
                                    "collab.init=0.01",
                                    "collab.unseen=mean",
                                    "collab.history_length=25",
                                    "sasrec.blocks=1",
                                    "sasrec.heads=1",
                                    "collab.dropout=0.5",
                                    "collab.lr=1e-4",
                                    "collab.weight_decay=1e-4",
                                    "collab.batch=1024",
                                    "collab.epochs=60",
                                    "collab.patience=6",
                                    NULL};

const sella_method sella_method_sasrec = {
    .name = "sasrec",
    .help = "self-attention over the last positives (SASRec)",
    .preset_paper = paper,
    .preset_default = usual,
    .check = sella_collab_method_check,
    .estimate = sella_collab_method_estimate,
    .train = sella_collab_method_train,
    .open = sella_collab_method_open,
};
