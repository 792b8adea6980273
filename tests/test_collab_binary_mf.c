/* test_collab_binary_mf.c - matrix factorisation with signs against PyTorch, central differences of
 * its smooth form, annealing, codes, rows that train does not name.
 * Expected values: tests/ref/collab_binary_dump.py. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "collab/binary_mf.h"
#include "kernels/gemm.h"
#include "kernels/loss.h"
#include "ref_file.h"

enum { USERS = 5, ITEMS = 7, C = 6, N = 9 };

typedef struct room {
    ref_file ref;
    sella_binary_mf model;
    float kept[2 * 3 * N * C], z[N], dz[N], y[N];
    sella_binary_batch batch;
} room;

static void open_room(room *r, double beta)
{
    memset(r, 0, sizeof *r);
    r->ref = ref_open("tests/ref/collab_binary.ref");
    assert_int_equal(sella_binary_mf_init(USERS, ITEMS, C, 1, 3, &r->model, NULL), SELLA_OK);
    assert_int_equal(sella_binary_mf_scratch(&r->model, N) * sizeof(float), sizeof r->kept);
    for (int p = 0; p < r->model.table.count; p++) {
        sella_param *param = &r->model.table.param[p];
        memcpy(param->data, ref_f32(&r->ref, param->name, NULL), param->count * sizeof(float));
    }
    memcpy(r->y, ref_f32(&r->ref, "label", NULL), sizeof r->y);
    r->batch = (sella_binary_batch){.N = N,
                                    .user_n = ref_i32(&r->ref, "user", NULL),
                                    .item_n = ref_i32(&r->ref, "item", NULL),
                                    .beta = beta,
                                    .seed = 4,
                                    .number = 2};
}

static void close_room(room *r)
{
    sella_binary_mf_release(&r->model);
    ref_close(&r->ref);
}

static double loss(room *r)
{
    sella_binary_mf_forward(&r->model, &r->batch, r->kept, r->z);
    double sum = sella_bce_forward(r->dz, r->z, r->y, NULL, N);
    for (int n = 0; n < N; n++) {
        r->dz[n] /= N;
    }
    return sum / N;
}

static void against_pytorch(const char *form, double beta)
{
    room r;
    char name[200];
    open_room(&r, beta);
    const float got = (float)loss(&r);
    snprintf(name, sizeof name, "%s.z", form);
    ref_close_to(name, r.z, ref_f32(&r.ref, name, NULL), N, 1e-5);
    snprintf(name, sizeof name, "%s.loss", form);
    ref_close_to(name, &got, ref_f32(&r.ref, name, NULL), 1, 1e-5);
    sella_binary_mf_backward(&r.model, &r.batch, r.kept, r.dz);
    for (int p = 0; p < r.model.table.count; p++) {
        const sella_param *param = &r.model.table.param[p];
        snprintf(name, sizeof name, "%s.grad.%s", form, param->name);
        ref_close_to(name, param->grad, ref_f32(&r.ref, name, NULL), param->count, 1e-5);
    }
    close_room(&r);
}

static void test_smooth(void **state)
{
    (void)state;
    against_pytorch("t", 0);
}

static void test_signs(void **state)
{
    (void)state;
    against_pytorch("s", 1);
}

static void test_differences(void **state)
{
    room r;
    (void)state;
    open_room(&r, 0);
    loss(&r);
    sella_binary_mf_backward(&r.model, &r.batch, r.kept, r.dz);
    for (int p = 0; p < r.model.table.count; p++) {
        sella_param *param = &r.model.table.param[p];
        for (size_t i = 0; i < param->count; i += 5) {
            const float value = param->data[i], step = 1e-2f;
            param->data[i] = value + step;
            const double above = loss(&r);
            param->data[i] = value - step;
            const double below = loss(&r);
            param->data[i] = value;
            const double numeric = (above - below) / (2 * step);
            if (fabs(numeric - param->grad[i]) > 1e-3) {
                fail_msg("%s[%zu]: %g by differences, %g", param->name, i, numeric,
                         (double)param->grad[i]);
            }
        }
    }
    close_room(&r);
}

/* With beta between 0 and 1 about that share of entries are signs, the same ones for the same
 * number. */
