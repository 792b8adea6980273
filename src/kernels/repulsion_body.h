/* repulsion_body.h - the pairs of repulsion.h over the vectors of simd.h: included by the files
 * that have the flags.
 *
 * A tile is ROWS points i, whose coordinates and forces stay in registers, against a vector of
 * points j, whose forces are read and written once for all of them. Quotients are exact: the same
 * bits on every CPU of a level.
 */
#ifndef SELLA_KERNELS_REPULSION_BODY_H
#define SELLA_KERNELS_REPULSION_BODY_H

#include "kernels/repulsion.h"
#include "kernels/simd.h"

enum { REPULSION_ROWS = 4 };

/* Points i .. i + rows - 1 against points j0 .. j1-1, none of which is one of them. */
SELLA_INLINE double repulsion_tile(const int rows, const sella_plane *p, int i, int j0, int j1)
{
    vf xi[REPULSION_ROWS], yi[REPULSION_ROWS], fxi[REPULSION_ROWS], fyi[REPULSION_ROWS],
        z = v_zero();
    const vf one = v_set1(1.0f);
    UNROLL for (int r = 0; r < rows; r++) {
        xi[r] = v_set1(p->x[i + r]);
        yi[r] = v_set1(p->y[i + r]);
        fxi[r] = fyi[r] = v_zero();
    }
    for (int j = j0; j < j1; j += W) {
        const int lanes = j1 - j < W ? j1 - j : W;
        const vf xj = lanes == W ? v_load(p->x + j) : v_load_n(p->x + j, lanes);
        const vf yj = lanes == W ? v_load(p->y + j) : v_load_n(p->y + j, lanes);
        vf fxj = lanes == W ? v_load(p->fx + j) : v_load_n(p->fx + j, lanes);
        vf fyj = lanes == W ? v_load(p->fy + j) : v_load_n(p->fy + j, lanes);
        const vm counted = v_lanes(0, lanes);
        UNROLL for (int r = 0; r < rows; r++) {
            const vf dx = v_sub(xi[r], xj), dy = v_sub(yi[r], yj);
            vf w = v_div(one, v_fma(dx, dx, v_fma(dy, dy, one)));
            if (lanes < W) {
                w = v_select(counted, w, v_zero());
            }
            const vf ww = v_mul(w, w);
            z = v_add(z, w);
            fxi[r] = v_fma(ww, dx, fxi[r]);
            fyi[r] = v_fma(ww, dy, fyi[r]);
            fxj = v_fnma(ww, dx, fxj);
            fyj = v_fnma(ww, dy, fyj);
        }
        if (lanes == W) {
            v_store(p->fx + j, fxj);
            v_store(p->fy + j, fyj);
        } else {
            v_store_n(p->fx + j, fxj, lanes);
            v_store_n(p->fy + j, fyj, lanes);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        p->fx[i + r] += v_sum(fxi[r]);
        p->fy[i + r] += v_sum(fyi[r]);
    }
    return (double)v_sum(z);
}

static double repulsion_pairs(const sella_plane *p, int i0, int i1, int j0, int j1)
{
    double z = 0;
    int i = i0;
    for (; i + REPULSION_ROWS <= i1; i += REPULSION_ROWS) {
        const int after = i + REPULSION_ROWS, from = j0 > after ? j0 : after;
        if (from < j1) {
            z += repulsion_tile(REPULSION_ROWS, p, i, from, j1);
        }
        if (j0 < after) { // pairs inside the tile
            z += sella_repulsion_plain(p, i, after, j0, j1 < after ? j1 : after);
        }
    }
    for (; i < i1; i++) {
        const int from = j0 > i + 1 ? j0 : i + 1;
        if (from < j1) {
            z += repulsion_tile(1, p, i, from, j1);
        }
    }
    return z;
}

#endif
