/* bench_cache.c - bench cache: training steps whose lower layers are frozen, with and without
 * hidden states on disk (engine/bench_part.h).
 *
 * One batch is trained on in four ways, in turns: its layers below K tree by tree and written to
 * the file (the first epoch), the same without the file, read from the file, and the whole batch at
 * once. The first three are what training does; the last one tells what trees cost.
 *
 * Easy to get wrong: the work really done differs between the ways, so each share of the roof
 * counts its own products; with few layers behind K it matters that the last layer computes little
 * for tokens that are no answers, and that layer K needs no gradient of its input.
 */
#include <math.h>
#include <stdlib.h>

#include "backbone/hidden_cache.h"
#include "base/arena.h"
#include "base/file.h"
#include "engine/bench_part.h"

enum { TREE_TOKENS = 256 /* of one tree: about the mean of stage 1 on ML-1M */ };

typedef enum way { BUILD, COMPUTE, READ, WHOLE, WAYS } way;

static const char *const way_names[WAYS] = {
    [BUILD] = "epoch 1, computed and written",
    [COMPUTE] = "later epochs without cache",
    [READ] = "later epochs with cache",
    [WHOLE] = "not tree by tree",
};

typedef struct cache_bench {
    const sella_bench_options *options; /* first_layer resolved */
    sella_bench_model model;
    sella_rows rows;
    sella_tree_batch batch;
    int trees;
    sella_tree_batch *tree;   /* [trees] */
    int32_t *tokens_t;        /* [trees] */
    sella_hidden_cache *cache;
    float *x;                 /* [tokens, C] what enters layer K */
    float *z_n;               /* [trees] */
    sella_sample *sample_r[WAYS]; /* [runs] */
    double difference;
    sella_roof roof;
} cache_bench;

/* Trees of one row of made-up text each. */
static sella_status make_trees(cache_bench *b, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_backbone_config *shape = sella_backbone_shape(b->model.backbone);
    const int total = b->options->tokens,
              each = b->options->row_tokens > 0 ? b->options->row_tokens : TREE_TOKENS;
    const sella_tree_options packed = {.budget = total, .share = true};
    int64_t *index_k = NULL;
    SELLA_TRY(sella_bench_rows(b->options, each, (uint32_t)shape->V, &b->rows, err));
    const size_t most = (size_t)b->rows.count;
    index_k = sella_alloc(most, sizeof *index_k, "the trees measured", err);
    b->tree = sella_alloc(most, sizeof *b->tree, "the trees measured", err);
    b->tokens_t = sella_alloc(most, sizeof *b->tokens_t, "the trees measured", err);
    b->z_n = sella_alloc(most, sizeof *b->z_n, "the trees measured", err);
    b->x = sella_alloc((size_t)total * (size_t)shape->C, sizeof *b->x, "hidden states", err);
    if (!index_k || !b->tree || !b->tokens_t || !b->z_n || !b->x) {
        status = SELLA_MEMORY;
        goto done;
    }
    for (; b->trees < b->rows.count; b->trees++) {
        const int t = b->trees;
        index_k[t] = t;
        SELLA_TRY(sella_tree_build(&b->rows, &index_k[t], 1, &packed, &b->tree[t], err));
        b->tokens_t[t] = b->tree[t].T;
    }
    SELLA_TRY(sella_tree_build(&b->rows, index_k, b->trees, &packed, &b->batch, err));
done:
    free(index_k);
    return status;
}

/* Forward and backward of the batch, the lower layers in one of the ways. */
static sella_status forward_backward(cache_bench *b, way how, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_bench_model *m = &b->model;
    const int K = b->options->first_layer;
    float *x = b->x;
    if (how == WHOLE) {
        return sella_bench_model_pass(m, &b->batch, true, b->batch.N, b->z_n, err);
    }
    for (int t = 0; t < b->trees; t++) {
        if (how == READ && !sella_hidden_cache_read(b->cache, t, &b->tree[t], x)) {
            SELLA_TRY(sella_err_set(err, SELLA_IO,
                                    "the hidden states of tree %d cannot be read again", t));
        } else if (how != READ) {
            SELLA_TRY(sella_pass_hidden(m->pass, &b->tree[t], K, x, err));
        }
        if (how == BUILD) {
            sella_hidden_cache_write(b->cache, t, &b->tree[t], x);
        }
        x += (size_t)b->tree[t].T * (size_t)sella_backbone_shape(m->backbone)->C;
    }
    const char *failure = sella_hidden_cache_state(b->cache).failure;
    if (failure != NULL) {
        SELLA_TRY(sella_err_set(err, SELLA_IO, "%s", failure));
    }
    SELLA_TRY(sella_pass_forward_from(m->pass, &b->batch, K, b->x, 1, m->step, m->answer, err));
    SELLA_TRY(sella_bench_model_answers(m, &b->batch, true, b->batch.N, b->z_n, err));
done:
    return status;
}