static void test_annealing(void **state)
{
    enum { ROWS = 400 };
    static float kept[2 * 3 * ROWS * C], again[2 * 3 * ROWS * C], z[ROWS];
    int32_t user[ROWS], item[ROWS];
    room r;
    int signs = 0, changed = 0;
    (void)state;
    open_room(&r, 0.3);
    for (int n = 0; n < ROWS; n++) {
        user[n] = n % USERS;
        item[n] = n % ITEMS;
    }
    sella_binary_batch batch = {
        .N = ROWS, .user_n = user, .item_n = item, .beta = 0.3, .seed = 9, .number = 1};
    sella_binary_mf_forward(&r.model, &batch, kept, z);
    sella_binary_mf_forward(&r.model, &batch, again, z);
    assert_memory_equal(kept, again, sizeof kept);
    batch.number = 2;
    sella_binary_mf_forward(&r.model, &batch, again, z);
    for (int side = 0; side < 2; side++) {
        const float *t = kept + side * 3 * ROWS * C + ROWS * C, *h = t + ROWS * C,
                    *h2 = again + (h - kept);
        for (int i = 0; i < ROWS * C; i++) {
            assert_true(h[i] == t[i] || h[i] == (t[i] >= 0 ? 1.0f : -1.0f));
            signs += h[i] != t[i];
            changed += h[i] != h2[i];
        }
    }
    const double share = (double)signs / (2 * ROWS * C); // sd .0066
    assert_true(share > 0.27 && share < 0.33);
    assert_true(changed > ROWS * C / 2);
    close_room(&r);
}

static void test_codes(void **state)
{
    uint8_t user[(USERS + 1) * C], item[(ITEMS + 1) * C];
    const uint8_t seen_u[USERS] = {1, 1, 0, 1, 0}, seen_i[ITEMS] = {1, 1, 1, 1, 1, 1, 0};
    room r;
    (void)state;
    open_room(&r, 0);
    assert_int_equal(sella_binary_mf_codes(&r.model, user, item, NULL), SELLA_OK);
    assert_memory_equal(user, ref_u8(&r.ref, "user.bit", NULL), sizeof user);
    assert_memory_equal(item, ref_u8(&r.ref, "item.bit", NULL), sizeof item);
    const float *before = ref_f32(&r.ref, "user.weight", NULL),
                *after = r.model.table.param[0].data;
    sella_binary_mf_settle(&r.model, seen_u, seen_i);
    for (int u = 0; u < USERS; u++) {
        for (int c = 0; c < C; c++) {
            const double mean = ((double)before[c] + before[C + c] + before[3 * C + c]) / 3;
            assert_true(fabs(after[u * C + c] - (seen_u[u] ? before[u * C + c] : mean)) < 1e-6);
        }
    }
    assert_int_equal(sella_binary_mf_codes(&r.model, user, item, NULL), SELLA_OK);
    /* unnamed rows have the code of those without a row */
    assert_memory_equal(user + 2 * C, user + USERS * C, C);
    assert_memory_equal(item + 6 * C, item + ITEMS * C, C);
    close_room(&r);
}

static void test_refused(void **state)
{
    sella_binary_mf model;
    sella_err err = {0};
    (void)state;
    assert_int_equal(sella_binary_mf_init(2, 2, 0, 1, 1, &model, &err), SELLA_ARG);
    assert_int_equal(sella_binary_mf_init(2, 2, SELLA_CODE_BITS_MAX + 1, 1, 1, &model, &err),
                     SELLA_ARG);
    assert_non_null(strstr(err.text, "1025 bits"));
}

int main(void)
{
    sella_threads_set(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smooth),      cmocka_unit_test(test_signs),
        cmocka_unit_test(test_differences), cmocka_unit_test(test_annealing),
        cmocka_unit_test(test_codes),       cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
