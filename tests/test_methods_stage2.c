/* test_methods_stage2.c - the loss of stage 2 as docs/math.md writes it: one step of Adam moves
 * every number against the slope of an independent loss in double (Adam's first step is the rate
 * times the sign of the gradient). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "formats/safetensors.h"
#include "methods_fixture.h"

enum { C = 4, HID = 5, L = 32, U = 8, I = 12, WINDOW = 3 };
#define LR 1e-3
#define TAU 0.3
#define WEIGHT 0.7

/* All numbers of stage 2 in double. */
typedef struct numbers {
    double user[U][C], item[I][C], user_bias[U], item_bias[I], global[1], history[I][C],
        semantic[I][L];
    double w1[HID][C], b1[HID], w2[L][HID], b2[L], gain[1];
} numbers;

static const struct {
    const char *file, *name;
    size_t offset, count;
} tensors[] = {
    {"collab", "user.weight", offsetof(numbers, user), U *C},
    {"collab", "item.weight", offsetof(numbers, item), I *C},
    {"collab", "user.bias", offsetof(numbers, user_bias), U},
    {"collab", "item.bias", offsetof(numbers, item_bias), I},
    {"collab", "global.bias", offsetof(numbers, global), 1},
    {"collab", "history.weight", offsetof(numbers, history), I *C},
    {"collab", "semantic.weight", offsetof(numbers, semantic), I *L},
    {"projection", "proj.0.weight", offsetof(numbers, w1), HID *C},
    {"projection", "proj.0.bias", offsetof(numbers, b1), HID},
    {"projection", "proj.2.weight", offsetof(numbers, w2), L *HID},
    {"projection", "proj.2.bias", offsetof(numbers, b2), L},
    {"collab", "text.gain", offsetof(numbers, gain), 1},
};
enum { TENSORS = sizeof tensors / sizeof *tensors };

static double *at(numbers *n, int t)
{
    return (double *)(void *)((char *)n + tensors[t].offset);
}

static void read_numbers(const char *run, numbers *out)
{
    for (int t = 0; t < TENSORS; t++) {
        char name[64];
        sella_safetensors *file = NULL;
        snprintf(name, sizeof name, "stages/align/%s.safetensors", tensors[t].file);
        char *path = sella_path_join(run, name, NULL);
        CHECK(sella_safetensors_open(path, &file, err));
        const sella_tensor *tensor = sella_safetensors_find(file, tensors[t].name);
        assert_non_null(tensor);
        assert_int_equal(tensor->bytes, tensors[t].count * sizeof(float));
        for (size_t i = 0; i < tensors[t].count; i++) {
            at(out, t)[i] = ((const float *)tensor->data)[i];
        }
        sella_safetensors_close(file);
        free(path);
    }
}

static double centred[I][L];

static void make_centred(const numbers *start)
{
    for (int l = 0; l < L; l++) {
        double mean = 0;
        for (int i = 0; i < I; i++) {
            mean += start->semantic[i][l] / I;
        }
        for (int i = 0; i < I; i++) {
            centred[i][l] = start->semantic[i][l] - mean;
        }
    }
    for (int i = 0; i < I; i++) {
        double square = 0;
        for (int l = 0; l < L; l++) {
            square += centred[i][l] * centred[i][l];
        }
        for (int l = 0; l < L; l++) {
            centred[i][l] /= sqrt(square);
        }
    }
}

static double collab_loss(const numbers *n, const sella_dataset *dataset)
{
    const sella_split *train = &dataset->split[SELLA_SPLIT_TRAIN];
    double loss = 0;
    for (int64_t r = 0; r < train->rows; r++) {
        const int32_t *history;
        int32_t count = sella_dataset_history(dataset, SELLA_SPLIT_TRAIN, r, &history),
                u = train->user_n[r], i = train->item_n[r];
        history += count > WINDOW ? count - WINDOW : 0;
        count = count > WINDOW ? WINDOW : count;
        double z = n->user_bias[u] + n->item_bias[i] + n->global[0], text = 0;
        for (int c = 0; c < C; c++) {
            double p = n->user[u][c];
            for (int j = 0; j < count; j++) {
                p += n->history[history[j]][c] / sqrt(count);
            }
            z += p * n->item[i][c];
        }
        for (int j = 0; j < count; j++) {
            for (int l = 0; l < L; l++) {
                text += centred[history[j]][l] * centred[i][l] / count;
            }
        }
        z += n->gain[0] * text;
        loss +=
            (log1p(exp(-fabs(z))) + (z > 0 ? z : 0) - z * train->label_n[r]) / (double)train->rows;
    }
    return loss;
}

