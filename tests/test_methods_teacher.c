/* test_methods_teacher.c - soft targets and offsets of stage 1 against the artifact of the control
 * `bias`, and what switches them off. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/safetensors.h"
#include "methods/teacher.h"
#include "methods_fixture.h"

enum { ROWS = 9 };

static void settings_with(const char *const *set, int n, sella_settings **out)
{
    CHECK(sella_training_resolve(sella_method_find("tallrec"), NULL, NULL, set, n, out, err));
}

/* The control trained as a user would, and its numbers read from its file. */
static void test_targets(void **state)
{
    const fixture_shape shape = {.users = 12, .items = 20, .train = 240, .valid = 60, .seed = 3};
    static const char *const set[] = {"stage1.teacher_weight=0.75"};
    sella_query query[ROWS] = {0};
    float label[ROWS];
    double mean = 0;
    sella_settings *settings;
    sella_dataset *dataset;
    sella_safetensors *file;
    sella_teacher teacher;
    (void)state;
    char *folder = scratch_make(), *data = sella_path_join(folder, "data", NULL),
         *run = sella_path_join(folder, "r", NULL);
    char *path = sella_path_join(run, "collab.safetensors", NULL);
    sella_threads_set(1);
    fixture_dataset(data, &shape);
    fixture_train_ok("bias", data, run, NULL, NULL, NULL);
    CHECK(sella_dataset_open(data, &dataset, err));
    CHECK(sella_safetensors_open(path, &file, err));
    const float *user = sella_safetensors_find(file, "user.bias")->data,
                *item = sella_safetensors_find(file, "item.bias")->data,
                *global = sella_safetensors_find(file, "global.bias")->data;
    const sella_split *train = &dataset->split[SELLA_SPLIT_TRAIN];
    for (int n = 0; n < ROWS; n++) { // every 20th row: a sample learns from the control of all rows
        query[n] = (sella_query){.user = train->user_n[20 * n], .item = train->item_n[20 * n]};
        label[n] = train->label_n[20 * n];
        mean += (double)user[query[n].user] / ROWS;
    }
    const sella_corpus corpus = {.rows = ROWS, .query_n = query, .label_n = label};
    settings_with(set, 1, &settings);
    CHECK(sella_teacher_make(settings, dataset, &corpus, &teacher, err));
    for (int n = 0; n < ROWS; n++) {
        const double z = (double)(user[query[n].user] + item[query[n].item] + global[0]);
        const double target = 0.25 * (double)label[n] + 0.75 / (1 + exp(-z));
        assert_true(fabs((double)teacher.target_n[n] - target) < 1e-5);
        assert_true(fabs((double)teacher.offset_n[n] - ((double)user[query[n].user] - mean)) <
                    1e-5);
    }
    sella_teacher_release(&teacher);
    sella_settings_free(settings);
    sella_safetensors_close(file);
    sella_dataset_close(dataset);
    scratch_remove(folder);
    free(data);
    free(run);
    free(path);
}

static void test_off(void **state)
{
    static const char *const none[] = {"stage1.teacher=none", "stage1.offset=no"};
    const sella_corpus corpus = {.rows = 0};
    sella_settings *settings;
    sella_teacher teacher;
    (void)state;
    settings_with(none, 2, &settings);
    CHECK(sella_teacher_make(settings, NULL, &corpus, &teacher, err));
    assert_true(!teacher.target_n && !teacher.offset_n);
    sella_settings_free(settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_targets), cmocka_unit_test(test_off)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
