/* match.h - soft tokens on the scale of token embeddings.
 *
 * Does:     measures where soft tokens and token embeddings lie (mean, spread about it) and, when
 *           asked, shifts and scales the last map of Proj and of Warm so that what they give to
 *           the items of the catalogue has the embeddings' mean and spread:
 *             W <- f W,   b <- f (b - m) + m_E,   f = r_E / r
 *           A decoder's first layer divides a row by its length: beside embeddings, a vector a
 *           thousand times shorter says nothing, and one that is ten times longer, and nearly the
 *           same for every item, drowns what differs. Off by default: docs/deviations.md.
 * Threads:  pure on separate objects.
 * Paper:    none; REFERENCE 7.1 row 18 leaves the scale open.
 */
#ifndef SELLA_METHODS_SELLA_MATCH_H
#define SELLA_METHODS_SELLA_MATCH_H

#include "backbone/backbone.h"
#include "data/prompt.h"
#include "methods/vectors.h"

/* Root of the mean square distance from the mean; before anything was changed. */
typedef struct sella_soft_spread {
    double embedding, proj, warm; /* 0: the slots ask for no such token */
} sella_soft_spread;

/* Proj for slots of user or item, Warm for the warm slot; change false: measure alone. A map whose
 * outputs are all equal keeps its scale. */
sella_status sella_soft_match(sella_vectors *v, const sella_backbone *backbone,
                              sella_slot_set slots, bool change, sella_soft_spread *out,
                              sella_err *err);

#endif
