/* bench_prefix.c - bench prefix: what computing a shared prefix once is worth, and that it changes
 * nothing (engine/bench_part.h).
 *
 * The same rows twice: in trees, and one by one, which still means packed batches without padding,
 * so that only the prefix makes the difference. One by one costs the same for every token: of its
 * batches only about two are timed, and scaled by tokens.
 *
 * Easy to get wrong: gradients are sums over all rows of a case, so both ways divide by the rows of
 * the case and not of a batch; an adapter whose B is zero has no gradient on A, so B is filled
 * before anything is compared.
 */
#include <math.h>

#include "base/arena.h"
#include "base/rng.h"
#include "engine/bench_part.h"
#include "methods/corpus.h"
#include "methods/method.h"

enum {
    START = 3,           /* tokens before a history */
    TITLES = 15,         /* of a history: anchored, 10 to 19 */
    TITLE_MIN = 5, TITLE_MAX = 11, /* tokens of a title with its separator */
    SUFFIX = 6,          /* tokens around a candidate's title: 14 a candidate */
    TRAIN_CAP = 384,     /* tokens of one tree in training, as stage1.tree_cap */
    TIMED = 2,           /* batches of rows one by one that are timed */
    DATA_ROWS = 128      /* rows of a data set that are measured, about: one step of stage 1 */
};

/* Rows packed in one way. */
typedef struct packing {
    sella_tree_batch *batch; /* [batches] */
    int64_t batches;
    int64_t tokens;
    int64_t timed;           /* batches that a timed turn runs */
    int64_t timed_tokens;
    sella_sample *sample_r;  /* [runs] scaled to all tokens */
} packing;

/* Rows measured in one way of use. */
typedef struct prefix_case {
    char name[112];
    bool train;
    sella_rows rows;
    packing tree, single;
    double difference;
} prefix_case;

enum { CASES = 8 };

typedef struct prefix_bench {
    const sella_bench_options *options;
    sella_bench_model model;
    prefix_case of[CASES];
    int cases;
    sella_roof roof;
} prefix_bench;

/* ---- made-up users ---- */

static int title(sella_bench_text *text, uint32_t V, int32_t *out)
{
    const int n = TITLE_MIN + (int)sella_bench_text_below(text, TITLE_MAX - TITLE_MIN + 1);
    for (int i = 0; i < n; i++) {
        out[i] = (int32_t)sella_bench_text_below(text, V);
    }
    return n;
}

/* One row: the first `shared` tokens, a candidate, the suffix, which is the same for all. */
static sella_status add_row(sella_rows *rows, int32_t *token_n, int shared,
                            const int32_t *candidate, int n, int32_t user, sella_err *err)
{
    memcpy(token_n + shared, candidate, (size_t)n * sizeof *token_n);
    for (int i = 0; i < SUFFIX; i++) {
        token_n[shared + n + i] = i;
    }
    return sella_rows_add(rows, token_n, NULL, shared + n + SUFFIX, NULL, user, rows->count,
                          (float)(rows->count % 2), 1.0f, err);
}

/* `users` users with one history each and `candidates` candidates. */
static sella_status candidate_rows(uint32_t V, int users, int candidates, sella_rows *rows,
                                   sella_err *err)
{
    sella_bench_text text = {(uint64_t)candidates};
    int32_t token_n[START + (TITLES + 1) * TITLE_MAX + SUFFIX], candidate[TITLE_MAX];
    sella_status status = SELLA_OK;
    for (int u = 0; u < users; u++) {
        int shared = START;
        for (int i = 0; i < START; i++) {
            token_n[i] = i;
        }
        for (int t = 0; t < TITLES; t++) {
            shared += title(&text, V, token_n + shared);
        }
        for (int k = 0; k < candidates && status == SELLA_OK; k++) {
            const int n = title(&text, V, candidate);
            status = add_row(rows, token_n, shared, candidate, n, u, err);
        }
    }
    return status;
}

/* `users` users whose history grows with the targets that they like, from 10 titles to 19, then
 * from 10 again: rows of training. */
