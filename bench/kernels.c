/* bench/kernels.c - time of every kernel at the shapes of the 135M backbone, beside the products of
 * one layer.
 *
 * Usage: bench-kernels [tokens [threads]]     best of many repetitions; meant for a quiet machine
 */
#include <math.h>
#include <time.h>

#include "base/rng.h"
#include "kernels/activation.h"
#include "kernels/attention_tile.h"
#include "kernels/dequant.h"
#include "kernels/gemm.h"
#include "kernels/norm.h"
#include "kernels/rope.h"

enum {
    WIDTH = 576,
    FFN = 1536,
    HEADS = 9,
    KEY_HEADS = 3,
    D = 64,
    QKV = (HEADS + 2 * KEY_HEADS) * D,
    SEGMENTS = 1024,
    MOST = 8192
};

static double layer_seconds; /* products of one layer, forward */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best time of `call` within about a third of a second. */
#define BEST(seconds, call)                                                      \
    do {                                                                         \
        seconds = 1e9;                                                           \
        const double begin_ = now();                                             \
        for (int i_ = 0; i_ < 5 || (now() - begin_ < 0.3 && i_ < 2000); i_++) {  \
            const double start_ = now();                                         \
            call;                                                                \
            const double took_ = now() - start_;                                 \
            seconds = took_ < seconds ? took_ : seconds;                         \
        }                                                                        \
    } while (0)

static float *random_floats(size_t n)
{
    static const sella_rng rng = {.seed = 1, .stream = SELLA_STREAM_TEST};
    float *x = aligned_alloc(64, (n * sizeof *x + 127) / 64 * 64);
    for (size_t i = 0; i < n; i++) {
        x[i] = sella_rng_uniform(&rng, i) - 0.5f;
    }
    return x;
}

static void line(const char *name, double seconds, double bytes, double flop)
{
    printf("%-34s %9.1f us", name, seconds * 1e6);
    if (bytes > 0) {
        printf("  %6.1f GB/s", bytes / seconds / 1e9);
    } else {
        printf("  %6.1f GFLOP/s", flop / seconds / 1e9);
    }
    if (layer_seconds > 0) {
        printf("  %5.1f %% of the layer's forward products", 100 * seconds / layer_seconds);
    }
    printf("\n");
}

static double product(int N, int O, int C, bool transposed)
{
    float *x = random_floats((size_t)N * (size_t)C), *w = random_floats((size_t)O * (size_t)C),
          *y = random_floats((size_t)N * (size_t)O);
    double seconds;
    char name[64];
    BEST(seconds, sella_gemm(false, transposed, N, O, C, 1, x, C, w, transposed ? C : O, 0, y, O));
    snprintf(name, sizeof name, "sgemm %dx%dx%d%s", N, O, C,
             transposed ? " weights [O, C]" : " weights [C, O]");
    line(name, seconds, 0, 2.0 * N * O * C);
    free(x);
    free(w);
    free(y);
    return seconds;
}

/* The six products of an adapter of rank R at a matrix [C, C]: forward two, backward four. */
static void adapter(int T, int R, int C)
{
    float *x = random_floats((size_t)T * (size_t)C), *y = random_floats((size_t)T * (size_t)C),
          *u = random_floats((size_t)T * (size_t)R);
    float *a = random_floats((size_t)R * (size_t)C), *b = random_floats((size_t)R * (size_t)C);
    double forward, backward;
    char name[64];
    BEST(forward, (sella_gemm(false, true, T, R, C, 1, x, C, a, C, 0, u, R),
                   sella_gemm(false, true, T, C, R, 2, u, R, b, R, 1, y, C)));
    snprintf(name, sizeof name, "adapter %d of rank %d, forward", C, R);
    line(name, forward, 0, 4.0 * T * R * C);
    BEST(backward, (sella_gemm(false, false, T, R, C, 2, y, C, b, R, 0, u, R),
                    sella_gemm(true, false, C, R, T, 2, y, C, u, R, 1, b, R),
                    sella_gemm(true, false, R, C, T, 1, u, R, x, C, 1, a, C),
                    sella_gemm(false, false, T, C, R, 1, u, R, a, C, 1, x, C)));
    snprintf(name, sizeof name, "adapter %d of rank %d, backward", C, R);
    line(name, backward, 0, 8.0 * T * R * C);
    free(x);
    free(y);
    free(u);
    free(a);
    free(b);
}

