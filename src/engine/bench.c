/* bench.c - measurements of the engine beside the sgemm roof of the same run.
 *
 * Easy to get wrong: the machine's clock moves, so roof and work are measured in turns, and the share compares best with best.
 * The last decoder layer computes only what the answers need, so that "2 P a token" counts up to one layer of work that is never done: the share is
 * flattered by at most 1 / layers.
 */
#include "sella/bench.h"

#include <math.h>

#include "backbone/backbone.h"
#include "backbone/lora.h"
#include "backbone/pass.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/rng.h"
#include "data/tree.h"
#include "kernels/gemm.h"
#include "train/optimizer.h"

enum { PRODUCTS = 4, ROW_MIN = 105, ROW_MAX = 169 /* 137 on average: compact, anchored history of 10 to 19 titles */ };

/* The four products of one layer: y [M, N] = x [M, K] W' [K, N]. */
typedef struct product {
    const char *name;
    int N, K;
} product;

typedef struct roof {
    int M;
    product product[PRODUCTS];
    float *x; /* [M, max K] */
    float *w; /* [max N K] */
    float *y; /* [M, max N] */
    double *second_r[PRODUCTS + 1]; /* [runs] seconds of one product; last: of all four */
    int done;
} roof;

/* What the caller asked for, resolved, and everything that is measured with. */
typedef struct bench {
    sella_bench_options options;
    sella_backbone *backbone;
    sella_lora *lora;
    sella_pass *pass;
    sella_optimizer *optimizer;
    sella_rows rows;
    sella_tree_batch batch;
    float *answer;     /* [N, C] */
    float *danswer;    /* [N, C] */
    float *direction;  /* [C] head row of one label minus the other */
    double *second_r;  /* [runs] */
    int64_t step;
    roof roof;
} bench;

static sella_backbone_config shape_135m(void)
{
    return (sella_backbone_config){.family = "llama", .layers = 30, .C = 576, .H = 9, .G = 3, .D = 64, .F = 1536, .V = 49152};
}