static sella_status chain_rows(uint32_t V, int users, int rows_each, sella_rows *rows,
                               sella_err *err)
{
    enum { LEAST = 10, MOST = 2 * LEAST };
    sella_bench_text text = {1};
    int32_t token_n[START + (MOST + 1) * TITLE_MAX + SUFFIX], candidate[TITLE_MAX];
    int end[MOST + 1]; /* of each title */
    sella_status status = SELLA_OK;
    for (int u = 0; u < users; u++) {
        int titles = 0;
        for (int i = 0; i < START; i++) {
            token_n[i] = i;
        }
        end[0] = START;
        for (; titles < LEAST; titles++) {
            end[titles + 1] = end[titles] + title(&text, V, token_n + end[titles]);
        }
        for (int r = 0; r < rows_each && status == SELLA_OK; r++) {
            const int n = title(&text, V, candidate);
            status = add_row(rows, token_n, end[titles], candidate, n, u, err);
            if (sella_bench_text_below(&text, 100) >= 55) {
                continue;
            }
            if (titles + 1 == MOST) { /* the window moves on by ten titles */
                const int cut = end[LEAST] - START;
                memmove(token_n + START, token_n + end[LEAST],
                        (size_t)(end[titles] - end[LEAST]) * sizeof *token_n);
                titles -= LEAST;
                for (int t = 1; t <= titles; t++) {
                    end[t] = end[t + LEAST] - cut;
                }
            }
            /* the target joins the history */
            memcpy(token_n + end[titles], candidate, (size_t)n * sizeof *token_n);
            end[titles + 1] = end[titles] + n;
            titles++;
        }
    }
    return status;
}

/* ---- rows of a data set ---- */

/* The rows of stage 1's first step, as `train tallrec` with default settings renders them. */
static sella_status data_rows(const sella_bench_options *options, sella_bench_model *model,
                              sella_rows *rows, char *about, size_t room, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_settings *settings = NULL;
    sella_dataset *dataset = NULL;
    const sella_method *method;
    sella_lm lm = {0};
    sella_corpus corpus = {0};
    int64_t *index = NULL, k = 0;
    const int64_t *tree;
    SELLA_TRY(sella_method_get("tallrec", &method, err));
    SELLA_TRY(sella_training_resolve(method, "default", NULL, NULL, 0, &settings, err));
    SELLA_TRY(sella_dataset_open(options->data, &dataset, err));
    if (dataset->split[SELLA_SPLIT_TRAIN].rows == 0) {
        SELLA_TRY(sella_err_set(err, SELLA_STATE, "%s: the train split is empty", options->data));
    }
    SELLA_TRY(sella_lm_open(settings, sella_settings_text(settings, "template"), model->backbone,
                            NULL, dataset->title, dataset->items, dataset->noun, 0, &lm, err));
    SELLA_TRY(sella_sample_rows(0, 1, 0, dataset, SELLA_SPLIT_TRAIN, &index, &k, err));
    const sella_corpus_options shape = {.budget = options->tokens,
                                        .tree_cap = TRAIN_CAP,
                                        .share = true,
                                        .batch = DATA_ROWS,
                                        .seed = 0};
    SELLA_TRY(sella_corpus_open(&lm, dataset, SELLA_SPLIT_TRAIN, index, k, &shape, &corpus, err));
    const int64_t trees = sella_corpus_step(&corpus, 0, 0, &tree);
    for (int64_t t = 0; t < trees; t++) {
        for (int64_t i = corpus.tree_first[tree[t]]; i < corpus.tree_first[tree[t] + 1]; i++) {
            sella_query query = corpus.query_n[corpus.order[i]];
            query.group = (int32_t)t; /* trees of one user stay apart, as in a step */
            SELLA_TRY(sella_lm_render(&lm, &query, NULL, rows->count,
                                      corpus.label_n[corpus.order[i]], rows, err));
        }
    }
    snprintf(about, room, "a step of %.40s (its epoch: %.2f to 1)", dataset->name,
             (double)corpus.row_tokens / (double)corpus.tokens);
    SELLA_TRY(sella_bench_model_direction(model, lm.yes, lm.no, err));
done:
    free(index);
    sella_corpus_release(&corpus);
    sella_lm_release(&lm);
    sella_dataset_close(dataset);
    sella_settings_free(settings);
    return status;
}

/* ---- cases ---- */

static void packing_release(packing *p)
{
    for (int64_t b = 0; b < p->batches; b++) {
        sella_tree_batch_release(&p->batch[b]);
    }
    free(p->batch);
    free(p->sample_r);
}

