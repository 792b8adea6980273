/* product.c - which products are ours, and how they are split over threads. */
#include "kernels/product.h"

#include "kernels/gemm.h"

enum {
    SMALL = 1 << 16, /* multiplications below which one thread does it all */
    THIN = 64,       /* a side or a depth up to this is thin */
    DEEPEST = 2048,  /* of a thick product */
    ALIAS = 1024,    /* rows this many floats apart fall into one set of the L1 cache */
    LANES = 8,       /* columns up to which 16 lanes are wasteful */
    ROWS = 12,       /* threads get multiples of these, as the tiles have them */
    COLUMNS = 32
};

bool sella_product_with(const sella_fast *fast, const sella_fast_product *product)
{
    if (fast->product == NULL) {
        return false;
    }
    const int M = product->M, N = product->N;
    int parts = (double)M * N * product->K < SMALL ? 1 : sella_threads();
    /* By rows each thread copies blocks of b for itself, by columns each reads all of a: rows while
     * they are many. */
    const bool by_rows = M >= N || M / parts >= 128;
    const int side = by_rows ? M : N, unit = by_rows ? ROWS : COLUMNS,
              units = (side + unit - 1) / unit;
    parts = parts < units ? parts : units;
#pragma omp parallel for schedule(static) num_threads(parts) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        const int from = (int)((long)units * part / parts) * unit;
        int to = (int)((long)units * (part + 1) / parts) * unit;
        to = to < side ? to : side;
        fast->product(product, by_rows ? from : 0, by_rows ? to : M, by_rows ? 0 : from,
                      by_rows ? N : to);
    }
    return true;
}

bool sella_product(const sella_fast_product *product)
{
    const sella_fast *fast = sella_fast_best();
    const bool thin = product->M <= THIN || product->N <= THIN || product->K <= THIN;
    const bool thick = !product->ta && product->K <= DEEPEST && product->lda % ALIAS != 0 &&
                       fast == sella_fast_level(2);
    if (fast->product == NULL || !(thin || thick)) {
        /* a transposed or deep a is better copied, as BLAS does; with AVX2 a BLAS is as fast */
        return false;
    }
    if (product->N <= LANES && fast == sella_fast_level(2)) {
        fast = sella_fast_level(1);
    }
    return sella_product_with(fast, product);
}
