/* repulsion.h - what points in the plane do to each other under Student's t distribution: the
 * O(N^2) half of t-SNE.
 *
 * Does:     With w = 1 / (1 + |y_i - y_j|^2), for every pair of a point i of one range and a point
 *           j > i of another (each pair once):
 *             z += w     f_i += w^2 (y_i - y_j)     f_j -= w^2 (y_i - y_j)
 * Layout:   coordinates apart: x [N], y [N], forces fx [N], fy [N], f32.
 * Threads:  pure and serial; the caller splits the pairs and gives each thread its own forces.
 * Not here: the loop over pairs of ranges, attraction (eval/tsne.c).
 * Paper:    van der Maaten, Hinton 2008, equation 5.
 */
#ifndef SELLA_KERNELS_REPULSION_H
#define SELLA_KERNELS_REPULSION_H

/* Points of the plane and the forces on them. */
typedef struct sella_plane {
    const float *x, *y; /* [N] */
    float *fx, *fy;     /* accum [N] */
} sella_plane;

/* All pairs of i in i0 .. i1-1 and j in max(j0, i + 1) .. j1-1.   Returns: the sum of w. */
double sella_repulsion(const sella_plane *plane, int i0, int i1, int j0, int j1);
/* Plain twin. */
double sella_repulsion_plain(const sella_plane *plane, int i0, int i1, int j0, int j1);

#endif
