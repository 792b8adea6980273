/* Collaborative models behind collab/collab.h: ten Adam steps of torch
 * (tests/ref/collab_models_dump.py), central differences, what each model depends on, dropout,
 * refused configs. */
#include "ref_file.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/rng.h"
#include "collab/collab.h"
#include "kernels/loss.h"
#include "train/optimizer.h"

enum { N = 12, STEPS = 10, MOST = 4 };

static const sella_collab_config sasrec_config = {.users = 5,
                                                  .items = 11,
                                                  .C = 6,
                                                  .bias = true,
                                                  .init = .3,
                                                  .history_length = MOST,
                                                  .sasrec = {.blocks = 2, .heads = 2}};

static sella_collab *model(const char *name, const sella_collab_config *config)
{
    sella_collab *c = NULL;
    sella_err err = {0};
    if (sella_collab_new(name, config, 7, &c, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    return c;
}

static const char *named(char *text, const char *model_name, const char *part, const char *name)
{
    snprintf(text, SELLA_PARAM_NAME_MAX + 32, "%s.%s%s%s", model_name, part, name[0] ? "." : "",
             name);
    return text;
}

/* Step 0's vectors, logits and gradients, and the tables after ten steps. */
static void replay(sella_collab *c, const ref_file *ref, const int32_t *count,
                   const int32_t *history)
{
    static const int32_t none[1];
    const char *name = c->ops->name;
    char text[SELLA_PARAM_NAME_MAX + 32];
    const sella_optimizer_config adam = {
        .beta1 = .9, .beta2 = .999, .eps = 1e-8, .weight_decay = .01, .coupled = true};
    const int32_t *users = ref_i32(ref, named(text, name, "users", ""), NULL),
                  *items = ref_i32(ref, named(text, name, "items", ""), NULL);
    const float *labels = ref_f32(ref, named(text, name, "labels", ""), NULL);
    const double *losses = ref_f64(ref, named(text, name, "losses", ""), NULL);
    const size_t width = N * (size_t)c->config.C;
    sella_collab_pass pass = {0};
    sella_optimizer *optimizer = NULL;
    sella_param_table *tables[] = {&c->table};
    for (int i = 0; i < c->table.count; i++) {
        sella_param *param = &c->table.param[i];
        size_t values;
        const float *start = ref_f32(ref, named(text, name, "start", param->name), &values);
        assert_int_equal(values, param->count);
        memcpy(param->data, start, values * sizeof(float));
    }
    assert_int_equal(sella_optimizer_new(tables, 1, &adam, &optimizer, NULL), SELLA_OK);
    for (int step = 0; step < STEPS; step++) {
        const int32_t *history_n[N], zeros[N] = {0};
        float z[N], dz[N], share[N], user[N * 8], item[N * 8];
        for (int n = 0; n < N; n++) {
            history_n[n] = history ? history + (step * N + n) * MOST : none;
            share[n] = 1.0f / N;
        }
        const sella_collab_batch batch = {.N = N,
                                          .user_n = users + step * N,
                                          .item_n = items + step * N,
                                          .history_n = history_n,
                                          .history_count_n = count ? count + step * N : zeros,
                                          .backward = true};
        assert_int_equal(sella_collab_vectors(c, &batch, &pass, user, item, NULL), SELLA_OK);
        assert_int_equal(sella_collab_forward(c, &batch, &pass, z, NULL), SELLA_OK);
        assert_true(fabs(sella_bce_forward(dz, z, labels + step * N, share, N) - losses[step]) <
                    2e-6);
        assert_int_equal(sella_collab_backward(c, &batch, &pass, dz, NULL), SELLA_OK);
        if (step == 0) {
            ref_close_to("z", z, ref_f32(ref, named(text, name, "z", ""), NULL), N, 2e-6);
            ref_close_to("user", user, ref_f32(ref, named(text, name, "user", ""), NULL), width,
                         2e-6);
            ref_close_to("item", item, ref_f32(ref, named(text, name, "item", ""), NULL), width,
                         2e-6);
            for (int i = 0; i < c->table.count; i++) {
                const sella_param *param = &c->table.param[i];
                ref_close_to(text, param->grad,
                             ref_f32(ref, named(text, name, "grad", param->name), NULL),
                             param->count, 3e-6);
            }
        }
        assert_int_equal(sella_optimizer_step(optimizer, .01, -1, NULL, NULL), SELLA_OK);
    }
    for (int i = 0; i < c->table.count; i++) {
        const sella_param *param = &c->table.param[i];
        ref_close_to(text, param->data, ref_f32(ref, named(text, name, "end", param->name), NULL),
                     param->count, 2e-4);
    }
    sella_optimizer_free(optimizer);
    sella_collab_pass_release(&pass);
}

/* Train rows that name every item: nothing is settled. */
static void prepare_all(sella_collab *c)
{
    int32_t user[64] = {0}, item[64];
    uint8_t label[64] = {0};
    for (int i = 0; i < c->config.items; i++) {
        item[i] = i;
    }
    const sella_collab_train train = {
        .rows = {.rows = c->config.items, .user_n = user, .item_n = item, .label_n = label}};
    assert_int_equal(sella_collab_prepare(c, &train, NULL), SELLA_OK);
}

static int one_thread(void **state)
{
    (void)state;
    omp_set_num_threads(1); /* small sizes, and the suite runs many programs at once */
    return 0;
}

static void test_sasrec_torch(void **state)
{
    (void)state;
    ref_file ref = ref_open("tests/ref/collab_models.ref");
    sella_collab *c = model("sasrec", &sasrec_config);
    prepare_all(c);
    replay(c, &ref, ref_i32(&ref, "sasrec.counts", NULL), ref_i32(&ref, "sasrec.history", NULL));
    sella_collab_free(c);
    ref_close(&ref);
}

/* ---- a drawn problem ---- */

typedef struct problem {
    int32_t user[N], item[N], count[N], pool[N][MOST];
    const int32_t *history[N];
    float a[N], b[N * 8], d[N * 8]; /* weights of z, user and item vectors in the tested sum */
    sella_collab_batch batch;
} problem;

static void problem_init(problem *p, const sella_collab_config *config)
{
    const sella_rng rng = {.seed = 8, .stream = SELLA_STREAM_TEST};
    uint64_t at = 0;
    for (int n = 0; n < N; n++) {
        p->user[n] = (int32_t)sella_rng_below(&rng, at++, (uint64_t)config->users + 1) - 1;
        p->item[n] = (int32_t)sella_rng_below(&rng, at++, (uint64_t)config->items + 1) - 1;
        p->count[n] = (int32_t)sella_rng_below(&rng, at++, MOST + 1);
        p->a[n] = (float)sella_rng_normal(&rng, at++);
        for (int k = 0; k < MOST; k++) {
            p->pool[n][k] = (int32_t)sella_rng_below(&rng, at++, (uint64_t)config->items);
        }
        p->history[n] = p->pool[n];
    }
    p->count[4] = p->count[5] = 3; /* neighbours of one history */
    p->history[5] = p->history[4];
    p->count[6] = 0;
    for (int i = 0; i < N * 8; i++) {
        p->b[i] = (float)sella_rng_normal(&rng, at++);
        p->d[i] = (float)sella_rng_normal(&rng, at++);
    }
    p->batch = (sella_collab_batch){.N = N,
                                    .user_n = p->user,
                                    .item_n = p->item,
                                    .history_n = p->history,
                                    .history_count_n = p->count,
                                    .backward = true,
                                    .seed = 3,
                                    .number = 9};
}

/* sum a z + b user + d item */
static double weighted(sella_collab *c, const problem *p, sella_collab_pass *pass, bool vectors)
{
    float z[N], user[N * 8], item[N * 8];
    double sum = 0;
    if (!vectors) {
        assert_int_equal(sella_collab_forward(c, &p->batch, pass, z, NULL), SELLA_OK);
        for (int n = 0; n < N; n++) {
            sum += (double)p->a[n] * (double)z[n];
        }
        return sum;
    }
    assert_int_equal(sella_collab_vectors(c, &p->batch, pass, user, item, NULL), SELLA_OK);
    for (int i = 0; i < N * c->config.C; i++) {
        sum += (double)p->b[i] * (double)user[i] + (double)p->d[i] * (double)item[i];
    }
    return sum;
}

/* Slope of the sum along one value between two places beside it. */
static double slope_of(sella_collab *c, const problem *p, sella_collab_pass *pass, bool vectors,
                       float *value, float up, float down)
{
    const float keep = *value;
    *value = keep + up;
    const double above = weighted(c, p, pass, vectors), high = (double)*value;
    *value = keep + down;
    const double slope = (above - weighted(c, p, pass, vectors)) / (high - (double)*value);
    *value = keep;
    return slope;
}

/* Gradients of logits, then of vectors, against central differences. Values with a kink of relu
 * near by, where the slopes to both sides differ, are skipped: they are few. */
static void differences(sella_collab *c, const problem *p)
{
    sella_collab_pass pass = {0};
    int checked = 0, skipped = 0;
    for (int vectors = 0; vectors < 2; vectors++) {
        sella_param_grad_zero(&c->table);
        weighted(c, p, &pass, vectors);
        assert_int_equal(vectors
                             ? sella_collab_vectors_backward(c, &p->batch, &pass, p->b, p->d, NULL)
                             : sella_collab_backward(c, &p->batch, &pass, p->a, NULL),
                         SELLA_OK);
        for (int i = 0; i < c->table.count; i++) {
            sella_param *param = &c->table.param[i];
            double largest = 0;
            for (size_t at = 0; at < param->count; at++) {
                float *value = &param->data[at];
                const double slope = slope_of(c, p, &pass, vectors, value, 2e-3f, -2e-3f),
                             right = slope_of(c, p, &pass, vectors, value, 6e-3f, 2e-3f),
                             left = slope_of(c, p, &pass, vectors, value, -2e-3f, -6e-3f);
                largest = fmax(largest, fabs(slope));
                checked++;
                if (fabs(right - left) > 1e-2 * (1 + fabs(slope))) {
                    skipped++;
                } else if (fabs(slope - (double)param->grad[at]) > 6e-3 * (1 + fabs(slope))) {
                    fail_msg("%s value %zu: %g, by differences %g", param->name, at,
                             (double)param->grad[at], slope);
                }
            }
            assert_true(vectors || largest > 1e-3); /* every tensor moves the logits */
        }
    }
    assert_true(skipped * 5 < checked);
    sella_collab_pass_release(&pass);
}

static void test_sasrec_differences(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        sella_collab_config config = sasrec_config;
        config.sasrec.blocks = k == 1 ? 1 : 2;
        config.sasrec.heads = k + 1;
        config.dropout = k == 2 ? .3 : 0;
        sella_collab *c = model("sasrec", &config);
        problem p;
        problem_init(&p, &config);
        p.batch.dropout = true;
        prepare_all(c);
        for (int i = 0; i < 3; i++) { /* away from the start's zeros */
            sella_param *bias = &c->table.param[c->table.count - 3 + i];
            bias->data[0] = .1f * (float)i;
        }
        differences(c, &p);
        sella_collab_free(c);
    }
}

static void user_vector(sella_collab *c, const int32_t *history, int32_t count, float *out)
{
    const int32_t nobody = -1;
    sella_collab_pass pass = {0};
    const sella_collab_batch batch = {.N = 1,
                                      .user_n = &nobody,
                                      .item_n = &nobody,
                                      .history_n = &history,
                                      .history_count_n = &count};
    assert_int_equal(sella_collab_vectors(c, &batch, &pass, out, NULL, NULL), SELLA_OK);
    sella_collab_pass_release(&pass);
}

static double distance(const float *x, const float *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    }
    return sqrt(sum);
}

