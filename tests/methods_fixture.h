/* methods_fixture.h - small data sets and trainings for the tests of methods; the model is
 * tests/ref/tiny_llama (width 32, two layers).
 *
 * Include after <cmocka.h>. */
#ifndef SELLA_TESTS_METHODS_FIXTURE_H
#define SELLA_TESTS_METHODS_FIXTURE_H

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "check.h"
#include "data/dataset_write.h"
#include "kernels/gemm.h"
#include "methods/method.h"
#include "scratch.h"
#include "sella/train.h"

#define TINY_MODEL "tests/ref/tiny_llama"

/* Numbers u0.., i0..; titles from a few words; likes follow user and item effects. One row in
 * `step` seconds, histories as they grow. */
typedef struct fixture_shape {
    int users, items, train, valid;
    int likes; /* 0: by chance; 1: all positive */
    unsigned seed;
} fixture_shape;

static inline unsigned fixture_draw(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static inline void fixture_dataset(const char *path, const fixture_shape *shape)
{
    static const char *const words[] = {"Red",  "Blue",  "Short", "Night", "King",  "Road",
                                        "Gold", "River", "War",   "Story", "Green", "Light"};
    sella_draft draft = {0};
    const sella_draft_about about = {.noun = "movie", .protocol = "test"};
    unsigned state = shape->seed + 1;
    char text[64];
    for (int i = 0; i < shape->items; i++) {
        int32_t item;
        int bytes = snprintf(text, sizeof text, "i%d", i);
        CHECK(sella_intern_add(&draft.items, text, (size_t)bytes, &item, NULL, err));
        bytes = snprintf(text, sizeof text, "%s %s (%d)", words[fixture_draw(&state) % 12],
                         words[fixture_draw(&state) % 12], 1950 + i);
        CHECK(sella_draft_title(&draft, item, text, (size_t)bytes, NULL, err));
    }
    draft.split[SELLA_SPLIT_TRAIN].present = true;
    draft.split[SELLA_SPLIT_VALID].present = shape->valid > 0;
    for (int r = 0; r < shape->train + shape->valid; r++) {
        int u = (int)(fixture_draw(&state) % (unsigned)shape->users),
            i = (int)(fixture_draw(&state) % (unsigned)shape->items);
        int32_t user;
        int bytes = snprintf(text, sizeof text, "u%d", u);
        CHECK(sella_intern_add(&draft.users, text, (size_t)bytes, &user, NULL, err));
        double z = (u * 7 % 5 - 2) * 0.8 + (i * 3 % 7 - 3) * 0.5;
        int label = shape->likes || fixture_draw(&state) % 1000 < 1000 / (1 + exp(-z));
        CHECK(sella_draft_add(&draft, r < shape->train ? SELLA_SPLIT_TRAIN : SELLA_SPLIT_VALID,
                              user, i, label, 1000 + 10 * r, err));
    }
    CHECK(sella_draft_write(&draft, &about, path, NULL, err));
    sella_draft_release(&draft);
}

/* A new scratch folder with such a data set in it: *dataset its path (free()); remove the folder
 * with scratch_remove. */
static inline char *fixture_folder(const fixture_shape *shape, char **dataset)
{
    char *folder = scratch_make();
    *dataset = sella_path_join(folder, "data", NULL);
    fixture_dataset(*dataset, shape);
    return folder;
}

/* Settings `set` and up to two more (NULL: none), ended by NULL. */
static inline void fixture_set(const char **list, const char *const *set, const char *a,
                               const char *b)
{
    int n = 0;
    for (; set[n]; n++) {
        list[n] = set[n];
    }
    list[n] = a;
    n += a != NULL;
    list[n] = b;
    list[n + (b != NULL)] = NULL;
}

/* Train with "key=value" settings ended by NULL; returns the status, the error sentence in err.
 * options: what else than method, data set, run and settings; the model, the seed and one thread
 * are the fixture's. */
static inline sella_status fixture_train_with(sella_train_options options, const char *method,
                                              const char *dataset, const char *run,
                                              const char *const *set, const sella_talk *talk,
                                              sella_err *err)
{
    int count = 0;
    char *json = NULL;
    while (set && set[count]) {
        count++;
    }
    options.method = method;
    options.dataset = dataset;
    options.run = run;
    options.model = TINY_MODEL;
    options.set = set;
    options.set_count = count;
    options.seed = 5;
    options.threads = 1;
    memset(err, 0, sizeof *err);
    sella_status status = sella_train(&options, talk, &json, err);
    if (status == SELLA_OK) {
        assert_non_null(json);
    } else {
        assert_int_equal(err->code, status);
        assert_true(err->text[0] != '\0');
    }
    free(json);
    return status;
}

/* The same with the options that most tests set; preset, from may be NULL. */
static inline sella_status fixture_train(const char *method, const char *dataset, const char *run,
                                         const char *preset, const char *from, bool resume,
                                         const char *const *set, const sella_talk *talk,
                                         sella_err *err)
{
    const sella_train_options options = {.preset = preset, .from = from, .resume = resume};
    return fixture_train_with(options, method, dataset, run, set, talk, err);
}

static inline void fixture_train_ok(const char *method, const char *dataset, const char *run,
                                    const char *preset, const char *from, const char *const *set)
{
    sella_err err;
    if (fixture_train(method, dataset, run, preset, from, false, set, NULL, &err) != SELLA_OK) {
        fail_msg("training %s: %s", method, err.text);
    }
}

/* True when both files are there with the same bytes. */
static inline bool fixture_same(const char *a, const char *b, const char *name)
{
    sella_map x = {0}, y = {0};
    char *p = sella_path_join(a, name, NULL), *q = sella_path_join(b, name, NULL);
    bool same = sella_map_open(p, &x, NULL) == SELLA_OK &&
                sella_map_open(q, &y, NULL) == SELLA_OK && x.size == y.size &&
                (x.size == 0 || memcmp(x.data, y.data, x.size) == 0);
    sella_map_close(&x);
    sella_map_close(&y);
    free(p);
    free(q);
    return same;
}

/* Files of a run that must not depend on how often it was killed. */
static const char *const fixture_artifacts[] = {"adapter/adapter_model.safetensors",
                                                "adapter/adapter_config.json",
                                                "collab.safetensors",
                                                "projection.safetensors",
                                                "stages/text/text.safetensors",
                                                "stages/contrast/collab.safetensors",
                                                "stages/distil/semantic.safetensors",
                                                "stages/align/collab.safetensors",
                                                "stages/align/projection.safetensors",
                                                "predictions-valid.csv",
                                                "users.tsv",
                                                "items.tsv",
                                                "history.npy",
                                                "template.txt",
                                                NULL};

#endif