static double align_loss(const numbers *n)
{
    double s[I][L], g[I][L], loss = 0;
    for (int i = 0; i < I; i++) {
        double ss = 0, gg = 0, h[HID];
        for (int k = 0; k < HID; k++) {
            double x = n->b1[k];
            for (int c = 0; c < C; c++) {
                x += n->w1[k][c] * n->item[i][c];
            }
            h[k] = 0.5 * x * (1 + erf(x / sqrt(2)));
        }
        for (int l = 0; l < L; l++) {
            s[i][l] = n->semantic[i][l];
            g[i][l] = n->b2[l];
            for (int k = 0; k < HID; k++) {
                g[i][l] += n->w2[l][k] * h[k];
            }
            ss += s[i][l] * s[i][l];
            gg += g[i][l] * g[i][l];
        }
        for (int l = 0; l < L; l++) {
            s[i][l] /= sqrt(ss);
            g[i][l] /= sqrt(gg);
        }
    }
    for (int i = 0; i < I; i++) {
        double sum = 0, own = 0;
        for (int k = 0; k < I; k++) {
            double cosine = 0;
            for (int l = 0; l < L; l++) {
                cosine += s[i][l] * g[k][l];
            }
            sum += exp(cosine / TAU);
            own = k == i ? cosine / TAU : own;
        }
        loss += (log(sum) - own) / I;
    }
    return loss;
}

static void one_step(const char *loss_name, const char *direction,
                     double (*total)(const numbers *, const sella_dataset *))
{
    const fixture_shape shape = {.users = U, .items = I, .train = 150, .valid = 0, .seed = 31};
    const char *const common[] = {"stage1.epochs=0",
                                  "stage1.intercept=no",
                                  "stage3.steps=0",
                                  "stage3.residual=no",
                                  "collab.width=4",
                                  "proj.hidden=5",
                                  "collab.history_length=3",
                                  "collab.init=0.3",
                                  "stage2.batch=1000",
                                  "stage2.weight_decay=0",
                                  "stage2.lr=1e-3",
                                  "align.tau=0.3",
                                  "align.weight=0.7",
                                  "stage2.text=yes",
                                  direction,
                                  loss_name};
    const char *set[20];
    sella_dataset *dataset = NULL;
    char *folder = scratch_make(), *data = sella_path_join(folder, "data", NULL),
         *before = sella_path_join(folder, "before", NULL),
         *after = sella_path_join(folder, "after", NULL);
    numbers *start = calloc(1, sizeof *start), *end = calloc(1, sizeof *end);
    fixture_dataset(data, &shape);
    CHECK(sella_dataset_open(data, &dataset, err));
    assert_int_equal(dataset->train_users, U);
    memcpy(set, common, sizeof common);
    set[16] = "stage2.epochs=0";
    set[17] = NULL;
    fixture_train_ok("sella", data, before, NULL, NULL, set);
    set[16] = "stage2.epochs=1";
    fixture_train_ok("sella", data, after, NULL, NULL, set);
    read_numbers(before, start);
    read_numbers(after, end);
    make_centred(start);
    int compared = 0, moved[TENSORS] = {0};
    for (int t = 0; t < TENSORS; t++) {
        for (size_t i = 0; i < tensors[t].count; i++) {
            double *x = &at(start, t)[i], was = *x, step = at(end, t)[i] - was;
            *x = was + 1e-5;
            double up = total(start, dataset);
            *x = was - 1e-5;
            double slope = (up - total(start, dataset)) / 2e-5;
            *x = was;
            if (fabs(slope) < 2e-5) { // too near a turning point to tell
                continue;
            }
            if (fabs(step + (slope > 0 ? LR : -LR)) > 0.05 * LR) {
                fail_msg("%s[%zu]: slope %g, moved by %g", tensors[t].name, i, slope, step);
            }
            compared++;
            moved[t]++;
        }
        assert_true(moved[t] > 0);
    }
    assert_true(compared > 500);
    sella_dataset_close(dataset);
    scratch_remove(folder);
    free(data);
    free(before);
    free(after);
    free(start);
    free(end);
}

static double bce_and_align(const numbers *n, const sella_dataset *dataset)
{
    return collab_loss(n, dataset) + WEIGHT * align_loss(n);
}

static void test_one_step(void **state)
{
    (void)state;
    one_step("align.negatives=batch", "align.direction=one", bce_and_align);
}

/* Every item is in the step: all candidates are those of the batch. */
static void test_all_negatives(void **state)
{
    (void)state;
    one_step("align.negatives=all", "align.direction=one", bce_and_align);
}

int main(void)
{
    sella_threads_set(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_step),
        cmocka_unit_test(test_all_negatives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
