/* test_methods_stages.c - sella from end to end on a tiny model: who is trained in which stage
 * (Table 1, byte for byte), ablations, --from, presets, refusals. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/safetensors.h"
#include "methods/corpus.h"
#include "methods/sella/stages.h"
#include "methods/tensor_file.h"
#include "methods_fixture.h"

static const char *const quick[] = {"stage1.batch=24", "stage3.batch=24", "stage2.epochs=4",
                                    "stage2.batch=64", "collab.width=8",  "proj.hidden=12",
                                    "stage3.lr=1e-2",  "stage1.lr=1e-2",  NULL};

static char *folder, *dataset, *base; // base: a finished run with the quick settings

static char *in(const char *name)
{
    return sella_path_join(folder, name, NULL);
}

/* Settings `quick` and up to two more. */
static void with(const char **list, const char *a, const char *b)
{
    fixture_set(list, quick, a, b);
}

static int setup(void **state)
{
    const fixture_shape shape = {.users = 12, .items = 20, .train = 240, .valid = 60, .seed = 3};
    (void)state;
    sella_threads_set(1);
    folder = fixture_folder(&shape, &dataset);
    base = in("base");
    fixture_train_ok("sella", dataset, base, NULL, NULL, quick);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    free(dataset);
    free(base);
    return 0;
}

/* Does tensor `name` have the same bytes in two files? Both must have it. */
static bool same_tensor(const char *a, const char *file_a, const char *b, const char *file_b,
                        const char *name)
{
    sella_safetensors *x = NULL, *y = NULL;
    char *p = sella_path_join(a, file_a, NULL), *q = sella_path_join(b, file_b, NULL);
    CHECK(sella_safetensors_open(p, &x, err));
    CHECK(sella_safetensors_open(q, &y, err));
    const sella_tensor *s = sella_safetensors_find(x, name), *t = sella_safetensors_find(y, name);
    if (!s || !t) {
        fail_msg("%s is not in both %s and %s", name, p, q);
    }
    assert_int_equal(s->bytes, t->bytes);
    bool same = memcmp(s->data, t->data, s->bytes) == 0;
    sella_safetensors_close(x);
    sella_safetensors_close(y);
    free(p);
    free(q);
    return same;
}

typedef struct part {
    const char *file, *name;
} part;
static const part user_tables[] = {{"collab.safetensors", "user.weight"},
                                   {"collab.safetensors", "item.weight"},
                                   {"collab.safetensors", "history.weight"}};
static const part proj_parts[] = {{"projection.safetensors", "proj.0.weight"},
                                  {"projection.safetensors", "proj.0.bias"},
                                  {"projection.safetensors", "proj.2.weight"},
                                  {"projection.safetensors", "proj.2.bias"}};
static const part warm_parts[] = {{"projection.safetensors", "warm.weight"},
                                  {"projection.safetensors", "warm.bias"},
                                  {"collab.safetensors", "semantic.weight"}};

/* Every part changed (or none did) between stage 2 and the end of a run. */
static void expect_stage3(const char *run, const part *parts, int n, bool changed)
{
    for (int i = 0; i < n; i++) {
        char stage2[80];
        snprintf(stage2, sizeof stage2, "stages/align/%s", parts[i].file);
        if (same_tensor(run, stage2, run, parts[i].file, parts[i].name) == changed) {
            fail_msg("%s %s in stage 3 of %s", parts[i].name,
                     changed ? "did not change" : "changed", run);
        }
    }
}

/* Table 1: stage 1 trains the adapter; stage 2 tables and Proj; stage 3 tables and both
 * projections. Nothing else moves by a byte. */