/* The order of the history is what sasrec reads; without places and with one block it would not. */
static void test_sasrec_order(void **state)
{
    (void)state;
    const int32_t forth[] = {1, 4, 9}, back[] = {4, 1, 9}, first[] = {2, 4, 9};
    sella_collab_config config = sasrec_config;
    config.sasrec.blocks = 1;
    float a[6], b[6];
    sella_collab *c = model("sasrec", &config);
    user_vector(c, forth, 3, a);
    user_vector(c, back, 3, b);
    assert_true(distance(a, b, 6) > 1e-3);
    user_vector(c, first, 3, b);
    assert_true(distance(a, b, 6) > 1e-3);
    sella_param *places = sella_param_find(&c->table, "sasrec.position.weight");
    memset(places->data, 0, places->count * sizeof(float));
    user_vector(c, forth, 3, a);
    user_vector(c, back, 3, b);
    assert_true(distance(a, b, 6) < 1e-6);
    sella_collab_free(c);
}

static void test_sasrec_dropout(void **state)
{
    (void)state;
    sella_collab_config config = sasrec_config;
    config.dropout = .5;
    sella_collab *c = model("sasrec", &config);
    problem p;
    float z[4][N];
    problem_init(&p, &config);
    prepare_all(c);
    sella_collab_pass pass = {0};
    for (int k = 0; k < 4; k++) {
        p.batch.dropout = k > 0;
        p.batch.number = k == 3 ? 10 : 9;
        assert_int_equal(sella_collab_forward(c, &p.batch, &pass, z[k], NULL), SELLA_OK);
    }
    assert_memory_equal(z[1], z[2], sizeof z[0]);
    assert_true(distance(z[0], z[1], N) > .1 && distance(z[1], z[3], N) > .1);
    float score[N];
    /* never with dropout */
    assert_int_equal(sella_collab_score(c, &p.batch, score, NULL), SELLA_OK);
    assert_memory_equal(score, z[0], sizeof score);
    sella_collab_pass_release(&pass);
    sella_collab_free(c);
}

