/* gemm.c - sella_gemm over CBLAS or plain loops, and the thread count that both share. */
#include "kernels/gemm.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>

#ifdef SELLA_BLAS_OPENBLAS
#include <cblas.h>
#endif

#include "kernels/product.h"

enum {
    THREADS_MAX = 1024,
    CPUS_MAX = 4096,
    PLAIN_ROWS = 32,  /* rows of C a task of the plain product works on */
    PLAIN_DEPTH = 64, /* depth and width of the block of op(B) it copies to its stack */
    PLAIN_COLS = 128
};

/* ---- products ---- */

static void gemm_clear(float *c, int ldc, int M, int N, float beta)
{
    for (int m = 0; m < M; m++) {
        float *row = c + (size_t)m * (size_t)ldc;
        if (beta == 0.0f) {
            memset(row, 0, (size_t)N * sizeof *row);
        } else if (beta != 1.0f) {
            for (int n = 0; n < N; n++) {
                row[n] *= beta;
            }
        }
    }
}

/* c[rows, cols] += alpha op(a) block, where the block of op(B) is dense [depth, PLAIN_COLS] and `a`
 * points at the first element. */
static void gemm_block(float *c, int ldc, int rows, int cols, int depth, float alpha,
                       const float *a, size_t step_m, size_t step_k, const float *block)
{
    int m = 0;
    for (; m + 4 <= rows; m += 4) {
        float *c0 = c + (size_t)m * (size_t)ldc;
        float *c1 = c0 + ldc, *c2 = c1 + ldc, *c3 = c2 + ldc;
        for (int k = 0; k < depth; k++) {
            const float *from = a + (size_t)m * step_m + (size_t)k * step_k;
            const float x0 = alpha * from[0], x1 = alpha * from[step_m];
            const float x2 = alpha * from[2 * step_m], x3 = alpha * from[3 * step_m];
            const float *b = block + (size_t)k * PLAIN_COLS;
            for (int n = 0; n < cols; n++) {
                c0[n] += x0 * b[n];
                c1[n] += x1 * b[n];
                c2[n] += x2 * b[n];
                c3[n] += x3 * b[n];
            }
        }
    }
    for (; m < rows; m++) {
        float *c0 = c + (size_t)m * (size_t)ldc;
        for (int k = 0; k < depth; k++) {
            const float x0 = alpha * a[(size_t)m * step_m + (size_t)k * step_k];
            const float *b = block + (size_t)k * PLAIN_COLS;
            for (int n = 0; n < cols; n++) {
                c0[n] += x0 * b[n];
            }
        }
    }
}

/* One task: PLAIN_ROWS rows of C against all of op(B). Every element of C is summed by one thread
 *           in the order of k. */
static void gemm_rows(int m0, int rows, bool ta, bool tb, int N, int K, float alpha, const float *a,
                      int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    float block[PLAIN_DEPTH * PLAIN_COLS];
    const size_t step_m = ta ? 1 : (size_t)lda, step_k = ta ? (size_t)lda : 1;
    gemm_clear(c + (size_t)m0 * (size_t)ldc, ldc, rows, N, beta);
    for (int n0 = 0; n0 < N; n0 += PLAIN_COLS) {
        const int cols = N - n0 < PLAIN_COLS ? N - n0 : PLAIN_COLS;
        for (int k0 = 0; k0 < K; k0 += PLAIN_DEPTH) {
            const int depth = K - k0 < PLAIN_DEPTH ? K - k0 : PLAIN_DEPTH;
            for (int k = 0; k < depth; k++) {
                for (int n = 0; n < cols; n++) {
                    block[k * PLAIN_COLS + n] =
                        tb ? b[(size_t)(n0 + n) * (size_t)ldb + (size_t)(k0 + k)]
                           : b[(size_t)(k0 + k) * (size_t)ldb + (size_t)(n0 + n)];
                }
            }
            gemm_block(c + (size_t)m0 * (size_t)ldc + n0, ldc, rows, cols, depth, alpha,
                       a + (size_t)m0 * step_m + (size_t)k0 * step_k, step_m, step_k, block);
        }
    }
}

void sella_gemm_plain(bool ta, bool tb, int M, int N, int K, float alpha, const float *a, int lda,
                      const float *b, int ldb, float beta, float *c, int ldc)
{
#pragma omp parallel for schedule(static)
    for (int m0 = 0; m0 < M; m0 += PLAIN_ROWS) {
        gemm_rows(m0, M - m0 < PLAIN_ROWS ? M - m0 : PLAIN_ROWS, ta, tb, N, K, alpha, a, lda, b,
                  ldb, beta, c, ldc);
    }
}