static void test_table1(void **state)
{
    (void)state;
    expect_stage3(base, user_tables, 3, true);
    expect_stage3(base, proj_parts, 4, true);
    expect_stage3(base, warm_parts, 3, true);
    assert_false(same_tensor(base, "stages/distil/semantic.safetensors", base,
                             "stages/align/collab.safetensors", "semantic.weight"));
    assert_true(same_tensor(base, "stages/align/collab.safetensors", base, "collab.safetensors",
                            "text.gain"));

    /* the adapter after stage 3 is the adapter of stage 1 alone, and stage 2 leaves Warm at its
     * start */
    char *tallrec = in("tallrec"), *fresh = in("fresh");
    const char *set[16];
    fixture_train_ok("tallrec", dataset, tallrec, NULL, NULL, quick);
    assert_true(fixture_same(base, tallrec, "adapter/adapter_model.safetensors"));
    assert_true(same_tensor(base, "stages/stage1/collab.safetensors", tallrec, "collab.safetensors",
                            "logit.bias"));
    with(set, "stage2.epochs=0", "stage3.steps=0");
    fixture_train_ok("sella", dataset, fresh, NULL, base, set);
    for (int i = 0; i < 2; i++) {
        assert_true(same_tensor(base, "stages/align/projection.safetensors", fresh,
                                "projection.safetensors", warm_parts[i].name));
    }
    for (int i = 0; i < 4; i++) {
        assert_false(same_tensor(base, "stages/align/projection.safetensors", fresh,
                                 "projection.safetensors", proj_parts[i].name));
    }
    for (int i = 0; i < 3; i++) {
        assert_false(same_tensor(base, "stages/align/collab.safetensors", fresh,
                                 "collab.safetensors", user_tables[i].name));
    }
    assert_true(same_tensor(fresh, "stages/distil/semantic.safetensors", fresh,
                            "collab.safetensors", "semantic.weight"));
    free(tallrec);
    free(fresh);
}

/* The record of a stage lists its parts. */
static void test_records(void **state)
{
    sella_run *run = NULL;
    json_t *record = NULL;
    (void)state;
    CHECK(sella_run_open(base, &run, err));
    assert_true(run->complete);
    CHECK(sella_run_stage_record(run, "stage1", &record, err));
    assert_string_equal(json_string_value(json_array_get(json_object_get(record, "trained"), 0)),
                        "adapter");
    assert_string_equal(json_string_value(json_array_get(json_object_get(record, "frozen"), 0)),
                        "backbone");
    assert_int_equal(json_integer_value(json_object_get(record, "rows")), 240);
    json_decref(record);
    CHECK(sella_run_stage_record(run, "distil", &record, err));
    assert_int_equal(json_array_size(json_object_get(record, "trained")), 0);
    assert_int_equal(json_integer_value(json_object_get(record, "items")), 20);
    json_decref(record);
    sella_run_close(run);
}

/* Each ablation changes what it names and leaves stage 1, distillation and (where alignment stays)
 * stage 2 alone. */
static void test_ablations(void **state)
{
    static const struct {
        const char *name;
        bool stage2_same, tables, proj, warm;
    } cases[] = {{"w/o", false, false, true, false}, {"proj", true, true, true, true},
                 {"warm", true, true, true, false},  {"ui", true, false, false, true},
                 {"w-ui", true, true, true, true},   {"ui-w", true, true, true, true}};
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char setting[32], name[32];
        const char *set[16];
        snprintf(setting, sizeof setting, "ablation=%s", cases[c].name);
        snprintf(name, sizeof name, "ablation%zu", c);
        char *run = in(name);
        with(set, setting, NULL);
        fixture_train_ok("sella", dataset, run, NULL, base, set);
        assert_true(fixture_same(base, run, "adapter/adapter_model.safetensors"));
        assert_true(fixture_same(base, run, "stages/distil/semantic.safetensors"));
        assert_int_equal(fixture_same(base, run, "stages/align/collab.safetensors"),
                         cases[c].stage2_same);
        expect_stage3(run, user_tables, 3, cases[c].tables);
        expect_stage3(run, proj_parts, 4, cases[c].proj);
        expect_stage3(run, warm_parts, 3, cases[c].warm);
        assert_false(fixture_same(base, run, "predictions-valid.csv"));
        free(run);
    }
}

