/* weight.h - one frozen matrix of a decoder, expanded to f32 or as stored, and its products.
 *
 * Does:     A matrix [out, in] is one to three tensors one above the other (q, k, v; gate, up). The
 *           products use the expanded matrix where there is one; otherwise a tile of rows at a time
 *           is dequantized into scratch on its way into the GEMM.
 * Layout:   row-major in Hugging Face's row order; a tensor whose file has the two halves of each
 *           head interleaved says so.
 * Memory:   tensors are borrowed from the mapped file, `expanded` from the handle; a tile's scratch
 *           belongs to the caller.
 * Threads:  a weight may be read by many; one tile per thread of use; internally parallel.
 * Not here: which tensors a matrix is made of (backbone/weights.c); block layouts
 *           (kernels/dequant.h).
 */
#ifndef SELLA_BACKBONE_WEIGHT_H
#define SELLA_BACKBONE_WEIGHT_H

#include "formats/safetensors.h"

enum { SELLA_WEIGHT_PARTS = 3 };

typedef struct sella_weight_part {
    const sella_tensor *tensor; /* [shape[0], in]; rank 1 stands for in = 1 */
    /* rows of a head whose halves stand interleaved in the file; 0: rows as they should be */
    int head;
} sella_weight_part;

typedef struct sella_weight {
    int out, in;
    int first;             /* row of the parts that row 0 is */
    const float *expanded; /* [out, in], or NULL: as stored */
    sella_weight_part part[SELLA_WEIGHT_PARTS];
    int parts;
} sella_weight;

/* Scratch for rows on their way into a product. */
typedef struct sella_weight_tile {
    float *data;               /* [floats]; NULL when all weights are expanded */
    size_t floats;             /* at least one row */
    const sella_tensor *fault; /* the first tensor met with a value that is not finite, or NULL */
} sella_weight_tile;

/* Floats of a tile that suits a matrix: all of a small one, else a part that costs no speed. */
size_t sella_weight_tile_floats(int out, int in);

/* Rows row .. row + rows - 1 of the same matrix. */
sella_weight sella_weight_rows(const sella_weight *w, int row, int rows);

/* y = rows row .. row + rows - 1, dequantized from the file.   y out [rows, in]
 * Returns: NULL, or a tensor that holds a value that is not finite (y is complete all the same). */
const sella_tensor *sella_weight_read(const sella_weight *w, int row, int rows, float *y);

/* y = x W' + beta y.   y inout [n, out], x in [n, in], beta 0 or 1.
 * The same sums whether expanded or not where the GEMM sums a row of W alike in every width. */
void sella_weight_forward(const sella_weight *w, int n, const float *x, int ldx, float beta,
                          float *y, int ldy, sella_weight_tile *tile);
/* dx = dy W.   dx out [n, in], dy in [n, out]. Tiles add up in order: for a matrix of several tiles
 * equal to the expanded product but for rounding. */
void sella_weight_backward(const sella_weight *w, int n, const float *dy, int lddy, float *dx,
                           int lddx, sella_weight_tile *tile);

#endif
