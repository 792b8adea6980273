/* rank_split.h - ranking figures of a run on the rows of a split.
 *
 * Does:     Makes the cases of `eval --ranking`, scores their candidates and gathers the figures. A
 *           case is a user, with the liked items among the rows as relevant ones and the history of
 *           the user's first row of the split (what was known before the split began); or, per row,
 *           one liked row with its own history. Candidates: the catalogue without the items of that
 *           history and without the user's other likes in the split; or, sampled, so many of these
 *           for each relevant item, drawn without replacement, beside it. Liked items that are in
 *           the history already are no relevant ones; a case without any is skipped and counted.
 * Memory:   O(catalogue) and a block of candidates.
 * Threads:  as the engine.
 * Not here: the figures themselves (eval/ranking.h).
 */
#ifndef SELLA_ENGINE_RANK_SPLIT_H
#define SELLA_ENGINE_RANK_SPLIT_H

#include <jansson.h>

#include "engine/session.h"

/* The object "ranking" of docs/eval.md for rows index_k [k] of a split. *out is a new reference.
 * Returns: SELLA_OK; SELLA_ARG for wrong options; SELLA_INTERRUPTED; what the scorer returns. */
sella_status sella_rank_split(const sella_engine *engine, const sella_dataset *dataset,
                              sella_split_id split, const int64_t *index_k, int64_t k,
                              const sella_ranking_options *options, json_t **out, sella_err *err);

#endif
