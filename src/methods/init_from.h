/* init_from.h - --init-from RUN: a new run begins with the parameters that another one ended with.
 *
 * Does:     check(job) once, before any work; then each stage fills what it begins with: the
 *           adapter, and the tables and projections. Users and items are matched by their external
 *           ids. A user new to the tables begins with the vector that unseen users get from the
 *           source (collab.unseen; histories of train rows alone), an item with the mean of its
 *           items, both on top of the usual random start, so that no two zero vectors keep each
 *           other there; their biases are zero; a new item's semantic row is as distilled.
 *           Optimizers start anew. Nothing happens without --init-from.
 * Threads:  as a method's.
 * Not here: --from, which copies finished stages of a run on the same data
 *           (methods/sella/stages.h).
 */
#ifndef SELLA_METHODS_INIT_FROM_H
#define SELLA_METHODS_INIT_FROM_H

#include "backbone/lora.h"
#include "collab/collab.h"
#include "methods/method.h"
#include "methods/vectors.h"

/* SELLA_STATE unless the source is a complete run of the same method, with the same model, and of
 * the same widths. Says and records (run.json, "decided") how many users and items are matched. */
sella_status sella_init_check(sella_job *job, sella_err *err);

/* lora as made from the settings: overwritten. */
sella_status sella_init_adapter(const sella_job *job, sella_lora *lora, sella_err *err);
/* v as made from the settings (semantic rows as distilled): what the source knows is
 * overwritten. */
sella_status sella_init_vectors(const sella_job *job, sella_vectors *v, sella_err *err);
/* The same for the table of mf alone. */
sella_status sella_init_collab(const sella_job *job, sella_collab *c, sella_err *err);

#endif
