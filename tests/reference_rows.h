/* reference_rows.h - the rows that tests/ref/methods_dump.py and methods_features_dump.py compute
 * with, as a data set.
 *
 * Include after <cmocka.h>. */
#ifndef SELLA_TESTS_REFERENCE_ROWS_H
#define SELLA_TESTS_REFERENCE_ROWS_H

#include "methods/lm.h"
#include "methods_fixture.h"
#include "ref_file.h"

enum { USERS = 3, ITEMS = 6 };
static const char *const titles[ITEMS] = {"Red Road (1971)",  "Blue King",    "Short Night",
                                          "Red Night (1972)", "King of Gold", "Blue Road"};

/* Rows of train as the dump has them, one second apart. */
static inline sella_dataset *reference_dataset(const ref_file *ref, const char *folder, int rows)
{
    const int32_t *user = ref_i32(ref, "user", NULL), *item = ref_i32(ref, "item", NULL),
                  *history = ref_i32(ref, "history", NULL);
    const int32_t *start = ref_i32(ref, "history_start", NULL);
    const float *label = ref_f32(ref, "label", NULL);
    sella_draft draft = {0};
    const sella_draft_about about = {.noun = "movie", .protocol = "test"};
    char *path = sella_path_join(folder, "data", NULL), text[16];
    sella_dataset *dataset = NULL;
    for (int32_t i = 0, number; i < ITEMS; i++) {
        int bytes = snprintf(text, sizeof text, "i%d", i);
        CHECK(sella_intern_add(&draft.items, text, (size_t)bytes, &number, NULL, err));
        CHECK(sella_draft_title(&draft, i, titles[i], strlen(titles[i]), NULL, err));
    }
    draft.split[SELLA_SPLIT_TRAIN].present = true;
    for (int r = 0; r < rows; r++) {
        int32_t number;
        int bytes = snprintf(text, sizeof text, "u%d", user[r]);
        CHECK(sella_intern_add(&draft.users, text, (size_t)bytes, &number, NULL, err));
        CHECK(sella_draft_add_history(&draft, SELLA_SPLIT_TRAIN, number, item[r], label[r] > 0.5f,
                                      r, history + start[r], start[r + 1] - start[r], err));
    }
    CHECK(sella_draft_write(&draft, &about, path, NULL, err));
    CHECK(sella_dataset_open(path, &dataset, err));
    sella_draft_release(&draft);
    free(path);
    return dataset;
}

/* The prompts of these queries are those of the dump: PREFIX + start, token (-1 in a slot),
 * slot. */
static inline void reference_prompts(const ref_file *ref, const char *prefix, const sella_lm *lm,
                                     const sella_query *query_n, int rows)
{
    static const char *const what[] = {"start", "token", "slot"};
    const int32_t *value[3], none[SELLA_SLOTS] = {0};
    sella_rows rendered;
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", prefix, what[i]);
        value[i] = ref_i32(ref, name, NULL);
    }
    sella_rows_init(&rendered);
    for (int n = 0; n < rows; n++) {
        CHECK(sella_lm_render(lm, &query_n[n], none, n, 0, &rendered, err));
        assert_int_equal(rendered.start[n + 1], value[0][n + 1]);
        for (int64_t t = rendered.start[n]; t < rendered.start[n + 1]; t++) {
            assert_int_equal(rendered.slot[t], value[2][t]);
            if (value[1][t] >= 0) {
                assert_int_equal(rendered.token[t], value[1][t]);
            }
        }
    }
    sella_rows_release(&rendered);
}

/* Values of PREFIX + name for every tensor of a table. */
static inline void reference_load(const ref_file *ref, const char *prefix, sella_param_table *table)
{
    for (int i = 0; i < table->count; i++) {
        size_t n;
        char name[200];
        snprintf(name, sizeof name, "%s%s", prefix, table->param[i].name);
        const float *value = ref_f32(ref, name, &n);
        assert_int_equal(n, table->param[i].count);
        memcpy(table->param[i].data, value, n * sizeof *value);
    }
}

/* Gradients of PREFIX + "grad." + name for every trainable tensor of a table. */
static inline void reference_gradients(const ref_file *ref, const char *prefix,
                                       const sella_param_table *table)
{
    for (int i = 0; i < table->count; i++) {
        char name[240];
        snprintf(name, sizeof name, "%sgrad.%s", prefix, table->param[i].name);
        if (table->param[i].grad) {
            ref_close_to(name, table->param[i].grad, ref_f32(ref, name, NULL),
                         table->param[i].count, 2e-5);
        }
    }
}

#endif
