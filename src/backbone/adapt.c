/* adapt.c - the products of one low-rank adapter inside a pass: y += s B A drop(x), and back.
 *
 * Dropout draws 16 bits an element, eight elements a block of the counter-based generator, and
 * keeps the mask as bits: the mask is a pure function of (seed, step, layer, matrix, row, column),
 * kept because it is read twice.
 */
#include "backbone/pass_state.h"
#include "base/rng.h"
#include "kernels/gemm.h"

static size_t mask_stride(int in)
{
    return ((size_t)in + 7) / 8;
}

static bool dropping(const sella_pass *pass)
{
    return pass->step >= 0 && sella_lora_settings(pass->lora)->dropout > 0.0;
}

static void mask_draw(const sella_pass *pass, int l, sella_matrix matrix, int n, int in,
                      uint8_t *mask)
{
    const sella_rng rng = {.seed = pass->seed,
                           .stream = SELLA_STREAM_DROPOUT,
                           .a = (uint32_t)pass->step,
                           .b = (uint32_t)(l * 8 + (int)matrix)};
    const uint32_t limit = (uint32_t)(sella_lora_settings(pass->lora)->dropout * 65536.0 + 0.5);
    const size_t stride = mask_stride(in);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < stride; k++) {
            uint32_t word[4];
            unsigned bits = 0;
            sella_rng_block(&rng, (size_t)i * stride + k, word);
            for (int w = 0; w < 4; w++) {
                bits |= (unsigned)((word[w] & 0xffffu) >= limit) << (2 * w);
                bits |= (unsigned)((word[w] >> 16) >= limit) << (2 * w + 1);
            }
            mask[(size_t)i * stride + k] = (uint8_t)bits;
        }
    }
}

/* What eight elements are multiplied by, for each byte of a mask: 0 or 1 / (1 - p). */
void sella_adapt_table(float *keep, double dropout)
{
    for (int byte = 0; byte < 256; byte++) {
        for (int bit = 0; bit < 8; bit++) {
            keep[byte * 8 + bit] = byte >> bit & 1 ? (float)(1.0 / (1.0 - dropout)) : 0.0f;
        }
    }
}

static void mask_row(const float *keep, const uint8_t *bits, float *y, const float *x, int in,
                     bool add)
{
    int c = 0;
    for (; c + 8 <= in; c += 8) {
        const float *by = keep + (size_t)bits[c >> 3] * 8;
        for (int j = 0; j < 8; j++) {
            y[c + j] = add ? y[c + j] + by[j] * x[c + j] : by[j] * x[c + j];
        }
    }
    for (; c < in; c++) {
        const float value = keep[(size_t)bits[c >> 3] * 8 + (size_t)(c & 7)] * x[c];
        y[c] = add ? y[c] + value : value;
    }
}

/* y = mask x / (1 - p) row by row, or y += with `add`. */
static void mask_apply(const sella_pass *pass, const uint8_t *mask, sella_row_list list, float *y,
                       int ldy, const float *x, int ldx, int in, bool add)
{
    const size_t stride = mask_stride(in);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < list.n; i++) {
        const uint8_t *bits = mask + (size_t)(list.token ? list.token[i] : i) * stride;
        if (add) {
            mask_row(pass->keep, bits, y + (size_t)i * (size_t)ldy, x + (size_t)i * (size_t)ldx, in,
                     true);
        } else {
            mask_row(pass->keep, bits, y + (size_t)i * (size_t)ldy, x + (size_t)i * (size_t)ldx, in,
                     false);
        }
    }
}

void sella_adapt_forward(sella_pass *pass, int l, sella_matrix matrix, const float *x, int ldx,
                         int n, float *y, int ldy)
{
    sella_lap(pass, SELLA_LAP_PRODUCTS);
    const sella_lora_pair pair =
        pass->lora ? sella_lora_at(pass->lora, l, matrix) : (sella_lora_pair){NULL, NULL};
    if (pair.a == NULL) {
        return;
    }
    const int R = (int)pair.a->shape[0], in = (int)pair.a->shape[1], out = (int)pair.b->shape[0];
    float *u = pass->state[l].u[matrix];
    if (dropping(pass)) {
        mask_draw(pass, l, matrix, n, in, pass->state[l].mask[matrix]);
        mask_apply(pass, pass->state[l].mask[matrix], (sella_row_list){n, NULL}, pass->adapt, in, x,
                   ldx, in, false);
        x = pass->adapt;
        ldx = in;
    }
    sella_gemm(false, true, n, R, in, 1.0f, x, ldx, pair.a->data, in, 0.0f, u, R);
    sella_gemm(false, true, n, out, R, sella_lora_scale(pass->lora), u, R, pair.b->data, R, 1.0f, y,
               ldy);
    sella_lap(pass, SELLA_LAP_ADAPTERS);
}

bool sella_adapt_trains(const sella_pass *pass, int l, sella_matrix matrix)
{
    if (pass->lora == NULL || !pass->options.train_lora) {
        return false;
    }
    const sella_lora_pair pair = sella_lora_at(pass->lora, l, matrix);
    return pair.a != NULL && (pair.a->trainable || pair.b->trainable);
}

void sella_adapt_backward(sella_pass *pass, int l, sella_matrix matrix, const float *dy, int lddy,
                          const float *x, int ldx, sella_row_list list, float *dx, int lddx)
{
    sella_lap(pass, SELLA_LAP_PRODUCTS);
    const sella_lora_pair pair =
        pass->lora ? sella_lora_at(pass->lora, l, matrix) : (sella_lora_pair){NULL, NULL};
    const bool trains = sella_adapt_trains(pass, l, matrix);
    if (pair.a == NULL || (!trains && dx == NULL)) {
        return;
    }
    const int R = (int)pair.a->shape[0], in = (int)pair.a->shape[1], out = (int)pair.b->shape[0],
              n = list.n;
    const float s = sella_lora_scale(pass->lora);
    const uint8_t *mask = dropping(pass) ? pass->state[l].mask[matrix] : NULL;
    sella_gemm(false, false, n, R, out, s, dy, lddy, pair.b->data, R, 0.0f, pass->du, R);
    if (trains && pair.b->grad) {
        sella_gemm(true, false, out, R, n, s, dy, lddy, pass->state[l].u[matrix], R, 1.0f,
                   pair.b->grad, R);
    }
    if (trains && pair.a->grad) {
        if (mask) {
            mask_apply(pass, mask, list, pass->adapt, in, x, ldx, in, false);
        }
        sella_gemm(true, false, R, in, n, 1.0f, pass->du, R, mask ? pass->adapt : x,
                   mask ? in : ldx, 1.0f, pair.a->grad, in);
    }
    if (dx && !mask) {
        sella_gemm(false, false, n, in, R, 1.0f, pass->du, R, pair.a->data, in, 1.0f, dx, lddx);
    } else if (dx) {
        sella_gemm(false, false, n, in, R, 1.0f, pass->du, R, pair.a->data, in, 0.0f, pass->adapt,
                   in);
        mask_apply(pass, mask, list, dx, lddx, pass->adapt, in, in, true);
    }
    sella_lap(pass, SELLA_LAP_ADAPTERS);
}
