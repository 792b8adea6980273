/* fast_avx512.c - the inner kernels with 16 lanes. Compiled with AVX-512 F, DQ, BW and VL; runs
 * only where fast.c found them. */
#include "kernels/fast.h"

#if defined(__AVX512F__)
#include "kernels/attention_body.h"
#include "kernels/dequant_avx2.h"
#include "kernels/factor_body.h"
#include "kernels/product_body.h"
#include "kernels/repulsion_body.h"
#include "kernels/rows_body.h"

extern const sella_fast sella_fast_avx512;
const sella_fast sella_fast_avx512 = {
    .name = "AVX-512",
#include "kernels/fast_table.h"
};
#endif
