/* din and ctrl-din as methods: what they leave, what a score depends on, users and items never
 * seen, text vectors, what pre-training changes, hostile artifacts; the backbone is
 * tests/ref/tiny_llama. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backbone/pass.h"
#include "methods/collab_fit.h"
#include "methods/lm.h"
#include "methods/tensor_file.h"
#include "methods/text_vectors.h"
#include "methods_fixture.h"

#define SMALL                                                                                      \
    "collab.width=6", "collab.batch=32", "collab.epochs=3", "collab.patience=0",                   \
        "collab.history_length=5", "din.attention_1=7", "din.attention_2=5", "din.top_1=9",        \
        "din.top_2=8"

static const char *const plain[] = {SMALL, NULL};
static const char *const taught[] = {SMALL,           "train.rows=60", "ctrl.width=12",
                                     "ctrl.batch=16", "ctrl.epochs=3", NULL};
static const char *const parts[] = {
    SMALL, "train.rows=60", "ctrl.width=12", "ctrl.batch=16", "ctrl.epochs=3", "ctrl.subspaces=3",
    NULL};
static const char *const untaught[] = {SMALL, "train.rows=60", "ctrl.width=12", "ctrl.epochs=0",
                                       NULL};

static char *folder, *dataset;

static int setup(void **state)
{
    const fixture_shape shape = {.users = 12, .items = 20, .train = 120, .valid = 60, .seed = 8};
    (void)state;
    sella_threads_set(1);
    folder = fixture_folder(&shape, &dataset);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    free(dataset);
    return 0;
}

static char *train(const char *name, const char *method, const char *const *set)
{
    char *path = sella_path_join(folder, name, NULL);
    if (!sella_path_exists(path)) {
        fixture_train_ok(method, dataset, path, NULL, NULL, set);
    }
    return path;
}

static double score(sella_scorer *scorer, int32_t user, int32_t item, const int32_t *history,
                    int32_t count)
{
    const sella_query query = {.user = user,
                               .item = item,
                               .history_n = history,
                               .history_count = count,
                               .target_text = item < 0 ? "New (2001)" : NULL};
    double z;
    CHECK(scorer->ops->score(scorer, &query, 1, &z, NULL, err));
    return z;
}

static void test_din(void **state)
{
    (void)state;
    char *path = train("din", "din", plain),
         *file = sella_path_join(path, "collab.safetensors", NULL);
    static const char *const names[] = {"user.weight",        "item.weight",
                                        "din.history.weight", "din.attention.0.mean",
                                        "din.top.1.alpha",    "din.top.2.bias"};
    sella_run *run = NULL;
    sella_scorer *scorer = NULL;
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        assert_true(sella_tensors_has(file, names[k]));
    }
    CHECK(sella_run_open(path, &run, err));
    CHECK(sella_method_find("din")->open(run, NULL, &scorer, err));
    const int32_t history[] = {1, 3, 8, 2, 4}, longer[] = {7, 7, 1, 3, 8, 2, 4},
                  other[] = {1, 3, 8, 2, 5};
    const double z = score(scorer, 2, 5, history, 5);
    assert_true(score(scorer, 2, 5, longer, 7) == z);  // the window
    assert_true(score(scorer, 2, 5, other, 5) != z);   // the history counts,
    assert_true(score(scorer, 2, 6, history, 5) != z); // the target
    assert_true(score(scorer, 3, 5, history, 5) != z); // and the user
    assert_true(isfinite(score(scorer, -1, -1, NULL, 0)) &&
                isfinite(score(scorer, -1, 5, history, 5)));
    scorer->ops->close(scorer);
    sella_run_close(run);
    free(path);
    free(file);
}

/* ---- text vectors ---- */

/* A row's vector is the mean of what its tokens have as last tokens of shorter rows, alone or in a
 * tree. */
