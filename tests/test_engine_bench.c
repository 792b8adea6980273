/* test_engine_bench.c - what sella_bench measures adds up, on tiny shapes; how fast this is does not matter here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "sella/bench.h"

#define MODEL "tests/ref/tiny_llama"

typedef struct seen {
    sella_measurement m[32];
    int count;
} seen;

static void take(void *user, const sella_measurement *measurement)
{
    seen *s = user;
    assert_true(s->count < 32);
    s->m[s->count++] = *measurement;
}

static void sane(const sella_measurement *m)
{
    assert_true(m->seconds > 0 && m->rate > 0 && m->bound_share > 0 && m->rss_mb > 1);
    assert_true(isfinite(m->seconds) && isfinite(m->rate) && isfinite(m->bound_share));
    assert_int_equal(m->threads, 1);
}

static void run(const sella_bench_options *options, seen *s)
{
    sella_err err = {0};
    s->count = 0;
    if (sella_bench(options, take, s, &err) != SELLA_OK) {
        fail_msg("%s", err.text);
    }
    for (int i = 0; i < s->count; i++) {
        sane(&s->m[i]);
    }
    for (int i = 0; i + 1 < s->count; i += 2) { /* best, then median */
        assert_non_null(strstr(s->m[i].work, "best of"));
        assert_non_null(strstr(s->m[i + 1].work, "median of"));
        assert_true(s->m[i].rate >= s->m[i + 1].rate);
    }
}

/* The four products of the tiny Llama: width 32, two heads of 16 for queries, keys and values, FFN 64. */
static void gemm_counts_the_work(void **state)
{
    (void)state;
    seen s;
    run(&(sella_bench_options){.what = "gemm", .model = MODEL, .tokens = 40, .runs = 3, .threads = 1}, &s);
    assert_int_equal(s.count, 10);
    static const double flop[] = {2.0 * 40 * 96 * 32, 2.0 * 40 * 32 * 32, 2.0 * 40 * 128 * 32, 2.0 * 40 * 32 * 64};
    double all = 0;
    for (int i = 0; i < 4; i++) {
        assert_true(fabs(s.m[2 * i].rate * 1e9 * s.m[2 * i].seconds / flop[i] - 1) < 1e-6);
        all += flop[i];
    }
    assert_true(fabs(s.m[8].rate * 1e9 * s.m[8].seconds / all - 1) < 1e-6);
    assert_true(fabs(s.m[8].bound_share - 1) < 1e-9);
    assert_string_equal(s.m[8].name, "gemm");
    assert_string_equal(s.m[8].unit, "GFLOP/s");
}

/* share = flops_a_parameter P rate / roof, P = 20,640 weights outside the embedding (test_engine_inspect counts them by hand). */
static void work(const char *what, double flops_a_parameter)
{
    seen s;
    run(&(sella_bench_options){.what = what, .model = MODEL, .tokens = 200, .runs = 3, .threads = 1, .lora_rank = 4, .lora_targets = "all"}, &s);
    assert_int_equal(s.count, 4);
    const sella_measurement *roof = &s.m[0], *best = &s.m[2];
    assert_string_equal(best->name, what);
    assert_string_equal(best->unit, "tokens/s");
    assert_true(fabs(best->rate * best->seconds - 200) < 1e-6);
    const double share = flops_a_parameter * 20640 * best->rate / (roof->rate * 1e9);
    assert_true(fabs(best->bound_share / share - 1) < 1e-6);
}

static void scoring(void **state)
{
    (void)state;
    work("score", 2);
}

static void training(void **state)
{
    (void)state;
    work("train", 4);
}

static void refusals(void **state)
{
    (void)state;
    seen s = {0};
    sella_err err = {0};
    assert_int_equal(sella_bench(&(sella_bench_options){.what = "score"}, take, &s, &err), SELLA_ARG);
    assert_non_null(strstr(err.text, "model"));
    assert_int_equal(sella_bench(&(sella_bench_options){.what = "x"}, take, &s, &err), SELLA_ARG);
    assert_int_equal(sella_bench(&(sella_bench_options){.what = "gemm", .tokens = 3}, take, &s, &err), SELLA_ARG);
    assert_int_equal(sella_bench(&(sella_bench_options){.what = "train", .model = MODEL, .lora_targets = "p_proj"}, take, &s, &err), SELLA_ARG);
    assert_non_null(strstr(err.text, "p_proj"));
    assert_int_equal(sella_bench(&(sella_bench_options){.what = "score", .model = "nowhere"}, take, &s, &err), SELLA_MISSING);
    assert_int_equal(s.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_counts_the_work),
        cmocka_unit_test(scoring),
        cmocka_unit_test(training),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