/* ---- lightgcn ---- */

static const sella_collab_config lightgcn_config = {.users = 6,
                                                    .items = 8,
                                                    .C = 5,
                                                    .bias = true,
                                                    .init = .5,
                                                    .unseen = SELLA_UNSEEN_HISTORY,
                                                    .lightgcn = {.layers = 3}};

/* The graph of the dump; every item is named, item 7 by a row that is no edge. extra: one more
 * positive, 5 likes it. */
static void prepare_graph(sella_collab *c, const ref_file *ref, int32_t extra)
{
    size_t edges;
    const int32_t *u = ref_i32(ref, "lightgcn.edge.user", &edges),
                  *i = ref_i32(ref, "lightgcn.edge.item", NULL);
    int32_t user[32], item[32];
    uint8_t label[32];
    assert_true(edges < 20);
    for (size_t e = 0; e < edges; e++) {
        user[e] = u[e];
        item[e] = i[e];
        label[e] = 1;
    }
    user[edges] = 4;
    item[edges] = 7;
    label[edges] = 0;
    user[edges + 1] = 5;
    item[edges + 1] = extra >= 0 ? extra : 7;
    label[edges + 1] = extra >= 0;
    const sella_collab_train train = {
        .rows = {.rows = (int64_t)edges + 2, .user_n = user, .item_n = item, .label_n = label}};
    assert_int_equal(sella_collab_prepare(c, &train, NULL), SELLA_OK);
}