static void test_means(void **state)
{
    (void)state;
    enum { L = 32, ROWS = 3, LONG = 7, BUDGET = 64 };
    static const int32_t token[ROWS][LONG] = {
        {5, 9, 30, 41, 7, 8, 11}, {5, 9, 30, 77, 12, 13, 14}, {5, 9, 30, 41, 7, 90, 91}};
    sella_backbone *backbone = NULL;
    sella_pass *pass = NULL;
    const sella_pass_options options = {.max_tokens = BUDGET};
    CHECK(sella_backbone_open(TINY_MODEL, NULL, &backbone, err));
    CHECK(sella_pass_new(backbone, NULL, &options, &pass, err));
    float expected[ROWS][L] = {{0}}, answer[BUDGET * L], hidden[BUDGET * L], mean[ROWS * L];
    sella_rows rows;
    sella_tree_batch batch = {0};
    const int64_t index[ROWS] = {0, 1, 2};
    sella_rows_init(&rows);
    for (int r = 0; r < ROWS; r++) {
        for (int n = 1; n <= LONG; n++) {
            const sella_tree_options one = {BUDGET, 0, false};
            sella_rows_clear(&rows);
            CHECK(sella_rows_add(&rows, token[r], NULL, n, NULL, 0, 0, 0, 1, err));
            CHECK(sella_tree_build(&rows, index, 1, &one, &batch, err));
            CHECK(sella_pass_forward(pass, &batch, NULL, 0, -1, answer, err));
            for (int c = 0; c < L; c++) {
                expected[r][c] += answer[c] / LONG;
            }
            sella_tree_batch_release(&batch);
        }
    }
    for (int share = 0; share < 2; share++) {
        const sella_tree_options three = {BUDGET, 0, share == 1};
        sella_rows_clear(&rows);
        for (int r = 0; r < ROWS; r++) {
            CHECK(sella_rows_add(&rows, token[r], NULL, LONG, NULL, 0, r, 0, 1, err));
        }
        CHECK(sella_tree_build(&rows, index, ROWS, &three, &batch, err));
        assert_true(share == 0 || batch.T < ROWS * LONG);
        CHECK(sella_text_means(pass, &batch, L, hidden, mean, err));
        for (int n = 0; n < ROWS; n++) {
            for (int c = 0; c < L; c++) {
                assert_true(fabsf(mean[n * L + c] - expected[batch.row_n[n]][c]) < 1e-4f);
            }
        }
        sella_tree_batch_release(&batch);
    }
    sella_rows_release(&rows);
    sella_pass_free(pass);
    sella_backbone_close(backbone);
}

/* The tiny model with the signs of its weights changed. */
static char *other_model(void)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "model.safetensors"};
    char *to = sella_path_join(folder, "other_model", NULL);
    CHECK(sella_dir_make(to, err));
    for (int k = 0; k < 3; k++) {
        char *from = sella_path_join(TINY_MODEL, names[k], NULL),
             *copy = sella_path_join(to, names[k], NULL);
        sella_map map = {0};
        CHECK(sella_map_open(from, &map, err));
        unsigned char *bytes = malloc(map.size);
        assert_non_null(bytes);
        memcpy(bytes, map.data, map.size);
        uint64_t header = 0;
        memcpy(&header, bytes, k == 2 ? sizeof header : 0);
        for (size_t at = 8 + (size_t)header + 3; k == 2 && at < map.size; at += 40) {
            bytes[at] ^= 0x80;
        }
        CHECK(sella_write_file(copy, bytes, map.size, err));
        free(bytes);
        sella_map_close(&map);
        free(from);
        free(copy);
    }
    return to;
}

static void test_ctrl(void **state)
{
    (void)state;
    char *din = train("din", "din", plain), *zero = train("untaught", "ctrl-din", untaught),
         *ctrl = train("ctrl", "ctrl-din", taught), *sub = train("parts", "ctrl-din", parts);
    static const char text[] = "stages/text/text.safetensors",
                      start[] = "stages/contrast/collab.safetensors";
    char *file = sella_path_join(ctrl, text, NULL);
    int64_t rows, L;
    CHECK(sella_tensors_shape(file, "text.weight", &rows, &L, err));
    assert_true(rows == 60 && L == 32);
    assert_true(fixture_same(din, zero, "collab.safetensors")); // without pre-training it is din
    /* pre-training moves where fine-tuning begins, */
    assert_false(fixture_same(zero, ctrl, start));
    assert_false(fixture_same(din, ctrl, "collab.safetensors")); // and where it ends
    assert_true(fixture_same(zero, ctrl, text) && fixture_same(ctrl, sub, text));
    assert_false(fixture_same(ctrl, sub, start)); // the likeness in sub-spaces is another loss

    char *model = other_model(), *path = sella_path_join(folder, "other", NULL), *json = NULL;
    const sella_train_options options = {.method = "ctrl-din",
                                         .dataset = dataset,
                                         .run = path,
                                         .model = model,
                                         .set = taught,
                                         .set_count = sizeof taught / sizeof taught[0] - 1,
                                         .seed = 5,
                                         .threads = 1};
    CHECK(sella_train(&options, NULL, &json, err));
    assert_false(fixture_same(ctrl, path, text)); // the text vectors are the backbone's
    assert_false(fixture_same(ctrl, path, start));
    free(json);
    free(model);
    free(path);

    sella_run *run = NULL; // scores without the language model
    sella_scorer *scorer = NULL;
    CHECK(sella_run_open(ctrl, &run, err));
    CHECK(sella_method_find("ctrl-din")->open(run, NULL, &scorer, err));
    assert_false(sella_method_find("ctrl-din")->scores_with_model(run->settings));
    assert_true(isfinite(score(scorer, 2, 5, NULL, 0)) && isfinite(score(scorer, -1, -1, NULL, 0)));
    scorer->ops->close(scorer);
    sella_run_close(run);
    free(file);
    free(din);
    free(zero);
    free(ctrl);
    free(sub);
}

