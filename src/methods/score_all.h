/* score_all.h - scoring of many queries in blocks, with progress, that goes on where it was killed.
 *
 * Does:     Queries are taken group by group in blocks of some hundred; the blocks follow from the
 *           queries alone, so the logits have the same bytes however often the work was
 *           interrupted.
 * Threads:  as the scorer.
 */
#ifndef SELLA_METHODS_SCORE_ALL_H
#define SELLA_METHODS_SCORE_ALL_H

#include "methods/scorer.h"

/*   logit_n out [N]
 *   tape    in            file of finished logits, or NULL: none. The caller removes it when its
 *                         artifact is written
 *   seconds in  seconds   between writes of the tape
 * SELLA_INTERRUPTED when talk wants to stop (what is finished is on the tape). */
sella_status sella_score_all(sella_scorer *scorer, const sella_query *query_n, int64_t N,
                             double *logit_n, const char *what, const char *tape, double seconds,
                             const sella_talk *talk, sella_err *err);

#endif
