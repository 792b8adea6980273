/* seeds.h - a folder of runs that differ in their seed only: DIR/seed-0, DIR/seed-1, ... and
 * DIR/summary.json.
 *
 * Does:     Lists the runs of such a folder and makes its summary from their figures. Training them
 *           is sella_train_seeds (sella/train.h), evaluating them sella_eval_seeds
 *           (sella/engine.h).
 * Threads:  pure.
 */
#ifndef SELLA_METHODS_SEEDS_H
#define SELLA_METHODS_SEEDS_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"

/* Seeds of the folders DIR/seed-N that hold a run, ascending. *count = 0 when there are none, or
 * DIR is a run itself or no folder. *seed_n is owned: free(). */
sella_status sella_seeds_list(const char *dir, uint64_t **seed_n, int *count, sella_err *err);

/* DIR/seed-N, free(). NULL only when memory is out. */
char *sella_seeds_path(const char *dir, uint64_t seed);

/* {"method","dataset","split","seeds":[...],"runs":[{"seed",...figures}],"mean":{...},"sd":{...}}
 * from the runs' figures objects, in the order of seed_n. figures_n in [count]; not changed. *out
 * is a new reference. */
sella_status sella_seeds_summary(const uint64_t *seed_n, const json_t *const *figures_n, int count,
                                 json_t **out, sella_err *err);

#endif