/* The contrastive loss falls below what chance has. */
static void test_contrast_learns(void **state)
{
    (void)state;
    static const char *const longer[] = {SMALL,           "collab.dropout=0", "train.rows=60",
                                         "ctrl.width=12", "ctrl.batch=60",    "ctrl.epochs=150",
                                         "ctrl.lr=1e-2",  "ctrl.tau=0.1",     NULL};
    char *path = train("longer", "ctrl-din", longer);
    sella_run *run = NULL;
    json_t *record = NULL;
    CHECK(sella_run_open(path, &run, err));
    CHECK(sella_run_stage_record(run, "contrast", &record, err));
    const double loss = json_real_value(json_object_get(record, "loss"));
    if (!(loss > 0 && loss < 0.7 * log(60))) {
        fail_msg("contrastive loss %g after training, chance %g", loss, log(60));
    }
    json_decref(record);
    sella_run_close(run);
    free(path);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const uneven[] = {SMALL, "ctrl.width=10", "ctrl.subspaces=4", NULL},
                             *const all[] = {SMALL, "collab.history_length=0", NULL};
    char *path = sella_path_join(folder, "refused", NULL);
    sella_err why;
    assert_int_equal(
        fixture_train("ctrl-din", dataset, path, NULL, NULL, false, uneven, NULL, &why), SELLA_ARG);
    assert_string_equal(why.text, "ctrl.width is 10; expected a multiple of ctrl.subspaces, 4");
    assert_int_equal(fixture_train("din", dataset, path, NULL, NULL, false, all, NULL, &why),
                     SELLA_ARG);
    assert_non_null(strstr(why.text, "a history of 0 items; expected 1 to 1024"));
    assert_false(sella_path_exists(path));
    free(path);
}

/* collab.safetensors with a tensor of another shape, a value that is not finite, one that is
 * missing, a variance below zero. */
static void test_hostile(void **state)
{
    (void)state;
    static const char *const said[] = {"din.attention.0.weight", "din.attention.0.weight",
                                       "din.attention.0.weight", "expected 0 or more"};
    char *path = train("din", "din", plain),
         *file = sella_path_join(path, "collab.safetensors", NULL);
    sella_run *run = NULL;
    sella_collab_config config;
    CHECK(sella_run_open(path, &run, err));
    sella_collab_config_of(run->settings, run->users, run->items, &config);
    for (int how = 0; how < 4; how++) {
        sella_collab *c = NULL;
        sella_param_table table;
        sella_scorer *scorer = NULL;
        sella_err why = {0};
        sella_collab_config drawn = config;
        drawn.din.attention[0] += how == 0;
        CHECK(sella_collab_new("din", &drawn, 1, &c, err));
        sella_param_table_init(&table);
        for (int i = 0; i < c->table.count; i++) {
            const sella_param *param = &c->table.param[i];
            const bool target = strcmp(param->name, "din.attention.0.weight") == 0;
            if (how == 2 && target) {
                continue;
            }
            CHECK(sella_param_add(&table, param->name, param->shape[0],
                                  param->rank == 2 ? param->shape[1] : 0, err));
            sella_param *to = &table.param[table.count - 1];
            memcpy(to->data, param->data, param->count * sizeof(float));
            to->data[0] = how == 1 && target ? NAN : to->data[0];
            to->data[0] =
                how == 3 && strcmp(param->name, "din.top.0.variance") == 0 ? -3.0f : to->data[0];
        }
        const sella_param_table *const tables[] = {&table};
        CHECK(sella_tensors_write(file, tables, 1, err));
        assert_int_not_equal(sella_method_find("din")->open(run, NULL, &scorer, &why), SELLA_OK);
        if (!strstr(why.text, said[how])) {
            fail_msg("case %d: %s", how, why.text);
        }
        sella_param_table_release(&table);
        sella_collab_free(c);
    }
    sella_run_close(run);
    free(path);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_din),     cmocka_unit_test(test_means),
        cmocka_unit_test(test_ctrl),    cmocka_unit_test(test_contrast_learns),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