static sella_status one_step(cache_bench *b, way how, sella_sample *took, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_sample start = sella_sample_now();
    SELLA_TRY(forward_backward(b, how, err));
    SELLA_TRY(sella_optimizer_step(b->model.optimizer, 1e-4, -1, NULL, err));
    b->model.step++;
    *took = sella_sample_since(start);
done:
    return status;
}

/* Gradients with and without the file: the largest difference as a part of the largest gradient.
 * The optimizer leaves them zero. */
static sella_status compare(cache_bench *b, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_param_table *table = sella_lora_params(b->model.lora);
    double most = 0.0, gap = 0.0;
    float *one = sella_alloc(sella_param_total(table, true), sizeof *one, "gradients", err);
    if (one == NULL) {
        return SELLA_MEMORY;
    }
    for (int turn = 0; turn < 2; turn++) {
        size_t at = 0;
        SELLA_TRY(forward_backward(b, turn == 0 ? COMPUTE : READ, err));
        for (int p = 0; p < table->count; p++) {
            for (size_t i = 0; i < table->param[p].count; i++, at++) {
                const float g = table->param[p].grad[i];
                if (turn == 0) {
                    one[at] = g;
                } else {
                    most = fmax(most, fabs((double)one[at]));
                    gap = fmax(gap, fabs((double)g - (double)one[at]));
                }
            }
            memset(table->param[p].grad, 0, table->param[p].count * sizeof *table->param[p].grad);
        }
    }
    b->difference = most > 0.0 ? gap / most : NAN;
done:
    free(one);
    return status;
}

/* FLOP of the frozen products behind layer K, forward and backward. Without an adapter on q, k or v
 * layer K needs still less. */
static double upper_flop(const cache_bench *b)
{
    const sella_backbone_config *c = sella_backbone_shape(b->model.backbone);
    const int T = b->batch.T, N = b->batch.N, layers = c->layers - b->options->first_layer;
    const double all = sella_roof_layer(&b->roof, 1), kv = 2.0 * (2 * c->G * c->D) * (double)c->C;
    const double qkv = 2.0 * b->roof.product[0].N * b->roof.product[0].K;
    const double forward = (layers - 1) * T * all + T * kv + N * (all - kv);
    return 2.0 * forward - (layers > 1 ? T * qkv : T * kv + N * (qkv - kv));
}

static void tell(cache_bench *b, const sella_bench_sink *out)
{
    const int L = sella_backbone_shape(b->model.backbone)->layers, K = b->options->first_layer;
    const double top = sella_roof_rate(&b->roof), upper = upper_flop(b),
                 lower = K * sella_roof_layer(&b->roof, b->batch.T);
    const double flop[WAYS] = {[BUILD] = lower + upper,
                               [COMPUTE] = lower + upper,
                               [READ] = upper,
                               [WHOLE] = lower + upper};
    sella_sample without[2] = {sella_sample_pick(b->sample_r[COMPUTE], b->options->runs, 0),
                               sella_sample_pick(b->sample_r[COMPUTE], b->options->runs, 1)};
    char work[160];
    for (int how = 0; how < WAYS; how++) {
        snprintf(work, sizeof work,
                 "%s: LoRA step from layer %d of %d on, %d tokens in %d tree%s%s", way_names[how],
                 K, L, b->batch.T, b->trees, b->trees == 1 ? "" : "s",
                 sella_backbone_stored(b->model.backbone) ? ", stored weights" : "");
        for (int which = 0; which < 2; which++) {
            const sella_sample took = sella_sample_pick(b->sample_r[how], b->options->runs, which);
            sella_measurement m = sella_measurement_new("tokens/s", b->batch.T / took.seconds,
                                                        flop[how] / took.seconds / top);
            if (how == READ) {
                m.work_ratio = flop[COMPUTE] / flop[READ];
                m.speed_up = without[which].seconds / took.seconds;
                m.share = m.speed_up / m.work_ratio;
                m.difference = b->difference;
                m.disk_mb = (double)sella_hidden_cache_state(b->cache).bytes / 1048576.0;
            }
            sella_bench_tell(out, "cache", work, which, took, m);
        }
    }
}

