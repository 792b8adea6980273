/* product.h - our own products, for the shapes where they beat a BLAS.
 *
 * Does:     sella_gemm() asks sella_product() first and calls BLAS when it declines; nobody else
 *           needs this header. Measured on Zen 4 against OpenBLAS 0.3.21 (bench/kernels.c): thin
 *           products (adapters) 1.2 to 1.9 times as fast on one thread and more on several, with
 *           AVX-512 a layer's products 1.05 times.
 * Layout:   as gemm.h.
 * Threads:  internally parallel; every element is summed in the same order whatever their number.
 */
#ifndef SELLA_KERNELS_PRODUCT_H
#define SELLA_KERNELS_PRODUCT_H

#include "kernels/fast.h"

/* Do the product when that gains. Returns: whether it was done. */
bool sella_product(const sella_fast_product *product);
/* Do it at a chosen level of CPU, gain or not, for tests and benchmarks. Returns: false when the
 * level has no such kernel. */
bool sella_product_with(const sella_fast *fast, const sella_fast_product *product);

#endif
