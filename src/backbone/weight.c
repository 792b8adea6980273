/* weight.c - products with a matrix that is expanded or stands as stored (backbone/weight.h).
 *
 * A tile is read once a product and used by all n rows of x: dequantizing costs a few percent of a
 * product over a hundred rows and less than that over more, so that it needs no overlap with the
 * GEMM and no blocking for a cache.
 *
 * Easy to get wrong: llama.cpp's converter interleaves the two halves of a head of q and k: file
 * row h D + 2 i + j is row h D + j D/2 + i.
 */
#include "backbone/weight.h"

#include <assert.h>

#include "kernels/gemm.h"

enum {
    TILE_FLOATS = 1 << 24, /* 64 MiB: BLAS copies x once a tile, which must not show */
    TILE_ROWS = 64         /* tiles have a multiple of these where they can: no thin rest */
};

size_t sella_weight_tile_floats(int out, int in)
{
    const size_t all = (size_t)out * (size_t)in, least = (size_t)TILE_ROWS * (size_t)in;
    const size_t some = least > TILE_FLOATS ? least : TILE_FLOATS;
    return all < some ? all : some;
}

sella_weight sella_weight_rows(const sella_weight *w, int row, int rows)
{
    sella_weight part = *w;
    assert(row >= 0 && rows >= 0 && row + rows <= w->out);
    part.out = rows;
    part.first = w->first + row;
    part.expanded = w->expanded ? w->expanded + (size_t)row * (size_t)w->in : NULL;
    return part;
}

/* Row of the file that holds row r. */
static int64_t file_row(const sella_weight_part *part, int64_t r)
{
    const int64_t D = part->head, within = D ? r % D : 0;
    return D ? r - within + within % (D / 2) * 2 + within / (D / 2) : r;
}

const sella_tensor *sella_weight_read(const sella_weight *w, int row, int rows, float *y)
{
    const size_t in = (size_t)w->in;
    const sella_tensor *fault = NULL;
    int64_t from = (int64_t)w->first + row, left = rows;
    for (int i = 0; i < w->parts && left > 0; i++) {
        const sella_tensor *t = w->part[i].tensor;
        if (from >= t->shape[0]) {
            from -= t->shape[0];
            continue;
        }
        const int64_t n = t->shape[0] - from < left ? t->shape[0] - from : left;
        const size_t stride = sella_dtype_size(t->dtype, in);
        bool finite = true;
#pragma omp parallel for schedule(static) reduction(&& : finite) if ((size_t)n * in > 16384)
        for (int64_t r = 0; r < n; r++) {
            const uint8_t *blocks =
                (const uint8_t *)t->data + (size_t)file_row(&w->part[i], from + r) * stride;
            finite = sella_dequantize(y + (size_t)r * in, blocks, t->dtype, in) && finite;
        }
        fault = finite || fault ? fault : t;
        y += (size_t)n * in;
        left -= n;
        from = 0;
    }
    assert(left == 0);
    return fault;
}

/* Rows of a tile: the fewest tiles that the scratch allows, all alike. */
static int tile_rows(const sella_weight *w, const sella_weight_tile *tile)
{
    const int most = (int)(tile->floats / (size_t)w->in);
    assert(tile->data != NULL && most >= 1);
    if (most >= w->out) {
        return w->out;
    }
    const int tiles = (w->out + most - 1) / most, even = (w->out + tiles - 1) / tiles;
    const int rows = (even + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    return rows < most ? rows : most;
}

static void tile_fill(const sella_weight *w, int row, int rows, sella_weight_tile *tile)
{
    const sella_tensor *fault = sella_weight_read(w, row, rows, tile->data);
    tile->fault = tile->fault ? tile->fault : fault;
}

void sella_weight_forward(const sella_weight *w, int n, const float *x, int ldx, float beta,
                          float *y, int ldy, sella_weight_tile *tile)
{
    if (w->expanded) {
        sella_gemm(false, true, n, w->out, w->in, 1.0f, x, ldx, w->expanded, w->in, beta, y, ldy);
        return;
    }
    const int most = tile_rows(w, tile);
    for (int row = 0, rows; row < w->out && n > 0; row += rows) {
        rows = w->out - row < most ? w->out - row : most;
        tile_fill(w, row, rows, tile);
        sella_gemm(false, true, n, rows, w->in, 1.0f, x, ldx, tile->data, w->in, beta, y + row,
                   ldy);
    }
}

void sella_weight_backward(const sella_weight *w, int n, const float *dy, int lddy, float *dx,
                           int lddx, sella_weight_tile *tile)
{
    if (w->expanded) {
        sella_gemm(false, false, n, w->in, w->out, 1.0f, dy, lddy, w->expanded, w->in, 0.0f, dx,
                   lddx);
        return;
    }
    const int most = tile_rows(w, tile);
    for (int row = 0, rows; row < w->out && n > 0; row += rows) {
        rows = w->out - row < most ? w->out - row : most;
        tile_fill(w, row, rows, tile);
        const float beta = row > 0 ? 1.0f : 0.0f;
        sella_gemm(false, false, n, w->in, rows, 1.0f, dy + row, lddy, tile->data, w->in, beta, dx,
                   lddx);
    }
}