static void load_start(sella_collab *c, const ref_file *ref)
{
    char text[SELLA_PARAM_NAME_MAX + 32];
    for (int i = 0; i < c->table.count; i++) {
        sella_param *param = &c->table.param[i];
        memcpy(param->data, ref_f32(ref, named(text, c->ops->name, "start", param->name), NULL),
               param->count * sizeof(float));
    }
}

static void test_lightgcn_torch(void **state)
{
    (void)state;
    ref_file ref = ref_open("tests/ref/collab_models.ref");
    sella_collab *c = model("lightgcn", &lightgcn_config);
    float guest[5];
    prepare_graph(c, &ref, -1);
    replay(c, &ref, NULL, NULL);
    /* what scoring reads: both propagated tables, and a user never seen as one more node */
    load_start(c, &ref);
    assert_int_equal(sella_collab_ready(c, NULL, NULL), SELLA_OK);
    const float *final = ref_f32(&ref, "lightgcn.final", NULL);
    ref_close_to("user.weight", sella_param_find(&c->derived, "user.weight")->data, final, 6 * 5,
                 1e-6);
    ref_close_to("item.weight", sella_param_find(&c->derived, "item.weight")->data, final + 6 * 5,
                 8 * 5, 1e-6);
    size_t liked;
    const int32_t *history = ref_i32(&ref, "lightgcn.guest.history", &liked);
    user_vector(c, history, (int32_t)liked, guest);
    ref_close_to("guest", guest, ref_f32(&ref, "lightgcn.guest", NULL), 5, 1e-6);
    sella_collab_free(c);
    ref_close(&ref);
}

static void test_lightgcn_differences(void **state)
{
    (void)state;
    ref_file ref = ref_open("tests/ref/collab_models.ref");
    for (int layers = 0; layers < 4; layers += 2) {
        sella_collab_config config = lightgcn_config;
        config.lightgcn.layers = layers;
        sella_collab *c = model("lightgcn", &config);
        problem p;
        problem_init(&p, &config);
        prepare_graph(c, &ref, -1);
        assert_int_equal(sella_collab_ready(c, NULL, NULL), SELLA_OK);
        differences(c, &p);
        sella_collab_free(c);
    }
    ref_close(&ref);
}