/* timed 0: all batches. */
static sella_status pack(const sella_rows *rows, const sella_tree_options *shape, int runs,
                         int64_t timed, packing *out, sella_err *err)
{
    sella_status status = SELLA_OK;
    sella_tree_plan plan = {0};
    SELLA_TRY(sella_tree_plan_new(rows, shape, &plan, err));
    out->batch = sella_alloc((size_t)plan.batches, sizeof *out->batch, "batches", err);
    out->sample_r = sella_alloc((size_t)runs, sizeof *out->sample_r, "the times", err);
    if (out->batch == NULL || out->sample_r == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    out->timed = timed > 0 && timed < plan.batches ? timed : plan.batches;
    for (; out->batches < plan.batches; out->batches++) {
        const int64_t first = plan.first[out->batches],
                      count = plan.first[out->batches + 1] - first;
        sella_tree_batch *batch = &out->batch[out->batches];
        SELLA_TRY(sella_tree_build(rows, plan.order + first, count, shape, batch, err));
        out->tokens += batch->T;
        out->timed_tokens += out->batches < out->timed ? batch->T : 0;
    }
done:
    sella_tree_plan_release(&plan);
    return status;
}

/* The case of rows that stand in *c already, for training or scoring. */
static sella_status case_pack(prefix_bench *b, prefix_case *c, sella_err *err)
{
    sella_status status = SELLA_OK;
    const int runs = b->options->runs;
    const sella_tree_options tree = {
        .budget = b->options->tokens, .tree_cap = c->train ? TRAIN_CAP : 0, .share = true};
    const sella_tree_options single = {.budget = b->options->tokens, .share = false};
    SELLA_TRY(pack(&c->rows, &tree, runs, 0, &c->tree, err));
    SELLA_TRY(pack(&c->rows, &single, runs, TIMED, &c->single, err));
done:
    return status;
}

static sella_status make_cases(prefix_bench *b, sella_err *err)
{
    sella_status status = SELLA_OK;
    static const int candidates[] = {1, 10, 100}, users[] = {7, 3, 1};
    const uint32_t V = (uint32_t)sella_backbone_shape(b->model.backbone)->V;
    char about[96];
    for (int train = 0; train < 2; train++) {
        const char *verb = train ? "training" : "scoring";
        for (int k = 0; k < 4; k++) {
            if (b->options->data != NULL && k > 0) {
                break;
            }
            prefix_case *c = &b->of[b->cases++];
            sella_rows_init(&c->rows);
            c->train = train;
            if (b->options->data != NULL) {
                SELLA_TRY(data_rows(b->options, &b->model, &c->rows, about, sizeof about, err));
                snprintf(c->name, sizeof c->name, "%s, %.95s", verb, about);
            } else if (k < 3) {
                SELLA_TRY(candidate_rows(V, users[k], candidates[k], &c->rows, err));
                snprintf(c->name, sizeof c->name, "%s, %d user%s, %d candidate%s each", verb,
                         users[k], users[k] > 1 ? "s" : "", candidates[k],
                         candidates[k] > 1 ? "s" : "");
            } else {
                SELLA_TRY(chain_rows(V, 2, 20, &c->rows, err));
                snprintf(c->name, sizeof c->name, "%s, 2 users, 20 rows each on growing histories",
                         verb);
            }
            SELLA_TRY(case_pack(b, c, err));
        }
    }
done:
    return status;
}

/* ---- measuring ---- */

static sella_status run_batches(prefix_bench *b, const prefix_case *c, const packing *p,
                                int64_t batches, float *z_n, sella_err *err)
{
    sella_status status = SELLA_OK;
    if (c->train) {
        sella_param_grad_zero(sella_lora_params(b->model.lora));
    }
    for (int64_t k = 0; k < batches; k++) {
        SELLA_TRY(
            sella_bench_model_pass(&b->model, &p->batch[k], c->train, c->rows.count, z_n, err));
    }
done:
    return status;
}

static sella_status time_packing(prefix_bench *b, const prefix_case *c, packing *p, int run,
                                 sella_err *err)
{
    const sella_sample start = sella_sample_now();
    const sella_status status = run_batches(b, c, p, p->timed, NULL, err);
    const double scale = (double)p->tokens / (double)p->timed_tokens;
    p->sample_r[run] = sella_sample_since(start);
    p->sample_r[run].seconds *= scale;
    p->sample_r[run].cpu *= scale;
    return status;
}

/* What a case leaves: logits (scoring) or all gradients (training), in one list. */
static sella_status outcome(prefix_bench *b, const prefix_case *c, const packing *p, float *value,
                            sella_err *err)
{
    sella_status status = SELLA_OK;
    SELLA_TRY(run_batches(b, c, p, p->batches, c->train ? NULL : value, err));
    const sella_param_table *table = sella_lora_params(b->model.lora);
    for (int i = 0; c->train && i < table->count; i++) {
        memcpy(value, table->param[i].grad, table->param[i].count * sizeof *value);
        value += table->param[i].count;
    }
done:
    return status;
}

/* Every row both ways: largest difference of logits, or of gradients as a part of the largest
 * gradient. Also the first touch of all pages. */
static sella_status compare(prefix_bench *b, prefix_case *c, sella_err *err)
{
    sella_status status = SELLA_OK;
    const size_t count = c->train ? sella_param_total(sella_lora_params(b->model.lora), true)
                                  : (size_t)c->rows.count;
    float *tree = sella_alloc(count, sizeof *tree, "results to compare", err);
    float *single = sella_alloc(count, sizeof *single, "results to compare", err);
    double most = 0.0, apart = 0.0;
    if (tree == NULL || single == NULL) {
        SELLA_TRY(SELLA_MEMORY);
    }
    SELLA_TRY(outcome(b, c, &c->tree, tree, err));
    SELLA_TRY(outcome(b, c, &c->single, single, err));
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)single[i]));
        apart = fmax(apart, fabs((double)tree[i] - (double)single[i]));
    }
    c->difference = c->train ? apart / most : apart;
