/* tsne_tree.h - repulsion of many points of the plane with a quadtree (Barnes-Hut).
 *
 * Does:     A cell whose side is below theta times its distance from a point acts on it as all its
 *           points in their mean; theta = 0 opens every cell down to single points, so that it is
 *           the exact sum.
 * Layout:   cells in depth-first order; each knows where to go on when it is not opened, so walking
 *           needs no stack.
 * Memory:   a sella_tsne_tree owns its arrays and grows with the number of points.
 * Threads:  building is serial; forces are parallel over points; the result does not depend on the
 *           number of threads.
 * Paper:    van der Maaten 2014, section 4.2; Barnes, Hut 1986.
 */
#ifndef SELLA_EVAL_TSNE_TREE_H
#define SELLA_EVAL_TSNE_TREE_H

#include "base/error.h"

typedef struct sella_tsne_tree sella_tsne_tree;

sella_status sella_tsne_tree_new(int N, sella_tsne_tree **out, sella_err *err);
void sella_tsne_tree_free(sella_tsne_tree *tree);

/* fx_i = sum_j w_ij^2 (x_i - x_j), fy likewise, *Z = the sum of w over ordered pairs.   x, y in
 * [N]; fx, fy out [N]. */
sella_status sella_tsne_tree_forces(sella_tsne_tree *tree, const float *x, const float *y,
                                    double theta, float *fx, float *fy, double *Z, sella_err *err);

#endif