/* Table 6: nothing is trained in stage 3; `proj` and `w/o` start Proj anew, `none` keeps stage
 * 2's. */
static void test_step_zero(void **state)
{
    static const char *const names[] = {"ablation=none", "ablation=proj", "ablation=w/o"};
    (void)state;
    for (int c = 0; c < 3; c++) {
        const char *set[16];
        char *run = in(c == 0 ? "zero-none" : c == 1 ? "zero-proj" : "zero-without");
        with(set, names[c], "stage3.steps=0");
        fixture_train_ok("sella", dataset, run, NULL, base, set);
        expect_stage3(run, user_tables, 3, false);
        expect_stage3(run, warm_parts, 3, false);
        expect_stage3(run, proj_parts, 4, c > 0);
        free(run);
    }
}

/* Alternating groups: with one step a group, the first-named group alone has moved when the second
 *                     has had no step. */
static void test_order_of_groups(void **state)
{
    const char *set[16];
    (void)state;
    char *warm_first = in("warm-first"), *ui_first = in("ui-first");
    with(set, "ablation=w-ui", "stage3.steps=1");
    fixture_train_ok("sella", dataset, warm_first, NULL, base, set);
    expect_stage3(warm_first, warm_parts, 3, true);
    expect_stage3(warm_first, user_tables, 3, false);
    expect_stage3(warm_first, proj_parts, 4, false);
    with(set, "ablation=ui-w", "stage3.steps=1");
    fixture_train_ok("sella", dataset, ui_first, NULL, base, set);
    expect_stage3(ui_first, warm_parts, 3, false);
    expect_stage3(ui_first, user_tables, 3, true);
    expect_stage3(ui_first, proj_parts, 4, true);
    free(warm_first);
    free(ui_first);
}