/* Peak resident memory, from the kernel's own account. */
static double peak_mb(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    double kb = 0.0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kb = strtod(line + 6, NULL);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kb / 1024.0;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts second_r. which 0: best, 1: median (the upper one of an even count). */
static double pick(double *second_r, int runs, int which)
{
    qsort(second_r, (size_t)runs, sizeof *second_r, by_value);
    return which == 0 ? second_r[0] : second_r[runs / 2];
}

static double product_flop(const roof *r, int p)
{
    return 2.0 * r->M * r->product[p].N * r->product[p].K;
}

static double layer_flop(const roof *r)
{
    double flop = 0.0;
    for (int p = 0; p < PRODUCTS; p++) {
        flop += product_flop(r, p);
    }
    return flop;
}

static sella_status roof_init(roof *r, const sella_backbone_config *c, int M, int runs, sella_err *err)
{
    *r = (roof){.M = M,
                .product = {{"q, k, v", (c->H + 2 * c->G) * c->D, c->C},
                            {"attention out", c->C, c->H * c->D},
                            {"gate, up", 2 * c->F, c->C},
                            {"down", c->C, c->F}}};
    size_t most_n = 0, most_k = 0, most_w = 0;
    for (int p = 0; p < PRODUCTS; p++) {
        const size_t n = (size_t)r->product[p].N;
        const size_t k = (size_t)r->product[p].K;
        most_n = n > most_n ? n : most_n;
        most_k = k > most_k ? k : most_k;
        most_w = n * k > most_w ? n * k : most_w;
    }
    r->x = sella_alloc((size_t)M * most_k, sizeof *r->x, "the products measured", err);
    r->w = sella_alloc(most_w, sizeof *r->w, "the products measured", err);
    r->y = sella_alloc((size_t)M * most_n, sizeof *r->y, "the products measured", err);
    if (r->x == NULL || r->w == NULL || r->y == NULL) {
        return SELLA_MEMORY;
    }
    for (int p = 0; p <= PRODUCTS; p++) {
        r->second_r[p] = sella_alloc((size_t)runs, sizeof *r->second_r[p], "the times", err);
        if (r->second_r[p] == NULL) {
            return SELLA_MEMORY;
        }
    }
    const sella_rng rng = {.seed = 1, .stream = SELLA_STREAM_TEST};
    for (size_t i = 0; i < (size_t)M * most_k; i++) {
        r->x[i] = sella_rng_uniform(&rng, i) - 0.5f;
    }
    for (size_t i = 0; i < most_w; i++) {
        r->w[i] = sella_rng_uniform(&rng, i) - 0.5f;
    }
    return SELLA_OK;
}

static void roof_release(roof *r)
{
    free(r->x);
    free(r->w);
    free(r->y);
    for (int p = 0; p <= PRODUCTS; p++) {
        free(r->second_r[p]);
    }
}

/* One measurement of every product, each the fastest of a few calls. */
static void roof_measure(roof *r, int calls)
{
    double all = 0.0;
    for (int p = 0; p < PRODUCTS; p++) {
        const product *q = &r->product[p];
        double best = INFINITY;
        for (int i = 0; i < calls; i++) {
            const double start = sella_now();
            sella_gemm(false, true, r->M, q->N, q->K, 1.0f, r->x, q->K, r->w, q->K, 0.0f, r->y, q->N);
            const double seconds = sella_now() - start;
            best = seconds < best ? seconds : best;
        }
        r->second_r[p][r->done] = best;
        all += best;
    }
    r->second_r[PRODUCTS][r->done++] = all;
}

/* FLOP/s of the fastest time of each product: the roof. */
static double roof_rate(const roof *r)
{
    double seconds = 0.0;
    for (int p = 0; p < PRODUCTS; p++) {
        double best = INFINITY;
        for (int i = 0; i < r->done; i++) {
            best = r->second_r[p][i] < best ? r->second_r[p][i] : best;
        }
        seconds += best;
    }
    return layer_flop(r) / seconds;
}

/* Rows of random ids of 105 to 169 tokens, as many as fit into `tokens`; the last one is cut to fill it. */
static sella_status make_rows(bench *b, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_rng rng = {.seed = 2, .stream = SELLA_STREAM_TEST};
    const int V = sella_backbone_shape(b->backbone)->V;
    const int total = b->options.tokens;
    int64_t *index_k = NULL;
    int32_t token_n[ROW_MAX];
    sella_rows_init(&b->rows);
    for (int used = 0, row = 0; used < total; row++) {
        int n = ROW_MIN + (int)sella_rng_below(&rng, (uint64_t)row, ROW_MAX - ROW_MIN + 1);
        n = n > total - used ? total - used : n;
        for (int i = 0; i < n; i++) {
            token_n[i] = (int32_t)sella_rng_below(&rng, (uint64_t)(1000 + used + i), (uint64_t)V);
        }
        SELLA_TRY(sella_rows_add(&b->rows, token_n, NULL, n, NULL, row, row, (float)(row % 2), 1.0f, err));
        used += n;
    }
    const sella_tree_options shape = {.budget = total, .share = false};
    index_k = sella_alloc((size_t)b->rows.count, sizeof *index_k, "the rows measured", err);
    if (index_k == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    for (int64_t i = 0; i < b->rows.count; i++) {
        index_k[i] = i;
    }
    SELLA_TRY(sella_tree_build(&b->rows, index_k, b->rows.count, &shape, &b->batch, err));
done:
    free(index_k);
    return status;
}

/* head row of token 1 minus head row of token 0: two tokens stand for yes and no. */
static sella_status make_head(bench *b, sella_err *err)
{
    static const int32_t label[2] = {0, 1};
    const int C = sella_backbone_shape(b->backbone)->C;
    float *head = sella_alloc(2 * (size_t)C, sizeof *head, "two rows of the head", err);
    b->direction = sella_alloc((size_t)C, sizeof *b->direction, "two rows of the head", err);
    sella_status status = head != NULL && b->direction != NULL ? sella_backbone_head(b->backbone, label, 2, head, err) : SELLA_MEMORY;
    for (int c = 0; status == SELLA_OK && c < C; c++) {
        b->direction[c] = head[C + c] - head[c];
    }
    free(head);
    return status;
}

static sella_status open_model(bench *b, bool train, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_weights weights;
    SELLA_TRY(sella_weights_of(b->options.weights, &weights, err));
    SELLA_TRY(sella_backbone_open_as(b->options.model, weights, b->options.talk, &b->backbone, err));
    SELLA_TRY(make_rows(b, err));
    SELLA_TRY(make_head(b, err));
    const size_t values = (size_t)b->batch.N * (size_t)sella_backbone_shape(b->backbone)->C;
    b->answer = sella_alloc(values, sizeof *b->answer, "the answers", err);
    b->danswer = sella_alloc(values, sizeof *b->danswer, "the answers", err);
    b->second_r = sella_alloc((size_t)b->options.runs, sizeof *b->second_r, "the times", err);
    if (b->answer == NULL || b->danswer == NULL || b->second_r == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    sella_pass_options pass = {.max_tokens = b->options.tokens};
    if (train) {
        sella_lora_config config = {.rank = b->options.lora_rank, .alpha = 2.0 * b->options.lora_rank};
        SELLA_TRY(sella_lora_targets(b->options.lora_targets, &config.targets, err));
        SELLA_TRY(sella_lora_new(b->backbone, &config, 1, &b->lora, err));
        sella_param_table *table = sella_lora_params(b->lora);
        const sella_optimizer_config adam = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1.0};
        SELLA_TRY(sella_optimizer_new(&table, 1, &adam, &b->optimizer, err));
        pass.backward = true;
        pass.train_lora = true;
    }
    SELLA_TRY(sella_pass_new(b->backbone, b->lora, &pass, &b->pass, err));
done:
    return status;
}

static void bench_release(bench *b)
{
    sella_pass_free(b->pass);
    sella_optimizer_free(b->optimizer);
    sella_lora_free(b->lora);
    sella_tree_batch_release(&b->batch);
    sella_rows_release(&b->rows);
    free(b->answer);
    free(b->danswer);
    free(b->direction);
    free(b->second_r);
    sella_backbone_close(b->backbone);
    roof_release(&b->roof);
}

/* Gradient of the mean BCE of z = answer . direction. */
static void answer_gradient(bench *b)
{
    const int C = sella_backbone_shape(b->backbone)->C;
    for (int n = 0; n < b->batch.N; n++) {
        const float z = sella_dot(b->answer + (size_t)n * (size_t)C, b->direction, C);
        const float dz = (1.0f / (1.0f + expf(-z)) - b->batch.label_n[n]) / (float)b->batch.N;
        for (int c = 0; c < C; c++) {
            b->danswer[(size_t)n * (size_t)C + (size_t)c] = dz * b->direction[c];
        }
    }
}

/* One forward pass (score) or one whole step (train). */
static sella_status work_once(bench *b, sella_err *err)
{
    const bool train = b->optimizer != NULL;
    sella_status status = SELLA_OK;
    SELLA_TRY(sella_pass_forward(b->pass, &b->batch, NULL, 1, train ? b->step : -1, b->answer, err));
    if (train) {
        answer_gradient(b);
        SELLA_TRY(sella_pass_backward(b->pass, b->danswer, NULL, err));
        SELLA_TRY(sella_optimizer_step(b->optimizer, 1e-4, -1, NULL, err));
    }
    b->step++;
done:
    return status;
}

typedef struct sink {
    void (*each)(void *user, const sella_measurement *measurement);
    void *user;
} sink;

static void tell(const sink *out, const char *name, const char *work, int which, int runs, double seconds, double rate, const char *unit, double share)
{
    sella_measurement m = {.seconds = seconds, .rate = rate, .bound_share = share, .rss_mb = peak_mb(), .threads = sella_threads()};
    snprintf(m.name, sizeof m.name, "%s", name);
    snprintf(m.work, sizeof m.work, "%s, %s of %d", work, which == 0 ? "best" : "median", runs);
    snprintf(m.unit, sizeof m.unit, "%s", unit);
    out->each(out->user, &m);
}

/* The roof (all four products), and with `parts` each product. */
static void tell_roof(roof *r, int runs, bool parts, const sink *out)
{
    const double top = roof_rate(r);
    char work[96];
    for (int p = 0; parts && p < PRODUCTS; p++) {
        snprintf(work, sizeof work, "%s: %d x %d x %d", r->product[p].name, r->M, r->product[p].N, r->product[p].K);
        for (int which = 0; which < 2; which++) {
            const double seconds = pick(r->second_r[p], runs, which);
            const double rate = product_flop(r, p) / seconds;
            tell(out, "gemm", work, which, runs, seconds, rate / 1e9, "GFLOP/s", rate / top);
        }
    }
    snprintf(work, sizeof work, "products of one layer, %d tokens", r->M);
    tell(out, "gemm", work, 0, runs, layer_flop(r) / top, top / 1e9, "GFLOP/s", 1.0);
    const double seconds = pick(r->second_r[PRODUCTS], runs, 1);
    tell(out, "gemm", work, 1, runs, seconds, layer_flop(r) / seconds / 1e9, "GFLOP/s", layer_flop(r) / seconds / top);
}

static void tell_work(bench *b, bool train, const sink *out)
{
    const double top = roof_rate(&b->roof);
    const double flop = (train ? 4.0 : 2.0) * (double)sella_backbone_parameters(b->backbone);
    const int T = b->batch.T;
    char work[128];
    int used = snprintf(work, sizeof work, "%s%d tokens in %d rows%s", train ? "LoRA step, " : "forward pass, ", T, b->batch.N,
                        sella_backbone_stored(b->backbone) ? ", stored weights" : "");
    if (train && used > 0 && (size_t)used < sizeof work) {
        snprintf(work + used, sizeof work - (size_t)used, ", rank %d on %s", b->options.lora_rank, b->options.lora_targets);
    }
    for (int which = 0; which < 2; which++) {
        const double seconds = pick(b->second_r, b->options.runs, which);
        const double rate = T / seconds;
        tell(out, train ? "train" : "score", work, which, b->options.runs, seconds, rate, "tokens/s", flop * rate / top);
    }
}

static sella_status resolve(const sella_bench_options *given, bench *b, bool *gemm, bool *train, sella_err *err)
{
    sella_bench_options *o = &b->options;
    *o = *given;
    const char *what = o->what != NULL ? o->what : "";
    *gemm = strcmp(what, "gemm") == 0;
    *train = strcmp(what, "train") == 0;
    o->tokens = o->tokens == 0 ? 1024 : o->tokens;
    o->runs = o->runs == 0 ? 5 : o->runs;
    o->lora_rank = o->lora_rank == 0 ? 8 : o->lora_rank;
    o->lora_targets = o->lora_targets != NULL ? o->lora_targets : "q_proj,v_proj";
    if (!*gemm && !*train && strcmp(what, "score") != 0) {
        return sella_err_set(err, SELLA_ARG, "bench '%s' is unknown; expected gemm, score or train", what);
    }
    if (!*gemm && o->model == NULL) {
        return sella_err_set(err, SELLA_ARG, "bench %s needs a model", what);
    }
    if (o->tokens < 16 || o->tokens > 1 << 20 || o->runs < 1 || o->runs > 10000 || o->lora_rank < 1) {
        return sella_err_set(err, SELLA_ARG, "bench of %d tokens, %d runs, rank %d; expected 16 to 1048576 tokens, 1 to 10000 runs, rank 1 or more",
                             o->tokens, o->runs, o->lora_rank);
    }
    return SELLA_OK;
}

sella_status sella_bench(const sella_bench_options *options, void (*each)(void *user, const sella_measurement *measurement), void *user, sella_err *err)
{
    sella_status status = SELLA_OK;
    bench b = {0};
    bool gemm = false, train = false;
    const sink out = {each, user};
    sella_backbone_config shape = shape_135m();
    SELLA_TRY(resolve(options, &b, &gemm, &train, err));
    SELLA_TRY(sella_blas_check(err));
    sella_threads_set(b.options.threads);
    if (!gemm) {
        SELLA_TRY(open_model(&b, train, err));
        shape = *sella_backbone_shape(b.backbone);
        SELLA_TRY(work_once(&b, err)); /* touches every page once */
    } else if (b.options.model != NULL) {
        sella_backbone_need need;
        SELLA_TRY(sella_backbone_probe(b.options.model, &shape, &need, err));
    }
    SELLA_TRY(roof_init(&b.roof, &shape, b.options.tokens, b.options.runs, err));
    for (int run = 0; run < b.options.runs; run++) {
        if (sella_stop_wanted(b.options.talk)) {
            SELLA_TRY(sella_err_set(err, SELLA_INTERRUPTED, "interrupted after %d of %d runs", run, b.options.runs));
        }
        roof_measure(&b.roof, gemm ? 5 : 3);
        if (!gemm) {
            const double start = sella_now();
            SELLA_TRY(work_once(&b, err));
            b.second_r[run] = sella_now() - start;
        }
    }
    /* pick() sorts; every reader of the roof's best is indifferent to order. */
    tell_roof(&b.roof, b.options.runs, gemm, &out);
    if (!gemm) {
        tell_work(&b, train, &out);
    }
done:
    bench_release(&b);
    return status;
}
