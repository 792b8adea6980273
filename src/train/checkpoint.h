/* checkpoint.h - everything a stage needs to go on exactly: parameters, moments, position.
 *
 * Does:     save writes a new folder aside and renames it; load takes the newest complete one. A folder is complete only with its DONE marker. One
 *           older checkpoint stays until the newer one is complete.
 * Layout:   DIR/step-<12 digits>/ {params.safetensors, moments.safetensors, best.safetensors (optional), position.json, DONE}
 * Threads:  one caller per folder.
 */
#ifndef SELLA_TRAIN_CHECKPOINT_H
#define SELLA_TRAIN_CHECKPOINT_H

#include <jansson.h>

#include "base/param.h"
#include "train/optimizer.h"

typedef struct sella_checkpoint {
    sella_param_table *const *tables; /* [n] trainable rows are saved and restored */
    int n;
    sella_optimizer *optimizer; /* or NULL */
    float *const *best;         /* copy of all trainable rows at the best evaluation, in walking order, or NULL */
} sella_checkpoint;

/* position: any JSON object; saved as it is. step names the folder. */
sella_status sella_checkpoint_save(const char *dir, int64_t step, const sella_checkpoint *state, const json_t *position, sella_err *err);
/* *found = false (and SELLA_OK) when there is none. Refuses one whose tensors do not fit. *position is a new reference. */
sella_status sella_checkpoint_load(const char *dir, sella_checkpoint *state, bool *found, json_t **position, sella_err *err);

#endif