static sella_status measure(cache_bench *b, const char *file, sella_err *err)
{
    sella_status status = SELLA_OK;
    const sella_bench_options *options = b->options;
    const sella_hidden_of of = {b->model.backbone, options->first_layer, b->trees, b->tokens_t};
    sella_sample took;
    SELLA_TRY(sella_hidden_cache_open(file, &of, &b->cache, err));
    for (way how = 0; how < WAYS; how++) { /* touches every page once */
        SELLA_TRY(one_step(b, how, &took, err));
    }
    for (int run = 0; run < options->runs; run++) {
        sella_roof_measure(&b->roof, 3);
        for (way how = 0; how < WAYS; how++) {
            SELLA_TRY(sella_bench_stop(options, run, err));
            SELLA_TRY(one_step(b, how, &b->sample_r[how][run], err));
        }
    }
    SELLA_TRY(compare(b, err));
done:
    return status;
}

/* Two thirds of the layers are frozen unless it is said. */
static sella_status resolve(const sella_bench_options *given, sella_bench_options *o,
                            sella_err *err)
{
    sella_backbone_config shape;
    sella_backbone_need need;
    *o = *given;
    const sella_status status = sella_backbone_probe(o->model, &shape, &need, err);
    if (status != SELLA_OK) {
        return status;
    }
    o->first_layer = o->first_layer == 0 ? 2 * shape.layers / 3 : o->first_layer;
    if (o->first_layer < 1 || o->first_layer >= shape.layers) {
        return sella_err_set(err, SELLA_ARG,
                             "bench cache with adapters from layer %d on; the model has layers 0 "
                             "to %d: expected 1 to %d",
                             o->first_layer, shape.layers - 1, shape.layers - 1);
    }
    return SELLA_OK;
}

sella_status sella_bench_cache(const sella_bench_options *options, const sella_bench_sink *out,
                               sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_bench_options resolved;
    cache_bench b = {.options = &resolved};
    char *folder = NULL, *file = NULL;
    sella_rows_init(&b.rows);
    SELLA_TRY(resolve(options, &resolved, err));
    SELLA_TRY(sella_bench_folder(&folder, err));
    file = sella_path_join(folder, "hidden-train.bin", NULL);
    for (int how = 0; how < WAYS; how++) {
        b.sample_r[how] = sella_alloc((size_t)resolved.runs, sizeof **b.sample_r, "the times", err);
        if (file == NULL || b.sample_r[how] == NULL) {
            SELLA_TRY(sella_err_memory(err, "the times", 64));
        }
    }
    SELLA_TRY(sella_bench_model_open(&resolved, true, &b.model, err));
    SELLA_TRY(make_trees(&b, err));
    SELLA_TRY(sella_roof_init(&b.roof, sella_backbone_shape(b.model.backbone), resolved.tokens,
                              resolved.runs, err));
    SELLA_TRY(measure(&b, file, err));
    sella_roof_tell(&b.roof, false, out);
    tell(&b, out);
done:
    sella_hidden_cache_close(b.cache);
    if (folder != NULL) {
        sella_path_remove(folder, NULL);
    }
    for (int how = 0; how < WAYS; how++) {
        free(b.sample_r[how]);
    }
    for (int t = 0; t < b.trees; t++) {
        sella_tree_batch_release(&b.tree[t]);
    }
    free(b.tree);
    free(b.tokens_t);
    free(b.x);
    free(b.z_n);
    sella_tree_batch_release(&b.batch);
    sella_rows_release(&b.rows);
    sella_bench_model_release(&b.model);
    sella_roof_release(&b.roof);
    free(folder);
    free(file);
    return status;
}
