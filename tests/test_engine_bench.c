/* test_engine_bench.c - what sella_bench measures adds up, on tiny shapes; how fast this is does
 * not matter here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "methods_fixture.h"
#include "sella/bench.h"

#define MODEL TINY_MODEL

typedef struct seen {
    sella_measurement m[64];
    int count;
} seen;

static void take(void *user, const sella_measurement *measurement)
{
    seen *s = user;
    assert_true(s->count < 64);
    s->m[s->count++] = *measurement;
}

static void sane(const sella_measurement *m)
{
    assert_true(m->seconds >= 0 && m->rate >= 0 && m->rss_mb > 1);
    assert_true(isfinite(m->seconds) && isfinite(m->rate));
    assert_int_equal(m->threads, 1);
    assert_true(isnan(m->foreign_load) || (m->foreign_load >= 0 && m->foreign_load < 1.5));
    if (strstr(m->work, "profile")) {
        return;
    }
    assert_true(m->seconds > 0 && m->rate > 0 && m->bound_share > 0 && isfinite(m->bound_share));
    assert_true(m->cpu_seconds >= 0 && m->cpu_seconds < 10 * m->seconds + 0.1);
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
    /* best, then median */
    for (int i = 0; i + 1 < s->count && !strstr(s->m[i].work, "profile"); i += 2) {
        assert_non_null(strstr(s->m[i].work, "best of"));
        assert_non_null(strstr(s->m[i + 1].work, "median of"));
        assert_true(s->m[i].rate >= s->m[i + 1].rate);
    }
}

/* The four products of the tiny Llama: width 32, two heads of 16 for queries, keys and values, FFN
 * 64. */
