/* attention_plain.c - attention written as its definition, one query and one head at a time: the
 * twin of attention.c. */
#include "kernels/attention.h"

#include <math.h>

/* The segment of token i. */
static int segment_of(const sella_attention_shape *shape, int i)
{
    int low = 0, high = shape->S - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (shape->start_s[middle] <= i) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

static float score(const float *q, const float *k, int D, float scale)
{
    double sum = 0;
    for (int d = 0; d < D; d++) {
        sum += (double)q[d] * (double)k[d];
    }
    return (float)(sum * (double)scale);
}

/* Calls for every visible key j of token i, oldest segment last: own segment up to i, then the
 * ancestors whole. */
#define EACH_KEY(shape, i, j)                                                                      \
    for (int seg_ = segment_of(shape, i), end_ = (i) + 1; seg_ >= 0;                               \
         seg_ = (shape)->parent_s[seg_], end_ = seg_ < 0 ? 0 : (shape)->start_s[seg_ + 1])         \
        for (int j = (shape)->start_s[seg_]; j < end_; j++)

void sella_attention_forward_plain(float *o, int ldo, float *lse, const float *q, int ldq,
                                   const float *k, int ldk, const float *v, int ldv,
                                   const int32_t *query_n, int N,
                                   const sella_attention_shape *shape)
{
    const int H = shape->H, D = shape->D, ratio = H / shape->G;
    const int count = query_n == NULL ? shape->T : N;
#pragma omp parallel for schedule(dynamic, 8)
    for (int n = 0; n < count; n++) {
        const int i = query_n == NULL ? n : query_n[n];
        for (int h = 0; h < H; h++) {
            const float *qi = q + (size_t)i * (size_t)ldq + (size_t)h * (size_t)D;
            const size_t head = (size_t)(h / ratio) * (size_t)D;
            float *oi = o + (size_t)i * (size_t)ldo + (size_t)h * (size_t)D;
            double top = -INFINITY, sum = 0;
            EACH_KEY(shape, i, j) {
                const double s =
                    (double)score(qi, k + (size_t)j * (size_t)ldk + head, D, shape->scale);
                if (s > top) {
                    sum *= exp(top - s);
                    top = s;
                }
                sum += exp(s - top);
            }
            const double logsum = top + log(sum);
            for (int d = 0; d < D; d++) {
                oi[d] = 0;
            }
            EACH_KEY(shape, i, j) {
                const double s =
                    (double)score(qi, k + (size_t)j * (size_t)ldk + head, D, shape->scale);
                const float p = (float)exp(s - logsum);
                const float *vj = v + (size_t)j * (size_t)ldv + head;
                for (int d = 0; d < D; d++) {
                    oi[d] += p * vj[d];
                }
            }
            if (lse != NULL) {
                lse[(size_t)i * (size_t)H + (size_t)h] = (float)logsum;
            }
        }
    }
}

void sella_attention_weights(float *weight, float a, int h, const float *lse, const float *q,
                             int ldq, const float *k, int ldk, const sella_attention_shape *shape)
{
    const int T = shape->T, H = shape->H, D = shape->D;
    const size_t head = (size_t)(h / (H / shape->G)) * (size_t)D;
#pragma omp parallel for schedule(dynamic, 8)
    for (int i = 0; i < T; i++) {
        const float *qi = q + (size_t)i * (size_t)ldq + (size_t)h * (size_t)D;
        float *row = weight + (size_t)i * (size_t)T;
        EACH_KEY(shape, i, j) {
            row[j] += a * expf(score(qi, k + (size_t)j * (size_t)ldk + head, D, shape->scale) -
                               lse[(size_t)i * (size_t)H + (size_t)h]);
        }
    }
}

static void clear_rows(float *x, int ld, int T, int C)
{
    for (int t = 0; t < T; t++) {
        memset(x + (size_t)t * (size_t)ld, 0, (size_t)C * sizeof *x);
    }
}

/* p_ij = exp(s_ij - lse_i); dv_j += p do_i; ds = p (do_i . v_j - do_i . o_i) scale; dq_i += ds k_j;
 * dk_j += ds q_i. Threads take key heads, whose gradients are apart. */
void sella_attention_backward_plain(float *dq, int lddq, float *dk, int lddk, float *dv, int lddv,
                                    const float *do_, int lddo, const float *o, int ldo,
                                    const float *lse, const float *q, int ldq, const float *k,
                                    int ldk, const float *v, int ldv, const int32_t *query_n, int N,
                                    const sella_attention_shape *shape)
{
    const int H = shape->H, D = shape->D, ratio = H / shape->G;
    const int count = query_n == NULL ? shape->T : N;
    clear_rows(dq, lddq, shape->T, H * D);
    clear_rows(dk, lddk, shape->T, shape->G * D);
    clear_rows(dv, lddv, shape->T, shape->G * D);
#pragma omp parallel for schedule(dynamic, 1)
    for (int g = 0; g < shape->G; g++) {
        const size_t head = (size_t)g * (size_t)D;
        for (int n = 0; n < count; n++) {
            const int i = query_n == NULL ? n : query_n[n];
            for (int h = g * ratio; h < (g + 1) * ratio; h++) {
                const size_t at = (size_t)h * (size_t)D;
                const float *qi = q + (size_t)i * (size_t)ldq + at,
                            *doi = do_ + (size_t)i * (size_t)lddo + at;
                float *dqi = dq + (size_t)i * (size_t)lddq + at;
                const float delta = score(doi, o + (size_t)i * (size_t)ldo + at, D, 1.0f);
                EACH_KEY(shape, i, j) {
                    const float *kj = k + (size_t)j * (size_t)ldk + head,
                                *vj = v + (size_t)j * (size_t)ldv + head;
                    float *dkj = dk + (size_t)j * (size_t)lddk + head,
                          *dvj = dv + (size_t)j * (size_t)lddv + head;
                    const float p = expf(score(qi, kj, D, shape->scale) -
                                         lse[(size_t)i * (size_t)H + (size_t)h]);
                    const float ds = p * (score(doi, vj, D, 1.0f) - delta) * shape->scale;
                    for (int d = 0; d < D; d++) {
                        dvj[d] += p * doi[d];
                        dqi[d] += ds * kj[d];
                        dkj[d] += ds * qi[d];
                    }
                }
            }
        }
    }
}