void sella_gemm(bool ta, bool tb, int M, int N, int K, float alpha, const float *a, int lda,
                const float *b, int ldb, float beta, float *c, int ldc)
{
    assert(M >= 0 && N >= 0 && K >= 0);
    if (M == 0 || N == 0) {
        return;
    }
    if (K == 0 || alpha == 0.0f) {
        gemm_clear(c, ldc, M, N, beta);
        return;
    }
    assert(lda >= (ta ? M : K) && ldb >= (tb ? K : N) && ldc >= N);
    if (beta == 0.0f || beta == 1.0f) {
        const sella_fast_product product = {ta, tb, beta != 0.0f, M,   N,  K, alpha, a,
                                            b,  c,  lda,          ldb, ldc};
        if (sella_product(&product)) {
            return;
        }
    }
#ifdef SELLA_BLAS_OPENBLAS
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, M, N,
                K, alpha, a, lda, b, ldb, beta, c, ldc);
#else
    sella_gemm_plain(ta, tb, M, N, K, alpha, a, lda, b, ldb, beta, c, ldc);
#endif
}

float sella_dot(const float *x, const float *y, int C)
{
    float sum[8] = {0};
    int c = 0;
    for (; c + 8 <= C; c += 8) {
        for (int i = 0; i < 8; i++) {
            sum[i] += x[c + i] * y[c + i];
        }
    }
    for (int i = 0; c + i < C; i++) {
        sum[i] += x[c + i] * y[c + i];
    }
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/* ---- threads ---- */

/* First CPU number in the sibling list of `cpu`, which names its physical core; `cpu` itself when
 * the kernel does not say. */
static int cpu_core(int cpu)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *file = fopen(path, "r");
    int first = cpu;
    if (file != NULL) {
        if (fscanf(file, "%d", &first) != 1 || first < 0) {
            first = cpu;
        }
        fclose(file);
    }
    return first;
}

/* CPUs that a container's quota pays for (cgroup 2), or THREADS_MAX when there is none. */
static int cpu_quota(void)
{
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    double quota = 0, period = 0;
    int cpus = THREADS_MAX;
    if (file != NULL) {
        if (fscanf(file, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0 &&
            quota / period < THREADS_MAX) {
            cpus = (int)ceil(quota / period);
        }
        fclose(file);
    }
    return cpus < 1 ? 1 : cpus;
}

int sella_cores(void)
{
    cpu_set_t *allowed = CPU_ALLOC(CPUS_MAX);
    const size_t bytes = CPU_ALLOC_SIZE(CPUS_MAX);
    int cores = 0;
    if (allowed == NULL) {
        return 1;
    }
    if (sched_getaffinity(0, bytes, allowed) == 0) {
        unsigned char seen[CPUS_MAX] = {0};
        for (int cpu = 0; cpu < CPUS_MAX; cpu++) {
            if (CPU_ISSET_S((size_t)cpu, bytes, allowed)) {
                const int core = cpu_core(cpu);
                if (core >= CPUS_MAX || !seen[core]) {
                    cores++;
                }
                if (core < CPUS_MAX) {
                    seen[core] = 1;
                }
            }
        }
    }
    CPU_FREE(allowed);
    const int quota = cpu_quota();
    cores = cores < quota ? cores : quota;
    return cores < 1 ? 1 : cores;
}

int sella_threads_set(int n)
{
    if (n < 1) {
        n = sella_cores();
    }
    n = n > THREADS_MAX ? THREADS_MAX : n;
    omp_set_dynamic(0);
    omp_set_num_threads(n);
#ifdef SELLA_BLAS_OPENBLAS
    openblas_set_num_threads(n);
#endif
    return n;
}

int sella_threads(void)
{
    return omp_get_max_threads();
}

/* ---- which BLAS ---- */

#ifdef SELLA_BLAS_OPENBLAS
sella_status sella_blas_check(sella_err *err)
{
    const int parallel = openblas_get_parallel(); /* 0 serial, 1 own pthread pool, 2 OpenMP */
    if (parallel == OPENBLAS_THREAD) {
        return sella_err_set(
            err, SELLA_UNSUPPORTED,
            "the BLAS that was loaded (%s) has a thread pool of its own, which fights ours: "
            "install the OpenMP build of OpenBLAS (libopenblas0-openmp) or build with BLAS=none",
            openblas_get_config());
    }
    return SELLA_OK;
}

static char blas_name[96];

/* "OpenBLAS 0.3.21 ..." up to the second word, the core that was chosen, and the kind of
 * threading. */
static void blas_name_fill(void)
{
    static const char *const kind[] = {"serial", "own threads", "OpenMP"};
    const char *config = openblas_get_config();
    const int parallel = openblas_get_parallel();
    size_t words = strcspn(config, " ");
    if (config[words] == ' ') {
        words += 1 + strcspn(config + words + 1, " ");
    }
    snprintf(blas_name, sizeof blas_name, "%.*s (%s, %s)", (int)(words < 40 ? words : 40), config,
             openblas_get_corename(),
             parallel >= 0 && parallel <= 2 ? kind[parallel] : "unknown threading");
}

const char *sella_blas_name(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, blas_name_fill);
    return blas_name;
}
#else
sella_status sella_blas_check(sella_err *err)
{
    (void)err;
    return SELLA_OK;
}

const char *sella_blas_name(void)
{
    return "none (reference loops)";
}
#endif