done:
    free(tree);
    free(single);
    return status;
}

static void fill_adapters(sella_lora *lora)
{
    sella_param_table *table = sella_lora_params(lora);
    for (int i = 0; i < table->count; i++) {
        const sella_rng rng = {.seed = 3, .stream = SELLA_STREAM_TEST, .a = (uint32_t)i};
        for (size_t k = 0; k < table->param[i].count; k++) {
            table->param[i].data[k] = 0.02f * (sella_rng_uniform(&rng, k) - 0.5f);
        }
    }
}

static void tell_case(prefix_bench *b, prefix_case *c, const sella_bench_sink *out)
{
    const double top = sella_roof_rate(&b->roof);
    const double flop =
        (c->train ? 4.0 : 2.0) * (double)sella_backbone_parameters(b->model.backbone);
    const double ratio = (double)c->single.tokens / (double)c->tree.tokens;
    const packing *way[2] = {&c->single, &c->tree};
    sella_sample took[2][2]; /* best, median; single, tree */
    char work[160];
    for (int w = 0; w < 2; w++) {
        for (int which = 0; which < 2; which++) {
            took[which][w] = sella_sample_pick(way[w]->sample_r, b->options->runs, which);
        }
    }
    for (int w = 0; w < 2; w++) {
        snprintf(work, sizeof work, "%s, %s: %lld tokens", c->name, w ? "trees" : "one by one",
                 (long long)way[w]->tokens);
        for (int which = 0; which < 2; which++) {
            const double rate = (double)way[w]->tokens / took[which][w].seconds;
            sella_measurement m = sella_measurement_new("tokens/s", rate, flop * rate / top);
            if (w) {
                m.token_ratio = ratio;
                m.speed_up = took[which][0].seconds / took[which][1].seconds;
                m.share = m.speed_up / ratio;
                m.difference = c->difference;
            }
            sella_bench_tell(out, "prefix", work, which, took[which][w], m);
        }
    }
}

static void prefix_release(prefix_bench *b)
{
    for (int i = 0; i < b->cases; i++) {
        packing_release(&b->of[i].tree);
        packing_release(&b->of[i].single);
        sella_rows_release(&b->of[i].rows);
    }
    sella_bench_model_release(&b->model);
    sella_roof_release(&b->roof);
}

sella_status sella_bench_prefix(const sella_bench_options *options, const sella_bench_sink *out,
                                sella_err *err)
{
    sella_status status = SELLA_OK;
    prefix_bench b = {.options = options};
    SELLA_TRY(sella_bench_model_open(options, true, &b.model, err));
    fill_adapters(b.model.lora);
    SELLA_TRY(make_cases(&b, err));
    SELLA_TRY(sella_roof_init(&b.roof, sella_backbone_shape(b.model.backbone), options->tokens,
                              options->runs, err));
    for (int i = 0; i < b.cases; i++) {
        SELLA_TRY(sella_bench_stop(options, 0, err));
        SELLA_TRY(compare(&b, &b.of[i], err));
    }
    for (int run = 0; run < options->runs; run++) {
        for (int i = 0; i < b.cases; i++) {
            SELLA_TRY(sella_bench_stop(options, run, err));
            SELLA_TRY(time_packing(&b, &b.of[i], &b.of[i].single, run, err));
            SELLA_TRY(time_packing(&b, &b.of[i], &b.of[i].tree, run, err));
        }
        sella_roof_measure(&b.roof, 3);
    }
    sella_roof_tell(&b.roof, false, out);
    for (int i = 0; i < b.cases; i++) {
        tell_case(&b, &b.of[i], out);
    }
done:
    prefix_release(&b);
    return status;
}
