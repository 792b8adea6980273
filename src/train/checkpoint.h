/* checkpoint.h - everything a stage needs to go on exactly: parameters, moments, position.
 *
 * Does:     save writes a new folder aside and renames it; load takes the newest complete one. A
 *           folder is complete only with its DONE marker, which holds size and hash of every file
 *           and the optimizer's counts. The older checkpoint stays until the newer one is complete.
 * Layout:   DIR/step-<12 digits>/ {params.safetensors, moments.safetensors (with an optimizer),
 *           best.safetensors (with best), position.json, DONE}
 * Threads:  one caller per folder.
 */
#ifndef SELLA_TRAIN_CHECKPOINT_H
#define SELLA_TRAIN_CHECKPOINT_H

#include <jansson.h>

#include "base/param.h"
#include "train/optimizer.h"

typedef struct sella_checkpoint {
    /* [n] trainable rows are saved and restored; their names differ */
    sella_param_table *const *tables;
    int n;
    sella_optimizer *optimizer; /* or NULL */
    /* copy of all trainable rows at the best evaluation, in walking order, or NULL */
    float *const *best;
} sella_checkpoint;

/* position: any JSON object; saved as it is. step (>= 0) names the folder: a later checkpoint has a
 * larger one. */
sella_status sella_checkpoint_save(const char *dir, int64_t step, const sella_checkpoint *state,
                                   const json_t *position, sella_err *err);

/* *found = false (and SELLA_OK) when there is none. A folder without DONE is left alone. One that
 * is damaged (a file's size or hash is not the recorded one) is passed over for an older complete
 * one, or refused with SELLA_FORMAT when there is none. Tensors that do not fit the tables are
 * refused with SELLA_SHAPE, naming all of them. Nothing is changed unless all fits.
 *   state    inout  tables, optimizer and best are filled; best must be given when the checkpoint
 *                   holds one, it stays as it is when it does not
 *   position out    new reference */
sella_status sella_checkpoint_load(const char *dir, sella_checkpoint *state, bool *found,
                                   json_t **position, sella_err *err);

#endif
