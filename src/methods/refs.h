/* refs.h - which queries of a set have the same user vector and the same item vectors, so that each is computed once.
 *
 * Does:     make -> user_ref_n[n], item_ref_n[n]: dense numbers from 0 in order of first appearance, and who stands
 *           for each. Two queries have the same user vector when the user is the same and, where vectors follow from
 *           histories, the history too.
 * Memory:   owned; released with _release.
 * Threads:  pure.
 */
#ifndef SELLA_METHODS_REFS_H
#define SELLA_METHODS_REFS_H

#include "methods/scorer.h"

typedef struct sella_refs {
    int64_t N, users, items;
    int32_t *user_ref_n;    /* [N] */
    int32_t *item_ref_n;    /* [N] */
    int64_t *user_query_u;  /* [users] first query of each */
    int32_t *item_i;        /* [items] catalogue row of each, -1 for an item without one */
} sella_refs;

sella_status sella_refs_make(const sella_query *query_n, int64_t N, bool user_history, sella_refs *out, sella_err *err);
void sella_refs_release(sella_refs *refs);

#endif
