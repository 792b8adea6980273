/* fast_avx2.c - the inner kernels with 8 lanes. Compiled with AVX2, FMA and F16C; runs only where
 * fast.c found them. */
#include "kernels/fast.h"

#if defined(__AVX2__) && defined(__FMA__)
#include "kernels/attention_body.h"
#include "kernels/dequant_avx2.h"
#include "kernels/factor_body.h"
#include "kernels/product_body.h"
#include "kernels/repulsion_body.h"
#include "kernels/rows_body.h"

extern const sella_fast sella_fast_avx2;
const sella_fast sella_fast_avx2 = {
    .name = "AVX2",
#include "kernels/fast_table.h"
};
#endif
