/* Arenas, checked allocation and the parameter table. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/memory.h"
#include "base/param.h"

static void arena(void **state)
{
    (void)state;
    sella_arena *a = NULL;
    size_t need = sella_arena_need(3, 100) + sella_arena_need(1, 1) + sella_arena_need(0, 8);
    assert_int_equal(sella_arena_new(need, "test", &a, NULL), SELLA_OK);
    unsigned char *x = sella_arena_alloc(a, 3, 100);
    unsigned char *y = sella_arena_alloc(a, 1, 1);
    assert_int_equal((uintptr_t)x % 64, 0);
    assert_int_equal((uintptr_t)y % 64, 0);
    assert_true(y >= x + 300);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(x[i], 0);
    }
    memset(x, 1, 300);
    assert_int_equal(*y, 0);
    assert_non_null(sella_arena_alloc(a, 0, 8));
    sella_arena_free(a);
    sella_arena_free(NULL);
}

static void too_much(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_arena *a = NULL;
    assert_int_equal(sella_arena_need(SIZE_MAX / 2, 3), SIZE_MAX);
    assert_int_equal(sella_arena_need(SIZE_MAX - 3, 1), SIZE_MAX);
    assert_int_equal(sella_arena_new(SIZE_MAX, "activations", &a, &err), SELLA_MEMORY);
    assert_non_null(strstr(err.text, "activations"));
    assert_int_equal(sella_arena_new(SIZE_MAX / 4, "activations", &a, &err), SELLA_MEMORY);
    assert_null(a);
    assert_null(sella_alloc(SIZE_MAX / 2, 3, "rows", &err));
    assert_int_equal(err.code, SELLA_MEMORY);
    void *nothing = sella_alloc(0, 8, "rows", &err);
    assert_non_null(nothing);
    free(nothing);
}

static void params(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_param_table t;
    sella_param_table_init(&t);
    for (int i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "block.%d.weight", i);
        assert_int_equal(sella_param_add(&t, name, 5, 7, &err), SELLA_OK);
    }
    assert_int_equal(sella_param_add(&t, "bias", 9, 0, &err), SELLA_OK);
    sella_param *bias = sella_param_find(&t, "bias");
    assert_non_null(bias);
    assert_int_equal(bias->rank, 1);
    assert_int_equal(bias->shape[0], 9);
    assert_int_equal(bias->shape[1], 1);
    assert_int_equal((uintptr_t)bias->data % 64, 0);
    assert_null(sella_param_find(&t, "block.40.weight"));
    assert_int_equal(sella_param_total(&t, false), 40 * 35 + 9);
    sella_param *first = sella_param_find(&t, "block.0.weight");
    assert_int_equal(sella_param_train(first, false, &err), SELLA_OK);
    assert_null(first->grad);
    assert_int_equal(sella_param_total(&t, true), 39 * 35 + 9);
    assert_int_equal(sella_param_train(first, true, &err), SELLA_OK);
    first->grad[34] = 2;
    sella_param_grad_zero(&t);
    assert_true(first->grad[34] == 0.0f);
    assert_int_equal(sella_param_add(&t, "bias", 9, 0, &err), SELLA_ARG);
    assert_int_equal(sella_param_add(&t, "", 9, 0, &err), SELLA_ARG);
    assert_int_equal(sella_param_add(&t, "x", 0, 1, &err), SELLA_SHAPE);
    assert_int_equal(sella_param_add(&t, "x", INT64_MAX, INT64_MAX, &err), SELLA_MEMORY);
    assert_int_equal(sella_param_add(&t, "x", INT64_MAX / 8, 1, &err), SELLA_MEMORY);
    assert_int_equal(t.count, 41);
    sella_param_table_release(&t);
}

static void not_finite(void **state)
{
    (void)state;
    sella_err err = {0};
    sella_param_table t;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    sella_param_table_init(&t);
    assert_int_equal(sella_param_add(&t, "user.weight", 1000, 13, &err), SELLA_OK);
    float *data = t.param[0].data;
    for (size_t i = 0; i < 13000; i++) {
        data[i] = i % 2 ? 3e38f : -3e38f; // large, but finite
    }
    assert_int_equal(sella_param_check_finite(&t, false, "step 1", &err), SELLA_OK);
    const size_t places[] = {0, 7, 4095, 4096, 12345, 12999};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        data[places[i]] = bad[i % 3];
        assert_int_equal(sella_param_check_finite(&t, false, "step 1", &err), SELLA_DIVERGED);
        char place[64];
        snprintf(place, sizeof place, "row %zu, column %zu", places[i] / 13, places[i] % 13);
        assert_non_null(strstr(err.text, place));
        assert_non_null(strstr(err.text, "step 1: tensor 'user.weight'"));
        data[places[i]] = 0;
    }
    t.param[0].grad[5] = NAN;
    assert_int_equal(sella_param_check_finite(&t, false, "step 1", &err), SELLA_OK);
    assert_int_equal(sella_param_check_finite(&t, true, "step 2", &err), SELLA_DIVERGED);
    assert_non_null(strstr(err.text, "gradient"));
    sella_param_train(&t.param[0], false, NULL);
    assert_int_equal(sella_param_check_finite(&t, true, "step 3", &err), SELLA_OK);
    sella_param_table_release(&t);
}

static void memory(void **state)
{
    (void)state;
    sella_err err = {0};
    size_t total = sella_memory_total(), available = sella_memory_available();
    assert_true(available > 0 && available <= total && total < (size_t)1 << 50);
    assert_int_equal(sella_memory_check(1, "a test", &err), SELLA_OK);
    assert_int_equal(sella_memory_check((size_t)1 << 60, "a test", &err), SELLA_MEMORY);
    assert_non_null(strstr(err.text, "a test: 1073741824.00 GiB of memory are needed and "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(arena), cmocka_unit_test(too_much),
                                       cmocka_unit_test(params), cmocka_unit_test(not_finite),
                                       cmocka_unit_test(memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
