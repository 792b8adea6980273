/* tsne_tree.c - the quadtree (eval/tsne_tree.h). */
#include "eval/tsne_tree.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

enum {
    DEPTH_MOST = 48, /* cells of points that are nearly equal are not divided further */
    PARALLEL = 1000  /* fewer points are not worth waking threads for, a thousand times */
};

typedef struct cell {
    float x, y;    /* mean of its points */
    float side;    /* 0: not divided (a leaf) */
    int32_t begin; /* its points are order[begin .. end) */
    int32_t end;
    int32_t next;  /* cell after the last one inside it */
} cell;

struct sella_tsne_tree {
    int N;
    cell *cells;
    size_t count, room;
    int32_t *order; /* [N] points, those of a cell together */
    int32_t *aside; /* [N] */
    double *weight; /* [N] sum of w of a point */
    const float *x, *y;
};

sella_status sella_tsne_tree_new(int N, sella_tsne_tree **out, sella_err *err)
{
    sella_tsne_tree *tree = sella_alloc(1, sizeof *tree, "a quadtree", err);
    *out = NULL;
    if (!tree) {
        return SELLA_MEMORY;
    }
    tree->N = N;
    tree->room = 4 * (size_t)N + 64;
    tree->cells = sella_alloc(tree->room, sizeof *tree->cells, "a quadtree", err);
    tree->order = sella_alloc((size_t)N, sizeof *tree->order, "a quadtree", err);
    tree->aside = sella_alloc((size_t)N, sizeof *tree->aside, "a quadtree", err);
    tree->weight = sella_alloc((size_t)N, sizeof *tree->weight, "a quadtree", err);
    if (!tree->cells || !tree->order || !tree->aside || !tree->weight) {
        sella_tsne_tree_free(tree);
        return SELLA_MEMORY;
    }
    *out = tree;
    return SELLA_OK;
}

void sella_tsne_tree_free(sella_tsne_tree *tree)
{
    if (tree) {
        free(tree->cells);
        free(tree->order);
        free(tree->aside);
        free(tree->weight);
        free(tree);
    }
}

/* Sort order[begin .. end) by quadrant around (cx, cy), keeping the order inside each; bound [5]
 * are the cuts. */
static void divide(sella_tsne_tree *tree, int32_t begin, int32_t end, double cx, double cy,
                   int32_t bound[5])
{
    int32_t count[4] = {0}, at[4];
    for (int32_t k = begin; k < end; k++) {
        const int32_t i = tree->order[k];
        count[((double)tree->x[i] >= cx) + 2 * ((double)tree->y[i] >= cy)]++;
    }
    bound[0] = begin;
    for (int q = 0; q < 4; q++) {
        at[q] = bound[q];
        bound[q + 1] = bound[q] + count[q];
    }
    for (int32_t k = begin; k < end; k++) {
        const int32_t i = tree->order[k];
        tree->aside[at[((double)tree->x[i] >= cx) + 2 * ((double)tree->y[i] >= cy)]++] = i;
    }
    memcpy(tree->order + begin, tree->aside + begin, (size_t)(end - begin) * sizeof *tree->order);
}

/* One more cell; cells may move. */
static sella_status cell_add(sella_tsne_tree *tree, sella_err *err)
{
    if (tree->count == tree->room) {
        cell *more = realloc(tree->cells, 2 * tree->room * sizeof *more);
        if (!more) {
            return sella_err_memory(err, "a quadtree", 2 * tree->room * sizeof *more);
        }
        tree->cells = more;
        tree->room *= 2;
    }
    tree->count++;
    return SELLA_OK;
}

static sella_status build(sella_tsne_tree *tree, int32_t begin, int32_t end, double cx, double cy,
                          double side, int depth, sella_err *err)
{
    sella_status status = cell_add(tree, err);
    if (status != SELLA_OK) {
        return status;
    }
    const size_t self = tree->count - 1;
    double x = 0, y = 0;
    for (int32_t k = begin; k < end; k++) {
        x += (double)tree->x[tree->order[k]];
        y += (double)tree->y[tree->order[k]];
    }
    const double n = (double)(end - begin);
    tree->cells[self] =
        (cell){.x = (float)(x / n), .y = (float)(y / n), .begin = begin, .end = end};
    if (end - begin > 1 && depth < DEPTH_MOST) {
        int32_t bound[5];
        tree->cells[self].side = (float)side;
        divide(tree, begin, end, cx, cy, bound);
        for (int q = 0; q < 4; q++) {
            if (bound[q] < bound[q + 1]) {
                const double step = side / 4;
                status = build(tree, bound[q], bound[q + 1], q & 1 ? cx + step : cx - step,
                               q & 2 ? cy + step : cy - step, side / 2, depth + 1, err);
                if (status != SELLA_OK) {
                    return status;
                }
            }
        }
    }
    tree->cells[self].next = (int32_t)tree->count;
    return SELLA_OK;
}

/* Walk the cells for the point at place `place` of the order. */
static void walk(const sella_tsne_tree *tree, int32_t place, float theta2, float *fx, float *fy,
                 double *weight)
{
    const int32_t i = tree->order[place];
    const float x = tree->x[i], y = tree->y[i];
    float sx = 0, sy = 0;
    double sum = 0;
    for (int32_t c = 0, last = (int32_t)tree->count; c < last;) {
        const cell *at = &tree->cells[c];
        const float dx = x - at->x, dy = y - at->y, d2 = dx * dx + dy * dy;
        const bool inside = at->begin <= place && place < at->end;
        if (at->side > 0 && (inside || at->side * at->side >= theta2 * d2)) {
            c++;
            continue;
        }
        const float many = (float)(at->end - at->begin - inside);
        const float w = 1.0f / (1.0f + d2), mw = many * w;
        sum += (double)mw;
        sx += mw * w * dx;
        sy += mw * w * dy;
        c = at->next;
    }
    fx[i] = sx;
    fy[i] = sy;
    weight[i] = sum;
}

sella_status sella_tsne_tree_forces(sella_tsne_tree *tree, const float *x, const float *y,
                                    double theta, float *fx, float *fy, double *Z, sella_err *err)
{
    const int N = tree->N;
    float low_x = x[0], high_x = x[0], low_y = y[0], high_y = y[0];
    for (int i = 0; i < N; i++) {
        tree->order[i] = i;
        low_x = x[i] < low_x ? x[i] : low_x;
        high_x = x[i] > high_x ? x[i] : high_x;
        low_y = y[i] < low_y ? y[i] : low_y;
        high_y = y[i] > high_y ? y[i] : high_y;
    }
    tree->x = x;
    tree->y = y;
    tree->count = 0;
    const double width = (double)high_x - (double)low_x, height = (double)high_y - (double)low_y;
    const sella_status status =
        build(tree, 0, N, ((double)low_x + (double)high_x) / 2,
              ((double)low_y + (double)high_y) / 2, fmax(fmax(width, height), 1e-30), 0, err);
    if (status != SELLA_OK) {
        return status;
    }
    const float theta2 = (float)(theta * theta);
#pragma omp parallel for schedule(dynamic, 64) if (N >= PARALLEL)
    for (int32_t place = 0; place < N; place++) {
        walk(tree, place, theta2, fx, fy, tree->weight);
    }
    *Z = 0;
    for (int i = 0; i < N; i++) {
        *Z += tree->weight[i];
    }
    return SELLA_OK;
}
