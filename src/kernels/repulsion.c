/* repulsion.c - the plain loop, and the choice of the fast one (kernels/repulsion.h). */
#include "kernels/repulsion.h"

#include "kernels/fast.h"

double sella_repulsion_plain(const sella_plane *plane, int i0, int i1, int j0, int j1)
{
    double z = 0;
    for (int i = i0; i < i1; i++) {
        float fx = 0, fy = 0, sum = 0;
        for (int j = j0 > i + 1 ? j0 : i + 1; j < j1; j++) {
            const float dx = plane->x[i] - plane->x[j], dy = plane->y[i] - plane->y[j];
            const float w = 1.0f / (1.0f + dx * dx + dy * dy), ww = w * w;
            sum += w;
            fx += ww * dx;
            fy += ww * dy;
            plane->fx[j] -= ww * dx;
            plane->fy[j] -= ww * dy;
        }
        plane->fx[i] += fx;
        plane->fy[i] += fy;
        z += (double)sum;
    }
    return z;
}

double sella_repulsion(const sella_plane *plane, int i0, int i1, int j0, int j1)
{
    const sella_fast *fast = sella_fast_best();
    return fast->repulsion ? fast->repulsion(plane, i0, i1, j0, j1)
                           : sella_repulsion_plain(plane, i0, i1, j0, j1);
}