/* Trees of about `cap` tokens: a root of 110, then a chain of titles of 11, each with candidates of
 * 13 hanging from it. */
static sella_attention_shape forest(int T, int cap, int32_t *start, int32_t *parent,
                                    int32_t *subtree)
{
    sella_attention_shape shape = {.H = HEADS,
                                   .G = KEY_HEADS,
                                   .D = D,
                                   .scale = 0.125f,
                                   .start_s = start,
                                   .parent_s = parent,
                                   .subtree_s = subtree};
    int chain = -1, in_tree = 0, count = 0;
    start[0] = 0;
    while (shape.T < T && shape.S < SEGMENTS) {
        int length = count % 3 == 2 ? 11 : 13, up = chain;
        if (chain < 0 || in_tree >= cap) {
            length = 110;
            up = -1;
            in_tree = count = 0;
        }
        length = length > T - shape.T ? T - shape.T : length;
        if (up < 0 || count % 3 == 2) {
            chain = shape.S;
        }
        parent[shape.S] = up;
        shape.T += length;
        in_tree += length;
        count++;
        start[++shape.S] = shape.T;
    }
    for (int s = shape.S - 1; s >= 0; s--) {
        subtree[s] = s + 1;
        while (subtree[s] < shape.S && parent[subtree[s]] >= s) {
            subtree[s]++;
        }
    }
    return shape;
}

static double seen_keys(const sella_attention_shape *shape)
{
    double sum = 0;
    for (int s = 0; s < shape->S; s++) {
        const double length = shape->start_s[s + 1] - shape->start_s[s];
        const double after = shape->start_s[shape->subtree_s[s]] - shape->start_s[s + 1];
        sum += length * (length + 1) / 2 + length * after;
    }
    return sum;
}

static void attention(int T, int cap)
{
    static int32_t start[SEGMENTS + 1], parent[SEGMENTS], subtree[SEGMENTS];
    const sella_attention_shape shape = forest(T, cap, start, parent, subtree);
    const int wide = HEADS * D;
    const size_t rows = (size_t)shape.T;
    float *qkv = random_floats(rows * QKV), *dqkv = random_floats(rows * QKV),
          *o = random_floats(rows * (size_t)wide);
    float *d = random_floats(rows * (size_t)wide), *lse = random_floats(rows * HEADS);
    const double keys = seen_keys(&shape), flop = keys * HEADS * D * 2;
    printf("attention: %d tokens, %d segments, %.0f keys a token\n", shape.T, shape.S,
           keys / shape.T);
    for (int level = 1; level < SELLA_FAST_LEVELS; level++) {
        const sella_fast *fast = sella_fast_level(level);
        if (fast == NULL) {
            continue;
        }
        float *scratch = random_floats(sella_attention_scratch_with(fast, &shape));
        double seconds;
        char name[64];
        BEST(seconds, sella_attention_forward_with(fast, o, wide, lse, qkv, QKV, qkv + wide, QKV,
                                                   qkv + wide + KEY_HEADS * D, QKV, NULL, 0, &shape,
                                                   scratch));
        snprintf(name, sizeof name, "  forward, %s", fast->name);
        line(name, seconds, 0, 2 * flop);
        BEST(seconds, sella_attention_backward_with(
                          fast, dqkv, QKV, dqkv + wide, QKV, dqkv + wide + KEY_HEADS * D, QKV, d,
                          wide, o, wide, lse, qkv, QKV, qkv + wide, QKV, qkv + wide + KEY_HEADS * D,
                          QKV, NULL, 0, &shape, scratch));
        snprintf(name, sizeof name, "  backward, %s", fast->name);
        line(name, seconds, 0, 5 * flop);
        free(scratch);
    }
    free(qkv);
    free(dqkv);
    free(o);
    free(d);
    free(lse);
}