static float score_of(sella_collab *c, int32_t user, int32_t item)
{
    const int32_t *none = &item, zero = 0;
    const sella_collab_batch batch = {
        .N = 1, .user_n = &user, .item_n = &item, .history_n = &none, .history_count_n = &zero};
    float z;
    assert_int_equal(sella_collab_score(c, &batch, &z, NULL), SELLA_OK);
    return z;
}

/* One edge more, of another user and another item, moves a score; without layers it does not, and a
 * negative row never does. */
static void test_lightgcn_graph(void **state)
{
    (void)state;
    ref_file ref = ref_open("tests/ref/collab_models.ref");
    for (int layers = 0; layers < 4; layers += 3) {
        sella_collab_config config = lightgcn_config;
        config.lightgcn.layers = layers;
        sella_collab *c = model("lightgcn", &config);
        float z[3];
        for (int k = 0; k < 3; k++) {
            prepare_graph(c, &ref, k == 2 ? 1 : -1);
            load_start(c, &ref);
            assert_int_equal(sella_collab_ready(c, NULL, NULL), SELLA_OK);
            z[k] = score_of(c, 1, 3);
        }
        assert_true(z[0] == z[1]);
        assert_true(layers > 0 ? fabs((double)(z[2] - z[0])) > 1e-3 : z[2] == z[0]);
        sella_collab_free(c);
    }
    ref_close(&ref);
}

/* ---- mf, and what all share ---- */

static void test_mf_differences(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        const sella_collab_config config = {
            .users = 5, .items = 9, .C = 7, .bias = true, .init = .4, .mf = {.history = k == 1}};
        sella_collab *c = model("mf", &config);
        problem p;
        problem_init(&p, &config);
        prepare_all(c);
        differences(c, &p);
        sella_collab_free(c);
    }
}

/* Items of the catalogue that no train row names: zero, or the mean of those that are named, in
 * every model. */
static void test_items_never_seen(void **state)
{
    (void)state;
    static const char *const names[] = {"mf", "lightgcn", "sasrec"};
    for (int k = 0; k < 6; k++) {
        sella_collab_config config = sasrec_config;
        config.unseen = k < 3 ? SELLA_UNSEEN_ZERO : SELLA_UNSEEN_MEAN;
        config.lightgcn.layers = 2;
        sella_collab *c = model(names[k % 3], &config);
        int32_t user[] = {0, 1, 2}, item[] = {1, 4, 4};
        const uint8_t label[] = {1, 1, 0};
        const sella_collab_train train = {
            .rows = {.rows = 3, .user_n = user, .item_n = item, .label_n = label}};
        assert_int_equal(sella_collab_prepare(c, &train, NULL), SELLA_OK);
        assert_int_equal(sella_collab_ready(c, NULL, NULL), SELLA_OK);
        const sella_param *table = sella_param_find(&c->derived, "item.weight");
        const float *q = table ? table->data : sella_param_find(&c->table, "item.weight")->data;
        for (int d = 0; d < 6; d++) {
            const double mean = k < 3 ? 0 : ((double)q[1 * 6 + d] + (double)q[4 * 6 + d]) / 2;
            assert_true(fabs((double)q[7 * 6 + d] - mean) < 1e-6);
        }
        sella_collab_free(c);
    }
}

/* One row alone, and among others in pieces, on one thread and on several. */
static void test_pieces_and_threads(void **state)
{
    (void)state;
    enum { ROWS = 3000 };
    static int32_t user[ROWS], item[ROWS], count[ROWS];
    static const int32_t *history[ROWS];
    static float z[2][ROWS];
    const int threads = omp_get_max_threads();
    sella_collab *c = model("sasrec", &sasrec_config);
    problem p;
    problem_init(&p, &sasrec_config);
    for (int n = 0; n < ROWS; n++) {
        user[n] = p.user[n % N];
        item[n] = p.item[n * 5 % N];
        count[n] = p.count[n / 3 % N];
        history[n] = p.history[n / 3 % N];
    }
    const sella_collab_batch batch = {
        .N = ROWS, .user_n = user, .item_n = item, .history_n = history, .history_count_n = count};
    for (int t = 0; t < 2; t++) {
        omp_set_num_threads(1 + 2 * t);
        assert_int_equal(sella_collab_score(c, &batch, z[t], NULL), SELLA_OK);
    }
    omp_set_num_threads(threads);
    assert_memory_equal(z[0], z[1], sizeof z[0]);
    for (int n = 0; n < ROWS; n += 371) {
        const sella_collab_batch one = sella_collab_piece(&batch, n, 1);
        float alone;
        assert_int_equal(sella_collab_score(c, &one, &alone, NULL), SELLA_OK);
        assert_true(fabs((double)(alone - z[0][n])) < 1e-5);
    }
    sella_collab_free(c);
}

