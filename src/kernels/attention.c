/* attention.c - the public attention calls. */
#include "kernels/attention.h"

size_t sella_attention_scratch(const sella_attention_shape *shape)
{
    (void)shape;
    return 16;
}

void sella_attention_forward(float *o, int ldo, float *lse, const float *q, int ldq, const float *k, int ldk, const float *v, int ldv,
                             const int32_t *query_n, int N, const sella_attention_shape *shape, float *scratch)
{
    (void)scratch;
    sella_attention_forward_plain(o, ldo, lse, q, ldq, k, ldk, v, ldv, query_n, N, shape);
}

void sella_attention_backward(float *dq, int lddq, float *dk, int lddk, float *dv, int lddv, const float *do_, int lddo, const float *o, int ldo,
                              const float *lse, const float *q, int ldq, const float *k, int ldk, const float *v, int ldv,
                              const int32_t *query_n, int N, const sella_attention_shape *shape, float *scratch)
{
    (void)scratch;
    sella_attention_backward_plain(dq, lddq, dk, lddk, dv, lddv, do_, lddo, o, ldo, lse, q, ldq, k, ldk, v, ldv, query_n, N, shape);
}
