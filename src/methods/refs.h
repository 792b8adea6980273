/* refs.h - which queries of a set have the same user vector and the same item vectors, so that each
 * is computed once.
 *
 * Does:     make -> user_ref_n[n], item_ref_n[n]: dense numbers from 0 in order of first
 *           appearance, and who stands for each. Two queries have the same user vector when the
 *           user is the same and, where vectors follow from histories, the history too, and where
 *           they follow from the target, the item; vectors that nobody owns are the same for all.
 * Memory:   owned; released with _release.
 * Threads:  pure.
 */
#ifndef SELLA_METHODS_REFS_H
#define SELLA_METHODS_REFS_H

#include "methods/scorer.h"

/* What the vectors of a query follow from. */
typedef enum sella_refs_kind {
    SELLA_REFS_USER,    /* user, item; for unseen users the history */
    SELLA_REFS_HISTORY, /* user with history, item */
    SELLA_REFS_TARGET,  /* the user vector from user, history and item; the item vectors from the
                           item */
    SELLA_REFS_SHARED   /* nothing: one user vector, one item vector */
} sella_refs_kind;

typedef struct sella_refs {
    int64_t N, users, items;
    int32_t *user_ref_n;    /* [N] */
    int32_t *item_ref_n;    /* [N] */
    int64_t *user_query_u;  /* [users] first query of each */
    int32_t *item_i;        /* [items] catalogue row of each, -1 for an item without one */
} sella_refs;

sella_status sella_refs_make(const sella_query *query_n, int64_t N, sella_refs_kind kind,
                             sella_refs *out, sella_err *err);
void sella_refs_release(sella_refs *refs);
/* What the slots of query n stand for, in the form of data/tree.h's rows; all 0 when there are no
 * refs (NULL). */
void sella_refs_slots(const sella_refs *refs, int64_t n, int32_t ref[SELLA_SLOTS]);

#endif