static void test_from(void **state)
{
    const char *set[16];
    sella_err why;
    (void)state;
    char *again = in("again"), *other = in("other");
    fixture_train_ok("sella", dataset, again, NULL, base, quick);
    for (int i = 0; fixture_artifacts[i]; i++) {
        char *path = sella_path_join(base, fixture_artifacts[i], NULL);
        /* some belong to other methods */
        if (sella_path_exists(path) && !fixture_same(base, again, fixture_artifacts[i])) {
            fail_msg("%s differs after --from", fixture_artifacts[i]);
        }
        free(path);
    }
    static const char *const refused[][2] = {{"lora.rank=4", "lora.rank"},
                                             {"history.length=3", "history.length"},
                                             {"stage1.lr=2e-2", "stage1.lr"},
                                             {"stage1.tree_cap=64", "stage1.tree_cap"},
                                             {"template=paper", "template"},
                                             {"train.rows=100", "100"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        with(set, refused[i][0], NULL);
        assert_int_equal(fixture_train("sella", dataset, other, NULL, base, false, set, NULL, &why),
                         SELLA_STATE);
        assert_non_null(strstr(why.text, refused[i][1]));
        assert_false(sella_path_exists(other)); // refused before any work: nothing is left
    }
    // another data set
    const fixture_shape shape = {.users = 12, .items = 20, .train = 240, .valid = 60, .seed = 4};
    char *data2 = in("data2");
    fixture_dataset(data2, &shape);
    assert_int_equal(fixture_train("sella", data2, other, NULL, base, false, quick, NULL, &why),
                     SELLA_STATE);
    assert_non_null(strstr(why.text, "checksum"));
    // a distillation that would differ is done again
    with(set, "distil.wording=eol", NULL);
    fixture_train_ok("sella", dataset, other, NULL, base, set);
    assert_true(fixture_same(base, other, "adapter/adapter_model.safetensors"));
    assert_false(fixture_same(base, other, "stages/distil/semantic.safetensors"));
    free(again);
    free(other);
    free(data2);
}

/* Presets: fast needs no model to score; paper has no number beside the paper's. */
static void test_presets(void **state)
{
    static const char *const small[] = {"lora.rank=4", "stage2.epochs=3", "collab.width=8",
                                        "proj.hidden=12", NULL};
    static const char *const fast_set[] = {"stage2.epochs=3", "collab.width=8", "proj.hidden=12",
                                           NULL};
    sella_run *run = NULL;
    sella_scorer *scorer = NULL;
    (void)state;
    char *fast = in("fast"), *paper = in("paper"), *collab = NULL;
    fixture_train_ok("sella", dataset, fast, "fast", NULL, fast_set);
    CHECK(sella_run_open(fast, &run, err));
    assert_string_equal(run->preset, "fast");
    assert_false(sella_method_find("sella")->scores_with_model(run->settings));
    CHECK(sella_method_find("sella")->open(run, NULL, &scorer, err));
    const int32_t history[] = {1, 2, 3};
    const sella_query query[] = {{.user = 0, .item = 4, .history_n = history, .history_count = 3},
                                 {.user = -1, .item = 4, .history_n = history, .history_count = 3},
                                 {.user = -1, .item = 5}};
    double z[3];
    CHECK(scorer->ops->score(scorer, query, 3, z, NULL, err));
    for (int i = 0; i < 3; i++) {
        assert_true(isfinite(z[i]));
    }
    assert_true(z[0] != z[1]);
    scorer->ops->close(scorer);
    sella_run_close(run);
    fixture_train_ok("sella", dataset, paper, "paper", NULL, small);
    collab = sella_path_join(paper, "collab.safetensors", NULL);
    sella_safetensors *file = NULL;
    CHECK(sella_safetensors_open(collab, &file, err));
    assert_int_equal(sella_safetensors_count(file), 3);
    assert_non_null(sella_safetensors_find(file, "user.weight"));
    assert_non_null(sella_safetensors_find(file, "item.weight"));
    assert_non_null(sella_safetensors_find(file, "semantic.weight"));
    sella_safetensors_close(file);
    free(fast);
    free(paper);
    free(collab);
}

/* Biases of items after stage 2 that no train row names: bias_k out, count returned. */
static int unseen_biases(const char *data, const char *run, float *bias_k)
{
    char *file = sella_path_join(run, "stages/align/collab.safetensors", NULL);
    sella_dataset *set = NULL;
    sella_param_table table;
    sella_param_table *const tables[] = {&table};
    int count = 0;
    sella_param_table_init(&table);
    CHECK(sella_dataset_open(data, &set, err));
    CHECK(sella_param_add(&table, "item.bias", set->items, 0, err));
    CHECK(sella_tensors_read(file, tables, 1, err));
    const sella_split *train = &set->split[SELLA_SPLIT_TRAIN];
    for (int32_t i = 0; i < set->items; i++) {
        int64_t row = 0;
        while (row < train->rows && train->item_n[row] != i) {
            row++;
        }
        if (row == train->rows) {
            bias_k[count++] = table.param[0].data[i];
        }
    }
    sella_dataset_close(set);
    sella_param_table_release(&table);
    free(file);
    return count;
}

/* stage2.start: an item that train never shows has no bias, or that of its text, which further
 * epochs leave alone. */
static void test_start_of_biases(void **state)
{
    static const fixture_shape shape = {
        .users = 6, .items = 40, .train = 60, .valid = 20, .seed = 3};
    static const char *const sets[][6] = {
        {"stage2.start=bias", "stage2.epochs=1", "collab.width=8", "proj.hidden=12", NULL},
        {"stage2.start=text", "stage2.epochs=1", "collab.width=8", "proj.hidden=12", NULL},
        {"stage2.start=text", "stage2.epochs=4", "stage2.patience=0", "collab.width=8",
         "proj.hidden=12", NULL}};
    static const char *const names[] = {"start-bias", "start-text", "start-text-4"};
    float bias[3][40];
    int unseen = 0;
    (void)state;
    char *data = in("start-data");
    fixture_dataset(data, &shape);
    for (int k = 0; k < 3; k++) {
        char *run = in(names[k]);
        fixture_train_ok("sella", data, run, "fast", NULL, sets[k]);
        unseen = unseen_biases(data, run, bias[k]);
        free(run);
    }
    assert_true(unseen > 3);
    for (int i = 0; i < unseen; i++) {
        assert_true(bias[0][i] == 0);
        assert_true(bias[1][i] != 0 && bias[1][i] == bias[2][i]);
    }
    free(data);
}

/* Mean mean_l out [L] and spread of rows y [n, L]. */
static double spread_of(const float *y, int n, int L, double *mean_l)
{
    double square = 0;
    for (int l = 0; l < L; l++) {
        mean_l[l] = 0;
        for (int r = 0; r < n; r++) {
            mean_l[l] += (double)y[r * L + l] / n;
        }
        for (int r = 0; r < n; r++) {
            square += pow((double)y[r * L + l] - mean_l[l], 2) / n;
        }
    }
    return sqrt(square);
}

/* stage3.match: before training, what both maps give to the items lies where embeddings lie. */
static void test_match(void **state)
{
    enum { ITEMS = 20, L = 32, C = 8, HIDDEN = 12 };
    const char *set[20];
    char *run = in("match"), *collab = sella_path_join(run, "collab.safetensors", NULL),
         *file = sella_path_join(run, "projection.safetensors", NULL);
    sella_param_table items;
    sella_projection projection;
    sella_backbone *backbone = NULL;
    double mean_e[L], mean_l[L];
    float y[ITEMS * L], pre[ITEMS * HIDDEN], act[ITEMS * HIDDEN];
    (void)state;
    with(set, "stage3.steps=0", "stage3.match=yes");
    fixture_train_ok("sella", dataset, run, NULL, base, set);
    sella_param_table_init(&items);
    CHECK(sella_param_add(&items, "item.weight", ITEMS, C, err));
    CHECK(sella_param_add(&items, "semantic.weight", ITEMS, L, err));
    sella_param_table *const tables[] = {&items};
    CHECK(sella_tensors_read(collab, tables, 1, err));
    CHECK(sella_projection_init(C, HIDDEN, L, true, SELLA_WARM_RANDOM, 0, &projection, err));
    sella_param_table *const maps[] = {&projection.table};
    CHECK(sella_tensors_read(file, maps, 1, err));
    CHECK(sella_backbone_open(TINY_MODEL, NULL, &backbone, err));
    const int V = sella_backbone_shape(backbone)->V;
    int32_t *id = calloc((size_t)V, sizeof *id);
    float *e = calloc((size_t)V * L, sizeof *e);
    for (int k = 0; k < V; k++) {
        id[k] = k;
    }
    CHECK(sella_backbone_embed(backbone, id, V, e, err));
    const double want = spread_of(e, V, L, mean_e);
    for (int map = 0; map < 2; map++) {
        if (map == 0) {
            sella_proj_forward(&projection, y, items.param[0].data, ITEMS, pre, act);
        } else {
            sella_warm_forward(&projection, y, items.param[1].data, ITEMS);
        }
        assert_true(fabs(spread_of(y, ITEMS, L, mean_l) / want - 1) < 1e-3);
        for (int l = 0; l < L; l++) {
            assert_true(fabs(mean_l[l] - mean_e[l]) < 1e-3 * want);
        }
    }
    sella_backbone_close(backbone);
    sella_projection_release(&projection);
    sella_param_table_release(&items);
    free(id);
    free(e);
    free(run);
    free(collab);
    free(file);
}

/* Enough passes over 64 rows: the adapter learns them by heart. */
static void test_overfits(void **state)
{
    static const char *const set[] = {"stage1.teacher=none",
                                      "stage1.offset=no",
                                      "stage1.centre=no",
                                      "stage1.schedule=cosine",
                                      "train.rows=64",
                                      "stage1.epochs=60",
                                      "stage1.batch=16",
                                      "stage1.lr=2e-2",
                                      "lora.rank=16",
                                      "lora.targets=all",
                                      "lora.dropout=0",
                                      "stage1.weight_decay=0",
                                      NULL};
    sella_run *run = NULL;
    json_t *record = NULL;
    (void)state;
    char *path = in("overfit");
    fixture_train_ok("tallrec", dataset, path, NULL, NULL, set);
    CHECK(sella_run_open(path, &run, err));
    CHECK(sella_run_stage_record(run, "stage1", &record, err));
    double loss = json_real_value(json_object_get(record, "loss"));
    if (!(loss < 0.25)) {
        fail_msg("the loss of 64 rows is %g after 60 epochs", loss);
    }
    json_decref(record);
    sella_run_close(run);
    free(path);
}

/* Rows that fit a budget are decided once, and kept by --resume. */
/* Other collaborative models than mf: stage 3 trains through their vectors, the files say what the
 * model is, and scores are there for users and items never seen. */
static void test_models(void **state)
{
    static const struct {
        const char *set, *name, *trained, *absent;
    } models[] = {{"collab.model=sasrec", "sasrec", "sasrec.block.0.value.weight", "user.weight"},
                  {"collab.model=lightgcn", "lightgcn", "lightgcn.user.weight", "history.weight"}};
    (void)state;
    for (int k = 0; k < 2; k++) {
        const char *set[20];
        char *run_path = in(models[k].name),
             *file = sella_path_join(run_path, "collab.safetensors", NULL);
        with(set, models[k].set, "collab.history_length=6");
        fixture_train_ok("sella", dataset, run_path, NULL, base, set);
        const part parts[] = {{"collab.safetensors", models[k].trained},
                              {"collab.safetensors", "item.weight"}};
        expect_stage3(run_path, parts, 2, true);
        sella_safetensors *tensors = NULL;
        CHECK(sella_safetensors_open(file, &tensors, err));
        assert_null(sella_safetensors_find(tensors, models[k].absent));
        sella_safetensors_close(tensors);
        sella_run *run = NULL;
        sella_backbone *backbone = NULL;
        sella_scorer *scorer = NULL;
        CHECK(sella_run_open(run_path, &run, err));
        CHECK(sella_backbone_open(TINY_MODEL, NULL, &backbone, err));
        CHECK(sella_method_find("sella")->open(run, backbone, &scorer, err));
        const int32_t liked[] = {3, 1, 7};
        const sella_query query[] = {
            {.user = 2, .item = 5, .history_n = liked, .history_count = 3},
            {.user = -1, .item = 5, .history_n = liked, .history_count = 3},
            {.user = -1, .item = -1, .target_text = "New (2001)"}};
        double z[3];
        CHECK(scorer->ops->score(scorer, query, 3, z, NULL, err));
        assert_true(isfinite(z[0]) && isfinite(z[1]) && isfinite(z[2]) && z[0] != z[1]);
        scorer->ops->close(scorer);
        sella_backbone_close(backbone);
        sella_run_close(run);
        free(run_path);
        free(file);
    }
}

static void test_budget(void **state)
{
    static const char *const set[] = {"budget.minutes=0.0000001", NULL};
    sella_run *run = NULL;
    sella_err why;
    int64_t rows;
    (void)state;
    char *path = in("budget"), *result = sella_path_join(path, "result.json", NULL);
    fixture_train_ok("tallrec", dataset, path, NULL, NULL, set);
    CHECK(sella_run_open(path, &run, err));
    assert_true(sella_run_decided(run, "train.rows", &rows));
    assert_int_equal(rows, 64);
    assert_true(sella_run_decided(run, "eval.rows", &rows));
    assert_int_equal(rows, 17);
    sella_run_close(run);
    CHECK(sella_path_remove(result, err));
    assert_int_equal(fixture_train("tallrec", dataset, path, NULL, NULL, true, NULL, NULL, &why),
                     SELLA_OK);
    free(path);
    free(result);
}

/* One class in train: refused in a sentence. */
static void test_one_class(void **state)
{
    sella_err why;
    (void)state;
    char *data = in("one-class"), *run = in("one-class-run");
    const fixture_shape shape = {.users = 5, .items = 9, .train = 50, .valid = 20, .seed = 3};
    fixture_dataset(data, &shape);
    char *labels = sella_path_join(data, "train/label.npy", NULL);
    FILE *file = fopen(labels, "r+b");
    assert_non_null(file);
    fseek(file, -50, SEEK_END);
    for (int i = 0; i < 50; i++) {
        fputc(1, file);
    }
    fclose(file);
    assert_true(fixture_train("tallrec", data, run, NULL, NULL, false, quick, NULL, &why) !=
                SELLA_OK);
    assert_non_null(strstr(why.text, "class"));
    assert_false(sella_path_exists(run));
    free(labels);
    free(data);
    free(run);
}

static void test_refusals(void **state)
{
    sella_err why;
    const char *set[16];
    (void)state;
    char *run = in("refused"), *none = in("no-valid");
    with(set, "stage2.loss=mse", NULL);
    assert_int_equal(fixture_train("sella", dataset, run, NULL, NULL, false, set, NULL, &why),
                     SELLA_ARG);
    assert_non_null(strstr(why.text, "stage3.residual"));
    with(set, "stage2.loss=mse", "stage3.residual=no");
    fixture_train_ok("sella", dataset, run, NULL, base, set);
    assert_int_equal(fixture_train("sella", dataset, run, NULL, NULL, false, quick, NULL, &why),
                     SELLA_STATE);
    assert_non_null(strstr(why.text, "--resume"));
    with(set, "lora.targets=q_proj,x_proj", NULL);
    assert_int_equal(fixture_train("sella", dataset, none, NULL, NULL, false, set, NULL, &why),
                     SELLA_ARG);
    with(set, "stage1.lrr=1", NULL);
    assert_int_equal(fixture_train("sella", dataset, none, NULL, NULL, false, set, NULL, &why),
                     SELLA_ARG);
    assert_non_null(strstr(why.text, "stage1.lr"));
    assert_int_equal(fixture_train("selle", dataset, none, NULL, NULL, false, quick, NULL, &why),
                     SELLA_ARG);
    assert_non_null(strstr(why.text, "sella"));
    with(set, "train.tokens=16", NULL); // shorter than a row
    assert_int_equal(fixture_train("tallrec", dataset, none, NULL, NULL, false, set, NULL, &why),
                     SELLA_ARG);
    // without a valid split: trains, no figures
    const fixture_shape shape = {.users = 12, .items = 20, .train = 100, .valid = 0, .seed = 3};
    char *data = in("train-only");
    fixture_dataset(data, &shape);
    fixture_train_ok("sella", data, none, NULL, NULL, quick);
    char *result = sella_path_join(none, "result.json", NULL);
    json_t *figures = NULL;
    CHECK(sella_json_load(result, 1 << 20, &figures, err));
    assert_true(json_is_null(json_object_get(figures, "auc")));
    json_decref(figures);
    free(result);
    free(run);
    free(none);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table1),          cmocka_unit_test(test_records),
        cmocka_unit_test(test_ablations),       cmocka_unit_test(test_step_zero),
        cmocka_unit_test(test_order_of_groups), cmocka_unit_test(test_from),
        cmocka_unit_test(test_presets),         cmocka_unit_test(test_overfits),
        cmocka_unit_test(test_budget),          cmocka_unit_test(test_models),
        cmocka_unit_test(test_one_class),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_start_of_biases), cmocka_unit_test(test_match),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