/* A scan of the catalogue is the scores of its rows. */
static void test_scan(void **state)
{
    (void)state;
    static const char *const names[] = {"mf", "lightgcn", "sasrec"};
    for (int k = 0; k < 3; k++) {
        sella_collab_config config = sasrec_config;
        config.lightgcn.layers = 2;
        config.unseen = SELLA_UNSEEN_HISTORY;
        sella_collab *c = model(names[k], &config);
        int32_t user[11], item[11], count[11];
        const int32_t liked[] = {4, 2, 9}, *history[11];
        float scan[11], score[11];
        prepare_all(c);
        assert_int_equal(sella_collab_ready(c, NULL, NULL), SELLA_OK);
        for (int b = 0; b < 3; b++) {
            sella_param *bias = &c->table.param[c->table.count - 3 + b];
            for (size_t i = 0; i < bias->count; i++) {
                bias->data[i] = .1f * (float)(i + 1);
            }
        }
        for (int u = -1; u < 2; u++) {
            for (int i = 0; i < 11; i++) {
                user[i] = u;
                item[i] = 10 - i;
                count[i] = 3;
                history[i] = liked;
            }
            const sella_collab_batch all = {.N = 11,
                                            .user_n = user,
                                            .item_n = item,
                                            .history_n = history,
                                            .history_count_n = count};
            const sella_collab_batch who = sella_collab_piece(&all, 0, 1);
            assert_int_equal(sella_collab_score(c, &all, score, NULL), SELLA_OK);
            assert_int_equal(sella_collab_scan(c, &who, item, 11, scan, NULL), SELLA_OK);
            ref_close_to(names[k], scan, score, 11, 1e-6);
        }
        sella_collab_free(c);
    }
}

static void refused(const char *name, const sella_collab_config *config, const char *part)
{
    sella_collab *c = NULL;
    sella_err err = {0};
    assert_int_equal(sella_collab_new(name, config, 1, &c, &err), SELLA_ARG);
    assert_null(c);
    if (!strstr(err.text, part)) {
        fail_msg("'%s' lacks '%s'", err.text, part);
    }
}

static void test_refused(void **state)
{
    (void)state;
    sella_collab_config config = sasrec_config;
    refused("transformer", &config, "unknown");
    config.sasrec.heads = 4;
    refused("sasrec", &config, "heads that divide the width");
    config = sasrec_config;
    config.sasrec.blocks = 0;
    refused("sasrec", &config, "blocks is 0");
    config = sasrec_config;
    config.history_length = 0;
    refused("sasrec", &config, "history of 0 items");
    config = sasrec_config;
    config.C = 5000;
    refused("sasrec", &config, "width 5000");
    config = sasrec_config;
    config.dropout = NAN;
    refused("sasrec", &config, "dropout nan");
    config = lightgcn_config;
    config.lightgcn.layers = 17;
    refused("lightgcn", &config, "17 layers");
    /* a row of train outside the tables */
    const int32_t user = 5, item = 0;
    const uint8_t label = 1;
    const sella_collab_train train = {
        .rows = {.rows = 1, .user_n = &user, .item_n = &item, .label_n = &label}};
    sella_collab *c = model("sasrec", &sasrec_config);
    assert_int_equal(sella_collab_prepare(c, &train, NULL), SELLA_ARG);
    sella_collab_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sasrec_torch),   cmocka_unit_test(test_sasrec_differences),
        cmocka_unit_test(test_sasrec_order),   cmocka_unit_test(test_sasrec_dropout),
        cmocka_unit_test(test_lightgcn_torch), cmocka_unit_test(test_lightgcn_differences),
        cmocka_unit_test(test_lightgcn_graph), cmocka_unit_test(test_mf_differences),
        cmocka_unit_test(test_items_never_seen), cmocka_unit_test(test_pieces_and_threads),
        cmocka_unit_test(test_scan), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, one_thread, NULL);
}