static void gemm_counts_the_work(void **state)
{
    (void)state;
    seen s;
    run(
        &(sella_bench_options){
            .what = "gemm", .model = MODEL, .tokens = 40, .runs = 3, .threads = 1},
        &s);
    assert_int_equal(s.count, 10);
    static const double flop[] = {2.0 * 40 * 96 * 32, 2.0 * 40 * 32 * 32, 2.0 * 40 * 128 * 32,
                                  2.0 * 40 * 32 * 64};
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

/* share = flops_a_parameter P rate / roof, P = 20,640 weights outside the embedding
 * (test_engine_inspect counts them by hand). */
static void work(const char *what, double flops_a_parameter)
{
    seen s;
    run(&(sella_bench_options){.what = what,
                               .model = MODEL,
                               .tokens = 200,
                               .runs = 3,
                               .threads = 1,
                               .lora_rank = 4,
                               .lora_targets = "all"},
        &s);
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

/* Every row as long as asked, the rest of the pass in a shorter one; the same rows give the same
 * answer. */
static void rows_of_one_length(void **state)
{
    (void)state;
    seen s, again;
    run(&(sella_bench_options){.what = "score",
                               .model = MODEL,
                               .tokens = 220,
                               .runs = 1,
                               .threads = 1,
                               .row_tokens = 50},
        &s);
    run(&(sella_bench_options){.what = "score",
                               .model = MODEL,
                               .tokens = 220,
                               .runs = 2,
                               .threads = 1,
                               .row_tokens = 50},
        &again);
    assert_non_null(strstr(s.m[2].work, "220 tokens in 5 rows"));
    assert_true(isfinite(s.m[2].answer) && s.m[2].answer != 0);
    assert_true(s.m[2].answer == again.m[2].answer);
    assert_true(isnan(s.m[0].answer));
}

/* The parts of a pass and what is around it make up the whole; without an adapter no time is spent
 * on one. */
static void profile(const char *what, int lines, bool adapters)
{
    seen s;
    double all = 0, adapted = 0, products = 0;
    run(
        &(sella_bench_options){
            .what = what, .model = MODEL, .tokens = 200, .runs = 3, .threads = 1, .profile = 1},
        &s);
    assert_int_equal(s.count, 4 + lines);
    for (int i = 4; i < s.count; i++) {
        all += s.m[i].rate;
        assert_string_equal(s.m[i].unit, "% of time");
        adapted += strstr(s.m[i].work, "adapters") ? s.m[i].seconds : 0;
        products += strstr(s.m[i].work, "products") ? s.m[i].seconds : 0;
    }
    assert_true(fabs(all - 100) < 1e-6);
    assert_true(products > 0);
    assert_true(adapters ? adapted > 0 : adapted < 0.1 * products); /* the laps themselves */
}

static void profiles(void **state)
{
    (void)state;
    profile("score", 9, false);
    profile("train", 17, true);
}

/* The number before " tokens". */
static double tokens_of(const sella_measurement *m)
{
    const char *at = strstr(m->work, " tokens, ");
    assert_non_null(at);
    while (at[-1] >= '0' && at[-1] <= '9') {
        at--;
    }
    return strtod(at, NULL);
}

/* Four lines a case: one by one, then trees, each best and median. Returns the token ratio. */
static double prefix_case_sane(const sella_measurement *m)
{
    const double ratio = tokens_of(&m[0]) / tokens_of(&m[2]);
    for (int which = 0; which < 2; which++) {
        const sella_measurement *tree = &m[2 + which];
        assert_true(isnan(m[which].token_ratio));
        assert_string_equal(tree->name, "prefix");
        assert_true(fabs(tree->token_ratio - ratio) < 1e-9);
        assert_true(fabs(tree->speed_up - m[which].seconds / tree->seconds) <
                    1e-9 * tree->speed_up);
        assert_true(fabs(tree->share - tree->speed_up / ratio) < 1e-9 * tree->share);
        assert_true(tree->difference >= 0 && tree->difference < 1e-4);
        assert_true(fabs(tree->rate * tree->seconds - tokens_of(&m[2])) < 1e-6 * tokens_of(&m[2]));
    }
    return ratio;
}

static void prefixes(void **state)
{
    (void)state;
    seen s;
    double ratio[8];
    run(
        &(sella_bench_options){
            .what = "prefix", .model = MODEL, .tokens = 512, .runs = 1, .threads = 1},
        &s);
    assert_int_equal(s.count, 2 + 8 * 4);
    for (int i = 0; i < 8; i++) {
        ratio[i] = prefix_case_sane(&s.m[2 + 4 * i]);
        assert_non_null(strstr(s.m[2 + 4 * i].work, i < 4 ? "scoring" : "training"));
    }
    /* n (P + S) / (P + n S) with P = 123 and S = 14 on average; longer trees than the batch are
     * cut */
    assert_true(fabs(ratio[0] - 1) < 1e-9 && fabs(ratio[4] - 1) < 1e-9);
    assert_true(fabs(ratio[1] - 10.0 * 137 / 263) < 0.5 && fabs(ratio[5] - ratio[1]) < 1e-9);
    assert_true(ratio[2] > 6 && ratio[2] < 9);
    /* trees of training are capped */
    assert_true(ratio[3] > 4 && ratio[7] > 4 && ratio[7] <= ratio[3]);
}

static void prefixes_of_data(void **state)
{
    (void)state;
    seen s;
    sella_err err = {0};
    char *folder = scratch_make(), *data = sella_path_join(folder, "films", NULL);
    fixture_dataset(
        data, &(fixture_shape){.users = 6, .items = 30, .train = 300, .valid = 20, .seed = 3});
    run(&(sella_bench_options){.what = "prefix",
                               .model = MODEL,
                               .tokens = 1024,
                               .runs = 1,
                               .threads = 1,
                               .data = data},
        &s);
    assert_int_equal(s.count, 2 + 2 * 4);
    for (int i = 0; i < 2; i++) {
        assert_non_null(strstr(s.m[2 + 4 * i].work, "a step of films"));
        assert_true(prefix_case_sane(&s.m[2 + 4 * i]) > 1.5);
    }
    s.count = 0;
    assert_int_equal(
        sella_bench(&(sella_bench_options){.what = "prefix", .model = MODEL, .data = "nowhere"},
                    take, &s, &err),
        SELLA_MISSING);
    assert_int_equal(s.count, 0);
    free(data);
    scratch_remove(folder);
}

static int names_in(const char *folder);

/* Four ways, best and median; by hand for layer 1 of 2, 200 tokens in 4 trees: the products of one
 * layer are 2 (96 x 32 + 32 x 32 + 128 x 32 + 32 x 64) = 20,480 FLOP a token, k and v 2 x 64 x 32 =
 * 4,096. Below: 200 x 20,480. From layer 1 on, which is the last: 200 x 4,096 + 4 x 16,384 forward;
 * backward the same without q, k, v: 200 x 4,096 + 4 x (6,144 - 4,096). */
static void hidden_states(void **state)
{
    (void)state;
    seen s = {0};
    sella_err err = {0};
    static const char *const names[] = {"epoch 1, ", "later epochs without cache",
                                        "later epochs with cache", "not tree by tree"};
    const double lower = 200.0 * 20480, forward = 200.0 * 4096 + 4 * 16384.0,
                 upper = 2 * forward - (200.0 * 4096 + 4 * 2048.0);
    char *folder = scratch_make();
    assert_int_equal(setenv("TMPDIR", folder, 1), 0);
    run(&(sella_bench_options){.what = "cache",
                               .model = MODEL,
                               .tokens = 200,
                               .runs = 3,
                               .threads = 1,
                               .row_tokens = 53},
        &s);
    assert_int_equal(s.count, 10);
    for (int i = 2; i < 10; i++) {
        const bool with = i / 2 == 3;
        const double flop = upper + (with ? 0 : lower);
        assert_string_equal(s.m[i].name, "cache");
        assert_non_null(strstr(s.m[i].work, names[i / 2 - 1]));
        assert_non_null(strstr(s.m[i].work, "from layer 1 of 2 on, 200 tokens in 4 trees"));
        assert_true(fabs(s.m[i].rate * s.m[i].seconds - 200) < 1e-6);
        assert_true(fabs(s.m[i].bound_share * s.m[i].seconds * s.m[0].rate * 1e9 / flop - 1) <
                    1e-6);
        assert_int_equal(isnan(s.m[i].work_ratio), !with);
        assert_true(isnan(s.m[i].token_ratio));
    }
    for (int i = 6; i < 8; i++) {
        assert_true(fabs(s.m[i].work_ratio / ((lower + upper) / upper) - 1) < 1e-9);
        assert_true(fabs(s.m[i].speed_up * s.m[i].seconds / s.m[i - 2].seconds - 1) < 1e-9);
        assert_true(fabs(s.m[i].share * s.m[i].work_ratio / s.m[i].speed_up - 1) < 1e-9);
        assert_true(s.m[i].difference == 0);
        assert_true(fabs(s.m[i].disk_mb * 1048576 - (4096 + 200 * 32 * 4)) < 1e-6);
    }
    assert_int_equal(names_in(folder), 0); /* nothing is left behind */
    s.count = 0;
    assert_int_equal(
        sella_bench(&(sella_bench_options){.what = "cache", .model = MODEL, .first_layer = 2}, take,
                    &s, &err),
        SELLA_ARG);
    assert_non_null(strstr(err.text, "expected 1 to 1"));
    assert_int_equal(sella_bench(&(sella_bench_options){.what = "cache"}, take, &s, &err),
                     SELLA_ARG);
    assert_int_equal(setenv("TMPDIR", "/nowhere", 1), 0);
    assert_int_equal(sella_bench(&(sella_bench_options){.what = "cache", .model = MODEL, .runs = 1},
                                 take, &s, &err),
                     SELLA_IO);
    assert_int_equal(s.count, 0);
    unsetenv("TMPDIR");
    scratch_remove(folder);
}

static int names_in(const char *folder)
{
    char **name = NULL;
    size_t count = 0;
    assert_int_equal(sella_dir_list(folder, &name, &count, NULL), SELLA_OK);
    sella_names_free(name, count);
    return (int)count;
}

/* No roof, so no share; the divergence is told, and is the same each time. */
static void tsne(void **state)
{
    (void)state;
    seen s = {0};
    sella_err err = {0};
    const sella_bench_options options = {.what = "tsne", .runs = 2, .threads = 1, .points = 120};
    assert_int_equal(sella_bench(&options, take, &s, &err), SELLA_OK);
    assert_int_equal(s.count, 2);
    assert_string_equal(s.m[0].name, "tsne");
    assert_true(s.m[0].seconds > 0 && isnan(s.m[0].bound_share) &&
                fabs(s.m[0].rate * s.m[0].seconds - 1000) < 1e-6);
    assert_true(s.m[0].answer > 0.01 && s.m[0].answer < 5 && s.m[0].answer == s.m[1].answer);
    const sella_bench_options few = {.what = "tsne", .points = 50};
    assert_int_equal(sella_bench(&few, take, &s, &err), SELLA_ARG);
}

static void collab(void **state)
{
    (void)state;
    seen s;
    char *folder = scratch_make();
    assert_int_equal(setenv("TMPDIR", folder, 1), 0);
    run(
        &(sella_bench_options){
            .what = "collab", .tokens = 64, .runs = 3, .threads = 1, .ratings = 3000},
        &s);
    unsetenv("TMPDIR");
    assert_int_equal(s.count, 4);
    assert_string_equal(s.m[2].name, "collab");
    assert_string_equal(s.m[2].unit, "rows/s");
    assert_true(fabs(s.m[2].rate * s.m[2].seconds - 3000) < 1e-6);
    assert_true(fabs(s.m[2].bound_share / (6 * 64 * s.m[2].rate / (s.m[0].rate * 1e9)) - 1) < 1e-6);
    assert_int_equal(names_in(folder), 0); /* nothing is left behind */
    scratch_remove(folder);
}

static void refusals(void **state)
{
    (void)state;
    seen s = {0};
    sella_err err = {0};
    assert_int_equal(sella_bench(&(sella_bench_options){.what = "score"}, take, &s, &err),
                     SELLA_ARG);
    assert_non_null(strstr(err.text, "model"));
    assert_int_equal(sella_bench(&(sella_bench_options){.what = "x"}, take, &s, &err), SELLA_ARG);
    assert_int_equal(
        sella_bench(&(sella_bench_options){.what = "gemm", .tokens = 3}, take, &s, &err),
        SELLA_ARG);
    assert_int_equal(
        sella_bench(
            &(sella_bench_options){.what = "train", .model = MODEL, .lora_targets = "p_proj"}, take,
            &s, &err),
        SELLA_ARG);
    assert_non_null(strstr(err.text, "p_proj"));
    assert_int_equal(sella_bench(&(sella_bench_options){.what = "prefix"}, take, &s, &err),
                     SELLA_ARG);
    assert_int_equal(
        sella_bench(
            &(sella_bench_options){.what = "score", .model = MODEL, .tokens = 64, .row_tokens = 65},
            take, &s, &err),
        SELLA_ARG);
    assert_int_equal(
        sella_bench(&(sella_bench_options){.what = "collab", .ratings = 1}, take, &s, &err),
        SELLA_ARG);
    assert_int_equal(
        sella_bench(&(sella_bench_options){.what = "score", .model = "nowhere"}, take, &s, &err),
        SELLA_MISSING);
    assert_int_equal(s.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_counts_the_work),
        cmocka_unit_test(scoring),
        cmocka_unit_test(training),
        cmocka_unit_test(rows_of_one_length),
        cmocka_unit_test(profiles),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(prefixes_of_data),
        cmocka_unit_test(hidden_states),
        cmocka_unit_test(tsne), cmocka_unit_test(collab),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