static void element_wise(int T)
{
    const size_t rows = (size_t)T;
    float *x = random_floats(rows * 2 * FFN), *y = random_floats(rows * 2 * FFN),
          *z = random_floats(rows * FFN), *w = random_floats(WIDTH);
    float *r = random_floats(rows), *table = random_floats(2 * rows * D);
    int32_t *position = calloc(rows, sizeof *position);
    const double width = (double)T * WIDTH * 4, ffn = (double)T * FFN * 4;
    double seconds;
    for (int t = 0; t < T; t++) {
        position[t] = t % 400;
    }
    BEST(seconds, sella_rmsnorm_forward(y, WIDTH, r, x, WIDTH, w, T, WIDTH, 1e-5f));
    line("rmsnorm forward", seconds, 2 * width, 0);
    BEST(seconds, sella_rmsnorm_backward(z, WIDTH, y, WIDTH, x, WIDTH, w, r, T, WIDTH));
    line("rmsnorm backward", seconds, 4 * width, 0);
    BEST(seconds, sella_rope_apply(x, QKV, T, HEADS + KEY_HEADS, D, position, table,
                                   table + rows * D / 2, 0));
    line("rope", seconds, 2.0 * T * (HEADS + KEY_HEADS) * D * 4, 0);
    BEST(seconds, sella_swiglu_forward(z, FFN, x, 2 * FFN, T, FFN));
    line("swiglu forward", seconds, 3 * ffn, 0);
    BEST(seconds, sella_swiglu_backward(y, 2 * FFN, z, FFN, x, 2 * FFN, T, FFN));
    line("swiglu backward", seconds, 5 * ffn, 0);
    BEST(seconds, sella_gelu_forward(y, x, rows * FFN));
    line("gelu forward, 1536 wide", seconds, 2 * ffn, 0);
    BEST(seconds, sella_gelu_backward(y, z, x, rows * FFN));
    line("gelu backward, 1536 wide", seconds, 3 * ffn, 0);
    BEST(seconds, sella_axpy(z, 1e-3f, x, rows * WIDTH));
    line("axpy, 576 wide", seconds, 3 * width, 0);
    free(x);
    free(y);
    free(z);
    free(w);
    free(r);
    free(table);
    free(position);
}

static void dequantization(void)
{
    /* the tile stays in cache, as on the way into a product */
    const size_t n = (size_t)2 * FFN * WIDTH, tile = 64 * 256;
    const double times = 100;
    float *y = random_floats(n);
    unsigned char *blocks = calloc(n, 4);
    for (int dtype = 0; dtype < SELLA_DTYPE_COUNT; dtype++) {
        double seconds;
        char name[64];
        BEST(seconds, sella_dequantize(y, blocks, (sella_dtype)dtype, n));
        snprintf(name, sizeof name, "dequantize %s, 3072x576, 1 thread",
                 sella_dtype_name((sella_dtype)dtype));
        line(name, seconds, (double)n * 4 + (double)sella_dtype_size((sella_dtype)dtype, n), 0);
        BEST(
            seconds, for (int i = 0; i < (int)times;
                          i++) { sella_dequantize(y, blocks, (sella_dtype)dtype, tile); });
        snprintf(name, sizeof name, "dequantize %s, 64x256, output",
                 sella_dtype_name((sella_dtype)dtype));
        line(name, seconds / times, (double)tile * 4, 0);
    }
    free(y);
    free(blocks);
}

int main(int argc, char **argv)
{
    const long tokens = argc > 1 ? strtol(argv[1], NULL, 10) : 1024;
    const int T = tokens < 1 || tokens > MOST ? 1024 : (int)tokens;
    const int threads = sella_threads_set(argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0);
    printf("%s, %d threads, rows of %s, %d tokens\n", sella_blas_name(), threads,
           sella_fast_best()->name, T);
    for (int transposed = 1; transposed >= 0; transposed--) {
        double seconds = product(T, QKV, WIDTH, transposed) + product(T, WIDTH, WIDTH, transposed);
        seconds += product(T, 2 * FFN, WIDTH, transposed) + product(T, WIDTH, FFN, transposed);
        if (!transposed) {
            layer_seconds = seconds;
        }
    }
    printf("products of one layer, forward: %.1f us\n", layer_seconds * 1e6);
    adapter(T, 8, WIDTH);
    adapter(T, 16, WIDTH);
    adapter(T, 16, 2 * FFN);
    attention(T, 384);
    attention(T, 1024);
    element_wise(T);
    dequantization();
    return 0;
}
